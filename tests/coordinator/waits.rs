//! Every wait ends by itself: it wakes the coordinator when it is over, though nothing else happens.

use super::*;

/// Verdicts, which are made twice a second otherwise, wake nobody here.
fn quiet() -> Config {
    Config { verdict_interval: Duration::from_secs(1_000_000), ..Config::default() }
}

/// Lets time pass, and wakes the coordinator when it asks for it and at no other moment.
fn sleep(script: &mut Script, millis: u64) {
    let end = script.now + Duration::from_millis(millis);
    while let Some((wake_up, _)) = script.coordinator.poll_timeout().filter(|(at, _)| *at <= end) {
        script.run_to(wake_up.since_origin().as_millis() as u64 + 1);
    }
    script.now = script.now.max(end);
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
    script.refuse(&asked, Refusal::Busy { retry_after: Duration::from_millis(6_300) });
    sleep(&mut script, 6_200);
    assert!(script.take(is_parts).is_empty());
    sleep(&mut script, 200);
    assert_eq!(script.take(is_parts).len(), 1);
}

#[test]
fn holders_are_looked_for_again_after_a_while() {
    let mut script = Script::taking(quiet(), 100_000);
    script.search();
    for _ in 0..5 {
        assert!(!script.runs(|work| matches!(work, Work::Search { .. })));
        sleep(&mut script, 1_100);
        assert!(script.runs(|work| matches!(work, Work::Search { .. })));
        script.search();
    }
}

#[test]
fn what_became_durable_is_announced_once_the_interval_is_over() {
    // Every part is applied as soon as it has come.
    let small = u64::from(PART);
    let config = Config { window_bytes: small, window_bytes_min: small, ..quiet() };
    let mut script = Script::taking(config, 100_000);
    script.connect_holder(1, 3, &PartSet::full(50));
    script.download(&parts(0..10, 50));
    let said = |script: &Script| {
        let held = script.commands.iter().filter_map(|command| match command {
            Command::Announce(holding) => Some(holding.held().len()),
            _ => None,
        });
        held.collect::<Vec<_>>()
    };
    assert_eq!(said(&script), [10]);
    let asked = script.take(is_parts).remove(0);
    script.give_parts(&asked, &PartSet::full(50));
    script.apply();
    let held = script.status().parts_held;
    assert!(held > 10);
    sleep(&mut script, 900);
    assert_eq!(said(&script), [10]);
    sleep(&mut script, 200);
    assert_eq!(said(&script), [10, held]);
}

#[test]
fn a_window_that_stays_open_is_applied_as_far_as_it_has_come() {
    let (mut script, asked) = downloading();
    let Query::Parts { wanted, .. } = &asked.query else { panic!("{asked:?}") };
    let part = wanted.iter().next().unwrap();
    script.tell(Input::PartVerified { request: asked.request, part });
    script.end(&asked, RequestEnd::Failed(Failure::Disconnected));
    script.tell(Input::PeerDisconnected { peer: Peer(1) });
    sleep(&mut script, 19_000);
    assert!(!script.runs(|work| matches!(work, Work::Apply { .. })));
    sleep(&mut script, 2_000);
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
    sleep(&mut script, 600);
    assert!(script.is_opening());
}
