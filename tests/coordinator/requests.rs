//! Who is asked, how often, and what comes of peers that do not answer well.

use std::collections::{BTreeMap, BTreeSet};

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
fn peers_that_trickle_an_outline_without_end_are_given_up_for_others() {
    let mut script = Script::taking(Config::default(), 10_000);
    let all = PartSet::full(50);
    (1..6).for_each(|peer| script.connect_holder(peer, 3, &all));
    let (mut trickling, mut tricklers) = (Vec::new(), BTreeSet::new());
    while script.status().phase == Phase::Locating {
        script.wait(500);
        assert!(script.millis() < 60_000, "{tricklers:?}");
        for question in script.take(is_outline) {
            if tricklers.len() < 2 {
                tricklers.insert(question.peer);
                trickling.push(question.request);
            } else {
                assert!(!tricklers.contains(&question.peer));
                script.end(&question, RequestEnd::Manifest(sizes(S, 3, 50)));
            }
        }
        for request in trickling.clone() {
            script.tell(Input::RequestProgressed { request });
        }
        script.search();
    }
    assert!(trickling.iter().all(|request| script.cancels.contains(request)));
    assert!(!script.has_told(|event| matches!(event, Event::Banned { .. })));
}

#[test]
fn a_part_that_two_peers_trickle_is_asked_of_a_third() {
    let mut script = Script::taking(Config::default(), 10_000);
    let all = PartSet::full(1);
    (1..4).for_each(|peer| script.connect_holder(peer, 3, &all));
    script.download(&PartSet::empty(1));
    let (mut trickling, mut tricklers) = (BTreeSet::new(), BTreeSet::new());
    while script.status().phase == Phase::Downloading {
        script.wait(500);
        assert!(script.millis() < 60_000, "{tricklers:?}");
        for question in script.take(is_parts) {
            if tricklers.len() < 2 || tricklers.contains(&question.peer) {
                tricklers.insert(question.peer);
                trickling.insert(question.request);
            } else {
                script.give_parts(&question, &all);
            }
        }
        for request in trickling.clone() {
            script.tell(Input::RequestProgressed { request });
        }
        script.summarize(|_| holds(3, all.clone()));
        script.search();
        script.apply();
    }
    assert_eq!(script.status().phase, Phase::Completing);
    assert!(!script.has_told(|event| matches!(event, Event::WatchdogFired { .. })));
    assert!(!script.has_told(|event| matches!(event, Event::Banned { .. })));
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
