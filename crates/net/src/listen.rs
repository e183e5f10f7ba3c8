use std::net::TcpListener;
use std::sync::Arc;

use futures::StreamExt as _;
use ketch_types::Address;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm};

use crate::behaviour::Behaviour;
use crate::config::NetworkConfig;
use crate::contact::{ip_of, is_loopback, of_address, to_address};
use crate::error::StartError;

/// Where a node listens, and what of it others are told.
pub(crate) struct Listening {
    addresses: Vec<Multiaddr>,
    /// Whether the configuration says where we are reached.
    is_external_known: bool,
    /// Whether nobody beyond this machine is meant to reach us.
    is_local: bool,
}

/// Listens on all configured addresses; each has at least one address of its own when this ends.
pub(crate) async fn listen(
    swarm: &mut Swarm<Behaviour>,
    config: &NetworkConfig,
) -> Result<Listening, StartError> {
    let configured = multiaddresses(&config.listen)?;
    let external = multiaddresses(&config.external)?;
    let mut listening = Listening {
        addresses: Vec::new(),
        is_external_known: !external.is_empty(),
        is_local: configured.iter().all(is_loopback),
    };
    external.into_iter().for_each(|address| swarm.add_external_address(address));
    for address in configured {
        check_free(&address).map_err(|error| refused(&address, error))?;
        let listener = swarm.listen_on(address.clone()).map_err(|error| match error {
            TransportError::Other(error) => refused(&address, error),
            TransportError::MultiaddrNotSupported(_) => {
                refused(&address, std::io::ErrorKind::Unsupported.into())
            }
        })?;
        let address = first_address(swarm, listener, &address).await?;
        listening.advertise(swarm, &address);
    }
    Ok(listening)
}

impl Listening {
    /// Takes in an address that is listened on, and has others told of it.
    pub(crate) fn advertise(&mut self, swarm: &mut Swarm<Behaviour>, address: &Multiaddr) {
        tracing::info!(%address, "listening");
        self.addresses.push(address.clone());
        if !self.is_external_known && (self.is_local || !is_loopback(address)) {
            swarm.add_external_address(address.clone());
        }
    }

    pub(crate) fn addresses(&self) -> Arc<[Address]> {
        self.addresses.iter().filter_map(to_address).collect()
    }
}

/// Checks that nobody listens there: libp2p shares ports, so that another process of ours would be
/// given some of this one's connections, and neither would know.
fn check_free(address: &Multiaddr) -> std::io::Result<()> {
    let mut parts = address.iter().skip(1);
    match (ip_of(address), parts.next()) {
        (Some(ip), Some(Protocol::Tcp(port))) => TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

async fn first_address(
    swarm: &mut Swarm<Behaviour>,
    listener: ListenerId,
    configured: &Multiaddr,
) -> Result<Multiaddr, StartError> {
    loop {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { listener_id, address } if listener_id == listener => {
                return Ok(address);
            }
            SwarmEvent::ListenerClosed { listener_id, reason, .. } if listener_id == listener => {
                let error = reason.err().unwrap_or(std::io::ErrorKind::NotConnected.into());
                return Err(refused(configured, error));
            }
            _ => {}
        }
    }
}

fn refused(address: &Multiaddr, error: std::io::Error) -> StartError {
    StartError::Listen { address: address.to_string(), error }
}

fn multiaddresses(addresses: &[Address]) -> Result<Vec<Multiaddr>, StartError> {
    let one = |address: &Address| of_address(address).ok_or(StartError::Address(address.clone()));
    addresses.iter().map(one).collect()
}
