//! When others are told what is held.

use super::*;

/// How often the start of an epoch was announced as held whole, and how often it was withdrawn.
fn announced(script: &Script, epoch: u64) -> (usize, usize) {
    let count = |held: &PartSet| {
        let holding = Command::Announce(holding(S, epoch, held.clone()));
        script.commands.iter().filter(|command| **command == holding).count()
    };
    (count(&PartSet::full(5)), count(&PartSet::empty(5)))
}

#[test]
fn a_start_reached_a_moment_before_the_epoch_begins_is_announced_within_a_second_and_once() {
    let fates: [[&[ShardId]; 2]; 4] = [[&[S], &[S]], [&[S], &[]], [&[], &[S]], [&[], &[]]];
    for [tracked, next] in fates {
        let mut script = Script::new(Config::default());
        script.epoch(3, 100, &[S], &[S]);
        script.head(399);
        script.open(Some(399), vec![(Epoch(3), sizes(S, 3, 5))]);
        assert_eq!(announced(&script, 3), (1, 0));
        script.connect(1);
        script.summarize(|_| feeds(1, 399));
        script.wait(500);
        script.head(400);
        script.give_outputs();
        let passed = vec![(Epoch(4), sizes(S, 4, 5))];
        let replayed = JobEnd::Replayed { through: Height(400), starts: passed };
        let replays = |work: &Work| matches!(work, Work::Replay { .. });
        assert_eq!(script.finish(|work| replays(work).then(|| replayed.clone())), 1);
        // Announcements come a second apart, so this one is still due.
        assert_eq!(announced(&script, 4), (0, 0));
        script.wait(10);
        script.epoch(4, 100, tracked, next);
        script.wait(1_000);
        assert_eq!(announced(&script, 4), (1, 0), "tracked {tracked:?}, next {next:?}");
        script.wait(500_000);
        for epoch in [3, 4] {
            assert_eq!(announced(&script, epoch), (1, 0), "tracked {tracked:?}, next {next:?}");
        }
    }
}

#[test]
fn a_start_that_is_gone_when_the_store_is_opened_anew_is_withdrawn_and_the_others_told_again() {
    let starts = |epochs: &[u64]| -> Vec<_> {
        epochs.iter().map(|epoch| (Epoch(*epoch), sizes(S, *epoch, 5))).collect()
    };
    let mut script = Script::new(Config::default());
    script.epoch(3, 100, &[S], &[S]);
    script.epoch(4, 100, &[S], &[S]);
    script.head(450);
    script.open(Some(440), starts(&[3, 4]));
    assert_eq!([announced(&script, 3), announced(&script, 4)], [(1, 0), (1, 0)]);
    script.connect(1);
    script.summarize(|_| feeds(1, 450));
    script.give_outputs();
    let fails = |work: &Work| matches!(work, Work::Replay { .. } | Work::Generate { .. });
    let failed = JobEnd::Failed(OurFault::Stopped);
    assert_eq!(script.finish(|work| fails(work).then(|| failed.clone())), 2);
    assert_eq!(script.status().phase, Phase::Stopped);
    script.wait(5_000);
    script.open(Some(440), starts(&[4]));
    script.wait(1_000);
    assert_eq!([announced(&script, 3), announced(&script, 4)], [(1, 1), (2, 1)]);
}

#[test]
fn a_start_of_which_nothing_can_be_made_is_withdrawn_until_its_store_is_opened_anew() {
    let starts = vec![(Epoch(3), sizes(S, 3, 5))];
    let mut script = Script::new(Config::default());
    script.epoch(3, 100, &[S], &[S]);
    script.head(350);
    script.open(Some(340), starts.clone());
    assert_eq!(announced(&script, 3), (1, 0));
    let nothing = JobEnd::Generated { made: PartSet::empty(5) };
    let makes = |work: &Work| matches!(work, Work::Generate { .. });
    assert_eq!(script.finish(|work| makes(work).then(|| nothing.clone())), 1);
    script.wait(1_000);
    assert_eq!(announced(&script, 3), (1, 1));
    script.connect(1);
    script.summarize(|_| feeds(1, 350));
    script.give_outputs();
    let replays = |work: &Work| matches!(work, Work::Replay { .. });
    let failed = JobEnd::Failed(OurFault::Stopped);
    assert_eq!(script.finish(|work| replays(work).then(|| failed.clone())), 1);
    script.wait(5_000);
    script.open(Some(340), starts);
    script.wait(1_000);
    assert_eq!(announced(&script, 3), (2, 1));
}
