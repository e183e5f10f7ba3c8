use std::time::Duration;

use ketch_types::{Epoch, Height, PartIndex, ShardId, StateRoot};

use crate::id::Peer;
use crate::input::{Fault, OurFault};
use crate::shard::Phase;
use crate::verdict::Verdict;

/// A fact for the operator. Nothing needs to be done about it for the coordinator's sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A shard's task moved on.
    PhaseChanged {
        /// The shard.
        shard: ShardId,
        /// Where it is now.
        phase: Phase,
    },
    /// What is expected of a shard changed.
    VerdictChanged {
        /// The shard.
        shard: ShardId,
        /// What is expected now.
        verdict: Verdict,
    },
    /// A shard has another target.
    Pivoted {
        /// The shard.
        shard: ShardId,
        /// The epoch whose start is now fetched.
        epoch: Epoch,
        /// Its root.
        root: StateRoot,
    },
    /// A shard is held and followed.
    CaughtUp {
        /// The shard.
        shard: ShardId,
        /// The height that is applied.
        height: Height,
        /// The time since the epoch's first block.
        after: Duration,
        /// Blocks left until the shard must be tracked.
        blocks_left: u64,
        /// The time left until then, as far as can be told.
        left: Duration,
    },
    /// A shard was caught up and is not any more.
    FellBehind {
        /// The shard.
        shard: ShardId,
    },
    /// The first block of an epoch was produced: a shard that must be tracked in it was held and
    /// followed by then, or was not.
    Boundary {
        /// The shard.
        shard: ShardId,
        /// The epoch that began.
        epoch: Epoch,
        /// How long before that block it was caught up; none if it was not.
        margin: Option<Duration>,
    },
    /// A peer was banned for a proven lie.
    Banned {
        /// The peer.
        peer: Peer,
        /// The proof.
        fault: Fault,
    },
    /// So much fails that we doubt ourselves; nobody is banned meanwhile.
    SuspectingOurselves {
        /// A part that several peers failed at, if that is why.
        part: Option<(ShardId, PartIndex)>,
    },
    /// The check of ourselves is over.
    CheckedOurselves {
        /// Whether all is well.
        sound: bool,
    },
    /// Nothing moved for long; the download was begun anew from what is durable.
    WatchdogFired {
        /// The shard.
        shard: ShardId,
    },
    /// Local work failed.
    Failed {
        /// The shard.
        shard: ShardId,
        /// Why.
        fault: OurFault,
    },
}
