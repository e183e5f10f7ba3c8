//! Rule 1: which shard comes first, and what is expected of each.

use std::time::Duration;

use ketch_types::{Height, Instant, ShardId};

use crate::coordinator::Coordinator;
use crate::download::Download;
use crate::event::Event;
use crate::holders::Holders;
use crate::peers::{Kind, PeerState};
use crate::shard::{Phase, Shard};
use crate::verdict::{Obstacle, Planned, Prospect, Verdict, plan, time_for};

/// Who failed so often at giving outputs does not count as giving any.
const FAILURES_MAX: u32 = 3;

impl Coordinator {
    /// Makes order and verdicts anew.
    pub(crate) fn judge(&mut self) {
        self.verdicts_at = self.now + self.config.verdict_interval;
        if self.chain.head.is_none() {
            let wanted = self.shards.values().filter(|shard| shard.deadline.is_some());
            self.order = wanted.map(|shard| shard.id).collect();
            return;
        }
        let prospects: Vec<_> =
            self.shards.values().filter_map(|shard| self.prospect(shard)).collect();
        let planned = plan(&prospects, self.pace());
        self.reorder(&planned);
        for (planned, prospect) in planned.iter().filter_map(|planned| {
            Some((planned, prospects.iter().find(|p| p.shard == planned.shard)?))
        }) {
            self.note_holders(planned.shard);
            let verdict = self.verdict(planned, prospect);
            self.pronounce(planned.shard, verdict);
        }
        self.move_targets();
    }

    /// The time until a height is reached.
    pub(crate) fn time_left(&self, deadline: Option<Height>) -> Duration {
        let (Some(deadline), Some(head)) = (deadline, self.chain.head) else {
            return Duration::MAX;
        };
        let blocks = u32::try_from(deadline.0.saturating_sub(head.height.0)).unwrap_or(u32::MAX);
        let left = self.block_interval().saturating_mul(blocks);
        left.saturating_sub(self.now - head.produced)
    }

    fn prospect(&self, shard: &Shard) -> Option<Prospect> {
        shard.deadline.filter(|_| !shard.doomed)?;
        let head = self.chain.head.map_or(0, |head| head.height.0);
        let from = shard.replayed_from().map_or(head, |height| height.0);
        Some(Prospect {
            shard: shard.id,
            left: self.time_left(shard.deadline),
            bytes_left: shard.bytes_left(),
            blocks_behind: head.saturating_sub(from),
        })
    }

    /// What the line has to bring yet of a shard: not what is here, though it is not durable.
    fn bytes_to_come(&self, shard: &Shard) -> u64 {
        let here = shard.download.as_ref().map_or(0, Download::arrived_bytes);
        let open = self.requests.of_shard(shard.id).filter(|(_, request)| !request.cancelled);
        let brought: u64 = open.map(|(_, request)| request.brought_bytes).sum();
        shard.bytes_left().saturating_sub(here).saturating_sub(brought)
    }

    /// Takes the new order, but for neighbours whose slack hardly differs: those stay as they were.
    fn reorder(&mut self, planned: &[Planned]) {
        let was = |id: ShardId| self.order.iter().position(|old| *old == id);
        let close = i64::try_from(self.config.hysteresis.as_millis()).unwrap_or(i64::MAX);
        let mut order: Vec<Planned> = planned.to_vec();
        for at in 1..order.len() {
            let (Some(a), Some(b)) = (order.get(at - 1).copied(), order.get(at).copied()) else {
                continue;
            };
            let swapped = was(a.shard).zip(was(b.shard)).is_some_and(|(a, b)| b < a);
            if swapped && a.in_time == b.in_time && a.slack.abs_diff(b.slack) < close.unsigned_abs()
            {
                order.swap(at - 1, at);
            }
        }
        self.order = order.into_iter().map(|planned| planned.shard).collect();
    }

    /// Notes since when nobody in reach holds some part that is missing, or the outputs that come next.
    fn note_holders(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        let fetching = matches!(shard.phase, Phase::Locating | Phase::Downloading);
        let holderless = fetching && self.lacks_holder(shard);
        let feedless = self.lacks_feed(shard);
        let now = self.now;
        if let Some(Shard { outlook, .. }) = self.shards.get_mut(&id) {
            let since =
                |lacking: bool, since: Option<Instant>| lacking.then(|| since.unwrap_or(now));
            outlook.holderless_since = since(holderless, outlook.holderless_since);
            outlook.feedless_since = since(feedless, outlook.feedless_since);
        }
    }

    /// Whether blocks are missing that nobody gives but those who failed to again and again.
    fn lacks_feed(&self, shard: &Shard) -> bool {
        let following = matches!(shard.phase, Phase::Replaying | Phase::Following);
        let after = shard.outputs_through().filter(|_| following);
        let Some((after, head)) = after.zip(self.chain.head) else { return false };
        let gives = |(_, peer): (_, &PeerState)| {
            let trouble = peer.failures(Kind::Outputs).max(peer.idleness(shard.id));
            trouble < FAILURES_MAX && peer.keeps_outputs_after(shard.id, after)
        };
        after < head.height && !self.peers.reachable(self.now).any(gives)
    }

    fn lacks_holder(&self, shard: &Shard) -> bool {
        let Some(target) = shard.target else { return true };
        let download = shard.download.as_ref().filter(|_| shard.phase == Phase::Downloading);
        let Some(download) = download else {
            return shard.sizes.is_none() && !self.is_claimed(&target.key);
        };
        let count = download.sizes().count();
        let mut held = self.peers.holders(&target.key, self.now);
        if held.any(|(_, peer)| {
            peer.held(&target.key, count).is_some_and(ketch_types::PartSet::is_full)
        }) {
            return false;
        }
        let holders = Holders::count(&self.peers, &target.key, count, self.now);
        let missing = download.held().complement();
        missing.iter().any(|part| download.is_missing(part) && holders.of(part) == 0)
    }

    fn verdict(&self, planned: &Planned, prospect: &Prospect) -> Verdict {
        let left = prospect.left;
        let config = &self.config;
        let Some(shard) = self.shards.get(&planned.shard) else {
            return Verdict::AtRisk { needed: planned.needed, left };
        };
        let outlook = &shard.outlook;
        let lasting = |since, time| self.has_lasted(since, time);
        let lasting_lack =
            |time| lasting(outlook.holderless_since, time) || lasting(outlook.feedless_since, time);
        if lasting_lack(config.holderless_max) {
            return Verdict::Impossible { obstacle: Obstacle::NoHolder, left };
        }
        if lasting(outlook.stopped_since, config.holderless_max) {
            return Verdict::Impossible { obstacle: Obstacle::OwnWork, left };
        }
        // The first search takes a moment; and whatever the plan says, what does not move will be late.
        let stands = !shard.is_caught_up() && self.now - shard.gained >= self.moment(left);
        // How much a new target takes is not known before its outline: that is no reason to take a
        // warning back.
        let unknown = shard.phase == Phase::Locating && shard.sizes.is_none();
        let doubtful = lasting_lack(config.hysteresis)
            || outlook.stopped_since.is_some()
            || stands
            || (unknown && outlook.at_risk_since.is_some());
        // Who was caught up all along is in time while the first block is late; of who is not, less than
        // a moment to spare is a guess.
        let settled = shard.is_caught_up() && outlook.at_risk_since.is_none();
        let spare = if shard.is_caught_up() { Duration::ZERO } else { config.hysteresis };
        let before = |needed: &Duration| needed.saturating_add(spare) < left || settled;
        let in_time = |needed: &Duration| planned.in_time && !doubtful && before(needed);
        if let Some(needed) = planned.needed.filter(in_time) {
            return Verdict::OnTime { margin: left.saturating_sub(needed) };
        }
        let warned = lasting(outlook.at_risk_since, config.impossible_after);
        match self.obstacle(planned, prospect).filter(|_| warned) {
            Some(obstacle) => Verdict::Impossible { obstacle, left },
            None => Verdict::AtRisk { needed: planned.needed.filter(|_| !doubtful), left },
        }
    }

    /// Whether what began at a time, and has not ended, is that old.
    pub(crate) fn has_lasted(&self, since: Option<Instant>, time: Duration) -> bool {
        since.is_some_and(|since| self.now - since >= time)
    }

    /// How long nothing may happen before that is worth a warning.
    pub(crate) fn moment(&self, left: Duration) -> Duration {
        (left / 4).max(self.config.hysteresis).min(self.config.holderless_max)
    }

    /// Why a shard could not be in time even if it had the whole line to itself, at its best.
    fn obstacle(&self, planned: &Planned, prospect: &Prospect) -> Option<Obstacle> {
        if planned.needed.is_none() && self.replay_rate.is_some() {
            return Some(Obstacle::Replay);
        }
        // A part that takes long says nothing until it is whole, but its bytes do.
        let shown = self.downloaded.best();
        let best = shown.max(self.arriving.peak(self.now))?;
        let left_millis = u64::try_from(prospect.left.as_millis()).unwrap_or(u64::MAX).max(1);
        let to_come = self.bytes_to_come(self.shards.get(&prospect.shard)?);
        let too_slow = time_for(to_come, best) > prospect.left;
        let needed = to_come.saturating_mul(1_000) / left_millis;
        too_slow.then_some(Obstacle::Bandwidth { needed, best })
    }

    fn pronounce(&mut self, id: ShardId, verdict: Verdict) {
        let now = self.now;
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let outlook = &mut shard.outlook;
        let risky = !matches!(verdict, Verdict::OnTime { .. });
        outlook.at_risk_since = risky.then(|| outlook.at_risk_since.unwrap_or(now));
        let before = outlook.verdict.replace(verdict);
        let same = before.is_some_and(|before| {
            std::mem::discriminant(&before) == std::mem::discriminant(&verdict)
        });
        if !same {
            self.event(Event::VerdictChanged { shard: id, verdict });
        }
    }

    /// When verdicts are wanted next: soon while anything may be late; where everything is caught up,
    /// only when the head turns stale, since each new one is an input of its own.
    pub(crate) fn next_verdict(&self) -> Option<Instant> {
        let mut wanted =
            self.shards.values().filter(|s| s.deadline.is_some() && !s.doomed).peekable();
        wanted.peek()?;
        // What was asked for in the middle of a turn is made in the next one.
        let soon = self.now + Duration::from_millis(1);
        if wanted.all(Shard::is_at_ease) {
            return self.head_stale_at().map(|at| at.max(soon));
        }
        Some(self.verdicts_at.max(soon))
    }
}
