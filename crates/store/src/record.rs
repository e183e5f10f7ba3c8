//! The records of a shard's database, byte by byte.

use ketch_trie::{COMMIT_BYTES, Children, Commit, Outline, OutlineChecker, Prefix};
use ketch_types::{Epoch, Height, KeyRange, StateRoot};

use crate::StoreError;
use crate::marks::Mark;

/// Escapes a zero byte of a key; what follows the zero that ends a key is always less.
const ESCAPE: u8 = 0xff;

/// The key of an inner node: its least key, escaped and ended by a zero, then `u16be(bits)`.
///
/// The order of these keys is that of [`Prefix`]: parents before children, left before right. So a
/// subtree is a range, its top node the first in it, and the nodes that begin in a range of keys
/// are a range too.
pub(crate) fn node_key(prefix: &Prefix) -> Vec<u8> {
    let mut key = node_bound(prefix.least_key());
    key.push(0);
    // A prefix has at most 18,432 bits, so the first byte of their count is below the escape.
    let bits = u16::try_from(prefix.bits()).unwrap_or(u16::MAX);
    key.extend_from_slice(&bits.to_be_bytes());
    key
}

/// What all keys of nodes that begin at or after `key` are not below.
///
/// *Source:* the order-preserving strings of the FoundationDB tuple layer.
fn node_bound(key: &[u8]) -> Vec<u8> {
    let mut bound = Vec::with_capacity(key.len() + 3);
    for byte in key {
        bound.push(*byte);
        if *byte == 0 {
            bound.push(ESCAPE);
        }
    }
    bound
}

/// What the keys of the nodes that begin in `range` lie between.
pub(crate) fn node_bounds(range: &KeyRange) -> KeyRange {
    KeyRange { low: node_bound(&range.low), high: range.high.as_deref().map(node_bound) }
}

/// The place of an inner node and its children, from its record.
pub(crate) fn decode_node(key: &[u8], value: &[u8]) -> Result<(Prefix, Children), StoreError> {
    let decode = || {
        let (escaped, bits) = key.split_last_chunk::<2>()?;
        let (end, escaped) = escaped.split_last()?;
        let mut least_key = Vec::with_capacity(escaped.len());
        let mut rest = escaped.iter();
        while let Some(byte) = rest.next() {
            least_key.push(*byte);
            if *byte == 0 && rest.next() != Some(&ESCAPE) {
                return None;
            }
        }
        let prefix = Prefix::from_parts(&least_key, usize::from(u16::from_be_bytes(*bits)))?;
        let (left, right) = value.split_first_chunk::<COMMIT_BYTES>()?;
        let right: &[u8; COMMIT_BYTES] = right.try_into().ok()?;
        let children = Children { left: Commit::decode(left), right: Commit::decode(right) };
        (*end == 0).then_some((prefix, children))
    };
    decode().ok_or(StoreError::Malformed("node"))
}

/// `commit(left) || commit(right)`.
pub(crate) fn encode_children(children: &Children) -> Vec<u8> {
    [children.left.encode(), children.right.encode()].concat()
}

/// The newest state that the store holds as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The epoch that the next chunk belongs to.
    pub epoch: Epoch,
    /// The height of the last chunk applied.
    pub height: Height,
    /// The state's top node; none if it is empty.
    pub top: Option<Commit>,
}

impl Head {
    /// The state's root.
    pub fn root(&self) -> StateRoot {
        ketch_trie::state_root(self.top.as_ref())
    }

    /// `u64le(epoch) || u64le(height) || opening`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + COMMIT_BYTES);
        bytes.extend_from_slice(&self.epoch.0.to_le_bytes());
        bytes.extend_from_slice(&self.height.0.to_le_bytes());
        bytes.extend_from_slice(&self.top.map_or([0; COMMIT_BYTES], |top| top.encode()));
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let decode = || {
            let (epoch, rest) = bytes.split_first_chunk::<8>()?;
            let (height, opening) = rest.split_first_chunk::<8>()?;
            let opening: &[u8; COMMIT_BYTES] = opening.try_into().ok()?;
            Some(Self {
                epoch: Epoch(u64::from_le_bytes(*epoch)),
                height: Height(u64::from_le_bytes(*height)),
                top: (*opening != [0; COMMIT_BYTES]).then(|| Commit::decode(opening)),
            })
        };
        decode().ok_or(StoreError::Malformed("head"))
    }
}

/// The value of a mark, whose key holds its low end: `root || high`, no `high` byte meaning the end
/// of the key space. No mark ends at the empty key, which is the start.
pub(crate) fn encode_mark(mark: &Mark) -> Vec<u8> {
    [&mark.root.as_bytes()[..], mark.high.as_deref().unwrap_or_default()].concat()
}

pub(crate) fn decode_mark(bytes: &[u8]) -> Result<Mark, StoreError> {
    let (root, high) = bytes.split_first_chunk::<32>().ok_or(StoreError::Malformed("mark"))?;
    let high = Some(high.to_vec()).filter(|high| !high.is_empty());
    Ok(Mark { root: StateRoot::new(*root), high })
}

/// `u32le(cut) || opening || records`.
pub(crate) fn encode_outline(outline: &Outline) -> Vec<u8> {
    [&outline.cut().to_le_bytes()[..], &outline.opening(), outline.records()].concat()
}

/// An outline from its record, checked against its own opening: what the store hands out is
/// what it was given.
pub(crate) fn decode_outline(bytes: &[u8]) -> Result<Outline, StoreError> {
    let decode = || {
        let (cut, rest) = bytes.split_first_chunk::<4>()?;
        let (opening, records) = rest.split_first_chunk::<COMMIT_BYTES>()?;
        let top = (*opening != [0; COMMIT_BYTES]).then(|| Commit::decode(opening));
        let root = ketch_trie::state_root(top.as_ref());
        let mut checker = OutlineChecker::new(&root, u32::from_le_bytes(*cut), opening).ok()?;
        checker.push(records).ok()?;
        checker.finish().ok()
    };
    decode().ok_or(StoreError::Malformed("manifest"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> impl Strategy<Value = Prefix> {
        let byte = prop_oneof![Just(0_u8), Just(1), Just(0x80), Just(0xff), any::<u8>()];
        (proptest::collection::vec(byte, 1..9), 0_usize..80)
            .prop_map(|(key, bits)| Prefix::of_key(&key, bits))
    }

    proptest! {
        #[test]
        fn the_keys_of_nodes_are_in_the_order_of_their_prefixes(a in prefix(), b in prefix()) {
            prop_assert_eq!(node_key(&a).cmp(&node_key(&b)), a.cmp(&b));
        }

        #[test]
        fn nodes_that_begin_in_a_range_of_keys_lie_between_its_bounds(
            node in prefix(), low in prefix(), high in prefix(),
        ) {
            let (low, high) = (low.least_key(), high.least_key());
            let key = node_key(&node);
            let within = node_bound(low) <= key && key < node_bound(high);
            prop_assert_eq!(within, low <= node.least_key() && node.least_key() < high);
        }

        #[test]
        fn a_node_survives_its_record(prefix in prefix(), hash in any::<[u8; 32]>()) {
            let commit = |bytes| Commit { hash: ketch_types::NodeHash::new(hash), entries: 2, bytes };
            let children = Children { left: commit(7), right: commit(u64::MAX) };
            let read = decode_node(&node_key(&prefix), &encode_children(&children)).unwrap();
            prop_assert_eq!(read, (prefix, children));
        }

        #[test]
        fn arbitrary_bytes_are_records_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = decode_node(&bytes, &[0; 2 * COMMIT_BYTES]);
            let _ = (Head::decode(&bytes), decode_mark(&bytes), decode_outline(&bytes));
        }
    }
}
