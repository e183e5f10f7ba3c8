//! What nearcore is bound by. Where no source says a number, it is one that does the baseline good.

use std::time::Duration;

/// The size of a part. *Units:* bytes. *Source:* nearcore's `STATE_PART_MEMORY_LIMIT`, 30 MiB of
/// trie nodes.
pub const NEARCORE_PART_BYTES: u32 = 30 << 20;

/// Requests of one shard at once, in a window that moves on with its oldest. *Source:* nearcore's
/// `sync_concurrency.per_shard`, passed to `buffered`.
pub(super) const REQUESTS_PER_SHARD: usize = 6;

/// Requests at once, over all shards; one that failed counts until its backoff is over. *Source:*
/// nearcore's `sync_concurrency.peer_downloads`.
pub(super) const REQUESTS_MAX: usize = 10;

/// A request of which nothing has come for this long has failed. *Source:* nearcore's
/// `state_sync_p2p_timeout`, there for the whole answer, so that slow lines never end one.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request that failed keeps its place. *Source:* nearcore's `state_sync_retry_backoff`.
pub(super) const RETRY_BACKOFF: Duration = Duration::from_secs(1);

/// Requests for parts that a node answers in [`THROTTLE_PERIOD`], whoever asks. *Source:* nearcore's
/// `state_requests_per_throttle_period`.
pub(super) const ANSWERS_PER_PERIOD: usize = 30;

/// The span in which answers are counted. *Source:* nearcore's `state_request_throttle_period`.
pub(super) const THROTTLE_PERIOD: Duration = Duration::from_secs(30);

/// Parts that are made at once. *Source:* nearcore's `state_request_server_threads`.
pub(super) const GENERATIONS_MAX: usize = 4;

/// What making one part takes. No source gives more than "seconds": it is the least of several.
pub(crate) const GENERATE_PART: Duration = Duration::from_secs(2);

/// How fast parts are applied during catching up, one at a time. *Units:* bytes per second.
/// No source gives a rate: it is what one lane of the coordinator's store does. *Source:* for one at a
/// time, nearcore issue 9769.
pub(crate) const APPLY_RATE: u64 = 100_000_000;

/// How long a block takes that is replayed. *Source:* one block in each of nearcore's 100 ms ticks.
pub(crate) const REPLAY_BLOCK: Duration = Duration::from_millis(100);

/// Blocks that are replayed by one job: few, so that what is applied is known soon.
pub(super) const REPLAY_BLOCKS: u64 = 10;

/// Outputs of one request. *Units:* bytes. No source: what the coordinator asks for by default.
pub(super) const OUTPUTS_BYTES: u64 = 8 << 20;

/// Hosts are looked for, and asked what they hold, no more often than this. No source: nearcore's
/// nodes hear of all hosts of the network, so it is as often as the coordinator does.
pub(super) const DISCOVERY_INTERVAL: Duration = Duration::from_secs(5);

/// The time between blocks that is assumed before it is measured. No source.
pub(super) const BLOCK_INTERVAL_PRIOR: Duration = Duration::from_secs(1);
