use std::io;
use std::path::PathBuf;

use ketch_trie::{BuildError, ManifestError, PartFault, ReadError};
use ketch_types::{Epoch, Height, KeyRange, PartIndex, StateRoot};
use thiserror::Error;

/// Why a store did not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process, or another handle of this one, has the database open.
    #[error("the database is in use by another process")]
    Locked,
    /// There is no database in the folder.
    #[error("there is no shard's database here")]
    NoDatabase,
    /// The disk is full. Nothing that was reported done is lost: make room and start again.
    #[error("the disk is full; make room and start again")]
    DiskFull,
    /// An earlier write failed, so that what is on disk is not known: stop, and start again.
    #[error("an earlier write failed, perhaps for want of room; stop and start again")]
    Stopped,
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// The database could not be read or written.
    #[error("the database failed: {0}")]
    Database(#[source] Box<fjall::Error>),
    /// A record is not what a store writes.
    #[error("the database holds a malformed {0} record")]
    Malformed(&'static str),
    /// What is stored is not what its root commits to.
    #[error("the state is damaged in {0:?}")]
    Damaged(KeyRange),
    /// A part read from the store is not what its manifest commits to.
    #[error("part {part} of the state is damaged: {fault}")]
    DamagedPart {
        /// The part.
        part: PartIndex,
        /// What is wrong with it.
        #[source]
        fault: PartFault,
    },
    /// The stored outline cuts no parts.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The start of this epoch is not kept, or not yet.
    #[error("the start of epoch {0} is not kept")]
    NotRetained(Epoch),
    /// There is no complete state.
    #[error("the store holds no complete state")]
    NoState,
    /// There are entries where none may be.
    #[error("the store is not empty")]
    NotEmpty,
    /// Entries to import are over the limits or out of order.
    #[error("entry {at}: {error}")]
    Import {
        /// The entry's place, counted from 0.
        at: u64,
        /// What is wrong with it.
        #[source]
        error: BuildError,
    },
    /// A window was handed another part than its next one.
    #[error("part {expected} at the window's cut was expected, not this part {got} of {root}")]
    OtherPart {
        /// The part that comes next.
        expected: PartIndex,
        /// The part that came.
        got: PartIndex,
        /// The root that it belongs to.
        root: StateRoot,
    },
    /// Another window over some of the same keys is being applied.
    #[error("another window over the same keys is being applied")]
    WindowBusy,
    /// A window ended before its last part.
    #[error("the window ended before part {0}")]
    MissingPart(PartIndex),
    /// Not all parts of the manifest have been applied.
    #[error("{missing} parts of the state are missing")]
    Incomplete {
        /// How many.
        missing: u32,
    },
    /// A chunk is not the one after the head.
    #[error("the chunk of height {got} does not follow {head}")]
    HeightGap {
        /// The head's height.
        head: Height,
        /// The chunk's height.
        got: Height,
    },
    /// A chunk's writes do not lead to the root that was committed. Nothing was written.
    #[error("the writes of height {height} lead to {got}, not to the committed {expected}")]
    RootMismatch {
        /// The chunk's height.
        height: Height,
        /// The root under the quorum.
        expected: StateRoot,
        /// The root that the writes lead to.
        got: StateRoot,
    },
}

impl StoreError {
    /// What an error of a file or folder means.
    pub fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| match error.kind() {
            kind if means_no_room(kind) => Self::DiskFull,
            _ => Self::File { path, error },
        }
    }

    /// Whether the cause lies outside the database, so that opening it again may well succeed.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Locked | Self::DiskFull => true,
            Self::File { error, .. } => error.kind() == io::ErrorKind::PermissionDenied,
            Self::Database(error) => io_error(error).is_some_and(|error| {
                matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
                    || error.kind() == io::ErrorKind::PermissionDenied
            }),
            _ => false,
        }
    }
}

/// "Too many open files" in this process and in the system, as numbered by Linux, BSD and macOS.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

impl From<fjall::Error> for StoreError {
    fn from(error: fjall::Error) -> Self {
        if matches!(error, fjall::Error::Poisoned) {
            return Self::Stopped;
        }
        match io_error(&error).map(io::Error::kind) {
            Some(kind) if means_no_room(kind) => Self::DiskFull,
            _ => Self::Database(Box::new(error)),
        }
    }
}

/// A full disk, a quota, or a limit on the size of files: there is no room for what is written.
fn means_no_room(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(kind, StorageFull | QuotaExceeded | FileTooLarge)
}

fn io_error(error: &fjall::Error) -> Option<&io::Error> {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => Some(error),
        _ => None,
    }
}

impl From<ReadError<StoreError>> for StoreError {
    fn from(error: ReadError<StoreError>) -> Self {
        match error {
            ReadError::Reader(error) => error,
            ReadError::Damaged(range) => Self::Damaged(range),
        }
    }
}
