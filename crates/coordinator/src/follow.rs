//! Replaying the chunks since a state, and following the head.

use std::time::Duration;

use ketch_types::{Epoch, Height, Instant, ShardId};

use crate::command::{Query, Work};
use crate::coordinator::Coordinator;
use crate::event::Event;
use crate::id::JobId;
use crate::part_sizes::PartSizes;
use crate::peers::{Kind, PeerState};
use crate::request::{Request, Subject};
use crate::shard::{Fetched, Phase, Shard};

/// How many requests' worth of outputs may wait to be applied, so that fetching never waits for
/// applying, nor the other way round.
const AHEAD: u64 = 2;
/// The least that is asked for at once. *Units:* bytes.
const OUTPUTS_BYTES_MIN: u64 = 64 << 10;
/// With fewer blocks to replay than this, it is the chain that sets the pace and not we.
const BEHIND_MIN: u64 = 8;
/// A head that is older than so many block intervals is no longer the newest.
const HEAD_INTERVALS_MAX: u32 = 3;

impl Coordinator {
    pub(crate) fn follow(&mut self) {
        for id in self.followed() {
            if self.freeze_if_released(id) {
                continue;
            }
            self.update_caught_up(id);
            self.replay(id);
            self.ask_outputs(id);
        }
    }

    /// Stops following a shard that is tracked no more, once it has reached its last height.
    fn freeze_if_released(&mut self, id: ShardId) -> bool {
        let Some(shard) = self.shards.get_mut(&id) else { return true };
        let done = shard.last_height.is_some() && shard.applied >= shard.last_height;
        if done {
            shard.fetched = None;
            self.cancel_requests_of(id);
            self.enter(id, Phase::Frozen);
        }
        done
    }

    /// Has every shard that is followed be judged by what is known now.
    pub(crate) fn update_all_caught_up(&mut self) {
        for id in self.followed() {
            self.update_caught_up(id);
        }
    }

    fn followed(&self) -> Vec<ShardId> {
        let following = |phase| matches!(phase, Phase::Replaying | Phase::Following);
        let tasks = self.shards.values().filter(|shard| following(shard.phase) && !shard.doomed);
        tasks.map(|shard| shard.id).collect()
    }

    /// Caught up is: all blocks but at most the newest are applied, and the newest is really new.
    fn update_caught_up(&mut self, id: ShardId) {
        let fresh = self.head_stale_at().is_some_and(|stale_at| self.now < stale_at);
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let (Some(head), Some(applied)) = (self.chain.head, shard.applied) else { return };
        let applied_all = applied.next() >= head.height;
        if !applied_all {
            shard.outlook.caught_up_before = None;
        }
        let caught_up = applied_all && fresh;
        // Nobody waits for a shard that is only followed to its end.
        if caught_up == shard.is_caught_up() || shard.last_height.is_some() {
            return;
        }
        let (deadline, since) = (shard.deadline, shard.outlook.caught_up_since);
        if caught_up {
            self.enter(id, Phase::Following);
            self.tell_caught_up(id, applied, deadline);
        } else {
            self.enter(id, Phase::Replaying);
            if let Some(shard) = self.shards.get_mut(&id).filter(|_| applied_all) {
                shard.outlook.caught_up_before = since;
            }
        }
    }

    /// From when on the newest block that is known cannot be the newest.
    pub(crate) fn head_stale_at(&self) -> Option<Instant> {
        let fresh = self.block_interval() * HEAD_INTERVALS_MAX + Duration::from_nanos(1);
        self.chain.head.map(|head| head.produced + fresh)
    }

    fn tell_caught_up(&mut self, id: ShardId, height: Height, deadline: Option<Height>) {
        let (now, head) = (self.now, self.chain.head.map_or(height, |head| head.height));
        if let Some(shard) = self.shards.get_mut(&id) {
            // Where only the chain stood still, it has been so all the time.
            let before = shard.outlook.caught_up_before.take();
            shard.outlook.caught_up_since = Some(before.unwrap_or(now));
        }
        let after = self.chain.epoch_began.map_or(Duration::ZERO, |began| now - began);
        let blocks_left = deadline.map_or(0, |deadline| deadline.0.saturating_sub(head.0));
        let left = self.time_left(deadline);
        self.event(Event::CaughtUp { shard: id, height, after, blocks_left, left });
    }

    /// Applies what has been fetched.
    fn replay(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        let (Some(fetched), Some(applied), None) = (shard.fetched, shard.applied, shard.job) else {
            return;
        };
        if fetched.through > applied {
            let job = self.run(Work::Replay { shard: id, through: fetched.through });
            if let Some(shard) = self.shards.get_mut(&id) {
                shard.job = Some(job);
            }
        }
    }

    pub(crate) fn replayed(
        &mut self,
        id: ShardId,
        job: JobId,
        through: Height,
        starts: Vec<(Epoch, PartSizes)>,
    ) {
        let (now, head) = (self.now, self.chain.head.map_or(0, |head| head.height.0));
        let Some(shard) = self.shards.get_mut(&id).filter(|shard| shard.job == Some(job)) else {
            return;
        };
        shard.job = None;
        let Some(before) = shard.applied.filter(|before| *before < through) else { return };
        shard.applied = Some(through);
        let blocks = through.0 - before.0;
        if head.saturating_sub(before.0) >= blocks + BEHIND_MIN {
            let millis = u64::try_from((now - shard.moved).as_millis()).unwrap_or(u64::MAX).max(1);
            let rate = blocks.saturating_mul(1_000_000) / millis;
            let old = self.replay_rate.unwrap_or(rate);
            self.replay_rate = Some((old / 4).saturating_mul(3).saturating_add(rate / 4));
        }
        (shard.stops, shard.outlook.stopped_since) = (0, None);
        (shard.moved, shard.gained) = (now, now);
        if let Some(fetched) = &mut shard.fetched
            && fetched.through == through
        {
            fetched.bytes = 0;
        }
        for (epoch, sizes) in starts {
            self.hold_start(id, epoch, sizes);
        }
    }

    /// Asks for the next outputs, and once more where the answer is overdue.
    fn ask_outputs(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        let (Some(after), Some(head)) = (shard.outputs_through(), self.chain.head) else { return };
        let goal = shard.last_height.map_or(head.height, |last| last.min(head.height));
        let waiting = shard.fetched.map_or(0, |fetched| fetched.bytes);
        let budget_bytes = self.outputs_budget();
        if after >= goal || waiting >= budget_bytes.saturating_mul(AHEAD) {
            return;
        }
        let now = self.now;
        let feeds = |peer: &PeerState| peer.feeds(id, after, now);
        if let Some(peer) = self.whom_to_ask(id, Kind::Outputs, feeds) {
            let query = Query::Outputs { shard: id, after, budget_bytes };
            self.request(peer, Subject::Outputs { shard: id, after }, query);
        }
    }

    /// The bytes to ask for at once: a quarter of all memory, if every shard waits for as much as it may.
    fn outputs_budget(&self) -> u64 {
        let following = |shard: &&Shard| matches!(shard.phase, Phase::Replaying | Phase::Following);
        let tasks = self.shards.values().filter(following).count().max(1) as u64;
        let share = self.config.memory_bytes / (4 * AHEAD * tasks);
        share.clamp(OUTPUTS_BYTES_MIN, self.config.outputs_bytes.max(OUTPUTS_BYTES_MIN))
    }

    pub(crate) fn outputs_came(&mut self, request: &Request, through: Height, bytes: u64) {
        let Subject::Outputs { shard: id, after } = request.subject else { return };
        let (now, pause) = (self.now, self.block_interval() / 4);
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let following = matches!(shard.phase, Phase::Replaying | Phase::Following);
        let here = shard.outputs_through();
        if through <= after {
            // It has nothing newer yet.
            if let Some(state) = self.peers.get_mut(request.peer) {
                state.had_nothing_newer(id, now, pause);
            }
            return;
        }
        shard.given_up = 0;
        if let Some(state) = self.peers.get_mut(request.peer) {
            state.had_something_newer(id);
        }
        if following && here == Some(after) {
            let waiting = shard.fetched.map_or(0, |fetched| fetched.bytes);
            shard.fetched = Some(Fetched { through, bytes: waiting.saturating_add(bytes) });
            // Whoever else was asked is not needed any more.
            self.cancel_where(id, |request| matches!(request.subject, Subject::Outputs { .. }));
        }
    }
}
