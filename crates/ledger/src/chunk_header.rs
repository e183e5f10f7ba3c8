use ketch_types::{ChunkHeaderHash, Height, OutputsRoot, ShardId, StateRoot, TransactionsRoot};
use thiserror::Error;

use crate::domain::{K_CHUNK, keyed};
use crate::encoding::{Codec, DecodeError, Reader};
use crate::list_commit::{ListCommit, OutputsCommit, TransactionsCommit};

/// The bytes of an encoded [`ChunkHeader`].
pub const CHUNK_HEADER_BYTES: usize = 196;

/// The most bytes that a chunk's transactions have, and the most that its outputs have.
///
/// *Units:* bytes. *Source:* the ledger's bytes, version 1.
pub const CHUNK_BYTES_MAX: u64 = 64 << 20;

/// The most transactions of a chunk, and the most outputs: each takes a byte at least.
pub const CHUNK_ITEMS_MAX: u32 = 64 << 20;

/// One shard's slice of one height: what it did to the shard's state.
///
/// *Shape:* at height 0 it is genesis': it follows nothing and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    shard: ShardId,
    height: Height,
    previous: ChunkHeaderHash,
    state_before: StateRoot,
    state_after: StateRoot,
    transactions: TransactionsCommit,
    outputs: OutputsCommit,
}

/// Why a chunk header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkHeaderError {
    /// A header at height 0 follows something or changes something.
    #[error("a chunk header at height 0 is not genesis'")]
    Genesis,
    /// A header's height is not above that of the one that it follows.
    #[error("a chunk header at height {next} cannot follow one at {previous}")]
    Height {
        /// The height of the header that is followed.
        previous: Height,
        /// The height that is not above it.
        next: Height,
    },
    /// There are more than [`CHUNK_ITEMS_MAX`] transactions or outputs.
    #[error("a chunk of {0} transactions or outputs, more than {CHUNK_ITEMS_MAX}")]
    Items(u32),
    /// Transactions or outputs have more than [`CHUNK_BYTES_MAX`] bytes.
    #[error("{0} bytes of transactions or outputs in a chunk, more than {CHUNK_BYTES_MAX}")]
    Bytes(u64),
    /// A list without items has no bytes and the root of nothing, and no other list has either.
    #[error("a chunk's count, bytes and root of a list do not agree on whether it is empty")]
    Empty,
}

impl ChunkHeader {
    /// The header at height 0 of a shard whose state at genesis has this root.
    pub fn genesis(shard: ShardId, root: StateRoot) -> Self {
        Self {
            shard,
            height: Height(0),
            previous: ChunkHeaderHash::new([0; 32]),
            state_before: root,
            state_after: root,
            transactions: TransactionsCommit::EMPTY,
            outputs: OutputsCommit::EMPTY,
        }
    }

    /// The header of the shard's next chunk after this one.
    ///
    /// *Errors:* all of [`ChunkHeaderError`] but `Genesis`.
    pub fn next(
        &self,
        height: Height,
        state_after: StateRoot,
        transactions: TransactionsCommit,
        outputs: OutputsCommit,
    ) -> Result<Self, ChunkHeaderError> {
        if height <= self.height {
            return Err(ChunkHeaderError::Height { previous: self.height, next: height });
        }
        let (shard, previous, state_before) = (self.shard, self.hash(), self.state_after);
        let header =
            Self { shard, height, previous, state_before, state_after, transactions, outputs };
        header.check()?;
        Ok(header)
    }

    /// The header that all of `bytes` encode.
    ///
    /// *Errors:* see [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes(bytes)
    }

    /// The header's one encoding, of [`CHUNK_HEADER_BYTES`].
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// The header's hash, which the shard's next header names.
    pub fn hash(&self) -> ChunkHeaderHash {
        ChunkHeaderHash::new(keyed(&K_CHUNK, &self.to_bytes()))
    }

    /// The shard whose chunk this is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The height of the block that the chunk came with.
    pub fn height(&self) -> Height {
        self.height
    }

    /// The hash of the shard's header before this one; zeros at height 0.
    pub fn previous(&self) -> ChunkHeaderHash {
        self.previous
    }

    /// The root of the shard's state before the chunk.
    pub fn state_before(&self) -> StateRoot {
        self.state_before
    }

    /// The root of the shard's state after the chunk.
    pub fn state_after(&self) -> StateRoot {
        self.state_after
    }

    /// What the header says of the chunk's transactions.
    pub fn transactions(&self) -> &TransactionsCommit {
        &self.transactions
    }

    /// What the header says of the chunk's outputs.
    pub fn outputs(&self) -> &OutputsCommit {
        &self.outputs
    }

    /// Whether this is the shard's next header after `previous`.
    pub fn follows(&self, previous: &ChunkHeader) -> bool {
        self.shard == previous.shard
            && self.height > previous.height
            && self.state_before == previous.state_after
            && self.previous == previous.hash()
    }

    fn check(&self) -> Result<(), ChunkHeaderError> {
        check_limits(&self.transactions)?;
        check_limits(&self.outputs)?;
        if self.height.0 == 0 && *self != Self::genesis(self.shard, self.state_before) {
            return Err(ChunkHeaderError::Genesis);
        }
        check_emptiness(&self.transactions, &TransactionsCommit::EMPTY)?;
        check_emptiness(&self.outputs, &OutputsCommit::EMPTY)
    }
}

impl Codec for ChunkHeader {
    fn write(&self, out: &mut Vec<u8>) {
        out.reserve(CHUNK_HEADER_BYTES);
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&self.height.0.to_le_bytes());
        out.extend_from_slice(self.previous.as_bytes());
        out.extend_from_slice(self.state_before.as_bytes());
        out.extend_from_slice(self.state_after.as_bytes());
        let ListCommit { root, count, bytes } = self.transactions;
        write_commit(out, root.as_bytes(), count, bytes);
        let ListCommit { root, count, bytes } = self.outputs;
        write_commit(out, root.as_bytes(), count, bytes);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = Self {
            shard: ShardId(reader.u32()?),
            height: Height(reader.u64()?),
            previous: ChunkHeaderHash::new(reader.array()?),
            state_before: StateRoot::new(reader.array()?),
            state_after: StateRoot::new(reader.array()?),
            transactions: read_commit(reader, TransactionsRoot::new)?,
            outputs: read_commit(reader, OutputsRoot::new)?,
        };
        header.check()?;
        Ok(header)
    }
}

fn write_commit(out: &mut Vec<u8>, root: &[u8; 32], count: u32, bytes: u64) {
    out.extend_from_slice(root);
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&bytes.to_le_bytes());
}

fn read_commit<R>(
    reader: &mut Reader<'_>,
    root: fn([u8; 32]) -> R,
) -> Result<ListCommit<R>, DecodeError> {
    Ok(ListCommit { root: root(reader.array()?), count: reader.u32()?, bytes: reader.u64()? })
}

fn check_limits<R>(commit: &ListCommit<R>) -> Result<(), ChunkHeaderError> {
    if commit.count > CHUNK_ITEMS_MAX {
        return Err(ChunkHeaderError::Items(commit.count));
    }
    if commit.bytes > CHUNK_BYTES_MAX {
        return Err(ChunkHeaderError::Bytes(commit.bytes));
    }
    Ok(())
}

/// Checks that count, bytes and root agree on whether there are items.
fn check_emptiness<R: PartialEq>(
    commit: &ListCommit<R>,
    empty: &ListCommit<R>,
) -> Result<(), ChunkHeaderError> {
    let is_empty = commit.count == 0;
    if (commit.bytes == 0) == is_empty && (commit.root == empty.root) == is_empty {
        Ok(())
    } else {
        Err(ChunkHeaderError::Empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{every_bit_flipped, header_after, only_decodes_whole};

    fn genesis() -> ChunkHeader {
        ChunkHeader::genesis(ShardId(7), StateRoot::new([1; 32]))
    }

    #[test]
    fn a_header_has_one_encoding_of_196_bytes() {
        for header in [genesis(), header_after(&genesis(), 9)] {
            assert_eq!(header.encode().len(), CHUNK_HEADER_BYTES);
            only_decodes_whole(&header);
        }
    }

    #[test]
    fn every_bit_of_a_header_counts() {
        let header = header_after(&genesis(), 9);
        for other in every_bit_flipped(&header.encode()) {
            let other = ChunkHeader::decode(&other).map(|header| header.hash());
            assert_ne!(other, Ok(header.hash()));
        }
    }

    #[test]
    fn a_header_follows_the_one_that_it_names_and_continues() {
        let (first, other) = (genesis(), ChunkHeader::genesis(ShardId(7), StateRoot::new([2; 32])));
        let second = header_after(&first, 4);
        assert!(second.follows(&first) && !second.follows(&other) && !second.follows(&second));
        let third = header_after(&second, 5);
        assert!(third.follows(&second) && !third.follows(&first));
        let of_another_shard = ChunkHeader { shard: ShardId(1), ..second.clone() };
        let low = ChunkHeader { height: Height(0), ..second.clone() };
        let jumped = ChunkHeader { state_before: StateRoot::new([9; 32]), ..second };
        assert!(![of_another_shard, low, jumped].iter().any(|header| header.follows(&first)));
    }

    #[test]
    fn a_header_at_height_0_follows_nothing_and_changes_nothing() {
        let refused = |header: ChunkHeader| ChunkHeader::decode(&header.encode()).unwrap_err();
        for header in [
            ChunkHeader { previous: ChunkHeaderHash::new([1; 32]), ..genesis() },
            ChunkHeader { state_after: StateRoot::new([9; 32]), ..genesis() },
            ChunkHeader {
                outputs: OutputsCommit { count: 1, ..OutputsCommit::EMPTY },
                ..genesis()
            },
            ChunkHeader {
                transactions: TransactionsCommit { bytes: 1, ..TransactionsCommit::EMPTY },
                ..genesis()
            },
            ChunkHeader {
                outputs: OutputsCommit { root: OutputsRoot::new([0; 32]), ..OutputsCommit::EMPTY },
                ..genesis()
            },
        ] {
            assert_eq!(refused(header), DecodeError::ChunkHeader(ChunkHeaderError::Genesis));
        }
    }

    #[test]
    fn a_list_is_empty_in_its_count_its_bytes_and_its_root_or_in_none() {
        let (empty, root) = (OutputsCommit::EMPTY.root, OutputsRoot::new([3; 32]));
        let next = |root, count, bytes| {
            let outputs = OutputsCommit { root, count, bytes };
            let (after, none) = (StateRoot::new([2; 32]), TransactionsCommit::EMPTY);
            genesis().next(Height(1), after, none, outputs).map(drop)
        };
        assert_eq!((next(empty, 0, 0), next(root, 1, 6)), (Ok(()), Ok(())));
        for (root, count, bytes) in
            [(root, 0, 0), (empty, 1, 0), (empty, 0, 6), (root, 1, 0), (root, 0, 6), (empty, 1, 6)]
        {
            assert_eq!(next(root, count, bytes), Err(ChunkHeaderError::Empty));
        }
        let mut header = header_after(&genesis(), 9);
        header.transactions.bytes = 0;
        let refused = ChunkHeader::decode(&header.encode());
        assert_eq!(refused, Err(ChunkHeaderError::Empty.into()));
    }

    #[test]
    fn counts_and_bytes_have_limits() {
        let (root, none) = (StateRoot::new([2; 32]), TransactionsCommit::EMPTY);
        let next = |count, bytes| {
            let outputs = OutputsCommit { root: OutputsRoot::new([3; 32]), count, bytes };
            genesis().next(Height(1), root, none, outputs).map(|_| ())
        };
        assert_eq!(next(64 << 20, 64 << 20), Ok(()));
        assert_eq!(next((64 << 20) + 1, 0), Err(ChunkHeaderError::Items((64 << 20) + 1)));
        assert_eq!(next(0, (64 << 20) + 1), Err(ChunkHeaderError::Bytes((64 << 20) + 1)));
        let low = genesis().next(Height(0), root, none, OutputsCommit::EMPTY);
        let height = ChunkHeaderError::Height { previous: Height(0), next: Height(0) };
        assert_eq!(low, Err(height));
    }
}
