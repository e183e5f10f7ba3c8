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
    /// *Errors:* a part of another state or cut, or out of turn: no entry is changed then, but the
    /// range is no longer vouched for; [`StoreError::NotEmpty`] over a head; what the disk says.
    pub fn apply(
        &self,
        manifest: &Manifest,
        window: Range<PartIndex>,
        parts: impl IntoIterator<Item = VerifiedPart>,
    ) -> Result<(), StoreError> {
        let Some(range) = manifest.range(window.clone()) else {
            return Ok(());
        };
        let _shared = self.changing.read().unwrap_or_else(PoisonError::into_inner);
        self.check_running()?;
        self.unmark(&range)?;
        let mut nodes = manifest.opened_in(window.clone());
        let indices = (window.start.0..window.end.0).map(PartIndex);
        let parts = InTurn { manifest, indices, parts: parts.into_iter() };
        self.ingest_entries(&range, parts, &mut nodes)?;
        nodes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.ingest_nodes(&range, &nodes)?;
        self.mark(&range, manifest)
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
    fn unmark(&self, range: &KeyRange) -> Result<(), StoreError> {
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

    /// Writes the entries of `parts` over everything in `range`, in one atomic step, unless one of
    /// them is an error; gathers the nodes inside the parts.
    fn ingest_entries(
        &self,
        range: &KeyRange,
        parts: impl Iterator<Item = Result<VerifiedPart, StoreError>>,
        nodes: &mut Vec<(Prefix, Children)>,
    ) -> Result<(), StoreError> {
        let view = StateView::new(self, self.db.snapshot(), None);
        let mut old = stale_keys(view.entries_in(range)).peekable();
        let mut ingestion = self.guard(self.entries.start_ingestion().map_err(StoreError::from))?;
        for part in parts {
            let part = part?;
            for entry in part.entries() {
                // Keys rise within and across parts: the order was verified, so none panics.
                while let Some(stale) = next_below(&mut old, entry.key)? {
                    self.guard(ingestion.write_tombstone(stale).map_err(StoreError::from))?;
                }
                let written = ingestion.write(entry.key, entry.value);
                self.guard(written.map_err(StoreError::from))?;
            }
            nodes.extend_from_slice(part.nodes());
        }
        for stale in old {
            self.guard(ingestion.write_tombstone(stale?).map_err(StoreError::from))?;
        }
        self.finish(ingestion.finish())
    }

    /// Writes `nodes`, in order, over all inner nodes that begin in `range`.
    pub(crate) fn ingest_nodes(
        &self,
        range: &KeyRange,
        nodes: &[(Prefix, Children)],
    ) -> Result<(), StoreError> {
        let view = StateView::new(self, self.db.snapshot(), None);
        let mut old = stale_keys(view.node_keys_in(range)).peekable();
        let mut ingestion = self.guard(self.nodes.start_ingestion().map_err(StoreError::from))?;
        for (prefix, children) in nodes {
            let key = node_key(prefix);
            while let Some(stale) = next_below(&mut old, &key)? {
                self.guard(ingestion.write_tombstone(stale).map_err(StoreError::from))?;
            }
            let written = ingestion.write(key, encode_children(children));
            self.guard(written.map_err(StoreError::from))?;
        }
        for stale in old {
            self.guard(ingestion.write_tombstone(stale?).map_err(StoreError::from))?;
        }
        self.finish(ingestion.finish())
    }

    /// Deletes every key: what applying the empty state means.
    fn replace_with_nothing(&self) -> Result<(), StoreError> {
        self.unmark(&KeyRange::ALL)?;
        self.ingest_entries(&KeyRange::ALL, std::iter::empty(), &mut Vec::new())?;
        self.ingest_nodes(&KeyRange::ALL, &[])
    }

    /// An ingestion is synced when it is finished, but does not ask whether an earlier sync failed.
    fn finish(&self, finished: fjall::Result<()>) -> Result<(), StoreError> {
        let checked = finished.and_then(|()| self.db.persist(PersistMode::Buffer));
        self.guard(checked.map_err(StoreError::from))
    }
}

/// The parts of a window, as long as each is the one whose turn it is.
struct InTurn<'a, I, P> {
    manifest: &'a Manifest,
    indices: I,
    parts: P,
}

impl<I, P> Iterator for InTurn<'_, I, P>
where
    I: Iterator<Item = PartIndex>,
    P: Iterator<Item = VerifiedPart>,
{
    type Item = Result<VerifiedPart, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        match (self.indices.next(), self.parts.next()) {
            (None, None) => None,
            (Some(expected), None) => Some(Err(StoreError::MissingPart(expected))),
            (Some(expected), Some(part)) if is_part(self.manifest, expected, &part) => {
                Some(Ok(part))
            }
            (expected, Some(part)) => {
                let expected = expected.unwrap_or(PartIndex(self.manifest.part_count()));
                let (got, root) = (part.index(), part.root());
                Some(Err(StoreError::OtherPart { expected, got, root }))
            }
        }
    }
}

/// Whether a part is the one at `index` of this manifest: a part of the same root at another cut
/// may have the same index.
fn is_part(manifest: &Manifest, index: PartIndex, part: &VerifiedPart) -> bool {
    part.index() == index
        && part.root() == manifest.root()
        && manifest.part(index).is_some_and(|expected| expected.hash() == part.hash())
        && manifest.part_range(index).as_ref() == Some(part.range())
}

/// The keys of records that are there already.
fn stale_keys(records: fjall::Iter) -> impl Iterator<Item = Result<fjall::UserKey, StoreError>> {
    records.map(|record| record.key().map_err(StoreError::from))
}

/// The next key below `end`; a key that equals it is written over and passed by.
fn next_below(
    old: &mut Peekable<impl Iterator<Item = Result<fjall::UserKey, StoreError>>>,
    end: &[u8],
) -> Result<Option<fjall::UserKey>, StoreError> {
    let next = old.next_if(|key| key.as_ref().map_or(true, |key| **key <= *end));
    match next {
        Some(Ok(key)) if *key == *end => Ok(None),
        next => next.transpose(),
    }
}
