use std::collections::BTreeMap;
use std::sync::Arc;

use ketch_trie::{Manifest, MemoryState, VerifiedPart, Writes, equal_parts};
use ketch_types::{Epoch, Height, KeyRange, PartIndex, PartSet, ShardId, StateRoot};

use crate::chain::{Chain, Entries, StartState, apply, root_of};

/// A part that waits to be applied.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) range: KeyRange,
    pub(crate) entries: Entries,
}

impl From<&VerifiedPart> for Arrived {
    fn from(part: &VerifiedPart) -> Self {
        let entries = part.entries().map(|entry| (entry.key.to_vec(), entry.value.to_vec()));
        Self { range: part.range().clone(), entries: entries.collect() }
    }
}

/// What one node has of one shard on its disk: all of it survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) entries: Entries,
    /// Present exactly if the entries are a whole state.
    pub(crate) head: Option<Height>,
    pub(crate) starts: BTreeMap<Epoch, Arc<StartState>>,
    pub(crate) outputs_after: Option<Height>,
    pub(crate) outputs: BTreeMap<Height, Arc<Writes>>,
    /// The parts of a state that are there, for the checkers.
    pub(crate) durable: BTreeMap<StateRoot, PartSet>,
}

impl Disk {
    /// A shard at genesis.
    pub(crate) fn genesis(chain: &Chain, shard: ShardId) -> Self {
        let mut disk = Disk::default();
        if let Some(start) = chain.start(shard, Epoch(0)) {
            disk.entries.clone_from(&start.entries);
            (disk.head, disk.outputs_after) = (Some(Height(0)), Some(Height(0)));
            disk.hold(Epoch(0), start);
        }
        disk
    }

    fn hold(&mut self, epoch: Epoch, start: &Arc<StartState>) {
        let count = start.sizes.count();
        self.durable.insert(start.manifest.root(), PartSet::full(count));
        self.starts.insert(epoch, Arc::clone(start));
    }

    /// Which parts of a target are there; the rest of what is there is an old state from now on.
    pub(crate) fn reconcile(&mut self, manifest: &Manifest) -> PartSet {
        let mut all = Writes::default();
        for (key, value) in &self.entries {
            let _ = all.put(key, value);
        }
        let mut state = MemoryState::default();
        let _ = state.commit(&all);
        self.head = None;
        self.outputs_after = None;
        self.outputs.clear();
        self.starts.clear();
        self.durable.clear();
        let held = equal_parts(manifest, &state, &[KeyRange::ALL])
            .unwrap_or_else(|_| PartSet::empty(manifest.part_count()));
        self.durable.insert(manifest.root(), held.clone());
        held
    }

    /// Replaces everything in a part's range.
    pub(crate) fn apply(&mut self, root: StateRoot, index: PartIndex, part: Arrived) {
        self.entries.retain(|key, _| !part.range.contains(key));
        self.entries.extend(part.entries);
        if let Some(held) = self.durable.get_mut(&root) {
            held.insert(index);
        }
    }

    /// Makes a whole state the head; false if it is not the one it should be.
    pub(crate) fn complete(
        &mut self,
        epoch: Epoch,
        height: Height,
        start: &Arc<StartState>,
        verify: bool,
    ) -> bool {
        let right = !verify || root_of(&self.entries) == start.manifest.root();
        if right {
            (self.head, self.outputs_after) = (Some(height), Some(height));
            self.hold(epoch, start);
        }
        right
    }

    /// Applies one chunk; the epoch that starts after it, if one does.
    pub(crate) fn replay(
        &mut self,
        chain: &Chain,
        shard: ShardId,
        height: Height,
        writes: &Arc<Writes>,
    ) -> Option<(Epoch, Arc<StartState>)> {
        apply(&mut self.entries, writes);
        self.outputs.insert(height, Arc::clone(writes));
        self.head = Some(height);
        let epoch = chain.epoch_starting_after(height)?;
        let start =
            chain.start(shard, epoch).filter(|s| root_of(&self.entries) == s.manifest.root())?;
        self.hold(epoch, start);
        Some((epoch, Arc::clone(start)))
    }

    pub(crate) fn drop_before(&mut self, before: Epoch) {
        self.starts.retain(|epoch, _| *epoch >= before);
        let roots: Vec<_> = self.starts.values().map(|start| start.manifest.root()).collect();
        self.durable.retain(|root, held| roots.contains(root) || !held.is_full());
    }
}
