use std::fmt;

use ketch_types::ByteSize;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// A size as TOML says it: as text, "4MiB", or as a bare number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) ByteSize);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"4MiB\" or 4194304")
            }

            fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
                let size = u64::try_from(bytes).map(|bytes| Size(ByteSize(bytes)));
                size.map_err(|_| E::invalid_value(Unexpected::Signed(bytes), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map(Size).map_err(E::custom)
            }
        }
        input.deserialize_any(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Sizes {
        size: Size,
    }

    #[test]
    fn a_size_is_text_or_a_number_of_bytes() {
        for text in ["size = \"4MiB\"", "size = 4194304", "size = 0x40_0000"] {
            let sizes: Sizes = toml::from_str(text).unwrap();
            assert_eq!(sizes.size, Size(ByteSize(4 << 20)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_what_a_size_is() {
        let expected = "expected a size such as \"4MiB\" or 4194304";
        for text in ["size = -1", "size = 1.5", "size = [1]", "size = true"] {
            let refused = toml::from_str::<Sizes>(text).unwrap_err();
            assert!(refused.message().contains(expected), "{text}: {refused}");
        }
        let refused = toml::from_str::<Sizes>("size = \"4MB\"").unwrap_err();
        assert!(refused.message().contains("bytes, KiB, MiB or GiB"), "{refused}");
    }
}
