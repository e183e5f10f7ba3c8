//! A shard that is held: replaying, following the head, and what does not make it give up.

use super::*;

#[test]
fn a_held_state_is_not_given_up_because_a_peer_keeps_no_outputs() {
    let mut script = Script::tracking(100, 350, 340);
    script.connect(1);
    for _ in 0..60 {
        script.block();
        script.summarize(|_| feeds(1, 350));
        for question in script.take(is_outputs) {
            script.refuse(&question, Refusal::NotRetained);
        }
    }
    assert_eq!((script.status().phase, script.applied()), (Phase::Replaying, 340));
    assert!(script.take(is_outline).is_empty() && !script.has_discarded());
    assert!(!script.has_told(|event| matches!(event, Event::Pivoted { .. })));

    script.connect(2);
    script.summarize(|_| feeds(1, 410));
    script.give_outputs();
    script.replay();
    assert_eq!((script.status().phase, script.applied()), (Phase::Following, 410));
}

#[test]
fn peers_that_are_a_moment_behind_do_not_make_a_follower_fall_behind() {
    let mut script = Script::tracking(1_000, 3_350, 3_349);
    (1..4).for_each(|peer| script.connect(peer));
    for tick in 1..3_000 {
        script.run_to(tick * 10);
        if tick % 100 == 0 {
            script.head(script.height + 1);
        }
        // For so many milliseconds after a block nobody has its outputs.
        let known = if tick % 100 < 5 { script.height - 1 } else { script.height };
        script.summarize(|_| feeds(3_001, known));
        for question in script.take(is_outputs) {
            let Query::Outputs { after, .. } = question.query else { continue };
            let end = match Height(known) {
                through if after < through => RequestEnd::Outputs { through, bytes: 1 },
                _ => RequestEnd::Refused(Refusal::NotHeld),
            };
            script.end(&question, end);
        }
        script.replay();
        assert!(script.applied() + 1 >= script.height, "at {tick}: {:?}", script.status());
    }
    assert_eq!(script.status().phase, Phase::Following);
    assert!(!script.has_told(|event| matches!(event, Event::FellBehind { .. })));
}

#[test]
fn outputs_are_fetched_again_after_their_replay_failed() {
    let mut script = Script::tracking(1_000, 3_350, 3_340);
    script.connect(1);
    script.summarize(|_| feeds(1, 3_350));
    script.give_outputs();
    let replays = |work: &Work| matches!(work, Work::Replay { .. });
    let failed = JobEnd::Failed(OurFault::Stopped);
    assert_eq!(script.finish(|work| replays(work).then(|| failed.clone())), 1);
    assert_eq!(script.status().phase, Phase::Stopped);
    assert!(script.has_discarded(), "the driver still has them");
    assert!(script.take(is_outputs).is_empty());

    script.wait(1_000);
    script.open(Some(3_340), vec![]);
    let asked = script.take(is_outputs);
    let Query::Outputs { after, .. } = asked[0].query else { panic!("{asked:?}") };
    assert_eq!(after, Height(3_340));
    script.end(&asked[0], RequestEnd::Outputs { through: Height(3_350), bytes: 10 });
    script.replay();
    assert_eq!((script.status().phase, script.applied()), (Phase::Following, 3_350));
}
