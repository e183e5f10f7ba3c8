use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text::as_text;

/// 32 bytes of BLAKE3; what they are a hash *of* is said by the newtypes around it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

/// Why a text is not a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HashError {
    /// A hash is written as 64 hexadecimal digits.
    #[error("a hash has 64 hexadecimal digits, not {0} characters")]
    Length(usize),
    /// A character is not a hexadecimal digit.
    #[error("character {0} of the hash is not a hexadecimal digit")]
    Digit(usize),
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

as_text!(Hash);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 {
            return Err(HashError::Length(text.chars().count()));
        }
        let mut bytes = [0; 32];
        for (at, c) in text.char_indices() {
            let digit = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let (Some(digit), Some(byte)) = (digit, bytes.get_mut(at / 2)) else {
                return Err(HashError::Digit(at));
            };
            *byte = (*byte << 4) | digit;
        }
        Ok(Hash(bytes))
    }
}

macro_rules! hash_of {
    ($(#[doc = $doc:literal] $name:ident;)*) => {$(
        #[doc = $doc]
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(pub Hash);

        impl $name {
            /// The hash made of these 32 bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(Hash(bytes))
            }

            /// The hash's 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = HashError;

            fn from_str(text: &str) -> Result<Self, HashError> {
                text.parse().map(Self)
            }
        }
    )*};
}

hash_of! {
    /// The root of one shard's state: what validators sign, and the one thing that Ketch trusts.
    StateRoot;
    /// The hash of one node of the trie, bucket or inner.
    NodeHash;
    /// The name of a part by its content.
    PartHash;
    /// The name of a chain: the hash of its genesis.
    ChainId;
    /// The hash of what is fixed about one epoch.
    EpochInfoHash;
    /// The hash of one shard's slice of one height.
    ChunkHeaderHash;
    /// The hash of a block.
    BlockHash;
    /// The hash of a ledger info; a waypoint is one.
    LedgerInfoHash;
    /// The root of the tree over the shards' newest chunk headers.
    ChunksRoot;
    /// The root of the tree over a chunk's outputs.
    OutputsRoot;
    /// The root of the tree over a chunk's transactions.
    TransactionsRoot;
}

impl StateRoot {
    /// The root of the state without entries. *Source:* the commitment's vectors.
    pub const EMPTY: Self = Self::new([
        0xbb, 0xe9, 0x24, 0xf1, 0xb4, 0x50, 0x12, 0xad, 0x38, 0x16, 0xa8, 0x61, 0xa1, 0x1c, 0x29,
        0x60, 0xc1, 0x99, 0x54, 0x3b, 0x00, 0x2c, 0x4e, 0x0b, 0x43, 0x4a, 0x7d, 0xae, 0x0d, 0xd3,
        0x6a, 0x6d,
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_survives_its_text() {
        let hash = StateRoot::new(std::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(hash.to_string().to_uppercase().parse(), Ok(hash));
    }

    #[test]
    fn a_text_of_another_length_or_alphabet_is_refused() {
        assert_eq!("ab".parse::<Hash>(), Err(HashError::Length(2)));
        assert_eq!("0".repeat(65).parse::<Hash>(), Err(HashError::Length(65)));
        let odd = format!("{}g{}", "0".repeat(10), "0".repeat(53));
        assert_eq!(odd.parse::<Hash>(), Err(HashError::Digit(10)));
        let wide = format!("{}é{}", "0".repeat(10), "0".repeat(52));
        assert_eq!(wide.parse::<Hash>(), Err(HashError::Digit(10)));
    }
}
