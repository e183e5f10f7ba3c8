use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::folder::{beside, move_aside};

/// How often a database may fail to open, by an error or by taking the process with it, before its
/// folder is moved aside.
pub const OPENINGS_MAX: u32 = 3;

/// Counts the openings of a database that did not succeed, in a file beside its folder, so that one
/// that takes the process with it each time is moved aside and fetched again.
pub(crate) struct Sentinel {
    file: PathBuf,
    failed: u32,
}

impl Sentinel {
    /// Announces an opening of the database in `folder`; where the folder was moved to, if it was.
    pub(crate) fn announce(folder: &Path) -> Result<(Self, Option<PathBuf>), StoreError> {
        let file = beside(folder, "opening");
        let mut failed = read_count(&file)?;
        let mut moved_aside = None;
        if failed >= OPENINGS_MAX {
            moved_aside = move_aside(folder)?;
            failed = 0;
        }
        let sentinel = Self { file, failed };
        sentinel.write(failed + 1)?;
        Ok((sentinel, moved_aside))
    }

    /// The opening succeeded.
    pub(crate) fn withdraw(self) -> Result<(), StoreError> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::file(&self.file)(error))
            }
            _ => Ok(()),
        }
    }

    /// The opening failed for a reason that says nothing about the database.
    pub(crate) fn forget(self) -> Result<(), StoreError> {
        if self.failed == 0 { self.withdraw() } else { self.write(self.failed) }
    }

    fn write(&self, count: u32) -> Result<(), StoreError> {
        let write = || {
            let mut file = File::create(&self.file)?;
            writeln!(file, "{count}")?;
            file.sync_all()
        };
        write().map_err(StoreError::file(&self.file))
    }
}

fn read_count(file: &Path) -> Result<u32, StoreError> {
    match fs::read(file) {
        // A count cut short by a crash still stands for one opening that did not succeed.
        Ok(text) => Ok(String::from_utf8_lossy(&text).trim().parse().unwrap_or(1)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(StoreError::file(file)(error)),
    }
}
