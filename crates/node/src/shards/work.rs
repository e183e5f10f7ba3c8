//! The coordinator's work on a shard, done on a thread that may block.

use std::ops::Range;
use std::sync::{Arc, PoisonError};

use ketch_coordinator::{JobEnd, OurFault, Work};
use ketch_store::{ShardStore, StoreError};
use ketch_trie::{Manifest, VerifiedPart};
use ketch_types::{Epoch, Height, PartIndex, PartSet, ShardId, StateRoot};

use super::{Shards, Slot, empty_manifest, sizes_of, start_of};

impl Shards {
    /// Does work, with the verified parts that it is to apply; how it ended.
    pub(crate) fn work(&self, work: &Work, parts: Vec<VerifiedPart>) -> JobEnd {
        let done = match work {
            Work::Open { shard } => self.open(*shard),
            Work::Reconcile { shard, root, distrust } => self.reconcile(*shard, *root, *distrust),
            Work::Apply { shard, root, parts: window } => {
                self.apply(*shard, *root, window.clone(), parts)
            }
            Work::Complete { shard, root, epoch, height } => {
                self.complete(*shard, *root, *epoch, *height)
            }
            Work::Replay { shard, through } => self.replay(*shard, *through),
            Work::Generate { shard, root, parts, .. } => self.generate(*shard, *root, parts),
            Work::DropShard { shard } => self.drop_shard(*shard),
            Work::DropEpochs { shard, before } => self.drop_epochs(*shard, *before),
            // Not of a shard's store; the driver does them itself.
            Work::Search { .. } | Work::CheckOurselves => Err(StoreError::NoDatabase),
        };
        done.unwrap_or_else(|error| {
            tracing::warn!(?work, %error, "work failed");
            JobEnd::Failed(fault_of(&error))
        })
    }

    fn open(&self, shard: ShardId) -> Result<JobEnd, StoreError> {
        let slot = self.slot(shard);
        let mut place = slot.store.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: a database is open once.
        *place = None;
        let opened = ShardStore::open(&self.folder_of(shard), self.config)?;
        if let Some(path) = opened.moved_aside {
            tracing::error!(%shard, path = %path.display(), "a database that does not open was moved aside");
        }
        let store = place.insert(opened.store);
        let mut head = store.head();
        if let Some(known) = head {
            if self.is_in_book(shard, known.height)? {
                // The book may be ahead of the store, by what a crash left uncommitted.
                self.replay_known(store, shard, None)?;
                head = store.head();
            } else {
                // Nothing can follow it that could be checked. What it holds is reused.
                tracing::warn!(%shard, height = %known.height, "the book has lost this shard");
                head = None;
            }
        }
        let starts = store
            .epochs()
            .into_iter()
            .map(|epoch| store.manifest(epoch).map(|manifest| (epoch, sizes_of(&manifest))));
        Ok(JobEnd::Opened {
            head: head.map(|head| head.height),
            outputs_after: self.book.outputs_after(shard),
            starts: starts.collect::<Result<_, _>>()?,
        })
    }

    fn reconcile(
        &self,
        shard: ShardId,
        root: StateRoot,
        distrust: bool,
    ) -> Result<JobEnd, StoreError> {
        let manifest = self.target(shard, root)?;
        let reconciled = self.with(shard, |store| {
            if distrust {
                store.distrust()?;
            }
            store.reconcile(&manifest)
        });
        let held = match reconciled {
            // What cannot be read cannot be written over either.
            Err(error) if fault_of(&error) == OurFault::Damaged => {
                tracing::error!(%shard, %error, "a damaged database is moved aside");
                self.set_aside(shard)?;
                self.with(shard, |store| store.reconcile(&manifest))?
            }
            reconciled => reconciled?,
        };
        Ok(JobEnd::Reconciled { held })
    }

    fn set_aside(&self, shard: ShardId) -> Result<(), StoreError> {
        let slot = self.slot(shard);
        let mut place = slot.store.write().unwrap_or_else(PoisonError::into_inner);
        *place = None;
        let folder = self.folder_of(shard);
        ShardStore::set_aside(&folder)?;
        *place = Some(ShardStore::open(&folder, self.config)?.store);
        Ok(())
    }

    fn apply(
        &self,
        shard: ShardId,
        root: StateRoot,
        window: Range<PartIndex>,
        parts: Vec<VerifiedPart>,
    ) -> Result<JobEnd, StoreError> {
        let manifest = self.target(shard, root)?;
        self.with(shard, |store| store.apply(&manifest, window, parts))?;
        Ok(JobEnd::Applied)
    }

    fn complete(
        &self,
        shard: ShardId,
        root: StateRoot,
        epoch: Epoch,
        height: Height,
    ) -> Result<JobEnd, StoreError> {
        let manifest = self.target(shard, root)?;
        // Before the store has a head: from a head on, the book says what follows it.
        self.book_begins(shard, epoch)?;
        self.with(shard, |store| store.complete(&manifest, epoch, height))?;
        Ok(JobEnd::Completed)
    }

    /// Puts parts into the cache that are not in it.
    fn generate(
        &self,
        shard: ShardId,
        root: StateRoot,
        parts: &PartSet,
    ) -> Result<JobEnd, StoreError> {
        let fetched = self.target(shard, root);
        self.with(shard, |store| {
            let (epoch, view) = match start_of(store, root) {
                Some((epoch, _)) => (epoch, store.epoch(epoch)?),
                None => (self.book.next_end(), store.target(fetched?)),
            };
            let mut made = PartSet::empty(parts.count());
            for part in parts.iter() {
                let hash = view.manifest().part(part).map(ketch_trie::Part::hash);
                if hash.is_some_and(|hash| self.cache.touch(hash, epoch)) {
                    made.insert(part);
                    continue;
                }
                match view.part(part) {
                    Ok(verified) => match self.cache.insert(&verified, epoch) {
                        Ok(_) => {
                            made.insert(part);
                        }
                        Err(error) => tracing::warn!(%error, "a part was not cached"),
                    },
                    Err(error) => tracing::warn!(%shard, %part, %error, "a part was not made"),
                }
            }
            Ok(JobEnd::Generated { made })
        })
    }

    fn drop_shard(&self, shard: ShardId) -> Result<JobEnd, StoreError> {
        let slot = self.slot(shard);
        let mut place = slot.store.write().unwrap_or_else(PoisonError::into_inner);
        *place = None;
        self.forget_in_book(shard)?;
        let folder = self.folder_of(shard);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::File { path: folder, error });
            }
            _ => {}
        }
        super::lock(&self.slots).remove(&shard);
        Ok(JobEnd::Dropped)
    }

    fn drop_epochs(&self, shard: ShardId, before: Epoch) -> Result<JobEnd, StoreError> {
        self.with(shard, |store| store.drop_epochs_before(before))?;
        self.drop_in_book(shard, before)?;
        Ok(JobEnd::Dropped)
    }

    /// How the state that is made for is cut.
    fn target(&self, shard: ShardId, root: StateRoot) -> Result<Arc<Manifest>, StoreError> {
        if root == StateRoot::EMPTY {
            let trust = self.book.trust();
            let newest = trust.epochs().last().ok_or(StoreError::NoState)?;
            return Ok(Arc::new(empty_manifest(newest.layout().part_bytes())?));
        }
        // An outline is fetched, and so known, before anything is made of it.
        self.manifest(shard, root).ok_or(StoreError::NoState)
    }

    /// Works with a store that is open.
    pub(super) fn with<T>(
        &self,
        shard: ShardId,
        work: impl FnOnce(&ShardStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let slot: Arc<Slot> = self.slot(shard);
        let store = slot.store.read().unwrap_or_else(PoisonError::into_inner);
        work(store.as_ref().ok_or(StoreError::NoDatabase)?)
    }
}

/// What an error of the store means to the coordinator.
fn fault_of(error: &StoreError) -> OurFault {
    match error {
        StoreError::DiskFull => OurFault::DiskFull,
        StoreError::Malformed(_)
        | StoreError::Damaged(_)
        | StoreError::DamagedPart { .. }
        | StoreError::Manifest(_)
        | StoreError::RootMismatch { .. } => OurFault::Damaged,
        _ => OurFault::Stopped,
    }
}
