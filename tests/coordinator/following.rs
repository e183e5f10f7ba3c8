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

#[test]
fn outputs_that_come_after_they_were_given_up_are_not_believed_when_the_shard_is_wanted_again() {
    let mut script = Script::new(Config::default());
    script.epoch(3, 100, &[], &[S]);
    script.head(390);
    script.open(Some(380), vec![(Epoch(3), sizes(S, 3, 50))]);
    assert!(script.runs(|work| matches!(work, Work::Generate { .. })), "it cannot be deleted yet");
    script.connect(1);
    script.summarize(|_| feeds(1, 390));
    let late = script.take(is_outputs);
    script.head(401);
    script.epoch(4, 100, &[], &[]);
    assert!(script.has_discarded() && !script.is_dropping());
    script.end(&late[0], RequestEnd::Outputs { through: Height(390), bytes: 100 });

    script.epoch(5, 100, &[], &[S]);
    script.head(501);
    script.summarize(|_| feeds(1, 501));
    assert!(!script.runs(|work| matches!(work, Work::Replay { .. })), "{:?}", script.jobs);
    let asked = script.take(is_outputs);
    assert!(
        matches!(asked[..], [Question { query: Query::Outputs { after: Height(380), .. }, .. }]),
        "{asked:?}"
    );
}

#[test]
fn a_peer_that_claims_outputs_and_has_nothing_newer_does_not_hide_one_that_has_by_now() {
    let busy = Refusal::Busy { retry_after: Duration::from_secs(1) };
    let nothing = RequestEnd::Outputs { through: Height(3_001), bytes: 0 };
    let refusals = [Refusal::NotHeld, Refusal::NotRetained, busy].map(RequestEnd::Refused);
    for end in refusals.into_iter().chain([nothing]) {
        let mut script = Script::tracking(1_000, 3_100, 3_001);
        (1..3).for_each(|peer| script.connect(peer));
        let (mut told, mut asked) = (0, 0);
        while script.applied() < script.height {
            script.wait(100);
            if script.millis().is_multiple_of(1_000) {
                script.head(script.height + 1);
            }
            assert!(script.millis() < 15_000, "{end:?}: {:?}", script.status());
            told += script.questions.iter().filter(|question| question.peer == Peer(2)).count();
            // The second one has come up only a moment ago.
            let (height, ready) = (script.height, script.millis() > 3_000);
            script.summarize(|peer| {
                if peer == Peer(1) || ready { feeds(3_001, height) } else { Summary::default() }
            });
            for question in script.take(is_outputs) {
                if question.peer == Peer(2) {
                    let through = Height(height);
                    script.end(&question, RequestEnd::Outputs { through, bytes: 100 });
                } else {
                    asked += 1;
                    script.end(&question, end.clone());
                }
            }
            script.replay();
            script.search();
        }
        assert!(told <= 5, "the honest one was asked {told} times what it has");
        assert!((1..=15).contains(&asked), "{end:?}: the other was asked {asked} times");
    }
}

#[test]
fn questions_for_outputs_that_fail_at_the_boundary_do_not_give_up_a_whole_state() {
    let busy = Refusal::Busy { retry_after: Duration::from_millis(100) };
    let failures = [Failure::TimedOut, Failure::Disconnected].map(RequestEnd::Failed);
    let ends = failures.into_iter().chain([RequestEnd::Refused(busy)]);
    for (end, mut times) in ends.flat_map(|end| [1, 4].map(|times| (end.clone(), times))) {
        let mut script = Script::tracking(100, 399, 399);
        script.connect(1);
        script.summarize(|_| feeds(1, 399));
        assert_eq!(script.status().phase, Phase::Following);
        script.wait(1_000);
        script.head(400);
        script.epoch(4, 100, &[S], &[S]);
        let holding = holding(S, 4, PartSet::full(50));
        script.tell(Input::HoldingAnnounced { peer: Peer(1), holding });
        let mut slow = Vec::new();
        while script.applied() < script.height {
            assert!(script.millis() < 20_000, "{end:?}: {:?}", script.status());
            script.wait(100);
            if script.millis().is_multiple_of(1_000) {
                script.head(script.height + 1);
            }
            script.summarize(|_| tracks(4, &PartSet::full(50), 1, 399));
            for question in script.take(is_outputs) {
                if times > 0 {
                    times -= 1;
                    script.end(&question, end.clone());
                } else {
                    slow.push((script.millis() + 2_500, question));
                }
            }
            let due = slow.extract_if(.., |(due, _)| *due <= script.millis());
            for (_, question) in due.collect::<Vec<_>>() {
                let through = Height(script.height);
                script.end(&question, RequestEnd::Outputs { through, bytes: 10 });
            }
            script.replay();
            assert_eq!(script.status().target, None, "{end:?}");
        }
        assert_eq!(times, 0);
        assert!(script.take(is_outline).is_empty() && !script.has_discarded(), "{end:?}");
    }
}

#[test]
fn outputs_of_many_shards_are_within_memory_and_every_shard_gets_some() {
    for memory_bytes in [16 << 20, Config::default().memory_bytes] {
        let mut script = Script::new(Config { memory_bytes, ..Config::default() });
        let shards: Vec<_> = (0..20).map(ShardId).collect();
        script.epoch(3, 10_000, &shards, &shards);
        script.head(31_001);
        let head = Some(Height(30_500));
        let opened = JobEnd::Opened { head, outputs_after: head, starts: vec![] };
        let opens = |work: &Work| matches!(work, Work::Open { .. });
        assert_eq!(script.finish(|work| opens(work).then(|| opened.clone())), 20);
        (1..30).for_each(|peer| script.connect(peer));
        let follow = |shard: &ShardId| Following::new(*shard, Height(1), Height(31_001)).unwrap();
        let feeds = Summary::new(vec![], shards.iter().take(16).map(follow).collect()).unwrap();
        let rest = Summary::new(vec![], shards.iter().skip(16).map(follow).collect()).unwrap();
        // Nothing is applied meanwhile.
        let (mut waiting, mut open) = (0, 0);
        for _ in 0..500 {
            script.wait(10);
            for question in script.take(|query| matches!(query, Query::Summary(_))) {
                let Query::Summary(about) = &question.query else { continue };
                let feeds = if about.contains(&shards[0]) { &feeds } else { &rest };
                script.end(&question, RequestEnd::Summary(feeds.clone()));
            }
            for question in script.take(is_outputs) {
                let Query::Outputs { after, budget_bytes, .. } = question.query else { continue };
                open += 1;
                waiting += budget_bytes;
                let through = Height(after.0 + 10);
                script.end(&question, RequestEnd::Outputs { through, bytes: budget_bytes });
            }
        }
        assert!(open >= 40, "{open} answers in {memory_bytes} bytes");
        assert!(waiting <= memory_bytes, "{waiting} of {memory_bytes} bytes wait");
        let replays = script.jobs.iter().filter(|(_, work)| matches!(work, Work::Replay { .. }));
        assert_eq!(replays.count(), 20, "every shard has something to apply");
    }
}
