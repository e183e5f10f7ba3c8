//! How parts are fetched: windows, peers of unlike speed, hedges, memory, rest and determinism.

use super::*;

const SEEDS: std::ops::Range<u64> = 0..4;

/// Tracks the wanted shard behind a line that sends so fast. *Units:* bytes per second.
fn tracker_sending(upload: u64) -> NodeSetup {
    let speed = LinkSpeed { upload, ..tracker().speed };
    NodeSetup { speed, ..tracker() }
}

/// How long it took the taker to have the shard.
fn taken_after(world: &World, what: &dyn std::fmt::Debug) -> Duration {
    let at = caught_up(world, TAKER, S);
    at.unwrap_or_else(|| panic!("{what:?}: {:?}", world.status(TAKER, S))).since_origin()
}

/// The share of parts that came and were needed no more. *Units:* per cent.
fn wasted_percent(world: &World) -> u64 {
    world.ledger().wasted_parts * 100 / world.ledger().verified_parts.max(1)
}

#[test]
fn a_very_slow_holder_beside_a_fast_one_holds_nothing_up_and_is_not_banned() {
    for seed in SEEDS {
        let fast = || tracker_sending(256 << 10);
        let mut alone = world(seed, vec![taker(), fast(), sequencer()]);
        assert_taken(&mut alone, &seed);
        let mut beside = world(seed, vec![taker(), fast(), tracker_sending(20_000), sequencer()]);
        assert_taken(&mut beside, &seed);
        let (alone, took) = (taken_after(&alone, &seed), taken_after(&beside, &seed));
        assert!(took < alone.mul_f32(1.5), "{seed}: {took:?} beside it, {alone:?} without");
        assert!(wasted_percent(&beside) <= 10, "{seed}: {}", wasted_percent(&beside));
        assert!(banned(&beside, TAKER).is_empty());
    }
}

#[test]
fn many_slow_holders_together_are_as_good_as_a_fast_one() {
    for seed in SEEDS {
        let mut fast = world(seed, vec![taker(), tracker_sending(240_000), sequencer()]);
        let mut nodes = vec![taker(), sequencer()];
        nodes.extend(std::iter::repeat_n(tracker_sending(30_000), 8));
        let mut slow = world(seed, nodes);
        assert_taken(&mut fast, &seed);
        assert_taken(&mut slow, &seed);
        let (fast, took) = (taken_after(&fast, &seed), taken_after(&slow, &seed));
        assert!(took < fast.mul_f32(2.0), "{seed}: {took:?} from eight, {fast:?} from one");
        assert!(wasted_percent(&slow) <= 10, "{seed}: {}", wasted_percent(&slow));
        let asked = (2..10).filter(|peer| slow.ledger().received_from(TAKER, *peer) > 0);
        assert!(asked.count() >= 6, "{seed}: {:?}", slow.ledger().sent);
    }
}

#[test]
fn one_request_asks_for_many_parts_and_neighbours_are_applied_together() {
    for seed in SEEDS {
        let whole = Config { window_bytes_min: config().window_bytes, ..config() };
        let taker = NodeSetup { config: whole, ..taker() };
        let mut world = world(seed, vec![taker, tracker(), tracker(), sequencer()]);
        assert_taken(&mut world, &seed);
        let ledger = world.ledger();
        let asked = |peer| ledger.asked.get(&(TAKER, peer)).copied().unwrap_or(0);
        let requests = asked(1) + asked(2);
        assert!(ledger.verified_parts * 2 > requests * 3, "{seed}: {requests} requests");

        let applied: Vec<_> = ledger.applied.iter().filter(|(node, ..)| *node == TAKER).collect();
        let parts: u32 = applied.iter().map(|(_, _, run)| run.end.0 - run.start.0).sum();
        assert_eq!(parts, world.chain().parts(S, Epoch(0)), "{seed}: each part once");
        let runs = applied.len() as u64;
        let windows = epoch_bytes(&world).div_ceil(config().window_bytes);
        assert!(runs <= windows * 2, "{seed}: {runs} runs for {windows} windows: {applied:?}");
    }
}

#[test]
fn the_last_parts_of_a_holder_that_stalls_are_asked_of_another_long_before_it_is_given_up() {
    let ever = Duration::from_secs(1_000);
    for lie in [Lie::StallsAtTheEnd, Lie::Silent, Lie::Drips] {
        for seed in SEEDS {
            let patient = Config { stall_timeout: ever, watchdog: ever, ..config() };
            let taker = NodeSetup { config: patient, ..taker() };
            let mut world = world(seed, vec![taker, liar(lie), tracker(), sequencer()]);
            assert_taken(&mut world, &(lie, seed));
            let took = taken_after(&world, &(lie, seed));
            assert!(took < Duration::from_secs(8), "{lie:?} {seed}: {took:?}");
            assert!(wasted_percent(&world) <= 10, "{seed}: {}", wasted_percent(&world));
            assert!(banned(&world, TAKER).is_empty());
        }
    }
}

#[test]
fn the_last_parts_of_an_honest_holder_that_crawls_are_asked_of_another() {
    for seed in SEEDS {
        // A part takes it about three seconds.
        let nodes = vec![taker(), tracker_sending(2_000), tracker(), sequencer()];
        let mut world = world(seed, nodes);
        assert_taken(&mut world, &seed);
        let took = taken_after(&world, &seed);
        assert!(took < Duration::from_secs(3), "{seed}: {took:?}");
        assert!(banned(&world, TAKER).is_empty());
    }
}

#[test]
fn little_memory_slows_a_download_and_does_not_stop_it() {
    for memory_bytes in [1, 20_000, 48 << 10, 128 << 10] {
        for seed in SEEDS {
            let taker = NodeSetup { config: Config { memory_bytes, ..config() }, ..taker() };
            let mut world = world(seed, vec![taker, tracker(), tracker(), sequencer()]);
            assert_taken(&mut world, &(memory_bytes, seed));
        }
    }
}

#[test]
fn a_slow_disk_pushes_back_on_fetching() {
    for seed in SEEDS {
        // Ten times slower than the line.
        let config = Config { memory_bytes: 128 << 10, ..config() };
        let taker = NodeSetup { config, apply_rate: 100 << 10, ..taker() };
        let mut world = world(seed, vec![taker, tracker(), tracker(), sequencer()]);
        assert_taken(&mut world, &seed);
        let percent = wasted_percent(&world);
        assert!(percent <= 10, "{seed}: {percent} % came twice");
    }
}

#[test]
fn nothing_is_under_way_once_everything_is_held_and_the_chain_has_ended() {
    for seed in SEEDS {
        let nodes = vec![taker(), taker(), tracker(), tracker_sending(20_000), sequencer()];
        let mut world = world(seed, nodes);
        world.run_until(seconds(100));
        for node in 0..4 {
            // A question for a summary may be on its way at one moment, and not at all of them.
            let rests = |world: &mut World, tenth: u64| {
                world.run_until(seconds(100) + Duration::from_millis(100 * tenth));
                world.is_at_rest(node)
            };
            assert!((0..20).any(|tenth| rests(&mut world, tenth)), "{seed}: node {node}");
        }
        world.check_states();
        assert_eq!(world.ledger().breaches, [], "{seed}");
    }
}

#[test]
fn a_holder_that_vanishes_and_returns_is_fetched_from_again() {
    for seed in SEEDS {
        for watchdog in [2, 60] {
            let watchdog = Duration::from_secs(watchdog);
            let taker = NodeSetup { config: Config { watchdog, ..config() }, ..taker() };
            let mut world = world(seed, vec![taker, tracker_sending(128 << 10), sequencer()]);
            world.crash(1, seconds(2), seconds(9));
            world.run_until(seconds(8));
            let half = world.status(TAKER, S).unwrap();
            assert!(half.parts_held > 0 && half.parts_held < half.parts, "{seed}: {half:?}");
            assert_taken(&mut world, &(watchdog, seed));
            assert!(wasted_percent(&world) <= 10, "{seed}: {}", wasted_percent(&world));
        }
    }
}

#[test]
fn the_watchdog_fires_only_when_nothing_moves() {
    let fired = |world: &World| {
        let mut events = world.ledger().events_of(TAKER);
        events.any(|(_, event)| matches!(event, Event::WatchdogFired { .. }))
    };
    for seed in SEEDS {
        let config = Config { watchdog: Duration::from_secs(2), ..config() };
        let taker = NodeSetup { config, ..taker() };
        let nodes = vec![taker, tracker_sending(50_000), sequencer()];
        let mut slow = world(seed, nodes.clone());
        assert_taken(&mut slow, &seed);
        assert!(!fired(&slow), "{seed}: slow is not stuck");
        let mut stuck = world(seed, nodes);
        stuck.crash(1, seconds(2), seconds(7));
        assert_taken(&mut stuck, &seed);
    }
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let hash = |seed| {
        let nodes = vec![taker(), tracker(), liar(Lie::Junk), taker(), tracker(), sequencer()];
        let mut world = world(seed, nodes);
        world.crash(3, seconds(1), seconds(3));
        world.run_until(seconds(41));
        world.trace_hash()
    };
    for seed in SEEDS {
        assert_eq!(hash(seed), hash(seed));
        assert_ne!(hash(seed), hash(seed + 1));
    }
}
