//! What the operator is told of a shard whose task does not go as it should.

use ketch_coordinator::{Obstacle, Verdict};

use super::line::{Flow, Line};
use super::*;

fn is_on_time(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::OnTime { .. })
}

/// Lets blocks come while every job fails for want of disk; when the store was to be opened.
fn full_disk(script: &mut Script, blocks: usize) -> Vec<u64> {
    let mut tries = Vec::new();
    for tick in 1..=blocks * 10 {
        script.wait(100);
        if tick % 10 == 0 {
            script.head(script.height + 1);
        }
        if script.finish(|_| Some(JobEnd::Failed(OurFault::DiskFull))) > 0 {
            tries.push(script.millis());
        }
    }
    tries
}

#[test]
fn a_full_disk_is_at_risk_then_our_own_fault_and_on_time_again_once_work_succeeds() {
    let mut script = Script::taking(Config::default(), 10_000);
    let all = PartSet::full(10);
    script.connect_holder(1, 3, &all);
    script.download(&PartSet::empty(10));
    while !script.runs(|work| matches!(work, Work::Apply { .. })) {
        for question in script.take(is_parts) {
            script.give_parts(&question, &all);
        }
        script.search();
        script.wait(100);
    }
    let tries = full_disk(&mut script, 130);
    let waits: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.is_sorted() && waits[0] <= 1_000, "{waits:?}");
    assert!((10_000..=60_000).contains(&waits[waits.len() - 1]), "{waits:?}");

    let told = script.verdicts();
    assert!(is_on_time(&told[0].1), "{told:?}");
    assert!(matches!(told[1].1, Verdict::AtRisk { .. }), "{told:?}");
    let own_work =
        |verdict| matches!(verdict, Verdict::Impossible { obstacle: Obstacle::OwnWork, .. });
    assert!(told.len() == 3 && own_work(told[2].1), "{told:?}");

    while script.status().verdict.is_some_and(|verdict| !is_on_time(&verdict)) {
        script.block();
        assert!(script.status().applied <= Some(Height(30_000)), "no replay is waited for");
        script.all_goes_well(10);
    }
    for _ in 0..10 {
        script.block();
        script.all_goes_well(10);
    }
    let told = script.verdicts();
    assert!(told.last().is_some_and(|(_, verdict)| is_on_time(verdict)), "{told:?}");
    assert_eq!(script.status().phase, Phase::Following);
}

#[test]
fn a_state_whose_outline_does_not_come_is_at_risk_long_before_the_deadline() {
    let mut script = Script::taking(Config::default(), 100);
    script.connect_holder(1, 3, &PartSet::full(50));
    let busy = Refusal::Busy { retry_after: Duration::from_secs(1) };
    for tick in 1..950 {
        script.wait(100);
        if tick % 10 == 0 {
            script.head(script.height + 1);
        }
        for question in script.take(is_outline) {
            script.refuse(&question, busy);
        }
        script.summarize(|_| holds(3, PartSet::full(50)));
        script.search();
    }
    let told = script.verdicts();
    let warned = told.iter().position(|(_, verdict)| !is_on_time(verdict)).unwrap();
    assert!(told[warned].0 < at(50_000), "{told:?}");
    assert!(!told[warned..].iter().any(|(_, verdict)| is_on_time(verdict)), "{told:?}");
}

#[test]
fn a_shard_that_stopped_before_the_boundary_was_not_there_in_time() {
    let mut script = Script::new(Config::default());
    script.epoch(3, 100, &[], &[S]);
    script.head(350);
    script.open(Some(349), vec![]);
    assert_eq!(script.status().phase, Phase::Following);
    script.connect(1);
    script.summarize(|_| feeds(1, 450));
    script.give_outputs();
    full_disk(&mut script, 50);
    let fell = script.events.iter().filter(|(_, e)| matches!(e, Event::FellBehind { .. }));
    assert_eq!(fell.count(), 1);
    script.epoch(4, 100, &[S], &[S]);
    assert!(!script.has_told(|event| matches!(event, Event::Boundary { .. })));
    script.head(401);
    let late = Event::Boundary { shard: S, epoch: Epoch(4), margin: None };
    assert!(script.has_told(|event| *event == late));
}

#[test]
fn a_shard_that_has_all_there_is_when_the_chain_halts_before_the_boundary_is_there_in_time() {
    let mut script = Script::new(Config::default());
    script.epoch(3, 100, &[], &[S]);
    script.head(350);
    script.open(Some(349), vec![]);
    script.connect(1);
    script.summarize(|_| feeds(1, 450));
    for _ in 0..50 {
        script.block();
        script.give_outputs();
        script.replay();
    }
    assert_eq!(script.applied(), 400);
    let caught_up = script.events.iter().rfind(|(_, e)| matches!(e, Event::CaughtUp { .. }));
    let since = caught_up.unwrap().0;
    script.epoch(4, 100, &[S], &[S]);
    // The first block of the epoch is long in coming: nobody can be said to follow meanwhile.
    script.run_to(script.millis() + 60_000);
    assert_eq!(script.status().phase, Phase::Replaying);
    script.head(401);
    let margin = Some(at(script.millis()) - since);
    let in_time = Event::Boundary { shard: S, epoch: Epoch(4), margin };
    let told: Vec<_> =
        script.events.iter().filter(|(_, e)| matches!(e, Event::Boundary { .. })).collect();
    assert!(script.has_told(|event| *event == in_time), "{told:?}");
}

#[test]
fn three_blocks_a_second_against_one_are_known_to_be_enough() {
    let mut script = Script::new(Config::default());
    script.epoch(3, 1_000, &[], &[S]);
    script.head(3_001);
    script.run_to(99_000);
    script.head(3_100);
    script.open(Some(3_001), vec![]);
    script.connect(1);
    for second in 0..40 {
        script.block();
        script.summarize(|_| feeds(1, 4_000));
        for question in script.take(is_outputs) {
            let Query::Outputs { after, .. } = question.query else { continue };
            let through = Height((after.0 + 3).min(script.height));
            script.end(&question, RequestEnd::Outputs { through, bytes: 1 << 20 });
        }
        script.replay();
        let verdict = script.status().verdict.unwrap();
        assert!(second < 10 || is_on_time(&verdict), "after {second} s: {verdict:?}");
    }
    assert_eq!(script.status().phase, Phase::Replaying);
}

#[test]
fn holders_of_a_new_target_are_seen_however_many_parts_the_old_one_had() {
    let mut script = Script::taking(Config::default(), 1_000);
    let count = [500, 510];
    (1..3).for_each(|peer| script.connect_holder(peer, 3, &PartSet::full(count[0])));
    script.download(&PartSet::empty(count[0]));
    let old = script.take(is_parts);
    script.wait(1_000);
    script.epoch(4, 1_000, &[], &[S]);
    script.head(4_001);
    for peer in 1..3 {
        let holding = holding(S, 4, PartSet::full(count[1]));
        script.tell(Input::HoldingAnnounced { peer: Peer(peer), holding });
    }
    let busy = Refusal::Busy { retry_after: Duration::from_secs(2) };
    for _ in 0..60 {
        script.block();
        assert_eq!(script.status().target, Some((Epoch(4), root(S, 4))));
        assert_eq!((script.status().phase, script.status().holders), (Phase::Locating, 2));
        script.summarize(|_| holds(4, PartSet::full(count[1])));
        for question in script.take(is_outline) {
            script.refuse(&question, busy);
        }
        // What is under way of the old one goes on.
        for question in &old {
            script.tell(Input::RequestProgressed { request: question.request, bytes: 0 });
        }
        script.search();
    }
    let no_holder =
        |verdict| matches!(verdict, Verdict::Impossible { obstacle: Obstacle::NoHolder, .. });
    let told = script.verdicts();
    assert!(!told.iter().any(|(_, verdict)| no_holder(*verdict)), "{told:?}");
}

#[test]
fn an_hour_without_blocks_does_not_spoil_the_measure_of_the_time_that_is_left() {
    for halt in [0, 60_000, 3_600_000] {
        let mut script = Script::taking(Config::default(), 100);
        for _ in 0..8 {
            script.block();
            script.search();
        }
        script.wait(halt);
        let all = PartSet::full(250);
        script.connect_holder(1, 3, &all);
        script.download(&PartSet::empty(250));
        let begun = script.height;
        let mut line = Line::new(250);
        while script.height < 400 {
            script.head(script.height + 1);
            // Two parts in a second, which is not enough.
            for _ in 0..2 {
                script.wait(500);
                line.bring_one(&mut script);
            }
            script.summarize(|_| holds(3, all.clone()));
            script.search();
            script.apply();
            let verdict = script.status().verdict.unwrap();
            let truth = Duration::from_secs(400 - script.height);
            let left = match verdict {
                Verdict::AtRisk { left, .. } | Verdict::Impossible { left, .. } => left,
                Verdict::OnTime { .. } if script.height < begun + 10 => continue,
                Verdict::OnTime { .. } => panic!("{truth:?} left after {halt} ms: {verdict:?}"),
            };
            assert!(left.abs_diff(truth) < Duration::from_secs(3), "{left:?} for {truth:?}");
        }
    }
}

/// Peers that hold all of a state in so many parts, of which nothing is held here.
fn downloading_from(peers: u32, count: u32, length: u64) -> Script {
    let mut script = Script::taking(Config::default(), length);
    (1..=peers).for_each(|peer| script.connect_holder(peer, 3, &PartSet::full(count)));
    script.download(&PartSet::empty(count));
    script
}

/// A second passes on a line of that many bytes per second, and a block comes.
fn flow_for_a_second(script: &mut Script, flow: &mut Flow, rate: u64, count: u32) {
    for _ in 0..4 {
        script.wait(250);
        flow.bring(script, rate / 4);
        script.summarize(|_| holds(3, PartSet::full(count)));
        script.search();
        script.apply();
    }
    script.head(script.height + 1);
}

fn impossible(script: &Script) -> Option<Obstacle> {
    script.verdicts().into_iter().find_map(|(_, verdict)| match verdict {
        Verdict::Impossible { obstacle, .. } => Some(obstacle),
        _ => None,
    })
}

#[test]
fn a_line_that_is_too_slow_for_a_single_part_is_called_impossible_long_before_the_boundary() {
    for (peers, rate) in [(1, 5_000), (3, 5_000), (3, 20_000), (6, 40_000)] {
        let mut script = downloading_from(peers, 250, 100);
        let mut flow = Flow::new(250);
        while impossible(&script).is_none() {
            assert!(script.height < 315, "{peers} at {rate}: {:?}", script.verdicts());
            flow_for_a_second(&mut script, &mut flow, rate, 250);
        }
        assert_eq!(flow.whole, 0);
        let told = script.verdicts();
        assert!(told.iter().any(|(_, v)| matches!(v, Verdict::AtRisk { .. })), "{told:?}");
        let Some(Obstacle::Bandwidth { best, .. }) = impossible(&script) else {
            panic!("{told:?}");
        };
        assert!((rate * 9 / 10..=rate * 3 / 2).contains(&best), "{best} seen of {rate}");
    }
}

#[test]
fn a_line_that_just_suffices_for_huge_parts_is_never_called_impossible() {
    for peers in [1, 3, 6] {
        for percent in [75, 85, 92] {
            let mut script = downloading_from(peers, 24, 100);
            let mut flow = Flow::new(24);
            // All of it takes so much of the epoch.
            let rate = 24 * u64::from(PART) / percent;
            while script.status().phase == Phase::Downloading {
                assert!(script.height < 400, "{peers}, {percent} %: {:?}", script.verdicts());
                flow_for_a_second(&mut script, &mut flow, rate, 24);
            }
            let told = script.verdicts();
            assert_eq!(impossible(&script), None, "{peers}, {percent} %: {told:?}");
        }
    }
}

#[test]
fn what_came_of_requests_that_failed_is_soon_no_measure_of_the_line() {
    let mut script = downloading_from(3, 250, 200);
    let mut flow = Flow::new(250);
    for _ in 0..4 {
        flow_for_a_second(&mut script, &mut flow, 500_000, 250);
    }
    assert_eq!(flow.whole, 0);
    flow.fail(&mut script);
    while impossible(&script).is_none() {
        assert!(script.height < 630, "{:?}", script.verdicts());
        flow_for_a_second(&mut script, &mut flow, 5_000, 250);
    }
    assert_eq!(flow.whole, 0);
}
