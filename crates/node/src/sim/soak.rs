use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ketch_sim::{Outcome, PolicyKind, Scenario};
use serde::Serialize;

use super::lanes::each_seed;
use crate::table::Table;

/// How many failed seeds are named.
const NAMED: usize = 20;
/// Seconds of a year.
const YEAR: f64 = 31_557_600.0;

/// What came of random scenarios, summed up.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Soak {
    seeds: u64,
    world_years: f64,
    takes: usize,
    missed: usize,
    faults: BTreeMap<&'static str, u64>,
    failed: Vec<Failed>,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Failed {
    seed: u64,
    breaches: Vec<String>,
    unfinished: usize,
}

impl Soak {
    pub(crate) fn is_good(&self) -> bool {
        self.failed.is_empty()
    }

    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.seeds += 1;
        self.world_years += outcome.end.since_origin().as_secs_f64() / YEAR;
        self.takes += outcome.takes;
        self.missed += outcome.missed;
        for (kind, times) in &outcome.faults {
            *self.faults.entry(kind).or_default() += times;
        }
        if !outcome.breaches.is_empty() || outcome.unfinished > 0 {
            let breaches = outcome.breaches.iter().take(3).map(|breach| format!("{breach:?}"));
            let (breaches, unfinished) = (breaches.collect(), outcome.unfinished);
            self.failed.push(Failed { seed, breaches, unfinished });
        }
    }
}

/// What of random scenarios is to be run.
#[derive(Clone, Debug)]
pub(crate) enum Span {
    /// Those of as many seeds as time allows, from the first on.
    For(Duration, u64),
    /// Those of these seeds.
    Seeds(Range<u64>),
}

/// Runs random scenarios, as many at once as there are processors.
pub(crate) fn soak(span: Span) -> Soak {
    let began = Instant::now();
    let (seeds, until) = match span {
        Span::For(time, first) => (first..u64::MAX, Some(began + time)),
        Span::Seeds(seeds) => (seeds, None),
    };
    let go_on = || until.is_none_or(|until| Instant::now() < until);
    let sum = Mutex::new(Soak::default());
    each_seed(seeds, go_on, |seed| {
        let scenario = Scenario::random(seed);
        let Some(mut world) = scenario.world(seed, PolicyKind::Ketch) else { return };
        let outcome = scenario.run(&mut world);
        if let Ok(mut sum) = sum.lock() {
            sum.add(seed, &outcome);
        }
    });
    let mut sum = sum.into_inner().unwrap_or_default();
    sum.failed.sort_by_key(|failed| failed.seed);
    sum.seconds = began.elapsed().as_secs_f64();
    sum
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds in {:.0} s: {:.4} years, {} shards taken, {} of them late and warned of, {} failures",
            self.seeds,
            self.seconds,
            self.world_years,
            self.takes,
            self.missed,
            self.failed.len()
        )?;
        let mut table = Table::new(["what went wrong", "times"]);
        for (kind, times) in &self.faults {
            table.push([(*kind).to_owned(), times.to_string()]);
        }
        write!(f, "\n{table}")?;
        for failed in self.failed.iter().take(NAMED) {
            writeln!(
                f,
                "\nseed {} failed: {} not taken, {}\n  again: ketch sim random --seed {}",
                failed.seed,
                failed.unfinished,
                failed.breaches.join(", "),
                failed.seed
            )?;
        }
        Ok(())
    }
}
