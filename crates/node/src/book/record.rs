//! The keys and the records of the database. Numbers in keys are big-endian, so that records are in
//! their order.

use ketch_ledger::{ChunkHeader, ChunkProof, SignedLedgerInfo};
use ketch_types::{Epoch, Height, LedgerInfoHash, ShardId};

/// The chain's id.
pub(super) const CHAIN_KEY: &[u8] = b"chain";
/// The newest head: a signed ledger info and its block.
pub(super) const HEAD_KEY: &[u8] = b"head";
/// The number that the next run gets.
pub(super) const NEXT_RUN_KEY: &[u8] = b"run";
/// By epoch, the signed ledger info that ends it.
pub(super) const END_PREFIX: &[u8] = b"end/";
/// By the hash of a ledger info that ends an epoch, that epoch.
pub(super) const HASH_PREFIX: &[u8] = b"hash/";
/// By epoch, the headers of all shards when it begins.
pub(super) const START_PREFIX: &[u8] = b"start/";
/// By the epoch that it ends, a waypoint's ledger info and the next epoch's info.
pub(super) const WAYPOINT_PREFIX: &[u8] = b"waypoint/";
/// By shard, its run and the header that it begins after.
pub(super) const SHARD_PREFIX: &[u8] = b"shard/";

pub(super) fn end_key(epoch: Epoch) -> Vec<u8> {
    [END_PREFIX, &epoch.0.to_be_bytes()].concat()
}

pub(super) fn hash_key(hash: &LedgerInfoHash) -> Vec<u8> {
    [HASH_PREFIX, hash.as_bytes()].concat()
}

pub(super) fn start_key(epoch: Epoch) -> Vec<u8> {
    [START_PREFIX, &epoch.0.to_be_bytes()].concat()
}

pub(super) fn waypoint_key(epoch: Epoch) -> Vec<u8> {
    [WAYPOINT_PREFIX, &epoch.0.to_be_bytes()].concat()
}

pub(super) fn shard_key(shard: ShardId) -> Vec<u8> {
    [SHARD_PREFIX, &shard.0.to_be_bytes()].concat()
}

/// The key of a chunk, or of a proof. A *run* is one stay of a shard in the book: whatever a shard
/// that begins anew has left behind is of another run, and so never taken for its own.
pub(super) fn run_key(run: u64, height: Height) -> [u8; 16] {
    let mut key = [0; 16];
    let (first, last) = key.split_at_mut(8);
    first.copy_from_slice(&run.to_be_bytes());
    last.copy_from_slice(&height.0.to_be_bytes());
    key
}

pub(super) fn run_of_key(key: &[u8]) -> Option<u64> {
    key.first_chunk().copied().map(u64::from_be_bytes)
}

/// The number that a key, or a record of nothing else, ends with.
pub(super) fn last_number(bytes: &[u8]) -> Option<u64> {
    bytes.last_chunk().copied().map(u64::from_be_bytes)
}

/// Two encodings in one record, the first behind its length.
pub(super) fn pair(first: &[u8], second: &[u8]) -> Vec<u8> {
    // What is first is a ledger info, of two MiB at most.
    let length = u32::try_from(first.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), first, second].concat()
}

pub(super) fn split_pair(record: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = record.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// A shard's run, and the header that it begins after.
pub(super) fn shard_record(run: u64, anchor: &ChunkHeader) -> Vec<u8> {
    [&run.to_be_bytes(), anchor.encode().as_slice()].concat()
}

pub(super) fn read_shard_record(record: &[u8]) -> Option<(u64, ChunkHeader)> {
    let (run, anchor) = record.split_first_chunk()?;
    Some((u64::from_be_bytes(*run), ChunkHeader::decode(anchor).ok()?))
}

/// A ledger info, and the proof of a shard's newest header under it.
pub(super) fn proof_record(signed: &SignedLedgerInfo, proof: &ChunkProof) -> Vec<u8> {
    pair(&signed.encode(), &proof.encode())
}

pub(super) fn read_proof_record(record: &[u8]) -> Option<(SignedLedgerInfo, ChunkProof)> {
    let (signed, proof) = split_pair(record)?;
    Some((SignedLedgerInfo::decode(signed).ok()?, ChunkProof::decode(proof).ok()?))
}
