use std::fmt;

use thiserror::Error;

/// The longest id of a peer: a libp2p PeerId of a hashed key has 34 bytes, of an inlined one 38.
///
/// *Units:* bytes. *Source:* the ledger's bytes, version 1.
pub const PEER_ID_BYTES_MAX: usize = 64;

/// The longest address of a peer: twice what a multiaddress through a relay takes.
///
/// *Units:* bytes. *Source:* the ledger's bytes, version 1.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// Why bytes are neither a peer's id nor an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{found} bytes, where 1 to {max} are expected")]
pub struct OpaqueError {
    /// How many bytes there are.
    pub found: usize,
    /// How many there may be.
    pub max: usize,
}

macro_rules! opaque {
    ($(#[doc = $doc:literal] $name:ident($max:ident);)*) => {$(
        #[doc = $doc]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<[u8]>);

        impl $name {
            /// The value made of these bytes.
            ///
            /// *Errors:* [`OpaqueError`] for none, or for too many.
            pub fn new(bytes: &[u8]) -> Result<Self, OpaqueError> {
                if bytes.is_empty() || bytes.len() > $max {
                    return Err(OpaqueError { found: bytes.len(), max: $max });
                }
                Ok(Self(bytes.into()))
            }

            /// The bytes, which only the network reads.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

opaque! {
    /// The network's name of a peer, in the network's own bytes.
    PeerId(PEER_ID_BYTES_MAX);
    /// Where a peer listens, in the network's own bytes.
    Address(ADDRESS_BYTES_MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_to_64_bytes_and_an_address_one_to_256() {
        assert_eq!(PeerId::new(&[]), Err(OpaqueError { found: 0, max: 64 }));
        assert_eq!(PeerId::new(&[7; 65]), Err(OpaqueError { found: 65, max: 64 }));
        assert_eq!(PeerId::new(&[7; 64]).unwrap().as_bytes(), [7; 64]);
        assert_eq!(Address::new(&[]), Err(OpaqueError { found: 0, max: 256 }));
        assert_eq!(Address::new(&[7; 257]), Err(OpaqueError { found: 257, max: 256 }));
        assert!(Address::new(&[7; 256]).is_ok());
    }

    #[test]
    fn an_id_is_shown_in_hexadecimal() {
        let id = PeerId::new(&[0, 0xab]).unwrap();
        assert_eq!((format!("{id}"), format!("{id:?}")), ("00ab".into(), "00ab".into()));
    }
}
