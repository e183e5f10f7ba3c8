use ketch_types::{Hash, Height, ShardId, ShardLayout};
use thiserror::Error;

use crate::chunk_header::ChunkHeader;
use crate::chunks::{self, Chunks};
use crate::encoding::{Codec, DecodeError, ListField, Reader, write_list};
use crate::ledger_info::LedgerInfo;
use crate::verified_ledger_info::VerifiedLedgerInfo;

/// A shard's newest chunk header at some height, with the way up to the height's chunks root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkProof {
    header: ChunkHeader,
    siblings: Vec<Hash>,
}

/// Why a chunk header is not a shard's newest under a ledger info.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkProofFault {
    /// The layout has no such shard, or the header is of another.
    #[error("the chunk header is not of shard {0}, or the layout has no such shard")]
    Shard(ShardId),
    /// The header is of a greater height than the ledger info.
    #[error("the chunk header is of height {0}, above the ledger info's")]
    Height(Height),
    /// The siblings do not lead to the ledger info's chunks root.
    #[error("the chunk header is not proven by the ledger info's chunks root")]
    Proof,
}

impl ChunkProof {
    /// The proof that `header` is its shard's newest among `chunks`; none if it is not.
    pub fn new(chunks: &Chunks, header: ChunkHeader) -> Option<Self> {
        let siblings = chunks.prove(header.shard(), header.hash())?;
        Some(Self { header, siblings })
    }

    pub(crate) fn of_parts(header: ChunkHeader, siblings: Vec<Hash>) -> Self {
        Self { header, siblings }
    }

    pub(crate) fn into_siblings(self) -> Vec<Hash> {
        self.siblings
    }

    /// The header that this is about; nothing is believed of it unless the proof is verified.
    pub fn header(&self) -> &ChunkHeader {
        &self.header
    }

    /// Whether the header is its shard's newest under a ledger info of an epoch with this layout.
    pub(crate) fn leads_to(&self, ledger_info: &LedgerInfo, layout: &ShardLayout) -> bool {
        check_layout(ledger_info, layout, self.header.shard(), &self.header, &self.siblings).is_ok()
    }

    /// The newest chunk header of `shard` under a ledger info; its state after is the shard's root
    /// at that height.
    ///
    /// *Errors:* see [`ChunkProofFault`].
    pub fn verify(
        self,
        ledger_info: &VerifiedLedgerInfo,
        shard: ShardId,
    ) -> Result<ChunkHeader, ChunkProofFault> {
        check(ledger_info, shard, &self.header, &self.siblings)?;
        Ok(self.header)
    }

    /// The proof that all of `bytes` encode.
    ///
    /// *Errors:* see [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes(bytes)
    }

    /// The proof's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

impl Codec for ChunkProof {
    fn write(&self, out: &mut Vec<u8>) {
        self.header.write(out);
        write_siblings(out, &self.siblings);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { header: ChunkHeader::read(reader)?, siblings: read_siblings(reader)? })
    }
}

/// Checks that `header` is the newest of `shard` under a ledger info.
pub(crate) fn check(
    ledger_info: &VerifiedLedgerInfo,
    shard: ShardId,
    header: &ChunkHeader,
    siblings: &[Hash],
) -> Result<(), ChunkProofFault> {
    check_layout(ledger_info.ledger_info(), ledger_info.layout(), shard, header, siblings)
}

fn check_layout(
    ledger_info: &LedgerInfo,
    layout: &ShardLayout,
    shard: ShardId,
    header: &ChunkHeader,
    siblings: &[Hash],
) -> Result<(), ChunkProofFault> {
    let shards = layout.shards();
    if header.shard() != shard || !shards.contains(&shard) {
        return Err(ChunkProofFault::Shard(shard));
    }
    if header.height() > ledger_info.height {
        return Err(ChunkProofFault::Height(header.height()));
    }
    let root = chunks::root_of_proof(shards, shard, header.hash(), siblings);
    if root == Some(ledger_info.chunks_root) { Ok(()) } else { Err(ChunkProofFault::Proof) }
}

pub(crate) fn write_siblings(out: &mut Vec<u8>, siblings: &[Hash]) {
    write_list(out, siblings, |out, sibling| out.extend_from_slice(&sibling.0));
}

pub(crate) fn read_siblings(reader: &mut Reader<'_>) -> Result<Vec<Hash>, DecodeError> {
    reader.list(ListField::Siblings, |reader| reader.array().map(Hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Chain, every_bit_flipped, layout, only_decodes_whole};

    #[test]
    fn the_newest_header_of_every_shard_is_proven_at_every_height() {
        let chain = Chain::new();
        for height in 1..=20 {
            let ledger_info = chain.trust().verify(chain.signed(height)).unwrap();
            for shard in layout().shards() {
                let header = chain.newest(height, *shard);
                let proof = ChunkProof::new(&chain.chunks(height), header.clone()).unwrap();
                assert_eq!(proof.verify(&ledger_info, *shard).as_ref(), Ok(header));
            }
        }
    }

    #[test]
    fn a_header_that_is_not_the_newest_has_no_proof() {
        let chain = Chain::new();
        let old = chain.newest(3, ShardId(7));
        assert_ne!(old, chain.newest(9, ShardId(7)));
        assert_eq!(ChunkProof::new(&chain.chunks(9), old.clone()), None);
    }

    #[test]
    fn a_proof_is_refused_for_another_shard_another_height_or_another_root() {
        let chain = Chain::new();
        let proof = |height, shard| {
            let header = chain.newest(height, ShardId(shard)).clone();
            ChunkProof::new(&chain.chunks(height), header).unwrap()
        };
        let nine = chain.trust().verify(chain.signed(9)).unwrap();
        let verify = |proof: ChunkProof, shard| proof.verify(&nine, ShardId(shard)).unwrap_err();
        assert_eq!(verify(proof(9, 7), 1), ChunkProofFault::Shard(ShardId(1)));
        assert_eq!(verify(proof(9, 7), 2), ChunkProofFault::Shard(ShardId(2)));
        let later = proof(12, 7);
        let height = later.header.height();
        assert!(height > Height(9));
        assert_eq!(verify(later, 7), ChunkProofFault::Height(height));
        assert_eq!(verify(proof(5, 7), 7), ChunkProofFault::Proof);
    }

    #[test]
    fn a_header_of_a_shard_that_the_layout_lacks_is_refused() {
        let chain = Chain::new();
        let nine = chain.trust().verify(chain.signed(9)).unwrap();
        let root = chain.newest(9, ShardId(7)).state_after();
        let header = ChunkHeader::genesis(ShardId(2), root);
        let proof = ChunkProof { header, siblings: Vec::new() };
        let refused = proof.verify(&nine, ShardId(2));
        assert_eq!(refused, Err(ChunkProofFault::Shard(ShardId(2))));
    }

    #[test]
    fn a_proof_has_one_encoding_and_any_bit_changed_refuses_it() {
        let chain = Chain::new();
        let nine = chain.trust().verify(chain.signed(9)).unwrap();
        for shard in layout().shards() {
            let header = chain.newest(9, *shard).clone();
            let proof = ChunkProof::new(&chain.chunks(9), header).unwrap();
            only_decodes_whole(&proof);
            for other in every_bit_flipped(&proof.encode()) {
                if let Ok(other) = ChunkProof::decode(&other) {
                    assert!(other.verify(&nine, *shard).is_err());
                }
            }
        }
    }

    #[test]
    fn more_siblings_than_the_largest_layout_needs_are_refused() {
        let header = Chain::new().newest(9, ShardId(7)).clone();
        let of =
            |count| ChunkProof { header: header.clone(), siblings: vec![Hash([1; 32]); count] };
        assert_eq!(ChunkProof::decode(&of(10).encode()), Ok(of(10)));
        let refused = DecodeError::Count { list: ListField::Siblings, count: 11 };
        assert_eq!(ChunkProof::decode(&of(11).encode()), Err(refused));
    }
}
