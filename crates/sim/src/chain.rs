use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::{EpochStart, PartSizes};
use ketch_trie::{
    Commit, Manifest, MemoryState, Outline, ReadError, StateBuilder, Writes, state_root,
};
use ketch_types::{Chance, Epoch, Height, Instant, PartIndex, ShardId, StateRoot};

/// The entries of a state.
pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// What chain a world has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSetup {
    /// The shards, and how many entries each has at genesis.
    pub shards: Vec<(ShardId, u64)>,
    /// The size of a value, key and header not counted. *Units:* bytes.
    pub value_bytes: u64,
    /// The size of parts. *Units:* bytes.
    pub cut: u32,
    /// Epochs that are prepared.
    pub epochs: u64,
    /// *Units:* blocks.
    pub epoch_length: u64,
    /// The time between blocks.
    pub block_interval: Duration,
    /// Writes of each chunk, one in ten of them a delete.
    pub writes: u64,
}

/// A chain that was made beforehand: everybody's truth.
#[derive(Debug)]
pub struct Chain {
    setup: ChainSetup,
    starts: BTreeMap<(ShardId, Epoch), Arc<StartState>>,
    outputs: BTreeMap<(ShardId, Height), Arc<Writes>>,
    roots: BTreeMap<(ShardId, Height), StateRoot>,
}

/// One shard's state at an epoch's start.
#[derive(Debug)]
pub(crate) struct StartState {
    pub(crate) entries: Entries,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) sizes: PartSizes,
}

/// Making a chain failed; only an impossible setup does that.
pub(crate) type ChainError = ReadError<Infallible>;

impl Chain {
    /// The chain of a setup; all its entries come from `seed`. None if the setup breaks the
    /// commitment's limits.
    pub fn new(setup: ChainSetup, seed: u64) -> Option<Self> {
        let mut chain = Chain {
            setup,
            starts: BTreeMap::new(),
            outputs: BTreeMap::new(),
            roots: BTreeMap::new(),
        };
        for (shard, entries) in chain.setup.shards.clone() {
            chain.make_shard(shard, entries, &mut Chance::new(seed ^ u64::from(shard.0))).ok()?;
        }
        Some(chain)
    }

    fn make_shard(
        &mut self,
        shard: ShardId,
        count: u64,
        chance: &mut Chance,
    ) -> Result<(), ChainError> {
        let (mut state, mut entries) = (MemoryState::default(), Entries::new());
        let mut genesis = Writes::default();
        for _ in 0..count {
            put(&mut genesis, &key(chance), chance, self.setup.value_bytes);
        }
        self.step(shard, Height(0), genesis, &mut state, &mut entries)?;
        let last = self.setup.epochs * self.setup.epoch_length;
        for height in 1..=last {
            let writes = self.writes(&entries, chance);
            self.step(shard, Height(height), writes, &mut state, &mut entries)?;
        }
        Ok(())
    }

    fn step(
        &mut self,
        shard: ShardId,
        height: Height,
        writes: Writes,
        state: &mut MemoryState,
        entries: &mut Entries,
    ) -> Result<(), ChainError> {
        state.commit(&writes)?;
        apply(entries, &writes);
        self.roots.insert((shard, height), state.root());
        self.outputs.insert((shard, height), Arc::new(writes));
        if height.0.is_multiple_of(self.setup.epoch_length) {
            let epoch = Epoch(height.0 / self.setup.epoch_length);
            let outline = Outline::of_state(state, self.setup.cut)?;
            if let Ok(manifest) = Manifest::new(outline) {
                let start = StartState {
                    entries: entries.clone(),
                    sizes: sizes_of(&manifest),
                    manifest: Arc::new(manifest),
                };
                self.starts.insert((shard, epoch), Arc::new(start));
            }
        }
        Ok(())
    }

    /// A chunk's writes: new keys, old keys again, and deletes.
    fn writes(&self, entries: &Entries, chance: &mut Chance) -> Writes {
        let mut writes = Writes::default();
        for number in 0..self.setup.writes {
            let near = key(chance);
            let old = entries.range(near.clone()..).next().map(|(key, _)| key.clone());
            match (number % 10, old) {
                (0, Some(old)) => drop(writes.delete(&old)),
                (1..=4, Some(old)) => put(&mut writes, &old, chance, self.setup.value_bytes),
                _ => put(&mut writes, &near, chance, self.setup.value_bytes),
            }
        }
        writes
    }

    /// What a node is told when an epoch begins.
    pub(crate) fn epoch_start(
        &self,
        epoch: Epoch,
        tracked: Vec<ShardId>,
        tracked_next: Vec<ShardId>,
    ) -> EpochStart {
        let roots =
            self.setup.shards.iter().filter_map(|(shard, _)| {
                Some((*shard, self.start(*shard, epoch)?.manifest.root()))
            });
        EpochStart {
            epoch,
            first_height: Height(epoch.0 * self.setup.epoch_length + 1),
            length: self.setup.epoch_length,
            cut: self.setup.cut,
            tracked,
            tracked_next,
            roots: roots.collect(),
        }
    }

    pub(crate) fn setup(&self) -> &ChainSetup {
        &self.setup
    }

    pub(crate) fn start(&self, shard: ShardId, epoch: Epoch) -> Option<&Arc<StartState>> {
        self.starts.get(&(shard, epoch))
    }

    pub(crate) fn outputs(&self, shard: ShardId, height: Height) -> Option<&Arc<Writes>> {
        self.outputs.get(&(shard, height))
    }

    /// The committed root of a shard at a height.
    pub fn root(&self, shard: ShardId, height: Height) -> Option<StateRoot> {
        self.roots.get(&(shard, height)).copied()
    }

    /// The size of a shard's state at an epoch's start. *Units:* bytes.
    pub fn state_bytes(&self, shard: ShardId, epoch: Epoch) -> u64 {
        self.start(shard, epoch).map_or(0, |start| start.sizes.total_bytes())
    }

    /// How many parts a shard's state has at an epoch's start.
    pub fn parts(&self, shard: ShardId, epoch: Epoch) -> u32 {
        self.start(shard, epoch).map_or(0, |start| start.sizes.count())
    }

    /// How many of these were not at the start of the epoch before.
    pub fn changed_parts(&self, shard: ShardId, epoch: Epoch) -> usize {
        let before = epoch.0.checked_sub(1).and_then(|before| self.start(shard, Epoch(before)));
        let old = before.into_iter().flat_map(|start| start.manifest.parts());
        let old: BTreeSet<_> = old.map(ketch_trie::Part::hash).collect();
        let new = self.start(shard, epoch).into_iter().flat_map(|start| start.manifest.parts());
        new.filter(|part| !old.contains(&part.hash())).count()
    }

    /// The manifest of the state without entries, of which nobody needs to be asked.
    pub(crate) fn empty_manifest(&self) -> Option<Arc<Manifest>> {
        let outline = Outline::of_state(&MemoryState::default(), self.setup.cut).ok()?;
        Manifest::new(outline).ok().map(Arc::new)
    }

    /// When a block is produced; block 1 a block interval after the beginning.
    pub fn produced(&self, height: Height) -> Instant {
        let blocks = u32::try_from(height.0).unwrap_or(u32::MAX);
        Instant::ORIGIN + self.setup.block_interval.saturating_mul(blocks)
    }

    /// The epoch whose start is the state after a height, if one is.
    pub(crate) fn epoch_starting_after(&self, height: Height) -> Option<Epoch> {
        let at_start = height.0.is_multiple_of(self.setup.epoch_length);
        at_start.then(|| Epoch(height.0 / self.setup.epoch_length))
    }
}

impl StartState {
    /// The payload of one part.
    pub(crate) fn payload(&self, part: PartIndex) -> Vec<u8> {
        Self::payload_of(&self.entries, &self.manifest, part)
    }

    /// The payload of one part of a manifest, from entries that may be only some of the state's.
    pub(crate) fn payload_of(entries: &Entries, manifest: &Manifest, part: PartIndex) -> Vec<u8> {
        let mut payload = Vec::new();
        let Some(range) = manifest.part_range(part) else { return payload };
        for (key, value) in entries.range(range.low.clone()..) {
            if !range.contains(key) {
                break;
            }
            if let Ok(entry) = ketch_trie::Entry::new(key, value) {
                entry.encode(&mut payload);
            }
        }
        payload
    }
}

pub(crate) fn sizes_of(manifest: &Manifest) -> PartSizes {
    let bytes = manifest.parts().iter().map(|part| u32::try_from(part.bytes()).unwrap_or(u32::MAX));
    PartSizes::new(manifest.root(), manifest.outline().cut(), bytes.collect())
}

pub(crate) fn apply(entries: &mut Entries, writes: &Writes) {
    for (key, value) in writes.iter() {
        match value {
            Some(value) => drop(entries.insert(key.to_vec(), value.to_vec())),
            None => drop(entries.remove(key)),
        }
    }
}

/// The root of some entries, computed from nothing but them.
pub(crate) fn root_of(entries: &Entries) -> StateRoot {
    let mut builder = StateBuilder::new(|_, _| {});
    for (key, value) in entries {
        // Entries of a chain keep the limits, and a map keeps the order.
        let _ = builder.push(key, value);
    }
    let top: Option<Commit> = builder.finish();
    state_root(top.as_ref())
}

fn key(chance: &mut Chance) -> Vec<u8> {
    chance.bytes(12)
}

fn put(writes: &mut Writes, key: &[u8], chance: &mut Chance, value_bytes: u64) {
    let length = 1 + chance.draw() % (value_bytes.max(1) * 2);
    // Half of a value repeats, as real values do, so that parts shrink when they are packed.
    let mut value = chance.bytes(usize::try_from(length / 2 + 1).unwrap_or(1));
    value.resize(usize::try_from(length).unwrap_or(1), 7);
    let _ = writes.put(key, &value);
}
