//! What the operator is told, and which shard goes first.

use ketch_coordinator::{Obstacle, Verdict};

use super::*;

const SEEDS: std::ops::Range<u64> = 0..4;
/// A shard twice as big as [`SMALL`].
const BIG: ShardId = ShardId(11);
const SMALL: ShardId = ShardId(12);

fn two_shards() -> Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let setup = ChainSetup { shards: vec![(OLD, 50), (BIG, 2_400), (SMALL, 1_200)], ..chain() };
    let setup = ChainSetup { content: tries(4), ..setup };
    Arc::clone(CHAIN.get_or_init(|| Arc::new(Chain::new(setup, 1).unwrap())))
}

/// Epochs of two hundred seconds.
fn long_epochs() -> Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let setup = ChainSetup { epoch_length: 100, epochs: 2, content: tries(4), ..chain() };
    let setup = ChainSetup { block_interval: Duration::from_secs(2), ..setup };
    Arc::clone(CHAIN.get_or_init(|| Arc::new(Chain::new(setup, 1).unwrap())))
}

/// Must have both shards in the second epoch, over a line that receives so fast.
fn taker_of_both(download: u64) -> NodeSetup {
    let speed = LinkSpeed { download, ..taker().speed };
    NodeSetup { speed, ..node(vec![vec![OLD], vec![BIG, SMALL]], vec![OLD]) }
}

pub(super) fn two_shard_world(seed: u64, download: u64) -> World {
    let holder = node(vec![vec![BIG, SMALL]], vec![BIG, SMALL]);
    World::on(two_shards(), seed, vec![taker_of_both(download), holder, sequencer()])
}

/// Takes the wanted shard over a line that receives so fast.
fn taker_receiving(download: u64) -> NodeSetup {
    let speed = LinkSpeed { download, ..taker().speed };
    NodeSetup { speed, ..taker() }
}

/// What the taker was told of a shard before a time, in order.
fn verdicts(world: &World, shard: ShardId, before: Instant) -> Vec<(Instant, Verdict)> {
    let events = world.ledger().events_of(TAKER).filter(|(at, _)| *at < before);
    let told = events.filter_map(|(at, event)| match event {
        Event::VerdictChanged { shard: of, verdict } if *of == shard => Some((at, *verdict)),
        _ => None,
    });
    told.collect()
}

fn is_on_time(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::OnTime { .. })
}

/// A shard that cannot be in time was called at risk first, then impossible, both before the
/// boundary, and not on time any more after that.
fn assert_warned(told: &[(Instant, Verdict)], what: &dyn std::fmt::Debug) {
    let at_risk = told.iter().position(|(_, v)| matches!(v, Verdict::AtRisk { .. }));
    let impossible = told.iter().position(|(_, v)| matches!(v, Verdict::Impossible { .. }));
    let (Some(at_risk), Some(impossible)) = (at_risk, impossible) else {
        panic!("{what:?}: {told:#?}");
    };
    assert!(told[at_risk].0 < told[impossible].0, "{what:?}: {told:#?}");
    assert!(!told[at_risk..].iter().any(|(_, verdict)| is_on_time(verdict)), "{what:?}: {told:#?}");
}

fn assert_clean(world: &mut World, what: &dyn std::fmt::Debug) {
    world.check_states();
    assert_eq!(world.ledger().breaches, [], "{what:?}");
}

#[test]
fn of_two_shards_the_one_with_less_slack_is_fetched_first_and_both_are_in_time() {
    for seed in SEEDS {
        let mut world = two_shard_world(seed, 60_000);
        world.run_until(seconds(21));
        for shard in [BIG, SMALL] {
            let told = verdicts(&world, shard, seconds(20));
            assert!(margin(&world, TAKER, shard, 1).is_some(), "{seed}: {shard:?} {told:#?}");
            assert!(world.holds_truth(TAKER, shard), "{seed}: {shard:?}");
        }
        // When half of all parts were there, most of them were of the big one.
        let applied: Vec<_> =
            world.ledger().applied.iter().filter(|(node, ..)| *node == 0).collect();
        let early = applied.get(..applied.len() / 2).unwrap();
        let parts = |of| {
            let runs = early.iter().filter(|(_, shard, _)| *shard == of);
            runs.map(|(_, _, run)| run.end.0 - run.start.0).sum::<u32>()
        };
        let (big, small) = (parts(BIG), parts(SMALL));
        assert!(big > 2 * small, "{seed}: {big} and {small}, though the big one is more pressing");
        assert_clean(&mut world, &seed);
    }
}

#[test]
fn when_not_both_can_be_in_time_the_one_that_can_is_and_the_other_is_warned_of() {
    for seed in SEEDS {
        let mut world = two_shard_world(seed, 30_000);
        world.run_until(seconds(21));
        let told = |shard| verdicts(&world, shard, seconds(20));
        assert!(margin(&world, TAKER, SMALL, 1).is_some(), "{seed}: {:#?}", told(SMALL));
        assert!(margin(&world, TAKER, BIG, 1).is_none(), "{seed}");
        assert_warned(&told(BIG), &seed);
        let never = |(_, v): &(Instant, Verdict)| matches!(v, Verdict::Impossible { .. });
        assert!(!told(SMALL).iter().any(never), "{seed}: {:#?}", told(SMALL));
        // And late is better than never.
        world.run_until(seconds(60));
        assert!(caught_up(&world, TAKER, BIG).is_some(), "{seed}: {:?}", world.status(TAKER, BIG));
        assert_clean(&mut world, &seed);
    }
}

#[test]
fn with_bandwidth_to_spare_nothing_but_on_time_is_ever_said() {
    for seed in SEEDS {
        let mut world = world(seed, vec![taker(), tracker(), sequencer()]);
        assert_taken(&mut world, &seed);
        let told = verdicts(&world, S, seconds(20));
        assert!(!told.is_empty() && told.iter().all(|(_, v)| is_on_time(v)), "{seed}: {told:#?}");
    }
}

#[test]
fn a_line_that_just_suffices_is_never_called_impossible() {
    for seed in SEEDS {
        // The state and the chain's blocks take fifteen of twenty seconds.
        let mut world = world(seed, vec![taker_receiving(85_000), tracker(), sequencer()]);
        assert_taken(&mut world, &seed);
        let told = verdicts(&world, S, seconds(20));
        let never = |(_, v): &(Instant, Verdict)| matches!(v, Verdict::Impossible { .. });
        assert!(!told.iter().any(never), "{seed}: {told:#?}");
    }
}

/// The state in some twenty parts, and blocks that take little of a line.
fn huge_parts() -> Arc<Chain> {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let setup = ChainSetup { cut: 65_536, content: tries(1), ..chain() };
    Arc::clone(CHAIN.get_or_init(|| Arc::new(Chain::new(setup, 1).unwrap())))
}

#[test]
fn a_line_that_brings_no_part_before_the_epoch_ends_is_called_impossible_in_its_first_half() {
    for seed in SEEDS {
        let nodes = vec![taker_receiving(4_000), tracker(), sequencer()];
        let mut world = World::on(huge_parts(), seed, nodes);
        let impossible = |(_, v): &(Instant, Verdict)| matches!(v, Verdict::Impossible { .. });
        let told = |world: &World| verdicts(world, S, seconds(10));
        world.run_while(seconds(10), |world| !told(world).iter().any(impossible));
        assert_eq!(world.ledger().verified_parts, 0, "{seed}");
        world.run_until(seconds(20));
        assert_warned(&verdicts(&world, S, seconds(20)), &seed);
        assert!(told(&world).iter().any(impossible), "{seed}");
        assert_clean(&mut world, &seed);
    }
}

#[test]
fn a_line_that_just_suffices_for_huge_parts_is_never_called_impossible() {
    for seed in SEEDS {
        for trackers in 1..4 {
            let mut nodes = vec![taker_receiving(47_000)];
            nodes.extend(std::iter::repeat_n(tracker(), trackers));
            nodes.push(sequencer());
            let mut world = World::on(huge_parts(), seed, nodes);
            assert_taken(&mut world, &seed);
            let told = verdicts(&world, S, seconds(20));
            let never = |(_, v): &(Instant, Verdict)| matches!(v, Verdict::Impossible { .. });
            assert!(!told.iter().any(never), "{seed}: {told:#?}");
        }
    }
}

#[test]
fn a_line_that_cannot_make_it_is_called_a_risk_then_impossible_long_before_the_epoch_ends() {
    for seed in SEEDS {
        for download in [5_000, 10_000, 15_000] {
            let nodes = vec![taker_receiving(download), tracker(), sequencer()];
            let mut world = world(seed, nodes);
            world.run_until(seconds(21));
            assert!(margin(&world, TAKER, S, 1).is_none(), "{seed}");
            let told = verdicts(&world, S, seconds(20));
            assert_warned(&told, &(seed, download));
            let at_risk = told.iter().find(|(_, v)| matches!(v, Verdict::AtRisk { .. })).unwrap();
            assert!(at_risk.0 < seconds(10), "{seed} {download}: {told:#?}");
            let why = |(_, v): &(Instant, Verdict)| match v {
                Verdict::Impossible { obstacle, .. } => Some(*obstacle),
                _ => None,
            };
            let mut why = told.iter().filter_map(why);
            let bandwidth = |obstacle| match obstacle {
                Obstacle::Bandwidth { needed, best } => needed > best,
                _ => false,
            };
            assert!(why.all(bandwidth), "{seed} {download}: {told:#?}");
            assert_clean(&mut world, &seed);
        }
    }
}

#[test]
fn without_a_holder_it_is_called_impossible_within_a_minute_and_done_once_one_appears() {
    for seed in SEEDS {
        let mut world = World::on(long_epochs(), seed, vec![taker(), tracker(), sequencer()]);
        world.crash(1, Instant::ORIGIN, seconds(90));
        world.run_until(seconds(61));
        let told = verdicts(&world, S, seconds(60));
        let no_holder = |(_, v): &(Instant, Verdict)| {
            matches!(v, Verdict::Impossible { obstacle: Obstacle::NoHolder, .. })
        };
        assert!(told.last().is_some_and(no_holder), "{seed}: {told:#?}");
        world.run_until(seconds(203));
        let told = verdicts(&world, S, seconds(200));
        assert!(margin(&world, TAKER, S, 1).is_some(), "{seed}: {told:#?}");
        assert!(told.last().is_some_and(|(_, v)| is_on_time(v)), "{seed}: {told:#?}");
        let at = caught_up(&world, TAKER, S).unwrap();
        assert!(at < seconds(110), "{seed}: found late, at {at:?}");
        assert!(world.holds_truth(TAKER, S), "{seed}");
        assert_clean(&mut world, &seed);
    }
}

#[test]
fn a_holder_that_vanishes_for_good_makes_it_impossible_for_want_of_a_holder() {
    for seed in SEEDS {
        let speed = LinkSpeed { upload: 20_000, ..tracker().speed };
        let slow = NodeSetup { speed, ..tracker() };
        let mut world = World::on(long_epochs(), seed, vec![taker(), slow, sequencer()]);
        world.crash(1, seconds(10), seconds(1_000));
        world.run_until(seconds(71));
        let told = verdicts(&world, S, seconds(70));
        let no_holder = |(_, v): &(Instant, Verdict)| {
            matches!(v, Verdict::Impossible { obstacle: Obstacle::NoHolder, .. })
        };
        assert!(told.last().is_some_and(no_holder), "{seed}: {told:#?}");
        assert_clean(&mut world, &seed);
    }
}

#[test]
fn who_replays_more_slowly_than_blocks_come_is_told_so_and_never_called_caught_up() {
    for seed in SEEDS {
        // Some six blocks are made while the state is fetched.
        let speed = LinkSpeed { download: 180_000, ..taker().speed };
        let slow = Duration::from_millis(700);
        let slow = NodeSetup { speed, replay_block: slow, ..taker() };
        let mut world = world(seed, vec![slow, tracker(), sequencer()]);
        world.run_until(seconds(21));
        let told = verdicts(&world, S, seconds(20));
        let warned = |(_, v): &(Instant, Verdict)| !is_on_time(v);
        assert!(told.iter().any(warned), "{seed}: {told:#?}");
        assert!(told.last().is_some_and(warned), "{seed}: {told:#?}");
        assert_eq!(margin(&world, TAKER, S, 1), None, "{seed}");
        assert_eq!(caught_up(&world, TAKER, S), None, "{seed}");
        let replayed = world.ledger().replayed.get(&(TAKER, S)).copied().unwrap_or(0);
        assert!(replayed > 10, "{seed}: it goes on all the same, {replayed}");
        assert_clean(&mut world, &seed);
    }
}
