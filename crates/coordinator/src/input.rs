use std::collections::BTreeMap;

use ketch_types::{Epoch, Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{Holding, OutputsRequest, PartsRequest, Refusal, Summary};
use serde::{Deserialize, Serialize};

use crate::id::{Ask, JobId, Peer, RequestId};
use crate::part_sizes::PartSizes;
use crate::turn::Turn;

/// A fact, told by the driver: all that a [`Coordinator`](crate::Coordinator) ever learns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Input {
    /// An epoch has begun: the block before its first is under a quorum.
    EpochStarted(EpochStart),
    /// A newer block is under a quorum.
    HeadAdvanced {
        /// Its height.
        height: Height,
        /// When it was produced, by its own time.
        produced: Instant,
    },
    /// A peer can be asked.
    PeerConnected {
        /// The peer.
        peer: Peer,
        /// What it is to the chain.
        class: PeerClass,
        /// Bits of its identity, the same for everybody who knows it.
        affinity: u64,
    },
    /// A peer can no longer be asked. Its requests are closed by this.
    PeerDisconnected {
        /// The peer.
        peer: Peer,
    },
    /// A peer announced what it holds: a hint.
    HoldingAnnounced {
        /// The peer that signed it.
        peer: Peer,
        /// What it claims.
        holding: Holding,
    },
    /// Some bytes of a request's answer arrived.
    RequestProgressed {
        /// The request.
        request: RequestId,
        /// What came of parts since this was last told of the request, as it will be unpacked: of a part
        /// that is half here, half its size, however well it is packed. It need not be told of all
        /// that comes; what was not is counted when the part is verified. *Units:* bytes.
        bytes: u64,
    },
    /// A part arrived and is verified; its bytes wait with the driver.
    PartVerified {
        /// The request that it answers.
        request: RequestId,
        /// The part.
        part: PartIndex,
    },
    /// A request is over.
    RequestEnded {
        /// The request.
        request: RequestId,
        /// How it ended.
        end: RequestEnd,
    },
    /// A job is over.
    JobEnded {
        /// The job.
        job: JobId,
        /// How it ended.
        end: JobEnd,
    },
    /// A shard's store was found damaged while it was in use.
    DamageFound {
        /// The shard.
        shard: ShardId,
    },
    /// The host's own work became slow, or is no longer.
    HostBusy(
        /// Whether it is slow.
        bool,
    ),
    /// A peer asks for something.
    Asked {
        /// The driver's handle for it.
        ask: Ask,
        /// Who asks.
        peer: Peer,
        /// What is asked for.
        query: PeerQuery,
    },
    /// A part that was to be sent is sent.
    PartSent {
        /// What it was sent for.
        ask: Ask,
        /// The part.
        part: PartIndex,
    },
    /// A part that was to be sent is not in the cache any more.
    PartNotCached {
        /// What it was for.
        ask: Ask,
        /// The part.
        part: PartIndex,
    },
    /// What a peer asked for needs no answer any more: sent as a whole, cancelled or cut off.
    AskClosed {
        /// The driver's handle for it.
        ask: Ask,
    },
}

/// What is known of an epoch when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: Epoch,
    /// Its first height.
    pub first_height: Height,
    /// Its length. *Units:* blocks.
    pub length: u64,
    /// The layout's size of parts. *Units:* bytes.
    pub cut: u32,
    /// The shards that this node must track in it.
    pub tracked: Vec<ShardId>,
    /// The shards that this node must track in the epoch after it.
    pub tracked_next: Vec<ShardId>,
    /// The roots of the shards' states at its start.
    pub roots: BTreeMap<ShardId, StateRoot>,
    /// Of the shards that this node must take for the next epoch, which of all who must it is; of those
    /// that are not named it is thought to be the only one.
    pub turns: BTreeMap<ShardId, Turn>,
}

impl EpochStart {
    /// The height of the block whose state is the epoch's start.
    pub fn start_height(&self) -> Height {
        Height(self.first_height.0.saturating_sub(1))
    }

    /// The first height of the next epoch.
    pub fn next_first_height(&self) -> Height {
        Height(self.first_height.0.saturating_add(self.length))
    }
}

/// What a peer is to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum PeerClass {
    /// A validator of this epoch or the next.
    Validator,
    /// Anything else.
    Other,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum RequestEnd {
    /// A summary came.
    Summary(Summary),
    /// An outline came and is verified.
    Manifest(PartSizes),
    /// A stream of parts ended as it should.
    Parts {
        /// What the peer says that it holds, over the manifest's parts.
        held: PartSet,
        /// Why parts are missing that were asked for, if it says so.
        refusal: Option<Refusal>,
    },
    /// Outputs came and are verified, as far as a height; they wait with the driver.
    Outputs {
        /// Up to which height there is nothing more to come for this shard.
        through: Height,
        /// Their size. *Units:* bytes.
        bytes: u64,
    },
    /// The peer does not answer, and says why.
    Refused(Refusal),
    /// No answer, and nobody is to blame.
    Failed(Failure),
    /// Proof that the peer lies.
    Faulty(Fault),
}

/// Why there is no answer. None of these is proof of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Failure {
    /// Nothing came for too long.
    TimedOut,
    /// The stream or the connection was closed.
    Disconnected,
    /// We cancelled it.
    Cancelled,
}

/// What proves that a peer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Fault {
    /// A part failed its hash, did not unpack or was not asked for.
    Part(PartIndex),
    /// A record of an outline failed its check.
    Outline,
    /// A range or outputs failed their check.
    Outputs,
    /// A message or a frame that breaks the protocol.
    Message,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum JobEnd {
    /// The search for holders is over; who was found is connected by now.
    Searched,
    /// A shard's store is open.
    Opened {
        /// The height of its head, if it holds a whole state.
        head: Option<Height>,
        /// The height after which outputs of its chunks are kept.
        outputs_after: Option<Height>,
        /// The epochs' starts that it can serve.
        starts: Vec<(Epoch, PartSizes)>,
    },
    /// The store was compared with the target.
    Reconciled {
        /// The parts that need not be fetched.
        held: PartSet,
    },
    /// A window is durable.
    Applied,
    /// The state is whole and is the head.
    Completed,
    /// Outputs were applied up to a height.
    Replayed {
        /// The height.
        through: Height,
        /// The starts of epochs that were passed on the way.
        starts: Vec<(Epoch, PartSizes)>,
    },
    /// Parts are in the cache, or were.
    Generated {
        /// Those that could be made.
        made: PartSet,
    },
    /// A shard, or epochs of it, are gone.
    Dropped,
    /// We checked ourselves.
    Checked {
        /// Whether memory and decoder gave what they must.
        sound: bool,
    },
    /// The work could not be done, by our own fault.
    Failed(OurFault),
}

/// What is wrong on our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum OurFault {
    /// The disk is full. Work is tried again later.
    DiskFull,
    /// What is stored is damaged.
    Damaged,
    /// The store refuses all work until it is opened again.
    Stopped,
}

/// What a peer asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum PeerQuery {
    /// What we hold of some shards.
    Summary(Vec<ShardId>),
    /// An outline.
    Outline {
        /// The state's root.
        root: StateRoot,
        /// The size of parts. *Units:* bytes.
        cut: u32,
    },
    /// Parts.
    Parts(PartsRequest),
    /// Outputs of chunks.
    Outputs(OutputsRequest),
}
