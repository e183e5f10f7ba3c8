//! Controls of the hostile peers over real connections: with a defence switched off, by a change of the
//! product's source in a copy of it, the tests of those whom it withstands must fail.
//!
//! `controls.toml` lists the changes. That each still applies is an ordinary test; that each makes its
//! tests fail is a long run.

mod sources;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde::Deserialize;

use self::sources::{root, tests_below, text};
use self::tree::{Ran, Tree};

/// Tests that run at once, each with as much time as if it were alone.
const AT_ONCE: usize = 8;
/// How long a test may take that is not changed.
const PATIENCE: Duration = Duration::from_secs(300);
/// How much longer than ten times what it took before a test may take before it counts as hanging.
const PATIENCE_MORE: Duration = Duration::from_secs(10);
/// Tests of honest peers, which pass with every change: it takes one defence away, and nothing else.
const HONEST: [&str; 3] = [
    "net::answers::a_control_request_is_asked_as_it_is_and_answered_as_it_is",
    "net::finding::a_holder_is_found_through_others_and_connected",
    "newcomer::lies::control_a_holder_that_does_not_lie_is_enough",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Controls {
    control: Vec<Control>,
    without: Vec<Without>,
}

/// A defence that is switched off.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Control {
    /// What is switched off.
    name: String,
    /// One place; more where each of them alone is guarded by the others.
    change: Vec<Change>,
    /// The tests that fail without it.
    tests: Vec<String>,
}

/// A change of a source file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    file: String,
    /// Occurs once in the file.
    from: String,
    to: String,
}

/// Tests that have no control, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Without {
    reason: String,
    tests: Vec<String>,
}

fn controls() -> Controls {
    toml::from_str(&text("tests/controls.toml")).unwrap()
}

#[test]
fn every_control_applies_to_the_sources() {
    let known = tests_below("tests");
    for Control { name, change, tests } in controls().control {
        assert!(!change.is_empty() && !tests.is_empty(), "{name}: nothing is changed or tested");
        for Change { file, from, to } in change {
            assert!(file.starts_with("crates/"), "{name}: {file} is not of the product");
            let found = text(&file).matches(&from).count();
            assert_eq!(found, 1, "{name}: in {file} there is not one {from:?}");
            assert_ne!(from, to, "{name}");
        }
        for test in tests.iter().map(String::as_str).chain(HONEST) {
            assert!(known.contains(test), "{name}: there is no test {test}");
        }
    }
}

#[test]
fn every_hostile_peer_has_a_control_or_a_reason_why_not() {
    let Controls { control, without } = controls();
    let with: BTreeSet<_> = control.into_iter().flat_map(|control| control.tests).collect();
    let hostile: BTreeSet<_> =
        ["tests/net/hostile", "tests/net/hostile.rs", "tests/newcomer/lies.rs"]
            .into_iter()
            .flat_map(tests_below)
            .collect();
    let mut excused = BTreeSet::new();
    for Without { reason, tests } in without {
        assert!(reason.len() > 20, "{reason:?} is no reason");
        for test in tests {
            assert!(hostile.contains(&test), "there is no test {test} of a hostile peer");
            assert!(!with.contains(&test), "{test} has a control");
            assert!(excused.insert(test), "a test is excused twice");
        }
    }
    let lacking: Vec<_> =
        hostile.iter().filter(|test| !with.contains(*test) && !excused.contains(*test)).collect();
    assert!(lacking.is_empty(), "without a control: {lacking:#?}");
}

#[test]
fn every_kind_of_liar_lies_in_a_test() {
    let (liar, lies) = (text("tests/newcomer/liar.rs"), text("tests/newcomer/lies.rs"));
    let (_, kinds) = liar.split_once("pub(super) enum Lie {\n").unwrap();
    let (kinds, _) = kinds.split_once("\n}\n").unwrap();
    let kinds = kinds.lines().filter_map(|line| line.trim().strip_suffix(','));
    let kinds: Vec<_> = kinds.filter(|line| !line.starts_with("//")).collect();
    assert!(kinds.len() > 20, "{kinds:?}");
    for kind in kinds {
        let tested = [format!("Lie::{kind}"), format!(": {kind}, banned")];
        assert!(tested.iter().any(|test| lies.contains(test)), "no test has a liar of {kind}");
    }
}

#[test]
#[ignore = "an hour: cargo test --release --test tests -- --ignored controls --nocapture"]
fn without_its_defence_each_hostile_peer_is_not_withstood() {
    let only = std::env::var("KETCH_CONTROLS").unwrap_or_default();
    let controls: Vec<_> =
        controls().control.into_iter().filter(|control| control.name.contains(&only)).collect();
    assert!(!controls.is_empty(), "no control is named {only:?}");
    let tree = Tree::copied(&root());
    let unchanged = unchanged(&tree, &controls);
    let mut table = format!("{:>4} {:>6}  control\n", "s", "failed");
    let mut not_held = Vec::new();
    for control in &controls {
        let before = table.len();
        if let Err(why) = held(&tree, control, &unchanged, &mut table) {
            not_held.push(format!("{}: {why}", control.name));
        }
        print!("{}", &table[before..]);
    }
    println!("\n{table}");
    assert!(not_held.is_empty(), "these do not hold:\n{}", not_held.join("\n"));
}

/// Runs all tests without any change; how long each takes.
fn unchanged(tree: &Tree, controls: &[Control]) -> BTreeMap<String, Duration> {
    let program = tree.build().unwrap_or_else(|error| panic!("unchanged: {error}"));
    let hostile = controls.iter().flat_map(|control| &control.tests);
    let tests: BTreeSet<_> = hostile.map(String::as_str).chain(HONEST).collect();
    let mut took = BTreeMap::new();
    for test in tests {
        let Ran { passed, elapsed } = tree.run(&program, &[test], PATIENCE);
        assert!(passed.contains(test), "{test} fails although nothing is changed");
        println!("{:>4} s  {test}", elapsed.as_secs());
        took.insert(test.to_owned(), elapsed);
    }
    took
}

/// Switches a defence off: whether all its tests fail, and no other.
fn held(
    tree: &Tree,
    control: &Control,
    unchanged: &BTreeMap<String, Duration>,
    table: &mut String,
) -> Result<(), String> {
    let begun = std::time::Instant::now();
    let changed = tree.change(&control.change);
    let program = tree.build()?;
    let honest = tree.run(&program, &HONEST, PATIENCE).passed;
    let mut passed = BTreeSet::new();
    for tests in control.tests.chunks(AT_ONCE) {
        let longest = tests.iter().map(|test| unchanged[test]).max().unwrap_or_default();
        let tests: Vec<_> = tests.iter().map(String::as_str).collect();
        passed.extend(tree.run(&program, &tests, longest * 10 + PATIENCE_MORE).passed);
    }
    // As it was, before the next one.
    drop(changed);
    let (all, seconds) = (control.tests.len(), begun.elapsed().as_secs());
    let failed = format!("{}/{all}", all - passed.len());
    writeln!(table, "{seconds:>4} {failed:>6}  {}", control.name).unwrap();
    if honest.len() < HONEST.len() {
        return Err(format!("of the honest only these pass: {honest:?}"));
    }
    if passed.is_empty() { Ok(()) } else { Err(format!("these pass: {passed:?}")) }
}
