//! What a node trusts, byte by byte: `docs/ledger.md`, version 1.
//!
//! A [`TrustPath`] begins at a [`Genesis`] or at a waypoint and holds the validator sets of the
//! newest epochs. It makes a [`VerifiedLedgerInfo`] of a [`SignedLedgerInfo`] that a quorum has
//! signed; a [`ChunkProof`] leads from there to one shard's newest [`ChunkHeader`] and so to its
//! state root, and a [`ChunkRange`] from a header that is trusted to a later one. What a chunk
//! writes are its [`Outputs`], checked against its header.
//!
//! What is *not* here: consensus (ledger infos come signed), forks (only final blocks exist), the
//! state (`ketch-trie`), the messages that all of this travels in (`ketch-wire`), any clock, thread,
//! randomness or IO.
//!
//! ```
//! use ketch_ledger::{ChunkProof, SignedLedgerInfo, TrustPath};
//! use ketch_types::{ShardId, StateRoot};
//!
//! /// The root of a shard's state at the height of a ledger info.
//! fn state_root(
//!     trust: &TrustPath,
//!     signed: SignedLedgerInfo,
//!     proof: ChunkProof,
//!     shard: ShardId,
//! ) -> Result<StateRoot, Box<dyn std::error::Error>> {
//!     let ledger_info = trust.verify(signed)?;
//!     Ok(proof.verify(&ledger_info, shard)?.state_after())
//! }
//! ```

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod block;
mod chunk_header;
mod chunk_proof;
mod chunk_range;
mod chunks;
mod consensus_key;
mod domain;
mod encoding;
mod epoch_info;
#[cfg(test)]
mod fixture;
mod genesis;
mod ledger_info;
mod list_commit;
mod outputs;
mod tree;
mod trust_path;
mod validator;
mod verified_ledger_info;

pub use block::{BLOCK_BYTES, Block, BlockError};
pub use chunk_header::{
    CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, CHUNK_ITEMS_MAX, ChunkHeader, ChunkHeaderError,
};
pub use chunk_proof::{ChunkProof, ChunkProofFault};
pub use chunk_range::{
    CHUNK_RANGE_MAX, ChunkRange, RangeError, RangeFault, RangeRefusal, VerifiedRange,
};
pub use chunks::{Chunks, SIBLINGS_MAX};
pub use consensus_key::{ConsensusKey, ConsensusKeyError, ConsensusSigner, Signature};
pub use encoding::{BytesField, DecodeError, ListField};
pub use epoch_info::{EPOCH_INFO_BYTES_MAX, EpochInfo, EpochInfoError};
pub use genesis::{Genesis, GenesisError, NAME_BYTES_MAX};
pub use ledger_info::{EpochEnd, LedgerInfo, LedgerPlace, SignedLedgerInfo};
pub use list_commit::{
    ListCommit, OutputsCommit, TRANSACTION_BYTES_MAX, TransactionsCommit, TransactionsError,
};
pub use outputs::{Outputs, OutputsError, OutputsFault};
pub use trust_path::{Advance, EPOCHS_KEPT, TrustPath, WaypointError};
pub use validator::{ADDRESSES_MAX, VALIDATORS_MAX, Validator};
pub use verified_ledger_info::{LedgerFault, LedgerRefusal, VerifiedLedgerInfo};
