//! What the chain says: epochs and heads.

use std::collections::BTreeSet;

use ketch_types::{Epoch, Height, Instant, ShardId};

use crate::command::{Command, Work};
use crate::coordinator::{Coordinator, Head};
use crate::event::Event;
use crate::input::EpochStart;
use crate::shard::{Outlook, Phase, Shard, Target};
use crate::state_key::StateKey;
use crate::turn::Turn;
use crate::verdict::{replay_time, time_for};

/// Times between blocks that are remembered, for their median.
const INTERVALS: usize = 15;
/// The roots of old epochs that are remembered, so that who asks for them is told that they are gone.
const RETIRED_MAX: usize = 1_024;

impl Coordinator {
    pub(crate) fn head_advanced(&mut self, height: Height, produced: Instant) {
        let before = self.chain.head;
        if before.is_some_and(|head| head.height >= height) {
            return;
        }
        if let Some(before) = before {
            let blocks = u32::try_from(height.0 - before.height.0).unwrap_or(u32::MAX);
            self.chain.intervals.push_back((produced - before.produced) / blocks);
            if self.chain.intervals.len() > INTERVALS {
                self.chain.intervals.pop_front();
            }
            let prior = self.config.block_interval_prior;
            self.chain.interval = Some(self.chain.usual_interval(prior));
        }
        self.chain.head = Some(Head { height, produced });
        let first = self.epoch().map(|epoch| epoch.first_height);
        if first.is_some_and(|first| height >= first) && self.chain.epoch_began.is_none() {
            self.chain.epoch_began = Some(produced);
            self.pass_deadlines(height);
            // Of a boundary that passed before we came nothing is known.
            if before.is_some() {
                self.update_all_caught_up();
                self.report_boundary(produced);
            }
        }
    }

    pub(crate) fn epoch_started(&mut self, start: &EpochStart) {
        if self.chain.epochs.contains_key(&start.epoch)
            || self.epoch().is_some_and(|newest| newest.epoch > start.epoch)
        {
            return;
        }
        let before = self.epoch().cloned();
        let epoch = start.epoch;
        self.chain.epoch_began =
            self.chain.head.filter(|head| head.height >= start.first_height).map(|h| h.produced);
        self.chain.epochs.insert(epoch, start.clone());
        while self.chain.epochs.len() > 2 {
            if let Some((_, old)) = self.chain.epochs.pop_first() {
                self.retired.extend(old.roots.into_values());
            }
        }
        let too_many = self.retired.len().saturating_sub(RETIRED_MAX);
        self.retired.drain(..too_many);
        let wanted: BTreeSet<_> =
            start.tracked.iter().chain(&start.tracked_next).copied().collect();
        let tracked_before = before.map(|before| before.tracked).unwrap_or_default();
        for id in &wanted {
            self.want(*id, start);
        }
        let others: Vec<_> =
            self.shards.keys().filter(|id| !wanted.contains(id)).copied().collect();
        for id in others {
            self.release(id, start, tracked_before.contains(&id));
        }
        self.retire_epochs(epoch);
        self.verdicts_at = self.now;
        if let Some(began) = self.chain.epoch_began {
            self.update_all_caught_up();
            self.report_boundary(began);
        }
    }

    /// What had to be held at a height that has come must be held at the next epoch's first.
    fn pass_deadlines(&mut self, height: Height) {
        let Some(next) = self.epoch().map(EpochStart::next_first_height) else { return };
        for shard in self.shards.values_mut() {
            shard.deadline = shard.deadline.map(|due| if due <= height { next } else { due });
        }
    }

    /// Tells the operator which of the shards that must be tracked from now on were there in time: when
    /// the epoch's first block was produced.
    fn report_boundary(&mut self, began: Instant) {
        let Some(start) = self.epoch().cloned() else { return };
        let before = start.epoch.0.checked_sub(1).map(Epoch);
        if !before.is_some_and(|before| self.chain.epochs.contains_key(&before)) {
            return;
        }
        for shard in start.tracked {
            let since = self.shards.get(&shard).and_then(|s| s.outlook.caught_up_since);
            let margin = since.filter(|since| *since <= began).map(|since| began - since);
            self.event(Event::Boundary { shard, epoch: start.epoch, margin });
        }
    }

    /// Sees to it that a shard is held, or being taken.
    fn want(&mut self, id: ShardId, start: &EpochStart) {
        let now = self.now;
        let fresh = !self.shards.contains_key(&id);
        let shard = self.shards.entry(id).or_insert_with(|| Shard::new(id, now));
        // Until the epoch's first block it is still that which it must be held for.
        let coming = shard.deadline.filter(|deadline| *deadline == start.first_height);
        let coming = coming.filter(|_| self.chain.epoch_began.is_none());
        if shard.deadline.replace(coming.unwrap_or(start.next_first_height())).is_none() {
            shard.gained = now;
        }
        shard.last_height = None;
        shard.turn = start.turns.get(&id).copied().unwrap_or(Turn::ALONE);
        let was_doomed = std::mem::take(&mut shard.doomed);
        shard.voice.due |= was_doomed;
        // What had stopped it may be over: a root that was not known is.
        shard.retry_at = shard.retry_at.map(|_| now);
        let phase = shard.phase;
        match phase {
            // While it is still being deleted, it is opened afterwards.
            _ if fresh && self.jobs.any_on_store_of(id) => {}
            _ if fresh => self.reopen(id),
            Phase::Opening | Phase::Stopped | Phase::Replaying | Phase::Following => {}
            Phase::Frozen => self.enter(id, Phase::Replaying),
            // What had arrived of it was discarded.
            _ if was_doomed => self.retarget(id),
            _ => {}
        }
    }

    /// The height from which on outputs are kept by everybody: the start of the epoch before this.
    pub(crate) fn oldest_kept_height(&self) -> Height {
        self.chain.epochs.values().next().map_or(Height(0), EpochStart::start_height)
    }

    /// Lets go of a shard that is neither tracked now nor next: it is followed to this epoch's start,
    /// so that it can be served to those who come, and dropped when nobody needs that any more.
    fn release(&mut self, id: ShardId, start: &EpochStart, tracked_before: bool) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        shard.deadline = None;
        shard.outlook = Outlook::default();
        // What an unopened store holds is seen once it is open.
        let useful = matches!(
            shard.phase,
            Phase::Opening | Phase::Stopped | Phase::Replaying | Phase::Following
        );
        if tracked_before && useful {
            shard.last_height = Some(start.start_height());
        } else {
            self.drop_shard(id);
        }
    }

    /// Deletes a shard as soon as nothing works on it any more.
    pub(crate) fn drop_shard(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        shard.doomed = true;
        self.withdraw(id);
        self.discard(id);
        self.bury(id);
    }

    /// Forgets all that is under way of a shard, and what was fetched and not applied.
    pub(crate) fn discard(&mut self, id: ShardId) {
        self.cancel_requests_of(id);
        let Some(shard) = self.shards.get_mut(&id) else { return };
        (shard.download, shard.fetched) = (None, None);
        self.command(Command::Discard { shard: id });
    }

    /// Deletes a doomed shard if nothing works on it.
    pub(crate) fn bury(&mut self, id: ShardId) {
        if self.jobs.any_on_store_of(id) {
            return;
        }
        match self.shards.get(&id) {
            Some(shard) if shard.doomed => {
                self.shards.remove(&id);
                self.run(Work::DropShard { shard: id });
            }
            // Wanted again while it was being deleted.
            Some(shard) if shard.phase == Phase::Opening => self.reopen(id),
            _ => {}
        }
    }

    /// Drops what is kept of epochs before the last one.
    fn retire_epochs(&mut self, epoch: Epoch) {
        let before = Epoch(epoch.0.saturating_sub(1));
        let ids: Vec<_> = self.shards.keys().copied().collect();
        for id in ids {
            let Some(shard) = self.shards.get_mut(&id) else { continue };
            let old: Vec<_> = shard.voice.provided.range(..before).copied().collect();
            shard.voice.provided.retain(|epoch| *epoch >= before);
            shard.voice.announced.retain(|key, _| key.epoch >= before);
            let had = shard.starts.len();
            shard.starts.retain(|epoch, _| *epoch >= before);
            let dropped = shard.starts.len() < had && !shard.doomed;
            for epoch in old {
                self.command(Command::StopProviding { shard: id, epoch });
            }
            if dropped {
                self.run(Work::DropEpochs { shard: id, before });
            }
        }
    }

    /// The newest start of `shard` that can be made for.
    pub(crate) fn newest_target(&self, shard: ShardId) -> Option<Target> {
        let start = self.epoch()?;
        let root = *start.roots.get(&shard)?;
        let key = StateKey { shard, epoch: start.epoch, root, cut: start.cut };
        Some(Target { key, height: start.start_height() })
    }

    /// Rule 9: makes for the newest start what is sooner there, or can get no further from where it is.
    /// As long as nobody holds that start there is nothing to be gained by it.
    pub(crate) fn move_targets(&mut self) {
        let ids: Vec<_> = self.shards.keys().copied().collect();
        for id in ids {
            let Some((shard, newest)) = self.shards.get(&id).zip(self.newest_target(id)) else {
                continue;
            };
            let wanted = shard.deadline.is_some() && !shard.doomed;
            if wanted && self.moves(shard, &newest) && self.is_claimed(&newest.key) {
                self.retarget(id);
            }
        }
    }

    fn moves(&self, shard: &Shard, newest: &Target) -> bool {
        match shard.phase {
            Phase::Locating | Phase::Reconciling | Phase::Downloading => {
                let Some(target) = shard.target.filter(|target| target.key != newest.key) else {
                    return false;
                };
                // Nobody needs to keep what is older than the epoch before this.
                let retained = self.chain.epochs.contains_key(&target.key.epoch);
                !retained
                    || self.has_lasted(shard.outlook.holderless_since, self.config.hysteresis)
                    || self.sooner_by_pivot(shard, newest)
            }
            // To give up a whole state is the last resort.
            Phase::Replaying => {
                let stale = shard.applied < Some(self.oldest_kept_height());
                let behind = shard.applied < Some(newest.height);
                let moment = self.moment(self.time_left(shard.deadline));
                stale || (behind && self.has_lasted(shard.outlook.feedless_since, moment))
            }
            _ => false,
        }
    }

    fn sooner_by_pivot(&self, shard: &Shard, newest: &Target) -> bool {
        let (Some(old), Some(sizes)) = (shard.target, &shard.sizes) else {
            return true;
        };
        let pace = self.pace();
        let head = self.chain.head.map_or(newest.height, |head| head.height);
        let changed = sizes.total_bytes() / 1_000 * self.config.change_per_mille_prior;
        let left = shard.bytes_left();
        let takes = |bytes, from: Height| {
            let download = time_for(bytes, pace.download);
            let replay = replay_time(head.0.saturating_sub(from.0), download, pace)?;
            Some(download.saturating_add(replay))
        };
        let finish = takes(left, old.height);
        // What has come may have changed since, what has not come must be fetched in any case.
        let unchanged = sizes.total_bytes().saturating_sub(left);
        let again = changed.min(unchanged);
        let pivot = takes(left.saturating_add(again), newest.height);
        match (pivot, finish) {
            (Some(pivot), Some(finish)) => pivot <= finish,
            (_, None) => true,
            (None, Some(_)) => false,
        }
    }
}
