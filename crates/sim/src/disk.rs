use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ketch_trie::equal_parts;
use ketch_types::{Epoch, Height, KeyRange, PartIndex, PartSet, ShardId, StateRoot};

use crate::chain::Chain;
use crate::content::{Arrived, Body, Chunk, Parcel, Start};
use crate::tries::{Entries, apply, payload_of, root_of, state_of};

/// What one node has of one shard on its disk: all of it survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    stored: Stored,
    /// Present exactly if what is stored is a whole state.
    pub(crate) head: Option<Height>,
    pub(crate) starts: BTreeMap<Epoch, Arc<Start>>,
    /// Of these, those of which nothing is there any more.
    pruned: BTreeSet<Epoch>,
    pub(crate) outputs_after: Option<Height>,
    pub(crate) outputs: BTreeMap<Height, Chunk>,
    /// Whether something has changed by itself: whoever reads it finds it.
    pub(crate) is_rotten: bool,
    /// The parts of a state that are there, for the checkers.
    pub(crate) durable: BTreeMap<StateRoot, PartSet>,
}

/// A state, or some of one or several.
#[derive(Clone, Debug)]
enum Stored {
    Trie(Entries),
    /// The content of each part; of a part that is not there, none.
    StandIn(Vec<Option<u64>>),
}

impl Default for Stored {
    fn default() -> Self {
        Self::Trie(Entries::new())
    }
}

impl Stored {
    fn of(start: &Start) -> Self {
        match &start.body {
            Body::Trie { entries, .. } => Stored::Trie(entries.clone()),
            Body::StandIn { parts, .. } => {
                Stored::StandIn(parts.iter().copied().map(Some).collect())
            }
        }
    }

    /// Whether it is a state, and nothing else.
    fn is(&self, start: &Start) -> bool {
        match (self, &start.body) {
            (Stored::Trie(entries), Body::Trie { .. }) => root_of(entries) == start.root(),
            (Stored::StandIn(stored), Body::StandIn { parts, .. }) => {
                stored.iter().copied().eq(parts.iter().copied().map(Some))
            }
            _ => false,
        }
    }
}

impl Disk {
    /// A shard at genesis.
    pub(crate) fn genesis(chain: &Chain, shard: ShardId) -> Self {
        let mut disk = Disk::default();
        if let Some(start) = chain.start(shard, Epoch(0)) {
            disk.stored = Stored::of(start);
            (disk.head, disk.outputs_after) = (Some(Height(0)), Some(Height(0)));
            disk.hold(Epoch(0), start);
        }
        disk
    }

    fn hold(&mut self, epoch: Epoch, start: &Arc<Start>) {
        self.durable.insert(start.root(), PartSet::full(start.sizes.count()));
        self.pruned.remove(&epoch);
        self.starts.insert(epoch, Arc::clone(start));
    }

    /// Which parts of a target are there; the rest of what is there is an old state from now on.
    pub(crate) fn reconcile(&mut self, chain: &Chain, shard: ShardId, target: &Start) -> PartSet {
        let held = self.equal_parts(chain, shard, target);
        self.is_rotten = false;
        self.head = None;
        self.outputs_after = None;
        self.outputs.clear();
        self.starts.clear();
        self.pruned.clear();
        self.durable.clear();
        self.durable.insert(target.root(), held.clone());
        held
    }

    fn equal_parts(&mut self, chain: &Chain, shard: ShardId, target: &Start) -> PartSet {
        let mut held = PartSet::empty(target.sizes.count());
        match (&mut self.stored, &target.body) {
            (Stored::Trie(entries), Body::Trie { manifest, .. }) => {
                let Ok(equal) = equal_parts(manifest, &state_of(entries), &[KeyRange::ALL]);
                held = equal;
            }
            (stored, Body::StandIn { parts, .. }) => {
                if !matches!(stored, Stored::StandIn(_)) {
                    *stored = Stored::StandIn(vec![None; parts.len()]);
                }
                let Stored::StandIn(stored) = stored else { return held };
                stored.resize(parts.len(), None);
                forget_half_changed(stored, chain, shard, self.head);
                for (place, (stored, part)) in (0..).zip(stored.iter().zip(parts)) {
                    if *stored == Some(*part) {
                        held.insert(PartIndex(place));
                    }
                }
            }
            _ => {}
        }
        held
    }

    /// Replaces everything in a part's range, and takes note that it is there.
    pub(crate) fn apply(&mut self, root: StateRoot, index: PartIndex, part: Arrived) {
        self.write(index, part);
        self.mark(root, index);
    }

    /// Takes note that a part is there.
    pub(crate) fn mark(&mut self, root: StateRoot, index: PartIndex) {
        if let Some(held) = self.durable.get_mut(&root) {
            held.insert(index);
        }
    }

    /// Replaces everything in a part's range.
    pub(crate) fn write(&mut self, index: PartIndex, part: Arrived) {
        match (&mut self.stored, part) {
            (Stored::Trie(stored), Arrived::Trie { range, entries }) => {
                stored.retain(|key, _| !range.contains(key));
                stored.extend(entries);
            }
            (Stored::StandIn(stored), Arrived::StandIn { content, .. }) => {
                if let Some(stored) = stored.get_mut(index.0 as usize) {
                    *stored = Some(content);
                }
            }
            _ => {}
        }
    }

    /// Makes a whole state the head; false if it is not the one it should be.
    pub(crate) fn complete(
        &mut self,
        epoch: Epoch,
        height: Height,
        start: &Arc<Start>,
        verify: bool,
    ) -> bool {
        if start.sizes.count() == 0 {
            // No window of such a state deletes what was there before.
            self.stored = Stored::of(start);
        }
        let right = !verify || self.stored.is(start);
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
        chunk: &Chunk,
    ) -> Option<(Epoch, Arc<Start>)> {
        let before = self.epoch_of_head(chain);
        match (&mut self.stored, chunk) {
            (Stored::Trie(entries), Chunk::Writes(writes)) => apply(entries, writes),
            (Stored::StandIn(stored), Chunk::StandIn { .. }) => {
                let is_true = chain.chunk(shard, height).is_some_and(|truth| truth.is_same(chunk));
                if !is_true && let Some(first) = stored.first_mut() {
                    *first = first.map(ketch_types::mix);
                }
                let next = chain.epoch_starting_after(height).and_then(|e| chain.start(shard, e));
                let this = before.and_then(|epoch| chain.start(shard, epoch));
                if let (Some(this), Some(next)) = (this, next) {
                    change(stored, this, next);
                }
            }
            _ => {}
        }
        self.outputs.insert(height, chunk.clone());
        self.head = Some(height);
        let epoch = chain.epoch_starting_after(height)?;
        let start = chain.start(shard, epoch).filter(|start| self.stored.is(start))?;
        self.hold(epoch, start);
        Some((epoch, Arc::clone(start)))
    }

    fn epoch_of_head(&self, chain: &Chain) -> Option<Epoch> {
        self.head.map(|head| chain.epoch_after(head))
    }

    pub(crate) fn drop_before(&mut self, before: Epoch) {
        self.keep_starts(|epoch| *epoch >= before);
    }

    /// Loses the newest start that has parts, though its process thinks that it is there.
    pub(crate) fn prune(&mut self) -> Option<(Epoch, StateRoot)> {
        let there = |epoch: &Epoch| !self.pruned.contains(epoch);
        let mut newest = self.starts.iter().rev().filter(|(epoch, _)| there(epoch));
        let (epoch, start) = newest.next().filter(|(_, start)| start.sizes.count() > 0)?;
        let (epoch, root) = (*epoch, start.root());
        self.pruned.insert(epoch);
        Some((epoch, root))
    }

    /// Whether a start is gone that its process thinks is there.
    pub(crate) fn is_pruned(&self, root: StateRoot) -> bool {
        let mut pruned = self.pruned.iter().filter_map(|epoch| self.starts.get(epoch));
        pruned.any(|start| start.root() == root) && self.start_of(root).is_none()
    }

    /// A new process finds only what is there.
    pub(crate) fn open(&mut self) {
        let pruned = std::mem::take(&mut self.pruned);
        if !pruned.is_empty() {
            self.keep_starts(|epoch| !pruned.contains(epoch));
        }
    }

    fn keep_starts(&mut self, keep: impl Fn(&Epoch) -> bool) {
        self.starts.retain(|epoch, _| keep(epoch));
        self.pruned.retain(&keep);
        let roots: Vec<_> = self.starts.values().map(|start| start.root()).collect();
        self.durable.retain(|root, held| roots.contains(root) || !held.is_full());
    }

    /// The start of an epoch that is held whole.
    pub(crate) fn start_of(&self, root: StateRoot) -> Option<&Arc<Start>> {
        let there = self.starts.iter().filter(|(epoch, _)| !self.pruned.contains(epoch));
        there.map(|(_, start)| start).find(|start| start.root() == root)
    }

    /// A part of a state, from what is there, which may be only some of it.
    pub(crate) fn parcel(&self, start: &Start, part: PartIndex) -> Option<Parcel> {
        if self.start_of(start.root()).is_some() {
            return start.parcel(part);
        }
        match (&self.stored, &start.body) {
            (Stored::Trie(entries), Body::Trie { manifest, .. }) => {
                let payload = payload_of(entries, manifest, part);
                Some(Parcel::Packed(Arc::new(ketch_trie::PackedPart::pack(&payload))))
            }
            (Stored::StandIn(stored), Body::StandIn { .. }) => {
                start.stand_in(part, stored.get(part.0 as usize).copied().flatten()?)
            }
            _ => None,
        }
    }

    /// Whether what is there is what the chain committed to at the height that it has reached.
    pub(crate) fn is_true(&self, chain: &Chain, shard: ShardId) -> bool {
        let Some(head) = self.head else { return false };
        match &self.stored {
            Stored::Trie(entries) => chain.root(shard, head) == Some(root_of(entries)),
            Stored::StandIn(_) => {
                let start = chain.start(shard, chain.epoch_after(head));
                start.is_some_and(|start| self.stored.is(start))
            }
        }
    }

    /// Changes something that is there.
    pub(crate) fn rot(&mut self) {
        self.is_rotten = true;
        match &mut self.stored {
            Stored::Trie(entries) => {
                entries.values_mut().next().into_iter().for_each(|value| value.push(1));
            }
            Stored::StandIn(stored) => {
                let there = stored.iter_mut().flatten().next();
                there.into_iter().for_each(|content| *content = ketch_types::mix(*content));
            }
        }
    }
}

/// Puts what has changed in an epoch in the place of what was there.
fn change(stored: &mut [Option<u64>], this: &Start, next: &Start) {
    let (Body::StandIn { parts: old, .. }, Body::StandIn { parts: new, .. }) =
        (&this.body, &next.body)
    else {
        return;
    };
    for (stored, (old, new)) in stored.iter_mut().zip(old.iter().zip(new)) {
        // What was false before stays false.
        if old != new && *stored == Some(*old) {
            *stored = Some(*new);
        }
    }
}

/// In the middle of an epoch a part that changes in it is neither what it was nor what it will be.
fn forget_half_changed(
    stored: &mut [Option<u64>],
    chain: &Chain,
    shard: ShardId,
    head: Option<Height>,
) {
    let Some(head) = head.filter(|head| chain.epoch_starting_after(*head).is_none()) else {
        return;
    };
    let epoch = chain.epoch_after(head);
    let starts = (chain.start(shard, epoch), chain.start(shard, epoch.next()));
    let (Some(this), Some(next)) = starts else { return };
    for (place, stored) in (0..).map(PartIndex).zip(stored) {
        if this.content(place) != next.content(place) {
            *stored = None;
        }
    }
}
