use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use thiserror::Error;

/// An address and port that only this machine reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopbackAddress(SocketAddr);

/// Why a text is no [`LoopbackAddress`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoopbackError {
    /// It is no address with a port.
    #[error("`{0}` is not an address and port such as 127.0.0.1:7680")]
    Syntax(String),
    /// Others reach it.
    #[error(
        "{0} is not on loopback: the server asks nobody who they are, so others must not reach it"
    )]
    Reachable(SocketAddr),
}

impl LoopbackAddress {
    /// The address of this machine for itself.
    pub const fn localhost(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// The address and port.
    pub fn socket(self) -> SocketAddr {
        self.0
    }
}

impl FromStr for LoopbackAddress {
    type Err = LoopbackError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address: SocketAddr =
            text.parse().map_err(|_| LoopbackError::Syntax(text.to_owned()))?;
        if !address.ip().to_canonical().is_loopback() {
            return Err(LoopbackError::Reachable(address));
        }
        Ok(Self(address))
    }
}

impl fmt::Display for LoopbackAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_taken() {
        for text in ["127.0.0.1:0", "127.8.9.1:7680", "[::1]:7680", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(text.parse::<LoopbackAddress>().unwrap().to_string(), text);
        }
        for text in ["0.0.0.0:7680", "[::]:7680", "192.168.0.1:1", "[::ffff:10.0.0.1]:1"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(text.parse::<LoopbackAddress>(), Err(LoopbackError::Reachable(address)));
        }
        for text in ["", "7680", "127.0.0.1", "localhost:7680", "127.0.0.1:65536"] {
            let refused = Err(LoopbackError::Syntax(text.to_owned()));
            assert_eq!(text.parse::<LoopbackAddress>(), refused);
        }
        let default = LoopbackAddress::localhost(7680);
        assert_eq!("127.0.0.1:7680".parse(), Ok(default));
    }
}
