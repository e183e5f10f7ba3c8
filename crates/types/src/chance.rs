/// A generator of numbers that is seeded by whoever makes it: the only chance in pure crates.
///
/// *Source:* SplitMix64, Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
/// 2014.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is not 0; the bias is below `end` ÷ 2^64.
    pub fn below(&mut self, end: usize) -> usize {
        let wide = u128::from(self.draw()) * end as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Some bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.draw().to_le_bytes());
        words.flatten().take(count).collect()
    }

    /// Whether something that happens once in `times` happens now.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times.max(1)) == 0
    }
}

/// Spreads 64 bits over 64 bits, so that neighbours come out far apart.
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut chance = Chance::new(seed);
            std::array::from_fn::<_, 8, _>(|_| chance.draw())
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        // The reference implementation's first number for seed 0.
        assert_eq!(numbers(0)[0], 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn bytes_are_those_of_the_numbers() {
        let mut bytes = Chance::new(0).bytes(9);
        assert_eq!(bytes.len(), 9);
        bytes.truncate(8);
        assert_eq!(bytes, 0xe220_a839_7b1d_cdaf_u64.to_le_bytes());
    }

    #[test]
    fn numbers_stay_below_their_end_and_reach_all_of_it() {
        let mut chance = Chance::new(1);
        let mut seen = [0; 5];
        for _ in 0..1_000 {
            seen[chance.below(5)] += 1;
        }
        assert!(seen.iter().all(|times| *times > 100), "{seen:?}");
    }
}
