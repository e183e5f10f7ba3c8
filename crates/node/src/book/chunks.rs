//! What is taken of the chunks of shards that are followed.

use std::collections::BTreeMap;

use fjall::OwnedWriteBatch;
use ketch_ledger::{
    ChunkHeader, ChunkProof, ChunkRange, Chunks, LedgerPlace, Outputs, SignedLedgerInfo,
    VerifiedLedgerInfo, VerifiedRange,
};
use ketch_types::{Epoch, Height, ShardId};
use ketch_wire::OutputsRequest;

use super::disk::Disk;
use super::error::{BookError, PeerFault, TakeError};
use super::marks::{Mark, Marks};
use super::record::{
    NEXT_RUN_KEY, SHARD_PREFIX, last_number, proof_record, read_proof_record, read_shard_record,
    run_key, shard_key, shard_record,
};
use super::starts::EpochStartRecord;
use super::{Book, Known};

/// A shard whose chunks are stored.
#[derive(Clone)]
pub(super) struct Followed {
    /// Under which its records are.
    pub(super) run: u64,
    /// The header after which its chunks are stored.
    pub(super) anchor: ChunkHeader,
    /// The newest header that is stored; the anchor, if none is.
    pub(super) newest: ChunkHeader,
    /// The proofs that are stored.
    pub(super) marks: Marks,
}

impl Book {
    /// Begins to follow a shard after this header, which is trusted: that of the epoch's start at
    /// which its state was completed. What was stored of the shard before is dropped.
    ///
    /// *Errors:* see [`BookError`].
    pub fn begin(&self, anchor: ChunkHeader) -> Result<(), BookError> {
        let shard = anchor.shard();
        let old = {
            let _writing = self.writing();
            let (run, old) = {
                let known = self.known();
                (known.next_run, known.shards.get(&shard).cloned())
            };
            let mut batch = self.disk.batch()?;
            batch.insert(&self.disk.meta, shard_key(shard), shard_record(run, &anchor));
            batch.insert(&self.disk.meta, NEXT_RUN_KEY, (run + 1).to_be_bytes());
            if let Some(old) = &old {
                self.remove_proofs(&mut batch, old, old.marks.0.keys());
            }
            let newest = anchor.clone();
            let mut followed = Followed { run, anchor, newest, marks: Marks::default() };
            self.put_known_starts(&mut batch, &mut followed)?;
            self.disk.commit_synced(batch)?;
            let mut known = self.known_mut();
            known.next_run = run + 1;
            known.shards.insert(shard, followed);
            old
        };
        // If a crash comes first, the next opening does this.
        old.map_or(Ok(()), |old| self.disk.remove_run(old.run, Height(u64::MAX)))
    }

    /// Verifies the range that a peer answered to a request for outputs, from the newest header that
    /// is stored at or below the height asked after.
    ///
    /// *Errors:* [`PeerFault`], by the protocol's rules of that answer; [`BookError::NotFollowed`] and
    /// [`BookError::Gap`] where no header is stored to verify it from.
    pub fn check_range(
        &self,
        asked: &OutputsRequest,
        range: &[u8],
    ) -> Result<VerifiedRange, TakeError> {
        let (after, newest) = (asked.after, asked.newest_epoch);
        let place = LedgerPlace::peek(range)?;
        if place.height < after {
            return Err(PeerFault::Below { after, got: place.height }.into());
        }
        let trust = self.trust();
        match trust.may_verify(&place).map_err(TakeError::from) {
            Err(TakeError::UnknownEpoch(got)) if got > newest => {
                return Err(PeerFault::LaterEpoch { newest, got }.into());
            }
            checked => checked?,
        }
        let trusted = self.header_at(asked.shard, after)?;
        Ok(ChunkRange::decode(range)?.verify(&trust, &trusted)?)
    }

    /// Stores chunks of a verified range, from its `first` header on: as many as there are outputs,
    /// each verified against its header. They are synced when this returns, and can be passed on as
    /// soon as the last of the range is stored. What is stored already is skipped; a range without
    /// headers is taken without outputs, and says that nothing is newer. Returns the height up to
    /// which nothing of the shard is missing: the ledger info's, once all of the range is stored.
    ///
    /// *Errors:* [`BookError::NotFollowed`]; [`BookError::Gap`] where a chunk is missing before the
    /// first; [`BookError::OtherOutputs`] where outputs are too many or not of their headers' sizes.
    pub fn take_range(
        &self,
        range: &VerifiedRange,
        first: usize,
        outputs: &[Outputs],
    ) -> Result<Height, BookError> {
        let shard = range.proof.header().shard();
        let end = first.saturating_add(outputs.len());
        let headers = range.headers.get(first..end).ok_or(BookError::OtherOutputs(shard))?;
        let _writing = self.writing();
        let mut followed = self.followed(shard)?;
        let mut batch = self.disk.batch()?;
        let grown = self.put_chunks(&mut batch, &mut followed, headers.iter().zip(outputs))?;
        let is_of_use = !outputs.is_empty() || range.headers.is_empty();
        if let Some(signed) = range.ledger_info.signed().filter(|_| is_of_use) {
            self.put_proof(&mut batch, &mut followed, signed, &range.proof);
        }
        if grown { self.disk.commit_synced(batch) } else { self.disk.commit(batch) }?;
        let newest = followed.newest.height();
        self.known_mut().shards.insert(shard, followed);
        let is_whole = newest >= range.proof.header().height();
        let proven = is_whole.then_some(range.ledger_info.ledger_info().height);
        Ok(proven.map_or(newest, |proven| proven.max(newest)))
    }

    /// Stores what one block brought, as its maker knows it: the chunks that it `made`, and for all
    /// shards that are followed a proof among the block's `chunks`. It is synced when this returns.
    ///
    /// *Errors:* as of [`take_range`](Self::take_range); nothing is stored then.
    pub fn take_own(
        &self,
        ledger_info: &VerifiedLedgerInfo,
        chunks: &Chunks,
        made: &[(ChunkHeader, Outputs)],
    ) -> Result<(), BookError> {
        let _writing = self.writing();
        let mut shards = self.known().shards.clone();
        let mut batch = self.disk.batch()?;
        for (header, outputs) in made {
            let shard = header.shard();
            let followed = shards.get_mut(&shard).ok_or(BookError::NotFollowed(shard))?;
            self.put_chunks(&mut batch, followed, [(header, outputs)])?;
        }
        for followed in shards.values_mut() {
            let proof = ChunkProof::new(chunks, followed.newest.clone());
            if let Some((signed, proof)) = ledger_info.signed().zip(proof) {
                self.put_proof(&mut batch, followed, signed, &proof);
            }
        }
        self.disk.commit_synced(batch)?;
        self.known_mut().shards = shards;
        Ok(())
    }

    /// Puts chunks that follow the newest one, leaving out what is not newer; whether there were any.
    fn put_chunks<'a>(
        &self,
        batch: &mut OwnedWriteBatch,
        followed: &mut Followed,
        chunks: impl IntoIterator<Item = (&'a ChunkHeader, &'a Outputs)>,
    ) -> Result<bool, BookError> {
        let mut grown = false;
        for (header, outputs) in chunks {
            let (shard, got) = (header.shard(), header.height());
            let commit = header.outputs();
            if (outputs.bytes(), outputs.len()) != (commit.bytes, commit.count) {
                return Err(BookError::OtherOutputs(shard));
            }
            if got <= followed.newest.height() {
                continue;
            }
            if !header.follows(&followed.newest) {
                return Err(BookError::Gap { shard, newest: followed.newest.height(), got });
            }
            let key = run_key(followed.run, got);
            batch.insert(&self.disk.headers, key, header.encode());
            batch.insert(&self.disk.outputs, key, outputs.encoded());
            followed.newest = header.clone();
            grown = true;
        }
        Ok(grown)
    }

    /// Puts the proof of a header that is stored, or will be, and removes those that are not needed
    /// beside it.
    fn put_proof(
        &self,
        batch: &mut OwnedWriteBatch,
        followed: &mut Followed,
        signed: &SignedLedgerInfo,
        proof: &ChunkProof,
    ) {
        let (info, header) = (&signed.ledger_info, proof.header().height());
        let begin = followed.anchor.height();
        if header < begin {
            return;
        }
        let mark = Mark { header, epoch: info.epoch, is_end: info.epoch_end.is_some() };
        let marks = followed.marks.with(info.height, mark, begin, followed.newest.height());
        if marks.not_in(&followed.marks).contains(&info.height) {
            let key = run_key(followed.run, info.height);
            batch.insert(&self.disk.proofs, key, proof_record(signed, proof));
        }
        self.remove_proofs(batch, followed, &followed.marks.not_in(&marks));
        followed.marks = marks;
    }

    pub(super) fn remove_proofs<'a>(
        &self,
        batch: &mut OwnedWriteBatch,
        followed: &Followed,
        heights: impl IntoIterator<Item = &'a Height>,
    ) {
        for height in heights {
            batch.remove(&self.disk.proofs, run_key(followed.run, *height));
        }
    }

    /// Puts a proof at an epoch's start for every shard that is followed; their marks with it.
    pub(super) fn put_start_proofs(
        &self,
        batch: &mut OwnedWriteBatch,
        start: &EpochStartRecord,
        signed: &SignedLedgerInfo,
    ) -> Vec<(ShardId, Marks)> {
        let shards = self.known().shards.clone();
        let mut marked = Vec::new();
        for (shard, mut followed) in shards {
            if let Some(proof) = start.proof(shard) {
                self.put_proof(batch, &mut followed, signed, proof);
                marked.push((shard, followed.marks));
            }
        }
        marked
    }

    /// The same at all starts that are known, for one shard.
    fn put_known_starts(
        &self,
        batch: &mut OwnedWriteBatch,
        followed: &mut Followed,
    ) -> Result<(), BookError> {
        let starts = self.known().starts.clone();
        for (epoch, start) in starts {
            let Some(ended) = epoch.0.checked_sub(1).map(Epoch) else { continue };
            let proof = start.proof(followed.anchor.shard());
            if let Some((signed, proof)) = self.end(ended)?.zip(proof) {
                self.put_proof(batch, followed, &signed, proof);
            }
        }
        Ok(())
    }

    /// What is stored of a shard.
    pub(super) fn followed(&self, shard: ShardId) -> Result<Followed, BookError> {
        self.known().shards.get(&shard).cloned().ok_or(BookError::NotFollowed(shard))
    }
}

impl Known {
    pub(super) fn set_marks(&mut self, marked: Vec<(ShardId, Marks)>) {
        for (shard, marks) in marked {
            if let Some(followed) = self.shards.get_mut(&shard) {
                followed.marks = marks;
            }
        }
    }
}

pub(super) fn load_next_run(disk: &Disk) -> Result<u64, BookError> {
    let next = disk.record(NEXT_RUN_KEY)?;
    Ok(next.and_then(|next| last_number(&next)).unwrap_or(0))
}

/// The shards that are followed.
pub(super) fn load(disk: &Disk) -> Result<BTreeMap<ShardId, Followed>, BookError> {
    let mut shards = BTreeMap::new();
    for record in disk.meta.prefix(SHARD_PREFIX) {
        let record = read_shard_record(&record.value()?);
        let (run, anchor) = record.ok_or_else(|| disk.malformed("shard"))?;
        let newest = newest(disk, run, Height(u64::MAX))?;
        let newest = newest.filter(|newest| newest.height() > anchor.height());
        let newest = newest.unwrap_or_else(|| anchor.clone());
        let marks = load_marks(disk, run)?;
        shards.insert(anchor.shard(), Followed { run, anchor, newest, marks });
    }
    Ok(shards)
}

fn load_marks(disk: &Disk, run: u64) -> Result<Marks, BookError> {
    let mut marks = Marks::default();
    for record in Disk::run(&disk.proofs, run, Height(0)..=Height(u64::MAX)) {
        let record = read_proof_record(&record.value()?);
        let (signed, proof) = record.ok_or_else(|| disk.malformed("proof"))?;
        let (info, header) = (signed.ledger_info, proof.header().height());
        let mark = Mark { header, epoch: info.epoch, is_end: info.epoch_end.is_some() };
        marks.0.insert(info.height, mark);
    }
    Ok(marks)
}

/// The newest header of a run at or below a height.
pub(super) fn newest(
    disk: &Disk,
    run: u64,
    through: Height,
) -> Result<Option<ChunkHeader>, BookError> {
    let last = Disk::run(&disk.headers, run, Height(0)..=through).next_back();
    let header = last.map(fjall::Guard::value).transpose()?;
    let header = header.map(|header| ChunkHeader::decode(&header)).transpose();
    header.map_err(|_| disk.malformed("chunk header"))
}
