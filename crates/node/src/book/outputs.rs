//! What the book answers on outputs streams.

use fjall::Keyspace;
use ketch_ledger::{CHUNK_RANGE_MAX, ChunkHeader, ChunkRange, EPOCHS_KEPT};
use ketch_types::{Epoch, Height, ShardId};
use ketch_wire::{Budget, End, FrameHeader, FrameKind, Refusal};

use super::Book;
use super::chunks::Followed;
use super::disk::Disk;
use super::error::BookError;
use super::marks::Mark;
use super::record::{read_proof_record, run_key};

/// An answer on an outputs stream, frame by frame: the range, the outputs of its chunks while the
/// budget lasts, the end.
///
/// *Shape:* an iterator of whole frames, each made when it is asked for; after an error, or the end,
/// there is none. It holds no lock and no snapshot.
pub struct OutputsServed {
    outputs: Keyspace,
    run: u64,
    /// The range's frame, until it is taken.
    range: Option<Vec<u8>>,
    /// The heights and the bytes of the outputs that are to be sent.
    chunks: std::vec::IntoIter<(Height, u64)>,
    budget: Budget,
    ended: bool,
}

impl Book {
    /// The answer to a request for the outputs of a shard's chunks above `after`, checkable by who
    /// knows the epochs up to `newest_epoch`. Outer errors are ours.
    ///
    /// The range ends where the budget does, or soon after it, so far as proofs are kept.
    ///
    /// *Errors:* inner: [`Refusal::NotHeld`] where nothing above `after` is known, or nothing that
    /// can be checked; [`Refusal::NotRetained`] where the first chunks above it were dropped.
    pub fn outputs_answer(
        &self,
        shard: ShardId,
        after: Height,
        budget_bytes: u64,
        newest_epoch: Epoch,
    ) -> Result<Result<OutputsServed, Refusal>, BookError> {
        let Ok(followed) = self.followed(shard) else { return Ok(Err(Refusal::NotHeld)) };
        let before = match self.header_at(shard, after) {
            Ok(before) => before,
            Err(BookError::NotFollowed(_)) => return Ok(Err(Refusal::NotHeld)),
            Err(BookError::Gap { .. }) => return Ok(Err(Refusal::NotRetained)),
            Err(error) => return Err(error),
        };
        let mut headers = self.headers_after(&followed, after)?;
        let budget = Budget::new(budget_bytes);
        let Some(at) = choose(&followed, after, newest_epoch, &headers, budget) else {
            return Ok(Err(Refusal::NotHeld));
        };
        let Some(record) = self.disk.proofs.get(run_key(followed.run, at))? else {
            // Another proof took its place just now.
            return Ok(Err(Refusal::NotHeld));
        };
        let read = read_proof_record(&record);
        let (signed, proof) = read.ok_or_else(|| self.disk.malformed("proof"))?;
        headers.retain(|header| header.height() <= proof.header().height());
        let chunks: Vec<_> =
            headers.iter().map(|header| (header.height(), header.outputs().bytes)).collect();
        let [epoch_zero, _] = self.genesis.epochs();
        let range = ChunkRange::of_proof(signed, epoch_zero.layout(), proof, &before, headers);
        // Between reading one thing and another, what lies between may have been dropped.
        let Ok(range) = range else { return Ok(Err(Refusal::NotRetained)) };
        Ok(Ok(OutputsServed {
            outputs: self.disk.outputs.clone(),
            run: followed.run,
            range: Some(frame(FrameKind::Range, &range.encode())),
            chunks: chunks.into_iter(),
            budget,
            ended: false,
        }))
    }

    /// The headers of a shard above a height, as many as a range may have.
    fn headers_after(
        &self,
        followed: &Followed,
        after: Height,
    ) -> Result<Vec<ChunkHeader>, BookError> {
        let newest = followed.newest.height();
        if newest <= after {
            return Ok(Vec::new());
        }
        let records = Disk::run(&self.disk.headers, followed.run, after.next()..=newest);
        let header = |record: fjall::Guard| {
            let header = ChunkHeader::decode(&record.value()?);
            header.map_err(|_| self.disk.malformed("chunk header"))
        };
        records.take(CHUNK_RANGE_MAX).map(header).collect()
    }
}

/// The height of the ledger info that a range ends with: the first that lets all be sent that the
/// budget allows, else the last that leads anywhere.
fn choose(
    followed: &Followed,
    after: Height,
    newest_epoch: Epoch,
    headers: &[ChunkHeader],
    budget: Budget,
) -> Option<Height> {
    let reach = headers.last().map_or(followed.newest.height(), ChunkHeader::height);
    let mut usable: Vec<_> = followed.marks.usable(after, newest_epoch, reach).collect();
    // Who knows an epoch has dropped the infos of those long before it.
    let is_recent = |mark: &Mark| mark.epoch.0.saturating_add(EPOCHS_KEPT as u64) > newest_epoch.0;
    if usable.iter().any(|(_, mark)| is_recent(mark)) {
        usable.retain(|(_, mark)| is_recent(mark));
    }
    let goal = affordable(headers, budget);
    let first = usable.iter().find(|(_, mark)| goal.is_some_and(|goal| mark.header >= goal));
    first.or(usable.last()).map(|(at, _)| *at)
}

/// The height of the last chunk that the budget allows; none if it allows all.
fn affordable(headers: &[ChunkHeader], mut budget: Budget) -> Option<Height> {
    let spent = headers.iter().position(|header| !budget.admits(header.outputs().bytes))?;
    headers.get(spent.checked_sub(1)?).map(ChunkHeader::height)
}

impl OutputsServed {
    /// The next frame of outputs, or the end.
    fn next_outputs(&mut self) -> Result<Vec<u8>, BookError> {
        let next = self.chunks.next().filter(|(_, bytes)| self.budget.admits(*bytes));
        let Some((height, _)) = next else { return Ok(self.end(None)) };
        match self.outputs.get(run_key(self.run, height))? {
            Some(outputs) => Ok(frame(FrameKind::Outputs, &outputs)),
            // It was dropped since the range was made.
            None => Ok(self.end(Some(Refusal::NotRetained))),
        }
    }

    fn end(&mut self, refusal: Option<Refusal>) -> Vec<u8> {
        self.ended = true;
        End { refusal }.frame()
    }
}

impl Iterator for OutputsServed {
    type Item = Result<Vec<u8>, BookError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let frame = self.range.take().map_or_else(|| self.next_outputs(), Ok);
        self.ended |= frame.is_err();
        Some(frame)
    }
}

fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    // Outputs have at most 64 MiB and ranges 3, which 32 bits count.
    let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&FrameHeader { kind, body_bytes }.encode(), body].concat()
}
