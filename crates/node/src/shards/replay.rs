//! Chunks from the book into a shard's store.

use ketch_coordinator::{JobEnd, PartSizes};
use ketch_store::{Chunk, ShardStore, StoreError};
use ketch_trie::Writes;
use ketch_types::{Epoch, Height, ShardId, StateRoot};

use super::{Shards, sizes_of};
use crate::book::BookError;

/// The starts of epochs that were passed.
type Starts = Vec<(Epoch, PartSizes)>;

impl Shards {
    /// Applies the chunks that are in the book, up to a height.
    pub(super) fn replay(&self, shard: ShardId, through: Height) -> Result<JobEnd, StoreError> {
        let starts = self.with(shard, |store| self.replay_known(store, shard, Some(through)))?;
        Ok(JobEnd::Replayed { through, starts })
    }

    /// Applies what the book has after the store's head, up to a height, or as far as it goes. Each
    /// chunk becomes durable with its head, so it is applied once.
    pub(super) fn replay_known(
        &self,
        store: &ShardStore,
        shard: ShardId,
        through: Option<Height>,
    ) -> Result<Starts, StoreError> {
        let mut starts = Starts::new();
        let head = store.head().ok_or(StoreError::NoState)?;
        let last = through.unwrap_or(Height(u64::MAX));
        let chunks = self.book.chunks_after(shard, head.height, last).map_err(of_book)?;
        for chunk in chunks {
            let chunk = chunk.map_err(of_book)?;
            let height = chunk.header.height();
            self.pass(store, Height(height.0.saturating_sub(1)), &mut starts)?;
            let mut writes = Writes::default();
            for (key, value) in chunk.outputs.iter() {
                let put = match value {
                    Some(value) => writes.put(key, value),
                    None => writes.delete(key),
                };
                // The ledger's limits on keys and values are the commitment's.
                put.map_err(|_| StoreError::Malformed("outputs"))?;
            }
            self.commit(store, height, &writes, chunk.header.state_after(), &mut starts)?;
        }
        if let Some(through) = through {
            self.pass(store, through, &mut starts)?;
        }
        Ok(starts)
    }

    /// Passes heights up to one, at which the shard had no chunk.
    fn pass(
        &self,
        store: &ShardStore,
        through: Height,
        starts: &mut Starts,
    ) -> Result<(), StoreError> {
        while let Some(head) = store.head().filter(|head| head.height < through) {
            self.commit(store, head.height.next(), &Writes::default(), head.root(), starts)?;
        }
        Ok(())
    }

    fn commit(
        &self,
        store: &ShardStore,
        height: Height,
        writes: &Writes,
        root: StateRoot,
        starts: &mut Starts,
    ) -> Result<(), StoreError> {
        let next_epoch_cut = self.cut_after(height);
        store.commit(Chunk { height, writes, root, next_epoch_cut })?;
        if let (Some(_), Some(head)) = (next_epoch_cut, store.head()) {
            // What is announced of it must survive a power cut.
            store.sync()?;
            starts.push((head.epoch, sizes_of(&*store.manifest(head.epoch)?)));
        }
        Ok(())
    }

    /// The size that the next epoch's start is cut to, where a height ends an epoch.
    fn cut_after(&self, height: Height) -> Option<u32> {
        let trust = self.book.trust();
        let ends = trust.epochs().iter().find(|info| info.last_height() == height)?;
        let next = trust.epoch(ends.epoch().next()).unwrap_or(ends);
        Some(next.layout().part_bytes())
    }

    /// Whether the book has what follows a shard's state at a height, as it has at an epoch's start.
    pub(super) fn is_in_book(&self, shard: ShardId, height: Height) -> Result<bool, StoreError> {
        if self.book.outputs_after(shard).is_some_and(|after| after <= height) {
            return Ok(true);
        }
        let starts = self.book.starts().into_iter().filter_map(|epoch| self.book.start(epoch));
        let mut here = starts.filter(|start| start.height() == height);
        match here.find_map(|start| start.header(shard).cloned()) {
            Some(header) => self.book.begin(header).map_err(of_book).map(|()| true),
            None => Ok(false),
        }
    }

    /// Begins to keep a shard's chunks, where a state of it was completed.
    pub(super) fn book_begins(&self, shard: ShardId, epoch: Epoch) -> Result<(), StoreError> {
        let start = self.book.start(epoch).ok_or(StoreError::NotRetained(epoch))?;
        let header = start.header(shard).ok_or(StoreError::NotRetained(epoch))?;
        self.book.begin(header.clone()).map_err(of_book)
    }

    pub(super) fn forget_in_book(&self, shard: ShardId) -> Result<(), StoreError> {
        self.book.forget(shard).map_err(of_book)
    }

    pub(super) fn drop_in_book(&self, shard: ShardId, before: Epoch) -> Result<(), StoreError> {
        self.book.drop_shard_before(shard, before).map_err(of_book)
    }
}

/// What an error of the book means to the work on a shard.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn of_book(error: BookError) -> StoreError {
    tracing::warn!(%error, "the ledger's book");
    match error {
        BookError::DiskFull => StoreError::DiskFull,
        _ => StoreError::Stopped,
    }
}
