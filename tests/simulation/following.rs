//! What happens once a shard is held: blocks are replayed, and damage is repaired.

use ketch_coordinator::Phase;

use super::*;

const SEEDS: std::ops::Range<u64> = 0..4;

fn replayed(world: &World, node: NodeId) -> u64 {
    world.ledger().replayed.get(&(node, S)).copied().unwrap_or(0)
}

#[test]
fn every_block_since_the_target_is_replayed_once_and_the_newest_are_applied_as_they_come() {
    for seed in SEEDS {
        let speed = LinkSpeed { download: 100_000, ..taker().speed };
        let slow = NodeSetup { speed, ..taker() };
        let mut world = world(seed, vec![slow, tracker(), sequencer()]);
        world.run_while(seconds(20), |world| caught_up(world, TAKER, S).is_none());
        let at = caught_up(&world, TAKER, S).unwrap();
        assert!(at > seconds(5), "{seed}: blocks were made meanwhile");
        for half_seconds in 14..120 {
            world.run_until(Instant::ORIGIN + Duration::from_millis(500 * half_seconds + 400));
            let status = world.status(TAKER, S).unwrap();
            assert_eq!(status.phase, Phase::Following, "{seed}: {status:?}");
            let applied = status.applied.unwrap().0;
            assert!(applied + 1 >= half_seconds, "{seed}: {applied} of {half_seconds}");
            assert_eq!(replayed(&world, TAKER), applied, "{seed}: each once");
        }
        assert!(world.holds_truth(TAKER, S), "{seed}");
        world.check_states();
        assert_eq!(world.ledger().breaches, [], "{seed}");
    }
}

#[test]
fn damage_is_withdrawn_repaired_and_true_again() {
    for seed in SEEDS {
        let late = node(vec![vec![OLD], vec![OLD], vec![S]], vec![OLD]);
        let mut world = world(seed, vec![taker(), tracker(), late, sequencer()]);
        world.run_until(seconds(10));
        assert!(world.holds_truth(TAKER, S), "{seed}");
        world.damage(TAKER, S);
        world.run_until(seconds(10) + Duration::from_millis(1));
        let status = world.status(TAKER, S);
        let follows = status.as_ref().is_some_and(|status| status.phase == Phase::Following);
        assert!(!follows, "{seed}: {status:?}");
        let fell = |(_, event): (Instant, &Event)| matches!(event, Event::FellBehind { shard } if *shard == S);
        assert!(world.ledger().events_of(TAKER).any(fell), "{seed}");

        let fetched = world.ledger().verified_parts;
        world.run_until(seconds(19));
        let status = world.status(TAKER, S).unwrap();
        assert_eq!(status.phase, Phase::Following, "{seed}: {status:?}");
        assert!(world.holds_truth(TAKER, S), "{seed}");
        // Only what is damaged or was changed by blocks since the epoch's start is fetched again.
        let parts = u64::from(world.chain().parts(S, Epoch(0)));
        assert!(world.ledger().verified_parts < fetched + parts, "{seed}");

        world.run_until(seconds(41));
        assert!(margin(&world, TAKER, S, 1).is_some(), "{seed}");
        assert!(margin(&world, 2, S, 2).is_some(), "{seed}: who takes it from the repaired");
        assert!(world.holds_truth(2, S), "{seed}");
        world.check_states();
        assert_eq!(world.ledger().breaches, [], "{seed}");
        assert!(banned(&world, 2).is_empty(), "{seed}");
    }
}

#[test]
fn who_finds_damage_serves_nothing_until_it_is_repaired() {
    for seed in SEEDS {
        // Both hold the shard; one is damaged and nobody is left to repair it from.
        let late = node(vec![vec![OLD], vec![OLD], vec![S]], vec![OLD]);
        let mut world = world(seed, vec![taker(), tracker(), late, sequencer()]);
        world.run_until(seconds(10));
        world.crash(1, seconds(10), seconds(30));
        world.run_until(seconds(11));
        world.damage(TAKER, S);
        world.run_until(seconds(29));
        assert_eq!(world.ledger().received_from(2, TAKER), 0, "{seed}");
        world.run_until(seconds(41));
        assert!(world.holds_truth(TAKER, S), "{seed}: {:?}", world.status(TAKER, S));
        assert!(margin(&world, 2, S, 2).is_some(), "{seed}");
        world.check_states();
        assert_eq!(world.ledger().breaches, [], "{seed}");
    }
}

#[test]
fn without_anybody_who_serves_outputs_a_node_is_not_called_caught_up_for_long() {
    for seed in SEEDS {
        let mut world = world(seed, vec![taker(), tracker()]);
        world.run_until(seconds(21));
        assert_eq!(margin(&world, TAKER, S, 1), None, "{seed}");
        let fell = |(_, event): (Instant, &Event)| matches!(event, Event::FellBehind { shard } if *shard == S);
        assert!(world.ledger().events_of(TAKER).any(fell), "{seed}");
        world.check_states();
        assert_eq!(world.ledger().breaches, [], "{seed}");
    }
}
