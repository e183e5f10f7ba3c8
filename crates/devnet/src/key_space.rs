use ketch_types::{KEY_BYTES_MAX, KeyRange};
use thiserror::Error;

/// The keys of one shard that begin alike: its boundary, then a place, then whatever is wanted.
///
/// Places rise with the keys, so entries can be made in key order without sorting them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeySpace {
    prefix: Vec<u8>,
    /// The first bytes after the prefix are below this; at least 1.
    first_bytes: u64,
}

/// Why no keys can be made in a range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeySpaceError {
    /// Only a handful of keys lie between the boundaries.
    #[error("between the boundaries {low} and {high} there is no room for keys")]
    Narrow {
        /// The first key, in hexadecimal digits.
        low: String,
        /// The key after the last, in hexadecimal digits.
        high: String,
    },
    /// A key after this boundary could be too long.
    #[error("the boundary {0} is too long to make keys after it")]
    Long(String),
}

/// The bytes of a place.
const PLACE_BYTES: u32 = 6;
/// The most that follows a prefix. *Units:* bytes.
const AFTER_PREFIX_MAX: usize = 256;

impl KeySpace {
    /// The keys to make in a range.
    ///
    /// *Errors:* see [`KeySpaceError`].
    pub(crate) fn new(range: &KeyRange) -> Result<Self, KeySpaceError> {
        let mut prefix = range.low.clone();
        let rest = range.high.as_ref().and_then(|high| high.strip_prefix(prefix.as_slice()));
        let mut first_bytes = 256;
        if let Some(rest) = rest {
            // Below `rest` are first bytes below its own; where that is 0, only what follows it counts.
            let zeroes = rest.iter().take_while(|byte| **byte == 0).count();
            let Some(limit) = rest.get(zeroes) else {
                let (low, high) = (hex(&range.low), hex(range.high.as_deref().unwrap_or_default()));
                return Err(KeySpaceError::Narrow { low, high });
            };
            prefix.extend(std::iter::repeat_n(0, zeroes));
            first_bytes = u64::from(*limit);
        }
        if prefix.len() + AFTER_PREFIX_MAX > KEY_BYTES_MAX {
            return Err(KeySpaceError::Long(hex(&range.low)));
        }
        Ok(Self { prefix, first_bytes })
    }

    /// The start of the keys of one of `count` places, which are spread evenly; `jitter` moves it
    /// within its own.
    pub(crate) fn place(&self, index: u64, count: u64, jitter: u64) -> Vec<u8> {
        let all = u128::from(self.first_bytes) << (8 * (PLACE_BYTES - 1));
        let count = u128::from(count.max(1));
        let (start, end) = (u128::from(index) * all / count, (u128::from(index) + 1) * all / count);
        let place = start + u128::from(jitter) % (end - start).max(1);
        let place = u64::try_from(place).unwrap_or(u64::MAX).to_be_bytes();
        let skipped = place.len() - PLACE_BYTES as usize;
        let mut key = self.prefix.clone();
        key.extend(place.into_iter().skip(skipped));
        key
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(low: &[u8], high: Option<&[u8]>) -> KeyRange {
        KeyRange { low: low.to_vec(), high: high.map(<[u8]>::to_vec) }
    }

    #[test]
    fn a_range_without_room_is_refused() {
        for high in [&b"a\0"[..], b"a\0\0\0"] {
            let space = KeySpace::new(&range(b"a", Some(high)));
            assert!(matches!(space, Err(KeySpaceError::Narrow { .. })), "{space:?}");
        }
        let long = KeySpace::new(&range(&[7; KEY_BYTES_MAX], None));
        assert!(matches!(long, Err(KeySpaceError::Long(_))), "{long:?}");
    }

    proptest! {
        #[test]
        fn places_rise_strictly_and_lie_in_the_range_whatever_follows_them(
            low in proptest::collection::vec(any::<u8>(), 0..4),
            high in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..6)),
            count in 1u64..5_000, jitter in any::<u64>(), index in any::<prop::sample::Index>(),
        ) {
            let range = KeyRange { low, high };
            prop_assume!(!range.is_empty());
            let Ok(space) = KeySpace::new(&range) else { return Ok(()) };
            let at = index.index(usize::try_from(count).unwrap()) as u64;
            let here = space.place(at, count, jitter);
            let last = [here.clone(), vec![0xff; 40]].concat();
            prop_assert!(range.contains(&here) && range.contains(&last), "{here:?} in {range:?}");
            if at + 1 < count {
                prop_assert!(last < space.place(at + 1, count, jitter / 3));
            }
        }
    }
}
