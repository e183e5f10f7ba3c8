//! Every decision of catching up and of serving, without IO.
//!
//! A [`Coordinator`] is told facts ([`Input`]) and the time, and gives imperatives ([`Command`]) and
//! news for the operator ([`Event`]). Per shard it runs one task: find holders, fetch the outline,
//! compare it with the store, fetch parts from many peers in any order, have them applied in
//! windows, announce and serve what is durable, replay the chunks since, follow the head.
//!
//! A run is a list of `(Instant, Input)`; the same list under the same seed gives the same commands.
//!
//! What is *not* here: bytes of parts or outputs, which stay with the driver; verification, which
//! the driver does with `ketch-trie` and `ketch-ledger` before it states a fact; any clock, thread,
//! randomness or IO.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod affinity;
mod announce;
mod answer;
mod apply;
mod blame;
mod catchup;
mod command;
mod config;
mod coordinator;
mod download;
mod epoch;
mod event;
mod fetch;
mod follow;
mod generate;
mod hedge;
mod holders;
mod id;
mod input;
mod latency;
mod meter;
mod outlook;
mod part_sizes;
mod peers;
mod request;
mod serve;
mod serving;
mod shard;
mod state_key;
mod turn;
mod verdict;

pub use command::{Command, Query, Work};
pub use config::Config;
pub use coordinator::{Coordinator, ShardStatus, Timer};
pub use event::Event;
pub use id::{Ask, JobId, Peer, RequestId};
pub use input::{
    EpochStart, Failure, Fault, Input, JobEnd, OurFault, PeerClass, PeerQuery, RequestEnd,
};
pub use part_sizes::PartSizes;
pub use shard::Phase;
pub use turn::Turn;
pub use verdict::{Obstacle, Verdict};
