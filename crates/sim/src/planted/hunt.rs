//! Which checker notices a bug, and how soon.

use std::time::Duration;

use ketch_coordinator::Config;
use ketch_types::{Instant, ShardId};

use super::Planted;
use crate::chain::{ChainSetup, Content};
use crate::check::Breach;
use crate::dht::DhtModel;
use crate::gossip::GossipModel;
use crate::lie::{Conduct, Lie};
use crate::node::{LinkSpeed, NodeSetup};
use crate::outcome::Outcome;
use crate::policy::PolicyKind;
use crate::scenario::{Group, Scenario, sequencer};
use crate::tries::Tries;

/// How a bug was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// What noticed it.
    pub by: String,
    /// The world in which it did.
    pub world: &'static str,
    /// The seeds that it took.
    pub seeds: u64,
}

/// Runs worlds in which all have a bug, seed by seed, until one shows it; none if `seeds` seeds do not.
///
/// Of each seed there are three worlds: a random one in which things go wrong, and two small ones in
/// which nothing does, one of them beside peers that hang. These are held against the same world
/// without the bug.
pub fn hunt(bug: Planted, seeds: u64) -> Option<Caught> {
    (0..seeds).find_map(|seed| {
        let caught = |world, by| Caught { by, world, seeds: seed + 1 };
        let random = || {
            let shown = run(&Scenario::random(seed), seed, Some(bug))?;
            Some(caught("random", broken(&shown)?))
        };
        let beside = |world, scenario: &Scenario| {
            let shown = run(scenario, seed, Some(bug))?;
            let by = broken(&shown).or_else(|| worse(&shown, &run(scenario, seed, None)?));
            Some(caught(world, by?))
        };
        random()
            .or_else(|| beside("calm", &drill(&[])))
            .or_else(|| beside("hanging", &drill(&HANGING)))
    })
}

/// What came of a run.
struct Shown {
    outcome: Outcome,
    /// Questions that were asked.
    asked: u64,
}

fn run(scenario: &Scenario, seed: u64, bug: Option<Planted>) -> Option<Shown> {
    let mut world = scenario.world(seed, PolicyKind::Ketch)?;
    bug.into_iter().for_each(|bug| world.plant(bug));
    let outcome = scenario.run(&mut world);
    Some(Shown { outcome, asked: world.ledger().asked.values().sum() })
}

/// What must not be in any world.
fn broken(shown: &Shown) -> Option<String> {
    let breach = shown.outcome.breaches.first().map(Breach::name);
    let unfinished = (shown.outcome.unfinished > 0).then_some("unfinished");
    breach.or(unfinished).map(str::to_owned)
}

/// The figure in which a run is worse than one without the bug, if it is much worse in any.
fn worse(shown: &Shown, sound: &Shown) -> Option<String> {
    let (with, without) = (&shown.outcome, &sound.outcome);
    let slower = |with: Duration, without: Duration| with > without + without / 2;
    let figures = [
        ("missed", with.missed > without.missed),
        ("made more than once", with.made_most > without.made_most),
        ("excess", with.excess > without.excess + MUCH),
        ("wasted", with.wasted > without.wasted + MUCH),
        ("slower", slower(with.ready.longest, without.ready.longest)),
        ("sent by downloading nodes", with.from_downloading < without.from_downloading / 2.0),
        ("questions", shown.asked > sound.asked + sound.asked / 2),
    ];
    let worst = figures.into_iter().find(|(_, is_worse)| *is_worse);
    worst.map(|(figure, _)| figure.to_owned())
}

/// A share by which a share is much larger.
const MUCH: f64 = 0.1;

/// Peers that bring nothing and take their time.
const HANGING: [Lie; 3] = [Lie::StallsAtTheEnd, Lie::Silent, Lie::Drips];

/// A small world in which nothing goes wrong: four nodes that go from shard to shard.
fn drill(lies: &[Lie]) -> Scenario {
    let (shards, epochs) = (3, 3);
    let all: Vec<ShardId> = (0..shards).map(ShardId).collect();
    let config = Config {
        memory_bytes: 512 << 10,
        window_bytes: 128 << 10,
        window_bytes_min: 16 << 10,
        peer_bytes_max: 128 << 10,
        outputs_bytes: 64 << 10,
        stall_timeout: Duration::from_secs(3),
        announce_interval: Duration::from_millis(200),
        ..Config::default()
    };
    let speed = LinkSpeed { upload: 200_000, download: 800_000, ..LinkSpeed::default() };
    let usual = NodeSetup { config, speed, ..NodeSetup::default() };
    let core = NodeSetup { tracked: vec![all.clone()], genesis: all, ..usual.clone() };
    let validators = (0..4).map(|place| {
        let at = |epoch| vec![ShardId((place + epoch) % shards)];
        let tracked: Vec<_> = (0..=epochs).map(at).collect();
        let genesis = tracked.first().cloned().unwrap_or_default();
        NodeSetup { tracked, genesis, ..usual.clone() }
    });
    let liars = lies.iter().map(|lie| {
        let speed = LinkSpeed { delay: Duration::from_millis(1), ..speed };
        NodeSetup { conduct: Conduct::Lies(*lie), speed, ..usual.clone() }
    });
    let group = |name: &str, nodes| Group { name: name.to_owned(), nodes, clean: None };
    let chain = ChainSetup {
        shards: (0..shards).map(|shard| (ShardId(shard), 400)).collect(),
        content: Content::Tries(Tries { value_bytes: 400, writes: 5 }),
        cut: 16_384,
        epochs: u64::from(epochs) + 2,
        epoch_length: 24,
        block_interval: Duration::from_millis(500),
    };
    Scenario {
        title: "nothing goes wrong".to_owned(),
        changes: epochs.into(),
        groups: vec![
            group("core", vec![core]),
            group("validators", validators.collect()),
            group("liars", liars.collect()),
            sequencer(),
        ],
        gossip: GossipModel::default(),
        dht: DhtModel::default(),
        faults: vec![],
        chaos: None,
        end: Instant::ORIGIN + chain.block_interval * 24 * (epochs + 2),
        chain,
        limits: vec![],
    }
}
