//! Scenarios that nobody thought of.

use std::time::Duration;

use ketch_coordinator::Config;
use ketch_types::{Chance, Instant, ShardId};

use crate::chain::{ChainSetup, Content};
use crate::dht::DhtModel;
use crate::fault::FaultKind;
use crate::gossip::GossipModel;
use crate::lie::{Conduct, Lie};
use crate::limit::Limit;
use crate::node::{LinkSpeed, NodeSetup};
use crate::scenario::{Chaos, Group, Planned, Scenario, sequencer};
use crate::tries::Tries;

/// The kinds of nodes of a random scenario: the core is spared, so that every catchup can end.
const CORE: &str = "core";
const VALIDATORS: &str = "validators";
const LIARS: &str = "liars";
const BURST: &str = "burst";

/// How long nothing goes wrong before a catchup must have ended, if two epochs are shorter.
const QUIET: Duration = Duration::from_secs(20);

/// Draws one thing after another.
struct Dice(Chance);

impl Dice {
    fn draw(&mut self, from: u64, to: u64) -> u64 {
        from + self.0.draw() % (to - from + 1)
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.draw(from, to))
    }

    /// True once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.draw(0, times - 1) == 0
    }
}

impl Scenario {
    /// A small world of real tries in which things go wrong: everything but the core of part servers is
    /// hit, until faults freeze when the last epoch begins for which shards are taken. Then every catchup
    /// must end.
    pub fn random(seed: u64) -> Self {
        let mut dice = Dice(Chance::new(seed ^ 0x5eed_0f50));
        let shards = u32::try_from(dice.draw(2, 4)).unwrap_or(2);
        let changes = dice.draw(2, 4);
        let mut chain = chain(&mut dice, shards, changes);
        let usual = machine(&mut dice);
        let epoch = chain.block_interval * u32::try_from(chain.epoch_length).unwrap_or(1);
        // Two epochs, and where these are short, as many as slow lines need.
        let quiet = u32::try_from(QUIET.as_millis() / epoch.as_millis().max(1)).unwrap_or(0).max(2);
        chain.epochs = changes + u64::from(quiet);
        let group = |name: &str, nodes| Group { name: name.to_owned(), nodes, clean: None };
        let groups = vec![
            group(CORE, core(&mut dice, shards, &usual)),
            group(VALIDATORS, validators(&mut dice, (shards, changes), &usual)),
            group(LIARS, liars(&mut dice, epoch, &usual)),
            group(BURST, burst(&mut dice, (epoch, changes), &usual)),
            sequencer(),
        ];
        let faults = planned(&mut dice, (epoch, changes));
        let (last_change, per_minute) = (u32::try_from(changes).unwrap_or(1), dice.draw(0, 90));
        Scenario {
            title: format!("random, seed {seed}"),
            changes,
            groups,
            gossip: GossipModel { loss_per_mille: dice.draw(0, 300), ..GossipModel::default() },
            dht: DhtModel { failures_per_mille: dice.draw(0, 300), ..DhtModel::default() },
            faults,
            chaos: Some(Chaos {
                kinds: FaultKind::ALL.to_vec(),
                groups: vec![VALIDATORS.to_owned()],
                per_minute,
                until: Instant::ORIGIN + epoch * last_change,
            }),
            // Nothing is caught up with a chain that has ended.
            end: Instant::ORIGIN + epoch * (last_change + quiet),
            chain,
            limits: vec![Limit::Unfinished(0)],
        }
    }
}

fn chain(dice: &mut Dice, shards: u32, changes: u64) -> ChainSetup {
    let empty = dice.once_in(10);
    let sizes = (0..shards).map(|shard| {
        let entries = if empty && shard == 0 { 0 } else { dice.draw(20, 700) };
        (ShardId(shard), entries)
    });
    ChainSetup {
        shards: sizes.collect(),
        content: Content::Tries(Tries { value_bytes: 400, writes: dice.draw(1, 8) }),
        cut: if dice.once_in(3) { 65_536 } else { 16_384 },
        epochs: changes + 2,
        epoch_length: dice.draw(8, 40),
        block_interval: dice.millis(300, 1_500),
    }
}

/// What every node of a world is like.
fn machine(dice: &mut Dice) -> NodeSetup {
    let speed = LinkSpeed {
        upload: dice.draw(40_000, 1_000_000),
        download: dice.draw(60_000, 2_000_000),
        delay: dice.millis(1, 120),
    };
    let config = Config {
        memory_bytes: dice.draw(128 << 10, 1 << 20),
        window_bytes: 128 << 10,
        window_bytes_min: 16 << 10,
        peer_bytes_max: 128 << 10,
        outputs_bytes: 64 << 10,
        stall_timeout: Duration::from_secs(3),
        announce_interval: Duration::from_millis(200),
        ..Config::default()
    };
    NodeSetup { config, speed, ..NodeSetup::default() }
}

/// One or two that track everything.
fn core(dice: &mut Dice, shards: u32, usual: &NodeSetup) -> Vec<NodeSetup> {
    let all: Vec<ShardId> = (0..shards).map(ShardId).collect();
    let one = NodeSetup { tracked: vec![all.clone()], genesis: all, ..usual.clone() };
    (0..dice.draw(1, 2)).map(|_| one.clone()).collect()
}

/// Some that take another shard in each epoch: some go to and fro between two, some on and on. Some take
/// one and stay.
fn validators(dice: &mut Dice, (shards, changes): (u32, u64), usual: &NodeSetup) -> Vec<NodeSetup> {
    let moves = dice.draw(1, 2);
    let validators = (0..dice.draw(2, 7)).map(|place| {
        let way = dice.draw(0, 7);
        let at = |epoch: u64| {
            let step = match way {
                0 | 1 => epoch % 2,
                // It stays for long enough to be late for its shard by more than one epoch.
                2 | 3 => epoch.div_ceil(3) * moves,
                _ => epoch * moves,
            };
            ShardId(u32::try_from((place + step) % u64::from(shards)).unwrap_or(0))
        };
        let tracked: Vec<Vec<ShardId>> = (0..=changes).map(|epoch| vec![at(epoch)]).collect();
        let genesis = tracked.first().cloned().unwrap_or_default();
        NodeSetup { tracked, genesis, ..usual.clone() }
    });
    validators.collect()
}

/// Up to five liars; some are there from the beginning, some come all at once.
fn liars(dice: &mut Dice, epoch: Duration, usual: &NodeSetup) -> Vec<NodeSetup> {
    let liars = (0..dice.draw(0, 5)).map(|_| {
        let joins = if dice.once_in(2) { Duration::ZERO } else { epoch / 4 };
        liar(dice, joins, usual)
    });
    liars.collect()
}

fn liar(dice: &mut Dice, joins: Duration, usual: &NodeSetup) -> NodeSetup {
    let lie = Lie::ALL.get(usize::try_from(dice.draw(0, 20)).unwrap_or(0));
    NodeSetup {
        conduct: Conduct::Lies(lie.copied().unwrap_or(Lie::Junk)),
        joins: Instant::ORIGIN + joins,
        ..usual.clone()
    }
}

/// In some worlds several liars more, who all come in the same moment, soon after an epoch has begun.
fn burst(dice: &mut Dice, (epoch, changes): (Duration, u64), usual: &NodeSetup) -> Vec<NodeSetup> {
    if !dice.once_in(6) {
        return vec![];
    }
    let joins = within(dice, (epoch, changes)) + Duration::from_millis(1);
    (0..dice.draw(3, 8)).map(|_| liar(dice, joins, usual)).collect()
}

/// A moment in the first quarter of an epoch in which shards are taken.
fn within(dice: &mut Dice, (epoch, changes): (Duration, u64)) -> Duration {
    let before = u32::try_from(dice.draw(0, changes - 1)).unwrap_or(0);
    let quarter = u64::try_from(epoch.as_millis() / 4).unwrap_or(0);
    epoch * before + dice.millis(0, quarter)
}

/// What befalls others than the validators, each in some worlds: liars come back as somebody else, all
/// who have the start of an epoch lose it, takers' lines are slow for longer than two.
fn planned(dice: &mut Dice, (epoch, changes): (Duration, u64)) -> Vec<Planned> {
    let mut faults = Vec::new();
    let mut plan = |kind, group: &str, at, lasting| {
        let (group, at) = (group.to_owned(), Instant::ORIGIN + at);
        faults.push(Planned { kind, group, at, lasting });
    };
    if dice.once_in(2) {
        let at = within(dice, (epoch, changes)) + epoch / 4;
        plan(FaultKind::NewIdentity, LIARS, at, dice.millis(100, 3_000));
    }
    if dice.once_in(4) {
        let at = within(dice, (epoch, changes));
        plan(FaultKind::Prune, CORE, at, Duration::ZERO);
        plan(FaultKind::Prune, VALIDATORS, at, Duration::ZERO);
    }
    if dice.once_in(4) {
        plan(FaultKind::Cap, VALIDATORS, Duration::ZERO, epoch * 2 + epoch / 4);
    }
    faults
}
