use std::io;
use std::path::PathBuf;

use ketch_ledger::{
    ChunkProofFault, DecodeError, LedgerFault, LedgerRefusal, RangeFault, RangeRefusal,
    WaypointError,
};
use ketch_store::StoreError;
use ketch_types::{ChainId, Epoch, Height, ShardId};
use thiserror::Error;

/// Why the book did not do what it was asked, by nobody's fault but ours or the operator's.
#[derive(Debug, Error)]
pub enum BookError {
    /// Another process, or another handle of this one, has the database open.
    #[error("the ledger's database is in use by another process")]
    Locked,
    /// The disk is full. Nothing that was reported done is lost: make room and start again.
    #[error("the disk is full; make room and start again")]
    DiskFull,
    /// An earlier write failed, so that what is on disk is not known: stop, and start again.
    #[error("an earlier write of the ledger's database failed; stop and start again")]
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
    #[error("the ledger's database failed: {0}")]
    Database(#[source] Box<fjall::Error>),
    /// What else a database can be.
    #[error(transparent)]
    Store(Box<StoreError>),
    /// The database is not what a book writes.
    #[error(
        "the ledger's database is damaged: {damage}; delete {folder}: all of it is fetched again"
    )]
    Damaged {
        /// The database's folder.
        folder: PathBuf,
        /// What is wrong.
        #[source]
        damage: Damage,
    },
    /// The database is of another chain.
    #[error("{folder} holds the ledger of chain {found}, not of {expected}")]
    OtherChain {
        /// The database's folder.
        folder: PathBuf,
        /// The chain that the node is of.
        expected: ChainId,
        /// The chain that the database is of.
        found: ChainId,
    },
    /// The operator's waypoint is wrong: it is no epoch's end of this chain.
    #[error("the configured waypoint is wrong: {0}")]
    Waypoint(WaypointError),
    /// The operator's waypoint is of an epoch that ended otherwise, as far as is known here.
    #[error(
        "the configured waypoint contradicts what is known of epoch {epoch}; if the waypoint is \
         right, delete {folder}: all of it is fetched again"
    )]
    OtherWaypoint {
        /// The epoch that the waypoint ends.
        epoch: Epoch,
        /// The database's folder.
        folder: PathBuf,
    },
    /// These are not the newest chunk headers of all shards at an epoch's end.
    #[error("these are not the chunk headers at the end of an epoch")]
    NotAStart,
    /// The shard was not begun, or it was forgotten.
    #[error("no chunks are kept of shard {0}")]
    NotFollowed(ShardId),
    /// A chunk does not follow the newest one that is kept, or what follows was dropped.
    #[error("the chunk of shard {shard} at height {got} does not follow the one at {newest}")]
    Gap {
        /// The shard.
        shard: ShardId,
        /// The height of the chunk before the gap.
        newest: Height,
        /// The height of the chunk after it.
        got: Height,
    },
    /// There are more outputs than chunks, or they are not of the size that a header says.
    #[error("these are not the outputs of shard {0}'s chunks")]
    OtherOutputs(ShardId),
}

/// What is wrong with a database.
#[derive(Debug, Error)]
pub enum Damage {
    /// It does not open.
    #[error("it does not open: {0}")]
    Database(#[source] Box<fjall::Error>),
    /// A record is not what a book writes.
    #[error("a malformed {0} record")]
    Record(&'static str),
    /// The stored end of an epoch is not believed.
    #[error("the end of epoch {0} is not believed: {1}")]
    End(Epoch, #[source] LedgerRefusal),
    /// The stored head is not believed.
    #[error("the head is not believed: {0}")]
    Head(#[source] LedgerRefusal),
}

/// What proves that whoever sent something lies. *Source:* the protocol, §4.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerFault {
    /// An object is not the encoding of anything.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A ledger info is refused, or a block is not its own.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
    /// A proof of a chunk is refused.
    #[error("the proof of shard {0} is refused: {1}")]
    Proof(ShardId, #[source] ChunkProofFault),
    /// A chunk range is refused.
    #[error(transparent)]
    Range(#[from] RangeFault),
    /// There are more or fewer items than were asked for.
    #[error("{got} items came, not the {expected} that were asked for")]
    Items {
        /// How many were asked for, at most or exactly.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// A range's ledger info is of a height below the one asked after.
    #[error("a range up to height {got} came, where chunks after {after} were asked for")]
    Below {
        /// The height after which chunks were asked for.
        after: Height,
        /// The height of the ledger info.
        got: Height,
    },
    /// A range's ledger info is of an epoch that we said we cannot check.
    #[error("a range of epoch {got} came, where epochs up to {newest} can be checked")]
    LaterEpoch {
        /// The newest epoch that was asked for.
        newest: Epoch,
        /// The epoch of the ledger info.
        got: Epoch,
    },
    /// A waypoint's ledger info has another hash, or another next epoch's info came with it.
    #[error(transparent)]
    Waypoint(WaypointError),
}

/// Why something that a peer sent was not taken.
#[derive(Debug, Error)]
pub enum TakeError {
    /// The info of its epoch is not known here, or the waypoint has not come yet. That is nobody's
    /// fault.
    #[error("it is of epoch {0}, whose info is not known")]
    UnknownEpoch(Epoch),
    /// Whoever sent it lies.
    #[error(transparent)]
    Fault(PeerFault),
    /// We could not, or must not, take it.
    #[error(transparent)]
    Book(#[from] BookError),
}

impl From<PeerFault> for TakeError {
    fn from(fault: PeerFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<DecodeError> for TakeError {
    fn from(error: DecodeError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<LedgerFault> for TakeError {
    fn from(fault: LedgerFault) -> Self {
        Self::Fault(fault.into())
    }
}

impl From<LedgerRefusal> for TakeError {
    fn from(refusal: LedgerRefusal) -> Self {
        match refusal {
            LedgerRefusal::UnknownEpoch(epoch) => Self::UnknownEpoch(epoch),
            LedgerRefusal::Fault(fault) => fault.into(),
        }
    }
}

impl From<RangeRefusal> for TakeError {
    fn from(refusal: RangeRefusal) -> Self {
        match refusal {
            RangeRefusal::UnknownEpoch(epoch) => Self::UnknownEpoch(epoch),
            RangeRefusal::Fault(fault) => Self::Fault(fault.into()),
        }
    }
}

impl From<StoreError> for BookError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked => Self::Locked,
            StoreError::DiskFull => Self::DiskFull,
            StoreError::Stopped => Self::Stopped,
            StoreError::File { path, error } => Self::File { path, error },
            StoreError::Database(error) => Self::Database(error),
            other => Self::Store(Box::new(other)),
        }
    }
}

impl From<fjall::Error> for BookError {
    fn from(error: fjall::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl BookError {
    /// What an error of opening the database in `folder` means: damage, unless its cause lies
    /// elsewhere.
    pub(super) fn of_opening(folder: PathBuf, error: fjall::Error) -> Self {
        if matches!(error, fjall::Error::Locked) {
            return Self::Locked;
        }
        match StoreError::from(error) {
            error if error.is_passing() => error.into(),
            StoreError::Database(error) => {
                Self::Damaged { folder, damage: Damage::Database(error) }
            }
            other => other.into(),
        }
    }
}
