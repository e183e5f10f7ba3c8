//! A deterministic world around the real coordinator, in one thread and virtual time.
//!
//! Every honest node runs a [`Coordinator`](ketch_coordinator::Coordinator) with its real
//! configuration, fetching and serving; states are real tries, parts are packed, sent, unpacked and
//! verified as everywhere. To compare it with, [`NodeSetup::as_nearcore`] has a node decide as NEAR's
//! nearcore does. Links, disks and the chain are models. Some nodes lie, each in one way,
//! see [`Lie`]. The same [`Scenario`], seed and policy give the same [`World::trace_hash`].
//!
//! What is *not* here: libp2p, fjall, signatures. What a peer may forge of the ledger is
//! `ketch-ledger`'s to refuse; here heads and epochs come true or not at all.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod chain;
mod check;
mod content;
mod contract;
mod dht;
mod disk;
mod duty;
mod effect;
mod fault;
mod file;
mod flight;
mod fluid;
mod forget;
mod gossip;
mod identity;
mod inbox;
mod lie;
mod limit;
mod message;
mod nearcore;
mod node;
mod outcome;
pub mod planted;
mod policy;
mod presence;
mod random;
mod record;
mod replay;
mod scenario;
mod stand_in;
mod take;
mod trace;
mod tries;
mod trouble;
mod weather;
mod world;

pub use chain::{Chain, ChainSetup, Content};
pub use check::{Breach, Ledger};
pub use contract::Rule;
pub use dht::DhtModel;
pub use fault::{Fault, FaultKind, chaos};
pub use file::{Form, ScenarioError};
pub use gossip::GossipModel;
pub use lie::{Conduct, Lie};
pub use limit::{Beside, Judged, Limit};
pub use nearcore::NEARCORE_PART_BYTES;
pub use node::{Defences, LinkSpeed, NodeId, NodeSetup};
pub use outcome::{Outcome, Spread};
pub use planted::Planted;
pub use policy::PolicyKind;
pub use record::{RECORD_LINE_BYTES_MAX, RecordError, RecordStart, RecordedTurn};
pub use replay::{Difference, Replay, Replayed};
pub use scenario::{Chaos, Group, Planned, Scenario};
pub use stand_in::StandIns;
pub use take::{Take, Takes};
pub use tries::Tries;
pub use world::World;
