//! Disks that lose what they said was durable, and starts of epochs that nobody has any more.

use ketch_coordinator::Verdict;
use ketch_sim::{Fault, FaultKind};

use super::epochs::throttled;
use super::*;

const SEEDS: std::ops::Range<u64> = 0..4;

fn millis(millis: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(millis)
}

/// Something that goes wrong at one node.
fn fault(kind: FaultKind, node: NodeId, at: u64, lasting: u64) -> Fault {
    let lasting = Duration::from_millis(lasting);
    Fault { kind, node, other: 0, at: millis(at), lasting }
}

fn fired(world: &World, name: &str) -> u64 {
    world.ledger().faults.get(name).copied().unwrap_or(0)
}

/// Parts that the taker wrote, those twice that were written again.
fn written(world: &World) -> u64 {
    let of_taker =
        world.ledger().applied.iter().filter(|(node, shard, _)| (*node, *shard) == (TAKER, S));
    of_taker.map(|(_, _, parts)| u64::from(parts.end.0 - parts.start.0)).sum()
}

#[test]
fn windows_that_a_disk_loses_after_their_sync_are_fetched_again_and_nothing_else() {
    let (mut strikes, mut lost_in_all) = (0, 0);
    for seed in SEEDS {
        for at in (100..700).step_by(75) {
            let mut world = world(seed, vec![taker(), tracker(), tracker(), sequencer()]);
            world.fault(fault(FaultKind::LostWrites, TAKER, at, 250));
            assert_taken(&mut world, &(seed, at));
            strikes += fired(&world, "lost-writes");
            let parts = u64::from(world.chain().parts(S, Epoch(0)));
            let lost = written(&world) - parts;
            let ledger = world.ledger();
            let again = (ledger.verified_parts - ledger.wasted_parts).saturating_sub(parts);
            // Beside these only what waited in memory when the power failed.
            let in_memory = config().memory_bytes / 8_192 + 1;
            assert!(again >= lost && again <= lost + in_memory, "{seed} {at}: {again} of {lost}");
            lost_in_all += lost;
        }
    }
    assert!(strikes > 20 && lost_in_all > 100, "{lost_in_all} durable parts in {strikes} strikes");
}

#[test]
fn blocks_that_a_disk_loses_after_their_sync_are_replayed_again() {
    for seed in SEEDS {
        let mut world = world(seed, vec![taker(), tracker(), sequencer()]);
        world.fault(fault(FaultKind::LostWrites, 1, 11_000, 3_000));
        assert_taken(&mut world, &seed);
        assert_eq!(fired(&world, "lost-writes"), 1, "{seed}");
        let replayed = world.ledger().replayed.get(&(1, S)).copied().unwrap_or(0);
        let applied = world.status(1, S).and_then(|status| status.applied).unwrap().0;
        assert!(replayed > applied && replayed <= applied + 7, "{seed}: {replayed} of {applied}");
        assert!(world.holds_truth(1, S), "{seed}");
    }
}

#[test]
fn a_taker_that_loses_that_it_was_whole_is_whole_again_in_time() {
    for seed in SEEDS {
        let mut world = world(seed, vec![taker(), tracker(), sequencer()]);
        world.run_while(seconds(9), |world| caught_up(world, TAKER, S).is_none());
        let done = u64::try_from((world.now() - Instant::ORIGIN).as_millis()).unwrap();
        let mut world = super::world(seed, vec![taker(), tracker(), sequencer()]);
        world.fault(fault(FaultKind::LostWrites, TAKER, done - 60, 100));
        assert_taken(&mut world, &seed);
        assert_eq!(fired(&world, "lost-writes"), 1, "{seed}");
    }
}

#[test]
fn a_start_that_one_holder_has_lost_is_had_from_another() {
    for seed in SEEDS {
        for at in [50, 200, 400, 700] {
            let mut world = world(seed, vec![taker(), tracker(), tracker(), sequencer()]);
            world.fault(fault(FaultKind::Prune, 1, at, 0));
            assert_taken(&mut world, &(seed, at));
            assert_eq!(fired(&world, "prune"), 1, "{seed} {at}");
        }
    }
}

#[test]
fn a_start_that_all_have_lost_is_given_up_for_the_next_and_until_then_asked_for_now_and_then() {
    for seed in SEEDS {
        let mut world = throttled(seed, 95);
        world.fault(fault(FaultKind::Prune, 1, 8_000, 0));
        let asked = |world: &World| world.ledger().asked.get(&(TAKER, 1)).copied().unwrap_or(0);
        world.run_until(seconds(10));
        let (before, there) = (asked(&world), world.status(TAKER, S).unwrap());
        assert!(there.parts_held > 0 && there.bytes_left > 0, "{seed}: {there:?}");
        world.run_until(millis(19_900));
        let (during, status) = (asked(&world) - before, world.status(TAKER, S).unwrap());
        assert_eq!(status.parts_held, there.parts_held, "{seed}: nobody has more");
        // A question a second, beside those about the shard that it leaves.
        assert!(during <= 40, "{seed}: asked {during} times in ten seconds");
        assert!(
            !matches!(status.verdict, Some(Verdict::OnTime { .. }) | None),
            "{seed}: {status:?}"
        );
        world.run_until(seconds(60));
        let status = world.status(TAKER, S);
        assert!(caught_up(&world, TAKER, S).is_some(), "{seed}: {status:?}");
        world.check_states();
        assert!(world.holds_truth(TAKER, S), "{seed}");
        assert_eq!(world.ledger().breaches, [], "{seed}");
    }
}
