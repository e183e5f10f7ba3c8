//! What must come of a scenario.

use std::time::Duration;

use ketch_types::Instant;

use crate::outcome::Outcome;

/// What a figure is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Beside {
    /// The same world without what goes wrong in it.
    Clean,
    /// The same world, decided by the baseline.
    Baseline,
}

/// One figure of an outcome, and what it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// So many takes may be late.
    Missed(usize),
    /// So many shards that are still wanted may not be taken at the end.
    Unfinished(usize),
    /// Of a hundred takes, 99 are ready within so much of an epoch, which has this length.
    ReadyWithin(f64, Duration),
    /// The slowest download and apply takes at most so many times the bound.
    OfBound(f64),
    /// It takes at most so many times what it takes in the clean run.
    OfClean(f64),
    /// The baseline takes at least so many times as long.
    FasterThanBaseline(f64),
    /// The longest time from the last part's arrival to a whole state.
    ApplyLag(Duration),
    /// The least share of bytes that come from nodes still downloading.
    FromDownloading(f64),
    /// The largest share of bytes that come twice.
    Wasted(f64),
    /// The most that is sent beyond what was lacked, to what was lacked.
    Excess(f64),
    /// The most times that one node makes one part.
    MadeMost(u32),
    /// The least fairness among takers.
    Fairness(f64),
    /// The most strikes for one peer by one node.
    Strikes(u32),
    /// The most that a seed sends, to the state's size.
    SeedUpload(f64),
    /// "Impossible" is told so soon after a moment.
    ImpossibleWithin(Instant, Duration),
    /// Who misses its boundary was warned so long before it.
    WarnedAhead(Duration),
    /// The fewest blocks replayed in a second by who is behind.
    ReplayRate(f64),
}

/// A limit, and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The figure's name.
    pub name: &'static str,
    /// What was measured, in words.
    pub measured: String,
    /// What it may be, in words.
    pub allowed: String,
    /// Whether it is.
    pub holds: bool,
}

impl Limit {
    /// What it is compared with, if it is.
    pub fn beside(&self) -> Option<Beside> {
        match self {
            Limit::OfClean(_) => Some(Beside::Clean),
            Limit::FasterThanBaseline(_) => Some(Beside::Baseline),
            _ => None,
        }
    }

    /// Holds it against an outcome, and that of the run beside it.
    pub fn judge(&self, outcome: &Outcome, beside: Option<&Outcome>) -> Judged {
        let time = outcome.applied.longest;
        let whole = |run: &Outcome| run.unfinished == 0;
        match *self {
            Limit::Missed(most) => at_most("missed", outcome.missed as f64, most as f64),
            Limit::Unfinished(most) => {
                at_most("unfinished", outcome.unfinished as f64, most as f64)
            }
            Limit::ReadyWithin(share, epoch) => {
                at_most("ready p99 of epoch", of(outcome.ready.p99, epoch), share)
            }
            Limit::OfBound(most) => at_most("time of bound", of(time, outcome.bound), most),
            Limit::OfClean(most) => {
                let clean = beside.map_or(Duration::ZERO, |beside| beside.applied.longest);
                at_most("time of clean", of(time, clean), most)
            }
            Limit::FasterThanBaseline(least) => {
                // A baseline that does not get there at all took at least until the end.
                let baseline = beside.map_or(Duration::ZERO, |beside| match whole(beside) {
                    true => beside.applied.longest,
                    false => beside.applied.longest.max(beside.end - Instant::ORIGIN),
                });
                at_least("baseline's time of ours", of(baseline, time), least)
            }
            Limit::ApplyLag(most) => within("apply after arrival", outcome.apply_lag, most),
            Limit::FromDownloading(least) => {
                at_least("from nodes downloading", outcome.from_downloading, least)
            }
            Limit::Wasted(most) => at_most("wasted", outcome.wasted, most),
            Limit::Excess(most) => at_most("sent beyond need", outcome.excess, most),
            Limit::MadeMost(most) => {
                at_most("made by one node", outcome.made_most.into(), most.into())
            }
            Limit::Fairness(least) => at_least("fairness", outcome.fairness, least),
            Limit::Strikes(most) => at_most("strikes", outcome.strikes.into(), most.into()),
            Limit::SeedUpload(most) => at_most("seed's upload of state", outcome.seed_upload, most),
            Limit::ImpossibleWithin(since, most) => {
                let told = outcome.impossible_at.map_or(Duration::MAX, |at| at - since);
                within("impossible told after", told, most)
            }
            Limit::WarnedAhead(least) => {
                let ahead = outcome.warned_ahead.unwrap_or(Duration::ZERO);
                let measured = format!("{ahead:.1?}");
                let holds = ahead >= least;
                Judged { name: "warned ahead", measured, allowed: format!(">= {least:?}"), holds }
            }
            Limit::ReplayRate(least) => {
                at_least("blocks replayed a second", outcome.replay_rate.unwrap_or(0.0), least)
            }
        }
    }
}

fn of(time: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { f64::INFINITY } else { time.as_secs_f64() / whole.as_secs_f64() }
}

fn at_most(name: &'static str, measured: f64, most: f64) -> Judged {
    let (shown, allowed) = (format!("{measured:.3}"), format!("<= {most}"));
    Judged { name, measured: shown, allowed, holds: measured <= most }
}

fn at_least(name: &'static str, measured: f64, least: f64) -> Judged {
    let (shown, allowed) = (format!("{measured:.3}"), format!(">= {least}"));
    Judged { name, measured: shown, allowed, holds: measured >= least }
}

fn within(name: &'static str, measured: Duration, most: Duration) -> Judged {
    let (shown, allowed) = (format!("{measured:.1?}"), format!("<= {most:?}"));
    Judged { name, measured: shown, allowed, holds: measured <= most }
}
