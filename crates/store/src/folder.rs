//! The folder of a shard's database: making one, and finding out whether it is in use.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::StoreError;

/// The file that the process holds locked which has the database open.
const LOCK_FILE: &str = "lock";

/// The file that a database has once it is made.
const VERSION_FILE: &str = "version";

/// The path of `folder` as its neighbours' names are made from it: without links or a trailing
/// slash. The folder above it is made if it is not there.
pub(crate) fn plain(folder: &Path) -> Result<PathBuf, StoreError> {
    if let Ok(plain) = fs::canonicalize(folder) {
        return Ok(plain);
    }
    let plain: PathBuf = folder.components().collect();
    if let Some(parent) = plain.parent() {
        fs::create_dir_all(parent).map_err(StoreError::file(parent))?;
    }
    Ok(plain)
}

/// Whether there is a database in `folder`.
pub(crate) fn has_database(folder: &Path) -> bool {
    folder.join(VERSION_FILE).is_file()
}

/// Makes a new database in `folder`, which must not be there or be empty: all of it or nothing.
///
/// It is made by `make` under another name and renamed, because a database whose making was cut short
/// does not open. The folder above it must be there.
///
/// *Errors:* [`StoreError::Locked`] while another process makes it; what the disk says.
pub fn make_whole<E: From<StoreError>>(
    folder: &Path,
    make: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let unfinished = beside(folder, "new");
    check_unused(&unfinished)?;
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::file(&unfinished)(error).into());
        }
        _ => {}
    }
    make(&unfinished)?;
    let parent = folder.parent().filter(|parent| *parent != OsStr::new(""));
    let finish = || {
        fs::rename(&unfinished, folder)?;
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    };
    Ok(finish().map_err(StoreError::file(folder))?)
}

/// Moves a database's folder to the first free name beside it, so that nothing is ever deleted.
pub(crate) fn move_aside(folder: &Path) -> Result<Option<PathBuf>, StoreError> {
    check_unused(folder)?;
    let mut names = (1..=u32::MAX).map(|n| beside(folder, &format!("damaged-{n}")));
    let Some(free) = names.find(|name| !name.exists()) else {
        return Ok(None);
    };
    match fs::rename(folder, &free) {
        Ok(()) => Ok(Some(free)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::file(folder)(error)),
    }
}

/// The path of something that belongs to `folder` and lies beside it.
pub(crate) fn beside(folder: &Path, suffix: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Refuses a folder whose database another process has open.
fn check_unused(folder: &Path) -> Result<(), StoreError> {
    let lock = match File::open(folder.join(LOCK_FILE)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StoreError::file(folder)(error)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => Err(StoreError::file(folder)(error)),
    }
}
