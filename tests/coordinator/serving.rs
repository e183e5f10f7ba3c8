//! What peers are sent, and how parts are made for them.

use ketch_coordinator::{Ask, PeerQuery};
use ketch_wire::PartsRequest;

use super::*;

/// Holds the start of epoch 3 in so many parts, and makes none before it is asked.
fn holder(count: u32) -> Script {
    let mut script = Script::new(Config::default());
    script.tell(Input::HostBusy(true));
    script.epoch(3, 100, &[S], &[S]);
    script.head(350);
    script.open(Some(350), vec![(Epoch(3), sizes(S, 3, count))]);
    script
}

/// The same, with every part in the cache.
fn ready(count: u32) -> Script {
    let mut script = holder(count);
    script.tell(Input::HostBusy(false));
    while script.finish(|work| Some(done(work, count))) > 0 {}
    script
}

fn ask(script: &mut Script, ask: u64, peer: u32, wanted: PartSet) {
    let request = PartsRequest::new(root(S, 3), PART, wanted, u64::MAX).unwrap();
    let (ask, peer) = (Ask(ask), Peer(peer));
    script.tell(Input::Asked { ask, peer, query: PeerQuery::Parts(request) });
}

/// The parts that were sent so far, with the handle that they were sent for.
fn sent(script: &Script) -> Vec<(u64, u32)> {
    let sent = script.commands.iter().filter_map(|command| match command {
        Command::SendPart { ask, part, .. } => Some((ask.0, part.0)),
        _ => None,
    });
    sent.collect()
}

/// The parts that are being made, each with its root and whether somebody waits for it.
fn making(script: &Script) -> Vec<(StateRoot, PartIndex, bool)> {
    let of = |work: &Work| match work {
        Work::Generate { root, parts, awaited, .. } => {
            parts.iter().map(|part| (*root, part, *awaited)).collect()
        }
        _ => Vec::new(),
    };
    script.jobs.iter().flat_map(|(_, work)| of(work)).collect()
}

fn make(script: &mut Script) -> usize {
    script.finish(|work| match work {
        Work::Generate { parts, .. } => Some(JobEnd::Generated { made: parts.clone() }),
        _ => None,
    })
}

#[test]
fn a_peer_that_does_not_read_does_not_keep_others_from_being_sent_to() {
    let mut script = ready(50);
    (1..3).for_each(|peer| script.connect(peer));
    for stream in 0..4 {
        ask(&mut script, stream, 1, PartSet::full(50));
    }
    let to_sleeper = sent(&script).len();
    assert!((1..=2).contains(&to_sleeper), "{:?}", sent(&script));
    ask(&mut script, 9, 2, PartSet::full(50));
    assert!(sent(&script)[to_sleeper..].iter().any(|(stream, _)| *stream == 9));
    script.run_to(60_000);
    assert!(sent(&script).iter().filter(|(stream, _)| *stream != 9).count() <= 2);
}

#[test]
fn a_crowd_that_does_not_read_holds_others_up_no_longer_than_a_stall() {
    let mut script = ready(50);
    (1..10).for_each(|peer| script.connect(peer));
    (1..9).for_each(|peer| ask(&mut script, peer.into(), peer, PartSet::full(50)));
    assert_eq!(sent(&script).len(), Config::default().sends_max);
    ask(&mut script, 9, 9, PartSet::full(50));
    script.wait(Config::default().stall_timeout.as_millis() as u64);
    assert!(sent(&script).iter().any(|(stream, _)| *stream == 9), "{:?}", sent(&script));
}

#[test]
fn streams_of_a_state_that_is_not_held_any_more_end_with_a_reason_and_nothing_is_made_for_them() {
    let mut script = holder(50);
    script.connect(1);
    ask(&mut script, 1, 1, PartSet::full(50));
    assert!(!making(&script).is_empty());
    script.tell(Input::DamageFound { shard: S });
    let ended = Command::End { ask: Ask(1), refusal: Some(Refusal::NotRetained), held: None };
    assert!(script.commands.contains(&ended), "{:?}", script.commands);
    let held = holding(S, 3, PartSet::empty(50));
    assert!(script.commands.contains(&Command::Announce(held)), "what was announced is withdrawn");

    make(&mut script);
    script.tell(Input::HostBusy(false));
    script.wait(10_000);
    assert!(making(&script).is_empty() && sent(&script).is_empty());
    script.tell(Input::AskClosed { ask: Ask(1) });
    assert!(script.commands.iter().filter(|c| matches!(c, Command::End { .. })).count() == 1);
}

#[test]
fn a_part_that_two_streams_wait_for_is_made_once_and_sent_to_both() {
    let mut script = holder(50);
    (1..3).for_each(|peer| script.connect(peer));
    ask(&mut script, 1, 1, parts([5], 50));
    ask(&mut script, 2, 2, parts([5], 50));
    assert_eq!(making(&script), [(root(S, 3), PartIndex(5), true)]);
    assert!(sent(&script).is_empty());
    // There is room for more, and parts are made ahead as well.
    script.tell(Input::HostBusy(false));
    let again = making(&script).into_iter().filter(|(_, part, _)| *part == PartIndex(5));
    assert!(making(&script).len() > 1 && again.count() == 1, "{:?}", making(&script));
    make(&mut script);
    assert_eq!(sent(&script), [(1, 5), (2, 5)]);

    for stream in [1, 2] {
        script.tell(Input::PartSent { ask: Ask(stream), part: PartIndex(5) });
        let held = Some(PartSet::full(50));
        let ended = Command::End { ask: Ask(stream), refusal: None, held };
        assert!(script.commands.contains(&ended), "{:?}", script.commands);
    }
}

#[test]
fn parts_are_made_ahead_in_small_batches_the_newest_epoch_first() {
    let mut script = Script::new(Config::default());
    script.epoch(2, 100, &[S], &[S]);
    script.epoch(3, 100, &[S], &[S]);
    script.head(350);
    let starts = [2, 3].map(|epoch| (Epoch(epoch), sizes(S, epoch, 20)));
    script.open(Some(350), starts.to_vec());
    let (mut made, mut batches) = (Vec::new(), Vec::new());
    while !making(&script).is_empty() {
        let batch = making(&script);
        batches.push(batch.len());
        made.extend(batch);
        assert_eq!(make(&mut script), 1, "one at a time");
    }
    assert_eq!(batches, [8, 8, 4, 8, 8, 4]);
    let newest_first = [3, 2]
        .into_iter()
        .flat_map(|epoch| (0..20).map(move |part| (root(S, epoch), PartIndex(part), false)));
    assert_eq!(made, newest_first.collect::<Vec<_>>());
}

#[test]
fn parts_that_the_cache_has_dropped_are_made_again_for_who_waits_for_them_and_not_ahead() {
    let mut script = ready(20);
    (1..3).for_each(|peer| script.connect(peer));
    ask(&mut script, 1, 1, parts([3, 4], 20));
    ask(&mut script, 2, 2, parts([5, 6], 20));
    let all = [(1, 3), (1, 4), (2, 5), (2, 6)];
    assert_eq!(sent(&script), all);
    for (stream, part) in all {
        script.tell(Input::PartNotCached { ask: Ask(stream), part: PartIndex(part) });
        assert!(making(&script).iter().all(|(_, _, awaited)| *awaited), "{:?}", making(&script));
    }
    while make(&mut script) > 0 {}
    let again = sent(&script)[all.len()..].to_vec();
    assert!(again.len() == all.len() && all.iter().all(|part| again.contains(part)), "{again:?}");

    // Once nobody waits for it any more, a part that is lost stays so.
    script.tell(Input::PartNotCached { ask: Ask(1), part: PartIndex(3) });
    script.tell(Input::PeerDisconnected { peer: Peer(1) });
    make(&mut script);
    script.wait(10_000);
    assert!(making(&script).is_empty());
}

#[test]
fn nothing_is_made_for_who_does_not_read_while_another_waits() {
    let mut script = holder(500);
    (1..3).for_each(|peer| script.connect(peer));
    ask(&mut script, 1, 1, parts(400..500, 500));
    let (mut read, mut rounds) = (0, 0);
    while read < 100 {
        rounds += 1;
        script.wait(10);
        make(&mut script);
        if read == 10 {
            ask(&mut script, 2, 2, PartSet::full(500));
        }
        let to_reader: Vec<_> = sent(&script).into_iter().filter(|(ask, _)| *ask == 1).collect();
        for (ask, part) in &to_reader[read..] {
            script.tell(Input::PartSent { ask: Ask(*ask), part: PartIndex(*part) });
        }
        read = to_reader.len();
        assert!(rounds <= 120, "{read} of 100 parts in {rounds} rounds");
    }
    let to_sleeper = sent(&script).iter().filter(|(ask, _)| *ask == 2).count();
    assert!(to_sleeper <= 2, "{to_sleeper}");
    while make(&mut script) > 0 {}
    script.wait(60_000);
    assert!(making(&script).is_empty(), "nor later");
}

#[test]
fn a_shard_that_is_kept_for_others_is_opened_anew_once_its_store_has_stopped_and_served_again() {
    for (fault, stops) in [(OurFault::Stopped, true), (OurFault::DiskFull, false)] {
        let mut script = Script::new(Config::default());
        script.epoch(3, 100, &[S], &[]);
        script.head(400);
        let starts = vec![(Epoch(4), sizes(S, 4, 50))];
        script.open(Some(400), starts.clone());
        script.epoch(4, 100, &[], &[]);
        assert_eq!(script.status().phase, Phase::Frozen);
        let generates = |work: &Work| matches!(work, Work::Generate { .. });
        let failed = JobEnd::Failed(fault);
        assert_eq!(script.finish(|work| generates(work).then(|| failed.clone())), 1);
        let phase = if stops { Phase::Stopped } else { Phase::Frozen };
        assert_eq!(script.status().phase, phase, "{fault:?}");
        if stops {
            assert!(making(&script).is_empty(), "on a store that has stopped");
            script.wait(1_000);
            script.open(Some(400), starts.clone());
        }
        assert_eq!(script.status().phase, Phase::Frozen, "{fault:?}");
        script.connect(1);
        let wanted = PartsRequest::new(root(S, 4), PART, parts(0..2, 50), u64::MAX).unwrap();
        let query = PeerQuery::Parts(wanted);
        script.tell(Input::Asked { ask: Ask(1), peer: Peer(1), query });
        while make(&mut script) > 0 {}
        assert_eq!(sent(&script), [(1, 0), (1, 1)], "{fault:?}");
        assert!(!script.is_opening() && !script.is_dropping(), "{fault:?}");
    }
}
