//! Streams as a libp2p behaviour: opens them, and hands over those that peers open.
//!
//! `libp2p-stream` would do, but that it drops a stream whenever its reader is busy, and keeps
//! something of every connection that there ever was (`docs/decisions/0007`).

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, UpgradeInfo};
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished};
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    NetworkBehaviour, NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{InboundUpgrade, Multiaddr, OutboundUpgrade, PeerId, Stream};
use std::time::Duration;
use tokio::sync::oneshot;

use crate::protocol::{NamedProtocol, Protocol, Protocols};

/// Why a stream was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    NotConnected,
    Unsupported,
    TimedOut,
    Closed,
}

/// Where an opened stream goes.
pub(crate) type OpenReply = oneshot::Sender<Result<Stream, OpenError>>;

/// A stream that a peer opened.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) peer: PeerId,
    pub(crate) protocol: Protocol,
    pub(crate) stream: Stream,
}

/// A stream to be opened.
#[derive(Debug)]
pub(crate) struct Open {
    protocol: Protocol,
    reply: OpenReply,
}

pub(crate) struct Streams {
    protocols: Protocols,
    open_timeout: Duration,
    connections: BTreeMap<PeerId, Vec<ConnectionId>>,
    to_swarm: VecDeque<ToSwarm<Arrived, Open>>,
}

impl Streams {
    pub(crate) fn new(protocols: Protocols, open_timeout: Duration) -> Self {
        let (connections, to_swarm) = Default::default();
        Self { protocols, open_timeout, connections, to_swarm }
    }

    /// Opens a stream to a connected peer.
    pub(crate) fn open(&mut self, peer: PeerId, protocol: Protocol, reply: OpenReply) {
        // The newest: an older one may be of a node that has been started anew since.
        let Some(connection) = self.connections.get(&peer).and_then(|all| all.last()) else {
            // Whoever asked may have gone.
            let _ = reply.send(Err(OpenError::NotConnected));
            return;
        };
        let handler = NotifyHandler::One(*connection);
        let event = Open { protocol, reply };
        self.to_swarm.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event });
    }

    fn handler(&self) -> Handler {
        Handler {
            protocols: self.protocols.clone(),
            open_timeout: self.open_timeout,
            to_open: VecDeque::new(),
            arrived: VecDeque::new(),
        }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Arrived;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                ..
            }) => self.connections.entry(peer_id).or_default().push(connection_id),
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                if let Some(connections) = self.connections.get_mut(&peer_id) {
                    connections.retain(|connection| *connection != connection_id);
                    if connections.is_empty() {
                        self.connections.remove(&peer_id);
                    }
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        (protocol, stream): THandlerOutEvent<Self>,
    ) {
        self.to_swarm.push_back(ToSwarm::GenerateEvent(Arrived { peer, protocol, stream }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Arrived, THandlerInEvent<Self>>> {
        // Whatever puts something into the queue is called by the task that polls the swarm.
        self.to_swarm.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The side of one connection.
pub(crate) struct Handler {
    protocols: Protocols,
    open_timeout: Duration,
    to_open: VecDeque<Open>,
    /// Bounded by the multiplexer's number of streams.
    arrived: VecDeque<(Protocol, Stream)>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = (Protocol, Stream);
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = OpenReply;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade, ()> {
        SubstreamProtocol::new(Upgrade(self.protocols.all().to_vec()), ())
            .with_timeout(self.open_timeout)
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Upgrade, OpenReply, (Protocol, Stream)>> {
        if let Some(arrived) = self.arrived.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(arrived));
        }
        match self.to_open.pop_front() {
            Some(Open { protocol, reply }) => {
                let upgrade = Upgrade(self.protocols.named(protocol));
                let protocol =
                    SubstreamProtocol::new(upgrade, reply).with_timeout(self.open_timeout);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol })
            }
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, open: Open) {
        self.to_open.push_back(open);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Upgrade, Upgrade, (), OpenReply>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: arrived,
                ..
            }) => self.arrived.push_back(arrived),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (_, stream),
                info: reply,
            }) => {
                // Who asked may have gone; then the stream is dropped, and closed by that.
                let _ = reply.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                let error = match error {
                    StreamUpgradeError::Timeout => OpenError::TimedOut,
                    StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
                    StreamUpgradeError::Io(_) => OpenError::Closed,
                    StreamUpgradeError::Apply(never) => match never {},
                };
                let _ = reply.send(Err(error));
            }
            _ => {}
        }
    }
}

/// Protocols that are offered, of which one is agreed on; then the stream is ready.
pub(crate) struct Upgrade(Vec<NamedProtocol>);

impl UpgradeInfo for Upgrade {
    type Info = NamedProtocol;
    type InfoIter = std::vec::IntoIter<NamedProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, agreed: NamedProtocol) -> Self::Future {
        ready(Ok((agreed.protocol, stream)))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = (Protocol, Stream);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, agreed: NamedProtocol) -> Self::Future {
        ready(Ok((agreed.protocol, stream)))
    }
}
