//! A node that has a state, with all its parts ready.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ketch_store::{PartCache, ShardStore};
use ketch_trie::{Manifest, PackedPart, Part};
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
        let cache = generate(&store, &member.parts(), 2);
        let packed = |part: &Part| cache.read(part.hash()).expect("readable").expect("kept");
        let packed = Arc::new(manifest.parts().iter().map(packed).collect());
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

/// Makes all parts of a store's state into the cache in a folder.
pub(crate) fn generate(store: &ShardStore, folder: &Path, threads: usize) -> PartCache {
    let cache = PartCache::open(folder, u64::MAX).expect("a new cache");
    let view = store.epoch(Epoch(0)).expect("the state's start");
    let next = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= view.manifest().part_count() {
                        return;
                    }
                    let part = view.part(PartIndex(index)).expect("our own part");
                    cache.insert(&part, Epoch(0)).expect("kept");
                }
            });
        }
    });
    cache
}
