//! Shards' states on disk, and the part cache: what holds after windows, chunks, crashes and damage.

mod cache;
mod child;
mod chunks;
mod crash;
mod damage;
mod reconcile;
mod sentinel;
mod windows;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use ketch_store::{Chunk, ShardStore, StoreConfig, StoreError};
use ketch_trie::{
    Children, Commit, Entry, Manifest, Outline, Prefix, StateReader, VerifiedPart, Writes,
};
use ketch_types::{Epoch, Height, KeyRange, PartIndex, PartSet, StateRoot};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::commitment::{built, state_of, writes_of};
use crate::reference::{Entries as Items, Model};

/// The least cut, so that small states have many parts.
const CUT: u32 = 16_384;

/// Opens the store in `folder`, which must not have been moved aside.
fn open(folder: &Path) -> ShardStore {
    let opened = ShardStore::open(folder, StoreConfig::default()).unwrap();
    assert_eq!(opened.moved_aside, None);
    opened.store
}

/// A state to get to: its entries, and how they are cut.
struct Target {
    items: Items,
    manifest: Manifest,
}

impl Target {
    fn new(items: Items) -> Self {
        let outline = Outline::of_state(&state_of(&items), CUT).unwrap();
        Self { items, manifest: Manifest::new(outline).unwrap() }
    }

    fn count(&self) -> u32 {
        self.manifest.part_count()
    }

    fn payload(&self, index: u32) -> Vec<u8> {
        payload_in(&self.items, &self.range(index))
    }

    fn range(&self, index: u32) -> KeyRange {
        let parts = PartIndex(index)..PartIndex(index + 1);
        self.manifest.range(parts).unwrap()
    }

    fn part(&self, index: u32) -> VerifiedPart {
        let payload = self.payload(index);
        self.manifest.verify(PartIndex(index), payload).unwrap()
    }

    fn parts(&self, window: &Range<u32>) -> Vec<VerifiedPart> {
        window.clone().map(|index| self.part(index)).collect()
    }

    fn apply(&self, store: &ShardStore, window: &Range<u32>) -> Result<(), StoreError> {
        let parts = self.parts(window);
        store.apply(&self.manifest, indices(window), parts)
    }

    fn complete(&self, store: &ShardStore, epoch: u64) -> Result<(), StoreError> {
        store.complete(&self.manifest, Epoch(epoch), Height(100 * epoch))
    }

    /// Reconciles the store, applies what is missing, and makes the state the head.
    fn reach(&self, store: &ShardStore, epoch: u64, dice: &mut Dice) {
        let held = store.reconcile(&self.manifest).unwrap();
        for window in dice.windows(&held.complement()) {
            self.apply(store, &window).unwrap();
        }
        self.complete(store, epoch).unwrap();
    }
}

fn indices(window: &Range<u32>) -> Range<PartIndex> {
    PartIndex(window.start)..PartIndex(window.end)
}

fn payload_in(items: &Items, range: &KeyRange) -> Vec<u8> {
    let mut payload = Vec::new();
    for (key, value) in items.iter().filter(|(key, _)| range.contains(key)) {
        Entry { key, value }.encode(&mut payload);
    }
    payload
}

/// A small generator of numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }

    fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            things.swap(at, self.roll(at + 1));
        }
    }

    /// Windows of random sizes over just these parts, in random order.
    fn windows(&mut self, parts: &PartSet) -> Vec<Range<u32>> {
        let mut windows: Vec<Range<u32>> = Vec::new();
        for PartIndex(part) in parts.iter() {
            let grows = self.roll(3) > 0;
            match windows.last_mut().filter(|last| grows && last.end == part) {
                Some(last) => last.end = part + 1,
                None => windows.push(part..part + 1),
            }
        }
        self.shuffle(&mut windows);
        windows
    }
}

fn scanned(store: &ShardStore) -> Items {
    let mut items = Items::new();
    let mut show = |key: &[u8], value: &[u8]| {
        assert!(items.insert(key.to_vec(), value.to_vec()).is_none());
    };
    store.scan(&mut show).unwrap();
    items
}

/// The top node and all inner nodes that the store has for its head.
fn stored(store: &ShardStore) -> (Option<Commit>, BTreeMap<Prefix, Children>) {
    let view = store.view().unwrap();
    let nodes = view.nodes(&Prefix::default());
    (view.top(), nodes.map(Result::unwrap).collect())
}

/// Asserts that the head is these entries and nothing else, entries and inner nodes both.
fn assert_holds(store: &ShardStore, items: &Items) {
    assert!(scanned(store) == *items, "other entries");
    assert_eq!(stored(store), built(items));
    let root = StateRoot::new(Model::new(items).root());
    assert_eq!(store.head().unwrap().root(), root);
}

/// The parts of the target whose key ranges hold just their entries, found by looking at them all.
fn really_held(store: &ShardStore, target: &Target) -> PartSet {
    let items = scanned(store);
    let mut held = PartSet::empty(target.count());
    for index in 0..target.count() {
        if payload_in(&items, &target.range(index)) == target.payload(index) {
            held.insert(PartIndex(index));
        }
    }
    held
}

/// Asserts that an epoch's start is served part by part, as the reference model has it.
fn assert_serves(store: &ShardStore, epoch: Epoch, start: &Items) {
    let model = Model::new(start);
    let view = store.epoch(epoch).unwrap();
    assert_eq!(*view.manifest().root().as_bytes(), model.root());
    let parts = model.parts(u64::from(view.manifest().outline().cut()));
    assert_eq!(view.manifest().part_count() as usize, parts.len());
    for index in 0..view.manifest().part_count() {
        let part = view.part(PartIndex(index)).unwrap();
        let expected = model.payload(u64::from(CUT), index as usize);
        assert!(part.payload() == expected, "part {index} of {epoch}");
    }
}

/// The root that `writes` lead to from the head.
fn root_after(store: &ShardStore, writes: &Writes) -> StateRoot {
    let view = store.view().unwrap();
    ketch_trie::commit(&view, writes).unwrap().root()
}

/// Commits `writes` at the next height; the epoch ends there if it is said to.
fn commit(store: &ShardStore, writes: &Writes, ends_epoch: bool) {
    let root = root_after(store, writes);
    let height = store.head().unwrap().height.next();
    let next_epoch_cut = ends_epoch.then_some(CUT);
    let chunk = Chunk { height, writes, root, next_epoch_cut };
    store.commit(chunk).unwrap();
}

/// What becomes of a state: puts and deletes of new keys and of keys that are there.
#[derive(Clone, Debug)]
enum Change {
    Put(Vec<u8>, Vec<u8>),
    PutAt(u16, Vec<u8>),
    DeleteAt(u16),
    Delete(Vec<u8>),
}

/// The changes as writes, which are also made to `items`.
fn change(items: &mut Items, changes: &[Change]) -> Writes {
    let keys: Vec<_> = items.keys().cloned().collect();
    let at = |at: &u16| {
        let at = usize::from(*at) % keys.len().max(1);
        keys.get(at).cloned().unwrap_or_else(|| vec![7])
    };
    let mut changed = BTreeMap::new();
    for change in changes {
        let (key, value) = match change {
            Change::Put(key, value) => (key.clone(), Some(value.clone())),
            Change::PutAt(place, value) => (at(place), Some(value.clone())),
            Change::DeleteAt(place) => (at(place), None),
            Change::Delete(key) => (key.clone(), None),
        };
        changed.insert(key, value);
    }
    let writes = writes_of(changed.iter().map(|(key, value)| (key, value.as_ref())));
    for (key, value) in changed {
        match value {
            Some(value) => items.insert(key, value),
            None => items.remove(&key),
        };
    }
    writes
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop_oneof![Just(0_u8), Just(1), Just(0x80), Just(0xff)];
    let byte = prop_oneof![odd, any::<u8>()];
    vec(byte, 1..5)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![
        4 => 0_usize..400,
        6 => 2_000_usize..6_000,
        1 => 16_360_usize..16_390,
        1 => 20_000_usize..40_000,
    ];
    (size, any::<u8>()).prop_map(|(size, byte)| vec![byte; size])
}

fn items() -> impl Strategy<Value = Items> {
    prop_oneof![
        1 => btree_map(key(), value(), 0..4),
        9 => btree_map(key(), value(), 0..50),
    ]
}

fn changes(up_to: usize) -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        4 => (key(), value()).prop_map(|(key, value)| Change::Put(key, value)),
        3 => (any::<u16>(), value()).prop_map(|(at, value)| Change::PutAt(at, value)),
        4 => any::<u16>().prop_map(Change::DeleteAt),
        1 => key().prop_map(Change::Delete),
    ];
    vec(change, 0..up_to)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    }
}

/// Bytes without a pattern, the same for the same name.
fn noise(name: &str, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut noise);
    noise
}

/// A state of `count` entries of a few kibibytes with scattered keys, the same for the same name.
fn sample(name: &str, count: usize) -> Items {
    let entry = |at| {
        let key = noise(&format!("{name} key {at}"), 4);
        let bytes = 1_000 + 1_000 * (at % 5);
        (key, noise(&format!("{name} value {at}"), bytes))
    };
    (0..count).map(entry).collect()
}

/// The sample with every `every`th value another one.
fn varied(items: &Items, name: &str, every: usize) -> Items {
    let mut items = items.clone();
    for (at, (_, value)) in items.iter_mut().enumerate().filter(|(at, _)| at % every == 0) {
        *value = noise(&format!("{name} {at}"), value.len());
    }
    items
}
