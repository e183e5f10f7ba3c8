use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A multiaddress as it was written; the network reads what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressText(String);

/// The multiaddress of a named peer: one that ends in `/p2p/ID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddressText(AddressText);

/// Why a text is no multiaddress.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// A multiaddress begins with the name of a protocol.
    #[error("`{0}` is not a multiaddress such as /ip4/127.0.0.1/tcp/7600")]
    NoProtocol(String),
    /// The address does not say whose it is.
    #[error("`{0}` does not end in /p2p/ID, the name of the peer")]
    NoPeer(String),
}

impl AddressText {
    /// All IPv4 addresses of this machine, at a TCP port.
    pub fn every_interface(port: u16) -> Self {
        Self(format!("/ip4/0.0.0.0/tcp/{port}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PeerAddressText {
    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for AddressText {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let protocol = text.strip_prefix('/').filter(|rest| !rest.is_empty());
        match protocol {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(AddressError::NoProtocol(text.to_owned())),
        }
    }
}

impl FromStr for PeerAddressText {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = text.parse()?;
        let id = text.rsplit_once("/p2p/").map(|(_, id)| id);
        match id.filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric())) {
            Some(_) => Ok(Self(address)),
            None => Err(AddressError::NoPeer(text.to_owned())),
        }
    }
}

impl fmt::Display for AddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PeerAddressText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_begins_with_a_slash_and_goes_on() {
        for text in ["/ip4/0.0.0.0/tcp/0", "/dns/seed.example/udp/1/quic-v1"] {
            assert_eq!(text.parse::<AddressText>().unwrap().as_str(), text);
        }
        assert_eq!("/ip4/0.0.0.0/tcp/7600".parse(), Ok(AddressText::every_interface(7600)));
        for text in ["", "/", "127.0.0.1:7600", " /ip4/1.2.3.4/tcp/1"] {
            let refused = Err(AddressError::NoProtocol(text.to_owned()));
            assert_eq!(text.parse::<AddressText>(), refused);
        }
    }

    #[test]
    fn a_peers_address_ends_in_its_name() {
        let text = "/ip4/1.2.3.4/tcp/1/p2p/QmRelay/p2p-circuit/p2p/12D3KooWPeer";
        assert_eq!(text.parse::<PeerAddressText>().unwrap().to_string(), text);
        for text in ["/ip4/1.2.3.4/tcp/1", "/p2p/", "/ip4/1.2.3.4/p2p/Qm/tcp/1", "/p2p/Q m"] {
            let refused = Err(AddressError::NoPeer(text.to_owned()));
            assert_eq!(text.parse::<PeerAddressText>(), refused);
        }
        assert!("p2p/Qm".parse::<PeerAddressText>().is_err());
    }
}
