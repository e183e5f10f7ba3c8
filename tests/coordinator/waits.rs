//! Every wait ends by itself: it wakes the coordinator when it is over, though nothing else happens.

use super::*;

/// Verdicts, which are made twice a second otherwise, wake nobody here.
fn quiet() -> Config {
    Config { verdict_interval: Duration::from_secs(1_000_000), ..Config::default() }
}

/// Takes a state of fifty parts from one peer, none of which has come.
fn downloading() -> (Script, Question) {
    let mut script = Script::taking(quiet(), 100_000);
    script.connect_holder(1, 3, &PartSet::full(50));
    script.download(&PartSet::empty(50));
    let asked = script.take(is_parts).remove(0);
    script.search();
    (script, asked)
}

#[test]
fn a_peer_that_is_busy_is_asked_again_when_it_said_and_not_before() {
    let (mut script, asked) = downloading();
    script.refuse(&asked, Refusal::Busy { retry_after: Duration::from_secs(7) });
    script.wait(6_900);
    assert!(script.take(is_parts).is_empty());
    script.wait(200);
    assert_eq!(script.take(is_parts).len(), 1);
}

#[test]
fn holders_are_looked_for_again_after_a_while() {
    let mut script = Script::taking(quiet(), 100_000);
    script.search();
    for _ in 0..5 {
        assert!(!script.runs(|work| matches!(work, Work::Search { .. })));
        script.wait(1_100);
        assert!(script.runs(|work| matches!(work, Work::Search { .. })));
        script.search();
    }
}

#[test]
fn what_became_durable_is_announced_within_the_interval() {
    let mut script = Script::taking(quiet(), 100_000);
    script.connect_holder(1, 3, &PartSet::full(50));
    script.download(&parts(0..10, 50));
    let said = |script: &Script| {
        script.commands.iter().filter(|command| matches!(command, Command::Announce(_))).count()
    };
    assert_eq!(said(&script), 1, "at once the first time");
    for question in script.take(is_parts) {
        script.give_parts(&question, &PartSet::full(50));
    }
    // What has come is applied when its window is old.
    script.wait(30_000);
    script.apply();
    let before = said(&script);
    script.wait(1_100);
    assert!(said(&script) > before || before > 1, "{before}");
    let newest = script.commands.iter().rev().find_map(|command| match command {
        Command::Announce(holding) => Some(holding.held().len()),
        _ => None,
    });
    assert_eq!(newest, Some(script.status().parts_held));
    assert!(script.status().parts_held > 10);
}

#[test]
fn a_window_that_stays_open_is_applied_as_far_as_it_has_come() {
    let (mut script, asked) = downloading();
    let Query::Parts { wanted, .. } = &asked.query else { panic!("{asked:?}") };
    let part = wanted.iter().next().unwrap();
    script.tell(Input::PartVerified { request: asked.request, part });
    script.end(&asked, RequestEnd::Failed(Failure::Disconnected));
    script.tell(Input::PeerDisconnected { peer: Peer(1) });
    script.wait(19_000);
    assert!(!script.runs(|work| matches!(work, Work::Apply { .. })));
    script.wait(2_000);
    assert!(script.runs(|work| matches!(work, Work::Apply { .. })));
}

#[test]
fn a_task_that_stopped_is_tried_again() {
    let mut script = Script::new(quiet());
    script.epoch(3, 100_000, &[], &[S]);
    script.head(300_001);
    let full = JobEnd::Failed(OurFault::DiskFull);
    script.finish(|work| matches!(work, Work::Open { .. }).then(|| full.clone()));
    assert_eq!(script.status().phase, Phase::Stopped);
    script.wait(600);
    assert!(script.is_opening());
}
