//! The commitment against the specification's vectors and against the reference model.

mod ahead;
mod depth;
mod faults;
mod properties;
mod vectors;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ketch_trie::{
    Children, Commit, Entry, Manifest, MemoryState, Outline, OutlineChecker, OutlineFault, Prefix,
    StateBuilder, StateReader, Writes,
};
use ketch_types::{KeyRange, PartIndex, StateRoot};

use crate::reference::{Entries as Items, Model};

/// The state of these entries, committed in one batch.
pub(crate) fn state_of(items: &Items) -> MemoryState {
    let mut state = MemoryState::default();
    state.commit(&writes_of(items.iter().map(|(k, v)| (k, Some(v))))).unwrap();
    state
}

/// The writes of these keys and values.
pub(crate) fn writes_of<'a>(
    writes: impl IntoIterator<Item = (&'a Vec<u8>, Option<&'a Vec<u8>>)>,
) -> Writes {
    let mut batch = Writes::default();
    for (key, value) in writes {
        match value {
            Some(value) => batch.put(key, value).unwrap(),
            None => batch.delete(key).unwrap(),
        }
    }
    batch
}

/// The top node and all inner nodes of these entries, built in one pass.
pub(crate) fn built(items: &Items) -> (Option<Commit>, BTreeMap<Prefix, Children>) {
    let mut nodes = BTreeMap::new();
    let mut builder = StateBuilder::new(|prefix, children| {
        nodes.insert(prefix, children);
    });
    for (key, value) in items {
        builder.push(key, value).unwrap();
    }
    let top = builder.finish();
    (top, nodes)
}

pub(crate) fn nodes_of(state: &MemoryState) -> BTreeMap<Prefix, Children> {
    state.nodes(&Prefix::default()).map(Result::unwrap).collect()
}

pub(crate) fn entries_of(state: &MemoryState) -> Items {
    let mut items = Items::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        items.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    };
    state.entries(&KeyRange::ALL, &mut visit).unwrap();
    items
}

pub(crate) fn payload_of(state: &MemoryState, range: &KeyRange) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        Entry { key, value }.encode(&mut payload);
        ControlFlow::Continue(())
    };
    state.entries(range, &mut visit).unwrap();
    payload
}

pub(crate) fn checked(
    root: StateRoot,
    cut: u32,
    opening: &[u8],
    records: &[u8],
    step: usize,
) -> Result<Outline, OutlineFault> {
    let opening = opening.try_into().map_err(|_| OutlineFault::Opening)?;
    let mut checker = OutlineChecker::new(&root, cut, &opening)?;
    for piece in records.chunks(step.max(1)) {
        checker.push(piece)?;
    }
    checker.finish()
}

pub(crate) fn part_range(manifest: &Manifest, index: u32) -> KeyRange {
    manifest.range(PartIndex(index)..PartIndex(index + 1)).unwrap()
}

/// Asserts that everything that can be asked of the state is what the reference model says.
pub(crate) fn assert_agrees(state: &MemoryState, model: &Model, cut: u32) {
    assert_eq!(*state.root().as_bytes(), model.root());
    let outline = Outline::of_state(state, cut).unwrap();
    assert_eq!(outline.opening().to_vec(), model.opening());
    assert_eq!(outline.records(), model.records(u64::from(cut)));
    let received =
        checked(state.root(), cut, &model.opening(), &model.records(u64::from(cut)), 7).unwrap();
    assert_eq!(received, outline);

    let manifest = Manifest::new(outline).unwrap();
    let parts = model.parts(u64::from(cut));
    assert_eq!(manifest.parts().len(), parts.len());
    for (i, (part, expected)) in manifest.parts().iter().zip(&parts).enumerate() {
        let found = (*part.hash().as_bytes(), part.entries(), part.bytes(), part.node_count());
        assert_eq!(found, (expected.hash, expected.entries, expected.bytes, expected.nodes));
        assert_eq!(part.low(), expected.low);
        let range = part_range(&manifest, i as u32);
        let payload = payload_of(state, &range);
        assert_eq!(payload, model.payload(u64::from(cut), i));
        let verified = manifest.verify(PartIndex(i as u32), payload).unwrap();
        assert_eq!(verified.range(), &range);
    }
}
