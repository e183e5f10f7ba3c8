use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ketch_sim::{Judged, Outcome, PolicyKind};
use serde::Serialize;

use crate::table::Table;

/// What came of a scenario, seed by seed.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) scenario: PathBuf,
    pub(crate) policy: PolicyKind,
    pub(crate) seeds: Vec<SeedReport>,
}

/// What came of one seed.
#[derive(Debug)]
pub(crate) struct SeedReport {
    pub(crate) seed: u64,
    pub(crate) outcome: Outcome,
    pub(crate) limits: Vec<Judged>,
    /// What happened around the failure, if it failed.
    pub(crate) trace: Vec<String>,
    /// The command that runs it again.
    pub(crate) replay: String,
}

impl SeedReport {
    /// Whether every limit holds, and nothing was that must never be.
    pub(crate) fn is_good(&self) -> bool {
        self.outcome.breaches.is_empty() && self.limits.iter().all(|limit| limit.holds)
    }
}

impl Report {
    pub(crate) fn is_good(&self) -> bool {
        self.seeds.iter().all(SeedReport::is_good)
    }

    /// For programs: one object for each seed.
    pub(crate) fn to_json(&self) -> String {
        let seeds: Vec<_> = self.seeds.iter().map(|seed| Line::new(self, seed)).collect();
        serde_json::to_string(&seeds).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Line<'a> {
    scenario: String,
    policy: &'static str,
    seed: u64,
    good: bool,
    takes: usize,
    missed: usize,
    unfinished: usize,
    bound_s: f64,
    applied_s: [f64; 3],
    ready_s: [f64; 3],
    apply_lag_s: f64,
    sent_bytes: u64,
    from_downloading: f64,
    wasted: f64,
    excess: f64,
    fairness: f64,
    seed_upload: f64,
    limits: Vec<LimitLine<'a>>,
    breaches: Vec<String>,
    faults: &'a std::collections::BTreeMap<&'static str, u64>,
    world_s: f64,
    trace_hash: String,
    replay: &'a str,
}

#[derive(Serialize)]
struct LimitLine<'a> {
    name: &'a str,
    measured: &'a str,
    allowed: &'a str,
    holds: bool,
}

impl<'a> Line<'a> {
    fn new(report: &Report, seed: &'a SeedReport) -> Self {
        let outcome = &seed.outcome;
        let spread = |spread: ketch_sim::Spread| {
            [spread.median, spread.p99, spread.longest].map(|time| time.as_secs_f64())
        };
        let limits = seed.limits.iter().map(|limit| LimitLine {
            name: limit.name,
            measured: &limit.measured,
            allowed: &limit.allowed,
            holds: limit.holds,
        });
        Self {
            scenario: report.scenario.display().to_string(),
            policy: report.policy.name(),
            seed: seed.seed,
            good: seed.is_good(),
            takes: outcome.takes,
            missed: outcome.missed,
            unfinished: outcome.unfinished,
            bound_s: outcome.bound.as_secs_f64(),
            applied_s: spread(outcome.applied),
            ready_s: spread(outcome.ready),
            apply_lag_s: outcome.apply_lag.as_secs_f64(),
            sent_bytes: outcome.sent,
            from_downloading: outcome.from_downloading,
            wasted: outcome.wasted,
            excess: outcome.excess,
            fairness: outcome.fairness,
            seed_upload: outcome.seed_upload,
            limits: limits.collect(),
            breaches: outcome.breaches.iter().map(|breach| format!("{breach:?}")).collect(),
            faults: &outcome.faults,
            world_s: outcome.end.since_origin().as_secs_f64(),
            trace_hash: hex::encode(outcome.trace_hash),
            replay: &seed.replay,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header =
            ["seed", "takes", "missed", "unfinished", "bound", "applied", "of bound", "ready", ""];
        let mut table = Table::new(header);
        for seed in &self.seeds {
            let outcome = &seed.outcome;
            let applied = outcome.applied.longest;
            let ratio = applied.as_secs_f64() / outcome.bound.as_secs_f64().max(1e-9);
            table.push([
                seed.seed.to_string(),
                outcome.takes.to_string(),
                outcome.missed.to_string(),
                outcome.unfinished.to_string(),
                seconds(outcome.bound),
                seconds(applied),
                format!("{ratio:.2}"),
                seconds(outcome.ready.longest),
                (if seed.is_good() { "good" } else { "FAILED" }).to_owned(),
            ]);
        }
        write!(f, "{table}")?;
        self.limits(f)?;
        self.seeds.iter().filter(|seed| !seed.is_good()).try_for_each(|seed| failure(f, seed))
    }
}

impl Report {
    /// Each limit, with the worst that was measured where only one seed was run.
    fn limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [only] = self.seeds.as_slice() else { return Ok(()) };
        let mut table = Table::new(["limit", "measured", "allowed", ""]);
        for limit in &only.limits {
            let holds = (if limit.holds { "holds" } else { "FAILS" }).to_owned();
            table.push([
                limit.name.to_owned(),
                limit.measured.clone(),
                limit.allowed.clone(),
                holds,
            ]);
        }
        write!(f, "\n{table}")
    }
}

/// What is needed to look into a failure.
fn failure(f: &mut fmt::Formatter<'_>, seed: &SeedReport) -> fmt::Result {
    writeln!(f, "\nseed {} failed", seed.seed)?;
    for limit in seed.limits.iter().filter(|limit| !limit.holds) {
        writeln!(f, "  {}: {}, allowed {}", limit.name, limit.measured, limit.allowed)?;
    }
    for breach in seed.outcome.breaches.iter().take(10) {
        writeln!(f, "  {breach:?}")?;
    }
    for line in &seed.trace {
        let short: String = line.chars().take(200).collect();
        writeln!(f, "  | {short}")?;
    }
    writeln!(f, "  again: {}", seed.replay)
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
