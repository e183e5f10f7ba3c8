//! Replaying the chunks since a state, and following the head.

use ketch_coordinator::{Event, Peer, Phase, Query, RequestEnd, Work};
use ketch_types::{Height, Instant, ShardId};
use ketch_wire::Refusal;

use super::Nearcore;
use super::fetch::Subject;
use super::limits::{OUTPUTS_BYTES, REPLAY_BLOCKS};
use super::shard::Shard;

/// A head that is older than so many block intervals is no longer the newest, as the coordinator
/// has it.
const HEAD_INTERVALS_MAX: u32 = 3;

impl Nearcore {
    pub(super) fn follow(&mut self) {
        for id in self.followed() {
            if self.freeze_if_released(id) || self.still_waits(id) {
                continue;
            }
            self.update_caught_up(id);
            self.replay(id);
            self.ask_outputs(id);
        }
    }

    fn followed(&self) -> Vec<ShardId> {
        self.shards.values().filter(|shard| shard.is_followed()).map(|shard| shard.id).collect()
    }

    fn freeze_if_released(&mut self, id: ShardId) -> bool {
        let Some(shard) = self.shards.get_mut(&id) else { return true };
        let done = shard.last_height.is_some() && shard.applied >= shard.last_height;
        if done && shard.job.is_none() {
            shard.fetched = None;
            self.cancel_requests_of(id);
            self.enter(id, Phase::Frozen);
        }
        done
    }

    /// Whether a state's replay waits: until every shard that was to be taken in its epoch is whole.
    fn still_waits(&mut self, id: ShardId) -> bool {
        let Some(shard) = self.shards.get(&id).filter(|shard| shard.waits) else { return false };
        let epoch = shard.target.map(|target| target.epoch);
        let unfinished = |other: &Shard| {
            let same = other.target.map(|target| target.epoch) == epoch;
            let fails = other.phase == Phase::Stopped && other.applied.is_none();
            same && other.doom.is_none() && (fails || other.phase.is_catching_up())
        };
        let waits = self.shards.values().any(unfinished);
        self.shards.get_mut(&id).into_iter().for_each(|shard| shard.waits = waits);
        waits
    }

    pub(super) fn update_all_caught_up(&mut self) {
        for id in self.followed() {
            self.update_caught_up(id);
        }
    }

    /// Caught up is what it is for the coordinator: all blocks but at most the newest are applied, and
    /// the newest is really new.
    fn update_caught_up(&mut self, id: ShardId) {
        let stale_at = self.stale_at();
        let Some(shard) = self.shards.get_mut(&id).filter(|shard| !shard.waits) else { return };
        let (Some(head), Some(applied)) = (self.chain.head, shard.applied) else { return };
        let applied_all = applied.next() >= head.height;
        if !applied_all {
            shard.caught_up_before = None;
        }
        let caught_up = applied_all && stale_at.is_some_and(|at| self.now <= at);
        if caught_up == (shard.phase == Phase::Following) || shard.last_height.is_some() {
            return;
        }
        let since = shard.caught_up_since;
        if caught_up {
            shard.caught_up_since = Some(shard.caught_up_before.take().unwrap_or(self.now));
            let deadline = shard.deadline;
            self.enter(id, Phase::Following);
            self.tell_caught_up(id, applied, deadline);
        } else {
            self.enter(id, Phase::Replaying);
            if let Some(shard) = self.shards.get_mut(&id).filter(|_| applied_all) {
                shard.caught_up_before = since;
            }
        }
    }

    fn tell_caught_up(&mut self, shard: ShardId, height: Height, deadline: Option<Height>) {
        let head = self.chain.head.map_or(height, |head| head.height);
        let after = self.chain.epoch_began.map_or(std::time::Duration::ZERO, |at| self.now - at);
        let blocks_left = deadline.map_or(0, |deadline| deadline.0.saturating_sub(head.0));
        let left = self.chain.time_left(self.now, deadline);
        self.event(Event::CaughtUp { shard, height, after, blocks_left, left });
    }

    /// Until when the newest head is taken for new.
    fn stale_at(&self) -> Option<Instant> {
        let head = self.chain.head?;
        Some(head.produced + self.chain.block_interval() * HEAD_INTERVALS_MAX)
    }

    /// When a shard that is caught up is so no more if no block comes.
    pub(super) fn next_staleness(&self) -> Option<Instant> {
        let follows = self.shards.values().any(|shard| shard.phase == Phase::Following);
        let at = self.stale_at()? + std::time::Duration::from_nanos(1);
        (follows && at > self.now).then_some(at)
    }

    fn replay(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id).filter(|shard| shard.job.is_none()) else { return };
        let (Some(fetched), Some(applied)) = (shard.fetched, shard.applied) else { return };
        if fetched > applied {
            let through = fetched.min(Height(applied.0 + REPLAY_BLOCKS));
            self.run_for(id, Work::Replay { shard: id, through });
        }
    }

    fn ask_outputs(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        let (Some(after), Some(head)) = (shard.outputs_through(), self.chain.head) else { return };
        let goal = shard.last_height.map_or(head.height, |last| last.min(head.height));
        if after >= goal || self.asks_for(&Subject::Outputs(id)) {
            return;
        }
        if let Some(peer) = self.hosts.feeder(id, self.now, self.salt) {
            let query = Query::Outputs { shard: id, after, budget_bytes: OUTPUTS_BYTES };
            self.request(peer, Subject::Outputs(id), query);
        }
    }

    pub(super) fn outputs_came(&mut self, id: ShardId, peer: Peer, through: Height) {
        let pause = self.chain.block_interval() / 4;
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let is_news = shard.is_followed() && Some(through) > shard.outputs_through();
        if is_news {
            shard.fetched = Some(through);
        }
        let Some(host) = self.hosts.get_mut(peer) else { return };
        if is_news { host.fed() } else { host.had_nothing(self.now + pause) }
    }

    pub(super) fn outputs_missed(&mut self, id: ShardId, peer: Peer, end: &RequestEnd) {
        let until = self.now + self.chain.block_interval() / 4;
        let Some(host) = self.hosts.get_mut(peer) else { return };
        match end {
            RequestEnd::Refused(Refusal::NotRetained) => host.drop_feed(id),
            RequestEnd::Refused(_) => host.had_nothing(until),
            _ => {
                host.missed();
                host.had_nothing(until);
            }
        }
    }
}
