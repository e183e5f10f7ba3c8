//! Nodes that lose everything but their disk.

use super::*;

fn millis(millis: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(millis)
}

/// Parts that could be under way or waiting when a node crashed.
fn parts_in_memory() -> u64 {
    (config().memory_bytes / 8_192) + 1
}

#[test]
fn a_taker_that_crashes_at_any_moment_is_in_time_and_fetches_again_only_what_was_under_way() {
    for at in (20..1_100).step_by(40) {
        let mut world = world(at, vec![taker(), tracker(), tracker(), sequencer()]);
        world.crash(TAKER, millis(at), millis(at + 200));
        assert_taken(&mut world, &at);
        let parts = u64::from(world.status(TAKER, S).unwrap().parts.max(92));
        let again = world.ledger().verified_parts.saturating_sub(parts);
        assert!(again <= parts_in_memory(), "crashed at {at} ms: {again} parts came twice");
    }
}

#[test]
fn what_was_durable_before_a_crash_is_not_fetched_again() {
    let mut world = world(3, vec![taker(), tracker(), tracker(), sequencer()]);
    world.run_while(seconds(9), |world| {
        world.status(TAKER, S).is_none_or(|status| status.parts_held < 60)
    });
    // Copies from second peers come on top.
    let came = |world: &World| world.ledger().verified_parts - world.ledger().wasted_parts;
    let (held, verified) = (world.status(TAKER, S).unwrap().parts_held, came(&world));
    world.crash(TAKER, world.now(), world.now() + Duration::from_millis(300));
    assert_taken(&mut world, &"after sixty parts");
    let parts = u64::from(held) + came(&world) - verified;
    assert!(held >= 60 && parts <= 92, "{held} were durable, {parts} came in all");
}

#[test]
fn a_taker_that_crashes_again_and_again_gets_there() {
    for seed in 0..4 {
        let mut world = world(seed, vec![taker(), tracker(), sequencer()]);
        for crash in 0..12 {
            let at = 150 + crash * 400;
            world.crash(TAKER, millis(at), millis(at + 50 + 10 * seed));
        }
        assert_taken(&mut world, &seed);
    }
}

#[test]
fn a_taker_that_crashes_while_it_replays_applies_no_block_twice() {
    let slow = NodeSetup { replay_block: Duration::from_millis(200), ..taker() };
    for at in [2_000, 5_000, 9_000, 13_000] {
        let mut world = world(at, vec![slow.clone(), tracker(), sequencer()]);
        world.crash(TAKER, millis(at), millis(at + 1_500));
        assert_taken(&mut world, &at);
        let replayed = world.ledger().replayed.get(&(TAKER, S)).copied().unwrap_or(0);
        assert!(replayed <= 42, "{replayed} blocks of 41 were replayed");
    }
}

#[test]
fn a_tracker_that_crashes_while_it_serves_is_made_up_for_by_another() {
    for at in [110, 200, 300, 450, 600] {
        let mut world = world(at, vec![taker(), tracker(), tracker(), sequencer()]);
        world.crash(1, millis(at), seconds(100));
        assert_taken(&mut world, &at);
    }
}

#[test]
fn the_only_tracker_may_crash_and_come_back() {
    for at in [50, 130, 300, 700] {
        let mut world = world(at, vec![taker(), tracker(), sequencer()]);
        world.crash(1, millis(at), millis(at + 3_000));
        assert_taken(&mut world, &at);
    }
}

#[test]
fn everybody_crashes_at_once_and_the_shard_is_still_taken() {
    for at in [120, 400, 800] {
        let mut world = world(at, vec![taker(), tracker(), tracker(), sequencer()]);
        for node in 0..3 {
            world.crash(node, millis(at), millis(at + 500 + 100 * node as u64));
        }
        assert_taken(&mut world, &at);
    }
}
