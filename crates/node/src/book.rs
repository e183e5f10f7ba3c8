use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use ketch_ledger::{Genesis, TrustPath};
use ketch_types::{ChainId, Epoch, LedgerInfoHash, ShardId};

mod answers;
mod chunks;
mod disk;
mod error;
#[cfg(test)]
mod fixture;
mod heads;
mod marks;
mod outputs;
mod record;
mod replay;
mod retention;
mod starts;
#[cfg(test)]
mod tests;
mod trust;

pub use error::{BookError, Damage, PeerFault, TakeError};
pub use heads::{ChainHead, HeadTaken};
pub use outputs::OutputsServed;
pub use replay::{ChunksAfter, StoredChunk};
pub use starts::EpochStartRecord;
pub use trust::EndTaken;

use chunks::Followed;
use disk::Disk;
use trust::Trusted;

/// The ledger's own database of a node: what it trusts, and what it knows of the chain.
///
/// It holds the ledger info that ends each epoch, the newest head, the chunk headers of all shards at
/// the starts of the epochs that are kept, and for each shard that is followed its chunks' headers and
/// outputs, with proofs by which they can be passed on. All of it was verified before it was written,
/// and what a peer sent is answered to the next one as it came.
///
/// *Shape:* a handle for many threads. Every call may wait for the disk, most of them for a few
/// milliseconds; none waits for anything else. The book may be ahead of the shards' databases, never
/// behind: what [`take_range`](Self::take_range) and [`take_own`](Self::take_own) were given survives
/// a power cut once they return, and so do ends, starts and where shards begin. The newest head need
/// not: it comes again.
///
/// # The waypoint
/// Without one, trust begins at genesis: the book opens with all that it needs, and the ends of
/// epochs come from peers. With one, its ledger info and the next epoch's info come from a peer first:
/// while [`wanted_waypoint`](Self::wanted_waypoint) says so, no end and no head is taken (as if of an
/// epoch that is not known), because an old validator set could lie about all that came after it.
/// [`take_waypoint`](Self::take_waypoint) ends that, for good: a waypoint that was taken is
/// remembered, and one that is an end that the book knows is never asked for.
pub struct Book {
    disk: Disk,
    genesis: Genesis,
    /// Held by whoever changes what is stored, from looking at `known` until it is changed.
    writing: Mutex<()>,
    known: RwLock<Known>,
}

/// What is kept in memory of what is on disk; it changes after the disk has.
struct Known {
    trusted: Trusted,
    head: Option<Arc<ChainHead>>,
    starts: BTreeMap<Epoch, Arc<EpochStartRecord>>,
    shards: BTreeMap<ShardId, Followed>,
    next_run: u64,
}

impl Book {
    /// Opens the book of a chain in `folder`, or makes a new one. Every epoch's end in it is verified
    /// again, from genesis or from the newest waypoint that was taken: some milliseconds for each, by
    /// the number of validators.
    ///
    /// *Errors:* [`BookError::OtherChain`] where another chain's is; [`BookError::Damaged`] where it
    /// does not open or is not believed; [`BookError::Locked`] while another process has it open.
    pub fn open(
        folder: &Path,
        genesis: &Genesis,
        waypoint: Option<LedgerInfoHash>,
    ) -> Result<Self, BookError> {
        let disk = Disk::open(folder, genesis.chain_id())?;
        let trusted = Trusted::load(&disk, genesis, waypoint)?;
        let head = heads::load(&disk, &trusted)?;
        let starts = starts::load(&disk, genesis)?;
        let shards = chunks::load(&disk)?;
        let next_run = chunks::load_next_run(&disk)?;
        let known = RwLock::new(Known { trusted, head, starts, shards, next_run });
        let book = Self { disk, genesis: genesis.clone(), writing: Mutex::new(()), known };
        book.sweep()?;
        Ok(book)
    }

    /// The chain that this is about.
    pub fn chain(&self) -> ChainId {
        self.trust().chain()
    }

    /// The validator sets that are trusted now, to verify with elsewhere.
    pub fn trust(&self) -> Arc<TrustPath> {
        Arc::clone(&self.known().trusted.path)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        // Whoever panicked while holding it had written to disk first or not at all.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}
