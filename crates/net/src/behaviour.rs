use std::time::Duration;

use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Swarm, SwarmBuilder, identify, noise, ping, tcp, yamux};

use crate::config::NetworkConfig;
use crate::dht::{Kad, kad};
use crate::error::StartError;
use crate::gossip::{Gossip, Topics, gossip};
use crate::limits::{
    CONNECTIONS_PER_PEER_MAX, NEGOTIATING_STREAMS_MAX, PENDING_CONNECTIONS_MAX,
    STREAMS_PER_CONNECTION_MAX,
};
use crate::pending_limits::PendingLimits;
use crate::prefix_limits::PrefixLimits;
use crate::protocol::Protocols;
use crate::quic;
use crate::streams::Streams;

/// How often an unused connection is tried, and how long that may take: a peer that is silent for
/// both is gone, whatever its socket says.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(15);

/// All that a connection is asked about, in this order: who may not be here is turned away first.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) banned: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) pending: PendingLimits,
    pub(crate) prefixes: PrefixLimits,
    pub(crate) streams: Streams,
    pub(crate) kad: Kad,
    pub(crate) gossip: Gossip,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
}

/// The swarm of a node: TCP with noise and yamux, and QUIC, around the behaviours.
pub(crate) fn swarm(
    config: &NetworkConfig,
    keypair: &Keypair,
    protocols: &Protocols,
    topics: &Topics,
) -> Result<Swarm<Behaviour>, StartError> {
    let refused = |error: &dyn std::fmt::Display| StartError::Setup(error.to_string());
    let behaviour = behaviour(config, keypair, protocols, topics)?;
    let (idle, connect) = (config.timeouts.idle, config.timeouts.connect);
    let swarm = SwarmBuilder::with_existing_identity(keypair.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, multiplexer)
        .map_err(|error| refused(&error))?
        .with_other_transport(|keypair| quic::transport(keypair, connect))
        .map_err(|never| match never {})?
        .with_behaviour(|_| behaviour)
        .map_err(|error| refused(&error))?
        .with_swarm_config(|swarm| {
            swarm
                .with_idle_connection_timeout(idle)
                .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS_MAX)
        })
        .with_connection_timeout(connect)
        .build();
    Ok(swarm)
}

fn multiplexer() -> yamux::Config {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(STREAMS_PER_CONNECTION_MAX);
    config
}

fn behaviour(
    config: &NetworkConfig,
    keypair: &Keypair,
    protocols: &Protocols,
    topics: &Topics,
) -> Result<Behaviour, StartError> {
    let connections = ConnectionLimits::default()
        .with_max_pending_outgoing(Some(PENDING_CONNECTIONS_MAX))
        .with_max_established(Some(config.connections_max))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
    let version = format!("/ketch/1/{}", config.chain);
    let identify = identify::Config::new(version, keypair.public())
        .with_agent_version(concat!("ketch/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
        .with_cache_size(0);
    let ping = ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_INTERVAL);
    Ok(Behaviour {
        banned: allow_block_list::Behaviour::default(),
        limits: connection_limits::Behaviour::new(connections),
        pending: PendingLimits::new(PENDING_CONNECTIONS_MAX as usize),
        prefixes: PrefixLimits::new(config.connections_per_prefix_max as usize),
        streams: Streams::new(protocols.clone(), config.timeouts.connect),
        kad: kad(config, keypair.public().to_peer_id()),
        gossip: gossip(topics, keypair, &config.timeouts)?,
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping),
    })
}
