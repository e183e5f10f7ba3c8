use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ketch_coordinator::{JobId, PartSizes, Peer, Phase, ShardStatus};
use ketch_types::{Epoch, Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::Holding;

use super::window::Window;

/// The task of one shard.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    pub(super) id: ShardId,
    pub(super) phase: Phase,
    /// The state that is fetched; once it is chosen it never changes.
    pub(super) target: Option<Target>,
    /// The target's parts, once its outline came.
    pub(super) sizes: Option<PartSizes>,
    pub(super) download: Option<Download>,
    /// The one job that the phase waits for.
    pub(super) job: Option<JobId>,
    /// The height of the head, once the state is whole.
    pub(super) applied: Option<Height>,
    /// The height after which outputs are kept.
    pub(super) outputs_after: Option<Height>,
    /// The height up to which outputs have come that are not applied.
    pub(super) fetched: Option<Height>,
    /// Whether its replay waits until all shards of the same epoch are whole.
    pub(super) waits: bool,
    /// The height to stop at, for a shard that is tracked no more.
    pub(super) last_height: Option<Height>,
    /// When it must be held.
    pub(super) deadline: Option<Height>,
    /// Starts of epochs that are held whole.
    pub(super) starts: BTreeMap<Epoch, PartSizes>,
    pub(super) announced: BTreeSet<Epoch>,
    pub(super) caught_up_since: Option<Instant>,
    /// Since when it was caught up, while nothing but the age of the newest head says that it is not.
    pub(super) caught_up_before: Option<Instant>,
    /// Nothing is asked or opened again before.
    pub(super) retry_at: Option<Instant>,
    /// How often each host was asked for each part.
    pub(super) asked: Asked,
    pub(super) search: Option<JobId>,
    pub(super) searched: Option<Instant>,
    /// It is dropped as soon as nothing works on it.
    pub(super) doom: Option<Doom>,
}

/// How often each host was asked for each part.
pub(super) type Asked = BTreeMap<(PartIndex, Peer), u32>;

/// What becomes of a shard that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    Forgotten,
    /// It is taken again, from nothing.
    Retaken,
}

/// A state to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) shard: ShardId,
    pub(super) epoch: Epoch,
    pub(super) root: StateRoot,
    pub(super) cut: u32,
    /// The height of the block that it is the state after.
    pub(super) height: Height,
}

/// Parts on their way to the disk.
#[derive(Clone, Debug)]
pub(super) struct Download {
    pub(super) window: Window,
    pub(super) durable: PartSet,
}

impl Shard {
    pub(super) fn new(id: ShardId) -> Self {
        Self {
            id,
            phase: Phase::Opening,
            target: None,
            sizes: None,
            download: None,
            job: None,
            applied: None,
            outputs_after: None,
            fetched: None,
            waits: false,
            last_height: None,
            deadline: None,
            starts: BTreeMap::new(),
            announced: BTreeSet::new(),
            caught_up_since: None,
            caught_up_before: None,
            retry_at: None,
            asked: Asked::new(),
            search: None,
            searched: None,
            doom: None,
        }
    }

    /// Whether it replays or follows.
    pub(super) fn is_followed(&self) -> bool {
        self.doom.is_none() && matches!(self.phase, Phase::Replaying | Phase::Following)
    }

    /// Whether hosts of its target are of use.
    pub(super) fn wants_hosts(&self) -> bool {
        self.doom.is_none() && matches!(self.phase, Phase::Locating | Phase::Downloading)
    }

    /// The height up to which outputs have come.
    pub(super) fn outputs_through(&self) -> Option<Height> {
        self.fetched.max(self.applied)
    }

    /// What is held of an epoch's start: all of it, or nothing is said.
    pub(super) fn holding(&self, epoch: Epoch) -> Option<Holding> {
        let sizes = self.starts.get(&epoch)?;
        let held = PartSet::full(sizes.count());
        Holding::new(self.id, epoch, sizes.root(), sizes.cut(), held).ok()
    }

    /// Notes that parts are on the disk.
    pub(super) fn stored(&mut self, parts: Range<PartIndex>) {
        let Some(download) = &mut self.download else { return };
        for part in parts.start.0..parts.end.0 {
            download.durable.insert(PartIndex(part));
        }
    }

    /// The next parts to be applied: neighbours of the size of one of nearcore's parts.
    pub(super) fn next_run(&self, bytes_max: u64) -> Option<Range<PartIndex>> {
        let (sizes, download) = (self.sizes.as_ref()?, self.download.as_ref()?);
        let start = download.durable.complement().iter().next()?;
        let (mut end, mut bytes) = (start, 0);
        while end.0 < sizes.count() && !download.durable.contains(end) {
            bytes += sizes.bytes(end);
            if bytes > bytes_max && end > start {
                break;
            }
            end = PartIndex(end.0 + 1);
        }
        Some(start..end)
    }

    pub(super) fn status(&self, holders: usize) -> ShardStatus {
        let parts = self.sizes.as_ref().map_or(0, PartSizes::count);
        let bytes = self.sizes.as_ref().map_or(0, PartSizes::total_bytes);
        let done = !self.phase.is_catching_up();
        let durable = self.download.as_ref().map(|download| &download.durable);
        let here = durable.zip(self.sizes.as_ref()).map_or(0, |(d, sizes)| sizes.bytes_of(d));
        ShardStatus {
            shard: self.id,
            phase: self.phase,
            target: self.target.map(|target| (target.epoch, target.root)),
            parts_held: durable.map_or(if done { parts } else { 0 }, PartSet::len),
            parts,
            bytes_left: if self.applied.is_some() { 0 } else { bytes.saturating_sub(here) },
            bytes,
            applied: self.applied,
            deadline: self.deadline,
            verdict: None,
            holders: u32::try_from(holders).unwrap_or(u32::MAX),
        }
    }
}
