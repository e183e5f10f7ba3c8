//! `ketch sim`: scenarios in a deterministic world.

mod lanes;
mod replay;
mod report;
mod soak;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ketch_sim::{Beside, Form, Judged, Outcome, PolicyKind, RecordError, Scenario};
use thiserror::Error;

use lanes::each_seed;
pub(crate) use replay::replay;
pub(crate) use report::{Report, SeedReport};
pub(crate) use soak::{Span, soak};

use crate::toml_file::{FilePlace, TomlFileError};

/// Lines of the trace that are shown of a seed that failed.
const TRACE_LINES: usize = 60;
/// Where the project's scenarios are.
const FOLDER: &str = "tests/scenarios";

/// In the place of a file: another scenario for each seed, which nobody thought of.
const RANDOM: &str = "random";

/// Why nothing was simulated.
#[derive(Debug, Error)]
pub(crate) enum SimError {
    /// The scenario is none.
    #[error(transparent)]
    File(#[from] TomlFileError),
    /// No chain can be what the scenario's is to be.
    #[error("{0}: the states break the commitment's limits")]
    Chain(PathBuf),
    /// The folder of scenarios cannot be listed.
    #[error("{FOLDER}: {0}")]
    List(io::Error),
    /// A record cannot be read.
    #[error("{path}: {error}")]
    Record {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// A line is none of a record's.
    #[error("{place}: {error}")]
    RecordLine {
        /// Where.
        place: FilePlace,
        /// What is wrong there.
        #[source]
        error: RecordError,
    },
    /// The coordinator panics at what it is told.
    #[error("{place}: the coordinator panics here")]
    Panics {
        /// Where.
        place: FilePlace,
    },
}

/// What is to be simulated.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// A scenario's file, or [`RANDOM`].
    pub(crate) path: PathBuf,
    pub(crate) form: Form,
    pub(crate) seeds: Range<u64>,
    pub(crate) policy: PolicyKind,
}

/// The scenario in a file.
pub(crate) fn read_scenario(path: &Path, form: Form) -> Result<Scenario, TomlFileError> {
    let text = fs::read_to_string(path)
        .map_err(|error| TomlFileError::Read { path: path.to_owned(), error })?;
    Scenario::parse(&text, form).map_err(|error| TomlFileError::Parse {
        place: FilePlace::new(path, &text, error.offset),
        message: error.message,
    })
}

/// Runs a scenario with each seed, as many at once as there are processors.
pub(crate) fn simulate(wanted: &Wanted) -> Result<Report, SimError> {
    let is_random = wanted.path == Path::new(RANDOM);
    let written = if is_random { None } else { Some(read_scenario(&wanted.path, wanted.form)?) };
    let each = each_seed(
        wanted.seeds.clone(),
        || true,
        |seed| {
            let scenario = written.clone().unwrap_or_else(|| Scenario::random(seed));
            one(&scenario, wanted, seed)
        },
    );
    let seeds = each.into_iter().map(|(_, report)| report).collect::<Result<_, _>>()?;
    Ok(Report { scenario: wanted.path.clone(), policy: wanted.policy, seeds })
}

fn one(scenario: &Scenario, wanted: &Wanted, seed: u64) -> Result<SeedReport, SimError> {
    let no_chain = || SimError::Chain(wanted.path.clone());
    let run = |scenario: &Scenario, policy| {
        let mut world = scenario.world(seed, policy)?;
        Some(scenario.run(&mut world))
    };
    let outcome = run(scenario, wanted.policy).ok_or_else(no_chain)?;
    let mut beside: Vec<(Beside, Outcome)> = Vec::new();
    for kind in scenario.compares() {
        let other = match kind {
            Beside::Clean => run(&scenario.clean(), wanted.policy),
            Beside::Baseline => run(&scenario.baseline(), PolicyKind::Nearcore),
        };
        beside.push((kind, other.ok_or_else(no_chain)?));
    }
    let judge = |limit: &ketch_sim::Limit| {
        let other = beside.iter().find(|(kind, _)| Some(*kind) == limit.beside());
        limit.judge(&outcome, other.map(|(_, outcome)| outcome))
    };
    let limits: Vec<Judged> = scenario.limits.iter().map(judge).collect();
    let report =
        SeedReport { seed, outcome, limits, trace: Vec::new(), replay: again(wanted, seed) };
    let trace = if report.is_good() { Vec::new() } else { trace(scenario, wanted, seed) };
    Ok(SeedReport { trace, ..report })
}

/// What happened around a failure: the run once more, until the first thing that must never be.
fn trace(scenario: &Scenario, wanted: &Wanted, seed: u64) -> Vec<String> {
    let Some(mut world) = scenario.world(seed, wanted.policy) else { return Vec::new() };
    world.keep_trace(TRACE_LINES);
    world.run_while(scenario.end, |world| world.ledger().breaches.is_empty());
    world.trace_lines().map(str::to_owned).collect()
}

/// The one command that runs this again.
fn again(wanted: &Wanted, seed: u64) -> String {
    let form = if wanted.form == Form::Small { " --small" } else { "" };
    let (file, policy) = (wanted.path.display(), wanted.policy.name());
    format!("ketch sim {file}{form} --seed {seed} --policy {policy}")
}

/// The project's scenarios with their titles, in order.
pub(crate) fn list() -> Result<Vec<(PathBuf, String)>, SimError> {
    let mut scenarios = Vec::new();
    for entry in fs::read_dir(FOLDER).map_err(SimError::List)? {
        let path = entry.map_err(SimError::List)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let title = read_scenario(&path, Form::Full)?.title;
            scenarios.push((path, title));
        }
    }
    scenarios.sort();
    Ok(scenarios)
}
