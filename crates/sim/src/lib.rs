//! A deterministic world around the real coordinator, in one thread and virtual time.
//!
//! Every honest node runs a [`Coordinator`](ketch_coordinator::Coordinator) with its real
//! configuration, fetching and serving; states are real tries, parts are packed, sent, unpacked and
//! verified as everywhere. Links, disks and the chain are models. Some nodes lie, each in one way,
//! see [`Lie`]. The same [`Setup`] gives the same [`World::trace_hash`].
//!
//! What is *not* here: libp2p, fjall, signatures. What a peer may forge of the ledger is
//! `ketch-ledger`'s to refuse; here heads and epochs come true or not at all.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod chain;
mod check;
mod disk;
mod effect;
mod inbox;
mod lie;
mod link;
mod message;
mod node;
mod world;

pub use chain::{Chain, ChainSetup};
pub use check::{Breach, Ledger};
pub use lie::{Conduct, Lie};
pub use link::LinkSpeed;
pub use node::{Defences, NodeId, NodeSetup};
pub use world::{Setup, World};
