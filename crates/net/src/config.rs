use std::time::Duration;

use ketch_types::{Address, ChainId};

use crate::contact::Contact;

/// How a node takes part in the network.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// The chain, which is part of every name.
    pub chain: ChainId,
    /// Where to listen; port 0 is chosen by the system.
    pub listen: Vec<Address>,
    /// Where others reach us; where there is none, what we listen on is told.
    pub external: Vec<Address>,
    /// Peers that are always to be connected to.
    pub contacts: Vec<Contact>,
    /// The most that is sent of states in answers, and as much of the chain, which does not wait for
    /// states. *Units:* bytes per second.
    pub upload_limit: Option<u64>,
    /// The most that is read of states in answers, and as much of the chain. *Units:* bytes per second.
    pub download_limit: Option<u64>,
    /// The most connections.
    pub connections_max: u32,
    /// The most connections of one network: a /24 of IPv4, a /48 of IPv6. Those that we dial are
    /// counted, but never refused; those of this machine are not counted.
    pub connections_per_prefix_max: u32,
    /// Whether to answer others' questions about the DHT.
    pub serves_dht: bool,
    /// How long to wait for what.
    pub timeouts: Timeouts,
}

/// How long to wait for what.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a peer to be connected, and for a stream's protocol to be agreed on.
    pub connect: Duration,
    /// For the first byte of an answer, which may have to be made first.
    pub first_byte: Duration,
    /// For the next bytes of a message, each way.
    pub stall: Duration,
    /// For holders of a shard to be found and connected.
    pub search: Duration,
    /// For an unused connection to be closed.
    pub idle: Duration,
    /// Between attempts to connect to a contact that is lost.
    pub redial: Duration,
    /// For a record of the DHT to be forgotten. It is entered anew after a third of it.
    pub provider_ttl: Duration,
    /// How long who breaks the protocol is banned.
    pub ban: Duration,
    /// Between two rounds of gossip's upkeep.
    pub gossip_heartbeat: Duration,
}

impl NetworkConfig {
    /// A node of `chain` that listens nowhere and knows nobody.
    pub fn new(chain: ChainId) -> Self {
        Self {
            chain,
            listen: Vec::new(),
            external: Vec::new(),
            contacts: Vec::new(),
            upload_limit: None,
            download_limit: None,
            connections_max: 500,
            // More than the nodes that share a rack, and a fraction of all.
            connections_per_prefix_max: 32,
            serves_dht: true,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            connect: seconds(10),
            first_byte: seconds(30),
            stall: seconds(20),
            search: seconds(15),
            idle: seconds(120),
            redial: seconds(5),
            provider_ttl: seconds(600),
            ban: seconds(3_600),
            gossip_heartbeat: seconds(1),
        }
    }
}
