use std::fmt;
use std::str::FromStr;

use roaring::RoaringBitmap;
use thiserror::Error;

use crate::PartIndex;
use crate::text::as_text;

/// The most parts of a manifest that is spoken of: fifty times the largest state that Ketch is
/// designed for, and a bitmap of 128 KiB.
pub const PART_COUNT_MAX: u32 = 1 << 20;

/// Which of a manifest's parts: wanted, held or missing.
///
/// *Shape:* a set of indices below the manifest's part count, which the set carries, so that two
/// sets are only ever combined over the same parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartSet {
    parts: RoaringBitmap,
    count: u32,
}

/// Why bytes are not a [`PartSet`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PartSetError {
    /// No set over so few parts takes so many bytes.
    #[error("{bytes} bytes are too many for a set over {count} parts")]
    TooLong {
        /// The number of bytes that came.
        bytes: usize,
        /// The number of parts that the set is over.
        count: u32,
    },
    /// The bytes are not a roaring bitmap, or more follows it.
    #[error("the bytes are not a roaring bitmap")]
    Malformed,
    /// A part is named that the manifest does not have.
    #[error("part {part} is named, of {count}")]
    OutOfRange {
        /// The largest index named.
        part: u32,
        /// The number of parts that the set is over.
        count: u32,
    },
    /// The same set has another encoding, which is the only one accepted.
    #[error("the bitmap is not in its canonical encoding")]
    NotCanonical,
    /// A text is not what a set of at most [`PART_COUNT_MAX`] parts is written as.
    #[error("a set of parts is written like `0-4,7/9`: rising runs of those in it, of so many")]
    Text,
}

impl PartSet {
    /// No part, of `count`.
    pub fn empty(count: u32) -> Self {
        Self { parts: RoaringBitmap::new(), count }
    }

    /// Every part, of `count`.
    pub fn full(count: u32) -> Self {
        let mut parts = RoaringBitmap::new();
        parts.insert_range(0..count);
        Self { parts, count }
    }

    /// The number of parts that the set is over.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The number of parts in the set.
    pub fn len(&self) -> u32 {
        // At most `count`, which has 32 bits.
        u32::try_from(self.parts.len()).unwrap_or(self.count)
    }

    /// Whether no part is in the set.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether every part is in the set.
    pub fn is_full(&self) -> bool {
        self.len() == self.count
    }

    /// Whether `part` is in the set.
    pub fn contains(&self, part: PartIndex) -> bool {
        self.parts.contains(part.0)
    }

    /// Whether no part is in both sets.
    pub fn is_disjoint(&self, other: &PartSet) -> bool {
        self.parts.is_disjoint(&other.parts)
    }

    /// Adds `part`; whether it was new. A part that the manifest does not have is never added.
    pub fn insert(&mut self, part: PartIndex) -> bool {
        part.0 < self.count && self.parts.insert(part.0)
    }

    /// Takes `part` out; whether it was in.
    pub fn remove(&mut self, part: PartIndex) -> bool {
        self.parts.remove(part.0)
    }

    /// Adds every part of `other` that this set's manifest has.
    pub fn union_with(&mut self, other: &PartSet) {
        self.parts |= &other.parts;
        self.parts.remove_range(self.count..);
    }

    /// Takes out every part of `other`.
    pub fn subtract(&mut self, other: &PartSet) {
        self.parts -= &other.parts;
    }

    /// The parts that are not in the set.
    pub fn complement(&self) -> PartSet {
        let mut rest = PartSet::full(self.count);
        rest.subtract(self);
        rest
    }

    /// The parts in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PartIndex> + '_ {
        self.parts.iter().map(PartIndex)
    }

    /// The set's one encoding: the portable roaring format, where a container is written as runs
    /// exactly if that is shorter than both other forms.
    ///
    /// *Source:* the Roaring bitmap format specification, github.com/RoaringBitmap/RoaringFormatSpec.
    pub fn encode(&self) -> Vec<u8> {
        let mut parts = self.parts.clone();
        // Starting from no runs makes a tie end the same way whatever the set was made from.
        parts.remove_run_compression();
        parts.optimize();
        let mut bytes = Vec::with_capacity(parts.serialized_size());
        // Writing into a vector cannot fail; what it would leave behind is refused by `decode`.
        let _ = parts.serialize_into(&mut bytes);
        bytes
    }

    /// The set over `count` parts that `bytes`, from a peer, stand for.
    ///
    /// *Errors:* see [`PartSetError`]. Whatever the bytes say, memory stays within a small multiple of
    /// their bound and 512 KiB, which the reader takes for a description of the containers.
    pub fn decode(bytes: &[u8], count: u32) -> Result<Self, PartSetError> {
        if bytes.len() > Self::encoded_bytes_max(count) {
            return Err(PartSetError::TooLong { bytes: bytes.len(), count });
        }
        let mut rest = bytes;
        let parts =
            RoaringBitmap::deserialize_from(&mut rest).map_err(|_| PartSetError::Malformed)?;
        if !rest.is_empty() {
            return Err(PartSetError::Malformed);
        }
        if let Some(part) = parts.max().filter(|part| *part >= count) {
            return Err(PartSetError::OutOfRange { part, count });
        }
        let set = Self { parts, count };
        if set.encode() == bytes { Ok(set) } else { Err(PartSetError::NotCanonical) }
    }

    /// The most bytes of an encoded set over `count` parts: a header, and for each 65,536 parts a
    /// description and 8 KiB of bits.
    pub fn encoded_bytes_max(count: u32) -> usize {
        let containers = usize::try_from(count.div_ceil(1 << 16)).unwrap_or(usize::MAX);
        containers.saturating_mul(8_208).saturating_add(16)
    }
}

impl fmt::Display for PartSet {
    /// The runs of parts in the set, and after a slash of how many: `0-4,7/9`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.parts.iter().peekable();
        let mut between = "";
        while let Some(first) = parts.next() {
            let mut last = first;
            while let Some(next) = parts.next_if(|part| part - 1 == last) {
                last = next;
            }
            write!(f, "{between}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            between = ",";
        }
        write!(f, "/{}", self.count)
    }
}

impl FromStr for PartSet {
    type Err = PartSetError;

    /// The set that is written so. Whatever the text says, memory stays within a small multiple of its
    /// length and of the largest bitmap.
    fn from_str(text: &str) -> Result<Self, PartSetError> {
        let number = |text: &str| text.parse::<u32>().map_err(|_| PartSetError::Text);
        let (runs, count) = text.split_once('/').ok_or(PartSetError::Text)?;
        let mut set = PartSet::empty(number(count)?);
        if set.count > PART_COUNT_MAX {
            return Err(PartSetError::Text);
        }
        for run in runs.split(',').filter(|_| !runs.is_empty()) {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (first, last) = (number(first)?, number(last)?);
            if last >= set.count {
                return Err(PartSetError::OutOfRange { part: last, count: set.count });
            }
            set.parts.insert_range(first..=last);
        }
        // One text per set, as there is one encoding.
        if set.to_string() == text { Ok(set) } else { Err(PartSetError::Text) }
    }
}

as_text!(PartSet);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set_of(parts: &[u32], count: u32) -> PartSet {
        let mut set = PartSet::empty(count);
        for part in parts {
            set.insert(PartIndex(*part));
        }
        set
    }

    #[test]
    fn a_set_never_holds_a_part_that_the_manifest_does_not_have() {
        let mut set = set_of(&[0, 4, 5, 900], 5);
        assert_eq!(set.iter().collect::<Vec<_>>(), [PartIndex(0), PartIndex(4)]);
        set.union_with(&PartSet::full(9));
        assert!(set.is_full() && set.len() == 5);
        assert!(set.complement().is_empty());
        assert_eq!(PartSet::full(0), PartSet::empty(0));
    }

    #[test]
    fn the_encoding_is_fixed() {
        // Cookie 12347 with one run container, run flag, key 0 with 7 values, one run of 0 + 6.
        let runs = [0x3b, 0x30, 0, 0, 1, 0, 0, 6, 0, 1, 0, 0, 0, 6, 0];
        assert_eq!(PartSet::full(7).encode(), runs);
        // Cookie 12346 without runs: one container of two values at offset 16.
        let array = [0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 16, 0, 0, 0, 1, 0, 5, 0];
        assert_eq!(set_of(&[1, 5], 7).encode(), array);
        assert_eq!(PartSet::empty(7).encode(), [0x3a, 0x30, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_tie_between_runs_and_values_ends_the_same_way_from_either_side() {
        // Three neighbours: an array takes 6 bytes, one run takes 2 + 4.
        let inserted = set_of(&[3, 4, 5], 9);
        let mut cut_down = PartSet::full(9);
        cut_down.subtract(&set_of(&[0, 1, 2, 6, 7, 8], 9));
        assert_eq!(inserted.encode(), cut_down.encode());
        assert_eq!(PartSet::decode(&cut_down.encode(), 9), Ok(inserted));
    }

    #[test]
    fn a_bitmap_past_the_part_count_is_refused() {
        let bytes = set_of(&[6], 7).encode();
        assert_eq!(PartSet::decode(&bytes, 6), Err(PartSetError::OutOfRange { part: 6, count: 6 }));
    }

    #[test]
    fn a_bitmap_in_another_encoding_is_refused() {
        // The same seven parts, without the run.
        let mut plain = RoaringBitmap::new();
        plain.extend(0..7);
        plain.remove_run_compression();
        let mut bytes = Vec::new();
        plain.serialize_into(&mut bytes).unwrap();
        assert_eq!(PartSet::decode(&bytes, 7), Err(PartSetError::NotCanonical));
    }

    #[test]
    fn a_bitmap_that_would_unfold_to_billions_is_refused_by_its_length_alone() {
        let mut all = RoaringBitmap::full();
        all.optimize();
        let mut bytes = Vec::new();
        all.serialize_into(&mut bytes).unwrap();
        let refused = PartSet::decode(&bytes, 20_000);
        assert_eq!(refused, Err(PartSetError::TooLong { bytes: bytes.len(), count: 20_000 }));
    }

    #[test]
    fn trailing_and_missing_bytes_are_refused() {
        let mut bytes = set_of(&[1, 5], 7).encode();
        assert_eq!(PartSet::decode(&bytes[..bytes.len() - 1], 7), Err(PartSetError::Malformed));
        bytes.push(0);
        assert_eq!(PartSet::decode(&bytes, 7), Err(PartSetError::Malformed));
    }

    #[test]
    fn the_text_says_which_runs_of_parts_of_how_many() {
        assert_eq!(set_of(&[0, 1, 2, 5, 7, 8], 9).to_string(), "0-2,5,7-8/9");
        assert_eq!(PartSet::empty(4).to_string(), "/4");
        assert_eq!("0-2,5,7-8/9".parse(), Ok(set_of(&[0, 1, 2, 5, 7, 8], 9)));
        let json = serde_json::to_string(&PartSet::full(3)).unwrap();
        assert_eq!(json, "\"0-2/3\"");
        assert_eq!(serde_json::from_str::<PartSet>(&json).unwrap(), PartSet::full(3));
    }

    #[test]
    fn a_text_that_is_not_a_sets_only_one_is_refused() {
        let long = format!("0-{}/{}", PART_COUNT_MAX, PART_COUNT_MAX + 1);
        for text in [
            "",
            "3",
            "0-2",
            "0-2,/9",
            ",/9",
            "2-0/9",
            "0-1,2/9",
            "5,1/9",
            "1,1/9",
            "0-3,2/9",
            "+1/9",
            "01/9",
            "1-/9",
            "-1/9",
            "0x1/9",
            "1/9/9",
            "1-1/9",
            " 1/9",
            "/4294967296",
            &long,
        ] {
            assert_eq!(text.parse::<PartSet>(), Err(PartSetError::Text), "{text}");
        }
        let beyond = PartSetError::OutOfRange { part: 9, count: 9 };
        assert_eq!("0-9/9".parse::<PartSet>(), Err(beyond));
    }

    proptest! {
        #[test]
        fn a_set_survives_its_text(
            parts in proptest::collection::vec(0u32..3_000, 0..600),
            count in 1u32..3_000,
        ) {
            let set = set_of(&parts, count);
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }

        #[test]
        fn a_set_survives_its_encoding_and_stays_in_its_bound(
            parts in proptest::collection::vec(0u32..200_000, 0..600),
            run in 0u32..150_000,
            count in 1u32..200_000,
        ) {
            let mut set = set_of(&parts, count);
            set.union_with(&set_of(&(run..run + 5_000).collect::<Vec<_>>(), count));
            let bytes = set.encode();
            prop_assert!(bytes.len() <= PartSet::encoded_bytes_max(count));
            prop_assert_eq!(PartSet::decode(&bytes, count), Ok(set));
        }

        #[test]
        fn arbitrary_bytes_are_a_canonical_set_or_refused(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..64),
            cookie in any::<bool>(),
        ) {
            if cookie {
                bytes.splice(0..bytes.len().min(4), [0x3a, 0x30, 0, 0]);
            }
            if let Ok(set) = PartSet::decode(&bytes, 70_000) {
                prop_assert_eq!(set.encode(), bytes);
            }
        }
    }
}
