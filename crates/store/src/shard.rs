use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use fjall::{Database, Keyspace, OwnedWriteBatch, PersistMode, Readable};
use ketch_trie::{Manifest, StateReader};
use ketch_types::{Epoch, KeyRange};

use crate::folder::{has_database, make_whole, move_aside, plain};
use crate::marks::{MarkChange, Marks};
use crate::record::{Head, decode_mark, decode_outline, encode_mark, encode_outline};
use crate::sentinel::Sentinel;
use crate::view::StateView;
use crate::{StoreConfig, StoreError};

const HEAD_KEY: &[u8] = b"head";
const MARK_PREFIX: &[u8] = b"mark/";
const MANIFEST_PREFIX: &[u8] = b"manifest/";
const HISTORY_PREFIX: &str = "history-";

/// One shard's state on disk.
///
/// *Shape:* a handle for many threads. Any number may read and apply windows of disjoint key ranges
/// at once; there is one writer of chunks.
pub struct ShardStore {
    pub(crate) db: Database,
    pub(crate) entries: Keyspace,
    pub(crate) nodes: Keyspace,
    meta: Keyspace,
    config: StoreConfig,
    /// What changes together with what is on disk, locked for as long as it takes to change both.
    state: Mutex<State>,
    /// Held shared while a window is applied, and alone by everything else that changes what is
    /// stored: what was computed from the store is then still there when it is written.
    pub(crate) changing: RwLock<()>,
    stopped: AtomicBool,
}

/// What the store knows about what it holds.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) head: Option<Head>,
    pub(crate) marks: Marks,
    /// For each epoch that had a write, the values that keys had before their first one.
    pub(crate) histories: BTreeMap<Epoch, Keyspace>,
    /// The key ranges of the windows that are being applied.
    pub(crate) busy: Vec<KeyRange>,
    /// How the starts of the epochs that are kept are cut.
    pub(crate) manifests: BTreeMap<Epoch, Arc<Manifest>>,
}

/// A shard's store, and what became of the one before it.
pub struct Opened {
    /// The store.
    pub store: ShardStore,
    /// Where the database was moved that had failed to open too often.
    pub moved_aside: Option<PathBuf>,
}

/// How far the database is behind with its own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Runs of tables not yet sorted into the tree; writes are slowed at 20 and stopped at 30.
    pub l0_runs: usize,
    /// Full memtables that wait to be written.
    pub sealed_memtables: usize,
}

impl ShardStore {
    /// Opens the database in `folder`, or makes a new one.
    ///
    /// A database that failed to open [`OPENINGS_MAX`](crate::OPENINGS_MAX) times is moved aside and
    /// a new one is made: the state is fetched again.
    ///
    /// *Errors:* [`StoreError::Locked`] if another process has it open; what the disk says.
    pub fn open(folder: &Path, config: StoreConfig) -> Result<Opened, StoreError> {
        let folder = &plain(folder)?;
        let (sentinel, moved_aside) = Sentinel::announce(folder)?;
        if !has_database(folder)
            && let Err(error) = make_whole(folder, |new| make_database(new, &config))
        {
            // Whatever is in the way, it is no database that does not open.
            sentinel.forget()?;
            return Err(error);
        }
        match Self::open_database(folder, config) {
            Ok(store) => {
                store.drop_histories(&mut store.state())?;
                sentinel.withdraw()?;
                Ok(Opened { store, moved_aside })
            }
            Err(error) => {
                if error.is_passing() {
                    sentinel.forget()?;
                }
                Err(error)
            }
        }
    }

    /// Opens the database in `folder`, of a node that does not run, to look into it.
    ///
    /// *Errors:* [`StoreError::NoDatabase`] where there is none; [`StoreError::Locked`] while a node
    /// has it open.
    pub fn open_existing(folder: &Path, config: StoreConfig) -> Result<Self, StoreError> {
        if has_database(folder) {
            Self::open_database(folder, config)
        } else {
            Err(StoreError::NoDatabase)
        }
    }

    /// Moves the database in `folder`, which is closed, aside, so that the next opening begins with an
    /// empty one and the state is fetched again; where to, if there was one.
    ///
    /// *Errors:* [`StoreError::Locked`] while it is open.
    pub fn set_aside(folder: &Path) -> Result<Option<PathBuf>, StoreError> {
        move_aside(&plain(folder)?)
    }

    fn open_database(folder: &Path, config: StoreConfig) -> Result<Self, StoreError> {
        let db = config.database(folder).open().map_err(|error| match error {
            fjall::Error::Locked => StoreError::Locked,
            error => error.into(),
        })?;
        let entries = db.keyspace("entries", || config.scanned())?;
        let nodes = db.keyspace("nodes", || config.scanned())?;
        let meta = db.keyspace("meta", || config.probed())?;
        let state = Mutex::new(State::load(&db, &meta, &config)?);
        let (changing, stopped) = (RwLock::new(()), AtomicBool::new(false));
        Ok(Self { db, entries, nodes, meta, config, state, changing, stopped })
    }

    /// The newest state that is held as a whole, if one is.
    pub fn head(&self) -> Option<Head> {
        self.state().head
    }

    /// The epochs whose start is kept.
    pub fn epochs(&self) -> Vec<Epoch> {
        self.state().manifests.keys().copied().collect()
    }

    /// The newest state, as it is now and stays while the view lives.
    ///
    /// *Errors:* [`StoreError::NoState`] while there is none that is complete.
    pub fn view(&self) -> Result<StateView, StoreError> {
        let state = self.state();
        let head = state.head.ok_or(StoreError::NoState)?;
        Ok(StateView::new(self, self.db.snapshot(), head.top))
    }

    /// Makes everything written so far survive a power cut.
    ///
    /// *Errors:* [`StoreError::Stopped`] after an earlier failure, which is never tried again.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.check_running()?;
        self.guard(self.db.persist(PersistMode::SyncAll).map_err(StoreError::from))
    }

    /// Forgets the starts of all epochs before `epoch`.
    pub fn drop_epochs_before(&self, epoch: Epoch) -> Result<(), StoreError> {
        let _alone = self.change_alone()?;
        self.drop_epochs(&mut self.state(), self.batch(), Some(epoch))
    }

    /// Writes `batch`, and in it forgets the starts of all epochs before `kept_from`, or of all.
    pub(crate) fn drop_epochs(
        &self,
        state: &mut State,
        mut batch: OwnedWriteBatch,
        kept_from: Option<Epoch>,
    ) -> Result<(), StoreError> {
        let is_kept = |epoch: &Epoch| kept_from.is_some_and(|first| first <= *epoch);
        for epoch in state.manifests.keys().filter(|epoch| !is_kept(epoch)) {
            batch.remove(&self.meta, manifest_key(*epoch));
        }
        self.write(batch)?;
        state.manifests.retain(|epoch, _| is_kept(epoch));
        // If a crash comes first, the next opening does this.
        self.drop_histories(state)
    }

    /// Removes the histories of epochs before the first one whose start is kept.
    fn drop_histories(&self, state: &mut State) -> Result<(), StoreError> {
        let first = state.manifests.keys().next();
        let kept = first.map(|first| state.histories.split_off(first)).unwrap_or_default();
        let dropped = std::mem::replace(&mut state.histories, kept);
        self.guard(
            dropped
                .into_values()
                .try_for_each(|history| self.db.delete_keyspace(history).map_err(StoreError::from)),
        )
    }

    /// How far the database is behind with its own work.
    pub fn pressure(&self) -> Pressure {
        let keyspaces = [&self.entries, &self.nodes, &self.meta];
        Pressure {
            l0_runs: keyspaces.iter().map(|k| k.l0_table_count()).max().unwrap_or(0),
            sealed_memtables: keyspaces.iter().map(|k| k.sealed_memtable_count()).sum(),
        }
    }

    /// Shows all entries, whatever the store says of them; whether they are one state is for the
    /// caller to find out.
    pub fn scan(&self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
        let view = StateView::new(self, self.db.snapshot(), None);
        view.entries(&KeyRange::ALL, &mut |key, value| {
            visit(key, value);
            std::ops::ControlFlow::Continue(())
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Whatever panicked while it held the lock wrote to disk first or not at all.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn batch(&self) -> OwnedWriteBatch {
        self.db.batch()
    }

    /// Writes a batch, synced.
    pub(crate) fn write(&self, batch: OwnedWriteBatch) -> Result<(), StoreError> {
        self.guard(batch.durability(Some(PersistMode::SyncAll)).commit().map_err(StoreError::from))
    }

    pub(crate) fn put_marks(&self, batch: &mut OwnedWriteBatch, changes: Vec<MarkChange>) {
        // A low end that is removed and set again in one go keeps the last change alone.
        let changes: BTreeMap<_, _> = changes.into_iter().collect();
        for (low, mark) in changes {
            let key = [MARK_PREFIX, &low].concat();
            match mark {
                Some(mark) => batch.insert(&self.meta, key, encode_mark(&mark)),
                None => batch.remove(&self.meta, key),
            }
        }
    }

    pub(crate) fn put_head(&self, batch: &mut OwnedWriteBatch, head: Option<&Head>) {
        match head {
            Some(head) => batch.insert(&self.meta, HEAD_KEY, head.encode()),
            None => batch.remove(&self.meta, HEAD_KEY),
        }
    }

    pub(crate) fn put_manifest(
        &self,
        batch: &mut OwnedWriteBatch,
        epoch: Epoch,
        manifest: &Manifest,
    ) {
        batch.insert(&self.meta, manifest_key(epoch), encode_outline(manifest.outline()));
    }

    /// The history of `epoch`, made if it is not there.
    pub(crate) fn history(&self, state: &mut State, epoch: Epoch) -> Result<Keyspace, StoreError> {
        if let Some(history) = state.histories.get(&epoch) {
            return Ok(history.clone());
        }
        let name = format!("{HISTORY_PREFIX}{epoch}");
        let history =
            self.guard(self.db.keyspace(&name, || self.config.probed()).map_err(StoreError::from))?;
        state.histories.insert(epoch, history.clone());
        Ok(history)
    }

    /// Waits until nobody else changes what is stored.
    pub(crate) fn change_alone(&self) -> Result<RwLockWriteGuard<'_, ()>, StoreError> {
        let alone = self.changing.write().unwrap_or_else(PoisonError::into_inner);
        self.check_running()?;
        Ok(alone)
    }

    /// Refuses to write after a write has failed: what is on disk is then not known.
    pub(crate) fn check_running(&self) -> Result<(), StoreError> {
        if self.stopped.load(Ordering::Acquire) { Err(StoreError::Stopped) } else { Ok(()) }
    }

    /// Stops the store if a write failed.
    pub(crate) fn guard<T>(&self, written: Result<T, StoreError>) -> Result<T, StoreError> {
        if written.is_err() {
            self.stopped.store(true, Ordering::Release);
        }
        written
    }
}

impl State {
    fn load(db: &Database, meta: &Keyspace, config: &StoreConfig) -> Result<Self, StoreError> {
        let snapshot = db.snapshot();
        let head = snapshot.get(meta, HEAD_KEY)?.map(|head| Head::decode(&head)).transpose()?;
        let mut marks = BTreeMap::new();
        for record in snapshot.prefix(meta, MARK_PREFIX) {
            let (key, value) = record.into_inner()?;
            let low = key.strip_prefix(MARK_PREFIX).unwrap_or_default();
            marks.insert(low.to_vec(), decode_mark(&value)?);
        }
        let mut manifests = BTreeMap::new();
        for record in snapshot.prefix(meta, MANIFEST_PREFIX) {
            let (key, value) = record.into_inner()?;
            let epoch = key.split_last_chunk::<8>().map(|(_, epoch)| u64::from_be_bytes(*epoch));
            let epoch = Epoch(epoch.ok_or(StoreError::Malformed("manifest"))?);
            manifests.insert(epoch, Arc::new(Manifest::new(decode_outline(&value)?)?));
        }
        let histories = load_histories(db, config)?;
        Ok(Self { head, marks: Marks::new(marks), histories, busy: Vec::new(), manifests })
    }
}

fn load_histories(
    db: &Database,
    config: &StoreConfig,
) -> Result<BTreeMap<Epoch, Keyspace>, StoreError> {
    let mut histories = BTreeMap::new();
    for name in db.list_keyspace_names() {
        let epoch = name.strip_prefix(HISTORY_PREFIX).and_then(|epoch| epoch.parse().ok());
        if let Some(epoch) = epoch.map(Epoch) {
            histories.insert(epoch, db.keyspace(&name, || config.probed())?);
        }
    }
    Ok(histories)
}

fn make_database(folder: &Path, config: &StoreConfig) -> Result<(), StoreError> {
    drop(config.database(folder).open()?);
    Ok(())
}

/// Epochs in big-endian, so that their records are in order.
fn manifest_key(epoch: Epoch) -> Vec<u8> {
    [MANIFEST_PREFIX, &epoch.0.to_be_bytes()].concat()
}
