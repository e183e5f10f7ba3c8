//! States of which only sizes matter: what a part holds is one number.

use ketch_coordinator::PartSizes;
use ketch_types::{Chance, Height, ShardId, StateRoot, mix};

use crate::content::{Body, Chunk, Start};

/// What the states of a chain are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandIns {
    /// How long a part is when it is packed. *Units:* per thousand.
    pub packed_per_mille: u64,
    /// How many of an epoch's parts are others than in the epoch before. *Units:* per thousand.
    pub changed_per_mille: u64,
    /// Outputs of one chunk. *Units:* bytes.
    pub chunk_bytes: u64,
}

/// The first state of a shard that is about so large.
pub(crate) fn genesis(like: StandIns, bytes: u64, cut: u32, chance: &mut Chance) -> Start {
    let (mut sizes, mut left) = (Vec::new(), bytes);
    while left > 0 {
        // Parts are whole subtrees, so most are smaller than the cut.
        let least = u64::from(cut) * 3 / 5;
        let size = (least + chance.draw() % (u64::from(cut) - least).max(1)).min(left).max(1);
        sizes.push(u32::try_from(size).unwrap_or(cut));
        left -= size;
    }
    let parts: Vec<u64> = sizes.iter().map(|_| chance.draw()).collect();
    start(like, &parts, cut, sizes)
}

/// The state of the next epoch: a run of neighbours has changed.
pub(crate) fn next(like: StandIns, before: &Start, chance: &mut Chance) -> Option<Start> {
    let Body::StandIn { parts, .. } = &before.body else { return None };
    let mut parts = parts.clone();
    let count = parts.len();
    let changed = (count as u64 * like.changed_per_mille).div_ceil(1_000);
    let first = chance.below(count.max(1));
    for place in 0..usize::try_from(changed).unwrap_or(count) {
        if let Some(part) = parts.get_mut((first + place) % count.max(1)) {
            *part = chance.draw();
        }
    }
    let sizes = (0..before.sizes.count()).map(ketch_types::PartIndex);
    let sizes = sizes.map(|part| u32::try_from(before.sizes.bytes(part)).unwrap_or(u32::MAX));
    Some(start(like, &parts, before.sizes.cut(), sizes.collect()))
}

/// What a chunk writes.
pub(crate) fn chunk(like: StandIns, shard: ShardId, height: Height) -> Chunk {
    let content = mix(mix(u64::from(shard.0) + 1) ^ height.0);
    Chunk::StandIn { content, bytes: like.chunk_bytes }
}

/// The root of a state between two epochs' starts, which nobody is asked for.
pub(crate) fn root_at(shard: ShardId, height: Height) -> StateRoot {
    root(&[u64::from(shard.0), height.0])
}

/// The root of a state of some parts.
pub(crate) fn root(parts: &[u64]) -> StateRoot {
    if parts.is_empty() {
        return StateRoot::EMPTY;
    }
    let fold = |seed: u64| parts.iter().fold(seed, |sum, part| mix(sum ^ part));
    let mut bytes = [0; 32];
    for (seed, word) in (1..).zip(bytes.chunks_exact_mut(8)) {
        word.copy_from_slice(&fold(seed).to_le_bytes());
    }
    StateRoot::new(bytes)
}

fn start(like: StandIns, parts: &[u64], cut: u32, sizes: Vec<u32>) -> Start {
    let sizes = PartSizes::new(root(parts), cut, sizes);
    let packed_per_mille = like.packed_per_mille;
    Start { sizes, body: Body::StandIn { parts: parts.to_vec(), packed_per_mille } }
}
