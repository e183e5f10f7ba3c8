use ketch_types::{Chance, KeyRange, ShardId, mix};

use crate::key_space::{KeySpace, KeySpaceError};

/// The entries that one shard begins with: accounts, and contracts with code and data, as in the
/// states of real chains: most values short, a few very long.
///
/// The same seed, range and size give the same entries everywhere, in key order and in memory of one
/// account.
///
/// *Shape:* an account's key is the shard's boundary, a place, a name and two bytes that say what the
/// entry is: `00 00` the account, `00 02` its code, `00 03` and a number data of its contract.
#[derive(Clone, Debug)]
pub struct GenesisState {
    space: KeySpace,
    seed: u64,
    accounts: u64,
    most: u64,
}

/// What one account consists of.
#[derive(Clone, Copy, Debug)]
struct Account {
    /// The length of its code; none if it has no contract. *Units:* bytes.
    code: Option<u64>,
    /// How many entries of data it has.
    data: u64,
}

/// The entries of a [`GenesisState`], in key order.
#[derive(Debug)]
pub struct GenesisEntries<'a> {
    state: &'a GenesisState,
    next: u64,
    /// What is left of the account before `next`, the first one last.
    pending: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The encoding of an entry beside its key and value. *Units:* bytes.
const ENTRY_HEADER: u64 = 6;
/// One account in so many has a contract.
const CONTRACT_ONE_IN: usize = 24;
/// No account takes more than this share of a state, so that the asked size is kept to.
const ACCOUNT_SHARE: u64 = 64;

impl GenesisState {
    /// A state of about `bytes` in the keys of `shard`, which are `range`.
    ///
    /// *Errors:* see [`KeySpaceError`].
    pub fn new(
        seed: u64,
        shard: ShardId,
        range: &KeyRange,
        bytes: u64,
    ) -> Result<Self, KeySpaceError> {
        let space = KeySpace::new(range)?;
        let (seed, most) = (mix(seed ^ mix(u64::from(shard.0))), bytes / ACCOUNT_SHARE);
        let mut state = Self { space, seed, accounts: 0, most };
        // How large an account is does not depend on how many there are.
        let mut total = 0;
        while total < bytes {
            total += state.account_bytes(state.accounts);
            state.accounts += 1;
        }
        Ok(state)
    }

    /// The entries, in key order.
    pub fn entries(&self) -> GenesisEntries<'_> {
        GenesisEntries { state: self, next: 0, pending: Vec::new() }
    }

    fn chance(&self, account: u64, what: u64) -> Chance {
        Chance::new(mix(self.seed ^ mix(account)) ^ what)
    }

    fn account(&self, index: u64) -> Account {
        let mut chance = self.chance(index, 1);
        if !chance.one_in(CONTRACT_ONE_IN) {
            return Account { code: None, data: 0 };
        }
        let code = heavy_tail(&mut chance, 512, 256 << 10).min(self.most / 2);
        Account { code: Some(code), data: heavy_tail(&mut chance, 8, 4_096) }
    }

    /// The lengths of the values of an account, in order, as long as it may go on growing.
    fn values(&self, index: u64, key_bytes: u64) -> Vec<(Vec<u8>, u64)> {
        let mut chance = self.chance(index, 2);
        let Account { code, data } = self.account(index);
        let mut values = vec![(vec![0, 0], 60 + chance.draw() % 60)];
        values.extend(code.map(|code| (vec![0, 2], code)));
        let mut total: u64 = values.iter().map(|(_, bytes)| bytes + key_bytes + ENTRY_HEADER).sum();
        for number in 0..u32::try_from(data).unwrap_or(u32::MAX) {
            let bytes = heavy_tail(&mut chance, 16, 64 << 10);
            total += bytes + key_bytes + ENTRY_HEADER;
            if total > self.most {
                break;
            }
            let mut kind = vec![0, 3];
            kind.extend(number.to_be_bytes());
            kind.extend(chance.bytes(12));
            values.push((kind, bytes));
        }
        values
    }

    fn key_bytes(&self) -> u64 {
        self.space.place(0, 1, 0).len() as u64 + NAME_BYTES as u64
    }

    fn account_bytes(&self, index: u64) -> u64 {
        let key_bytes = self.key_bytes();
        let entry =
            |(kind, bytes): &(Vec<u8>, u64)| ENTRY_HEADER + key_bytes + kind.len() as u64 + bytes;
        self.values(index, key_bytes).iter().map(entry).sum()
    }

    fn make(&self, index: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut chance = self.chance(index, 3);
        let mut key = self.space.place(index, self.accounts, chance.draw());
        key.extend(std::iter::repeat_with(|| letter(&mut chance)).take(NAME_BYTES));
        let values = self.values(index, self.key_bytes()).into_iter();
        let entries = values.map(|(kind, bytes)| {
            let key = [key.as_slice(), &kind].concat();
            (key, value(&mut chance, bytes))
        });
        entries.collect()
    }
}

/// The length of a name.
const NAME_BYTES: usize = 10;

impl Iterator for GenesisEntries<'_> {
    type Item = (Vec<u8>, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.pending.is_empty() && self.next < self.state.accounts {
            self.pending = self.state.make(self.next);
            self.pending.reverse();
            self.next += 1;
        }
        self.pending.pop()
    }
}

/// A length of at least `least`, twice as long half as often, up to `most`.
pub(crate) fn heavy_tail(chance: &mut Chance, least: u64, most: u64) -> u64 {
    let doublings = chance.draw().leading_zeros().min(30);
    let least = least << doublings;
    (least + chance.draw() % least.max(1)).min(most)
}

/// Bytes of which some come again and again, so that parts shrink as real ones do when packed.
pub(crate) fn value(chance: &mut Chance, bytes: u64) -> Vec<u8> {
    const TEXT: &[u8] =
        br#"{"amount":"10000000000","locked":"0","storage_usage":182,"version":"V1"}"#;
    let bytes = usize::try_from(bytes).unwrap_or(0);
    let mut value = chance.bytes(bytes / 2 + bytes / 8);
    value.extend(TEXT.iter().cycle().take(bytes - value.len()));
    value
}

fn letter(chance: &mut Chance) -> u8 {
    b'a' + u8::try_from(chance.below(26)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use ketch_types::ShardLayout;

    use super::*;

    fn layout(boundaries: &[&[u8]]) -> ShardLayout {
        let ids = (0..=u32::try_from(boundaries.len()).unwrap()).map(ShardId).collect();
        let boundaries = boundaries.iter().map(|boundary| boundary.to_vec()).collect();
        ShardLayout::new(ids, boundaries, 4 << 20).unwrap()
    }

    fn states(layout: &ShardLayout, bytes: u64) -> Vec<(KeyRange, GenesisState)> {
        let of = |shard: &ShardId| {
            let range = layout.range_of(*shard).unwrap();
            let state = GenesisState::new(7, *shard, &range, bytes).unwrap();
            (range, state)
        };
        layout.shards().iter().map(of).collect()
    }

    #[test]
    fn every_shard_has_about_the_asked_size_and_its_own_keys_in_order() {
        let near: [&[u8]; 4] = [b"aurora", b"aurora-0", b"game.hot.tg", b"tge-lockup.sweat"];
        let layouts = [layout(&[&[0x40], &[0x80], &[0xc0]]), layout(&near), layout(&[&[0, 0, 1]])];
        for layout in layouts {
            for asked in [64 << 10, 256 << 10, 4 << 20] {
                for (range, state) in states(&layout, asked) {
                    let (mut total, mut below) = (0, Vec::new());
                    for (key, value) in state.entries() {
                        assert!(range.contains(&key) && key > below, "{key:?} after {below:?}");
                        total += ENTRY_HEADER + (key.len() + value.len()) as u64;
                        below = key;
                    }
                    assert!(total.abs_diff(asked) * 10 <= asked, "{total} of {asked}");
                }
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_entries_and_another_seed_or_shard_others() {
        let range = KeyRange::ALL;
        let of = |seed, shard| {
            let state = GenesisState::new(seed, ShardId(shard), &range, 100_000).unwrap();
            state.entries().collect::<Vec<_>>()
        };
        assert_eq!(of(1, 1), of(1, 1));
        assert_ne!(of(1, 1), of(2, 1));
        assert_ne!(of(1, 1), of(1, 2));
    }

    #[test]
    fn most_values_are_short_and_a_few_make_up_much_of_the_bytes() {
        let state = GenesisState::new(3, ShardId(1), &KeyRange::ALL, 16 << 20).unwrap();
        let mut lengths: Vec<_> = state.entries().map(|(_, value)| value.len()).collect();
        lengths.sort_unstable();
        let total: usize = lengths.iter().sum();
        let largest: usize = lengths.iter().rev().take(lengths.len() / 100).sum();
        assert!(lengths[lengths.len() / 2] < 128);
        assert!(largest * 5 > total, "{largest} of {total}");
    }

    #[test]
    fn a_state_of_nothing_has_no_entries() {
        let state = GenesisState::new(3, ShardId(1), &KeyRange::ALL, 0).unwrap();
        assert_eq!(state.entries().count(), 0);
    }
}
