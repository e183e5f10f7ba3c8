use ketch_types::{Height, PartSetError, ShardId};
use thiserror::Error;

use crate::limits;

/// Why the bytes of a message are refused.
///
/// A request that breaks a [rule](WireFault::Rule) alone was decoded: it is answered with
/// [`Refusal::Invalid`]. Everything else, and any of these in an answer, is proof of a fault.
///
/// [`Refusal::Invalid`]: crate::Refusal::Invalid
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireFault {
    /// The message is longer than any of its kind; it was not looked at.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The bytes are no encoding of the message.
    #[error("the bytes are not a message of this kind")]
    Malformed,
    /// A response holds none of the responses that there are.
    #[error("the response is empty")]
    Empty,
    /// A hash has another length than 32 bytes.
    #[error("a hash has {0} bytes")]
    HashBytes(usize),
    /// A bitmap is not the canonical encoding of a set over the part count.
    #[error(transparent)]
    PartSet(#[from] PartSetError),
    /// A reason is none of the known ones, or there is none where one is needed.
    #[error("{0} is not a reason for a refusal")]
    Reason(i32),
    /// A time to wait is too long, or comes without the one reason that has it.
    #[error("a wait of {0} ms is too long or has no place here")]
    RetryAfter(u64),
    /// An end speaks of another number of parts than the request, or of parts on another stream.
    #[error("the end speaks of {0} parts")]
    EndPartCount(u32),
    /// An end without a reason does not say what is held.
    #[error("the end does not say what is held")]
    EndWithoutHeld,
    /// A value breaks a rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

/// A message is longer than any of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{bytes} bytes are more than the {bytes_max} that a message of this kind may have")]
pub struct TooLong {
    /// The message's length.
    pub bytes: usize,
    /// The limit.
    pub bytes_max: usize,
}

/// Which rule of the protocol a value breaks. No message is made of it, and none is decoded to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// A list that needs an item has none.
    #[error("a list of {0:?} is empty")]
    NoItem(List),
    /// A list has more items than [`List::items_max`].
    #[error("a list of {0:?} has more than {max} items", max = .0.items_max())]
    TooManyItems(List),
    /// The shards that are asked of do not rise strictly.
    #[error("shard {0} is not above the one before it")]
    ShardOrder(ShardId),
    /// Epoch ends are asked for in another number than 1 to [`limits::EPOCH_ENDS_MAX`].
    #[error("{0} epoch ends are asked for")]
    EpochEndCount(u32),
    /// A manifest has more parts than [`limits::PART_COUNT_MAX`].
    #[error("{0} parts are spoken of, more than any manifest has")]
    PartCount(u32),
    /// No part is asked for.
    #[error("no part is asked for")]
    NoPartWanted,
    /// Heights end before they begin.
    #[error("heights from {first} to {last} are none")]
    Heights {
        /// The first height.
        first: Height,
        /// The last height.
        last: Height,
    },
}

/// The lists that messages have, each with a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    /// The shards that a summary is asked of.
    SummaryShards,
    /// The holdings of a summary.
    Holdings,
    /// The followings of a summary.
    Followings,
    /// Signed ledger infos that end epochs.
    EpochEnds,
    /// The shards whose chunks' proofs are asked for.
    ProofShards,
    /// Proofs of chunks.
    ChunkProofs,
}

impl List {
    /// The most items of the list.
    pub const fn items_max(self) -> usize {
        match self {
            List::SummaryShards => limits::SUMMARY_SHARDS_MAX,
            List::Holdings => limits::HOLDINGS_MAX,
            List::Followings => limits::FOLLOWINGS_MAX,
            List::EpochEnds => limits::EPOCH_ENDS_MAX as usize,
            List::ProofShards | List::ChunkProofs => limits::PROOF_SHARDS_MAX,
        }
    }

    /// Refuses a list of more items than it may have.
    pub(crate) fn check(self, items: usize) -> Result<(), RuleError> {
        if items <= self.items_max() { Ok(()) } else { Err(RuleError::TooManyItems(self)) }
    }

    /// The same, for a list that needs an item.
    pub(crate) fn check_some(self, items: usize) -> Result<(), RuleError> {
        if items == 0 { Err(RuleError::NoItem(self)) } else { self.check(items) }
    }
}

impl TooLong {
    /// Refuses more bytes than there may be.
    pub(crate) fn check(bytes: usize, bytes_max: usize) -> Result<(), TooLong> {
        if bytes <= bytes_max { Ok(()) } else { Err(TooLong { bytes, bytes_max }) }
    }
}
