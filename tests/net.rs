//! The network: real swarms on loopback, and peers that break every rule.

mod answers;
mod finding;
mod gossip;
mod hostile;
mod node;
mod peers;
mod state;
