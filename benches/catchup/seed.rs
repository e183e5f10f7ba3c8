//! A node that has a state, with all its parts ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use ketch_store::{PartCache, ShardStore};
use ketch_trie::{Manifest, PackedPart};
use ketch_types::{Epoch, PartIndex};

use crate::state::PART_BYTES;
use crate::still_chain::{Member, Process, StillChain};

/// Of so many entries one is read again at the end: of 1 GiB about a thousand, all over the state.
const PROBE_EVERY: u64 = 7_919;

/// A state on the disk of a node that serves it, and some of its entries.
pub(crate) struct Seed {
    pub(crate) member: Member,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) packed: Arc<Vec<PackedPart>>,
    pub(crate) probes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Seed {
    /// Stores entries where a node of the chain keeps its shard, the chain's first state, and
    /// packs all parts into the node's cache.
    pub(crate) fn new<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        chain: &StillChain,
        limits: &str,
        entries: impl Iterator<Item = (K, V)>,
    ) -> Self {
        let member = chain.part_server(1, limits);
        let store = member.store();
        let mut probes = Vec::new();
        let entries = (0..).zip(entries).map(|(at, (key, value)): (u64, _)| {
            if at % PROBE_EVERY == 0 {
                probes.push((key.as_ref().to_vec(), value.as_ref().to_vec()));
            }
            (key, value)
        });
        let head = store.import(entries, PART_BYTES).expect("an empty store");
        chain.begin_with(head.root());
        let manifest = store.manifest(Epoch(0)).expect("the state's start");
        let packed = Arc::new(pack(&store, &manifest, &member));
        Self { member, manifest, packed, probes }
    }

    /// Starts the node.
    pub(crate) fn start(&self) -> Process {
        self.member.start(&[])
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.manifest.outline().top().map_or(0, |top| top.bytes)
    }

    pub(crate) fn packed_bytes(&self) -> u64 {
        self.packed.iter().map(|part| part.bytes.len() as u64).sum()
    }
}

fn pack(store: &ShardStore, manifest: &Manifest, member: &Member) -> Vec<PackedPart> {
    let cache = PartCache::open(&member.parts(), u64::MAX).expect("a new cache");
    let view = store.epoch(Epoch(0)).expect("the state's start");
    let (next, packed) = (AtomicU32::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = PartIndex(next.fetch_add(1, Ordering::Relaxed));
                    if index.0 >= manifest.part_count() {
                        return;
                    }
                    let part = view.part(index).expect("our own part");
                    let part = cache.insert(&part, Epoch(0)).expect("kept");
                    packed.lock().unwrap_or_else(PoisonError::into_inner).push((index, part));
                }
            });
        }
    });
    let mut packed = packed.into_inner().unwrap_or_else(PoisonError::into_inner);
    packed.sort_unstable_by_key(|(index, _)| *index);
    packed.into_iter().map(|(_, part)| part).collect()
}
