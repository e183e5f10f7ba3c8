use std::ops::Range;
use std::time::Duration;

use ketch_types::{Epoch, Height, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{Holding, Refusal, Summary};
use serde::{Deserialize, Serialize};

use crate::id::{Ask, JobId, Peer, RequestId};

/// What the driver is to do.
///
/// A request is closed by one [`RequestEnded`](crate::Input::RequestEnded) or by the peer's
/// disconnection, a job by one [`JobEnded`](crate::Input::JobEnded), an ask by one
/// [`AskClosed`](crate::Input::AskClosed); all other commands are done when they are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Command {
    /// Ask a peer.
    Request {
        /// The request.
        request: RequestId,
        /// Whom to ask.
        peer: Peer,
        /// For what.
        query: Query,
    },
    /// Stop a request; what has arrived of it stays.
    Cancel {
        /// The request.
        request: RequestId,
    },
    /// Do local work.
    Run {
        /// The job.
        job: JobId,
        /// The work.
        work: Work,
    },
    /// Forget verified parts and outputs of a shard that were not applied.
    Discard {
        /// The shard.
        shard: ShardId,
    },
    /// Close the connection to a peer, and refuse new ones for a while.
    Ban {
        /// The peer.
        peer: Peer,
        /// For how long.
        lasting: Duration,
    },
    /// Tell everybody what we hold; an empty set withdraws it.
    Announce(
        /// What we hold, all of it durable.
        Holding,
    ),
    /// Enter us in the DHT as a provider.
    Provide {
        /// The shard.
        shard: ShardId,
        /// The epoch whose start we hold parts of.
        epoch: Epoch,
    },
    /// Take us out of the DHT.
    StopProviding {
        /// The shard.
        shard: ShardId,
        /// The epoch.
        epoch: Epoch,
    },
    /// Answer a peer's question for a summary.
    SendSummary {
        /// What it answers.
        ask: Ask,
        /// The answer.
        summary: Summary,
    },
    /// Stream an outline.
    SendOutline {
        /// What it answers.
        ask: Ask,
        /// The shard.
        shard: ShardId,
        /// The state's root.
        root: StateRoot,
    },
    /// Stream outputs.
    SendOutputs {
        /// What it answers.
        ask: Ask,
        /// The shard.
        shard: ShardId,
        /// The height after which chunks are wanted.
        after: Height,
        /// The newest epoch of which the peer can check a proof.
        newest_epoch: Epoch,
        /// The most to send. *Units:* bytes.
        budget_bytes: u64,
    },
    /// Send one cached part.
    SendPart {
        /// What it answers.
        ask: Ask,
        /// The shard.
        shard: ShardId,
        /// The state's root.
        root: StateRoot,
        /// The part.
        part: PartIndex,
    },
    /// End an answer.
    End {
        /// What it answers.
        ask: Ask,
        /// Why it is cut short, if it is.
        refusal: Option<Refusal>,
        /// What we hold, where parts were asked for.
        held: Option<PartSet>,
    },
}

/// What is asked of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Query {
    /// What it holds of some shards.
    Summary(Vec<ShardId>),
    /// The outline of a state.
    Outline {
        /// The shard.
        shard: ShardId,
        /// The root that it is checked against.
        root: StateRoot,
        /// The size of parts. *Units:* bytes.
        cut: u32,
    },
    /// Parts of a state.
    Parts {
        /// The shard.
        shard: ShardId,
        /// The state's root.
        root: StateRoot,
        /// The parts.
        wanted: PartSet,
    },
    /// Outputs of chunks.
    Outputs {
        /// The shard.
        shard: ShardId,
        /// The height after which chunks are wanted.
        after: Height,
        /// The most that is wanted. *Units:* bytes.
        budget_bytes: u64,
    },
}

/// Local work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Work {
    /// Look for holders in the DHT, and connect to them.
    Search {
        /// The shard.
        shard: ShardId,
        /// The epoch whose start is wanted.
        epoch: Epoch,
    },
    /// Open a shard's store, made if it is not there. It is closed first if it is open. What does not
    /// open time and again is moved aside by the store itself.
    Open {
        /// The shard.
        shard: ShardId,
    },
    /// Find out what of a target the store holds already, and turn it towards the target.
    Reconcile {
        /// The shard.
        shard: ShardId,
        /// The target.
        root: StateRoot,
        /// Believe nothing of what the store says about itself.
        distrust: bool,
    },
    /// Apply verified parts; whether it succeeds or fails, they are used up.
    Apply {
        /// The shard.
        shard: ShardId,
        /// The target.
        root: StateRoot,
        /// The parts, neighbours, all verified.
        parts: Range<PartIndex>,
    },
    /// Make the target, whose parts are all there, the head.
    Complete {
        /// The shard.
        shard: ShardId,
        /// The target.
        root: StateRoot,
        /// The epoch whose start it is.
        epoch: Epoch,
        /// Its height.
        height: Height,
    },
    /// Apply fetched outputs.
    Replay {
        /// The shard.
        shard: ShardId,
        /// The height to reach.
        through: Height,
    },
    /// Put parts into the cache that are not there yet.
    Generate {
        /// The shard.
        shard: ShardId,
        /// The state's root.
        root: StateRoot,
        /// The parts.
        parts: PartSet,
        /// Whether a peer waits for them; otherwise they are made in parallel, at low priority.
        awaited: bool,
    },
    /// Delete a shard.
    DropShard {
        /// The shard.
        shard: ShardId,
    },
    /// Delete what is kept of old epochs.
    DropEpochs {
        /// The shard.
        shard: ShardId,
        /// The oldest epoch that stays.
        before: Epoch,
    },
    /// Check memory, decoder and hash with known input.
    CheckOurselves,
}

impl Work {
    /// The shard that the work is for; none for a check of ourselves.
    pub fn shard(&self) -> Option<ShardId> {
        match self {
            Work::Search { shard, .. }
            | Work::Open { shard }
            | Work::Reconcile { shard, .. }
            | Work::Apply { shard, .. }
            | Work::Complete { shard, .. }
            | Work::Replay { shard, .. }
            | Work::Generate { shard, .. }
            | Work::DropShard { shard }
            | Work::DropEpochs { shard, .. } => Some(*shard),
            Work::CheckOurselves => None,
        }
    }
}
