//! A small state with parts, for streams to carry.

use std::collections::BTreeMap;

use ketch_trie::{Entry, Manifest, MemoryState, Outline, PackedPart, Writes};
use ketch_types::PartIndex;

pub(super) const CUT: u32 = 16_384;

pub(super) struct State {
    pub(super) manifest: Manifest,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl State {
    pub(super) fn of_entries(count: u32) -> Self {
        let key = |number: u32| blake3::hash(&number.to_le_bytes()).as_bytes().to_vec();
        let entries: BTreeMap<_, _> =
            (0..count).map(|number| (key(number), vec![number as u8; 96])).collect();
        let mut writes = Writes::default();
        entries.iter().for_each(|(key, value)| writes.put(key, value).unwrap());
        let mut state = MemoryState::default();
        state.commit(&writes).unwrap();
        let manifest = Manifest::new(Outline::of_state(&state, CUT).unwrap()).unwrap();
        Self { manifest, entries }
    }

    pub(super) fn packed(&self, part: PartIndex) -> PackedPart {
        let range = self.manifest.part_range(part).unwrap();
        let mut payload = Vec::new();
        for (key, value) in self.entries.range(range.low.clone()..) {
            if range.contains(key) {
                Entry::new(key, value).unwrap().encode(&mut payload);
            }
        }
        PackedPart::pack(&payload)
    }
}
