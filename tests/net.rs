//! The network: real swarms on loopback, and peers that break every rule.

mod answers;
mod finding;
mod gossip;
mod hostile;
pub(crate) mod node;
mod peers;
mod quic;
mod state;
