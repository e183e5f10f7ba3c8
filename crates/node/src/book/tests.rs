//! The book against a devnet's chain.

mod answers;
mod chunks;
mod opening;
mod outputs;
mod trust;
