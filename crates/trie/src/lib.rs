//! The shard state commitment, version 1: build, cut, verify, commit writes, compare.
//!
//! A shard's state is a set of entries `key -> value`; its *state root* commits to it through a
//! binary trie over the bits of the keys, whose leaves are *buckets* of up to 16 KiB of entries.
//! The trie's upper part, its [`Outline`], cuts the state into *parts*; a [`Manifest`] names them,
//! and [`Manifest::verify`] checks each one alone, in one pass over its bytes. A batch of [`Writes`]
//! touches only the buckets that it falls into and the nodes above them.
//!
//! What is *not* here: any store (a state is read through [`StateReader`]), any clock, thread,
//! randomness or IO. Nothing recurses over the depth of a trie, which an enemy may choose.
//!
//! ```
//! use ketch_trie::{Manifest, MemoryState, Outline, Writes};
//!
//! let mut writes = Writes::default();
//! writes.put(b"alice", b"17")?;
//! let mut state = MemoryState::default();
//! state.commit(&writes)?;
//!
//! let manifest = Manifest::new(Outline::of_state(&state, 4 << 20)?)?;
//! assert_eq!((manifest.root(), manifest.part_count()), (state.root(), 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod build;
mod commit;
mod compare;
mod descent;
mod entry;
mod manifest;
mod node;
mod node_builder;
mod open_bytes;
mod outline;
mod packed;
mod part;
mod prefix;
mod state;

pub use build::{BuildError, StateBuilder};
pub use commit::{CommitCost, Committed, Writes, commit, touched_buckets};
pub use compare::equal_parts;
pub use entry::{ENTRY_BYTES_MAX, ENTRY_BYTES_MIN, Entries, Entry, EntryError};
pub use manifest::{Manifest, ManifestError, Part, PartNodes};
pub use node::{BUCKET_BYTES, COMMIT_BYTES, COMMITMENT_VERSION, Children, Commit, state_root};
pub use outline::{
    Outline, OutlineChecker, OutlineFault, OutlineNode, OutlineWalk, RECORD_BYTES_MAX,
};
pub use packed::{PackedPart, Packing, UnpackError};
pub use part::{PartFault, VerifiedPart};
pub use prefix::{PREFIX_BITS_MAX, Prefix};
pub use state::{EmptyState, MemoryState, Overlay, OverlayNodes, ReadError, StateReader, Visit};
