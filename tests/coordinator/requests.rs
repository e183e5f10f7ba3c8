//! Who is asked, how often, and what comes of peers that do not answer well.

use std::collections::BTreeMap;

use super::*;

const BUSY: Refusal = Refusal::Busy { retry_after: Duration::ZERO };

/// How long it takes until outputs are asked for again once all that are open have failed.
/// *Units:* milliseconds.
fn pause_after_failure(script: &mut Script, feed: &Summary) -> u64 {
    let asked = script.take(is_outputs);
    assert!(!asked.is_empty());
    for question in asked {
        script.end(&question, RequestEnd::Failed(Failure::TimedOut));
    }
    let failed = script.millis();
    while !script.questions.iter().any(|question| is_outputs(&question.query)) {
        script.wait(10);
        script.summarize(|_| feed.clone());
    }
    script.millis() - failed
}

/// Answers as a peer that has all of every shard: fifty parts, and ten blocks' outputs at a time.
fn answer_with_all(script: &mut Script, question: &Question) {
    let all = PartSet::full(50);
    let end = match &question.query {
        Query::Summary(shards) => {
            let holdings = shards.iter().map(|shard| holding(*shard, 3, all.clone())).collect();
            let follow = |shard| Following::new(shard, Height(1), Height(script.height)).unwrap();
            let following = shards.iter().copied().map(follow).collect();
            RequestEnd::Summary(Summary::new(holdings, following).unwrap())
        }
        Query::Outline { shard, .. } => RequestEnd::Manifest(sizes(*shard, 3, 50)),
        Query::Parts { .. } => return script.give_parts(question, &all),
        Query::Outputs { after, .. } => {
            RequestEnd::Outputs { through: Height(after.0 + 10), bytes: 8 << 20 }
        }
    };
    script.end(question, end);
}

#[test]
fn a_peer_that_refuses_parts_it_claims_is_not_asked_over_and_over() {
    let mut script = Script::taking(Config::default(), 1_000);
    let all = PartSet::full(50);
    (1..5).for_each(|peer| script.connect_holder(peer, 3, &all));
    script.download(&PartSet::empty(50));
    let mut refused = BTreeMap::new();
    for _ in 0..10_000 {
        script.wait(1);
        for question in script.take(is_parts) {
            *refused.entry(question.peer).or_insert(0) += 1;
            script.refuse(&question, Refusal::NotHeld);
        }
        script.summarize(|_| holds(3, all.clone()));
        script.search();
    }
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert!(refused.values().all(|count| *count <= 5), "in ten seconds: {refused:?}");
}

#[test]
fn holders_that_are_busy_without_naming_a_time_are_asked_in_turn_and_with_pauses() {
    let mut script = Script::taking(Config::default(), 1_000);
    (1..5).for_each(|peer| script.connect_holder(peer, 3, &PartSet::full(50)));
    let mut asked = BTreeMap::new();
    for _ in 0..5_000 {
        script.wait(1);
        for question in script.take(is_outline) {
            *asked.entry(question.peer).or_insert(0) += 1;
            script.refuse(&question, BUSY);
        }
    }
    let (least, most) = (asked.values().min().unwrap(), asked.values().max().unwrap());
    assert!(asked.len() == 4 && most - least <= 1, "{asked:?}");
    assert!((5..=11).contains(most), "in five seconds: {asked:?}");
}

#[test]
fn parts_that_only_a_silent_peer_claims_do_not_keep_the_rest_from_being_fetched() {
    let mut script = Script::taking(Config::default(), 10_000);
    let (common, rare) = (parts(160..500, 500), parts(0..160, 500));
    let of = |peer: Peer| if peer == Peer(3) { rare.clone() } else { common.clone() };
    for peer in 1..4 {
        script.connect(peer);
        script.summarize(|peer| holds(3, of(peer)));
    }
    script.download(&PartSet::empty(500));
    let mut durable = 0;
    for _ in 0..1_200 {
        script.wait(100);
        for question in script.take(is_outline) {
            script.end(&question, RequestEnd::Manifest(sizes(S, 3, 500)));
        }
        for question in script.take(is_parts) {
            if question.peer != Peer(3) {
                script.give_parts(&question, &common);
            }
        }
        script.summarize(|peer| holds(3, of(peer)));
        script.search();
        script.apply();
        // What is durable stays so when the download is begun anew.
        durable = durable.max(script.status().parts_held);
        script.reconcile(&parts(160..160 + durable, 500));
    }
    assert!(script.status().parts_held >= 340, "{:?}", script.status());
}

#[test]
fn memory_is_kept_to_over_many_shards() {
    for memory_bytes in [4 << 20, (4 << 20) + 12_345, 9_999_999] {
        let mut script = Script::new(Config { memory_bytes, ..Config::default() });
        let shards: Vec<_> = (0..20).map(ShardId).collect();
        script.epoch(3, 10_000, &[], &shards);
        script.head(30_001);
        script.finish(|work| Some(done(work, 50)));
        for peer in 1..30 {
            script.connect(peer);
            script.summarize(|_| Summary::default());
            for shard in &shards {
                let holding = holding(*shard, 3, PartSet::full(50));
                script.tell(Input::HoldingAnnounced { peer: Peer(peer), holding });
            }
        }
        let held = |script: &Script| -> u32 {
            script.coordinator.shards().map(|status| status.parts_held).sum()
        };
        while held(&script) < 20 * 50 {
            script.wait(10);
            assert!(script.millis() < 60_000, "{} are held", held(&script));
            for question in script.take(is_outline) {
                let Query::Outline { shard, .. } = question.query else { continue };
                script.end(&question, RequestEnd::Manifest(sizes(shard, 3, 50)));
            }
            for question in script.take(is_parts) {
                assert!(script.coordinator.pending_bytes() <= memory_bytes, "of {memory_bytes}");
                script.give_parts(&question, &PartSet::full(50));
            }
            script.finish(|work| Some(done(work, 50)));
        }
    }
}

#[test]
fn failures_are_forgotten_once_the_same_kind_of_question_is_answered_and_not_by_another_kind() {
    let mut script = Script::tracking(100_000, 300_350, 300_340);
    let feed = feeds(1, 900_000);
    script.connect(1);
    script.summarize(|_| feed.clone());
    // It answers all questions for summaries meanwhile.
    let pauses: Vec<_> = (0..5).map(|_| pause_after_failure(&mut script, &feed)).collect();
    assert!(pauses.windows(2).all(|pair| pair[1] >= pair[0] * 3 / 2), "{pauses:?}");

    script.give_outputs();
    script.replay();
    assert_eq!(script.applied(), script.height);
    script.block();
    let pause = pause_after_failure(&mut script, &feed);
    assert!(pause <= pauses[0] * 2, "{pause} after {pauses:?}");
}

#[test]
fn a_stall_that_counts_sooner_than_a_second_peer_is_asked_does_no_harm() {
    let stall_timeout = Duration::from_millis(100);
    let config = Config { stall_timeout, ..Config::default() };
    assert!(config.hedge_min > stall_timeout && config.hedge_prior > stall_timeout);
    let mut script = Script::taking(config, 10_000);
    let all = PartSet::full(100);
    (1..3).for_each(|peer| script.connect_holder(peer, 3, &all));
    script.download(&PartSet::empty(100));
    while script.status().phase != Phase::Following {
        script.wait(1);
        script.all_goes_well(100);
        assert!(script.millis() < 30_000, "{:?}", script.status());
    }
}

#[test]
fn feeds_of_other_shards_do_not_take_the_place_of_parts_at_a_peer_that_is_asked_for_both() {
    let others: Vec<_> = (0..5).map(ShardId).collect();
    let mut script = Script::new(Config::default());
    script.epoch(3, 10_000, &others, &[&others[..], &[S]].concat());
    script.head(39_000);
    script.finish(|work| {
        let Work::Open { shard } = work else { return None };
        let head = (*shard != S).then_some(Height(30_001));
        Some(JobEnd::Opened { head, outputs_after: head, starts: vec![] })
    });
    script.connect(1);
    let (mut answers, mut feeding) = (Vec::new(), 0);
    while script.status().phase != Phase::Completing {
        assert!(script.millis() < 5_000, "{:?}", script.status());
        script.wait(50);
        script.search();
        script.apply();
        script.reconcile(&PartSet::empty(50));
        script.replay();
        let now = script.millis();
        // Outputs take long, so that some are always under way.
        let takes = |question: &Question| if is_outputs(&question.query) { 400 } else { 50 };
        answers.extend(script.take(|_| true).into_iter().map(|q| (now + takes(&q), q)));
        feeding = feeding.max(answers.iter().filter(|(_, q)| is_outputs(&q.query)).count());
        let due: Vec<_> = answers.extract_if(.., |(due, _)| *due <= now).collect();
        due.iter().for_each(|(_, question)| answer_with_all(&mut script, question));
    }
    assert_eq!(feeding, 5, "all of the others were fed meanwhile");
}

#[test]
fn a_state_is_fetched_before_anything_is_known_of_the_head() {
    let mut script = Script::new(Config::default());
    script.epoch(3, 1_000, &[], &[S]);
    script.open(None, vec![]);
    let all = PartSet::full(50);
    script.connect_holder(1, 3, &all);
    script.download(&PartSet::empty(50));
    while script.status().phase != Phase::Completing {
        assert!(script.millis() < 30_000, "{:?}", script.status());
        script.wait(100);
        for question in script.take(is_parts) {
            script.give_parts(&question, &all);
        }
        script.summarize(|_| holds(3, all.clone()));
        script.search();
        script.apply();
    }
    script.finish(|work| Some(done(work, 50)));
    assert_eq!((script.status().phase, script.applied()), (Phase::Replaying, 3_000));
    script.wait(60_000);
    assert!(script.take(is_outputs).is_empty(), "nothing is known to come");
    assert!(script.verdicts().is_empty() && script.status().verdict.is_none());
}
