use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

use crate::contact::{ip_of, is_quic};

/// How much of an IPv4 address is counted as one: the smallest range that is routed on its own, and so
/// the least that somebody has who has more than single addresses.
const IPV4_PREFIX_BITS: u32 = 24;

/// How much of an IPv6 address is counted as one: what a site is given, within which addresses are free
/// to make up.
const IPV6_PREFIX_BITS: u32 = 48;

/// Which share of a network's connections may be on their way in at once.
const PENDING_INBOUND_SHARE: usize = 4;

/// Limits how many connections come from one network, so that nobody fills a node from one place.
///
/// *Shape:* the prefix of the address that each connection was made with, as long as the connection is
/// there. How many there are in all is for libp2p's own limits to bound.
/// Loopback addresses and those without an IP are not counted.
pub(crate) struct PrefixLimits {
    established_max: usize,
    /// In both directions.
    established: HashMap<ConnectionId, Prefix>,
    /// Those over TCP and those over QUIC, of which nobody has shown yet that they come from there:
    /// who makes addresses up takes no room from a network's TCP.
    pending_inbound: [HashMap<ConnectionId, Prefix>; 2],
}

/// Why a connection was refused: there are as many from its network as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum PrefixFull {
    /// Established ones, in both directions.
    #[error("{0} has as many connections as a network may")]
    Established(Prefix),
    /// Inbound ones that are not established yet.
    #[error("{0} has as many connections on their way in as a network may")]
    PendingInbound(Prefix),
}

/// A network, by its first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Prefix(IpAddr);

impl PrefixLimits {
    /// Limits the connections of one network to so many.
    pub(crate) fn new(established_max: usize) -> Self {
        let (established, pending_inbound) = Default::default();
        Self { established_max, established, pending_inbound }
    }

    fn check_established(&self, prefix: Prefix) -> Result<(), ConnectionDenied> {
        check(&self.established, prefix, self.established_max, PrefixFull::Established)
    }

    fn begin_inbound(
        &mut self,
        id: ConnectionId,
        prefix: Prefix,
        over_quic: bool,
    ) -> Result<(), ConnectionDenied> {
        let pending_max = (self.established_max / PENDING_INBOUND_SHARE).max(1);
        let [tcp, quic] = &mut self.pending_inbound;
        let pending = if over_quic { quic } else { tcp };
        check(pending, prefix, pending_max, PrefixFull::PendingInbound)?;
        pending.insert(id, prefix);
        Ok(())
    }

    fn end_inbound(&mut self, id: ConnectionId) {
        self.pending_inbound.iter_mut().for_each(|pending| {
            pending.remove(&id);
        });
    }
}

impl NetworkBehaviour for PrefixLimits {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(prefix) = Prefix::of(remote) else { return Ok(()) };
        // Whoever would be refused once established is refused before the handshake, which costs most.
        self.check_established(prefix)?;
        self.begin_inbound(id, prefix, is_quic(remote))
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        _peer: PeerId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.end_inbound(id);
        if let Some(prefix) = Prefix::of(remote) {
            self.check_established(prefix)?;
        }
        Ok(dummy::ConnectionHandler)
    }

    // What we dial is counted but never refused: we chose it, and how many we choose is bounded where
    // we do. Otherwise a stranger who fills a network with connections to us cuts us off from our
    // contacts in it.
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

    // A connection counts from the event on, not from our consent: another behaviour may refuse it.
    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                let remote = established.endpoint.get_remote_address();
                if let Some(prefix) = Prefix::of(remote) {
                    self.established.insert(established.connection_id, prefix);
                }
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.established.remove(&closed.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.end_inbound(failure.connection_id);
            }
            _ => {}
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

fn check(
    connections: &HashMap<ConnectionId, Prefix>,
    prefix: Prefix,
    max: usize,
    full: fn(Prefix) -> PrefixFull,
) -> Result<(), ConnectionDenied> {
    // To count some hundreds anew is nothing beside a handshake, and cannot go wrong.
    let count = connections.values().filter(|other| **other == prefix).count();
    if count < max { Ok(()) } else { Err(ConnectionDenied::new(full(prefix))) }
}

impl Prefix {
    /// The network of an address, if it is one that is counted.
    fn of(address: &Multiaddr) -> Option<Self> {
        let ip = ip_of(address)?;
        (!ip.is_loopback()).then(|| Self(first_of_network(ip)))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = if self.0.is_ipv4() { IPV4_PREFIX_BITS } else { IPV6_PREFIX_BITS };
        write!(f, "{}/{bits}", self.0)
    }
}

fn first_of_network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX << (u32::BITS - IPV4_PREFIX_BITS);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX << (u128::BITS - IPV6_PREFIX_BITS);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::core::ConnectedPoint;
    use libp2p::swarm::behaviour::ConnectionEstablished;
    use libp2p::swarm::{ConnectionClosed, ListenError, ListenFailure};

    use super::*;

    const ESTABLISHED_MAX: usize = 32;
    const PENDING_INBOUND_MAX: usize = ESTABLISHED_MAX / PENDING_INBOUND_SHARE;

    const HOST: &str = "/ip4/203.0.113.1";

    const HOST_OVER_QUIC: &str = "/ip4/203.0.113.2/udp/4001/quic-v1";

    /// An address, of TCP if nothing else is said.
    fn at(host: &str) -> Multiaddr {
        let whole = if host.ends_with("/quic-v1") { host } else { &format!("{host}/tcp/4001") };
        whole.parse().unwrap()
    }

    /// What the swarm does, one method for each thing that happens to a connection.
    impl PrefixLimits {
        fn begin(&mut self, id: usize, host: &str) -> Result<(), PrefixFull> {
            let id = ConnectionId::new_unchecked(id);
            let begun = self.handle_pending_inbound_connection(id, &at(HOST), &at(host));
            begun.map_err(|denied| denied.downcast().unwrap())
        }

        fn consent(&mut self, id: usize, host: &str) -> Result<(), PrefixFull> {
            let (id, local, remote) = (ConnectionId::new_unchecked(id), at(HOST), at(host));
            let peer = PeerId::random();
            let consent = self.handle_established_inbound_connection(id, peer, &local, &remote);
            consent.map(drop).map_err(|denied| denied.downcast().unwrap())
        }

        fn fail(&mut self, id: usize) {
            self.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
                local_addr: &at(HOST),
                send_back_addr: &at(HOST),
                error: &ListenError::Aborted,
                connection_id: ConnectionId::new_unchecked(id),
                peer_id: None,
            }));
        }

        fn establish(&mut self, id: usize, endpoint: &ConnectedPoint) {
            self.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: PeerId::random(),
                connection_id: ConnectionId::new_unchecked(id),
                endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
        }

        fn accept(&mut self, id: usize, host: &str) -> Result<(), PrefixFull> {
            self.begin(id, host)?;
            self.consent(id, host)?;
            self.establish(id, &inbound(host));
            Ok(())
        }

        fn dial(&mut self, nth: usize, host: &str) {
            let (id, address, peer) =
                (ConnectionId::new_unchecked(nth), at(host), PeerId::random());
            let (role, port_use) = (Endpoint::Dialer, PortUse::Reuse);
            self.handle_pending_outbound_connection(id, Some(peer), &[], role).unwrap();
            self.handle_established_outbound_connection(id, peer, &address, role, port_use)
                .unwrap();
            self.establish(nth, &ConnectedPoint::Dialer { address, role_override: role, port_use });
        }

        fn close(&mut self, id: usize) {
            self.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: PeerId::random(),
                connection_id: ConnectionId::new_unchecked(id),
                endpoint: &inbound(HOST),
                cause: None,
                remaining_established: 0,
            }));
        }

        fn is_at_rest(&self) -> bool {
            self.established.is_empty() && self.pending_inbound.iter().all(HashMap::is_empty)
        }
    }

    fn inbound(host: &str) -> ConnectedPoint {
        ConnectedPoint::Listener { local_addr: at(HOST), send_back_addr: at(host) }
    }

    #[test]
    fn a_network_has_so_many_connections_until_one_closes() {
        let mut limits = PrefixLimits::new(ESTABLISHED_MAX);
        for id in 0..ESTABLISHED_MAX {
            limits.accept(id, &format!("/ip4/203.0.113.{id}")).unwrap();
        }
        let refused = limits.accept(100, "/ip4/203.0.113.77").unwrap_err();
        assert_eq!(Err(refused), limits.begin(100, HOST));
        assert!(matches!(refused, PrefixFull::Established(_)));
        assert!(refused.to_string().starts_with("203.0.113.0/24 has"), "{refused}");
        limits.accept(101, "/ip4/203.0.114.1").unwrap();
        limits.close(1);
        limits.close(1);
        limits.accept(102, HOST).unwrap();
        limits.accept(103, HOST).unwrap_err();
        for id in 0..200 {
            limits.close(id);
        }
        assert!(limits.is_at_rest());
    }

    #[test]
    fn a_network_has_so_many_on_their_way_in_until_one_fails_or_is_established() {
        let mut limits = PrefixLimits::new(ESTABLISHED_MAX);
        for id in 0..PENDING_INBOUND_MAX {
            limits.begin(id, HOST).unwrap();
        }
        let refused = limits.begin(100, HOST).unwrap_err();
        assert!(matches!(refused, PrefixFull::PendingInbound(_)));
        // The swarm reports the refused one as failed, too.
        limits.fail(100);
        limits.begin(101, HOST).unwrap_err();
        limits.fail(0);
        limits.fail(0);
        limits.begin(102, HOST).unwrap();
        limits.begin(103, HOST).unwrap_err();
        limits.consent(1, HOST).unwrap();
        limits.begin(104, HOST).unwrap();
        for id in 0..200 {
            limits.fail(id);
        }
        assert!(limits.is_at_rest());
    }

    #[test]
    fn tcp_and_quic_are_counted_apart_until_established_and_together_then() {
        let mut limits = PrefixLimits::new(ESTABLISHED_MAX);
        for id in 0..PENDING_INBOUND_MAX {
            limits.begin(id, HOST_OVER_QUIC).unwrap();
        }
        let refused = limits.begin(100, HOST_OVER_QUIC).unwrap_err();
        assert!(matches!(refused, PrefixFull::PendingInbound(_)));
        for id in 200..200 + PENDING_INBOUND_MAX {
            limits.begin(id, HOST).unwrap();
        }
        limits.begin(100, HOST).unwrap_err();
        for id in (0..PENDING_INBOUND_MAX).chain(200..200 + PENDING_INBOUND_MAX) {
            limits.fail(id);
        }
        assert!(limits.is_at_rest());
        for id in 0..ESTABLISHED_MAX {
            limits.accept(id, if id % 2 == 0 { HOST } else { HOST_OVER_QUIC }).unwrap();
        }
        for host in [HOST, HOST_OVER_QUIC] {
            let refused = limits.begin(100, host).unwrap_err();
            assert!(matches!(refused, PrefixFull::Established(_)));
        }
    }

    #[test]
    fn those_on_their_way_in_are_refused_if_their_network_fills_meanwhile() {
        let mut limits = PrefixLimits::new(ESTABLISHED_MAX);
        for id in 1..ESTABLISHED_MAX {
            limits.dial(id, HOST);
        }
        limits.begin(100, HOST).unwrap();
        limits.begin(101, HOST).unwrap();
        limits.consent(100, HOST).unwrap();
        limits.establish(100, &inbound(HOST));
        let refused = limits.consent(101, HOST).unwrap_err();
        assert!(matches!(refused, PrefixFull::Established(_)));
        limits.fail(101);
        for id in 0..200 {
            limits.close(id);
        }
        assert!(limits.is_at_rest());
    }

    #[test]
    fn a_connection_that_another_behaviour_refuses_is_not_counted() {
        let mut limits = PrefixLimits::new(ESTABLISHED_MAX);
        for id in 0..100 {
            limits.begin(id, HOST).unwrap();
            limits.consent(id, HOST).unwrap();
            limits.fail(id);
        }
        assert!(limits.is_at_rest());
    }

    #[test]
    fn what_we_dial_counts_and_is_never_refused() {
        let mut limits = PrefixLimits::new(ESTABLISHED_MAX);
        for id in 0..ESTABLISHED_MAX + 3 {
            limits.dial(id, HOST);
        }
        limits.accept(100, HOST).unwrap_err();
        for id in 0..4 {
            limits.close(id);
        }
        limits.accept(101, HOST).unwrap();
        limits.accept(102, HOST).unwrap_err();
    }

    #[test]
    fn the_first_24_bits_of_ipv4_and_48_of_ipv6_are_one_network() {
        let prefix = |host| Prefix::of(&at(host)).map(|prefix| prefix.to_string());
        for (host, expected) in [
            ("/ip4/203.0.113.255", "203.0.113.0/24"),
            ("/ip6/::ffff:203.0.113.1", "203.0.113.0/24"),
            ("/ip6/2001:db8:1:ffff::1", "2001:db8:1::/48"),
            ("/ip6/2001:db8:2::1", "2001:db8:2::/48"),
        ] {
            assert_eq!(prefix(host).as_deref(), Some(expected));
        }
    }

    #[test]
    fn loopback_and_names_are_not_counted() {
        let loopback = ["/ip4/127.0.0.1", "/ip4/127.9.9.9", "/ip6/::1", "/ip6/::ffff:127.0.0.1"];
        for host in loopback.into_iter().chain(["/dns4/a"]) {
            let mut limits = PrefixLimits::new(ESTABLISHED_MAX);
            for id in 0..100 {
                limits.begin(id, host).unwrap();
            }
            for id in 0..100 {
                limits.consent(id, host).unwrap();
                limits.establish(id, &inbound(host));
                limits.dial(100 + id, host);
            }
            assert!(limits.is_at_rest());
        }
    }
}
