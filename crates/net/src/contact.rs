use std::net::IpAddr;
use std::str::FromStr;

use ketch_types::{Address, PeerId};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use thiserror::Error;

/// A peer, and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The peer.
    pub peer: PeerId,
    /// Where it listens; none where others must be asked.
    pub addresses: Vec<Address>,
}

/// Why a text is not an address, or not a contact.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ContactError {
    /// It is not a multiaddress.
    #[error("{0:?} is not an address such as /ip4/192.0.2.7/tcp/7600")]
    NotAnAddress(String),
    /// No transport of ours reaches it.
    #[error("{0} is no address of a transport that is spoken here: TCP or QUIC over IPv4 or IPv6")]
    Transport(Multiaddr),
    /// It does not end with the peer's id.
    #[error("{0} does not end with the peer's id, as in /ip4/192.0.2.7/tcp/7600/p2p/12D3KooW…")]
    NoPeer(Multiaddr),
    /// It ends with a peer's id where none belongs.
    #[error("{0} names a peer, where only an address belongs")]
    Peer(Multiaddr),
}

impl FromStr for Contact {
    type Err = ContactError;

    /// The contact that a text names: an address that ends with `/p2p/` and the peer's id.
    fn from_str(text: &str) -> Result<Self, ContactError> {
        let whole = parse(text)?;
        let mut address = whole.clone();
        let Some(Protocol::P2p(peer)) = address.pop() else {
            return Err(ContactError::NoPeer(whole));
        };
        let peer = to_peer(&peer).ok_or_else(|| ContactError::NoPeer(whole))?;
        Ok(Self { peer, addresses: vec![reachable(address)?] })
    }
}

/// The address that a text names, such as `/ip4/192.0.2.7/tcp/7600`.
///
/// *Errors:* see [`ContactError`].
pub fn parse_address(text: &str) -> Result<Address, ContactError> {
    let address = parse(text)?;
    if address.iter().any(|part| matches!(part, Protocol::P2p(_))) {
        return Err(ContactError::Peer(address));
    }
    reachable(address)
}

/// An address as it is written, if it is one that libp2p knows.
pub fn address_text(address: &Address) -> Option<String> {
    of_address(address).map(|address| address.to_string())
}

/// A peer's id as it is written, `12D3KooW…`, if it is one that libp2p knows.
pub fn peer_text(peer: &PeerId) -> Option<String> {
    of_peer(peer).map(|peer| peer.to_string())
}

fn parse(text: &str) -> Result<Multiaddr, ContactError> {
    text.parse().map_err(|_| ContactError::NotAnAddress(text.to_owned()))
}

fn reachable(address: Multiaddr) -> Result<Address, ContactError> {
    let known = to_address(&address).filter(|_| is_reachable(&address));
    known.ok_or(ContactError::Transport(address))
}

/// A peer's id as a domain value; every id that libp2p knows is short enough to be one.
pub(crate) fn to_peer(peer: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::new(&peer.to_bytes()).ok()
}

/// An address as a domain value, if it is short enough to be one.
pub(crate) fn to_address(address: &Multiaddr) -> Option<Address> {
    Address::new(address.as_ref()).ok()
}

/// libp2p's id of a peer, if there is one of these bytes.
pub(crate) fn of_peer(peer: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(peer.as_bytes()).ok()
}

/// libp2p's address of these bytes, if they are one.
pub(crate) fn of_address(address: &Address) -> Option<Multiaddr> {
    Multiaddr::try_from(address.as_bytes().to_vec()).ok()
}

/// Whether our transports can reach an address.
pub(crate) fn is_reachable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let ip = matches!(parts.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
    let transport = match parts.next() {
        Some(Protocol::Tcp(_)) => true,
        Some(Protocol::Udp(_)) => matches!(parts.next(), Some(Protocol::QuicV1)),
        _ => false,
    };
    ip && transport && parts.next().is_none()
}

/// As many of a peer's addresses as are kept. Neither of its transports has room only if the other
/// leaves it: a machine of many addresses is reached by TCP and, where that fails, by QUIC.
pub(crate) fn kept(addresses: impl IntoIterator<Item = Multiaddr>, max: usize) -> Vec<Multiaddr> {
    let (quic, others): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_quic);
    let others_max = max.saturating_sub(quic.len().min(max / 2));
    others.into_iter().take(others_max).chain(quic).take(max).collect()
}

/// Whether an address is of QUIC.
pub(crate) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::QuicV1))
}

/// The IP that an address begins with; an IPv4 address that a socket of both families names as one
/// of IPv6 is one of IPv4.
pub(crate) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    }
}

/// Whether an address leads nowhere but to its own machine.
pub(crate) fn is_loopback(address: &Multiaddr) -> bool {
    ip_of(address).is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn a_contact_is_an_address_and_a_peer() {
        for address in [
            "/ip4/192.0.2.7/tcp/7600",
            "/ip6/2001:db8::7/tcp/1",
            "/ip4/192.0.2.7/udp/7600/quic-v1",
            "/ip6/2001:db8::7/udp/1/quic-v1",
        ] {
            let contact = format!("{address}/p2p/{ID}").parse::<Contact>().unwrap();
            assert_eq!(peer_text(&contact.peer).as_deref(), Some(ID));
            assert_eq!(contact.addresses, [parse_address(address).unwrap()]);
            assert_eq!(address_text(&contact.addresses[0]).as_deref(), Some(address));
        }
    }

    #[test]
    fn what_is_no_contact_says_why() {
        let refused = |text: &str| text.parse::<Contact>().unwrap_err();
        assert_eq!(refused("192.0.2.7:7600"), ContactError::NotAnAddress("192.0.2.7:7600".into()));
        assert!(matches!(refused("/ip4/192.0.2.7/tcp/7600"), ContactError::NoPeer(_)));
        for unreachable in [
            "/ip4/192.0.2.7/udp/7600",
            "/ip4/192.0.2.7/udp/7600/quic",
            "/ip4/192.0.2.7/tcp/7600/quic-v1",
            "/ip4/192.0.2.7/quic-v1",
            "/ip4/192.0.2.7/udp/7600/quic-v1/webtransport",
            "/ip4/192.0.2.7/tcp/7600/ws",
            "/dns4/node.example/tcp/7600",
            "/dns4/node.example/udp/7600/quic-v1",
            "/ip4/192.0.2.7",
            "",
            "/tcp/7/ip4/1.1.1.1",
            "/udp/7/quic-v1/ip4/1.1.1.1",
        ] {
            let text = format!("{unreachable}/p2p/{ID}");
            assert!(matches!(refused(&text), ContactError::Transport(_)), "{text}");
        }
        let named = parse_address(&format!("/ip4/192.0.2.7/tcp/7600/p2p/{ID}"));
        assert!(matches!(named, Err(ContactError::Peer(_))));
        assert!(matches!(parse_address("/memory/7"), Err(ContactError::Transport(_))));
    }

    #[test]
    fn of_many_addresses_some_of_both_transports_are_kept() {
        let tcp = |port| format!("/ip4/192.0.2.7/tcp/{port}").parse::<Multiaddr>().unwrap();
        let quic =
            |port| format!("/ip4/192.0.2.7/udp/{port}/quic-v1").parse::<Multiaddr>().unwrap();
        let many = || (1..9).map(quic).chain((1..9).map(tcp));
        assert_eq!(kept(many(), 4), [tcp(1), tcp(2), quic(1), quic(2)]);
        assert_eq!(kept(many().skip(7), 4), [tcp(1), tcp(2), tcp(3), quic(8)]);
        assert_eq!(kept(many().take(9), 4), [tcp(1), quic(1), quic(2), quic(3)]);
        assert_eq!(kept(many().take(8), 4), [quic(1), quic(2), quic(3), quic(4)]);
        assert_eq!(kept(many().skip(8), 4), [tcp(1), tcp(2), tcp(3), tcp(4)]);
    }

    #[test]
    fn bytes_that_libp2p_does_not_know_have_no_text() {
        assert_eq!(peer_text(&PeerId::new(&[7, 7]).unwrap()), None);
        assert_eq!(address_text(&Address::new(&[0xff; 9]).unwrap()), None);
    }

    #[test]
    fn an_ipv4_address_in_ipv6_clothes_is_one() {
        let ip = |text: &str| ip_of(&text.parse().unwrap()).unwrap();
        assert_eq!(ip("/ip6/::ffff:192.0.2.7/tcp/1"), ip("/ip4/192.0.2.7/tcp/2"));
        assert!(is_loopback(&"/ip6/::ffff:127.0.0.1/tcp/1".parse().unwrap()));
    }
}
