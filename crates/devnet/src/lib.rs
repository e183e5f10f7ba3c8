//! The reference chain for testnets: everything that a real chain would decide.
//!
//! An [`Assignment`] says who tracks what. A [`GenesisState`] makes the entries that a shard begins
//! with, the same on every node; a [`Workload`] makes what each of its chunks writes, from a
//! [`KeySample`] of those entries. A [`Producer`] makes blocks of executed chunks, and signs them
//! with the dev validators' keys, which it holds: it stands in for consensus. Everything that nodes
//! check of it is real.
//!
//! What is *not* here: execution, which needs a store; clocks, threads, randomness or IO.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod assignment;
mod genesis_state;
mod key_sample;
mod key_space;
mod producer;
mod workload;

pub use assignment::{Assignment, AssignmentError};
pub use genesis_state::{GenesisEntries, GenesisState};
pub use key_sample::KeySample;
pub use key_space::KeySpaceError;
pub use producer::{DevChain, DevValidator, Executed, ProduceError, Produced, Producer};
pub use workload::Workload;
