//! The largest objects of the ledger, in the messages and frames that carry them.

use ketch_ledger::{
    BLOCK_BYTES, Block, CHUNK_RANGE_MAX, ChunkHeader, ChunkProof, ChunkRange, Chunks,
    ConsensusSigner, EPOCH_INFO_BYTES_MAX, EpochEnd, EpochInfo, LedgerInfo, OutputsCommit,
    Signature, SignedLedgerInfo, TransactionsCommit, Validator,
};
use ketch_types::{
    ChainId, Epoch, Height, PART_BYTES_MIN, PeerId, ShardId, ShardLayout, StateRoot,
};
use ketch_wire::limits::{EPOCH_ENDS_MAX, RANGE_BYTES_MAX};
use ketch_wire::{EpochEnds, Head, LedgerBytes, Proofs, Response, Waypoint, control_response};

const SHARDS: u32 = 1_000;

/// An epoch info of exactly as many bytes as there may be.
fn longest_epoch_info() -> EpochInfo {
    let shards = (0..SHARDS).map(ShardId).collect();
    let boundary = |at: u32| [&at.to_be_bytes()[..], &[0; 2_033]].concat();
    let boundaries = (1..SHARDS).map(boundary).collect();
    let layout = ShardLayout::new(shards, boundaries, PART_BYTES_MIN.into()).unwrap();
    let validator = |at: u32| {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&at.to_le_bytes());
        let (key, peer) = (ConsensusSigner::from_seed(&seed).key(), PeerId::new(&seed[..4]));
        Validator { key, power: 1, peer: peer.unwrap(), addresses: vec![], tracked: vec![] }
    };
    let validators = (0..967).map(validator).collect();
    let info = EpochInfo::new(Epoch(2), Height(3), 1, layout, validators).unwrap();
    assert_eq!(info.encode().len(), EPOCH_INFO_BYTES_MAX);
    info
}

/// The newest headers of all shards.
fn headers() -> Vec<ChunkHeader> {
    let root = StateRoot::new([7; 32]);
    (0..SHARDS).map(|shard| ChunkHeader::genesis(ShardId(shard), root)).collect()
}

fn chunks(headers: &[ChunkHeader]) -> Chunks {
    Chunks::new(headers.iter().map(|header| (header.shard(), header.hash())))
}

/// A ledger info with an epoch end and signatures, all of them as long as they may be.
fn longest_signed(chunks: &Chunks) -> SignedLedgerInfo {
    let info = longest_epoch_info();
    let epoch_end = Some(EpochEnd { next: info.hash(), info });
    let block = Block::genesis(0, chunks.root());
    let ledger_info = LedgerInfo::new(ChainId::new([1; 32]), &block, epoch_end);
    let signatures = (0..1_000).map(|at| (at, Signature([at as u8; 64]))).collect();
    let signed = SignedLedgerInfo { ledger_info, signatures };
    assert!(SignedLedgerInfo::decode(&signed.encode()).is_ok());
    signed
}

fn survives(response: &Response) {
    let message = response.encode().unwrap();
    assert!(control_response(&message).is_ok());
    assert_eq!(Response::decode(&message).as_ref(), Ok(response));
}

#[test]
fn the_longest_waypoint_head_epoch_end_and_proofs_fit_a_response() {
    let headers = headers();
    let chunks = chunks(&headers);
    let signed_ledger_info = LedgerBytes(longest_signed(&chunks).encode());
    let next_epoch_info = LedgerBytes(longest_epoch_info().encode());
    let signed = || signed_ledger_info.clone();
    survives(&Response::Waypoint(Waypoint { signed_ledger_info: signed(), next_epoch_info }));
    let proof = |header: &ChunkHeader| ChunkProof::new(&chunks, header.clone()).unwrap().encode();
    let proofs = headers.iter().map(|header| LedgerBytes(proof(header))).collect();
    survives(&Response::Proofs(Proofs::new(signed(), proofs).unwrap()));
    let ends = EpochEnds::fitting(std::iter::repeat_n(signed(), EPOCH_ENDS_MAX as usize)).unwrap();
    assert_eq!(ends.signed_ledger_infos().len(), 3);
    survives(&Response::EpochEnds(ends));
    let head = Head { signed_ledger_info: signed(), block: LedgerBytes(vec![0; BLOCK_BYTES]) };
    assert!(head.encode_gossip().is_err(), "a head as long as this is asked for");
    survives(&Response::Head(head));
}

#[test]
fn the_longest_chunk_range_fits_its_frame() {
    let mut newest = headers();
    let (first, root) = (newest[0].clone(), StateRoot::new([7; 32]));
    let mut range = vec![];
    for height in 1..=CHUNK_RANGE_MAX as u64 {
        let (transactions, outputs) = (TransactionsCommit::EMPTY, OutputsCommit::EMPTY);
        newest[0] = newest[0].next(Height(height), root, transactions, outputs).unwrap();
        range.push(newest[0].clone());
    }
    let chunks = chunks(&newest);
    let range = ChunkRange::new(longest_signed(&chunks), &chunks, &first, range).unwrap();
    assert!(range.encode().len() <= RANGE_BYTES_MAX);
    assert_eq!(ChunkRange::decode(&range.encode()), Ok(range));
}
