//! Chains of real, small tries.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use ketch_coordinator::PartSizes;
use ketch_trie::{
    Commit, Manifest, MemoryState, Outline, ReadError, StateBuilder, Writes, state_root,
};
use ketch_types::{Chance, PartIndex, StateRoot};

use crate::content::{Body, Chunk, Start};

/// The entries of a state.
pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// What the states of a chain are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tries {
    /// The size of a value, key and header not counted. *Units:* bytes.
    pub value_bytes: u64,
    /// Writes of each chunk, one in ten of them a delete.
    pub writes: u64,
}

/// A state that grows chunk by chunk.
pub(crate) struct Growing {
    like: Tries,
    state: MemoryState,
    entries: Entries,
    chance: Chance,
}

/// Making a state failed; only an impossible setup does that.
pub(crate) type TrieError = ReadError<Infallible>;

impl Growing {
    pub(crate) fn new(like: Tries, chance: Chance) -> Self {
        Self { like, state: MemoryState::default(), entries: Entries::new(), chance }
    }

    /// A chunk that puts so many entries.
    pub(crate) fn genesis(&mut self, entries: u64) -> Writes {
        let mut writes = Writes::default();
        for _ in 0..entries {
            let key = self.key();
            self.put(&mut writes, &key);
        }
        writes
    }

    /// A chunk's writes: new keys, old keys again, and deletes.
    pub(crate) fn writes(&mut self) -> Writes {
        let mut writes = Writes::default();
        for number in 0..self.like.writes {
            let near = self.key();
            let old = self.entries.range(near.clone()..).next().map(|(key, _)| key.clone());
            match (number % 10, old) {
                (0, Some(old)) => drop(writes.delete(&old)),
                (1..=4, Some(old)) => self.put(&mut writes, &old),
                _ => self.put(&mut writes, &near),
            }
        }
        writes
    }

    pub(crate) fn apply(&mut self, writes: Writes) -> Result<(StateRoot, Chunk), TrieError> {
        self.state.commit(&writes)?;
        apply(&mut self.entries, &writes);
        Ok((self.state.root(), Chunk::Writes(Arc::new(writes))))
    }

    /// The state as it is now, if it has a manifest.
    pub(crate) fn start(&self, cut: u32) -> Result<Option<Start>, TrieError> {
        let outline = Outline::of_state(&self.state, cut)?;
        Ok(Manifest::new(outline).ok().map(|manifest| {
            let sizes = sizes_of(&manifest);
            Start { sizes, body: Body::Trie { entries: self.entries.clone(), manifest } }
        }))
    }

    fn key(&mut self) -> Vec<u8> {
        self.chance.bytes(12)
    }

    fn put(&mut self, writes: &mut Writes, key: &[u8]) {
        let length = 1 + self.chance.draw() % (self.like.value_bytes.max(1) * 2);
        // Half of a value repeats, as real values do, so that parts shrink when they are packed.
        let mut value = self.chance.bytes(usize::try_from(length / 2 + 1).unwrap_or(1));
        value.resize(usize::try_from(length).unwrap_or(1), 7);
        let _ = writes.put(key, &value);
    }
}

pub(crate) fn sizes_of(manifest: &Manifest) -> PartSizes {
    let bytes = manifest.parts().iter().map(|part| u32::try_from(part.bytes()).unwrap_or(u32::MAX));
    PartSizes::new(manifest.root(), manifest.outline().cut(), bytes.collect())
}

/// The payload of one part of a manifest, from entries that may be only some of the state's.
pub(crate) fn payload_of(entries: &Entries, manifest: &Manifest, part: PartIndex) -> Vec<u8> {
    let mut payload = Vec::new();
    let Some(range) = manifest.part_range(part) else { return payload };
    for (key, value) in entries.range(range.low.clone()..) {
        if !range.contains(key) {
            break;
        }
        if let Ok(entry) = ketch_trie::Entry::new(key, value) {
            entry.encode(&mut payload);
        }
    }
    payload
}

pub(crate) fn apply(entries: &mut Entries, writes: &Writes) {
    for (key, value) in writes.iter() {
        match value {
            Some(value) => drop(entries.insert(key.to_vec(), value.to_vec())),
            None => drop(entries.remove(key)),
        }
    }
}

/// A trie of some entries.
pub(crate) fn state_of(entries: &Entries) -> MemoryState {
    let mut all = Writes::default();
    for (key, value) in entries {
        let _ = all.put(key, value);
    }
    let mut state = MemoryState::default();
    let _ = state.commit(&all);
    state
}

/// The root of some entries, computed from nothing but them.
pub(crate) fn root_of(entries: &Entries) -> StateRoot {
    let mut builder = StateBuilder::new(|_, _| {});
    for (key, value) in entries {
        // Entries of a chain keep the limits, and a map keeps the order.
        let _ = builder.push(key, value);
    }
    let top: Option<Commit> = builder.finish();
    state_root(top.as_ref())
}
