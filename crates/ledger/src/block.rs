use ketch_types::{BlockHash, ChunksRoot, Epoch, Height};
use thiserror::Error;

use crate::domain::{K_BLOCK, keyed};
use crate::encoding::{Codec, DecodeError, Reader};

/// The bytes of an encoded [`Block`].
pub const BLOCK_BYTES: usize = 88;

/// One height of the chain, with the newest chunk header of every shard under one root.
///
/// *Shape:* the block at height 0 is genesis': of epoch 0, and without a block before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    height: Height,
    epoch: Epoch,
    time_ms: u64,
    previous: BlockHash,
    chunks_root: ChunksRoot,
}

/// Why a block is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlockError {
    /// The block at height 0 is of epoch 0 and follows nothing.
    #[error("the block at height 0 is not genesis'")]
    Genesis,
    /// No height follows the last one.
    #[error("no block follows the one at the last height")]
    LastHeight,
}

impl Block {
    /// The block at height 0.
    pub fn genesis(time_ms: u64, chunks_root: ChunksRoot) -> Self {
        let previous = BlockHash::new([0; 32]);
        Self { height: Height(0), epoch: Epoch(0), time_ms, previous, chunks_root }
    }

    /// The block after this one, made at `time_ms` in `epoch`.
    ///
    /// *Errors:* [`BlockError::LastHeight`].
    pub fn next(
        &self,
        epoch: Epoch,
        time_ms: u64,
        chunks_root: ChunksRoot,
    ) -> Result<Self, BlockError> {
        let height = self.height.0.checked_add(1).map(Height).ok_or(BlockError::LastHeight)?;
        Ok(Self { height, epoch, time_ms, previous: self.hash(), chunks_root })
    }

    /// The block that all of `bytes` encode.
    ///
    /// *Errors:* see [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes(bytes)
    }

    /// The block's one encoding, of [`BLOCK_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// The block's hash, which the next block and its ledger info name.
    pub fn hash(&self) -> BlockHash {
        BlockHash::new(keyed(&K_BLOCK, &self.to_bytes()))
    }

    /// The block's number.
    pub fn height(&self) -> Height {
        self.height
    }

    /// The epoch that the block belongs to; 0 for genesis', which belongs to none.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When the block was made. *Units:* milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The hash of the block before; zeros at height 0.
    pub fn previous(&self) -> BlockHash {
        self.previous
    }

    /// The root of the tree over the shards' newest chunk headers.
    pub fn chunks_root(&self) -> ChunksRoot {
        self.chunks_root
    }
}

impl Codec for Block {
    fn write(&self, out: &mut Vec<u8>) {
        out.reserve(BLOCK_BYTES);
        out.extend_from_slice(&self.height.0.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        out.extend_from_slice(self.previous.as_bytes());
        out.extend_from_slice(self.chunks_root.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let block = Self {
            height: Height(reader.u64()?),
            epoch: Epoch(reader.u64()?),
            time_ms: reader.u64()?,
            previous: BlockHash::new(reader.array()?),
            chunks_root: ChunksRoot::new(reader.array()?),
        };
        if block.height.0 == 0 && block != Self::genesis(block.time_ms, block.chunks_root) {
            return Err(BlockError::Genesis.into());
        }
        Ok(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{every_bit_flipped, only_decodes_whole};

    fn genesis() -> Block {
        Block::genesis(1_700_000_000_000, ChunksRoot::new([3; 32]))
    }

    fn second() -> Block {
        genesis().next(Epoch(0), 1_700_000_001_000, ChunksRoot::new([4; 32])).unwrap()
    }

    #[test]
    fn a_block_has_one_encoding_of_88_bytes() {
        for block in [genesis(), second()] {
            assert_eq!(block.encode().len(), BLOCK_BYTES);
            only_decodes_whole(&block);
        }
    }

    #[test]
    fn every_bit_of_a_block_counts() {
        for other in every_bit_flipped(&second().encode()) {
            let other = Block::decode(&other).map(|block| block.hash());
            assert_ne!(other, Ok(second().hash()));
        }
    }

    #[test]
    fn a_block_names_the_one_before_it() {
        assert_eq!((second().height(), second().previous()), (Height(1), genesis().hash()));
        let last = Block { height: Height(u64::MAX), ..genesis() };
        let after = last.next(Epoch(9), 0, ChunksRoot::new([0; 32]));
        assert_eq!(after, Err(BlockError::LastHeight));
    }

    #[test]
    fn a_block_at_height_0_is_genesis() {
        let epoch = Block { epoch: Epoch(1), ..genesis() };
        let previous = Block { previous: BlockHash::new([1; 32]), ..genesis() };
        for block in [epoch, previous] {
            let refused = Block::decode(&block.encode());
            assert_eq!(refused, Err(DecodeError::Block(BlockError::Genesis)));
        }
    }
}
