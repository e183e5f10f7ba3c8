use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::contact::is_quic;

/// Limits how many connections are on their way in, of each transport by itself.
///
/// Over TCP whoever dials has shown that it is where it says. Over QUIC it has not yet, and libp2p does
/// not ask: who makes addresses up can keep all that room filled. It does not take TCP's with it.
pub(crate) struct PendingLimits {
    max: usize,
    /// Whether each is over QUIC.
    pending: HashMap<ConnectionId, bool>,
}

/// Why a connection was refused: there are as many on their way in over its transport as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("as many connections are on their way in as may be")]
pub(crate) struct PendingFull;

impl PendingLimits {
    /// Limits the connections on their way in over one transport to so many.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, pending: HashMap::new() }
    }
}

impl NetworkBehaviour for PendingLimits {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let over_quic = is_quic(remote);
        if self.pending.values().filter(|other| **other == over_quic).count() >= self.max {
            return Err(ConnectionDenied::new(PendingFull));
        }
        self.pending.insert(id, over_quic);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        _peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&id);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _id: ConnectionId,
        _peer: PeerId,
        _remote: &Multiaddr,
        _role: Endpoint,
        _port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        // One that a behaviour before this one refuses once it is established fails, too.
        if let FromSwarm::ListenFailure(failure) = event {
            self.pending.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _peer: PeerId,
        _id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::{ListenError, ListenFailure};

    use super::*;

    const TCP: &str = "/ip4/203.0.113.7/tcp/4001";
    const QUIC: &str = "/ip4/203.0.113.7/udp/4001/quic-v1";

    impl PendingLimits {
        fn begin(&mut self, id: usize, from: &str) -> Result<(), PendingFull> {
            let (id, address) = (ConnectionId::new_unchecked(id), from.parse().unwrap());
            self.handle_pending_inbound_connection(id, &address, &address)
                .map_err(|denied| denied.downcast().unwrap())
        }

        fn establish(&mut self, id: usize, from: &str) {
            let (id, address) = (ConnectionId::new_unchecked(id), from.parse().unwrap());
            self.handle_established_inbound_connection(id, PeerId::random(), &address, &address)
                .unwrap();
        }

        fn fail(&mut self, id: usize) {
            let address = TCP.parse().unwrap();
            self.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
                local_addr: &address,
                send_back_addr: &address,
                error: &ListenError::Aborted,
                connection_id: ConnectionId::new_unchecked(id),
                peer_id: None,
            }));
        }
    }

    #[test]
    fn so_many_are_on_their_way_in_until_one_is_established_or_fails() {
        let mut limits = PendingLimits::new(2);
        limits.begin(1, TCP).unwrap();
        limits.begin(2, TCP).unwrap();
        assert_eq!(limits.begin(3, TCP), Err(PendingFull));
        // The swarm reports the refused one as failed.
        limits.fail(3);
        assert_eq!(limits.begin(4, TCP), Err(PendingFull));
        limits.establish(1, TCP);
        limits.begin(5, TCP).unwrap();
        limits.fail(2);
        limits.begin(6, TCP).unwrap();
        assert_eq!(limits.begin(7, TCP), Err(PendingFull));
        limits.fail(5);
        limits.establish(6, TCP);
        assert!(limits.pending.is_empty());
    }

    #[test]
    fn who_fills_quic_does_not_fill_tcp() {
        let mut limits = PendingLimits::new(2);
        limits.begin(1, QUIC).unwrap();
        limits.begin(2, QUIC).unwrap();
        assert_eq!(limits.begin(3, QUIC), Err(PendingFull));
        limits.begin(4, TCP).unwrap();
        limits.begin(5, TCP).unwrap();
        limits.establish(4, TCP);
        assert_eq!(limits.begin(6, QUIC), Err(PendingFull));
    }
}
