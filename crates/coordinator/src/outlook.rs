//! Rule 1: which shard comes first, and what is expected of each.

use std::time::Duration;

use ketch_types::{Height, Instant, ShardId};

use crate::coordinator::Coordinator;
use crate::event::Event;
use crate::peers::Holders;
use crate::shard::{Phase, Shard};
use crate::verdict::{Obstacle, Planned, Prospect, Verdict, plan, time_for};

impl Coordinator {
    /// Makes order and verdicts anew.
    pub(crate) fn judge(&mut self) {
        self.verdicts_at = self.now + self.config.verdict_interval;
        if self.chain.head.is_none() {
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
            self.pronounce(planned.shard, verdict, planned.slack);
        }
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

    /// Notes since when nobody in reach holds some part that is missing.
    fn note_holders(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        let fetching = matches!(shard.phase, Phase::Locating | Phase::Downloading);
        let lacking = fetching && self.lacks_holder(shard);
        let now = self.now;
        if let Some(shard) = self.shards.get_mut(&id) {
            let since = shard.outlook.holderless_since;
            shard.outlook.holderless_since = lacking.then(|| since.unwrap_or(now));
        }
    }

    fn lacks_holder(&self, shard: &Shard) -> bool {
        let Some(target) = shard.target else { return true };
        let Some(download) = &shard.download else {
            return !self.peers.reachable(self.now).any(|(_, p)| p.claims(&target.key).is_some());
        };
        let count = download.sizes().count();
        let mut reachable = self.peers.reachable(self.now);
        if reachable.any(|(_, peer)| {
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
        let outlook = self.shards.get(&planned.shard).map(|shard| &shard.outlook);
        let lasting = |since: Option<Instant>, time| since.is_some_and(|s| self.now - s >= time);
        let holderless = outlook.and_then(|outlook| outlook.holderless_since);
        if lasting(holderless, self.config.holderless_max) {
            return Verdict::Impossible { obstacle: Obstacle::NoHolder, left };
        }
        // The first search takes a moment.
        let lacking = lasting(holderless, self.config.hysteresis);
        match planned.needed.filter(|_| planned.in_time && !lacking) {
            Some(needed) => Verdict::OnTime { margin: left.saturating_sub(needed) },
            None => {
                let warned = outlook.and_then(|outlook| outlook.at_risk_since);
                let obstacle = self
                    .obstacle(prospect)
                    .filter(|_| lasting(warned, self.config.impossible_after));
                obstacle.map_or(Verdict::AtRisk { needed: planned.needed, left }, |obstacle| {
                    Verdict::Impossible { obstacle, left }
                })
            }
        }
    }

    /// Why a shard could not be in time even if it had the whole line to itself, at its best.
    fn obstacle(&self, prospect: &Prospect) -> Option<Obstacle> {
        let best = self.downloaded.best()?;
        let left_millis = u64::try_from(prospect.left.as_millis()).unwrap_or(u64::MAX).max(1);
        let too_slow = time_for(prospect.bytes_left, best) > prospect.left;
        let needed = prospect.bytes_left.saturating_mul(1_000) / left_millis;
        too_slow.then_some(Obstacle::Bandwidth { needed, best })
    }

    fn pronounce(&mut self, id: ShardId, verdict: Verdict, slack: i64) {
        let now = self.now;
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let outlook = &mut shard.outlook;
        outlook.slack = slack;
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

    pub(crate) fn next_verdict(&self) -> Option<Instant> {
        let waiting = self.shards.values().any(|shard| shard.deadline.is_some() && !shard.doomed);
        // What was asked for in the middle of a turn is made in the next one.
        let soon = self.now + Duration::from_millis(1);
        waiting.then(|| self.verdicts_at.max(soon))
    }
}
