//! Nodes that come back under another identity.

use ketch_sim::{DhtModel, Fault, FaultKind, GossipModel};

use super::*;

const SEEDS: std::ops::Range<u64> = 0..4;

/// A node that leaves at a time, in milliseconds, and comes back as somebody else.
fn renamed(world: &mut World, node: NodeId, at: u64, lasting: u64) {
    let at = Instant::ORIGIN + Duration::from_millis(at);
    let lasting = Duration::from_millis(lasting);
    world.fault(Fault { kind: FaultKind::NewIdentity, node, other: 0, at, lasting });
}

fn fired(world: &World, name: &str) -> u64 {
    world.ledger().faults.get(name).copied().unwrap_or(0)
}

#[test]
fn a_banned_liar_that_comes_back_as_somebody_else_is_banned_again_and_each_of_both_once() {
    let mut banned_twice = 0;
    for lie in Lie::ALL.into_iter().filter(|lie| lie.is_proof()) {
        for seed in SEEDS {
            let mut world = world(seed, vec![taker(), liar(lie), tracker(), sequencer()]);
            renamed(&mut world, 1, 350, 50);
            assert_taken(&mut world, &(lie, seed));
            assert_eq!(fired(&world, "new-identity"), 1);
            let bans = &world.ledger().bans;
            assert!(bans.values().all(|times| *times == 1), "{lie:?} {seed}: {bans:?}");
            let of_taker = banned(&world, TAKER).len();
            assert!(of_taker <= 2, "{lie:?} {seed}: {bans:?}");
            let came_back = fired(&world, "new-identity-of-a-banned-peer");
            banned_twice += u64::from(of_taker == 2 && came_back == 1);
        }
    }
    assert!(banned_twice >= 10, "{banned_twice}");
}

#[test]
fn an_honest_holder_that_comes_back_as_somebody_else_is_asked_again() {
    for seed in SEEDS {
        for at in [60, 200, 400, 700] {
            let mut world = world(seed, vec![taker(), tracker(), sequencer()]);
            renamed(&mut world, 1, at, 1_000);
            assert_taken(&mut world, &(seed, at));
            assert_eq!(fired(&world, "new-identity"), 1);
            assert_eq!(banned(&world, TAKER), Vec::<NodeId>::new());
        }
    }
}

#[test]
fn where_only_the_records_of_who_is_gone_are_old_the_new_ones_are_found() {
    for seed in SEEDS {
        let mut world = world(seed, vec![taker(), tracker(), sequencer()]);
        let deaf = GossipModel { loss_per_mille: 1_000, ..GossipModel::default() };
        world.set_models(deaf, DhtModel::default());
        for time in 0..4 {
            renamed(&mut world, 1, 100 + 600 * time, 300);
        }
        assert_taken(&mut world, &seed);
        assert_eq!(fired(&world, "new-identity"), 4);
    }
}

#[test]
fn a_taker_that_comes_back_as_somebody_else_goes_on_from_its_disk() {
    for seed in SEEDS {
        for at in [100, 300, 500, 700] {
            let mut world = world(seed, vec![taker(), tracker(), tracker(), sequencer()]);
            renamed(&mut world, TAKER, at, 300);
            assert_taken(&mut world, &(seed, at));
            let parts = u64::from(world.chain().parts(S, Epoch(0)));
            let ledger = world.ledger();
            let again = (ledger.verified_parts - ledger.wasted_parts).saturating_sub(parts);
            assert!(again <= config().memory_bytes / 8_192 + 1, "{seed} {at}: {again} came twice");
        }
    }
}
