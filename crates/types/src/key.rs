/// The longest key of an entry; the shortest is one byte.
///
/// *Units:* bytes. *Source:* the state commitment, version 1.
pub const KEY_BYTES_MAX: usize = 2_048;

/// The longest value of an entry; a value may be empty.
///
/// *Units:* bytes. *Source:* the state commitment, version 1.
pub const VALUE_BYTES_MAX: usize = 4 << 20;

/// The keys from `low`, included, to `high`, excluded; without `high`, to the end of the key space.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    /// The first key of the range; empty means the start of the key space.
    pub low: Vec<u8>,
    /// The first key after the range, if any key follows it.
    pub high: Option<Vec<u8>>,
}

impl KeyRange {
    /// The whole key space.
    pub const ALL: KeyRange = KeyRange { low: Vec::new(), high: None };

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.low.as_slice() <= key && self.high.as_deref().is_none_or(|high| key < high)
    }

    /// Whether every key of `other` lies in this range; an empty `other` always does.
    pub fn covers(&self, other: &KeyRange) -> bool {
        let ends_before = match (&self.high, &other.high) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(mine), Some(theirs)) => theirs <= mine,
        };
        other.is_empty() || (self.low <= other.low && ends_before)
    }

    /// Whether some key may lie in both ranges.
    pub fn overlaps(&self, other: &KeyRange) -> bool {
        let begins_before_end_of =
            |a: &KeyRange, b: &KeyRange| b.high.as_ref().is_none_or(|high| a.low < *high);
        begins_before_end_of(self, other) && begins_before_end_of(other, self)
    }

    /// Whether one of `ranges`, disjoint and in key order, covers `range`.
    pub fn any_covers(ranges: &[KeyRange], range: &KeyRange) -> bool {
        let after = ranges.partition_point(|known| known.low <= range.low);
        let around = after.checked_sub(1).and_then(|at| ranges.get(at));
        around.is_some_and(|known| known.covers(range))
    }

    /// Whether no key lies in the range.
    pub fn is_empty(&self) -> bool {
        self.high.as_ref().is_some_and(|high| *high <= self.low)
    }
}

impl std::fmt::Debug for KeyRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let high = self.high.as_deref().map_or_else(|| "end".to_owned(), hex);
        write!(f, "[{}, {high})", hex(&self.low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(low: &str, high: Option<&str>) -> KeyRange {
        KeyRange { low: low.into(), high: high.map(Into::into) }
    }

    #[test]
    fn the_low_end_belongs_to_a_range_and_the_high_end_does_not() {
        let middle = range("b", Some("d"));
        let inside: Vec<_> =
            ["a", "b", "c", "cz", "d"].map(|k| middle.contains(k.as_bytes())).into();
        assert_eq!(inside, [false, true, true, true, false]);
        assert!(KeyRange::ALL.contains(b"") && KeyRange::ALL.contains(&[255; 9]));
    }

    #[test]
    fn a_range_covers_what_lies_wholly_within_it() {
        let middle = range("b", Some("d"));
        assert!(KeyRange::ALL.covers(&middle) && middle.covers(&middle));
        assert!(middle.covers(&range("z", Some("z"))), "an empty range lies anywhere");
        for other in [range("a", Some("c")), range("c", Some("e")), range("c", None)] {
            assert!(!middle.covers(&other), "{other:?}");
        }
    }
}
