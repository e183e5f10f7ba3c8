//! A world with what happens in it, and what must come of it.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ketch_types::{Chance, Epoch, Height, Instant};

use crate::chain::{Chain, ChainSetup, Content};
use crate::dht::DhtModel;
use crate::fault::{Fault, FaultKind, chaos};
use crate::gossip::GossipModel;
use crate::lie::Conduct;
use crate::limit::Limit;
use crate::nearcore::NEARCORE_PART_BYTES;
use crate::node::{LinkSpeed, NodeId, NodeSetup};
use crate::outcome::Outcome;
use crate::policy::PolicyKind;
use crate::world::World;

/// A world with what happens in it, and what must come of it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it shows, in short.
    pub title: String,
    /// The chain.
    pub chain: ChainSetup,
    /// Changes of epochs for which shards are taken.
    pub changes: u64,
    /// The nodes, as they come in groups of the same kind.
    pub groups: Vec<Group>,
    /// How announcements travel.
    pub gossip: GossipModel,
    /// How look-ups fare.
    pub dht: DhtModel,
    /// What goes wrong, and when.
    pub faults: Vec<Planned>,
    /// What goes wrong by chance.
    pub chaos: Option<Chaos>,
    /// When the run ends at the latest.
    pub end: Instant,
    /// What must come of it.
    pub limits: Vec<Limit>,
}

/// Nodes of the same kind.
#[derive(Clone, Debug)]
pub struct Group {
    /// What faults call them.
    pub name: String,
    /// The nodes.
    pub nodes: Vec<NodeSetup>,
    /// What they are in the clean run that another is compared with: as here, or none.
    pub clean: Option<Vec<NodeSetup>>,
}

/// Something that goes wrong with nodes of a group.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What.
    pub kind: FaultKind,
    /// With which group's nodes.
    pub group: String,
    /// When it begins.
    pub at: Instant,
    /// How long it lasts.
    pub lasting: Duration,
}

/// What goes wrong by chance.
#[derive(Clone, Debug)]
pub struct Chaos {
    /// What can.
    pub kinds: Vec<FaultKind>,
    /// With which groups' nodes.
    pub groups: Vec<String>,
    /// How often.
    pub per_minute: u64,
    /// When it ends. Then faults freeze, and every catchup must end.
    pub until: Instant,
}

impl Scenario {
    /// The world of a seed, in which nothing has happened yet. None if its chain cannot be.
    pub fn world(&self, seed: u64, policy: PolicyKind) -> Option<World> {
        Some(self.world_on(Arc::new(Chain::new(self.chain.clone(), seed)?), seed, policy))
    }

    /// The same, on a chain that was made before.
    pub fn world_on(&self, chain: Arc<Chain>, seed: u64, policy: PolicyKind) -> World {
        let nodes = self.groups.iter().flat_map(|group| group.nodes.iter().cloned());
        let nodes = nodes.map(|node| node.decided_by(policy)).map(|mut node| {
            // What a chain's time between blocks is meant to be, everybody knows.
            node.config.block_interval_prior = self.chain.block_interval;
            node
        });
        let nodes = nodes.collect();
        let mut world = World::on(chain, seed, nodes);
        world.set_models(self.gossip, self.dht);
        world.keep_events(false);
        world.last_change = Epoch(self.changes);
        for fault in self.faults(seed) {
            world.fault(fault);
        }
        world
    }

    fn faults(&self, seed: u64) -> Vec<Fault> {
        let mut faults = Vec::new();
        for planned in &self.faults {
            let nodes = self.nodes_of(&planned.group);
            faults.extend(nodes.map(|node| Fault {
                kind: planned.kind,
                node,
                other: 0,
                at: planned.at,
                lasting: planned.lasting,
            }));
        }
        if let Some(plan) = &self.chaos {
            let nodes: Vec<NodeId> =
                plan.groups.iter().flat_map(|group| self.nodes_of(group)).collect();
            let span = (Instant::ORIGIN, plan.until);
            let mut chance = Chance::new(seed ^ CHAOS);
            faults.extend(chaos(&mut chance, &nodes, &plan.kinds, span, plan.per_minute));
        }
        faults
    }

    /// The nodes of a group.
    pub fn nodes_of(&self, name: &str) -> Range<NodeId> {
        let mut first = 0;
        for group in &self.groups {
            let end = first + group.nodes.len();
            if group.name == name {
                return first..end;
            }
            first = end;
        }
        0..0
    }

    /// Runs a world until every shard is taken or the scenario ends.
    pub fn run(&self, world: &mut World) -> Outcome {
        // The first block of the last epoch for which shards are taken, and one for everybody to hear it.
        let last = world.chain().produced(Height(self.changes * self.chain.epoch_length + 2));
        world.run_until(last.min(self.end));
        world.run_while(self.end, |world| !world.is_done());
        world.check_states();
        world.check_rest();
        world.outcome()
    }

    /// The scenario without what it is about: the run that this one is compared with.
    pub fn clean(&self) -> Scenario {
        let groups = self.groups.iter().map(|group| {
            let nodes = group.clean.clone().unwrap_or_else(|| group.nodes.clone());
            Group { nodes, ..group.clone() }
        });
        Scenario {
            groups: groups.collect(),
            faults: vec![],
            chaos: None,
            gossip: GossipModel { loss_per_mille: 0, stale_per_mille: 0, ..self.gossip },
            dht: DhtModel { failures_per_mille: 0, ..self.dht },
            ..self.clone()
        }
    }

    /// The scenario as the baseline is made for it: with its larger parts.
    pub fn baseline(&self) -> Scenario {
        let mut scenario = self.clone();
        if let Content::StandIns(_) = self.chain.content {
            scenario.chain.cut = NEARCORE_PART_BYTES;
        }
        scenario
    }

    /// Whether any limit compares with the clean run, or with the baseline.
    pub fn compares(&self) -> BTreeSet<crate::limit::Beside> {
        self.limits.iter().filter_map(Limit::beside).collect()
    }
}

/// Sets the chances of faults apart from those of the world.
const CHAOS: u64 = 0xc4a0_5000;

/// Who stands in for consensus, over a line that is nobody's limit.
pub(crate) fn sequencer() -> Group {
    let line = LinkSpeed { upload: 1 << 40, download: 1 << 40, ..LinkSpeed::default() };
    let node = NodeSetup { conduct: Conduct::Sequencer, speed: line, ..NodeSetup::default() };
    Group { name: "sequencer".to_owned(), nodes: vec![node], clean: None }
}
