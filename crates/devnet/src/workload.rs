use std::collections::BTreeSet;

use ketch_trie::Writes;
use ketch_types::{Chance, Height, KEY_BYTES_MAX, KeyRange, ShardId, mix};

use crate::genesis_state::{heavy_tail, value};
use crate::key_sample::KeySample;

/// What the chunks of one shard write, computed from nothing but a sample of its first entries.
///
/// Six in ten writes put a key of the sample anew, half of these in a few hot places; three put a new
/// key beside an old one; one deletes, in turns a key that was new some blocks ago and an old one. One
/// height in sixteen has no chunk, and a shard that began without entries has none ever.
#[derive(Clone, Debug)]
pub struct Workload {
    seed: u64,
    range: KeyRange,
    sample: KeySample,
    writes: u64,
}

/// The fewest writes of a chunk, for a state that is large enough.
const WRITES_MIN: u64 = 200;
/// No chunk writes more than one entry in so many.
const ENTRIES_PER_WRITE: u64 = 50;
/// An epoch writes at least one entry in so many.
const ENTRIES_PER_EPOCH_WRITE: u64 = 100;
/// New keys are deleted, some of them, so many blocks later.
const DELETED_AFTER: u64 = 5;
/// One height in so many has no chunk.
const IDLE_ONE_IN: u64 = 16;
/// Hot places, and how many neighbouring keys each has.
const HOT_PLACES: usize = 8;
const HOT_KEYS: usize = 16;

impl Workload {
    /// The workload of a shard whose keys are `range`, in epochs of so many blocks.
    pub fn new(
        seed: u64,
        shard: ShardId,
        range: KeyRange,
        sample: KeySample,
        epoch_blocks: u64,
    ) -> Self {
        let entries = sample.seen();
        let an_epoch = entries.div_ceil(ENTRIES_PER_EPOCH_WRITE).div_ceil(epoch_blocks.max(1));
        let writes = an_epoch.max(WRITES_MIN).min(entries.div_ceil(ENTRIES_PER_WRITE));
        let seed = mix(mix(seed) ^ u64::from(shard.0));
        Self { seed, range, sample, writes }
    }

    /// What the chunk at a height writes; nothing means that there is no chunk.
    pub fn writes(&self, height: Height) -> Writes {
        let mut writes = Writes::default();
        if self.sample.keys().is_empty() || self.is_idle(height) {
            return writes;
        }
        let mut chance = self.chance(height, 0);
        let deleted = self.deleted(height);
        let mut put: BTreeSet<_> = self.new_keys(height).into_iter().collect();
        // A key that is drawn twice is written once, so a few more are drawn than are wanted.
        for _ in 0..self.writes * 2 {
            if (put.len() + deleted.len()) as u64 >= self.writes {
                break;
            }
            put.extend(self.old_key(&mut chance).filter(|key| !deleted.contains(key)));
        }
        // Keys of a state and those made of them keep the limits.
        for key in put {
            let bytes = heavy_tail(&mut chance, 24, 16 << 10);
            let _ = writes.put(&key, &value(&mut chance, bytes));
        }
        for key in deleted {
            let _ = writes.delete(&key);
        }
        writes
    }

    fn is_idle(&self, height: Height) -> bool {
        height.0.wrapping_add(self.seed).is_multiple_of(IDLE_ONE_IN)
    }

    fn chance(&self, height: Height, what: u64) -> Chance {
        Chance::new(mix(self.seed ^ mix(height.0)) ^ what)
    }

    /// Keys that this height's chunk is the first to write.
    fn new_keys(&self, height: Height) -> Vec<Vec<u8>> {
        if height.0 == 0 || self.is_idle(height) {
            return Vec::new();
        }
        let mut chance = self.chance(height, 1);
        let new = |number: u64| {
            let mut key = self.hot_key(&mut chance)?;
            // A zero first: what follows an old key is then hardly ever beyond the next boundary.
            key.push(0);
            key.extend(height.0.to_be_bytes());
            key.extend(u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
            (key.len() <= KEY_BYTES_MAX && self.range.contains(&key)).then_some(key)
        };
        (0..self.writes * 3 / 10).filter_map(new).collect()
    }

    /// Keys that are there and are deleted at this height.
    fn deleted(&self, height: Height) -> BTreeSet<Vec<u8>> {
        let count = usize::try_from(self.writes.div_ceil(10)).unwrap_or(usize::MAX);
        let before = Height(height.0.saturating_sub(DELETED_AFTER));
        let new = self.new_keys(before).into_iter();
        let mut deleted: BTreeSet<_> = new.take(count / 2).collect();
        let mut chance = self.chance(height, 2);
        for _ in 0..count * 2 {
            if deleted.len() >= count {
                break;
            }
            deleted.extend(self.any_key(&mut chance));
        }
        deleted
    }

    fn old_key(&self, chance: &mut Chance) -> Option<Vec<u8>> {
        if chance.one_in(2) { self.hot_key(chance) } else { self.any_key(chance) }
    }

    fn any_key(&self, chance: &mut Chance) -> Option<Vec<u8>> {
        let keys = self.sample.keys();
        keys.get(chance.below(keys.len())).cloned()
    }

    /// A key of one of the hot places, which are the same all the time.
    fn hot_key(&self, chance: &mut Chance) -> Option<Vec<u8>> {
        let keys = self.sample.keys();
        let place = chance.below(HOT_PLACES) * keys.len() / HOT_PLACES;
        let key = place + chance.below(HOT_KEYS.min(keys.len()));
        keys.get(key % keys.len().max(1)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::genesis_state::GenesisState;

    const SHARD: ShardId = ShardId(5);

    fn range() -> KeyRange {
        KeyRange { low: vec![0x40], high: Some(vec![0x80]) }
    }

    fn workload(bytes: u64, epoch_blocks: u64) -> (Workload, u64) {
        let state = GenesisState::new(1, SHARD, &range(), bytes).unwrap();
        let mut sample = KeySample::default();
        state.entries().for_each(|(key, _)| sample.push(&key));
        let entries = sample.seen();
        (Workload::new(1, SHARD, range(), sample, epoch_blocks), entries)
    }

    /// The default of a testnet.
    #[test]
    fn a_chunk_has_two_hundred_writes_a_tenth_of_them_deletes_and_an_epoch_a_hundredth_of_all() {
        let (workload, entries) = workload(64 << 20, 40);
        let mut written = BTreeSet::new();
        for height in (1..=40).map(Height) {
            let writes = workload.writes(height);
            if workload.is_idle(height) {
                assert!(writes.is_empty());
                continue;
            }
            let deletes = writes.iter().filter(|(_, value)| value.is_none()).count();
            assert!(writes.len() >= 200, "{}", writes.len());
            assert!(deletes * 10 >= writes.len(), "{deletes} of {}", writes.len());
            assert!(writes.iter().all(|(key, _)| range().contains(key)));
            written.extend(writes.iter().map(|(key, _)| key.to_vec()));
        }
        let (written, entries) = (written.len() as u64, entries);
        assert!(written * 100 >= entries, "{written} of {entries}");
        assert!(written * 50 <= entries, "{written} of {entries}");
    }

    #[test]
    fn keys_that_were_new_are_deleted_later_and_old_ones_too() {
        let (workload, _) = workload(4 << 20, 40);
        let (mut new, mut old) = (0, 0);
        for height in (10..40).map(Height) {
            let before: BTreeSet<_> =
                workload.new_keys(Height(height.0 - DELETED_AFTER)).into_iter().collect();
            for (key, _) in workload.writes(height).iter().filter(|(_, value)| value.is_none()) {
                if before.contains(key) { new += 1 } else { old += 1 }
            }
        }
        assert!(new > 100 && old > 100, "{new} {old}");
    }

    #[test]
    fn the_same_height_writes_the_same_and_another_height_something_else() {
        let (workload, _) = workload(1 << 20, 40);
        assert_eq!(workload.writes(Height(3)), workload.clone().writes(Height(3)));
        assert_ne!(workload.writes(Height(3)), workload.writes(Height(4)));
    }

    #[test]
    fn a_small_state_is_written_to_a_little_and_an_empty_one_never() {
        let (small, entries) = workload(64 << 10, 40);
        let writes = (1..=40).map(|height| small.writes(Height(height)).len() as u64);
        let most = writes.max().unwrap();
        assert!(most > 0 && most * 10 <= entries, "{most} of {entries}");
        let empty = Workload::new(1, SHARD, range(), KeySample::default(), 40);
        assert!((0..100).all(|height| empty.writes(Height(height)).is_empty()));
    }

    #[test]
    fn one_height_in_sixteen_has_no_chunk() {
        let (workload, _) = workload(64 << 10, 40);
        let idle = (1..=160).filter(|height| workload.writes(Height(*height)).is_empty());
        assert_eq!(idle.count(), 10);
    }
}
