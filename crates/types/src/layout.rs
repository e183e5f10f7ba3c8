use thiserror::Error;

use crate::{KEY_BYTES_MAX, KeyRange, ShardId};

/// The smallest size of a part that a layout may set. *Units:* bytes.
pub const PART_BYTES_MIN: u32 = 64 << 10;
/// The largest size of a part that a layout may set. *Units:* bytes.
pub const PART_BYTES_MAX: u32 = 64 << 20;
/// The size of a part where a layout does not say otherwise. *Units:* bytes.
pub const PART_BYTES_DEFAULT: u32 = 4 << 20;
/// The most shards of a layout: ten times the largest network that Ketch is designed for.
pub const SHARDS_MAX: usize = 1_000;

/// How keys map to shards, and how large the parts of their states are.
///
/// *Shape:* n shards in key order have n − 1 boundaries, each the first key of the shard after it.
/// Shards may hold no entry at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardLayout {
    shards: Vec<ShardId>,
    boundaries: Vec<Vec<u8>>,
    part_bytes: u32,
}

/// Why a layout is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// A layout has at least one shard and at most [`SHARDS_MAX`].
    #[error("a layout has 1 to {SHARDS_MAX} shards, not {0}")]
    ShardCount(usize),
    /// n shards need n − 1 boundaries.
    #[error("{shards} shards need {} boundaries, not {boundaries}", shards.saturating_sub(1))]
    BoundaryCount {
        /// The number of shard ids.
        shards: usize,
        /// The number of boundaries beside them.
        boundaries: usize,
    },
    /// Boundaries are keys and rise strictly.
    #[error("boundary {0} is not above the one before it")]
    BoundaryOrder(usize),
    /// A boundary is a key: not empty, and not longer than one.
    #[error("boundary {0} is not a key of 1 to {KEY_BYTES_MAX} bytes")]
    BoundaryLength(usize),
    /// An id names one shard.
    #[error("shard id {0} is given twice")]
    DuplicateShard(ShardId),
    /// The size of a part is out of bounds.
    #[error("part_bytes is {0}, not within {PART_BYTES_MIN} to {PART_BYTES_MAX}")]
    PartBytes(u64),
}

impl ShardLayout {
    /// A layout of `shards` in key order, separated by `boundaries`.
    ///
    /// *Errors:* see [`LayoutError`].
    pub fn new(
        shards: Vec<ShardId>,
        boundaries: Vec<Vec<u8>>,
        part_bytes: u64,
    ) -> Result<Self, LayoutError> {
        if shards.is_empty() || shards.len() > SHARDS_MAX {
            return Err(LayoutError::ShardCount(shards.len()));
        }
        if boundaries.len() + 1 != shards.len() {
            let (shards, boundaries) = (shards.len(), boundaries.len());
            return Err(LayoutError::BoundaryCount { shards, boundaries });
        }
        check_boundaries(&boundaries)?;
        check_ids(&shards)?;
        let part_bytes = u32::try_from(part_bytes)
            .ok()
            .filter(|bytes| (PART_BYTES_MIN..=PART_BYTES_MAX).contains(bytes))
            .ok_or(LayoutError::PartBytes(part_bytes))?;
        Ok(Self { shards, boundaries, part_bytes })
    }

    /// The shards in key order.
    pub fn shards(&self) -> &[ShardId] {
        &self.shards
    }

    /// The first keys of all shards but the first, in key order.
    pub fn boundaries(&self) -> &[Vec<u8>] {
        &self.boundaries
    }

    /// The size that parts are cut to. *Units:* bytes.
    pub fn part_bytes(&self) -> u32 {
        self.part_bytes
    }

    /// The shard that holds `key`.
    pub fn shard_of(&self, key: &[u8]) -> ShardId {
        let position = self.boundaries.partition_point(|boundary| boundary.as_slice() <= key);
        // There is one shard more than there are boundaries, so the position always names one.
        self.shards.get(position).copied().unwrap_or(ShardId(0))
    }

    /// The keys of `shard`, if the layout has it.
    pub fn range_of(&self, shard: ShardId) -> Option<KeyRange> {
        let position = self.shards.iter().position(|id| *id == shard)?;
        let below = position.checked_sub(1).and_then(|before| self.boundaries.get(before));
        let low = below.cloned().unwrap_or_default();
        Some(KeyRange { low, high: self.boundaries.get(position).cloned() })
    }
}

fn check_boundaries(boundaries: &[Vec<u8>]) -> Result<(), LayoutError> {
    let mut below: &[u8] = &[];
    for (at, boundary) in boundaries.iter().enumerate() {
        if boundary.is_empty() || boundary.len() > KEY_BYTES_MAX {
            return Err(LayoutError::BoundaryLength(at));
        }
        if boundary.as_slice() <= below {
            return Err(LayoutError::BoundaryOrder(at));
        }
        below = boundary;
    }
    Ok(())
}

fn check_ids(shards: &[ShardId]) -> Result<(), LayoutError> {
    let mut sorted = shards.to_vec();
    sorted.sort_unstable();
    let twice = sorted.iter().zip(sorted.iter().skip(1)).find(|(a, b)| a == b);
    twice.map_or(Ok(()), |(id, _)| Err(LayoutError::DuplicateShard(*id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(ids: &[u32], boundaries: &[&str]) -> Result<ShardLayout, LayoutError> {
        let ids = ids.iter().copied().map(ShardId).collect();
        let boundaries = boundaries.iter().map(|b| b.as_bytes().to_vec()).collect();
        ShardLayout::new(ids, boundaries, u64::from(PART_BYTES_DEFAULT))
    }

    #[test]
    fn a_boundary_is_the_first_key_of_the_shard_after_it() {
        let layout = layout(&[10, 11, 1], &["aurora", "m"]).unwrap();
        let shards: Vec<_> = ["", "auror", "aurora", "aurora0", "lz", "m", "z"]
            .map(|k| layout.shard_of(k.as_bytes()).0)
            .into();
        assert_eq!(shards, [10, 10, 11, 11, 11, 1, 1]);
    }

    #[test]
    fn the_ranges_of_the_shards_tile_the_key_space() {
        let layout = layout(&[10, 11, 1], &["aurora", "m"]).unwrap();
        let ranges: Vec<_> = layout.shards().iter().map(|s| layout.range_of(*s).unwrap()).collect();
        assert!(ranges[0].low.is_empty() && ranges[2].high.is_none());
        assert_eq!(ranges[0].high.as_ref(), Some(&ranges[1].low));
        assert_eq!(ranges[1].high.as_ref(), Some(&ranges[2].low));
        assert_eq!(layout.range_of(ShardId(2)), None);
    }

    #[test]
    fn what_is_not_a_layout_is_refused_with_its_reason() {
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        assert_eq!(layout(&[], &[]), Err(LayoutError::ShardCount(0)));
        let counts = LayoutError::BoundaryCount { shards: 2, boundaries: 0 };
        assert_eq!(layout(&[1, 2], &[]), Err(counts));
        assert_eq!(layout(&[1, 2, 3], &["b", "b"]), Err(LayoutError::BoundaryOrder(1)));
        assert_eq!(layout(&[1, 2], &[""]), Err(LayoutError::BoundaryLength(0)));
        assert_eq!(layout(&[1, 2], &[&long]), Err(LayoutError::BoundaryLength(0)));
        assert_eq!(layout(&[7, 7], &["b"]), Err(LayoutError::DuplicateShard(ShardId(7))));
        for bytes in [0, 65_535, (64 << 20) + 1, u64::MAX] {
            let refused = ShardLayout::new(vec![ShardId(0)], vec![], bytes);
            assert_eq!(refused, Err(LayoutError::PartBytes(bytes)));
        }
    }
}
