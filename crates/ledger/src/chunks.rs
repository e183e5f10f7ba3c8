use ketch_types::{ChunkHeaderHash, ChunksRoot, Hash, ShardId};

use crate::tree::CHUNKS;

/// The most siblings of a proof: a tree over the 1,000 shards of the largest layout is that deep.
pub const SIBLINGS_MAX: usize = 10;

/// The newest chunk header of every shard at one height, as its block commits to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    newest: Vec<(ShardId, ChunkHeaderHash)>,
}

impl Chunks {
    /// The shards in layout order, each with the hash of its newest header.
    pub fn new(newest: impl IntoIterator<Item = (ShardId, ChunkHeaderHash)>) -> Self {
        Self { newest: newest.into_iter().collect() }
    }

    /// The root that a block and its ledger info carry.
    pub fn root(&self) -> ChunksRoot {
        ChunksRoot::new(CHUNKS.root(self.newest.iter().map(leaf)))
    }

    /// The siblings that prove a shard's newest header, if it is this one.
    pub(crate) fn prove(&self, shard: ShardId, header: ChunkHeaderHash) -> Option<Vec<Hash>> {
        let index = self.newest.iter().position(|newest| *newest == (shard, header))?;
        let leaves: Vec<_> = self.newest.iter().map(leaf).collect();
        CHUNKS.prove(&leaves, index)
    }
}

/// The root over `shards`, in layout order, in which this shard's newest header is this one; none if
/// the layout lacks the shard, or its place does not have that many siblings.
pub(crate) fn root_of_proof(
    shards: &[ShardId],
    shard: ShardId,
    header: ChunkHeaderHash,
    siblings: &[Hash],
) -> Option<ChunksRoot> {
    let index = shards.iter().position(|id| *id == shard)?;
    let (count, index) = (u32::try_from(shards.len()).ok()?, u32::try_from(index).ok()?);
    let root = CHUNKS.root_of_proof(count, index, &leaf(&(shard, header)), siblings)?;
    Some(ChunksRoot::new(root))
}

fn leaf((shard, header): &(ShardId, ChunkHeaderHash)) -> [u8; 36] {
    let mut leaf = [0; 36];
    let (id, hash) = leaf.split_at_mut(4);
    id.copy_from_slice(&shard.0.to_le_bytes());
    hash.copy_from_slice(header.as_bytes());
    leaf
}

#[cfg(test)]
mod tests {
    use ketch_types::SHARDS_MAX;

    use super::*;

    fn chunks(shards: &[ShardId]) -> Chunks {
        Chunks::new(shards.iter().map(|shard| {
            let byte = u8::try_from(shard.0 % 251).unwrap();
            (*shard, ChunkHeaderHash::new([byte; 32]))
        }))
    }

    #[test]
    fn a_leaf_is_the_shard_and_the_hash() {
        let leaf = leaf(&(ShardId(0x0102), ChunkHeaderHash::new([9; 32])));
        assert_eq!(leaf[..5], [2, 1, 0, 0, 9]);
        let one = Chunks::new([(ShardId(0x0102), ChunkHeaderHash::new([9; 32]))]);
        assert_eq!(*one.root().as_bytes(), CHUNKS.root([leaf]));
    }

    #[test]
    fn no_shard_of_the_largest_layout_needs_more_siblings_than_may_be() {
        let shards: Vec<_> = (0..u32::try_from(SHARDS_MAX).unwrap()).map(ShardId).collect();
        let chunks = chunks(&shards);
        let mut most = 0;
        for at in [0, 1, 511, 512, 998, 999] {
            let (shard, header) = chunks.newest[at];
            let siblings = chunks.prove(shard, header).unwrap();
            assert_eq!(root_of_proof(&shards, shard, header, &siblings), Some(chunks.root()));
            most = most.max(siblings.len());
        }
        assert_eq!(most, SIBLINGS_MAX);
    }

    #[test]
    fn a_header_is_proven_only_for_its_shard_and_in_its_layouts_order() {
        let shards = [ShardId(10), ShardId(1), ShardId(7)];
        let chunks = chunks(&shards);
        let (shard, header) = chunks.newest[1];
        let siblings = chunks.prove(shard, header).unwrap();
        assert_eq!(chunks.prove(ShardId(10), header), None);
        assert_eq!(chunks.prove(ShardId(2), header), None);
        assert_ne!(root_of_proof(&shards, ShardId(10), header, &siblings), Some(chunks.root()));
        assert_eq!(root_of_proof(&shards, ShardId(2), header, &siblings), None);
        let sorted = [ShardId(1), ShardId(7), ShardId(10)];
        assert_ne!(root_of_proof(&sorted, shard, header, &siblings), Some(chunks.root()));
    }
}
