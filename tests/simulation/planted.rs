//! Bugs that are planted on purpose: each is noticed, and soon.

use ketch_sim::planted::{Caught, Planted, hunt};

/// Seeds within which each must be.
const SEEDS: u64 = 8;

#[test]
fn every_planted_bug_is_noticed() {
    let found: Vec<_> = Planted::ALL.iter().map(|bug| (*bug, hunt(*bug, SEEDS))).collect();
    println!("| bug | what is wrong | noticed by | in | seeds |\n|---|---|---|---|---|");
    for (bug, caught) in &found {
        println!("| {} | {} | {} |", bug.name(), bug.says(), row(caught.as_ref()));
    }
    let missed = found.iter().filter(|(_, caught)| caught.is_none());
    assert_eq!(missed.map(|(bug, _)| bug.name()).collect::<Vec<_>>(), Vec::<&str>::new());
}

fn row(caught: Option<&Caught>) -> String {
    caught.map_or("nobody | | ".to_owned(), |c| format!("{} | {} | {}", c.by, c.world, c.seeds))
}

#[test]
fn every_planted_bug_has_a_name_of_its_own() {
    assert!(Planted::ALL.len() >= 30, "{}", Planted::ALL.len());
    for bug in Planted::ALL {
        assert_eq!(Planted::of_name(bug.name()), Some(*bug));
    }
}
