//! The real coordinator in a deterministic world: a driver in memory, real tries, lying peers.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ketch_coordinator::{Config, Event};
use ketch_sim::{
    Chain, ChainSetup, Conduct, Content, Lie, LinkSpeed, NodeId, NodeSetup, Tries, World,
};
use ketch_types::{Epoch, Instant, ShardId};

mod baseline;
mod crashes;
mod epochs;
mod following;
mod hostile;
mod identities;
mod losses;
mod planted;
pub(crate) mod recorded;
mod records;
mod rules;
mod scenarios;
mod serving;
mod verdicts;

/// The shard that is taken.
const S: ShardId = ShardId(7);
/// The shard that the taker comes from.
const OLD: ShardId = ShardId(3);
/// The place of the node that takes the shard in every setup.
const TAKER: NodeId = 0;

/// A state of about a megabyte in some ninety parts, and epochs of twenty seconds.
fn chain() -> ChainSetup {
    ChainSetup {
        shards: vec![(OLD, 200), (S, 2_500)],
        content: tries(20),
        cut: 16_384,
        epochs: 4,
        epoch_length: 40,
        block_interval: Duration::from_millis(500),
    }
}

/// Real tries with so many writes a chunk.
fn tries(writes: u64) -> Content {
    Content::Tries(Tries { value_bytes: 400, writes })
}

/// Windows, memory and patience in proportion to such a state.
fn config() -> Config {
    Config {
        memory_bytes: 512 << 10,
        window_bytes: 128 << 10,
        window_bytes_min: 16 << 10,
        peer_bytes_max: 128 << 10,
        stall_timeout: Duration::from_secs(3),
        outputs_bytes: 64 << 10,
        announce_interval: Duration::from_millis(200),
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

/// Lies, and is nearer than the honest: what it can answer first, it does.
fn liar(lie: Lie) -> NodeSetup {
    let speed = LinkSpeed { delay: Duration::from_millis(1), ..LinkSpeed::default() };
    NodeSetup { conduct: Conduct::Lies(lie), speed, ..node(vec![vec![]], vec![]) }
}

/// A world on the one chain that most tests share.
fn world(seed: u64, nodes: Vec<NodeSetup>) -> World {
    static CHAIN: OnceLock<Arc<Chain>> = OnceLock::new();
    let chain = CHAIN.get_or_init(|| Arc::new(Chain::new(chain(), 1).unwrap()));
    World::on(Arc::clone(chain), seed, nodes)
}

fn seconds(seconds: u64) -> Instant {
    Instant::ORIGIN + Duration::from_secs(seconds)
}

/// When a node first had a shard in hand.
fn caught_up(world: &World, node: NodeId, shard: ShardId) -> Option<Instant> {
    let mut events = world.ledger().events_of(node);
    let of_shard =
        |event: &Event| matches!(event, Event::CaughtUp { shard: of, .. } if *of == shard);
    events.find(|(_, event)| of_shard(event)).map(|(at, _)| at)
}

/// How a node fared at the boundary at which an epoch began.
fn margin(world: &World, node: NodeId, shard: ShardId, epoch: u64) -> Option<Duration> {
    let mut events = world.ledger().events_of(node);
    events.find_map(|(_, event)| match event {
        Event::Boundary { shard: of, epoch: at, margin } if (*of, at.0) == (shard, epoch) => {
            *margin
        }
        _ => None,
    })
}

/// Whom a node banned.
fn banned(world: &World, node: NodeId) -> Vec<NodeId> {
    let events = world.ledger().events_of(node);
    let banned = events.filter_map(|(_, event)| match event {
        Event::Banned { peer, .. } => Some(peer.0 as NodeId),
        _ => None,
    });
    banned.collect()
}

/// What must be true of every world in which one honest holder can be reached: the shard was there
/// in time, it is true, and nothing was done that must never be.
fn assert_taken(world: &mut World, what: &dyn std::fmt::Debug) {
    world.run_until(seconds(21));
    let in_time = margin(world, TAKER, S, 1);
    let last: Vec<_> = world.ledger().events_of(TAKER).collect();
    assert!(in_time.is_some(), "{what:?} late: {last:#?} {:?}", world.status(TAKER, S));
    world.check_states();
    assert!(world.holds_truth(TAKER, S), "{what:?}");
    assert_eq!(world.ledger().breaches, [], "{what:?}");
}

/// Whether a shard was taken in time and is true; for controls.
fn is_taken(world: &mut World) -> bool {
    world.run_until(seconds(21));
    margin(world, TAKER, S, 1).is_some() && world.holds_truth(TAKER, S)
}

fn epoch_bytes(world: &World) -> u64 {
    world.chain().state_bytes(S, Epoch(0))
}
