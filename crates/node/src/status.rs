//! How a node stands, as its HTTP server tells it and `ketch status` shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a node stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// `validator`, `part-server` or `sequencer`.
    pub role: String,
    /// The node's name on the network.
    pub peer: String,
    /// Where it listens, each with its name at the end.
    pub addresses: Vec<String>,
    /// The chain's id, in hexadecimal digits.
    pub chain: String,
    /// The epoch that has begun last.
    pub epoch: Option<u64>,
    /// The newest block that is known to be under a quorum.
    pub head: Option<HeadStatus>,
    /// Peers that are connected.
    pub peers: usize,
    /// The shards that the node holds, takes, or still serves, by rising id.
    pub shards: Vec<ShardReport>,
    /// The shards that it took since it was started, in the order in which it caught up.
    pub taken: Vec<Taken>,
    /// When each epoch's first block was made, as far as this node made it. *Units:* milliseconds
    /// since 1970.
    pub epochs_began_ms: BTreeMap<u64, u64>,
}

/// The newest block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadStatus {
    /// Its height.
    pub height: u64,
    /// When it was produced. *Units:* milliseconds since 1970.
    pub time_ms: u64,
}

/// How one shard stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardReport {
    /// The shard.
    pub shard: u32,
    /// Where its task is: `opening`, `locating`, `reconciling`, `downloading`, `completing`,
    /// `replaying`, `following`, `frozen` or `stopped`.
    pub phase: String,
    /// Whether this node must track it in the epoch that has begun.
    pub is_tracked: bool,
    /// The epoch at whose start the state is, or was, fetched.
    pub epoch: Option<u64>,
    /// That state's root, in hexadecimal digits.
    pub root: Option<String>,
    /// Parts that are durable.
    pub parts_held: u32,
    /// Parts of the state; zero before its outline came.
    pub parts: u32,
    /// Bytes that are durable. *Units:* bytes.
    pub bytes_held: u64,
    /// The state's size. *Units:* bytes.
    pub bytes: u64,
    /// How fast it is fetched now. *Units:* bytes per second.
    pub bytes_per_second: u64,
    /// How long it takes until it is caught up, as far as can be told. *Units:* seconds.
    pub eta_seconds: Option<f64>,
    /// The height that is applied.
    pub applied_height: Option<u64>,
    /// The first height at which it must be held.
    pub deadline_height: Option<u64>,
    /// The time that is left beyond what is needed; negative if it is too short. *Units:* seconds.
    pub margin_seconds: Option<f64>,
    /// `on-time`, `at-risk` or `impossible`.
    pub verdict: Option<String>,
    /// Why, and what would help.
    pub reason: Option<String>,
    /// Peers in reach that hold something of the state.
    pub providers: u32,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// A shard that was taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    /// The epoch in which it was taken, to be tracked from the next one on.
    pub epoch: u64,
    /// The shard.
    pub shard: u32,
    /// Bytes of verified parts that were fetched for it, unpacked. *Units:* bytes.
    pub bytes: u64,
    /// Of these, bytes from validators that hold the whole state. *Units:* bytes.
    pub bytes_from_trackers: u64,
    /// Of these, bytes from others that hold the whole state. *Units:* bytes.
    pub bytes_from_part_servers: u64,
    /// Of these, bytes from peers that were still catching up. *Units:* bytes.
    pub bytes_from_catching_up: u64,
    /// Heights that were replayed until it was caught up.
    pub replayed: u64,
    /// When it was caught up. *Units:* milliseconds since 1970.
    pub caught_up_ms: u64,
    /// The time from the epoch's first block to caught up. *Units:* seconds.
    pub seconds: f64,
    /// The time from caught up to the first block of the next epoch: expected until that is there.
    /// *Units:* seconds.
    pub margin_seconds: f64,
    /// The same in blocks.
    pub margin_blocks: u64,
    /// Whether the next epoch's first block is there, and this shard was held and followed by then.
    /// None before that block.
    pub in_time: Option<bool>,
}

impl HeadStatus {
    /// How long ago it was produced, at a moment in milliseconds since 1970.
    pub fn age(&self, now_ms: u64) -> Duration {
        Duration::from_millis(now_ms.saturating_sub(self.time_ms))
    }
}

impl ShardReport {
    /// Every phase that a shard's task can be in, in the order in which it usually passes them.
    pub const PHASES: [&str; 9] = [
        "opening",
        "locating",
        "reconciling",
        "downloading",
        "completing",
        "replaying",
        "following",
        "frozen",
        "stopped",
    ];

    /// Everything that can be expected of a shard.
    pub const VERDICTS: [&str; 3] = ["on-time", "at-risk", "impossible"];

    /// Whether the chain's changes are applied to it as they come.
    pub fn is_following(&self) -> bool {
        self.phase == "following"
    }

    /// Whether it is on its way to be followed.
    pub fn is_catching_up(&self) -> bool {
        !matches!(self.phase.as_str(), "following" | "frozen" | "stopped")
    }

    /// How much of the state is durable, if that can be told.
    pub fn fraction_held(&self) -> Option<f64> {
        if self.is_following() {
            return Some(1.0);
        }
        let held = self.bytes_held.min(self.bytes);
        (self.bytes > 0).then(|| held as f64 / self.bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(phase: &str, bytes_held: u64, bytes: u64) -> ShardReport {
        ShardReport { phase: phase.into(), bytes_held, bytes, ..ShardReport::default() }
    }

    #[test]
    fn a_share_is_told_once_the_outline_is_there_and_never_passes_the_whole() {
        assert_eq!(report("locating", 0, 0).fraction_held(), None);
        assert_eq!(report("downloading", 1, 4).fraction_held(), Some(0.25));
        assert_eq!(report("downloading", 9, 4).fraction_held(), Some(1.0));
        assert_eq!(report("following", 0, 0).fraction_held(), Some(1.0));
    }

    #[test]
    fn a_shard_is_caught_up_with_in_every_phase_before_the_last_three() {
        let count = ShardReport::PHASES.iter().filter(|phase| report(phase, 0, 0).is_catching_up());
        assert_eq!(count.count(), 6);
    }
}
