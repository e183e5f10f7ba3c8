//! When more peers are looked for, and which of those that are known are asked what they hold.

use std::collections::{BTreeMap, VecDeque};

use super::line::Line;
use super::*;

/// Searches that are begun in a minute, in which `happens` happens each tenth of a second.
fn searches(script: &mut Script, mut happens: impl FnMut(&mut Script)) -> usize {
    let mut count = 0;
    for tick in 1..=600 {
        script.wait(100);
        if tick % 10 == 0 {
            script.head(script.height + 1);
        }
        happens(script);
        count +=
            script.finish(|work| matches!(work, Work::Search { .. }).then_some(JobEnd::Searched));
    }
    count
}

/// Whether searches went on for all of a minute, no closer together than they may be.
fn went_on(count: usize) -> bool {
    let config = Config::default();
    let least = 60 / config.search_interval.as_secs() as usize;
    (least - 2..=least * 5 + 1).contains(&count)
}

#[test]
fn searches_go_on_while_all_who_are_known_hold_the_same_few_parts_and_end_with_one_who_has_all() {
    let mut script = Script::taking(Config::default(), 10_000);
    let (few, all) = (parts(0..10, 100), PartSet::full(100));
    (1..4).for_each(|peer| script.connect_holder(peer, 3, &few));
    script.download(&PartSet::empty(100));
    let give = |script: &mut Script| {
        let held = |peer| if peer == Peer(9) { all.clone() } else { few.clone() };
        script.summarize(|peer| holds(3, held(peer)));
        for question in script.take(is_parts) {
            script.give_parts(&question, &held(question.peer));
        }
        script.apply();
    };
    let count = searches(&mut script, give);
    assert!(went_on(count), "{count} searches");
    assert_eq!((script.status().phase, script.status().parts_held), (Phase::Downloading, 10));

    script.connect(9);
    searches(&mut script, give);
    assert_eq!(script.status().phase, Phase::Completing);
    assert_eq!(searches(&mut script, give), 0);
}

#[test]
fn searches_go_on_while_all_who_are_known_are_busy() {
    let mut script = Script::taking(Config::default(), 10_000);
    let all = PartSet::full(100);
    (1..4).for_each(|peer| script.connect_holder(peer, 3, &all));
    let busy = Refusal::Busy { retry_after: Duration::from_secs(1) };
    let count = searches(&mut script, |script| {
        script.summarize(|_| holds(3, all.clone()));
        for question in script.take(is_outline) {
            script.refuse(&question, busy);
        }
    });
    assert!(went_on(count), "{count} searches");
}

#[test]
fn claims_of_another_number_of_parts_than_the_state_has_do_not_count_as_holders() {
    let mut script = Script::taking(Config::default(), 10_000);
    let all = PartSet::full(100);
    for peer in 1..4 {
        script.connect(peer);
        script.summarize(|_| Summary::default());
        let holding = holding(S, 3, PartSet::full(7));
        script.tell(Input::HoldingAnnounced { peer: Peer(peer), holding });
    }
    script.connect_holder(9, 3, &all);
    while script.status().phase == Phase::Locating {
        script.wait(100);
        for question in script.take(is_outline) {
            if question.peer == Peer(9) {
                script.end(&question, RequestEnd::Manifest(sizes(S, 3, 100)));
            }
        }
        script.search();
    }
    assert_eq!(script.reconcile(&PartSet::empty(100)), 1);
    assert_eq!(script.status().holders, 1);
    script.tell(Input::PeerDisconnected { peer: Peer(9) });
    let count = searches(&mut script, |script| {
        script.summarize(|_| holds(3, PartSet::full(7)));
        assert!(script.take(is_parts).iter().all(|question| question.peer == Peer(9)));
    });
    assert_eq!(script.status().holders, 0);
    assert!(went_on(count), "{count} searches");
}

#[test]
fn peers_that_have_the_next_outputs_are_searched_for_while_nobody_gives_them_and_not_after() {
    let mut script = Script::tracking(1_000, 3_301, 3_200);
    let mut epochs = Vec::new();
    let count = searches(&mut script, |script| {
        epochs.extend(script.jobs.iter().filter_map(|(_, work)| match work {
            Work::Search { epoch, .. } => Some(*epoch),
            _ => None,
        }));
    });
    assert!(went_on(count), "{count} searches");
    assert!(epochs.iter().all(|epoch| *epoch == Epoch(3)), "{epochs:?}");

    script.connect(1);
    let give = |script: &mut Script| {
        script.summarize(|_| feeds(3_001, 3_400));
        script.give_outputs();
        script.replay();
    };
    (0..10).for_each(|_| give(&mut script));
    script.search();
    assert_eq!(script.status().phase, Phase::Following);
    assert_eq!(searches(&mut script, give), 0);
}

#[test]
fn holders_that_answer_are_enough_and_no_more_are_searched_for() {
    let mut script = Script::taking(Config::default(), 10_000);
    let all = PartSet::full(1_000);
    (1..4).for_each(|peer| script.connect_holder(peer, 3, &all));
    script.download(&PartSet::empty(1_000));
    script.search();
    let mut line = Line::new(1_000);
    let count = searches(&mut script, |script| {
        script.summarize(|_| holds(3, all.clone()));
        line.bring_one(script);
        script.apply();
    });
    assert_eq!((script.status().phase, count), (Phase::Downloading, 0));
}

#[test]
fn peers_are_asked_about_every_one_of_many_shards_and_about_none_much_oftener_than_others() {
    let shards: Vec<_> = (0..100).map(ShardId).collect();
    let mut start = epoch_start(3, 10_000, &[], &shards);
    start.roots = shards.iter().map(|shard| (*shard, root(*shard, 3))).collect();
    let mut script = Script::new(Config::default());
    script.tell(Input::EpochStarted(start));
    script.head(30_001);
    script.connect(1);
    script.finish(|work| Some(done(work, 1)));
    let (mut asked, mut slowly) = (BTreeMap::new(), VecDeque::new());
    for tick in 1..=600 {
        script.wait(100);
        script.search();
        for question in script.take(|query| matches!(query, Query::Summary(_))) {
            let Query::Summary(about) = &question.query else { continue };
            about.iter().for_each(|shard| *asked.entry(*shard).or_insert(0) += 1);
            slowly.push_back((script.millis(), question));
        }
        while slowly.front().is_some_and(|(since, _)| since + 1_000 <= script.millis()) {
            let (_, question) = slowly.pop_front().unwrap();
            script.end(&question, RequestEnd::Summary(Summary::default()));
        }
        assert!(tick < 100 || asked.len() == 100, "{} after ten seconds", asked.len());
    }
    let (least, most) = (asked.values().min().unwrap(), asked.values().max().unwrap());
    assert!(*least >= 5 && most - least <= 2, "{asked:?}");
}
