//! The coordinator alone, led by scripts: told facts one by one, and held to what it commands.

use std::collections::BTreeMap;
use std::time::Duration;

use ketch_coordinator::{
    Command, Config, EpochStart, Event, Failure, Input, JobEnd, OurFault, PartSizes, Peer, Phase,
    Query, RequestEnd, RequestId, Work,
};
use ketch_types::{Epoch, Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{Following, Holding, Refusal, Summary};

use script::{Question, Script};

mod admission;
mod announcing;
mod blame;
mod drops;
mod facts;
mod following;
mod hedging;
mod line;
mod requests;
mod script;
mod searching;
mod serving;
mod standing;
mod targets;
mod trickling;
mod trust;
mod verdicts;
mod waits;
mod work;

/// The shard that the scripts are about.
const S: ShardId = ShardId(7);
/// The size of every part, and of the layout's. *Units:* bytes.
const PART: u32 = 1 << 20;

fn at(millis: u64) -> Instant {
    Instant::ORIGIN + Duration::from_millis(millis)
}

/// The root of a shard's state at the start of an epoch.
fn root(shard: ShardId, epoch: u64) -> StateRoot {
    let mut bytes = [1; 32];
    (bytes[0], bytes[1]) = (shard.0 as u8, epoch as u8);
    StateRoot::new(bytes)
}

/// The outline of a shard's state, as far as the coordinator sees it.
fn sizes(shard: ShardId, epoch: u64, parts: u32) -> PartSizes {
    PartSizes::new(root(shard, epoch), PART, vec![PART; parts as usize])
}

fn parts(of: impl IntoIterator<Item = u32>, count: u32) -> PartSet {
    let mut parts = PartSet::empty(count);
    of.into_iter().for_each(|part| {
        parts.insert(PartIndex(part));
    });
    parts
}

/// That some parts of a shard's state are held.
fn holding(shard: ShardId, epoch: u64, held: PartSet) -> Holding {
    Holding::new(shard, Epoch(epoch), root(shard, epoch), PART, held).unwrap()
}

/// The summary of who holds some parts of a state, and nothing else.
fn holds(epoch: u64, held: PartSet) -> Summary {
    Summary::new(vec![holding(S, epoch, held)], vec![]).unwrap()
}

/// The summary of who keeps the outputs from one height to another, and nothing else.
fn feeds(first: u64, last: u64) -> Summary {
    let following = Following::new(S, Height(first), Height(last)).unwrap();
    Summary::new(vec![], vec![following]).unwrap()
}

/// The summary of who does both.
fn tracks(epoch: u64, held: &PartSet, first: u64, last: u64) -> Summary {
    let following = Following::new(S, Height(first), Height(last)).unwrap();
    Summary::new(vec![holding(S, epoch, held.clone())], vec![following]).unwrap()
}

/// What is known of an epoch of that many blocks when it begins, with twenty shards.
fn epoch_start(epoch: u64, length: u64, tracked: &[ShardId], next: &[ShardId]) -> EpochStart {
    EpochStart {
        epoch: Epoch(epoch),
        first_height: Height(epoch * length + 1),
        length,
        cut: PART,
        tracked: tracked.to_vec(),
        tracked_next: next.to_vec(),
        roots: (0..20).map(|shard| (ShardId(shard), root(ShardId(shard), epoch))).collect(),
        turns: BTreeMap::new(),
    }
}

fn is_outline(query: &Query) -> bool {
    matches!(query, Query::Outline { .. })
}

fn is_parts(query: &Query) -> bool {
    matches!(query, Query::Parts { .. })
}

fn is_outputs(query: &Query) -> bool {
    matches!(query, Query::Outputs { .. })
}

/// How work ends if all is well; a store that is opened is an empty one.
fn done(work: &Work, count: u32) -> JobEnd {
    match work {
        Work::Search { .. } => JobEnd::Searched,
        Work::Open { .. } => JobEnd::Opened { head: None, outputs_after: None, starts: vec![] },
        Work::Reconcile { .. } => JobEnd::Reconciled { held: PartSet::empty(count) },
        Work::Apply { .. } => JobEnd::Applied,
        Work::Complete { .. } => JobEnd::Completed,
        Work::Replay { through, .. } => JobEnd::Replayed { through: *through, starts: vec![] },
        Work::Generate { parts, .. } => JobEnd::Generated { made: parts.clone() },
        Work::DropShard { .. } | Work::DropEpochs { .. } => JobEnd::Dropped,
        Work::CheckOurselves => JobEnd::Checked { sound: true },
    }
}
