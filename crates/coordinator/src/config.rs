use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an operator, or a simulation, can set of the coordinator. Every bound of it has a name here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Verified bytes that may wait or be under way, over all shards. *Units:* bytes.
    pub memory_bytes: u64,
    /// The size of a window: fjall ingests ranges of this size at full speed. *Units:* bytes.
    pub window_bytes: u64,
    /// The smallest window, for shards that are fetched in as many windows as it takes to share them
    /// with others who fetch them too. *Units:* bytes.
    pub window_bytes_min: u64,
    /// An open window that is this old is applied as far as it has come.
    pub window_age_max: Duration,
    /// Windows that are applied at once, over all shards. Three lanes measured best on two cores.
    pub applies_max: usize,
    /// The most bytes that are under way from one peer. *Units:* bytes.
    pub peer_bytes_max: u64,
    /// No more is asked of a peer than it sends in this time, or two parts: longer than any answer's
    /// way back and forth, and short, since what has been asked of one cannot be asked of another that
    /// comes to hold it.
    pub ask_ahead: Duration,
    /// Requests to one peer at once.
    pub peer_requests_max: usize,
    /// One choice of a peer in so many is an experiment.
    pub experiment_one_in: usize,
    /// A request without any progress for this long has failed.
    pub stall_timeout: Duration,
    /// The wait for a request's hedge until answers of its kind have been measured.
    pub hedge_prior: Duration,
    /// The shortest wait for a hedge: below it a second request costs more than it saves.
    pub hedge_min: Duration,
    /// How long a ban lasts.
    pub ban: Duration,
    /// How long a peer is left alone after its first failure; doubled by each further one.
    pub backoff: Duration,
    /// The longest time that a peer is left alone.
    pub backoff_max: Duration,
    /// Bans within [`Config::suspicion`] after which we suspect ourselves instead.
    pub bans_max: usize,
    /// The span in which bans are counted, and for which a suspicion lasts.
    pub suspicion: Duration,
    /// Announcements of one shard come no closer together than this.
    pub announce_interval: Duration,
    /// An announcement is repeated after this time, well before it expires.
    pub announce_refresh: Duration,
    /// Usable holders of a shard under which more are looked for.
    pub holders_wanted: usize,
    /// Searches for holders of one shard come no closer together than this.
    pub search_interval: Duration,
    /// A peer's word about what it holds is asked for again after this time.
    pub summary_interval: Duration,
    /// How often verdicts are made anew.
    pub verdict_interval: Duration,
    /// Slack by which one shard must be worse off than another before it overtakes it.
    pub hysteresis: Duration,
    /// A shard that is at risk for this long, and could not be in time even at the best rate seen, is
    /// called impossible.
    pub impossible_after: Duration,
    /// A shard is called impossible once nobody in reach has held what it misses for this long.
    pub holderless_max: Duration,
    /// A download without anything verified or applied for this long is begun anew from what is
    /// durable.
    pub watchdog: Duration,
    /// The rate of download that is assumed before one is measured. *Units:* bytes per second.
    pub download_prior: u64,
    /// The rate of replay that is assumed before one is measured. *Units:* blocks per second.
    pub replay_prior: u64,
    /// The time between blocks that is assumed before it is measured.
    pub block_interval_prior: Duration,
    /// The share of a state that is assumed to change in an epoch. *Units:* per thousand.
    pub change_per_mille_prior: u64,
    /// Outputs of one request. *Units:* bytes.
    pub outputs_bytes: u64,
    /// Streams that we serve at once.
    pub asks_max: usize,
    /// Of these, how many only validators of this epoch and the next may take.
    pub asks_for_validators: usize,
    /// Streams that one peer may have open at once.
    pub asks_per_peer: usize,
    /// Parts that are sent at once, over all streams; slow ones do not count.
    pub sends_max: usize,
    /// Parts that are made on demand at once.
    pub generations_max: usize,
    /// What a peer is told to wait when we are busy.
    pub busy_retry: Duration,
    /// What a node serves: everything it holds, or nothing.
    pub serve: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_bytes: 192 << 20,
            window_bytes: 32 << 20,
            window_bytes_min: 4 << 20,
            window_age_max: Duration::from_secs(20),
            applies_max: 3,
            peer_bytes_max: 32 << 20,
            ask_ahead: Duration::from_secs(1),
            peer_requests_max: 4,
            experiment_one_in: 16,
            stall_timeout: Duration::from_secs(10),
            hedge_prior: Duration::from_secs(2),
            hedge_min: Duration::from_millis(200),
            ban: Duration::from_secs(3_600),
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            bans_max: 3,
            suspicion: Duration::from_secs(60),
            announce_interval: Duration::from_secs(1),
            announce_refresh: Duration::from_secs(600),
            holders_wanted: 3,
            search_interval: Duration::from_secs(5),
            summary_interval: Duration::from_secs(5),
            verdict_interval: Duration::from_millis(500),
            hysteresis: Duration::from_secs(2),
            impossible_after: Duration::from_secs(3),
            holderless_max: Duration::from_secs(30),
            watchdog: Duration::from_secs(60),
            download_prior: 20 << 20,
            replay_prior: 50,
            block_interval_prior: Duration::from_secs(1),
            change_per_mille_prior: 50,
            outputs_bytes: 8 << 20,
            asks_max: 64,
            asks_for_validators: 16,
            asks_per_peer: 8,
            sends_max: 8,
            generations_max: 2,
            busy_retry: Duration::from_secs(1),
            serve: true,
        }
    }
}
