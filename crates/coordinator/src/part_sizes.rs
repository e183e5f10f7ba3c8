use std::ops::Range;
use std::sync::Arc;

use ketch_types::{PartIndex, PartSet, StateRoot};
use serde::{Deserialize, Serialize};

/// What the coordinator knows of a manifest: how many parts there are, and how large.
///
/// The manifest itself, with its hashes and key ranges, stays with the driver, which verified it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Sizes", into = "Sizes")]
pub struct PartSizes {
    root: StateRoot,
    cut: u32,
    bytes: Arc<[u32]>,
    total: u64,
}

/// [`PartSizes`] as they are written: the total is made of the others.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sizes {
    root: StateRoot,
    cut: u32,
    bytes: Vec<u32>,
}

impl From<Sizes> for PartSizes {
    fn from(written: Sizes) -> Self {
        Self::new(written.root, written.cut, written.bytes)
    }
}

impl From<PartSizes> for Sizes {
    fn from(sizes: PartSizes) -> Self {
        Self { root: sizes.root, cut: sizes.cut, bytes: sizes.bytes.to_vec() }
    }
}

impl PartSizes {
    /// The sizes of the parts of `root` at `cut`, in order. *Units:* bytes.
    pub fn new(root: StateRoot, cut: u32, bytes: Vec<u32>) -> Self {
        let total = bytes.iter().map(|bytes| u64::from(*bytes)).sum();
        Self { root, cut, bytes: bytes.into(), total }
    }

    /// The root of the state.
    pub fn root(&self) -> StateRoot {
        self.root
    }

    /// The size that the parts were cut to. *Units:* bytes.
    pub fn cut(&self) -> u32 {
        self.cut
    }

    /// The number of parts.
    pub fn count(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    /// The size of one part, zero if there is no such part. *Units:* bytes.
    pub fn bytes(&self, part: PartIndex) -> u64 {
        self.bytes.get(part.0 as usize).copied().unwrap_or(0).into()
    }

    /// The size of the whole state. *Units:* bytes.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }

    /// The size of some parts. *Units:* bytes.
    pub fn bytes_of(&self, parts: &PartSet) -> u64 {
        if parts.is_full() {
            return self.total;
        }
        parts.iter().map(|part| self.bytes(part)).sum()
    }

    /// The parts in order, in neighbourhoods of about `window_bytes`, each of one part at least.
    pub(crate) fn neighbourhoods(&self, window_bytes: u64) -> Vec<Range<u32>> {
        let mut ranges = Vec::new();
        let (mut start, mut bytes) = (0, 0);
        for part in 0..self.count() {
            let more = self.bytes(PartIndex(part));
            if part > start && bytes + more > window_bytes {
                ranges.push(start..part);
                (start, bytes) = (part, 0);
            }
            bytes += more;
        }
        if start < self.count() {
            ranges.push(start..self.count());
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbourhoods_tile_the_parts_and_none_is_larger_than_asked_but_by_a_single_part() {
        let sizes = [5, 5, 5, 40, 1, 1, 10, 10, 3];
        let sizes = PartSizes::new(StateRoot::new([0; 32]), 10, sizes.to_vec());
        assert_eq!(sizes.neighbourhoods(15), [0..3, 3..4, 4..7, 7..9]);
        assert_eq!(sizes.neighbourhoods(u64::MAX), std::slice::from_ref(&(0..9)));
        let none = PartSizes::new(StateRoot::new([0; 32]), 10, vec![]);
        assert!(none.neighbourhoods(15).is_empty());
    }
}
