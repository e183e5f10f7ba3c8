//! When a shard is let go of, and what happens if it is wanted again.

use super::*;

/// A shard that was tracked in epoch 3 and frozen in epoch 4 is being deleted in epoch 5.
fn dropping() -> Script {
    let mut script = Script::new(Config::default());
    script.epoch(3, 100, &[S], &[]);
    script.head(400);
    script.open(Some(400), vec![]);
    script.epoch(4, 100, &[], &[]);
    assert_eq!(script.status().phase, Phase::Frozen);
    script.epoch(5, 100, &[], &[]);
    assert!(script.is_dropping());
    script
}

/// A shard that was tracked in epoch 3 stopped, and is released by epoch 4.
fn stopped() -> Script {
    let mut script = Script::new(Config::default());
    script.epoch(3, 100, &[S], &[]);
    script.head(350);
    script.open(Some(340), vec![]);
    script.connect(1);
    script.summarize(|_| feeds(1, 450));
    script.give_outputs();
    let replays = |work: &Work| matches!(work, Work::Replay { .. });
    let failed = JobEnd::Failed(OurFault::DiskFull);
    assert_eq!(script.finish(|work| replays(work).then(|| failed.clone())), 1);
    assert_eq!(script.status().phase, Phase::Stopped);
    script.epoch(4, 100, &[], &[]);
    script.head(401);
    script
}

#[test]
fn a_shard_that_was_released_while_stopped_is_dropped_by_the_next_epoch() {
    let mut script = stopped();
    assert_eq!(script.status().phase, Phase::Stopped);
    assert!(!script.is_dropping());
    script.search();
    script.epoch(5, 100, &[], &[]);
    assert!(script.is_dropping());
}

#[test]
fn a_shard_that_was_released_while_stopped_is_brought_to_its_end_to_serve_it() {
    let mut script = stopped();
    script.wait(1_000);
    script.open(Some(340), vec![]);
    script.summarize(|_| feeds(1, 450));
    script.give_outputs();
    script.replay();
    assert_eq!(script.status().phase, Phase::Frozen);
    assert!(!script.is_dropping());
    script.search();
    script.epoch(5, 100, &[], &[]);
    assert!(script.is_dropping());
}

#[test]
fn a_restart_in_the_epoch_after_a_shard_was_tracked_keeps_it_for_that_epoch() {
    let mut script = Script::new(Config::default());
    script.epoch(3, 100, &[S], &[]);
    script.epoch(4, 100, &[], &[]);
    script.head(410);
    script.open(Some(400), vec![(Epoch(4), sizes(S, 4, 3))]);
    assert_eq!(script.status().phase, Phase::Frozen);
    assert!(!script.is_dropping());
    let held = holding(S, 4, PartSet::full(3));
    assert!(script.commands.contains(&Command::Announce(held)));

    script.finish(|work| Some(done(work, 3)));
    script.epoch(5, 100, &[], &[]);
    assert!(script.is_dropping());
}

#[test]
fn a_shard_that_is_wanted_while_it_is_deleted_is_opened_after_that_however_that_ends() {
    for end in [JobEnd::Dropped, JobEnd::Failed(OurFault::Stopped)] {
        let mut script = dropping();
        script.epoch(6, 100, &[], &[S]);
        script.head(601);
        script.wait(10_000);
        assert!(!script.is_opening(), "{end:?}");
        let drops = |work: &Work| matches!(work, Work::DropShard { .. });
        assert_eq!(script.finish(|work| drops(work).then(|| end.clone())), 1);
        assert!(script.is_opening() && !script.is_dropping(), "{end:?}");
        script.open(None, vec![]);
        assert_eq!(script.status().phase, Phase::Locating, "{end:?}");
    }
}

#[test]
fn damage_in_a_shard_that_is_kept_for_others_only_drops_it() {
    let mut script = Script::new(Config::default());
    script.epoch(3, 100, &[S], &[]);
    script.head(400);
    script.open(Some(400), vec![]);
    script.epoch(4, 100, &[], &[]);
    assert_eq!(script.status().phase, Phase::Frozen);
    script.tell(Input::DamageFound { shard: S });
    assert!(script.is_dropping());
    script.connect(1);
    script.wait(10_000);
    assert!(script.take(|_| true).is_empty(), "nothing is asked for it");
}

#[test]
fn a_shard_that_is_wanted_again_before_it_could_be_deleted_is_announced_again() {
    let mut script = Script::new(Config::default());
    script.epoch(3, 100, &[], &[S]);
    script.head(400);
    script.open(Some(400), vec![(Epoch(4), sizes(S, 4, 3))]);
    let held = Command::Announce(holding(S, 4, PartSet::full(3)));
    let withdrawn = Command::Announce(holding(S, 4, PartSet::empty(3)));
    assert!(script.commands.contains(&held));
    // A job keeps it from being deleted.
    assert!(script.runs(|work| matches!(work, Work::Generate { .. })));
    script.epoch(4, 100, &[], &[]);
    assert_eq!(script.commands.iter().filter(|command| **command == withdrawn).count(), 1);

    script.commands.clear();
    script.epoch(5, 100, &[], &[S]);
    script.finish(|work| Some(done(work, 3)));
    script.wait(2_000);
    assert!(script.commands.contains(&held) && !script.commands.contains(&withdrawn));
    assert!(!script.is_dropping() && script.status().phase != Phase::Frozen);
}

#[test]
fn a_download_that_is_wanted_again_before_it_could_be_deleted_begins_from_what_is_durable() {
    let mut script = Script::taking(Config::default(), 100);
    let all = PartSet::full(4);
    script.connect_holder(1, 3, &all);
    script.download(&PartSet::empty(4));
    while !script.runs(|work| matches!(work, Work::Apply { .. })) {
        for question in script.take(is_parts) {
            script.give_parts(&question, &all);
        }
        script.wait(10);
    }
    script.epoch(4, 100, &[], &[]);
    assert!(script.has_discarded() && !script.is_dropping());
    script.epoch(5, 100, &[], &[S]);
    script.head(501);
    assert_eq!(script.status().target, Some((Epoch(5), root(S, 5))));
    script.apply();
    script.search();
    script.summarize(|_| holds(5, all.clone()));
    script.tell(Input::HoldingAnnounced { peer: Peer(1), holding: holding(S, 5, all) });
    script.download(&parts(0..3, 4));
    assert_eq!(script.status().parts_held, 3);
    assert!(!script.is_dropping());
}

#[test]
fn a_shard_that_was_released_is_never_made_a_target_again_however_far_behind_it_is() {
    for head in [250, 350] {
        let mut script = Script::new(Config::default());
        script.epoch(3, 100, &[S], &[]);
        script.epoch(4, 100, &[], &[]);
        script.head(410);
        script.open(Some(head), vec![]);
        script.connect_holder(1, 4, &PartSet::full(50));
        for _ in 0..80 {
            script.block();
            let holding = holding(S, 4, PartSet::full(50));
            script.tell(Input::HoldingAnnounced { peer: Peer(1), holding });
            script.summarize(|_| holds(4, PartSet::full(50)));
            script.search();
            assert!(script.take(is_outline).is_empty() && script.jobs.is_empty(), "at {head}");
            assert_eq!((script.status().phase, script.applied()), (Phase::Replaying, head));
        }
        script.epoch(5, 100, &[], &[]);
        assert!(script.is_dropping());
        assert_eq!(script.coordinator.shards().count(), 0);
    }
}
