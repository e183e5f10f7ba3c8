use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::{Ask, Config, Coordinator, JobId, Query, RequestId};
use ketch_trie::{Manifest, PackedPart, Writes};
use ketch_types::{Epoch, Height, Instant, PartHash, PartIndex, PartSet, ShardId, StateRoot};

use crate::disk::{Arrived, Disk};
use crate::lie::Conduct;
use crate::link::{Line, LinkSpeed};

/// A node of a world, by its place in the setup.
pub type NodeId = usize;

/// What one node is.
#[derive(Clone, Debug)]
pub struct NodeSetup {
    /// Its coordinator's configuration.
    pub config: Config,
    /// Its line.
    pub speed: LinkSpeed,
    /// The shards that it tracks in each epoch from 0 on; the last entry goes on for ever.
    pub tracked: Vec<Vec<ShardId>>,
    /// The shards that are on its disk at genesis.
    pub genesis: Vec<ShardId>,
    /// What it is.
    pub conduct: Conduct,
    /// What of its driver's defences is on.
    pub defences: Defences,
    /// How fast it applies parts. *Units:* bytes per second.
    pub apply_rate: u64,
    /// How long a block takes it to replay.
    pub replay_block: Duration,
}

/// A driver's defences, to be switched off for controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defences {
    /// Parts, outlines and outputs are verified.
    pub verify: bool,
    /// A proven liar is reported as one.
    pub blame: bool,
    /// Ends of answers, refusals and closed connections are reported.
    pub ends: bool,
}

impl Default for NodeSetup {
    fn default() -> Self {
        Self {
            config: Config::default(),
            speed: LinkSpeed::default(),
            tracked: vec![vec![]],
            genesis: vec![],
            conduct: Conduct::Honest,
            defences: Defences { verify: true, blame: true, ends: true },
            apply_rate: 100 << 20,
            replay_block: Duration::from_millis(2),
        }
    }
}

impl NodeSetup {
    pub(crate) fn is_honest(&self) -> bool {
        self.conduct == Conduct::Honest
    }

    pub(crate) fn lies(&self) -> bool {
        matches!(self.conduct, Conduct::Lies(_))
    }

    /// The shards that it tracks in an epoch.
    pub(crate) fn tracked_in(&self, epoch: Epoch) -> Vec<ShardId> {
        let at = usize::try_from(epoch.0).unwrap_or(usize::MAX);
        self.tracked.get(at).or(self.tracked.last()).cloned().unwrap_or_default()
    }
}

/// One node: what is on its disk, and while it runs, its coordinator and its driver's memory.
pub(crate) struct Node {
    pub(crate) setup: NodeSetup,
    /// Rises with every crash, so that what was under way for the dead one is not taken for the new
    /// one's.
    pub(crate) generation: u32,
    /// None while it is down, and for those who lie.
    pub(crate) coordinator: Option<Coordinator>,
    pub(crate) disks: BTreeMap<ShardId, Disk>,
    pub(crate) cache: BTreeMap<PartHash, Arc<PackedPart>>,
    pub(crate) memory: Memory,
    pub(crate) up: Line,
    pub(crate) down: Line,
    pub(crate) apply_free_at: Instant,
    pub(crate) wake_at: Option<Instant>,
    pub(crate) is_up: bool,
}

/// What a crash forgets.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) manifests: BTreeMap<StateRoot, Arc<Manifest>>,
    pub(crate) arrived: BTreeMap<(ShardId, StateRoot), BTreeMap<PartIndex, Arrived>>,
    pub(crate) applying: BTreeMap<JobId, BTreeMap<PartIndex, Arrived>>,
    pub(crate) outputs: BTreeMap<ShardId, BTreeMap<Height, Arc<Writes>>>,
    pub(crate) requests: BTreeMap<RequestId, Outgoing>,
    pub(crate) asks: BTreeMap<Ask, Incoming>,
    pub(crate) next_ask: u64,
}

/// A request of this node.
pub(crate) struct Outgoing {
    pub(crate) peer: NodeId,
    pub(crate) query: Query,
    /// Parts that were asked for and have not come.
    pub(crate) awaited: Option<PartSet>,
}

/// A request to this node.
#[derive(Clone, Copy)]
pub(crate) struct Incoming {
    pub(crate) peer: NodeId,
    pub(crate) request: RequestId,
}

impl Node {
    pub(crate) fn new(setup: NodeSetup, disks: BTreeMap<ShardId, Disk>) -> Self {
        let speed = setup.speed;
        Self {
            setup,
            generation: 0,
            coordinator: None,
            disks,
            cache: BTreeMap::new(),
            memory: Memory::default(),
            up: Line::new(speed.upload),
            down: Line::new(speed.download),
            apply_free_at: Instant::ORIGIN,
            wake_at: None,
            is_up: true,
        }
    }

    /// How many peers are asked for a part at this moment.
    pub(crate) fn asked_for(&self, root: StateRoot, part: PartIndex) -> usize {
        let asks_for = |outgoing: &&Outgoing| {
            let of_root = matches!(outgoing.query, Query::Parts { root: of, .. } if of == root);
            of_root && outgoing.awaited.as_ref().is_some_and(|awaited| awaited.contains(part))
        };
        self.memory.requests.values().filter(asks_for).count()
    }
}
