use std::iter::Peekable;
use std::ops::Range;
use std::sync::PoisonError;

use fjall::PersistMode;
use ketch_trie::{Children, Manifest, Prefix, VerifiedPart};
use ketch_types::{Epoch, Height, KeyRange, PartIndex};

use crate::record::{Head, encode_children, node_key};
use crate::view::StateView;
use crate::{ShardStore, StoreError};

impl ShardStore {
    /// Applies the parts of a window, handed over in order: everything in their key range, stale
    /// keys included, is replaced by what they hold, durably, and then marked as held.
    ///
    /// Windows of tens of mebibytes are fast, single small parts slow. Windows of disjoint parts may
    /// be applied at once from several threads. After a crash at any moment the window is either
    /// marked, or will be read and hashed by [`ShardStore::reconcile`] before it is believed.
    ///
    /// *Errors:* a part of another state or cut, out of turn or missing, with nothing changed;
    /// [`StoreError::WindowBusy`] where another window is being applied; [`StoreError::NotEmpty`] over
    /// a head; what the disk says.
    pub fn apply(
        &self,
        manifest: &Manifest,
        window: Range<PartIndex>,
        parts: impl IntoIterator<Item = VerifiedPart>,
    ) -> Result<(), StoreError> {
        let Some(range) = manifest.range(window.clone()) else { return Ok(()) };
        // Before anything is locked or changed: an iterator may wait for the network.
        let parts: Vec<_> = parts.into_iter().collect();
        check_window(manifest, &window, &parts)?;
        let _shared = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        self.check_running()?;
        let _busy = self.begin_window(&range)?;
        self.unmark(&range)?;
        let mut nodes = manifest.opened_in(window);
        nodes.extend(parts.iter().flat_map(|part| part.nodes().iter().cloned()));
        nodes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.ingest_entries(&range, parts)?;
        self.ingest_nodes(&range, &nodes)?;
        self.mark(&range, manifest)
    }

    /// Keeps other windows off the keys in `range` until the guard is dropped.
    fn begin_window(&self, range: &KeyRange) -> Result<BusyWindow<'_>, StoreError> {
        let mut state = self.state();
        if state.busy.iter().any(|busy| busy.overlaps(range)) {
            return Err(StoreError::WindowBusy);
        }
        state.busy.push(range.clone());
        Ok(BusyWindow { store: self, range: range.clone() })
    }

    /// Makes the state of a manifest, all of whose parts are held, the head at an epoch's start. The
    /// starts of all other epochs are given up.
    ///
    /// *Errors:* [`StoreError::Incomplete`].
    pub fn complete(
        &self,
        manifest: &Manifest,
        epoch: Epoch,
        height: Height,
    ) -> Result<(), StoreError> {
        let _alone = self.change_alone()?;
        let missing = self.held(manifest).complement().len();
        if missing > 0 {
            return Err(StoreError::Incomplete { missing });
        }
        // A head of the same root leaves no history behind that a start could be read through.
        self.give_up_head()?;
        if manifest.part_count() == 0 {
            self.replace_with_nothing()?;
        }
        self.set_head(manifest, epoch, height)
    }

    fn set_head(
        &self,
        manifest: &Manifest,
        epoch: Epoch,
        height: Height,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        let head = Head { epoch, height, top: manifest.outline().top() };
        let mut batch = self.batch();
        self.put_head(&mut batch, Some(&head));
        self.put_manifest(&mut batch, epoch, manifest);
        let mut marks = state.marks.clone();
        self.put_marks(&mut batch, marks.clear_all());
        self.write(batch)?;
        state.marks = marks;
        state.head = Some(head);
        state.manifests.insert(epoch, manifest.clone().into());
        Ok(())
    }

    /// Before anything in `range` is written, nothing may vouch for it any more.
    pub(crate) fn unmark(&self, range: &KeyRange) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.head.is_some() {
            return Err(StoreError::NotEmpty);
        }
        let mut marks = state.marks.clone();
        let changes = marks.clear(range);
        if changes.is_empty() {
            return Ok(());
        }
        let mut batch = self.batch();
        self.put_marks(&mut batch, changes);
        self.write(batch)?;
        state.marks = marks;
        Ok(())
    }

    fn mark(&self, range: &KeyRange, manifest: &Manifest) -> Result<(), StoreError> {
        let mut state = self.state();
        let mut marks = state.marks.clone();
        let mut batch = self.batch();
        self.put_marks(&mut batch, marks.set(range, manifest.root()));
        self.write(batch)?;
        state.marks = marks;
        Ok(())
    }

    /// Writes the entries of `parts` over everything in `range`, in one atomic step.
    fn ingest_entries(&self, range: &KeyRange, parts: Vec<VerifiedPart>) -> Result<(), StoreError> {
        let view = StateView::new(self, self.db.snapshot(), None);
        let mut stale = StaleKeys::new(view.entries_in(range));
        let mut ingestion = self.guard(self.entries.start_ingestion().map_err(StoreError::from))?;
        for part in parts {
            for entry in part.entries() {
                // Keys rise within and across the parts of a window: all were verified, none panics.
                while let Some(key) = stale.next_below(entry.key)? {
                    self.guard(ingestion.write_tombstone(key).map_err(StoreError::from))?;
                }
                let written = ingestion.write(entry.key, entry.value);
                self.guard(written.map_err(StoreError::from))?;
            }
        }
        while let Some(key) = stale.next()? {
            self.guard(ingestion.write_tombstone(key).map_err(StoreError::from))?;
        }
        self.finish(&self.entries, ingestion.finish(), &stale.passed)
    }

    /// Writes `nodes`, in order, over all inner nodes that begin in `range`.
    pub(crate) fn ingest_nodes(
        &self,
        range: &KeyRange,
        nodes: &[(Prefix, Children)],
    ) -> Result<(), StoreError> {
        let view = StateView::new(self, self.db.snapshot(), None);
        let mut stale = StaleKeys::new(view.node_keys_in(range));
        let mut ingestion = self.guard(self.nodes.start_ingestion().map_err(StoreError::from))?;
        for (prefix, children) in nodes {
            let key = node_key(prefix);
            while let Some(key) = stale.next_below(&key)? {
                self.guard(ingestion.write_tombstone(key).map_err(StoreError::from))?;
            }
            let written = ingestion.write(key, encode_children(children));
            self.guard(written.map_err(StoreError::from))?;
        }
        while let Some(key) = stale.next()? {
            self.guard(ingestion.write_tombstone(key).map_err(StoreError::from))?;
        }
        self.finish(&self.nodes, ingestion.finish(), &stale.passed)
    }

    /// Deletes every key: what applying the empty state means.
    fn replace_with_nothing(&self) -> Result<(), StoreError> {
        self.unmark(&KeyRange::ALL)?;
        self.ingest_entries(&KeyRange::ALL, Vec::new())?;
        self.ingest_nodes(&KeyRange::ALL, &[])
    }

    /// Ends an ingestion. It is synced by then, but did not ask whether an earlier sync failed.
    ///
    /// The `deleted` keys are removed through the journal as well, before the range is marked: what
    /// an ingestion deletes is not in the journal, so a key that a batch had written there would
    /// come back with the next opening once compaction has dropped both from the tables.
    fn finish(
        &self,
        keyspace: &fjall::Keyspace,
        finished: fjall::Result<()>,
        deleted: &[fjall::UserKey],
    ) -> Result<(), StoreError> {
        self.guard(finished.map_err(StoreError::from))?;
        for keys in deleted.chunks(REMOVALS_A_BATCH) {
            let mut batch = self.batch();
            keys.iter().for_each(|key| batch.remove(keyspace, key.clone()));
            self.guard(batch.commit().map_err(StoreError::from))?;
        }
        self.guard(self.db.persist(PersistMode::Buffer).map_err(StoreError::from))
    }
}

/// How many keys are removed in a batch.
const REMOVALS_A_BATCH: usize = 4_096;

/// A window that is being applied.
struct BusyWindow<'a> {
    store: &'a ShardStore,
    range: KeyRange,
}

impl Drop for BusyWindow<'_> {
    fn drop(&mut self) {
        self.store.state().busy.retain(|busy| *busy != self.range);
    }
}

/// Checks that a window was handed its own parts, each in its turn.
fn check_window(
    manifest: &Manifest,
    window: &Range<PartIndex>,
    parts: &[VerifiedPart],
) -> Result<(), StoreError> {
    let mut indices = (window.start.0..window.end.0).map(PartIndex);
    for part in parts {
        let expected = indices.next().unwrap_or(window.end);
        if expected >= window.end || !is_part(manifest, expected, part) {
            let (got, root) = (part.index(), part.root());
            return Err(StoreError::OtherPart { expected, got, root });
        }
    }
    indices.next().map_or(Ok(()), |missing| Err(StoreError::MissingPart(missing)))
}

/// Whether a part is the one at `index` of this manifest: a part of the same root at another cut
/// may have the same index.
fn is_part(manifest: &Manifest, index: PartIndex, part: &VerifiedPart) -> bool {
    part.index() == index
        && part.root() == manifest.root()
        && manifest.part(index).is_some_and(|expected| expected.hash() == part.hash())
        && manifest.part_range(index).as_ref() == Some(part.range())
}

/// The keys that are there already, of which those that are not written over are deleted.
struct StaleKeys {
    records: Peekable<KeysOf>,
    /// The keys that were handed out to be deleted.
    passed: Vec<fjall::UserKey>,
}

/// The keys of records.
struct KeysOf(fjall::Iter);

impl Iterator for KeysOf {
    type Item = Result<fjall::UserKey, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.key().map_err(StoreError::from))
    }
}

impl StaleKeys {
    fn new(records: fjall::Iter) -> Self {
        Self { records: KeysOf(records).peekable(), passed: Vec::new() }
    }

    /// The next key, if there is one.
    fn next(&mut self) -> Result<Option<fjall::UserKey>, StoreError> {
        let next = self.records.next().transpose()?;
        self.passed.extend(next.clone());
        Ok(next)
    }

    /// The next key below `end`; a key that equals it is written over and passed by.
    fn next_below(&mut self, end: &[u8]) -> Result<Option<fjall::UserKey>, StoreError> {
        let is_below =
            |key: &Result<fjall::UserKey, _>| key.as_ref().map_or(true, |key| **key < *end);
        if self.records.peek().is_some_and(is_below) {
            return self.next();
        }
        let is_end = |key: &Result<fjall::UserKey, _>| key.as_ref().is_ok_and(|key| **key == *end);
        self.records.next_if(is_end);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use ketch_trie::{MemoryState, Outline, StateReader, Writes};

    use super::*;
    use crate::{Chunk, StoreConfig};

    /// What an ingestion deletes is not in the journal; what a chunk wrote there is.
    #[test]
    fn what_a_window_deleted_stays_deleted_after_compaction_and_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let store = ShardStore::open(folder.path(), StoreConfig::default()).unwrap().store;
        store.import([(b"a", [1; 9_000])], 16_384).unwrap();
        let mut writes = Writes::default();
        for key in [b"b", b"c", b"d"] {
            writes.put(key, &[2; 9_000]).unwrap();
        }
        let root = ketch_trie::commit(&store.view().unwrap(), &writes).unwrap().root();
        let height = Height(1);
        store.commit(Chunk { height, writes: &writes, root, next_epoch_cut: None }).unwrap();
        assert!(store.view().unwrap().nodes(&Prefix::default()).next().is_some());

        let empty = Outline::of_state(&MemoryState::default(), 16_384).unwrap();
        let empty = Manifest::new(empty).unwrap();
        store.reconcile(&empty).unwrap();
        store.complete(&empty, Epoch(1), Height(2)).unwrap();
        store.entries.major_compact().unwrap();
        store.nodes.major_compact().unwrap();
        drop(store);

        let store = ShardStore::open(folder.path(), StoreConfig::default()).unwrap().store;
        let mut entries = 0;
        store.scan(|_, _| entries += 1).unwrap();
        assert_eq!(entries, 0, "entries came back");
        assert!(store.view().unwrap().nodes(&Prefix::default()).next().is_none());
    }
}
