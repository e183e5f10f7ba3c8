//! Which state a shard makes for, and when it turns to another.

use super::*;

#[test]
fn replay_of_what_nobody_needs_to_keep_is_given_up_for_the_newest_start_once_somebody_holds_it() {
    let mut script = Script::tracking(100, 350, 310);
    for epoch in [4, 5] {
        script.run_to(100_000 * (epoch - 3));
        script.epoch(epoch, 100, &[S], &[S]);
        script.head(epoch * 100 + 1);
    }
    script.connect(1);
    for _ in 0..60 {
        script.block();
        script.summarize(|_| feeds(401, 600));
    }
    assert_eq!((script.status().phase, script.applied()), (Phase::Replaying, 310));
    assert!(script.take(|_| true).is_empty(), "nobody has what it needs");

    for _ in 0..10 {
        script.block();
        script.summarize(|_| tracks(5, &PartSet::full(10), 401, 600));
    }
    assert_eq!(script.status().target, Some((Epoch(5), root(S, 5))));
    let asked = script.take(is_outline);
    assert!(matches!(asked[..], [Question { query: Query::Outline { root: of, .. }, .. }]
        if of == root(S, 5)));
}

#[test]
fn a_target_is_finished_if_that_is_sooner_and_given_up_once_it_is_two_epochs_old() {
    // Blocks are replayed quickly, and much of the state changes in an epoch.
    let config = Config { replay_prior: 5_000, change_per_mille_prior: 200, ..Config::default() };
    let mut script = Script::taking(config, 5);
    let all = PartSet::full(500);
    script.connect_holder(1, 3, &all);
    script.download(&parts(0..490, 500));
    for (epoch, target) in [(4, 3), (5, 5)] {
        script.run_to(5_000 * (epoch - 3) - 500);
        script.epoch(epoch, 5, &[S], &[S]);
        script.head(epoch * 5 + 1);
        // Others hold the new start from the first moment on.
        script.connect(epoch as u32);
        let held = holding(S, epoch, all.clone());
        script.tell(Input::HoldingAnnounced { peer: Peer(epoch as u32), holding: held });
        script.wait(1_000);
        assert_eq!(script.status().target, Some((Epoch(target), root(S, target))));
    }
    assert_eq!(script.status().phase, Phase::Locating);
}

#[test]
fn an_empty_state_needs_no_holder() {
    let mut start = epoch_start(3, 100, &[], &[S]);
    start.roots.insert(S, StateRoot::EMPTY);
    let mut script = Script::new(Config::default());
    script.tell(Input::EpochStarted(start));
    script.head(301);
    script.open(None, vec![]);
    assert_eq!(script.status().phase, Phase::Reconciling);
    assert!(script.take(|_| true).is_empty());
    assert!(!script.runs(|work| matches!(work, Work::Search { .. })));

    for _ in 0..4 {
        script.finish(|work| Some(done(work, 0)));
    }
    assert_eq!((script.status().phase, script.applied()), (Phase::Following, 300));
}

#[test]
fn parts_of_a_dropped_shard_do_not_come_back_with_the_work_that_was_under_way() {
    let mut script = Script::taking(Config { window_bytes: 8 << 20, ..Config::default() }, 5);
    let all = PartSet::full(500);
    script.connect_holder(1, 3, &all);
    script.download(&PartSet::empty(500));
    let applies = |work: &Work| matches!(work, Work::Apply { .. });
    while !script.runs(applies) {
        script.wait(10);
        for question in script.take(is_parts) {
            script.give_parts(&question, &all);
        }
    }
    let late = script.take(is_parts);
    assert!(!late.is_empty());
    script.run_to(5_000);
    script.epoch(4, 5, &[], &[S]);
    script.head(21);
    script.tell(Input::HoldingAnnounced { peer: Peer(1), holding: holding(S, 4, all.clone()) });
    script.wait(1_000);
    assert_eq!(script.status().target, Some((Epoch(4), root(S, 4))));

    script.run_to(9_000);
    script.epoch(5, 5, &[], &[]);
    script.search();
    assert!(script.has_discarded() && !script.is_dropping(), "it waits for its work to end");
    for question in late {
        script.give_parts(&question, &all);
    }
    assert_eq!(script.coordinator.pending_bytes(), 0);
    while script.finish(|work| applies(work).then_some(JobEnd::Applied)) > 0 {}
    assert!(script.is_dropping() && !script.runs(applies));
    assert_eq!(script.coordinator.shards().count(), 0);
}

#[test]
fn a_shard_without_a_root_waits_for_an_epoch_that_has_one() {
    let mut start = epoch_start(3, 100, &[], &[S]);
    start.roots.remove(&S);
    let mut script = Script::new(Config::default());
    script.tell(Input::EpochStarted(start));
    script.head(301);
    let mut tries = Vec::new();
    for _ in 0..60 {
        if script.is_opening() {
            tries.push(script.millis() / 1_000);
            script.open(None, vec![]);
            assert_eq!(script.status().phase, Phase::Stopped);
        }
        script.block();
    }
    assert!(tries.len() > 3, "{tries:?}");
    let waits: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.is_sorted() && waits[0] < waits[waits.len() - 1], "{waits:?}");
    assert!(script.take(|_| true).is_empty());

    assert!(!script.is_opening());
    script.epoch(4, 100, &[S], &[S]);
    assert!(script.is_opening(), "at once, however long it would have waited");
    script.head(401);
    script.open(None, vec![]);
    assert_eq!(script.status().phase, Phase::Locating);
    assert_eq!(script.status().target, Some((Epoch(4), root(S, 4))));
}

/// A holder of the last parts is busy until the epoch ends; all others have come.
fn nearly_there(all: &PartSet) -> Script {
    let busy = Refusal::Busy { retry_after: Duration::from_secs(1) };
    let mut script = Script::taking(Config::default(), 100);
    script.run_to(98_000);
    script.connect_holder(1, 3, all);
    script.download(&parts(0..340, 400));
    while script.millis() < 100_000 {
        script.wait(50);
        for question in script.take(is_parts) {
            let Query::Parts { wanted, .. } = &question.query else { continue };
            if wanted.iter().any(|part| part.0 >= 380) {
                script.end(&question, RequestEnd::Parts { held: all.clone(), refusal: Some(busy) });
            } else {
                script.give_parts(&question, all);
            }
        }
        script.apply();
        script.search();
    }
    script.epoch(4, 100, &[S], &[S]);
    script.head(401);
    script
}

#[test]
fn a_start_that_would_be_sooner_there_is_made_for_once_somebody_claims_it_and_not_before() {
    let all = PartSet::full(400);
    let mut script = nearly_there(&all);
    script.connect_holder(2, 4, &all);
    script.wait(1_000);
    assert_eq!(script.status().target, Some((Epoch(4), root(S, 4))));

    let mut script = nearly_there(&all);
    while script.status().phase != Phase::Following {
        assert_eq!(script.status().target, Some((Epoch(3), root(S, 3))));
        assert!(script.millis() < 150_000, "{:?}", script.status());
        script.block();
        let height = script.height;
        script.summarize(|_| tracks(3, &all, 301, height));
        for question in script.take(is_parts) {
            script.give_parts(&question, &all);
        }
        script.give_outputs();
        assert!(script.take(is_outline).is_empty());
        script.finish(|work| Some(done(work, 400)));
    }
    assert!(!script.has_told(|event| matches!(event, Event::Pivoted { .. })));
}
