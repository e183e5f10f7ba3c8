//! Every limit of the protocol, and why it is this number.

use std::time::Duration;

/// The longest request, of control and at a stream's start: the largest bitmap takes 131,344 bytes,
/// and half as much again is room for what a later version adds. *Units:* bytes.
pub const REQUEST_BYTES_MAX: usize = 192 << 10;

/// The longest response: about a second on a link of 64 Mbit/s, and small enough for dozens of peers
/// to be read at once. *Units:* bytes.
pub const RESPONSE_BYTES_MAX: usize = 8 << 20;

/// The longest gossip message: twice the largest bitmap, since each of them is passed on many times.
/// A head that ends an epoch may be longer: it is asked for instead. *Units:* bytes.
pub const GOSSIP_BYTES_MAX: usize = 256 << 10;

/// The longest end of an answer: the largest bitmap and 16 KiB for what a later version adds.
/// *Units:* bytes.
pub const END_BYTES_MAX: usize = 144 << 10;

pub use ketch_types::PART_COUNT_MAX;

/// The most shards that a summary is asked of: more than a validator tracks in two epochs.
pub const SUMMARY_SHARDS_MAX: usize = 16;

/// The most holdings of a summary: four epochs of each shard that can be asked of.
pub const HOLDINGS_MAX: usize = 64;

/// The most followings of a summary: as many as holdings.
pub const FOLLOWINGS_MAX: usize = 64;

/// The most epoch ends of one request: with a hundred validators they fill a quarter of a response.
pub const EPOCH_ENDS_MAX: u32 = 64;

/// The most chunk proofs of one request: one of each shard of the largest layout.
pub const PROOF_SHARDS_MAX: usize = ketch_types::SHARDS_MAX;

/// The longest that a busy node may ask another to wait: beyond that the asker knows more of its own
/// deadline than the node knows of its load.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// How far ahead an announcement may expire: what is announced and gone is wrong no longer than this.
pub const EXPIRY_AHEAD_MAX: Duration = Duration::from_secs(60 * 60);

/// The longest outline frame: one read's worth, so that an enemy's records are checked as they come.
/// *Units:* bytes.
pub const OUTLINE_FRAME_BYTES_MAX: usize = 64 << 10;

/// The longest chunk range: 4,096 headers take 0.8 MiB, the rest is room for the largest signed ledger
/// info, of 2.1 MiB, and for what a later version adds. *Units:* bytes.
pub const RANGE_BYTES_MAX: usize = 8 << 20;

/// The topics over which held parts are announced: gossipsub ignores messages that name more than a
/// hundred topics, so there are buckets of shards instead of one topic for each.
pub const HELD_TOPICS: u32 = 16;
