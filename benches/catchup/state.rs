use std::collections::BTreeMap;
use std::ops::Range;

use ketch_trie::{Commit, Manifest, Outline, StateBuilder};
use ketch_types::PartIndex;

/// The size of a part. *Units:* bytes.
pub(crate) const PART_BYTES: u32 = 4 << 20;
/// The size of a window that is applied in one go. *Units:* bytes.
const WINDOW_BYTES: u64 = 32 << 20;

const KEY_BYTES: usize = 32;
const VALUE_BYTES: usize = 96;
/// How many bytes of a value are noise, so that lz4 packs entries to about 0.68 of their size.
const NOISE_BYTES: usize = 56;

/// The size of one entry. *Units:* bytes.
pub(crate) const ENTRY_BYTES: u64 = (6 + KEY_BYTES + VALUE_BYTES) as u64;

/// A synthetic state of account-like entries: hashed keys, values half noise.
pub(crate) struct BenchState {
    pub(crate) keys: Vec<[u8; KEY_BYTES]>,
    pub(crate) manifest: Manifest,
}

impl BenchState {
    pub(crate) fn new(entries: u64) -> Self {
        let mut keys: Vec<_> = (0..entries).map(key).collect();
        keys.sort_unstable();
        let (top, nodes) = upper_nodes(&keys);
        let outline =
            Outline::of_nodes(top, PART_BYTES, &nodes).expect("all upper nodes are there");
        let manifest = Manifest::new(outline).expect("the entries keep the limits");
        Self { keys, manifest }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.manifest.outline().top().map_or(0, |top| top.bytes)
    }

    /// All entries, in key order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = ([u8; KEY_BYTES], [u8; VALUE_BYTES])> {
        self.keys.iter().map(|key| (*key, value(key)))
    }

    /// The parts in windows of neighbours.
    pub(crate) fn windows(&self) -> Vec<Range<PartIndex>> {
        let mut windows = Vec::new();
        let (mut first, mut bytes) = (0, 0);
        for (index, part) in (0..).zip(self.manifest.parts()) {
            bytes += part.bytes();
            if bytes >= WINDOW_BYTES || index + 1 == self.manifest.part_count() {
                windows.push(PartIndex(first)..PartIndex(index + 1));
                (first, bytes) = (index + 1, 0);
            }
        }
        windows
    }
}

/// The key of entry `i`, as a hash would be.
pub(crate) fn key(i: u64) -> [u8; KEY_BYTES] {
    *blake3::hash(&i.to_le_bytes()).as_bytes()
}

/// The value at `key`.
pub(crate) fn value(key: &[u8; KEY_BYTES]) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    let mut noise = u64::from_le_bytes(*key.first_chunk().expect("a key is longer")) | 1;
    for bytes in value[..NOISE_BYTES].chunks_mut(8) {
        // xorshift64: cheap, and nothing that lz4 could find.
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        bytes.copy_from_slice(&noise.to_le_bytes()[..bytes.len()]);
    }
    value
}

type Nodes = BTreeMap<ketch_trie::Prefix, ketch_trie::Children>;

fn upper_nodes(keys: &[[u8; KEY_BYTES]]) -> (Option<Commit>, Nodes) {
    let mut nodes = Nodes::new();
    let mut builder = StateBuilder::new(|prefix, children: ketch_trie::Children| {
        if children.left.bytes + children.right.bytes > u64::from(PART_BYTES) {
            nodes.insert(prefix, children);
        }
    });
    for key in keys {
        builder.push(key, &value(key)).expect("keys rise");
    }
    let top = builder.finish();
    (top, nodes)
}
