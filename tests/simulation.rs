//! The real coordinator in a deterministic world: a driver in memory, real tries, lying peers.

use std::time::Duration;

use ketch_coordinator::{Config, Event, Phase};
use ketch_sim::{ChainSetup, Conduct, LinkSpeed, NodeSetup, Setup, World};
use ketch_types::{Height, Instant, ShardId};

mod scratch;

/// The shard that is taken.
const S: ShardId = ShardId(7);
/// The shard that the taker comes from.
const OLD: ShardId = ShardId(3);

/// A state of about a megabyte in some seventy parts.
fn chain() -> ChainSetup {
    ChainSetup {
        shards: vec![(OLD, 200), (S, 2_500)],
        value_bytes: 400,
        cut: 16_384,
        epochs: 4,
        epoch_length: 40,
        block_interval: Duration::from_millis(500),
        writes: 20,
    }
}

/// Windows and memory in proportion to such a state.
fn config() -> Config {
    Config {
        memory_bytes: 512 << 10,
        window_bytes: 128 << 10,
        window_bytes_min: 64 << 10,
        peer_bytes_max: 128 << 10,
        stall_timeout: Duration::from_secs(3),
        outputs_bytes: 64 << 10,
        ..Config::default()
    }
}

fn node(tracked: Vec<Vec<ShardId>>, genesis: Vec<ShardId>) -> NodeSetup {
    let speed = LinkSpeed { upload: 1 << 20, download: 4 << 20, ..LinkSpeed::default() };
    NodeSetup { config: config(), speed, tracked, genesis, ..NodeSetup::default() }
}

/// Serves outputs, and nothing else.
fn sequencer() -> NodeSetup {
    let speed = LinkSpeed { upload: 64 << 20, download: 64 << 20, ..LinkSpeed::default() };
    NodeSetup { conduct: Conduct::Sequencer, speed, ..NodeSetup::default() }
}

/// Tracks the wanted shard all along.
fn tracker() -> NodeSetup {
    node(vec![vec![S]], vec![S])
}

/// Tracks the old shard in the first epoch, and must have the wanted one in the second.
fn taker() -> NodeSetup {
    node(vec![vec![OLD], vec![S]], vec![OLD])
}

fn seconds(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}
