//! The chain: epochs, roots, and what each chunk writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::{EpochStart, Turn};
use ketch_types::{Chance, Epoch, Height, Instant, PartIndex, ShardId, StateRoot};

use crate::content::{Chunk, Start};
use crate::stand_in::{self, StandIns};
use crate::tries::{Growing, TrieError, Tries};

/// What chain a world has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSetup {
    /// The shards, and how large each is at genesis. *Units:* entries of a trie, bytes of a stand-in.
    pub shards: Vec<(ShardId, u64)>,
    /// What states are made of.
    pub content: Content,
    /// The size of parts. *Units:* bytes.
    pub cut: u32,
    /// Epochs that are prepared.
    pub epochs: u64,
    /// *Units:* blocks.
    pub epoch_length: u64,
    /// The time between blocks.
    pub block_interval: Duration,
}

/// What states are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Real tries, where it matters what is in them.
    Tries(Tries),
    /// Stand-ins, where only sizes matter.
    StandIns(StandIns),
}

/// A chain that was made beforehand: everybody's truth.
#[derive(Debug)]
pub struct Chain {
    setup: ChainSetup,
    starts: BTreeMap<(ShardId, Epoch), Arc<Start>>,
    /// Of tries; those of stand-ins are made when they are asked for.
    chunks: BTreeMap<(ShardId, Height), Chunk>,
    roots: BTreeMap<(ShardId, Height), StateRoot>,
    empty: Option<Arc<Start>>,
}

impl Chain {
    /// The chain of a setup; all that is in it comes from `seed`. None if the setup breaks the
    /// commitment's limits.
    pub fn new(setup: ChainSetup, seed: u64) -> Option<Self> {
        let (starts, chunks) = (BTreeMap::new(), BTreeMap::new());
        let mut chain = Chain { setup, starts, chunks, roots: BTreeMap::new(), empty: None };
        let cut = chain.setup.cut;
        for (shard, size) in chain.setup.shards.clone() {
            let chance = Chance::new(seed ^ u64::from(shard.0));
            match chain.setup.content {
                Content::Tries(like) => {
                    chain.grow(shard, size, Growing::new(like, chance)).ok()?;
                    chain.empty =
                        Growing::new(like, Chance::new(seed)).start(cut).ok()?.map(Arc::new);
                }
                Content::StandIns(like) => {
                    chain.stand_in(shard, size, like, chance);
                    let empty = stand_in::genesis(like, 0, cut, &mut Chance::new(seed));
                    chain.empty = Some(Arc::new(empty));
                }
            }
        }
        Some(chain)
    }

    fn grow(&mut self, shard: ShardId, entries: u64, mut state: Growing) -> Result<(), TrieError> {
        let genesis = state.genesis(entries);
        self.step(shard, Height(0), genesis, &mut state)?;
        for height in 1..=self.last_height().0 {
            let writes = state.writes();
            self.step(shard, Height(height), writes, &mut state)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        shard: ShardId,
        height: Height,
        writes: ketch_trie::Writes,
        state: &mut Growing,
    ) -> Result<(), TrieError> {
        let (root, chunk) = state.apply(writes)?;
        self.roots.insert((shard, height), root);
        self.chunks.insert((shard, height), chunk);
        if let Some(epoch) = self.epoch_starting_after(height)
            && let Some(start) = state.start(self.setup.cut)?
        {
            self.starts.insert((shard, epoch), Arc::new(start));
        }
        Ok(())
    }

    fn stand_in(&mut self, shard: ShardId, bytes: u64, like: StandIns, mut chance: Chance) {
        let mut start = Some(stand_in::genesis(like, bytes, self.setup.cut, &mut chance));
        for epoch in (0..=self.setup.epochs).map(Epoch) {
            let Some(this) = start else { return };
            start = stand_in::next(like, &this, &mut chance);
            let height = Height(epoch.0 * self.setup.epoch_length);
            self.roots.insert((shard, height), this.root());
            self.starts.insert((shard, epoch), Arc::new(this));
        }
    }

    /// What a node is told when an epoch begins.
    pub(crate) fn epoch_start(
        &self,
        epoch: Epoch,
        tracked: Vec<ShardId>,
        tracked_next: Vec<ShardId>,
        turns: BTreeMap<ShardId, Turn>,
    ) -> EpochStart {
        let shards = self.setup.shards.iter().map(|(shard, _)| *shard);
        let roots = shards.filter_map(|shard| Some((shard, self.start(shard, epoch)?.root())));
        EpochStart {
            epoch,
            first_height: Height(epoch.0 * self.setup.epoch_length + 1),
            length: self.setup.epoch_length,
            cut: self.setup.cut,
            tracked,
            tracked_next,
            roots: roots.collect(),
            turns,
        }
    }

    /// What the chain was made from.
    pub fn setup(&self) -> &ChainSetup {
        &self.setup
    }

    pub(crate) fn last_height(&self) -> Height {
        Height(self.setup.epochs * self.setup.epoch_length)
    }

    pub(crate) fn start(&self, shard: ShardId, epoch: Epoch) -> Option<&Arc<Start>> {
        self.starts.get(&(shard, epoch))
    }

    /// The start of any epoch at which a shard has a root; the state without entries, of which nobody
    /// needs to be asked, is everybody's.
    pub(crate) fn start_of(&self, shard: ShardId, root: StateRoot) -> Option<&Arc<Start>> {
        let starts = self.starts.range((shard, Epoch(0))..=(shard, Epoch(u64::MAX)));
        let found = starts.map(|(_, start)| start).find(|start| start.root() == root);
        found.or(self.empty.as_ref().filter(|empty| empty.root() == root))
    }

    pub(crate) fn chunk(&self, shard: ShardId, height: Height) -> Option<Chunk> {
        match self.setup.content {
            Content::Tries(_) => self.chunks.get(&(shard, height)).cloned(),
            Content::StandIns(like) => {
                (height <= self.last_height()).then(|| stand_in::chunk(like, shard, height))
            }
        }
    }

    /// The committed root of a shard at a height.
    pub fn root(&self, shard: ShardId, height: Height) -> Option<StateRoot> {
        let known = self.roots.get(&(shard, height)).copied();
        known.or_else(|| match self.setup.content {
            Content::Tries(_) => None,
            Content::StandIns(_) => Some(stand_in::root_at(shard, height)),
        })
    }

    /// The size of a shard's state at an epoch's start. *Units:* bytes.
    pub fn state_bytes(&self, shard: ShardId, epoch: Epoch) -> u64 {
        self.start(shard, epoch).map_or(0, |start| start.sizes.total_bytes())
    }

    /// The same, as it is sent. *Units:* bytes.
    pub fn packed_bytes(&self, shard: ShardId, epoch: Epoch) -> u64 {
        self.start(shard, epoch).map_or(0, |start| {
            let parts = (0..start.sizes.count()).map(PartIndex);
            parts.filter_map(|part| start.parcel(part)).map(|parcel| parcel.bytes()).sum()
        })
    }

    /// How many parts a shard's state has at an epoch's start.
    pub fn parts(&self, shard: ShardId, epoch: Epoch) -> u32 {
        self.start(shard, epoch).map_or(0, |start| start.sizes.count())
    }

    /// How many of these were not at the start of the epoch before.
    pub fn changed_parts(&self, shard: ShardId, epoch: Epoch) -> usize {
        let contents = |start: &Arc<Start>| -> BTreeSet<u64> {
            let parts = (0..start.sizes.count()).map(PartIndex);
            parts.filter_map(|part| start.content(part)).collect()
        };
        let before = epoch.0.checked_sub(1).and_then(|before| self.start(shard, Epoch(before)));
        let old = before.map(contents).unwrap_or_default();
        self.start(shard, epoch).map_or(0, |start| contents(start).difference(&old).count())
    }

    /// When a block is produced; block 1 a block interval after the beginning.
    pub fn produced(&self, height: Height) -> Instant {
        let blocks = u32::try_from(height.0).unwrap_or(u32::MAX);
        Instant::ORIGIN + self.setup.block_interval.saturating_mul(blocks)
    }

    /// The epoch that a height is in, or whose start is the state after it.
    pub(crate) fn epoch_after(&self, height: Height) -> Epoch {
        Epoch(height.0 / self.setup.epoch_length)
    }

    /// The epoch whose start is the state after a height, if one is.
    pub(crate) fn epoch_starting_after(&self, height: Height) -> Option<Epoch> {
        let at_start = height.0.is_multiple_of(self.setup.epoch_length);
        at_start.then(|| self.epoch_after(height))
    }
}
