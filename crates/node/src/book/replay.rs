//! Reading a shard's chunks.

use ketch_ledger::{ChunkHeader, Outputs};
use ketch_types::{Height, ShardId};

use super::Book;
use super::chunks;
use super::disk::Disk;
use super::error::BookError;
use super::record::run_key;

/// A chunk as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChunk {
    /// Its header.
    pub header: ChunkHeader,
    /// What it writes.
    pub outputs: Outputs,
}

/// A shard's chunks in order, read one by one: [`Book::chunks_after`].
pub struct ChunksAfter<'a> {
    book: &'a Book,
    run: u64,
    before: ChunkHeader,
    through: Height,
    ended: bool,
}

impl Book {
    /// The height after which chunks of a shard are stored without a gap; none if it is not followed.
    pub fn outputs_after(&self, shard: ShardId) -> Option<Height> {
        self.known().shards.get(&shard).map(|followed| followed.anchor.height())
    }

    /// The newest header of a shard that is stored, or that it begins after: what the next range is
    /// verified from.
    pub fn newest_header(&self, shard: ShardId) -> Option<ChunkHeader> {
        self.known().shards.get(&shard).map(|followed| followed.newest.clone())
    }

    /// The header of a shard's chunk of exactly this height, if it is stored, or is the one that the
    /// shard begins after.
    ///
    /// *Errors:* see [`BookError`].
    pub fn header(&self, shard: ShardId, height: Height) -> Result<Option<ChunkHeader>, BookError> {
        let header = self.header_at(shard, height);
        match header.map(|header| Some(header).filter(|header| header.height() == height)) {
            Err(BookError::NotFollowed(_) | BookError::Gap { .. }) => Ok(None),
            found => found,
        }
    }

    /// The newest header of a shard at or below a height.
    ///
    /// *Errors:* [`BookError::NotFollowed`]; [`BookError::Gap`] where the shard begins above it.
    pub fn header_at(&self, shard: ShardId, height: Height) -> Result<ChunkHeader, BookError> {
        let followed = self.followed(shard)?;
        let (anchor, newest) = (followed.anchor, followed.newest);
        if newest.height() <= height {
            return Ok(newest);
        }
        if anchor.height() > height {
            return Err(BookError::Gap { shard, newest: height, got: anchor.height() });
        }
        let stored = chunks::newest(&self.disk, followed.run, height)?;
        Ok(stored.filter(|stored| stored.height() > anchor.height()).unwrap_or(anchor))
    }

    /// The outputs of a shard's chunk of exactly this height, if they are stored.
    ///
    /// *Errors:* see [`BookError`].
    pub fn outputs(&self, shard: ShardId, height: Height) -> Result<Option<Outputs>, BookError> {
        let Ok(followed) = self.followed(shard) else { return Ok(None) };
        if followed.anchor.height() >= height {
            return Ok(None);
        }
        self.outputs_of(followed.run, height)
    }

    /// The chunks of a shard above one height, up to another or the newest.
    ///
    /// *Errors:* as of [`header_at`](Self::header_at). While they are read, [`BookError::Gap`] and
    /// [`BookError::NotFollowed`] where some are dropped meanwhile.
    pub fn chunks_after(
        &self,
        shard: ShardId,
        after: Height,
        through: Height,
    ) -> Result<ChunksAfter<'_>, BookError> {
        let run = self.followed(shard)?.run;
        let before = self.header_at(shard, after)?;
        Ok(ChunksAfter { book: self, run, before, through, ended: false })
    }

    fn outputs_of(&self, run: u64, height: Height) -> Result<Option<Outputs>, BookError> {
        let outputs = self.disk.outputs.get(run_key(run, height))?;
        let outputs = outputs.map(|outputs| Outputs::decode(outputs.to_vec())).transpose();
        outputs.map_err(|_| self.disk.malformed("outputs"))
    }
}

impl ChunksAfter<'_> {
    fn read(&mut self) -> Result<Option<StoredChunk>, BookError> {
        let disk = &self.book.disk;
        let (shard, newest) = (self.before.shard(), self.before.height());
        if newest >= self.through {
            return Ok(None);
        }
        let next = Disk::run(&disk.headers, self.run, newest.next()..=self.through).next();
        let Some(next) = next.map(fjall::Guard::value).transpose()? else {
            // There is no more, unless it was taken away.
            return match self.book.followed(shard)?.run == self.run {
                true => Ok(None),
                false => Err(BookError::NotFollowed(shard)),
            };
        };
        let header = ChunkHeader::decode(&next).map_err(|_| disk.malformed("chunk header"))?;
        let gap = BookError::Gap { shard, newest, got: header.height() };
        if !header.follows(&self.before) {
            return Err(gap);
        }
        let outputs = self.book.outputs_of(self.run, header.height())?.ok_or(gap)?;
        self.before = header.clone();
        Ok(Some(StoredChunk { header, outputs }))
    }
}

impl Iterator for ChunksAfter<'_> {
    type Item = Result<StoredChunk, BookError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let read = self.read().transpose();
        self.ended = !matches!(read, Some(Ok(_)));
        read
    }
}
