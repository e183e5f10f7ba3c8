//! Scenarios that nobody thought of.

use std::time::Duration;

use ketch_coordinator::Config;
use ketch_types::{Chance, Instant, ShardId};

use crate::chain::{ChainSetup, Content};
use crate::dht::DhtModel;
use crate::fault::FaultKind;
use crate::gossip::GossipModel;
use crate::lie::{Conduct, Lie};
use crate::node::{LinkSpeed, NodeSetup};
use crate::scenario::{Chaos, Group, Scenario, sequencer};
use crate::tries::Tries;

/// The kinds of nodes of a random scenario: the core is spared, so that every catchup can end.
const CORE: &str = "core";
const VALIDATORS: &str = "validators";
const LIARS: &str = "liars";

impl Scenario {
    /// A small world of real tries in which things go wrong: everything but the core of part servers is
    /// hit, until faults freeze in the last epoch. Then every catchup must end.
    pub fn random(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x5eed_0f50);
        let mut draw = |from: u64, to: u64| from + chance.draw() % (to - from + 1);
        let shards = u32::try_from(draw(2, 4)).unwrap_or(2);
        let changes = draw(2, 4);
        let empty = draw(0, 9) == 0;
        let sizes = (0..shards).map(|shard| {
            let entries = if empty && shard == 0 { 0 } else { draw(20, 700) };
            (ShardId(shard), entries)
        });
        let chain = ChainSetup {
            shards: sizes.collect(),
            content: Content::Tries(Tries { value_bytes: 400, writes: draw(1, 8) }),
            cut: [16_384, 16_384, 65_536][usize::try_from(draw(0, 2)).unwrap_or(0)],
            epochs: changes + 2,
            epoch_length: draw(8, 40),
            block_interval: Duration::from_millis(draw(300, 1_500)),
        };
        let speed = LinkSpeed {
            upload: draw(40_000, 1_000_000),
            download: draw(60_000, 2_000_000),
            delay: Duration::from_millis(draw(1, 120)),
        };
        let config = Config {
            memory_bytes: draw(128 << 10, 1 << 20),
            window_bytes: 128 << 10,
            window_bytes_min: 16 << 10,
            peer_bytes_max: 128 << 10,
            outputs_bytes: 64 << 10,
            stall_timeout: Duration::from_secs(3),
            announce_interval: Duration::from_millis(200),
            ..Config::default()
        };
        let usual = NodeSetup { config, speed, ..NodeSetup::default() };
        let all: Vec<ShardId> = (0..shards).map(ShardId).collect();
        let core = NodeSetup { tracked: vec![all.clone()], genesis: all, ..usual.clone() };
        let core = (0..draw(1, 2)).map(|_| core.clone()).collect();
        let moves = draw(1, 2);
        let validators = (0..draw(2, 7)).map(|place| {
            // Some go to and fro between two shards, some on and on.
            let back = draw(0, 3) == 0;
            let at = |epoch: u64| {
                let step = if back { epoch % 2 } else { epoch * moves };
                ShardId(u32::try_from((place + step) % u64::from(shards)).unwrap_or(0))
            };
            let tracked: Vec<Vec<ShardId>> = (0..=changes).map(|epoch| vec![at(epoch)]).collect();
            let genesis = tracked.first().cloned().unwrap_or_default();
            NodeSetup { tracked, genesis, ..usual.clone() }
        });
        let validators = validators.collect();
        let epoch = chain.block_interval * u32::try_from(chain.epoch_length).unwrap_or(1);
        let liars = (0..draw(0, 5)).map(|_| {
            let lie = Lie::ALL.get(usize::try_from(draw(0, 20)).unwrap_or(0));
            // Some come all at once, some one by one.
            let joins = if draw(0, 1) == 0 { Duration::ZERO } else { epoch / 4 };
            NodeSetup {
                conduct: Conduct::Lies(lie.copied().unwrap_or(Lie::Junk)),
                joins: Instant::ORIGIN + joins,
                ..usual.clone()
            }
        });
        let liars = liars.collect();
        let (changes_32, per_minute) = (u32::try_from(changes).unwrap_or(1), draw(0, 90));
        let group = |name: &str, nodes| Group { name: name.to_owned(), nodes, clean: None };
        Scenario {
            title: format!("random, seed {seed}"),
            changes,
            groups: vec![
                group(CORE, core),
                group(VALIDATORS, validators),
                group(LIARS, liars),
                sequencer(),
            ],
            gossip: GossipModel { loss_per_mille: draw(0, 300), ..GossipModel::default() },
            dht: DhtModel { failures_per_mille: draw(0, 300), ..DhtModel::default() },
            faults: vec![],
            chaos: Some(Chaos {
                kinds: FaultKind::ALL.to_vec(),
                groups: vec![VALIDATORS.to_owned()],
                per_minute,
                until: Instant::ORIGIN + epoch * changes_32,
            }),
            // Nothing is caught up with a chain that has ended.
            end: Instant::ORIGIN + epoch * (changes_32 + 2),
            chain,
            limits: vec![crate::limit::Limit::Unfinished(0)],
        }
    }
}
