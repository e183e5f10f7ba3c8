//! The scenarios of `tests/scenarios`, each in its small form, and worlds that nobody thought of.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ketch_sim::{Beside, FaultKind, Form, Judged, Outcome, PolicyKind, Scenario};

fn files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files
}

fn run(scenario: &Scenario, seed: u64, policy: PolicyKind) -> Outcome {
    scenario.run(&mut scenario.world(seed, policy).unwrap())
}

/// Every limit of a scenario, held against a world.
fn judged(scenario: &Scenario, seed: u64) -> (Outcome, Vec<Judged>) {
    let outcome = run(scenario, seed, PolicyKind::Ketch);
    let judge = |limit: &ketch_sim::Limit| {
        let beside = limit.beside().map(|beside| match beside {
            Beside::Clean => run(&scenario.clean(), seed, PolicyKind::Ketch),
            Beside::Baseline => run(&scenario.baseline(), seed, PolicyKind::Nearcore),
        });
        limit.judge(&outcome, beside.as_ref())
    };
    let judged = scenario.limits.iter().map(judge).collect();
    (outcome, judged)
}

fn assert_holds(path: &Path) {
    let scenario = Scenario::parse(&fs::read_to_string(path).unwrap(), Form::Small).unwrap();
    assert!(!scenario.limits.is_empty(), "{}: nothing is asked of it", path.display());
    let (outcome, judged) = judged(&scenario, 0);
    let what = path.display();
    assert_eq!(outcome.breaches, [], "{what}");
    assert!(outcome.takes > 0, "{what}: nobody takes anything");
    assert!(judged.iter().all(|limit| limit.holds), "{what}: {judged:#?}");
}

#[test]
fn every_scenario_keeps_its_limits_in_its_small_form() {
    files().iter().for_each(|path| assert_holds(path));
}

#[test]
fn every_scenario_is_read_in_its_full_form_too() {
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let full = Scenario::parse(&text, Form::Full);
        assert!(full.is_ok_and(|full| full.world(0, PolicyKind::Ketch).is_some()), "{path:?}");
    }
}

/// In a random world everything but the core is hit; then faults freeze, and everybody gets there.
#[test]
fn a_thousand_random_worlds_break_no_promise_and_every_catchup_ends() {
    let (mut failed, mut fired) = (Vec::new(), BTreeSet::new());
    for seed in 0..1_000 {
        let outcome = run(&Scenario::random(seed), seed, PolicyKind::Ketch);
        fired.extend(outcome.faults.keys().copied());
        if !outcome.breaches.is_empty() || outcome.unfinished > 0 {
            failed.push((seed, outcome.unfinished, outcome.breaches));
        }
    }
    assert!(failed.is_empty(), "{}: {failed:?}", failed.len());
    let missing: Vec<_> =
        FaultKind::ALL.iter().filter(|kind| !fired.contains(kind.name())).collect();
    assert!(missing.is_empty(), "never fired: {missing:?}");
    for name in ["two-epochs-end-before-a-catchup", "sybil-burst", "new-identity-of-a-banned-peer"]
    {
        assert!(fired.contains(name), "never fired: {name}");
    }
    assert!(fired.len() >= 55, "{fired:?}");
}

#[test]
fn the_same_seed_gives_the_same_world_whatever_is_kept_of_it() {
    for seed in 0..20 {
        let scenario = Scenario::random(seed);
        let mut traced = scenario.world(seed, PolicyKind::Ketch).unwrap();
        traced.keep_trace(100);
        let traced = scenario.run(&mut traced);
        assert_eq!(traced, run(&scenario, seed, PolicyKind::Ketch), "{seed}");
        let other = Scenario::random(seed + 1);
        assert_ne!(traced.trace_hash, run(&other, seed + 1, PolicyKind::Ketch).trace_hash);
    }
}

#[test]
fn what_is_no_scenario_is_refused_where_it_is_wrong() {
    let text = fs::read_to_string(&files()[0]).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let text = text.replacen(from, to, 1);
        let error = Scenario::parse(&text, Form::Full).unwrap_err();
        let line = text.get(..error.offset).unwrap().lines().count();
        (error.message, text.lines().nth(line.saturating_sub(1)).unwrap_or("").to_owned())
    };
    let cases = [
        ("changes = 1", "changes = 0", "nonzero"),
        ("changes = 1", "chances = 1", "unknown field"),
        ("block_interval = \"1s\"", "block_interval = \"soon\"", ""),
        ("changed = 0.02", "changed = 1.5", "share"),
        ("part = \"4MiB\"", "part = \"4MB\"", "MiB"),
        ("lies = [\"silent\"]", "lies = [\"modest\"]", "no lie `modest`"),
        ("clean = \"host\"", "clean = \"nobody\"", "no nodes are called `nobody`"),
        ("tracks = [[0]]", "tracks = [[7]]", "no shard 7"),
        ("count = 6", "count = -6", ""),
    ];
    for (from, to, why) in cases {
        let (message, line) = refused(from, to);
        assert!(message.contains(why), "{to}: {message}");
        assert!(!line.is_empty(), "{to}");
    }
}
