use std::ffi::OsStr;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode};
use ketch_store::{StoreError, make_whole};
use ketch_types::{ChainId, Height};

use super::error::{BookError, Damage};
use super::record::{CHAIN_KEY, run_key, run_of_key};

/// Blocks kept in memory for reading: chunks are mostly read once, right after they are written.
const CACHE_BYTES: u64 = 8 << 20;
/// Writes that a keyspace gathers in memory before they become a table.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// The least that the database allows: its content is small, its journal should be too.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// How many chunks are removed at once, so that nobody who writes waits for long.
const REMOVED_AT_ONCE: usize = 1_024;

/// The file that a database has once it is made.
const VERSION_FILE: &str = "version";

/// The book's database, and whether it can still be written.
pub(super) struct Disk {
    folder: PathBuf,
    db: Database,
    /// All that is not of one shard's chunks: the chain, the head, ends, starts, waypoints.
    pub(super) meta: Keyspace,
    /// Chunk headers, by run and height.
    pub(super) headers: Keyspace,
    /// Their outputs, by the same keys and written together with them.
    pub(super) outputs: Keyspace,
    /// Ledger infos with a shard's proof under each, by run and the ledger info's height.
    pub(super) proofs: Keyspace,
    stopped: AtomicBool,
}

impl Disk {
    /// Opens the database of `chain` in `folder`, or makes it.
    pub(super) fn open(folder: &Path, chain: ChainId) -> Result<Self, BookError> {
        if !folder.join(VERSION_FILE).is_file() {
            make(folder, chain)?;
        }
        let opened = Self::open_database(folder);
        let disk = opened.map_err(|error| BookError::of_opening(folder.to_owned(), error))?;
        let found = disk.record(CHAIN_KEY)?;
        let found = found.and_then(|found| <[u8; 32]>::try_from(&*found).ok()).map(ChainId::new);
        match found {
            Some(found) if found == chain => Ok(disk),
            Some(found) => {
                let folder = folder.to_owned();
                Err(BookError::OtherChain { folder, expected: chain, found })
            }
            None => Err(disk.malformed("chain")),
        }
    }

    fn open_database(folder: &Path) -> Result<Self, fjall::Error> {
        let db = builder(folder).open()?;
        let keyspace = |name| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            db.keyspace(name, options)
        };
        Ok(Self {
            folder: folder.to_owned(),
            meta: keyspace("meta")?,
            headers: keyspace("headers")?,
            outputs: keyspace("outputs")?,
            proofs: keyspace("proofs")?,
            db,
            stopped: AtomicBool::new(false),
        })
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// A record that is not of one shard's chunks.
    pub(super) fn record(&self, key: impl AsRef<[u8]>) -> Result<Option<fjall::Slice>, BookError> {
        Ok(self.meta.get(key)?)
    }

    /// The records of one run from one height through another.
    pub(super) fn run(
        keyspace: &Keyspace,
        run: u64,
        heights: RangeInclusive<Height>,
    ) -> fjall::Iter {
        keyspace.range(run_key(run, *heights.start())..=run_key(run, *heights.end()))
    }

    pub(super) fn batch(&self) -> Result<OwnedWriteBatch, BookError> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(BookError::Stopped);
        }
        Ok(self.db.batch())
    }

    /// Writes a batch, so that it survives a power cut once this returns.
    pub(super) fn commit_synced(&self, batch: OwnedWriteBatch) -> Result<(), BookError> {
        self.commit(batch.durability(Some(PersistMode::SyncAll)))
    }

    /// Writes a batch. A power cut may undo it, together with all that was written after it.
    pub(super) fn commit(&self, batch: OwnedWriteBatch) -> Result<(), BookError> {
        // What is on disk after a failed write is not known.
        batch.commit().inspect_err(|_| self.stopped.store(true, Ordering::Release))?;
        Ok(())
    }

    /// All runs of which there is a chunk, kept or not.
    pub(super) fn runs(&self) -> Result<Vec<u64>, BookError> {
        let mut runs = Vec::new();
        let mut from = Some(0);
        while let Some(run) = from {
            let next = self.headers.range(run_key(run, Height(0))..).next();
            let Some(key) = next.map(fjall::Guard::key).transpose()? else { break };
            let run = run_of_key(&key).ok_or_else(|| self.malformed("chunk"))?;
            runs.push(run);
            from = run.checked_add(1);
        }
        Ok(runs)
    }

    /// Removes a run's headers and outputs up to a height, which nothing refers to any more.
    pub(super) fn remove_run(&self, run: u64, through: Height) -> Result<(), BookError> {
        let mut from = Some(run_key(run, Height(0)));
        while let Some(first) = from.take() {
            let mut batch = self.batch()?;
            let records = self.headers.range(first..=run_key(run, through));
            for record in records.take(REMOVED_AT_ONCE) {
                let key = record.key()?.to_vec();
                batch.remove(&self.headers, key.clone());
                batch.remove(&self.outputs, key.clone());
                from = key.try_into().ok();
            }
            self.commit(batch)?;
        }
        Ok(())
    }

    pub(super) fn malformed(&self, record: &'static str) -> BookError {
        self.damaged(Damage::Record(record))
    }

    pub(super) fn damaged(&self, damage: Damage) -> BookError {
        BookError::Damaged { folder: self.folder(), damage }
    }
}

fn builder(folder: &Path) -> fjall::DatabaseBuilder<Database> {
    Database::builder(folder)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES_MAX)
        .worker_threads(1)
}

/// Makes a new database of `chain` in `folder`, which must not be there or be empty.
fn make(folder: &Path, chain: ChainId) -> Result<(), BookError> {
    if let Some(parent) = folder.parent().filter(|parent| *parent != OsStr::new("")) {
        fs::create_dir_all(parent).map_err(StoreError::file(parent))?;
    }
    make_whole(folder, |unfinished| {
        let disk = Disk::open_database(unfinished)?;
        let mut batch = disk.batch()?;
        batch.insert(&disk.meta, CHAIN_KEY, chain.as_bytes());
        disk.commit_synced(batch)
    })
}
