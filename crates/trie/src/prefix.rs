use std::cmp::Ordering;

use ketch_types::{KEY_BYTES_MAX, KeyRange};

/// Bits of a key that stand for one byte of it: a one, then the byte.
const GROUP_BITS: usize = 9;

/// The most bits that a prefix can have.
///
/// *Source:* the state commitment, version 1.
pub const PREFIX_BITS_MAX: usize = GROUP_BITS * KEY_BYTES_MAX;

/// A leading run of the bits of keys: the place of a subtree.
///
/// *Shape:* `bits(key)` is, for each byte, a one and its eight bits, then one zero. A prefix is
/// held as the least key that starts with it and the number of its bits, so that it compares with
/// keys directly. The order of prefixes is that of a walk of the trie that visits parents before
/// children and left before right.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    key: Vec<u8>,
    bits: usize,
}

/// A prefix that a peer sent breaks the rules of key bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MalformedPrefix;

impl Prefix {
    /// The first `bits` bits of `key`, without its terminator.
    pub fn of_key(key: &[u8], bits: usize) -> Self {
        let mut prefix = Self { key: key.to_vec(), bits: GROUP_BITS * key.len() };
        prefix.truncate(bits);
        prefix
    }

    /// The prefix whose least key is `least_key` and which has `bits` bits, if there is one.
    pub fn from_parts(least_key: &[u8], bits: usize) -> Option<Self> {
        let whole = Self::of_key(least_key, bits);
        (whole.key == least_key && whole.bits == bits).then_some(whole)
    }

    /// The least key that starts with the prefix; empty for the empty prefix.
    pub fn least_key(&self) -> &[u8] {
        &self.key
    }

    /// The number of bits.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Whether the prefix ends in a terminator, so that exactly one key has it.
    pub fn is_whole_key(&self) -> bool {
        self.bits == GROUP_BITS * self.key.len() + 1
    }

    /// The keys that start with the prefix, which are neighbours.
    pub fn range(&self) -> KeyRange {
        KeyRange { low: self.key.clone(), high: self.end() }
    }

    /// Where `key` lies: before the keys that start with the prefix, among them, or after.
    pub fn place_of(&self, key: &[u8]) -> Ordering {
        if key < self.key.as_slice() {
            Ordering::Less
        } else if self.is_prefix_of(key) {
            Ordering::Equal
        } else {
            Ordering::Greater
        }
    }

    /// Whether every key that starts with `other` starts with this prefix too.
    pub fn covers(&self, other: &Prefix) -> bool {
        self.bits <= other.bits
            && (if self.is_whole_key() { self == other } else { self.is_prefix_of(&other.key) })
    }

    /// Cuts the prefix down to its first `bits` bits.
    pub(crate) fn truncate(&mut self, bits: usize) {
        if bits >= self.bits {
            return;
        }
        self.bits = bits;
        self.key.truncate(bits.div_ceil(GROUP_BITS));
        if let (Some(data_bits), Some(last)) = (self.open_data_bits(), self.key.last_mut()) {
            *last &= high_bits(data_bits);
        }
    }

    /// Adds one bit: towards the right child for `true`, towards the left for `false`.
    pub(crate) fn push(&mut self, bit: bool) {
        match self.open_data_bits() {
            None if bit => self.key.push(0),
            None => {}
            Some(data_bits) => {
                if let (true, Some(last)) = (bit, self.key.last_mut()) {
                    *last |= 0x80 >> data_bits;
                }
            }
        }
        self.bits += 1;
    }

    /// Adds `count` bits from `packed`, most significant first, padded with zeros to whole bytes.
    pub(crate) fn extend(&mut self, packed: &[u8], count: usize) -> Result<(), MalformedPrefix> {
        if self.is_whole_key() || packed.len() != count.div_ceil(8) {
            return Err(MalformedPrefix);
        }
        let mut at = 0;
        while at < count {
            let (take, data) = match self.open_data_bits() {
                None => (1, None),
                Some(known) => ((8 - known).min(count - at), Some(known)),
            };
            let bits = bits_at(packed, at, take);
            match (data, self.key.last_mut()) {
                (Some(known), Some(last)) => *last |= bits << (8 - known - take),
                _ if bits == 1 => self.key.push(0),
                _ => return Err(MalformedPrefix),
            }
            self.bits += take;
            at += take;
        }
        let padding = packed.len() * 8 - count;
        if bits_at(packed, count, padding) == 0 { Ok(()) } else { Err(MalformedPrefix) }
    }

    /// The first key after all that start with the prefix, if any key follows them.
    fn end(&self) -> Option<Vec<u8>> {
        let mut end = self.key.clone();
        if self.is_whole_key() {
            end.push(0);
            return Some(end);
        }
        let mut step = match self.open_data_bits() {
            Some(0) => {
                end.pop();
                1
            }
            Some(data_bits) => 1 << (8 - data_bits),
            None => 1_u8,
        };
        while let Some(last) = end.pop() {
            if let Some(next) = last.checked_add(step) {
                end.push(next);
                return Some(end);
            }
            step = 1;
        }
        None
    }

    fn is_prefix_of(&self, key: &[u8]) -> bool {
        if self.is_whole_key() {
            return self.key == key;
        }
        let whole = self.bits / GROUP_BITS;
        let same =
            matches!((self.key.get(..whole), key.get(..whole)), (Some(a), Some(b)) if a == b);
        let open = match (self.open_data_bits(), self.key.get(whole), key.get(whole)) {
            (None, _, _) => true,
            (Some(data_bits), Some(mine), Some(theirs)) => *mine == theirs & high_bits(data_bits),
            (Some(_), _, _) => false,
        };
        same && open
    }

    /// How many of the last byte's bits are known; none if no byte has been begun.
    fn open_data_bits(&self) -> Option<usize> {
        (self.bits % GROUP_BITS).checked_sub(1)
    }
}

/// A byte with its `count` most significant bits set.
fn high_bits(count: usize) -> u8 {
    !(0xff_u8.checked_shr(u32::try_from(count).unwrap_or(8)).unwrap_or(0))
}

/// The `count` bits of `packed` from bit `at` on, at most eight of them; missing bits are zero.
fn bits_at(packed: &[u8], at: usize, count: usize) -> u8 {
    let byte = |i: usize| u16::from(packed.get(i).copied().unwrap_or(0));
    let window = (byte(at / 8) << 8) | byte(at / 8 + 1);
    let aligned = (window << (at % 8)) >> (16 - count.clamp(1, 8));
    if count == 0 { 0 } else { (aligned & 0xff) as u8 }
}

/// The number of leading bits that two keys share, if `below` really is below `above`.
pub(crate) fn rising_common_bits(below: &[u8], above: &[u8]) -> Option<usize> {
    let shared = below.len().min(above.len());
    let at = first_difference(below, above, shared);
    match (below.get(at), above.get(at)) {
        (Some(a), Some(b)) if at < shared => {
            (a < b).then(|| GROUP_BITS * at + 1 + (a ^ b).leading_zeros() as usize)
        }
        _ => (below.len() < above.len()).then_some(GROUP_BITS * shared),
    }
}

/// The first place below `len` where two keys differ, looking at eight bytes at a time.
fn first_difference(a: &[u8], b: &[u8], len: usize) -> usize {
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    let same_words = a_words.iter().zip(b_words).take_while(|(x, y)| x == y).count();
    let from = (same_words * 8).min(len);
    let rest = a.iter().zip(b).take(len).skip(from).take_while(|(x, y)| x == y).count();
    from + rest
}

/// Appends bits `from..to` of `bits(key)`, packed most significant first and padded with zeros.
pub(crate) fn pack_bits(out: &mut Vec<u8>, key: &[u8], from: usize, to: usize) {
    let (mut held, mut count) = (0_u32, 0);
    let mut at = from;
    if from == 0 {
        // Eight groups at a time, as long as whole ones are asked for.
        let (eights, _) = key.as_chunks::<8>();
        let whole = eights.iter().take(to / (8 * GROUP_BITS));
        at = whole.len() * 8 * GROUP_BITS;
        whole.for_each(|bytes| out.extend_from_slice(&pack_groups(*bytes)));
    }
    while at < to {
        let group = 0x100 | u32::from(key.get(at / GROUP_BITS).copied().unwrap_or(0));
        let skip = at % GROUP_BITS;
        let take = (GROUP_BITS - skip).min(to - at);
        let bits = (group >> (GROUP_BITS - skip - take)) & ((1 << take) - 1);
        held = (held << take) | bits;
        count += take;
        at += take;
        while count >= 8 {
            count -= 8;
            out.push(((held >> count) & 0xff) as u8);
        }
    }
    if count > 0 {
        out.push(((held << (8 - count)) & 0xff) as u8);
    }
}

/// The groups of eight bytes, which are nine bytes.
fn pack_groups(bytes: [u8; 8]) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = bytes;
    [
        0x80 | a >> 1,
        a << 7 | 0x40 | b >> 2,
        b << 6 | 0x20 | c >> 3,
        c << 5 | 0x10 | d >> 4,
        d << 4 | 0x08 | e >> 5,
        e << 3 | 0x04 | f >> 6,
        f << 2 | 0x02 | g >> 7,
        g << 1 | 0x01,
        h,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The definition, letter for letter.
    fn bits_of(key: &[u8]) -> Vec<bool> {
        let mut bits = Vec::new();
        for byte in key {
            bits.push(true);
            bits.extend((0..8).rev().map(|i| byte >> i & 1 == 1));
        }
        bits.push(false);
        bits
    }

    fn packed(bits: &[bool]) -> Vec<u8> {
        bits.chunks(8)
            .map(|c| c.iter().enumerate().fold(0, |byte, (i, b)| byte | u8::from(*b) << (7 - i)))
            .collect()
    }

    /// Keys over few byte values, so that long common prefixes and neighbours are frequent.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        let byte =
            prop_oneof![Just(0_u8), Just(1), Just(0x7f), Just(0x80), Just(0xff), any::<u8>()];
        vec(byte, 1..20)
    }

    proptest! {
        #[test]
        fn common_bits_are_those_of_the_definition(a in key(), b in key()) {
            let shared = bits_of(&a).iter().zip(&bits_of(&b)).take_while(|(x, y)| x == y).count();
            prop_assert_eq!(rising_common_bits(&a, &b), (a < b).then_some(shared));
        }

        #[test]
        fn packing_is_that_of_the_definition(k in key(), x in 0_usize..180, y in 0_usize..180) {
            let limit = GROUP_BITS * k.len();
            let (from, to) = (x.min(y).min(limit), x.max(y).min(limit));
            let mut out = Vec::new();
            pack_bits(&mut out, &k, from, to);
            prop_assert_eq!(out, packed(&bits_of(&k)[from..to]));
        }

        #[test]
        fn a_prefix_holds_exactly_the_keys_that_start_with_its_bits(
            k in key(), other in key(), bits in 0_usize..180, whole in any::<bool>(),
        ) {
            let mut prefix = Prefix::of_key(&k, bits.min(GROUP_BITS * k.len()));
            if whole {
                prefix = Prefix::of_key(&k, GROUP_BITS * k.len());
                prefix.push(false);
            }
            let expected = bits_of(&other).starts_with(&bits_of(&k)[..prefix.bits()]);
            prop_assert_eq!(prefix.place_of(&other) == Ordering::Equal, expected);
            prop_assert_eq!(prefix.range().contains(&other), expected);
            prop_assert_eq!(prefix.place_of(&other) == Ordering::Less, other < prefix.key);
        }

        #[test]
        fn a_prefix_grows_from_packed_bits_and_shrinks_back(
            k in key(), x in 0_usize..180, y in 0_usize..180,
        ) {
            let limit = GROUP_BITS * k.len();
            let (from, to) = (x.min(y).min(limit), x.max(y).min(limit));
            let mut prefix = Prefix::of_key(&k, from);
            let before = prefix.clone();
            let bits = packed(&bits_of(&k)[from..to]);
            prop_assert_eq!(prefix.extend(&bits, to - from), Ok(()));
            prop_assert_eq!(&prefix, &Prefix::of_key(&k, to));
            prop_assert_eq!(Prefix::from_parts(prefix.least_key(), to), Some(prefix.clone()));
            prefix.truncate(from);
            prop_assert_eq!(prefix, before);
        }

        #[test]
        fn prefixes_are_in_the_order_of_a_walk(
            a in key(), b in key(), x in 0_usize..180, y in 0_usize..180,
        ) {
            let (x, y) = (x.min(GROUP_BITS * a.len()), y.min(GROUP_BITS * b.len()));
            let walk = bits_of(&a)[..x].cmp(&bits_of(&b)[..y]);
            prop_assert_eq!(Prefix::of_key(&a, x).cmp(&Prefix::of_key(&b, y)), walk);
        }
    }

    #[test]
    fn wrong_padding_a_missing_marker_and_bits_after_the_end_are_malformed() {
        let mut prefix = Prefix::default();
        assert_eq!(prefix.extend(&[0b1000_0001], 7), Err(MalformedPrefix));
        assert_eq!(Prefix::default().extend(&[0], 1), Err(MalformedPrefix));
        assert_eq!(Prefix::default().extend(&[0x80, 0], 9), Ok(()));
        assert_eq!(Prefix::default().extend(&[0x80, 0, 0], 9), Err(MalformedPrefix));
        let mut whole = Prefix::of_key(b"a", 9);
        whole.push(false);
        assert_eq!(whole.extend(&[], 0), Err(MalformedPrefix));
    }

    #[test]
    fn a_right_child_begins_at_the_separators_low_key() {
        for (key, bits, low) in [
            (&b"a"[..], 9, &b"a\0"[..]),
            (b"\x80", 1, b"\x80"),
            (b"a\xff", 17, b"a\xff"),
            (b"a\x40", 12, b"a\x60"),
        ] {
            let mut separator = Prefix::of_key(key, bits);
            separator.push(true);
            assert_eq!(separator.least_key(), low);
        }
    }
}
