use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ketch_trie::{PackedPart, Packing, VerifiedPart};
use ketch_types::{Epoch, PartHash};
use thiserror::Error;

/// What a cached file begins with: format, packing, and the BLAKE3 hash of packing and part.
const MAGIC: &[u8; 4] = b"KPC1";
const HEADER_BYTES: usize = MAGIC.len() + 1 + 32;

/// What a file is called while it is written; a crash may leave one, which the next opening removes.
const PARTIAL_SUFFIX: &str = "partial";

/// Packed parts on disk, named by part hash, so that making a part once serves every peer and every
/// epoch in which the part does not change.
///
/// *Shape:* a folder of files in 256 subfolders, bounded in bytes; parts that were last of use in the
/// oldest epoch leave first. Nothing is synced: a file that a crash tore fails its hash when it is
/// read, and is made again. A handle for many threads.
pub struct PartCache {
    folder: PathBuf,
    bytes_max: u64,
    index: Mutex<Index>,
    /// How many files were begun, so that two threads never write the same one.
    writes: AtomicU64,
}

/// Why the cache did not do what it was asked; serving goes on without it.
#[derive(Debug, Error)]
#[error("part cache: {path}: {error}")]
pub struct CacheError {
    /// The file or folder.
    pub path: PathBuf,
    /// What went wrong.
    #[source]
    pub error: io::Error,
}

#[derive(Default)]
struct Index {
    parts: BTreeMap<PartHash, Cached>,
    /// The parts by the epoch in which they were last of use.
    by_epoch: BTreeMap<(Epoch, PartHash), u64>,
    bytes: u64,
}

#[derive(Clone, Copy)]
struct Cached {
    bytes: u64,
    epoch: Epoch,
}

impl PartCache {
    /// The cache in `folder`, made if it is not there, of at most `bytes_max` bytes.
    ///
    /// What is there already counts as last of use in epoch 0 until somebody uses it again.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, CacheError> {
        let mut index = Index::default();
        fs::create_dir_all(folder).map_err(failed(folder))?;
        for subfolder in read_folder(folder)?.into_iter().filter(|path| path.is_dir()) {
            for path in read_folder(&subfolder)? {
                match hash_of(&path) {
                    Some(hash) if path == path_in(folder, hash) => {
                        let bytes = fs::metadata(&path).map_err(failed(&path))?.len();
                        index.insert(hash, Cached { bytes, epoch: Epoch(0) });
                    }
                    _ if path.extension().is_some_and(|end| end == PARTIAL_SUFFIX) => {
                        fs::remove_file(&path).map_err(failed(&path))?;
                    }
                    _ => {}
                }
            }
        }
        let cache = Self {
            folder: folder.to_owned(),
            bytes_max,
            index: Mutex::new(index),
            writes: AtomicU64::new(0),
        };
        cache.evict(None)?;
        Ok(cache)
    }

    /// Whether the part is there; if so, it is of use in `epoch`.
    pub fn touch(&self, hash: PartHash, epoch: Epoch) -> bool {
        let mut index = self.index();
        let Some(cached) = index.parts.get(&hash).copied() else {
            return false;
        };
        if cached.epoch < epoch {
            index.insert(hash, Cached { epoch, ..cached });
        }
        true
    }

    /// Keeps a part, of use in `epoch`; its packed form.
    ///
    /// *Errors:* [`CacheError`], with the part not kept.
    pub fn insert(&self, part: &VerifiedPart, epoch: Epoch) -> Result<PackedPart, CacheError> {
        let packed = PackedPart::pack(part.payload());
        let hash = part.hash();
        let bytes = (HEADER_BYTES + packed.bytes.len()) as u64;
        if bytes > self.bytes_max || self.touch(hash, epoch) {
            return Ok(packed);
        }
        self.write(hash, &packed)?;
        self.index().insert(hash, Cached { bytes, epoch });
        self.evict(Some(hash))?;
        Ok(packed)
    }

    /// A part as it was kept, if it is there and undamaged; a damaged file is removed.
    ///
    /// *Errors:* [`CacheError`].
    pub fn read(&self, hash: PartHash) -> Result<Option<PackedPart>, CacheError> {
        if !self.index().parts.contains_key(&hash) {
            return Ok(None);
        }
        let path = self.path_of(hash);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(&path)(error)),
        };
        let packed = decode(bytes);
        if packed.is_none() {
            self.remove(hash)?;
        }
        Ok(packed)
    }

    /// Removes a part, if it is there.
    ///
    /// *Errors:* [`CacheError`].
    pub fn remove(&self, hash: PartHash) -> Result<(), CacheError> {
        // The index stays locked, so that nobody keeps the part anew while its file goes.
        let mut index = self.index();
        index.remove(hash);
        let path = self.path_of(hash);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path)(error)),
            _ => Ok(()),
        }
    }

    /// How many parts are there.
    pub fn len(&self) -> usize {
        self.index().parts.len()
    }

    /// Whether no part is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the files have.
    pub fn bytes(&self) -> u64 {
        self.index().bytes
    }

    /// Writes a file under another name and renames it, so that a reader sees all of it or nothing.
    fn write(&self, hash: PartHash, packed: &PackedPart) -> Result<(), CacheError> {
        let path = self.path_of(hash);
        let nth = self.writes.fetch_add(1, Ordering::Relaxed);
        let partial = path.with_extension(format!("{nth}.{PARTIAL_SUFFIX}"));
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
            let mut file = File::create(&partial)?;
            file.write_all(&header(packed))?;
            file.write_all(&packed.bytes)?;
            fs::rename(&partial, &path)
        };
        write().map_err(|error| {
            // What was written of it is of no use, and on a full disk its room is.
            let _ = fs::remove_file(&partial);
            failed(&path)(error)
        })
    }

    /// Removes parts, oldest epochs first, until the rest is within the bound; never `kept`.
    fn evict(&self, kept: Option<PartHash>) -> Result<(), CacheError> {
        loop {
            // Not in the head of the loop, where the index would stay locked while it runs.
            let excess = self.index().excess(self.bytes_max, kept);
            match excess {
                Some(hash) => self.remove(hash)?,
                None => return Ok(()),
            }
        }
    }

    fn path_of(&self, hash: PartHash) -> PathBuf {
        path_in(&self.folder, hash)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn insert(&mut self, hash: PartHash, cached: Cached) {
        self.remove(hash);
        self.parts.insert(hash, cached);
        self.by_epoch.insert((cached.epoch, hash), cached.bytes);
        self.bytes += cached.bytes;
    }

    fn remove(&mut self, hash: PartHash) {
        if let Some(cached) = self.parts.remove(&hash) {
            self.by_epoch.remove(&(cached.epoch, hash));
            self.bytes -= cached.bytes;
        }
    }

    /// The part to leave next, if there is too much.
    fn excess(&self, bytes_max: u64, kept: Option<PartHash>) -> Option<PartHash> {
        let mut oldest = self.by_epoch.keys().map(|(_, hash)| *hash);
        if self.bytes > bytes_max { oldest.find(|hash| Some(*hash) != kept) } else { None }
    }
}

fn path_in(folder: &Path, hash: PartHash) -> PathBuf {
    let name = hash.to_string();
    let (subfolder, _) = name.split_at(2);
    folder.join(subfolder).join(&name)
}

fn header(packed: &PackedPart) -> Vec<u8> {
    let packing = match packed.packing {
        Packing::Raw => 0,
        Packing::Lz4 => 1,
    };
    let hash = blake3::Hasher::new().update(&[packing]).update(&packed.bytes).finalize();
    [&MAGIC[..], &[packing], hash.as_bytes()].concat()
}

/// The packed part in a file's bytes, if they are as they were written.
fn decode(mut file: Vec<u8>) -> Option<PackedPart> {
    if file.len() < HEADER_BYTES {
        return None;
    }
    let bytes = file.split_off(HEADER_BYTES);
    let packing = if file.get(MAGIC.len()) == Some(&1) { Packing::Lz4 } else { Packing::Raw };
    let packed = PackedPart { packing, bytes };
    (header(&packed) == file).then_some(packed)
}

fn hash_of(path: &Path) -> Option<PartHash> {
    path.file_name()?.to_str()?.parse().ok()
}

fn read_folder(folder: &Path) -> Result<Vec<PathBuf>, CacheError> {
    let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>();
    list().map_err(failed(folder))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |error| CacheError { path, error }
}
