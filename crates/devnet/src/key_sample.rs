/// Some keys of a state, evenly taken from keys that come in order: which ones depends on nothing but
/// the keys.
#[derive(Clone, Debug)]
pub struct KeySample {
    keys: Vec<Vec<u8>>,
    /// One key in so many is kept.
    stride: u64,
    seen: u64,
    most: usize,
}

/// Enough that the writes of an epoch rarely meet, few enough to keep in memory for a hundred shards.
const KEYS_MAX: usize = 1 << 16;

impl Default for KeySample {
    fn default() -> Self {
        Self { keys: Vec::new(), stride: 1, seen: 0, most: KEYS_MAX }
    }
}

impl KeySample {
    /// Takes the next key into account.
    pub fn push(&mut self, key: &[u8]) {
        if self.seen.is_multiple_of(self.stride) {
            if self.keys.len() == self.most {
                let mut at = 0;
                self.keys.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                self.stride *= 2;
            }
            if self.seen.is_multiple_of(self.stride) {
                self.keys.push(key.to_vec());
            }
        }
        self.seen += 1;
    }

    /// The keys that were kept, in order.
    pub fn keys(&self) -> &[Vec<u8>] {
        &self.keys
    }

    /// How many keys there are in all.
    pub fn seen(&self) -> u64 {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_evenly_over_keys_of_any_number() {
        for count in [0u64, 1, 7, 8, 9, 100, 1_000, 4_099] {
            let mut sample = KeySample { most: 8, ..KeySample::default() };
            (0..count).for_each(|key| sample.push(&key.to_be_bytes()));
            assert_eq!(sample.seen(), count);
            let kept = sample.keys().len() as u64;
            assert!(kept <= 8 && kept >= count.min(5), "{kept} of {count}");
            for (place, key) in sample.keys().iter().enumerate() {
                assert_eq!(*key, (place as u64 * sample.stride).to_be_bytes());
            }
        }
    }
}
