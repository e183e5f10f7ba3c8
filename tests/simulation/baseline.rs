//! The baseline: what nearcore's way of taking a shard comes to, in the same worlds.

use ketch_coordinator::Phase;
use ketch_sim::{NEARCORE_PART_BYTES, StandIns};

use super::*;

const SEEDS: std::ops::Range<u64> = 0..4;

/// States of some twenty parts, in epochs of twenty seconds.
fn quiet() -> Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let setup = ChainSetup { shards: vec![(OLD, 20), (S, 640)], content: tries(1), ..chain() };
    Arc::clone(CHAIN.get_or_init(|| Arc::new(Chain::new(setup, 1).unwrap())))
}

/// The same in epochs of two hundred seconds.
fn long() -> Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let setup = ChainSetup { shards: vec![(OLD, 20), (S, 640)], content: tries(1), ..chain() };
    let setup = ChainSetup { epochs: 2, epoch_length: 400, ..setup };
    Arc::clone(CHAIN.get_or_init(|| Arc::new(Chain::new(setup, 1).unwrap())))
}

/// A shard of two gigabytes in parts of nearcore's size, in epochs of twenty minutes.
fn large() -> Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let like = StandIns { packed_per_mille: 600, changed_per_mille: 50, chunk_bytes: 20_000 };
    let setup = ChainSetup {
        shards: vec![(OLD, 100 << 20), (S, 2 << 30)],
        content: Content::StandIns(like),
        cut: NEARCORE_PART_BYTES,
        epochs: 2,
        epoch_length: 1_200,
        block_interval: Duration::from_secs(1),
    };
    Arc::clone(CHAIN.get_or_init(|| Arc::new(Chain::new(setup, 1).unwrap())))
}

/// Every node of these under the baseline, where one has a coordinator.
fn as_nearcore(nodes: Vec<NodeSetup>) -> Vec<NodeSetup> {
    nodes.into_iter().map(NodeSetup::as_nearcore).collect()
}

/// When a node had all parts of a shard.
fn whole(world: &World, node: NodeId, shard: ShardId) -> Option<Instant> {
    let mut events = world.ledger().events_of(node);
    let whole = Event::PhaseChanged { shard, phase: Phase::Completing };
    events.find(|(_, event)| **event == whole).map(|(at, _)| at)
}

/// When the last of the first nodes had the shard.
fn last_caught_up(world: &World, takers: usize) -> Option<Duration> {
    let each = (0..takers).map(|taker| caught_up(world, taker, S).map(Instant::since_origin));
    each.collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn assert_sound(world: &mut World, what: &dyn std::fmt::Debug) {
    world.check_states();
    assert_eq!(world.ledger().breaches, [], "{what:?}");
}

#[test]
fn a_shard_is_taken_in_time_and_is_true() {
    for seed in SEEDS {
        let nodes = as_nearcore(vec![taker(), tracker(), tracker(), sequencer()]);
        let mut world = World::on(quiet(), seed, nodes);
        world.run_until(seconds(75));
        for epoch in 1..4 {
            assert!(margin(&world, TAKER, S, epoch).is_some(), "{seed}: {epoch}");
        }
        assert!(world.holds_truth(TAKER, S), "{seed}");
        assert!(!world.has_on_disk(TAKER, OLD), "{seed}: what is not tracked any more is there");
        assert_sound(&mut world, &seed);
    }
}

#[test]
fn nothing_is_applied_before_every_part_is_there() {
    let verified_at_first_apply = |seed, nodes| {
        let mut world = World::on(quiet(), seed, nodes);
        let nothing = |world: &World| world.status(TAKER, S).is_none_or(|s| s.parts_held == 0);
        world.run_while(seconds(20), nothing);
        assert!(!nothing(&world), "{seed}: {:?}", world.status(TAKER, S));
        world.ledger().verified_parts
    };
    let parts = u64::from(quiet().parts(S, Epoch(0)));
    for seed in SEEDS {
        let nodes = vec![taker(), tracker(), sequencer()];
        assert_eq!(verified_at_first_apply(seed, as_nearcore(nodes.clone())), parts, "{seed}");
        assert!(verified_at_first_apply(seed, nodes) < parts, "{seed}");
    }
}

#[test]
fn a_peer_that_hangs_stalls_the_window() {
    let run = |seed, peer: NodeSetup, end| {
        let nodes = as_nearcore(vec![taker(), tracker(), peer, sequencer()]);
        let mut world = World::on(long(), seed, nodes);
        world.run_until(end);
        world
    };
    for seed in SEEDS {
        let well = run(seed, tracker(), seconds(150));
        let hung = run(seed, liar(Lie::Silent), seconds(150));
        let took = |world| caught_up(world, TAKER, S).unwrap().since_origin();
        let stalls = took(&hung) - took(&well);
        assert!(stalls >= Duration::from_secs(11), "{seed}: {stalls:?}");
        assert!(banned(&hung, TAKER).is_empty(), "{seed}");
        // The outline was asked of it first. In the ten seconds of the first part that was, no more
        // comes than the window holds beside it.
        let stalled = run(seed, liar(Lie::Silent), seconds(22)).ledger().verified_parts;
        assert!((1..6).contains(&stalled), "{seed}: {stalled}");
    }
}

#[test]
fn who_is_still_downloading_sends_nothing() {
    for seed in SEEDS {
        let mut nodes = vec![taker(); 4];
        nodes.extend([tracker(), sequencer()]);
        let mut world = World::on(long(), seed, as_nearcore(nodes));
        world.run_until(seconds(190));
        for taker in 0..4 {
            assert!(caught_up(&world, taker, S).is_some(), "{seed}: {taker}");
        }
        assert_eq!(world.ledger().sent_while_fetching, 0, "{seed}");
        assert_sound(&mut world, &seed);
    }
}

#[test]
fn a_server_answers_thirty_requests_in_thirty_seconds_and_is_silent_about_the_rest() {
    for seed in SEEDS {
        // None of the takers serves, so that all parts come from one node.
        let selfish = Config { serve: false, ..config() };
        let mut nodes = vec![NodeSetup { config: selfish, ..taker() }; 4];
        nodes.extend([tracker(), sequencer()]);
        let mut world = World::on(long(), seed, as_nearcore(nodes));
        let mut came = vec![0];
        for second in 1..190 {
            world.run_until(seconds(second));
            came.push(world.ledger().verified_parts);
        }
        // A part that came was asked for up to two seconds before, in which it was made.
        let spans = came.iter().zip(came.iter().skip(27));
        let most = spans.map(|(from, to)| to - from).max().unwrap();
        assert!((25..=30).contains(&most), "{seed}: {most} of {came:?}");
        let all = 4 * u64::from(long().parts(S, Epoch(0)));
        assert_eq!(came.last(), Some(&all), "{seed}");
        assert_sound(&mut world, &seed);
    }
}

#[test]
fn who_is_late_never_gets_what_was_dropped_at_the_boundary() {
    for seed in SEEDS {
        let slow = LinkSpeed { upload: 4 << 10, ..tracker().speed };
        let nodes = vec![taker(), NodeSetup { speed: slow, ..tracker() }, sequencer()];
        let mut world = World::on(quiet(), seed, as_nearcore(nodes));
        world.run_until(seconds(40));
        let verified = world.ledger().verified_parts;
        world.run_until(seconds(79));
        assert_eq!(world.ledger().verified_parts, verified, "{seed}");
        let status = world.status(TAKER, S).unwrap();
        assert_eq!(status.phase, Phase::Downloading, "{seed}");
        assert_eq!(status.target.map(|(epoch, _)| epoch), Some(Epoch(0)), "{seed}");
        assert_eq!(margin(&world, TAKER, S, 1), None, "{seed}");
        assert_eq!(caught_up(&world, TAKER, S), None, "{seed}");
        assert_sound(&mut world, &seed);
    }
}

#[test]
fn nothing_is_replayed_before_every_shard_is_whole() {
    for seed in SEEDS {
        let both = node(vec![vec![], vec![OLD, S]], vec![]);
        let trackers = node(vec![vec![OLD, S]], vec![OLD, S]);
        let nodes = vec![both, trackers, sequencer()];
        let run = |nodes| {
            let mut world = World::on(long(), seed, nodes);
            world.run_until(seconds(100));
            assert_sound(&mut world, &seed);
            (caught_up(&world, TAKER, OLD).unwrap(), whole(&world, TAKER, S).unwrap())
        };
        let (small, large) = run(as_nearcore(nodes.clone()));
        assert!(small >= large, "{seed}: {small:?}, {large:?}");
        let (small, large) = run(nodes);
        assert!(small < large, "{seed}: {small:?}, {large:?}");
    }
}

#[test]
fn the_coordinator_has_a_shard_sooner_and_much_sooner_where_many_take_it() {
    let speed = LinkSpeed { upload: 125_000_000, download: 125_000_000, ..LinkSpeed::default() };
    let at = |tracked, genesis| NodeSetup { speed, tracked, genesis, ..NodeSetup::default() };
    for (takers, times) in [(1, 2), (8, 10)] {
        let mut nodes = vec![at(vec![vec![OLD], vec![S]], vec![OLD]); takers];
        nodes.extend(vec![at(vec![vec![S]], vec![S]); 4]);
        nodes.push(sequencer());
        for seed in SEEDS {
            let took = |nodes| {
                let mut world = World::on(large(), seed, nodes);
                world.run_until(seconds(1_190));
                assert_sound(&mut world, &(takers, seed));
                last_caught_up(&world, takers).unwrap()
            };
            let (ketch, nearcore) = (took(nodes.clone()), took(as_nearcore(nodes.clone())));
            assert!(ketch * times < nearcore, "{takers}, {seed}: {ketch:?}, nearcore {nearcore:?}");
        }
    }
}
