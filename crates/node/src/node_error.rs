use std::io;
use std::path::{Path, PathBuf};

use ketch_devnet::{AssignmentError, ProduceError};
use ketch_ledger::DecodeError;
use ketch_net::{NodeKeyError, StartError};
use ketch_store::CacheError;
use thiserror::Error;

use crate::book::BookError;
use crate::devnet_genesis::DevnetGenesisError;
use crate::http::HttpError;
use crate::key_file::KeyFileError;
use crate::logging::LogError;
use crate::metrics::MetricsError;
use crate::sequencer::SequencerError;

/// Why a node does not run, or does not run on.
#[derive(Debug, Error)]
pub(crate) enum NodeError {
    /// A file or folder cannot be read or made.
    #[error("{path}: {error}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// The genesis file is not the encoding of a genesis.
    #[error("{path}: not a chain's genesis: {error}")]
    Genesis {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        error: DecodeError,
    },
    /// The network key is refused.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The network key is no key.
    #[error(transparent)]
    Key(#[from] NodeKeyError),
    /// The ledger's own database is refused.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The part cache does not open.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The network does not start.
    #[error(transparent)]
    Network(#[from] StartError),
    /// The states that a devnet begins with are not there.
    #[error(transparent)]
    DevnetGenesis(#[from] DevnetGenesisError),
    /// The HTTP server does not start.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// There is no log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There are no metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The devnet's validators cannot share its shards.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// No block can be made.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// The sequencer stopped.
    #[error(transparent)]
    Sequencer(#[from] SequencerError),
    /// The seed in the configuration is not the chain's.
    #[error("devnet.seed does not give the validators of this chain's genesis")]
    OtherSeed,
    /// A sequencer was started a second time.
    #[error(
        "this sequencer's chain has begun already, and a devnet's chain is not taken up again: start a new one"
    )]
    SequencerResumes,
    /// What decides nothing has nothing to record.
    #[error("a sequencer has no coordinator, so there is nothing to record")]
    NothingToRecord,
    /// The system gives no threads, timers or signals.
    #[error("the system refuses: {0}")]
    Runtime(#[source] io::Error),
    /// Standard output is closed.
    #[error("standard output: {0}")]
    Output(#[source] io::Error),
    /// An error of ours.
    #[error("the node panicked; see the log")]
    Panicked,
}

impl NodeError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| NodeError::File { path, error }
    }
}
