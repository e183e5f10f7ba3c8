//! Every kind of lying peer, and for each a control in which the defence against it is off.

use ketch_sim::Defences;

use super::*;

/// A taker, some liars of one kind, one honest tracker.
fn against(seed: u64, taker: NodeSetup, lie: Lie, liars: usize) -> World {
    let mut nodes = vec![taker];
    nodes.extend(std::iter::repeat_n(liar(lie), liars));
    nodes.extend([tracker(), sequencer()]);
    world(seed, nodes)
}

/// A taker that waits for ever, and is never told that nothing more will come.
fn patient() -> NodeSetup {
    let ever = Duration::from_secs(100_000);
    let config = Config {
        stall_timeout: ever,
        hedge_prior: ever,
        hedge_min: ever,
        watchdog: ever,
        ..config()
    };
    let defences = Defences { ends: false, ..NodeSetup::default().defences };
    NodeSetup { config, defences, ..taker() }
}

fn credulous() -> NodeSetup {
    let defences = Defences { verify: false, ..NodeSetup::default().defences };
    NodeSetup { defences, ..taker() }
}

fn forgiving() -> NodeSetup {
    let defences = Defences { blame: false, ..NodeSetup::default().defences };
    NodeSetup { defences, ..taker() }
}

/// Lies about what parts and outputs hold.
const ABOUT_CONTENT: [Lie; 6] =
    [Lie::Junk, Lie::FlippedBit, Lie::Truncated, Lie::Oversized, Lie::WrongPart, Lie::FalseOutputs];

/// Ways to leave a request without an answer.
const WITHOUT_ANSWER: [Lie; 9] = [
    Lie::Silent,
    Lie::StallsAtTheEnd,
    Lie::Drips,
    Lie::Closes,
    Lie::ClaimsAll,
    Lie::EndsEarly,
    Lie::Busy,
    Lie::NotRetained,
    Lie::Unsupported,
];

const SEEDS: std::ops::Range<u64> = 0..4;

#[test]
fn a_liar_of_any_kind_does_not_keep_a_shard_from_being_taken() {
    for lie in Lie::ALL {
        for seed in SEEDS {
            assert_taken(&mut against(seed, taker(), lie, 1), &(lie, seed));
        }
    }
}

#[test]
fn six_liars_of_one_kind_do_not_outweigh_one_honest_holder() {
    for lie in Lie::ALL {
        assert_taken(&mut against(4, taker(), lie, 6), &lie);
    }
}

#[test]
fn liars_of_every_kind_at_once_do_not_keep_a_shard_from_being_taken() {
    for seed in SEEDS {
        let mut nodes = vec![taker()];
        nodes.extend(Lie::ALL.into_iter().chain(Lie::ALL).map(liar));
        nodes.extend([tracker(), sequencer()]);
        assert_taken(&mut world(seed, nodes), &seed);
    }
}

#[test]
fn who_is_proven_to_lie_is_banned_once_and_who_only_fails_never() {
    for lie in Lie::ALL {
        let banned_of = |seed| {
            let mut world = against(seed, taker(), lie, 1);
            world.run_until(seconds(21));
            banned(&world, TAKER)
        };
        let bans: Vec<_> = SEEDS.map(banned_of).collect();
        assert!(bans.iter().all(|of_world| of_world.len() <= 1), "{lie:?} {bans:?}");
        assert!(bans.iter().flatten().all(|peer| *peer == 1), "{lie:?} {bans:?}");
        assert_eq!(bans.concat().is_empty(), !lie.is_proof(), "{lie:?} {bans:?}");
    }
}

#[test]
fn a_claim_about_an_epoch_that_is_not_yet_makes_nobody_ask() {
    let mut world = against(1, taker(), Lie::FutureEpoch, 1);
    world.run_until(seconds(21));
    assert_eq!(world.ledger().received_from(TAKER, 1), 0);
    let asked = world.ledger().asked.get(&(TAKER, 1)).copied().unwrap_or(0);
    assert!(asked <= 12, "asked {asked} times, once in five seconds for each shard is enough");
}

#[test]
fn control_without_verification_a_lie_about_content_is_believed() {
    for lie in ABOUT_CONTENT {
        let mut untrue = SEEDS.filter(|seed| !is_taken(&mut against(*seed, credulous(), lie, 1)));
        assert!(untrue.next().is_some(), "{lie:?}");
    }
}

#[test]
fn control_without_blame_a_liar_is_asked_again_and_again() {
    let asked_of = |taker: NodeSetup, lie, seed| {
        let mut world = against(seed, taker, lie, 1);
        world.run_until(seconds(21));
        world.ledger().asked.get(&(TAKER, 1)).copied().unwrap_or(0)
    };
    let not_believed = |lie: &Lie| lie.is_proof() && !ABOUT_CONTENT.contains(lie);
    for lie in Lie::ALL.into_iter().filter(not_believed) {
        let with: u64 = SEEDS.map(|seed| asked_of(taker(), lie, seed)).sum();
        let without: u64 = SEEDS.map(|seed| asked_of(forgiving(), lie, seed)).sum();
        assert!(without > with, "{lie:?}: {with} with blame, {without} without");
    }
}

#[test]
fn control_without_patience_s_end_whoever_does_not_answer_keeps_the_shard_from_being_taken() {
    for lie in WITHOUT_ANSWER {
        let mut late = SEEDS.filter(|seed| !is_taken(&mut against(*seed, patient(), lie, 1)));
        assert!(late.next().is_some(), "{lie:?}");
    }
    // Without liars patience does no harm but that no end is heard: with them it does.
    let nodes = vec![NodeSetup { config: patient().config, ..taker() }, tracker(), sequencer()];
    assert!(is_taken(&mut world(1, nodes)));
}

#[test]
fn every_lie_has_its_control() {
    for lie in Lie::ALL {
        let has = ABOUT_CONTENT.contains(&lie) || WITHOUT_ANSWER.contains(&lie) || lie.is_proof();
        // A claim about the future is only a claim: what is asserted of it is that nobody asks.
        assert!(has || lie == Lie::FutureEpoch, "{lie:?}");
    }
}
