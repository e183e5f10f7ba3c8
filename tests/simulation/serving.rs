//! How parts are served: while still fetching, made once, before anybody asks.

use std::collections::BTreeMap;

use ketch_types::Height;

use super::*;

const SEEDS: std::ops::Range<u64> = 0..4;

/// One shard of sixteen parts that is taken by two at once. All bytes are a 256th of what they are on a
/// network whose coordinators have the default configuration, times are the same.
fn coarse() -> Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let setup =
        ChainSetup { shards: vec![(OLD, 20), (S, 640)], cut: 16_384, content: tries(4), ..chain() };
    Arc::clone(CHAIN.get_or_init(|| Arc::new(Chain::new(setup, 1).unwrap())))
}

/// A node of such a network: little upload, and download without limit.
fn of_coarse(tracked: Vec<Vec<ShardId>>, genesis: Vec<ShardId>) -> NodeSetup {
    let real = Config::default();
    let config = Config {
        memory_bytes: real.memory_bytes >> 8,
        window_bytes: real.window_bytes >> 8,
        window_bytes_min: real.window_bytes_min >> 8,
        peer_bytes_max: real.peer_bytes_max >> 8,
        download_prior: real.download_prior >> 8,
        ..real
    };
    let speed = LinkSpeed { upload: 24 << 10, download: 64 << 20, ..LinkSpeed::default() };
    NodeSetup { config, speed, tracked, genesis, ..NodeSetup::default() }
}

/// A shard of which a fifth of the parts change in an epoch.
fn calm() -> Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let setup = ChainSetup { epoch_length: 10, content: tries(2), ..chain() };
    let setup = ChainSetup { block_interval: Duration::from_secs(2), ..setup };
    Arc::clone(CHAIN.get_or_init(|| Arc::new(Chain::new(setup, 1).unwrap())))
}

/// How many parts of an epoch's start a node has made.
fn made(world: &World, node: NodeId, epoch: u64) -> usize {
    let height = epoch * 10;
    let root = world.chain().root(S, Height(height));
    let made = world.ledger().generated.keys();
    made.filter(|(of, at, _)| *of == node && Some(*at) == root).count()
}

fn assert_each_part_made_once(world: &World, what: &dyn std::fmt::Debug) {
    let often: BTreeMap<_, _> =
        world.ledger().generated.iter().filter(|(_, times)| **times > 1).collect();
    assert!(often.is_empty(), "{what:?}: {} parts, {often:?}", often.len());
}

/// Bytes that a node sent.
fn sent_by(world: &World, node: NodeId) -> u64 {
    world.ledger().sent.iter().filter(|((from, _), _)| *from == node).map(|(_, bytes)| bytes).sum()
}

/// The size of the shard's state as it is sent.
fn packed_bytes() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let mut world = world(1, vec![taker(), tracker(), sequencer()]);
        assert_taken(&mut world, &"alone");
        assert_eq!(world.ledger().wasted_parts, 0);
        sent_by(&world, 1)
    })
}

#[test]
fn one_seed_is_enough_for_four_takers_because_they_serve_each_other_while_still_fetching() {
    for seed in SEEDS {
        let slow = LinkSpeed { upload: 256 << 10, ..tracker().speed };
        let mut nodes = vec![taker(); 4];
        nodes.extend([NodeSetup { speed: slow, ..tracker() }, sequencer()]);
        let mut world = world(seed, nodes);
        assert_taken(&mut world, &seed);
        for taker in 0..4 {
            assert!(margin(&world, taker, S, 1).is_some(), "{seed}: {taker}");
            assert!(world.holds_truth(taker, S), "{seed}: {taker}");
        }
        let (sent, state) = (sent_by(&world, 4), packed_bytes());
        assert!(sent <= state * 2, "{seed}: the seed sent {sent} of a state of {state}");
        assert!(world.ledger().sent_while_fetching > state / 2, "{seed}");
        for taker in 0..4 {
            let others = (0..4).map(|other| world.ledger().received_from(taker, other));
            assert!(others.sum::<u64>() > 0, "{seed}: {taker} had nothing from its like");
        }
        assert_each_part_made_once(&world, &seed);
    }
}

#[test]
fn two_that_take_the_same_shard_at_once_each_have_some_of_it_from_the_other() {
    let tracks = || of_coarse(vec![vec![S]], vec![S]);
    let takes = || of_coarse(vec![vec![OLD], vec![S]], vec![OLD]);
    let mut alone = World::on(coarse(), 0, vec![takes(), tracks(), sequencer()]);
    assert_taken(&mut alone, &"alone");
    let state = sent_by(&alone, 1);
    let mut shares = Vec::new();
    for seed in 0..40 {
        let nodes = vec![takes(), takes(), tracks(), tracks(), tracks(), sequencer()];
        let mut world = World::on(coarse(), seed, nodes);
        assert_taken(&mut world, &seed);
        assert!(margin(&world, 1, S, 1).is_some(), "{seed}");
        for (taker, other) in [(0, 1), (1, 0)] {
            let share = world.ledger().received_from(taker, other) * 1_000 / state;
            assert!(share > 0, "{seed}: {taker} had nothing from the other");
            shares.push(share);
        }
    }
    shares.sort_unstable();
    let median = shares[shares.len() / 2];
    assert!(median >= 150, "in a thousand: {shares:?}");
}

#[test]
fn a_part_is_made_once_however_many_ask_for_it() {
    for seed in SEEDS {
        let mut nodes = vec![taker(); 10];
        nodes.extend([tracker(), sequencer()]);
        let mut world = world(seed, nodes);
        assert_taken(&mut world, &seed);
        for taker in 0..10 {
            assert!(margin(&world, taker, S, 1).is_some(), "{seed}: {taker}");
        }
        assert_each_part_made_once(&world, &seed);
    }
}

#[test]
fn a_part_that_is_asked_for_at_the_first_moment_of_an_epoch_is_made_once() {
    for seed in SEEDS {
        // Takers whose line is up to speed when the epoch turns.
        let late = || node(vec![vec![OLD], vec![OLD], vec![S]], vec![OLD]);
        let mut nodes = vec![late(); 6];
        nodes.extend([tracker(), sequencer()]);
        let mut world = world(seed, nodes);
        world.run_until(seconds(41));
        for taker in 0..6 {
            assert!(margin(&world, taker, S, 2).is_some(), "{seed}: {taker}");
        }
        assert_each_part_made_once(&world, &seed);
        world.check_states();
        assert_eq!(world.ledger().breaches, [], "{seed}");
    }
}

#[test]
fn trackers_make_the_parts_of_an_epoch_before_anybody_asks_and_only_those_that_changed() {
    for seed in SEEDS {
        let nodes = vec![tracker(), tracker(), sequencer()];
        let mut world = World::on(calm(), seed, nodes);
        for epoch in 0..4 {
            world.run_until(seconds(20 * epoch + 2));
            let changed = world.chain().changed_parts(S, Epoch(epoch));
            let parts = world.chain().parts(S, Epoch(epoch));
            assert!(epoch == 0 || changed < parts as usize / 2, "{changed} of {parts} changed");
            for node in 0..2 {
                assert_eq!(made(&world, node, epoch), changed, "{seed}: {node} in {epoch}");
            }
        }
        assert!(world.ledger().sent.is_empty(), "{seed}: nobody asked");
        assert_each_part_made_once(&world, &seed);
        world.check_states();
        assert_eq!(world.ledger().breaches, [], "{seed}");
    }
}

#[test]
fn who_must_not_serve_serves_nothing_and_takes_all_the_same() {
    for seed in SEEDS {
        let selfish = Config { serve: false, ..config() };
        let selfish = NodeSetup { config: selfish, ..taker() };
        let nodes = vec![selfish, taker(), tracker(), sequencer()];
        let mut world = world(seed, nodes);
        assert_taken(&mut world, &seed);
        assert_eq!(sent_by(&world, TAKER), 0, "{seed}");
        assert!(margin(&world, 1, S, 1).is_some(), "{seed}");
    }
}

#[test]
fn a_part_server_is_enough_where_no_tracker_is() {
    for seed in SEEDS {
        let both = node(vec![vec![OLD, S]], vec![OLD, S]);
        let mut world = world(seed, vec![taker(), both, sequencer()]);
        assert_taken(&mut world, &seed);
        assert_each_part_made_once(&world, &seed);
    }
}

#[test]
fn serving_many_does_not_keep_a_tracker_from_following_its_chain() {
    for seed in SEEDS {
        let mut nodes = vec![taker(); 12];
        nodes.extend([tracker(), sequencer()]);
        let mut world = world(seed, nodes);
        world.run_until(seconds(21));
        let fell = |(_, event): (Instant, &Event)| matches!(event, Event::FellBehind { .. });
        assert!(!world.ledger().events_of(12).any(fell), "{seed}");
        for node in 0..13 {
            assert!(margin(&world, node, S, 1).is_some(), "{seed}: {node}");
        }
        world.check_states();
        assert_eq!(world.ledger().breaches, [], "{seed}");
    }
}
