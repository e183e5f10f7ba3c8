//! What the chain says: epochs, heads and boundaries, which are reported as the coordinator does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ketch_coordinator::{Command, EpochStart, Event, Phase, Work};
use ketch_types::{Epoch, Height, Instant, PartSet, ShardId};
use ketch_wire::Holding;

use super::Nearcore;
use super::limits::BLOCK_INTERVAL_PRIOR;
use super::shard::{Doom, Shard, Target};

/// Times between blocks that are remembered, for their median.
const INTERVALS: usize = 15;

/// What is known of the chain.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    /// This epoch and the one before it.
    epochs: BTreeMap<Epoch, EpochStart>,
    pub(super) head: Option<Head>,
    /// When the first head of this epoch was produced.
    pub(super) epoch_began: Option<Instant>,
    intervals: VecDeque<Duration>,
}

/// The newest block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) height: Height,
    pub(super) produced: Instant,
}

impl Chain {
    pub(super) fn epoch(&self) -> Option<&EpochStart> {
        self.epochs.values().next_back()
    }

    /// The height from which on outputs are kept by everybody.
    pub(super) fn oldest_kept(&self) -> Height {
        self.epochs.values().next().map_or(Height(0), EpochStart::start_height)
    }

    pub(super) fn block_interval(&self) -> Duration {
        let mut sorted: Vec<_> = self.intervals.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(BLOCK_INTERVAL_PRIOR)
    }

    pub(super) fn time_left(&self, now: Instant, deadline: Option<Height>) -> Duration {
        let (Some(deadline), Some(head)) = (deadline, self.head) else { return Duration::MAX };
        let blocks = u32::try_from(deadline.0.saturating_sub(head.height.0)).unwrap_or(u32::MAX);
        self.block_interval().saturating_mul(blocks).saturating_sub(now - head.produced)
    }

    /// The newest start of a shard.
    pub(super) fn newest_target(&self, shard: ShardId) -> Option<Target> {
        let start = self.epoch()?;
        let root = *start.roots.get(&shard)?;
        let (epoch, cut, height) = (start.epoch, start.cut, start.start_height());
        Some(Target { shard, epoch, root, cut, height })
    }

    fn advance(&mut self, height: Height, produced: Instant) {
        if let Some(before) = self.head.replace(Head { height, produced }) {
            let blocks = u32::try_from(height.0 - before.height.0).unwrap_or(u32::MAX);
            self.intervals.push_back((produced - before.produced) / blocks.max(1));
            if self.intervals.len() > INTERVALS {
                self.intervals.pop_front();
            }
        }
    }

    fn begin(&mut self, start: &EpochStart) {
        let begun = self.head.filter(|head| head.height >= start.first_height);
        self.epoch_began = begun.map(|head| head.produced);
        self.epochs.insert(start.epoch, start.clone());
        while self.epochs.len() > 2 {
            self.epochs.pop_first();
        }
    }
}

impl Nearcore {
    pub(super) fn head_advanced(&mut self, height: Height, produced: Instant) {
        let before = self.chain.head;
        if before.is_some_and(|head| head.height >= height) {
            return;
        }
        self.chain.advance(height, produced);
        let Some(epoch) = self.chain.epoch() else { return };
        let (first, next) = (epoch.first_height, epoch.next_first_height());
        if height < first || self.chain.epoch_began.is_some() {
            return;
        }
        self.chain.epoch_began = Some(produced);
        // What had to be held at a height that has come must be held at the next epoch's first.
        for shard in self.shards.values_mut() {
            shard.deadline = shard.deadline.map(|due| if due <= height { next } else { due });
        }
        if before.is_some() {
            self.update_all_caught_up();
            self.report_boundary(produced);
        }
    }

    pub(super) fn epoch_started(&mut self, start: &EpochStart) {
        if self.chain.epoch().is_some_and(|newest| newest.epoch >= start.epoch) {
            return;
        }
        let before = self.chain.epoch().map(|before| before.tracked.clone()).unwrap_or_default();
        self.chain.begin(start);
        let wanted: BTreeSet<_> =
            start.tracked.iter().chain(&start.tracked_next).copied().collect();
        wanted.iter().for_each(|id| self.want(*id, start));
        let others = self.shards.keys().filter(|id| !wanted.contains(id));
        for id in others.copied().collect::<Vec<_>>() {
            self.release(id, start, before.contains(&id));
        }
        self.drop_old_epochs(start.epoch);
        self.retake_what_is_too_old();
        if let Some(began) = self.chain.epoch_began {
            self.update_all_caught_up();
            self.report_boundary(began);
        }
    }

    fn report_boundary(&mut self, began: Instant) {
        let Some(start) = self.chain.epoch().filter(|_| self.chain.epochs.len() > 1) else {
            return;
        };
        let epoch = start.epoch;
        for shard in start.tracked.clone() {
            let since = self.shards.get(&shard).and_then(|shard| shard.caught_up_since);
            let margin = since.filter(|since| *since <= began).map(|since| began - since);
            self.event(Event::Boundary { shard, epoch, margin });
        }
    }

    fn want(&mut self, id: ShardId, start: &EpochStart) {
        let has_begun = self.chain.epoch_began.is_some();
        let shard = self.shards.entry(id).or_insert_with(|| Shard::new(id));
        let coming = shard.deadline.filter(|due| *due == start.first_height && !has_begun);
        shard.deadline = Some(coming.unwrap_or(start.next_first_height()));
        shard.last_height = None;
        if shard.doom.is_some() {
            shard.doom = Some(Doom::Retaken);
        } else if shard.phase == Phase::Frozen {
            self.enter(id, Phase::Replaying);
        }
    }

    /// Lets go of a shard: one that was tracked is followed to this epoch's start, which is served, and
    /// dropped when the next begins.
    fn release(&mut self, id: ShardId, start: &EpochStart, tracked_before: bool) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        (shard.deadline, shard.caught_up_since, shard.caught_up_before) = (None, None, None);
        let useful = matches!(
            shard.phase,
            Phase::Opening | Phase::Stopped | Phase::Replaying | Phase::Following
        );
        if tracked_before && useful && shard.doom.is_none() {
            (shard.last_height, shard.waits) = (Some(start.start_height()), false);
        } else {
            self.doom(id, Doom::Forgotten);
        }
    }

    /// Has a shard dropped as soon as nothing works on it any more.
    pub(super) fn doom(&mut self, id: ShardId, doom: Doom) {
        self.withdraw(id, None);
        self.cancel_requests_of(id);
        self.command(Command::Discard { shard: id });
        let Some(shard) = self.shards.get_mut(&id) else { return };
        (shard.doom, shard.download, shard.fetched) = (Some(doom), None, None);
    }

    /// Drops all that is kept of the epochs before this one, whoever still asks for it.
    fn drop_old_epochs(&mut self, epoch: Epoch) {
        self.server.wipe();
        for id in self.shards.keys().copied().collect::<Vec<_>>() {
            self.withdraw(id, Some(epoch));
            let Some(shard) = self.shards.get_mut(&id) else { continue };
            let had = shard.starts.len();
            shard.starts.retain(|of, _| *of >= epoch);
            if shard.starts.len() < had && shard.doom.is_none() {
                self.run(Work::DropEpochs { shard: id, before: epoch });
            }
        }
    }

    /// A state whose next outputs nobody keeps is given up.
    pub(super) fn retake_what_is_too_old(&mut self) {
        let oldest = self.chain.oldest_kept();
        let is_old = |shard: &&Shard| shard.is_followed() && shard.applied < Some(oldest);
        let old: Vec<_> = self.shards.values().filter(is_old).map(|shard| shard.id).collect();
        for id in old {
            let wanted = self.shards.get(&id).is_some_and(|shard| shard.deadline.is_some());
            self.doom(id, if wanted { Doom::Retaken } else { Doom::Forgotten });
        }
    }

    /// Announces this epoch's start of each shard that is held, once.
    pub(super) fn announce(&mut self) {
        let Some(epoch) = self.chain.epoch().map(|start| start.epoch) else { return };
        let mut news = Vec::new();
        for shard in self.shards.values_mut().filter(|shard| shard.doom.is_none()) {
            let holding = shard.holding(epoch).filter(|_| self.serves);
            if let Some(holding) = holding
                && shard.announced.insert(epoch)
            {
                news.push((shard.id, holding));
            }
        }
        for (shard, holding) in news {
            self.command(Command::Provide { shard, epoch });
            self.command(Command::Announce(holding));
        }
    }

    /// Takes back what was announced of a shard, of epochs before one or of all.
    fn withdraw(&mut self, id: ShardId, before: Option<Epoch>) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let kept = before.map_or(BTreeSet::new(), |before| shard.announced.split_off(&before));
        let old = std::mem::replace(&mut shard.announced, kept);
        for epoch in old {
            let held = self.shards.get(&id).and_then(|shard| shard.holding(epoch));
            let nothing = held.and_then(|held| {
                let none = PartSet::empty(held.held().count());
                Holding::new(id, epoch, held.root(), held.cut(), none).ok()
            });
            nothing.into_iter().for_each(|nothing| self.command(Command::Announce(nothing)));
            self.command(Command::StopProviding { shard: id, epoch });
        }
    }
}
