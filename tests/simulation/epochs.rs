//! What becomes of downloads, holders and shards when epochs turn.

use super::*;

const SEEDS: std::ops::Range<u64> = 0..4;
/// Shards of about the same size.
const A: ShardId = ShardId(21);
const B: ShardId = ShardId(22);

/// A shard of which a fifth of the parts change in an epoch of twenty seconds.
fn calm() -> Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let setup = ChainSetup { epoch_length: 10, epochs: 8, content: tries(2), ..chain() };
    let setup = ChainSetup { block_interval: Duration::from_secs(2), ..setup };
    Arc::clone(CHAIN.get_or_init(|| Arc::new(Chain::new(setup, 1).unwrap())))
}

fn two_alike() -> Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let setup = ChainSetup { shards: vec![(A, 900), (B, 1_000)], epochs: 5, ..chain() };
    Arc::clone(CHAIN.get_or_init(|| Arc::new(Chain::new(setup, 1).unwrap())))
}

/// A tracker and a taker whose line brings a share of the state until the epoch ends.
pub(super) fn throttled(seed: u64, percent: u64) -> World {
    // The state as it is sent, over the time that an epoch leaves for it.
    let packed = epoch_bytes(&World::on(calm(), seed, vec![])) * 54 / 100;
    let speed = LinkSpeed { download: packed * percent / 100 / 20, ..taker().speed };
    let slow = NodeSetup { speed, ..taker() };
    World::on(calm(), seed, vec![slow, tracker(), sequencer()])
}

/// The epochs whose starts the taker turned to.
fn pivots(world: &World) -> Vec<u64> {
    let events = world.ledger().events_of(TAKER);
    let epochs = events.filter_map(|(_, event)| match event {
        Event::Pivoted { shard, epoch, .. } if *shard == S => Some(epoch.0),
        _ => None,
    });
    epochs.collect()
}

/// Nothing was fetched again that was there: the state once, what changed in the epochs that it
/// turned to, and a little that was on its way when it turned.
fn assert_never_begun_anew(world: &World, what: &dyn std::fmt::Debug) {
    let chain = world.chain();
    let newest = pivots(world).last().copied().unwrap_or(0);
    let changed: usize = (1..=newest).map(|epoch| chain.changed_parts(S, Epoch(epoch))).sum();
    let state = chain.parts(S, Epoch(0)) as usize;
    // What one peer may have under way, in parts, for each turn.
    let under_way = 12 * pivots(world).len().max(1);
    let came = world.ledger().verified_parts as usize;
    assert!(came <= state + changed + under_way, "{what:?}: {came} of {state} + {changed}");
}

fn assert_clean(world: &mut World, what: &dyn std::fmt::Debug) {
    world.check_states();
    assert_eq!(world.ledger().breaches, [], "{what:?}");
}

#[test]
fn an_epoch_that_ends_during_a_download_is_never_a_restart() {
    for seed in SEEDS {
        for percent in [30, 60, 95] {
            let what = (seed, percent);
            let mut world = throttled(seed, percent);
            world.run_until(seconds(20));
            let before = world.status(TAKER, S).unwrap();
            assert!(before.parts_held > 0 && before.bytes_left > 0, "{what:?}: {before:?}");
            world.run_until(seconds(150));
            let status = world.status(TAKER, S);
            assert!(caught_up(&world, TAKER, S).is_some(), "{what:?}: {status:?}");
            assert!(world.holds_truth(TAKER, S), "{what:?}");
            assert_never_begun_anew(&world, &what);
            let replayed = world.ledger().replayed.get(&(TAKER, S)).copied().unwrap_or(0);
            assert!(!pivots(&world).is_empty() || replayed >= 10, "{what:?}: {replayed}");
            assert_clean(&mut world, &what);
        }
    }
}

#[test]
fn two_epochs_that_end_during_one_download_only_add_what_changed() {
    for seed in SEEDS {
        let mut world = throttled(seed, 45);
        world.run_until(seconds(41));
        assert_eq!(caught_up(&world, TAKER, S), None, "{seed}");
        world.run_until(seconds(150));
        let status = world.status(TAKER, S);
        assert!(caught_up(&world, TAKER, S).is_some(), "{seed}: {status:?}");
        assert_never_begun_anew(&world, &seed);
        assert_clean(&mut world, &seed);
    }
}

#[test]
fn a_download_that_outlives_what_trackers_keep_turns_to_the_newest_epoch() {
    for seed in SEEDS {
        // So much changes in an epoch that to finish the old one is better while that is kept.
        let busy = ChainSetup { epoch_length: 20, epochs: 8, ..chain() };
        let chain = Arc::new(Chain::new(ChainSetup { content: tries(6), ..busy }, seed).unwrap());
        let speed = LinkSpeed { download: 4 << 20, upload: 1 << 20, ..taker().speed };
        let nodes = vec![NodeSetup { speed, ..taker() }, tracker(), sequencer()];
        let mut world = World::on(chain, seed, nodes);
        // Half is there when everybody who could give the rest goes away, for three epochs.
        world.crash(1, Instant::ORIGIN + Duration::from_millis(400), seconds(35));
        world.run_until(seconds(9));
        let half = world.status(TAKER, S).unwrap();
        assert!(half.parts_held > 0 && half.parts_held < half.parts, "{seed}: {half:?}");
        world.run_until(seconds(60));
        let status = world.status(TAKER, S);
        assert!(caught_up(&world, TAKER, S).is_some(), "{seed}: {status:?}");
        assert!(pivots(&world).last().is_some_and(|epoch| *epoch >= 2), "{:?}", pivots(&world));
        assert!(world.holds_truth(TAKER, S), "{seed}");
        assert_clean(&mut world, &seed);
    }
}

#[test]
fn who_only_says_that_all_is_too_old_does_not_move_the_target_back_and_forth() {
    for seed in SEEDS {
        let mut nodes = vec![taker()];
        nodes.extend(std::iter::repeat_n(liar(Lie::NotRetained), 3));
        nodes.extend([tracker(), sequencer()]);
        let mut world = world(seed, nodes);
        assert_taken(&mut world, &seed);
        assert!(pivots(&world).is_empty(), "{seed}");
    }
}

#[test]
fn a_validator_that_goes_from_one_shard_to_another_and_back_takes_each_in_time() {
    for seed in SEEDS {
        let walker = node(vec![vec![A], vec![B], vec![A], vec![B], vec![A]], vec![A]);
        let nodes =
            vec![walker, node(vec![vec![A]], vec![A]), node(vec![vec![B]], vec![B]), sequencer()];
        let mut world = World::on(two_alike(), seed, nodes);
        for (epoch, shard) in [(1, B), (2, A), (3, B), (4, A)] {
            world.run_until(seconds(20 * epoch + 1));
            let status = world.status(TAKER, shard);
            let in_time = margin(&world, TAKER, shard, epoch);
            assert!(in_time.is_some(), "{seed} {epoch}: {status:?}");
            assert!(world.holds_truth(TAKER, shard), "{seed} {epoch}");
            assert_clean(&mut world, &(seed, epoch));
        }
    }
}

#[test]
fn a_released_shard_is_served_until_the_epoch_after_next_begins_and_then_dropped() {
    for seed in SEEDS {
        // The only one who has A leaves it when the second epoch begins, and another needs it.
        let leaves = node(vec![vec![A], vec![B]], vec![A]);
        let comes = node(vec![vec![B], vec![B], vec![A]], vec![B]);
        let nodes = vec![leaves, comes, node(vec![vec![B]], vec![B]), sequencer()];
        let mut world = World::on(two_alike(), seed, nodes);
        world.run_until(seconds(21));
        assert!(margin(&world, 0, B, 1).is_some(), "{seed}");
        world.run_until(seconds(39));
        assert!(world.has_on_disk(0, A), "{seed}: dropped too early");
        world.run_until(seconds(43));
        let status = world.status(1, A);
        assert!(margin(&world, 1, A, 2).is_some(), "{seed}: {status:?}");
        assert!(world.ledger().received_from(1, 0) > 0, "{seed}");
        assert!(!world.has_on_disk(0, A), "{seed}: {:?}", world.status(0, A));
        assert!(world.has_on_disk(0, B), "{seed}");
        assert!(world.holds_truth(1, A), "{seed}");
        assert_clean(&mut world, &seed);
    }
}

#[test]
fn an_empty_shard_is_taken_at_once() {
    let empty =
        |writes| ChainSetup { shards: vec![(OLD, 50), (S, 0)], content: tries(writes), ..chain() };
    for writes in [0, 5] {
        let chain = Arc::new(Chain::new(empty(writes), 1).unwrap());
        for seed in SEEDS {
            let nodes = vec![taker(), tracker(), sequencer()];
            let mut world = World::on(Arc::clone(&chain), seed, nodes);
            assert_taken(&mut world, &(seed, writes));
            let at = caught_up(&world, TAKER, S);
            assert!(at.is_some_and(|at| at < seconds(2)), "{seed} {writes}: {at:?}");
            assert_eq!(world.ledger().verified_parts, 0, "{seed} {writes}");
        }
    }
}

#[test]
fn validators_that_swap_shards_in_every_epoch_are_all_in_time() {
    let (a, b) = (vec![A], vec![B]);
    for seed in SEEDS {
        let to_b = node(vec![a.clone(), b.clone(), a.clone(), b.clone()], a.clone());
        let to_a = node(vec![b.clone(), a.clone(), b.clone(), a.clone()], b.clone());
        let mut nodes = vec![to_b; 6];
        nodes.extend(vec![to_a; 6]);
        nodes.extend(vec![node(vec![vec![A, B]], vec![A, B]); 3]);
        nodes.extend([node(vec![a.clone()], a.clone()), node(vec![b.clone()], b.clone())]);
        nodes.push(sequencer());
        let mut world = World::on(two_alike(), seed, nodes);
        world.run_until(seconds(62));
        for epoch in 1..=3 {
            for node in 0..12 {
                let shard = if (node < 6) == (epoch % 2 == 1) { B } else { A };
                let status = world.status(node, shard);
                let in_time = margin(&world, node, shard, epoch);
                assert!(in_time.is_some(), "{seed}: {node} in {epoch}: {status:?}");
            }
        }
        for node in 0..12 {
            assert!(world.holds_truth(node, if node < 6 { B } else { A }), "{seed}: {node}");
        }
        assert_clean(&mut world, &seed);
    }
}
