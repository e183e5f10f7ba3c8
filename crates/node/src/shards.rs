//! The shards on this node's disk: what the coordinator's work does to them.

mod replay;
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ketch_coordinator::PartSizes;
use ketch_store::{PartCache, ShardStore, StoreConfig, StoreError};
use ketch_trie::{EmptyState, Manifest, Outline, PackedPart};
use ketch_types::{Epoch, PartIndex, ShardId, StateRoot};

use crate::book::Book;

/// Outlines of one shard that are kept while it is fetched: the target, and those that it turns from.
const MANIFESTS_MAX: usize = 3;

/// All shards of a node, their stores open or not, with the cache of packed parts.
///
/// *Shape:* a handle for many threads; every call may block for as long as the disk does.
pub(crate) struct Shards {
    folder: PathBuf,
    config: StoreConfig,
    cache: PartCache,
    book: Arc<Book>,
    slots: Mutex<BTreeMap<ShardId, Arc<Slot>>>,
}

/// One shard's place.
#[derive(Default)]
struct Slot {
    /// Held shared by all work, and alone by what opens and closes it.
    store: RwLock<Option<ShardStore>>,
    /// Outlines that came from peers, the newest last.
    fetched: Mutex<Vec<Arc<Manifest>>>,
}

impl Shards {
    /// The shards in `folder`, each in its own `shard-ID`.
    pub(crate) fn new(
        folder: PathBuf,
        config: StoreConfig,
        cache: PartCache,
        book: Arc<Book>,
    ) -> Self {
        Self { folder, config, cache, book, slots: Mutex::default() }
    }

    /// Where a shard's database is.
    pub(crate) fn folder_of(&self, shard: ShardId) -> PathBuf {
        shard_folder(&self.folder, shard)
    }

    /// Remembers an outline that a peer gave and that is verified.
    pub(crate) fn fetched(&self, shard: ShardId, manifest: Arc<Manifest>) {
        let slot = self.slot(shard);
        let mut fetched = lock(&slot.fetched);
        fetched.retain(|known| known.root() != manifest.root());
        fetched.push(manifest);
        let excess = fetched.len().saturating_sub(MANIFESTS_MAX);
        fetched.drain(..excess);
    }

    /// How a state of a shard is cut, if it is known here.
    pub(crate) fn manifest(&self, shard: ShardId, root: StateRoot) -> Option<Arc<Manifest>> {
        let slot = self.slot(shard);
        let fetched = lock(&slot.fetched).iter().find(|known| known.root() == root).cloned();
        fetched.or_else(|| {
            let store = slot.store.read().unwrap_or_else(PoisonError::into_inner);
            Some(start_of(store.as_ref()?, root)?.1)
        })
    }

    /// A part as it is cached, if it is.
    pub(crate) fn cached(
        &self,
        shard: ShardId,
        root: StateRoot,
        part: PartIndex,
    ) -> Option<PackedPart> {
        let hash = self.manifest(shard, root)?.part(part)?.hash();
        self.cache.read(hash).unwrap_or_else(|error| {
            tracing::warn!(%error, "a cached part was not read");
            None
        })
    }

    fn slot(&self, shard: ShardId) -> Arc<Slot> {
        Arc::clone(lock(&self.slots).entry(shard).or_default())
    }
}

/// Where a shard's database is below the folder of all of them.
pub(crate) fn shard_folder(folder: &Path, shard: ShardId) -> PathBuf {
    folder.join(format!("shard-{shard}"))
}

/// The sizes of a manifest's parts.
pub(crate) fn sizes_of(manifest: &Manifest) -> PartSizes {
    // A part has at most four times its cut, which has 32 bits less two.
    let bytes = manifest.parts().iter().map(|part| u32::try_from(part.bytes()).unwrap_or(u32::MAX));
    PartSizes::new(manifest.root(), manifest.outline().cut(), bytes.collect())
}

/// The epoch's start with this root that a store keeps.
fn start_of(store: &ShardStore, root: StateRoot) -> Option<(Epoch, Arc<Manifest>)> {
    let starts = store.epochs().into_iter().rev();
    let mut manifests = starts.filter_map(|epoch| Some((epoch, store.manifest(epoch).ok()?)));
    manifests.find(|(_, manifest)| manifest.root() == root)
}

/// The manifest of the state without entries, which needs no outline.
fn empty_manifest(cut: u32) -> Result<Manifest, StoreError> {
    let outline = match Outline::of_state(&EmptyState, cut) {
        Ok(outline) => outline,
        Err(ketch_trie::ReadError::Damaged(range)) => return Err(StoreError::Damaged(range)),
        Err(ketch_trie::ReadError::Reader(never)) => match never {},
    };
    Ok(Manifest::new(outline)?)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
