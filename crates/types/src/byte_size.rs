use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A number of bytes as people write it: an integer, bare or followed by KiB, MiB or GiB.
///
/// *Units:* bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Why a text is not a [`ByteSize`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ByteSizeError {
    /// The part before the unit is not a whole number.
    #[error("`{0}` is not a whole number of bytes, KiB, MiB or GiB")]
    Number(String),
    /// The number of bytes does not fit 64 bits.
    #[error("`{0}` is more than 2^64 bytes")]
    TooLarge(String),
}

const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)))
            .unwrap_or((text, 1));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(ByteSizeError::Number(text.to_owned()));
        }
        let count: Option<u64> = digits.parse().ok();
        let bytes = count.and_then(|count| count.checked_mul(unit));
        bytes.map(ByteSize).ok_or_else(|| ByteSizeError::TooLarge(text.to_owned()))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().rev().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit));
        match whole {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_an_integer_with_an_optional_binary_unit() {
        for (text, bytes) in [("0", 0), ("17", 17), ("64KiB", 65_536), ("4 MiB", 4 << 20)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        assert_eq!(ByteSize(64 << 20).to_string(), "64MiB");
        assert_eq!(ByteSize(1_000).to_string(), "1000");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "KiB", "-1", "+1", "1.5MiB", "1MB", "0x10", "1 K", "１"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError::Number(text.into())));
        }
        for text in ["18446744073709551616", "18446744073709551615GiB"] {
            assert_eq!(text.parse::<ByteSize>(), Err(ByteSizeError::TooLarge(text.into())));
        }
    }
}
