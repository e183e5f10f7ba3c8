//! Dropping what is not needed any more.

use ketch_types::{Epoch, Height, ShardId};

use super::Book;
use super::error::BookError;
use super::marks::Marks;
use super::record::{shard_key, shard_record, start_key};

impl Book {
    /// Drops all that is stored of a shard's chunks.
    ///
    /// *Errors:* see [`BookError`].
    pub fn forget(&self, shard: ShardId) -> Result<(), BookError> {
        let followed = {
            let _writing = self.writing();
            let Ok(followed) = self.followed(shard) else { return Ok(()) };
            let mut batch = self.disk.batch()?;
            batch.remove(&self.disk.meta, shard_key(shard));
            self.remove_proofs(&mut batch, &followed, followed.marks.0.keys());
            self.disk.commit(batch)?;
            self.known_mut().shards.remove(&shard);
            followed
        };
        self.disk.remove_run(followed.run, Height(u64::MAX))
    }

    /// Drops the starts of all epochs before `epoch`, but for genesis, and the chunks of all shards
    /// before its start. Ends stay for ever. Where the start's height is not known, nothing is done.
    ///
    /// What a shard's own database has not applied yet goes too: whoever calls this knows that there
    /// is none, or that the shard begins anew.
    ///
    /// *Errors:* see [`BookError`].
    pub fn drop_before(&self, epoch: Epoch) -> Result<(), BookError> {
        let Some(height) = self.start_height(epoch) else { return Ok(()) };
        self.drop_starts_before(epoch)?;
        let shards: Vec<_> = self.known().shards.keys().copied().collect();
        shards.into_iter().try_for_each(|shard| self.drop_chunks(shard, height))
    }

    /// The same of one shard's chunks alone; no start is dropped.
    ///
    /// *Errors:* see [`BookError`].
    pub fn drop_shard_before(&self, shard: ShardId, epoch: Epoch) -> Result<(), BookError> {
        let height = self.start_height(epoch);
        height.map_or(Ok(()), |height| self.drop_chunks(shard, height))
    }

    fn drop_starts_before(&self, epoch: Epoch) -> Result<(), BookError> {
        let _writing = self.writing();
        let dropped: Vec<_> = self.starts().into_iter().filter(|start| *start < epoch).collect();
        let mut batch = self.disk.batch()?;
        for start in &dropped {
            batch.remove(&self.disk.meta, start_key(*start));
        }
        self.disk.commit(batch)?;
        let mut known = self.known_mut();
        known.starts.retain(|start, _| *start == Epoch(0) || *start >= epoch);
        Ok(())
    }

    /// Lets a shard begin at its newest header at or below a height.
    fn drop_chunks(&self, shard: ShardId, height: Height) -> Result<(), BookError> {
        let (run, through) = {
            let _writing = self.writing();
            let Ok(mut followed) = self.followed(shard) else { return Ok(()) };
            if followed.anchor.height() >= height {
                return Ok(());
            }
            followed.anchor = self.header_at(shard, height)?;
            let marks = Marks(followed.marks.0.split_off(&height));
            let mut batch = self.disk.batch()?;
            let record = shard_record(followed.run, &followed.anchor);
            batch.insert(&self.disk.meta, shard_key(shard), record);
            // What was split off is what stays.
            self.remove_proofs(&mut batch, &followed, followed.marks.0.keys());
            self.disk.commit(batch)?;
            followed.marks = marks;
            let (run, through) = (followed.run, followed.anchor.height());
            self.known_mut().shards.insert(shard, followed);
            (run, through)
        };
        self.disk.remove_run(run, through)
    }

    /// Removes what a crash has left behind: runs that no shard has, and what lies before a shard's
    /// beginning.
    pub(super) fn sweep(&self) -> Result<(), BookError> {
        for run in self.disk.runs()? {
            let kept_after = {
                let known = self.known();
                let followed = known.shards.values().find(|followed| followed.run == run);
                followed.map(|followed| followed.anchor.height())
            };
            self.disk.remove_run(run, kept_after.unwrap_or(Height(u64::MAX)))?;
        }
        Ok(())
    }

    /// The height of the block before an epoch's first, if it is known.
    fn start_height(&self, epoch: Epoch) -> Option<Height> {
        let known = self.known();
        let kept = known.starts.get(&epoch).map(|start| start.height());
        kept.or_else(|| {
            let first = known.trusted.path.epoch(epoch)?.first_height();
            first.0.checked_sub(1).map(Height)
        })
    }
}
