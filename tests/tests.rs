//! The project's integration tests: one binary, a module for each subject.

#![allow(
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    reason = "small numbers of the tests' own, and tables of cases"
)]

mod commitment;
mod controls;
mod coordinator;
mod ledger;
mod net;
mod newcomer;
mod node_config;
mod node_http;
mod reference;
mod simulation;
mod state_tool;
#[allow(dead_code, reason = "the benchmark uses all of it")]
mod still_chain;
mod store;
mod testnet;
mod tidy;
mod wire;
