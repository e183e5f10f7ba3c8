//! The chunk headers of all shards at the starts of epochs.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ketch_ledger::{
    CHUNK_HEADER_BYTES, ChunkHeader, ChunkProof, Chunks, Genesis, LedgerFault, LedgerPlace,
    SignedLedgerInfo, VerifiedLedgerInfo,
};
use ketch_types::{Epoch, Height, ShardId, StateRoot};
use ketch_wire::{LedgerBytes, Proofs, ProofsRequest};

use super::Book;
use super::disk::Disk;
use super::error::{BookError, PeerFault, TakeError};
use super::record::{START_PREFIX, last_number, start_key};

/// The newest chunk header of every shard when an epoch begins, and so the roots of all states.
#[derive(Debug)]
pub struct EpochStartRecord {
    epoch: Epoch,
    height: Height,
    /// In layout order.
    headers: Vec<ChunkHeader>,
    /// The proof of each, made when it is first asked for.
    proofs: OnceLock<Vec<Option<ChunkProof>>>,
}

impl EpochStartRecord {
    fn new(epoch: Epoch, height: Height, headers: Vec<ChunkHeader>) -> Self {
        Self { epoch, height, headers, proofs: OnceLock::new() }
    }

    /// The epoch that begins.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The height of the block before its first one.
    pub fn height(&self) -> Height {
        self.height
    }

    /// The newest header of every shard at that height, in layout order.
    pub fn headers(&self) -> &[ChunkHeader] {
        &self.headers
    }

    /// The newest header of one shard at that height.
    pub fn header(&self, shard: ShardId) -> Option<&ChunkHeader> {
        self.headers.iter().find(|header| header.shard() == shard)
    }

    /// The roots of the shards' states.
    pub fn roots(&self) -> BTreeMap<ShardId, StateRoot> {
        self.headers.iter().map(|header| (header.shard(), header.state_after())).collect()
    }

    /// The proof of one shard's header.
    pub(super) fn proof(&self, shard: ShardId) -> Option<&ChunkProof> {
        let proofs = self.proofs.get_or_init(|| {
            let chunks = chunks(&self.headers);
            self.headers.iter().map(|header| ChunkProof::new(&chunks, header.clone())).collect()
        });
        let at = self.headers.iter().position(|header| header.shard() == shard)?;
        proofs.get(at)?.as_ref()
    }
}

impl Book {
    /// The start of an epoch, if it is known and kept. That of epoch 0 is genesis' and always is.
    pub fn start(&self, epoch: Epoch) -> Option<Arc<EpochStartRecord>> {
        self.known().starts.get(&epoch).map(Arc::clone)
    }

    /// The epochs whose start is known and kept.
    pub fn starts(&self) -> Vec<Epoch> {
        self.known().starts.keys().copied().collect()
    }

    /// What to ask a peer for to learn the start of an epoch: the proofs of all shards before its
    /// first height. None where the epoch's info is not known.
    pub fn start_request(&self, epoch: Epoch) -> Option<ProofsRequest> {
        let trust = self.trust();
        let info = trust.epoch(epoch)?;
        let height = Height(info.first_height().0.checked_sub(1)?);
        let mut shards = info.layout().shards().to_vec();
        shards.sort_unstable();
        ProofsRequest::new(height, shards).ok()
    }

    /// Takes a peer's answer to [`start_request`](Self::start_request).
    ///
    /// *Errors:* [`PeerFault`], by the protocol's rules of that answer; [`TakeError::UnknownEpoch`]
    /// where the info of the epoch before is not known.
    pub fn take_proofs(
        &self,
        epoch: Epoch,
        answer: &Proofs,
    ) -> Result<Arc<EpochStartRecord>, TakeError> {
        let asked = self.start_request(epoch).ok_or(TakeError::UnknownEpoch(epoch))?;
        let (expected, got) = (asked.shards().len(), answer.chunk_proofs().len());
        if expected != got {
            return Err(PeerFault::Items { expected, got }.into());
        }
        let ledger_info = self.ledger_info_at(asked.height(), &answer.signed_ledger_info().0)?;
        let mut headers = BTreeMap::new();
        for (shard, proof) in asked.shards().iter().zip(answer.chunk_proofs()) {
            let header = ChunkProof::decode(&proof.0)?.verify(&ledger_info, *shard);
            let refused = |fault| PeerFault::Proof(*shard, fault);
            headers.insert(*shard, header.map_err(refused)?);
        }
        let in_order = ledger_info.layout().shards().iter();
        let headers = in_order.filter_map(|shard| headers.remove(shard)).collect();
        Ok(self.take_start(&ledger_info, headers)?)
    }

    /// Checks a ledger info that was asked for by its height. The one where trust begins is believed
    /// by its waypoint.
    fn ledger_info_at(
        &self,
        height: Height,
        signed: &[u8],
    ) -> Result<VerifiedLedgerInfo, TakeError> {
        let place = LedgerPlace::peek(signed)?;
        if place.height != height {
            return Err(LedgerFault::NotAsked.into());
        }
        let (trust, base) = {
            let known = self.known();
            (Arc::clone(&known.trusted.path), known.trusted.base.clone())
        };
        if let Some(base) = base.filter(|base| base.ledger_info().place() == place) {
            let signed = SignedLedgerInfo::decode(signed)?;
            if signed.ledger_info == *base.ledger_info() {
                return Ok(VerifiedLedgerInfo::clone(&base));
            }
            return Err(TakeError::UnknownEpoch(place.epoch));
        }
        trust.may_verify(&place)?;
        Ok(trust.verify_at(height, SignedLedgerInfo::decode(signed)?)?)
    }

    /// Stores the newest header of every shard, in layout order, at the end of an epoch: the start of
    /// the next one. The shards that are followed get a proof there, so that what they pass on can end
    /// with the epoch. Doing so again changes nothing.
    ///
    /// *Errors:* [`BookError::NotAStart`] unless they are what the ledger info names.
    pub fn take_start(
        &self,
        ledger_info: &VerifiedLedgerInfo,
        headers: Vec<ChunkHeader>,
    ) -> Result<Arc<EpochStartRecord>, BookError> {
        let info = ledger_info.ledger_info();
        let shards = headers.iter().map(ChunkHeader::shard);
        if info.epoch_end.is_none()
            || !shards.eq(ledger_info.layout().shards().iter().copied())
            || chunks(&headers).root() != info.chunks_root
        {
            return Err(BookError::NotAStart);
        }
        let _writing = self.writing();
        let epoch = info.epoch.next();
        if let Some(start) = self.start(epoch) {
            return Ok(start);
        }
        let start = Arc::new(EpochStartRecord::new(epoch, info.height, headers));
        let mut batch = self.disk.batch()?;
        batch.insert(&self.disk.meta, start_key(epoch), encode(&start));
        let marked = match ledger_info.signed() {
            Some(signed) => self.put_start_proofs(&mut batch, &start, signed),
            None => Vec::new(),
        };
        self.disk.commit_synced(batch)?;
        let mut known = self.known_mut();
        known.starts.insert(epoch, Arc::clone(&start));
        known.set_marks(marked);
        Ok(start)
    }

    /// The proofs of some shards at an epoch's start, with its signed ledger info; none where a shard
    /// is unknown, or no signatures are.
    pub(super) fn proofs(
        &self,
        start: &EpochStartRecord,
        shards: &[ShardId],
    ) -> Result<Option<Proofs>, BookError> {
        let ended = start.epoch.0.checked_sub(1).map(Epoch);
        let signed = ended.map(|ended| self.end_bytes(ended)).transpose()?.flatten();
        let proof = |shard: &ShardId| start.proof(*shard).map(|proof| LedgerBytes(proof.encode()));
        let proofs: Option<Vec<_>> = shards.iter().map(proof).collect();
        let both = signed.zip(proofs);
        Ok(both.and_then(|(signed, proofs)| Proofs::new(LedgerBytes(signed), proofs).ok()))
    }
}

/// The starts that are stored, and genesis'.
pub(super) fn load(
    disk: &Disk,
    genesis: &Genesis,
) -> Result<BTreeMap<Epoch, Arc<EpochStartRecord>>, BookError> {
    let headers = genesis.chunk_headers().collect();
    let of_genesis = EpochStartRecord::new(Epoch(0), Height(0), headers);
    let mut starts = BTreeMap::from([(Epoch(0), Arc::new(of_genesis))]);
    for record in disk.meta.prefix(START_PREFIX) {
        let (key, value) = record.into_inner()?;
        let epoch = last_number(&key).map(Epoch);
        let start = epoch.and_then(|epoch| decode(epoch, &value));
        let start = start.ok_or_else(|| disk.malformed("epoch start"))?;
        starts.insert(start.epoch, Arc::new(start));
    }
    Ok(starts)
}

fn encode(start: &EpochStartRecord) -> Vec<u8> {
    let mut record = start.height.0.to_be_bytes().to_vec();
    start.headers.iter().for_each(|header| record.extend(header.encode()));
    record
}

fn decode(epoch: Epoch, record: &[u8]) -> Option<EpochStartRecord> {
    let (height, headers) = record.split_first_chunk()?;
    let headers: Result<_, _> =
        headers.chunks(CHUNK_HEADER_BYTES).map(ChunkHeader::decode).collect();
    let height = Height(u64::from_be_bytes(*height));
    Some(EpochStartRecord::new(epoch, height, headers.ok()?))
}

fn chunks(headers: &[ChunkHeader]) -> Chunks {
    Chunks::new(headers.iter().map(|header| (header.shard(), header.hash())))
}
