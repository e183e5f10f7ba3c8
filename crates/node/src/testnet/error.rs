use std::io;
use std::path::{Path, PathBuf};

use ketch_devnet::{AssignmentError, ProduceError};
use ketch_net::NodeKeyError;
use thiserror::Error;

use crate::book::BookError;
use crate::devnet_genesis::DevnetGenesisError;
use crate::key_file::KeyFileError;
use crate::layout_file::LayoutFileError;

/// Why a testnet was not run to its end.
#[derive(Debug, Error)]
pub(crate) enum TestnetError {
    /// Nobody would take a shard.
    #[error("--epochs counts changes of epochs, in which shards are taken: at least one")]
    NoEpoch,
    /// There is nothing to take.
    #[error("--state-size is 0: there is nothing to take")]
    NoState,
    /// The layout is refused.
    #[error(transparent)]
    Layout(#[from] LayoutFileError),
    /// The validators cannot share the shards so that each takes some.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// A file or folder cannot be read or made.
    #[error("{path}: {error}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// The folder is not for this testnet alone.
    #[error("{0} has states already: give --keep a folder of its own")]
    NotEmpty(PathBuf),
    /// The first states were not made.
    #[error(transparent)]
    Genesis(#[from] DevnetGenesisError),
    /// The chain cannot begin.
    #[error(transparent)]
    Chain(#[from] ProduceError),
    /// A key was not made.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// A key is none.
    #[error(transparent)]
    Key(#[from] NodeKeyError),
    /// The sequencer's book does not open after the run.
    #[error(transparent)]
    Book(#[from] BookError),
    /// A process was not started, or cannot be waited for.
    #[error("{name}: {error}")]
    Process {
        /// The node.
        name: String,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// A node ended before it took part.
    #[error("{name} did not start; see {log}")]
    NotStarted {
        /// The node.
        name: String,
        /// Its log.
        log: PathBuf,
    },
    /// The sequencer ended before the run did.
    #[error("the sequencer ended too early; see {0}")]
    SequencerEnded(PathBuf),
    /// Nodes end as often as they are started.
    #[error("nodes end again and again; see {0}")]
    EndsAgain(PathBuf),
    /// The run was interrupted.
    #[error("interrupted; every node was stopped")]
    Interrupted,
    /// The system gives no threads, timers or signals.
    #[error("the system refuses: {0}")]
    Runtime(#[source] io::Error),
    /// An error of ours.
    #[error("making the first states panicked")]
    Panicked,
}

impl TestnetError {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| TestnetError::File { path, error }
    }
}
