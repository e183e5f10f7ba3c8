//! Which checker notices a bug, and how soon.

use std::time::Duration;

use ketch_coordinator::Config;
use ketch_types::{Instant, ShardId};

use super::Planted;
use crate::chain::{ChainSetup, Content};
use crate::check::Breach;
use crate::dht::DhtModel;
use crate::fault::FaultKind;
use crate::gossip::GossipModel;
use crate::lie::{Conduct, Lie};
use crate::node::{LinkSpeed, NodeSetup};
use crate::outcome::Outcome;
use crate::policy::PolicyKind;
use crate::scenario::{Group, Planned, Scenario, sequencer};
use crate::tries::Tries;

/// How a bug was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caught {
    /// What noticed it.
    pub by: &'static str,
    /// The world in which it did.
    pub world: &'static str,
    /// The seeds that it took.
    pub seeds: u64,
}

/// Runs worlds in which all have a bug, seed by seed, until one shows it; none if `seeds` seeds do not.
///
/// Of each seed there are several worlds: a random one in which things go wrong, and small ones in which
/// nothing does but one thing each. These are held against the same world without the bug.
pub fn hunt(bug: Planted, seeds: u64) -> Option<Caught> {
    (0..seeds).find_map(|seed| {
        let caught = |world| move |by| Caught { by, world, seeds: seed + 1 };
        let in_drill = |(world, drill): &(&'static str, Scenario)| {
            let shown = run(drill, seed, Some(bug))?;
            let by = shown.breach().or_else(|| worse(&shown, &run(drill, seed, None)?));
            by.map(caught(*world))
        };
        let random = run(&Scenario::random(seed), seed, Some(bug))?;
        let unfinished = (random.outcome.unfinished > 0).then_some("unfinished");
        let in_random = random.breach().or(unfinished).map(caught("random"));
        in_random.or_else(|| drills().iter().find_map(in_drill))
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

impl Shown {
    /// What must not be in any world, and was first.
    fn breach(&self) -> Option<&'static str> {
        self.outcome.breaches.first().map(Breach::name)
    }
}

/// The figure in which a run is worse than one without the bug, if it is much worse in any.
fn worse(shown: &Shown, sound: &Shown) -> Option<&'static str> {
    let (with, without) = (&shown.outcome, &sound.outcome);
    let slower = |with: Duration, without: Duration| with > without + without / 2;
    let figures = [
        ("unfinished", with.unfinished > without.unfinished),
        ("missed", with.missed > without.missed),
        ("made more than once", with.made_most > without.made_most),
        ("excess", with.excess > without.excess + MUCH),
        ("wasted", with.wasted > without.wasted + MUCH),
        ("slower", slower(with.ready.longest, without.ready.longest)),
        ("questions", shown.asked > sound.asked + sound.asked / 2),
    ];
    let worst = figures.into_iter().find(|(_, is_worse)| *is_worse);
    worst.map(|(figure, _)| figure)
}

/// A share by which a share is much larger.
const MUCH: f64 = 0.1;

/// Peers that bring nothing and take their time.
const HANGING: [Lie; 3] = [Lie::StallsAtTheEnd, Lie::Silent, Lie::Drips];

/// Peers that bring what is false.
const LYING: [Lie; 3] = [Lie::Junk, Lie::FlippedBit, Lie::FalseOutputs];

/// Small worlds in which nothing goes wrong, but one thing in each.
fn drills() -> [(&'static str, Scenario); 6] {
    let calm = drill(UPLOAD, &[]);
    let failing = Planned {
        kind: FaultKind::TornWrite,
        group: "validators".to_owned(),
        at: Instant::ORIGIN,
        lasting: calm.chain.block_interval * 10,
    };
    let silence = GossipModel { loss_per_mille: 1_000, ..GossipModel::default() };
    let deaf = Scenario { gossip: silence, ..calm.clone() };
    let dark = Scenario { faults: vec![failing], ..calm.clone() };
    [
        ("calm", calm),
        ("power failure", dark),
        ("hanging peers", drill(UPLOAD, &HANGING)),
        ("liars", drill(UPLOAD, &LYING)),
        ("slow lines", drill(UPLOAD / 100, &[])),
        ("no gossip", deaf),
    ]
}

/// How fast nodes send in a small world. *Units:* bytes per second.
const UPLOAD: u64 = 200_000;

/// A small world in which nothing goes wrong: four nodes that go from shard to shard.
fn drill(upload: u64, lies: &[Lie]) -> Scenario {
    let (shards, epochs) = (3, 3);
    let config = Config {
        memory_bytes: 96 << 10,
        window_bytes: 128 << 10,
        window_bytes_min: 64 << 10,
        peer_bytes_max: 128 << 10,
        outputs_bytes: 64 << 10,
        stall_timeout: Duration::from_secs(3),
        announce_interval: Duration::from_millis(200),
        asks_per_peer: 2,
        ..Config::default()
    };
    let speed = LinkSpeed { upload, download: 800_000, ..LinkSpeed::default() };
    let usual = NodeSetup { config, speed, ..NodeSetup::default() };
    let core = (0..shards).map(ShardId).map(|shard| NodeSetup {
        tracked: vec![vec![shard]],
        genesis: vec![shard],
        ..usual.clone()
    });
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
        epoch_length: 10,
        block_interval: Duration::from_secs(2),
    };
    Scenario {
        title: "nothing goes wrong".to_owned(),
        changes: epochs.into(),
        groups: vec![
            group("core", core.collect()),
            group("validators", validators.collect()),
            group("liars", liars.collect()),
            sequencer(),
        ],
        gossip: GossipModel::default(),
        dht: DhtModel::default(),
        faults: vec![],
        chaos: None,
        end: Instant::ORIGIN + chain.block_interval * 10 * (epochs + 2),
        chain,
        limits: vec![],
    }
}
