//! The words of Ketch's domain: ids, epochs, shard layouts, hashes, part sets and time.
//!
//! Every other crate speaks in these types. A value that exists is valid: limits are checked where
//! a value is made, and nowhere else.
//!
//! What is *not* here: the commitment (`ketch-trie`), anything signed (`ketch-ledger`), any clock,
//! any IO.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod byte_size;
mod chance;
mod hash;
mod id;
mod instant;
mod key;
mod layout;
mod part_set;
mod peer;
mod text;

pub use byte_size::{ByteSize, ByteSizeError};
pub use chance::{Chance, mix};
pub use hash::{
    BlockHash, ChainId, ChunkHeaderHash, ChunksRoot, EpochInfoHash, Hash, HashError,
    LedgerInfoHash, NodeHash, OutputsRoot, PartHash, StateRoot, TransactionsRoot,
};
pub use id::{Epoch, Height, PartIndex, ShardId};
pub use instant::Instant;
pub use key::{KEY_BYTES_MAX, KeyRange, VALUE_BYTES_MAX};
pub use layout::{
    LayoutError, PART_BYTES_DEFAULT, PART_BYTES_MAX, PART_BYTES_MIN, SHARDS_MAX, ShardLayout,
};
pub use part_set::{PART_COUNT_MAX, PartSet, PartSetError};
pub use peer::{ADDRESS_BYTES_MAX, Address, OpaqueError, PEER_ID_BYTES_MAX, PeerId};
