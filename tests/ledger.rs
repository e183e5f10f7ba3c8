//! The ledger's bytes against vectors that were made from the page alone.

mod chain;
mod fields;
mod keys;
mod malformed;
mod objects;
mod trees;
mod vectors;

use ketch_ledger::{
    ConsensusKey, EpochEnd, EpochInfo, EpochInfoError, LedgerInfo, TrustPath, Validator,
};
use ketch_types::{
    BlockHash, ChainId, ChunksRoot, Epoch, Height, PART_BYTES_MIN, PeerId, ShardId, ShardLayout,
};

/// The chain of [`lone_validator`].
const CHAIN: ChainId = ChainId::new([0x11; 32]);

/// A path that begins with epoch 1 of [`CHAIN`], heights 11 to 20, with these shards and one
/// validator, who has this key.
fn lone_validator(shards: &[ShardId], key: ConsensusKey) -> TrustPath {
    let boundaries = (1..shards.len()).map(|at| u16::try_from(at).unwrap().to_be_bytes().to_vec());
    let boundaries = boundaries.collect();
    let layout = ShardLayout::new(shards.to_vec(), boundaries, PART_BYTES_MIN.into()).unwrap();
    let peer = PeerId::new(b"peer").unwrap();
    let validator = Validator { key, power: 1, peer, addresses: vec![], tracked: vec![] };
    let info = |epoch, first| -> Result<EpochInfo, EpochInfoError> {
        let (layout, validators) = (layout.clone(), vec![validator.clone()]);
        EpochInfo::new(Epoch(epoch), Height(first), 10, layout, validators)
    };
    let next = info(1, 11).unwrap();
    let epoch_end = EpochEnd { next: next.hash(), info: info(2, 21).unwrap() };
    let end = LedgerInfo { epoch_end: Some(epoch_end), ..ledger_info(0, 10, [0; 32]) };
    TrustPath::from_waypoint(CHAIN, end.hash(), end, next).unwrap().0
}

/// A ledger info of [`CHAIN`].
fn ledger_info(epoch: u64, height: u64, chunks_root: [u8; 32]) -> LedgerInfo {
    LedgerInfo {
        chain: CHAIN,
        epoch: Epoch(epoch),
        height: Height(height),
        block: BlockHash::new([0; 32]),
        chunks_root: ChunksRoot::new(chunks_root),
        epoch_end: None,
    }
}

/// BLAKE3 in keyed mode of these pieces, one after the other.
fn keyed(key: &[u8; 32], pieces: &[&[u8]]) -> [u8; 32] {
    *blake3::keyed_hash(key, &pieces.concat()).as_bytes()
}

/// A list's encoding: the count, then the items' encodings.
fn list<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Vec<u8> {
    let (mut count, mut encoded) = (0_u32, vec![0; 4]);
    for item in items {
        count += 1;
        encoded.extend_from_slice(item.as_ref());
    }
    encoded[..4].copy_from_slice(&count.to_le_bytes());
    encoded
}
