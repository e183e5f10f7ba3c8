//! A shard's state on disk: one fjall database per shard, and the cache of packed parts.
//!
//! A database holds the sorted entries of one state and beside them the trie's inner nodes, so that
//! reading a part is one range scan and a chunk's writes touch only the buckets they fall into. Per
//! epoch one keyspace holds the values that keys had before their first write in it, so the state at
//! an epoch's start stays readable while the head moves on.
//!
//! A state arrives in *windows* of verified parts, each replacing everything in its key range, in
//! any order. What a range holds is said by *marks*; what no mark covers is read and hashed before
//! it is believed.
//!
//! What is *not* here: any decision about what to fetch, any network, any async. Every call may
//! block for as long as the disk does, and belongs on a thread that may.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod cache;
mod chunk;
mod config;
mod epoch;
mod error;
mod folder;
mod import;
mod marks;
mod read_ahead;
mod reconcile;
mod record;
mod sentinel;
mod shard;
mod view;
mod window;

pub use cache::{CacheError, PartCache};
pub use chunk::Chunk;
pub use config::StoreConfig;
pub use epoch::EpochView;
pub use error::StoreError;
pub use folder::make_whole;
pub use record::Head;
pub use sentinel::OPENINGS_MAX;
pub use shard::{Opened, Pressure, ShardStore};
pub use view::StateView;
