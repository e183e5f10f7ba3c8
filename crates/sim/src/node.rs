use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ketch_coordinator::{Ask, Config, JobId, Peer, Query, RequestId, Work};
use ketch_types::{Epoch, Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::Holding;

use crate::chain::Chain;
use crate::content::{Arrived, Chunk, Parcel, Start};
use crate::contract::Contract;
use crate::disk::Disk;
use crate::duty::Duties;
use crate::forget::Unsynced;
use crate::lie::Conduct;
use crate::nearcore;
use crate::planted::{Planted, Saboteur};
use crate::policy::{Policy, PolicyKind};
use crate::trouble::Trouble;

/// A node of a world, by its place in the setup.
pub type NodeId = usize;

/// What one node is.
#[derive(Clone, Debug)]
pub struct NodeSetup {
    /// Who decides for it, if it is honest.
    pub policy: PolicyKind,
    /// Its coordinator's configuration.
    pub config: Config,
    /// Its line.
    pub speed: LinkSpeed,
    /// The shards that it tracks in each epoch from 0 on; the last entry goes on for ever.
    pub tracked: Vec<Vec<ShardId>>,
    /// The shards that are on its disk at genesis.
    pub genesis: Vec<ShardId>,
    /// The parts of these that are damaged, for nodes that hold some of a state alone.
    pub lacking: Vec<(ShardId, PartSet)>,
    /// What it is.
    pub conduct: Conduct,
    /// What of its driver's defences is on.
    pub defences: Defences,
    /// How fast it applies parts. *Units:* bytes per second.
    pub apply_rate: u64,
    /// How long a block takes it to replay.
    pub replay_block: Duration,
    /// What making a part takes beside its bytes.
    pub generate_part: Duration,
    /// How fast it makes parts. *Units:* bytes per second.
    pub generate_rate: u64,
    /// Opening or syncing something on its disk.
    pub sync: Duration,
    /// When it first appears.
    pub joins: Instant,
}

/// How fast a node sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpeed {
    /// *Units:* bytes per second.
    pub upload: u64,
    /// *Units:* bytes per second.
    pub download: u64,
    /// One way, to anybody.
    pub delay: Duration,
}

impl Default for LinkSpeed {
    /// A hundred megabits each way, ten milliseconds from anybody.
    fn default() -> Self {
        Self { upload: 12_500_000, download: 12_500_000, delay: Duration::from_millis(10) }
    }
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

impl Default for Defences {
    fn default() -> Self {
        Self { verify: true, blame: true, ends: true }
    }
}

impl Default for NodeSetup {
    fn default() -> Self {
        Self {
            policy: PolicyKind::Ketch,
            config: Config::default(),
            speed: LinkSpeed::default(),
            tracked: vec![vec![]],
            genesis: vec![],
            lacking: vec![],
            conduct: Conduct::Honest,
            defences: Defences::default(),
            apply_rate: 100 << 20,
            replay_block: Duration::from_millis(2),
            generate_part: Duration::from_millis(3),
            generate_rate: 180 << 20,
            sync: Duration::from_millis(10),
            joins: Instant::ORIGIN,
        }
    }
}

impl NodeSetup {
    /// The same node, decided by another policy, if it is honest.
    pub(crate) fn decided_by(self, policy: PolicyKind) -> Self {
        match policy {
            PolicyKind::Nearcore if self.is_honest() => self.as_nearcore(),
            PolicyKind::Ketch | PolicyKind::Nearcore => self,
        }
    }

    /// The same node, run by the baseline at the baseline's speeds.
    pub fn as_nearcore(self) -> Self {
        Self {
            policy: PolicyKind::Nearcore,
            generate_part: nearcore::GENERATE_PART,
            generate_rate: u64::MAX,
            apply_rate: nearcore::APPLY_RATE,
            replay_block: nearcore::REPLAY_BLOCK,
            ..self
        }
    }

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

/// One node: what is on its disk, and while it runs, who decides for it and its driver's memory.
pub(crate) struct Node {
    pub(crate) setup: NodeSetup,
    /// Rises with every crash, so that what was under way for the dead one is not taken for the new
    /// one's.
    pub(crate) generation: u32,
    /// How many identities it has had before the one that it has.
    pub(crate) identity: u32,
    /// None while it is down, and for those who lie.
    pub(crate) policy: Option<Policy>,
    pub(crate) disks: BTreeMap<ShardId, Disk>,
    /// Parts that are ready to be sent, by what is in them.
    pub(crate) cache: BTreeMap<u64, Parcel>,
    pub(crate) memory: Memory,
    pub(crate) trouble: Trouble,
    /// What its disk holds back, if it lies about its syncs.
    pub(crate) unsynced: Option<Unsynced>,
    /// A bug that it has, to see that it is noticed.
    pub(crate) planted: Option<Planted>,
    pub(crate) apply_free_at: Instant,
    pub(crate) wake_at: Option<Instant>,
    pub(crate) is_up: bool,
    /// Announcements that it has ever made; a real node takes the time for it.
    pub(crate) announced: u64,
    /// What it announced last, and as whom.
    pub(crate) last_holding: BTreeMap<ShardId, (Peer, Holding)>,
}

/// What a crash forgets.
#[derive(Default)]
pub(crate) struct Memory {
    /// States whose outline came and was verified.
    pub(crate) manifests: BTreeMap<StateRoot, std::sync::Arc<Start>>,
    pub(crate) arrived: BTreeMap<(ShardId, StateRoot), BTreeMap<PartIndex, Arrived>>,
    pub(crate) applying: BTreeMap<JobId, BTreeMap<PartIndex, Arrived>>,
    pub(crate) outputs: BTreeMap<ShardId, BTreeMap<Height, Chunk>>,
    pub(crate) requests: BTreeMap<RequestId, Outgoing>,
    pub(crate) asks: BTreeMap<Ask, Incoming>,
    pub(crate) jobs: BTreeMap<JobId, Work>,
    pub(crate) next_ask: u64,
    pub(crate) duties: Duties,
    /// What it and its driver owe each other; none where one of them is not the real one.
    pub(crate) contract: Option<Contract>,
    pub(crate) searches: u64,
    /// Shards of which it has been told that they are damaged.
    pub(crate) rot_told: BTreeSet<ShardId>,
    /// The newest announcement of each author and shard.
    pub(crate) heard: BTreeMap<(Peer, ShardId), u64>,
}

/// A request of this node.
pub(crate) struct Outgoing {
    pub(crate) peer: Peer,
    pub(crate) query: Query,
    /// Parts that were asked for and have not come.
    pub(crate) awaited: Option<PartSet>,
    /// When the last of what was sent so far arrives.
    pub(crate) last_arrival: Instant,
}

/// A request to this node.
#[derive(Clone, Copy)]
pub(crate) struct Incoming {
    pub(crate) peer: NodeId,
    pub(crate) request: RequestId,
}

impl Node {
    pub(crate) fn new(chain: &Chain, setup: NodeSetup) -> Self {
        let disks = setup.genesis.iter().map(|shard| (*shard, Disk::genesis(chain, *shard)));
        Self {
            disks: disks.collect(),
            is_up: setup.joins == Instant::ORIGIN && setup.conduct != Conduct::Absent,
            setup,
            generation: 0,
            identity: 0,
            policy: None,
            cache: BTreeMap::new(),
            memory: Memory::default(),
            trouble: Trouble::default(),
            unsynced: None,
            planted: None,
            apply_free_at: Instant::ORIGIN,
            wake_at: None,
            announced: 0,
            last_holding: BTreeMap::new(),
        }
    }

    /// Whoever decides for it from now on.
    pub(crate) fn decide(&mut self, seed: u64, now: Instant) {
        let (kind, config) = (self.setup.policy, self.setup.config.clone());
        let is_real = kind == PolicyKind::Ketch && self.setup.defences == Defences::default();
        self.memory.contract = is_real.then(|| Contract::new(config.applies_max));
        self.policy = Some(match self.planted {
            None => Policy::new(kind, config, seed, now),
            Some(bug) => Policy::Planted(Box::new(Saboteur::new(bug, kind, config, seed, now))),
        });
    }

    pub(crate) fn has(&self, bug: Planted) -> bool {
        self.planted == Some(bug)
    }

    /// Whether some of what is asked for is asked of another already.
    pub(crate) fn is_hedge(&self, query: &Query) -> bool {
        let Query::Parts { root, wanted, .. } = query else { return false };
        wanted.iter().any(|part| self.asked_for(*root, part) > 1)
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
