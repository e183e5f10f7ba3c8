//! One shard that one node had to take before an epoch began.

use std::collections::BTreeMap;
use std::time::Duration;

use ketch_coordinator::{Event, Phase, Verdict};
use ketch_types::{Epoch, Instant, ShardId};

use crate::node::NodeId;

/// How a node took a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// When it was told that it must.
    pub since: Instant,
    /// When the last part came that was needed.
    pub last_arrival: Option<Instant>,
    /// When all parts were applied and the state was its head.
    pub applied: Option<Instant>,
    /// When it was first caught up.
    pub caught_up: Option<Instant>,
    /// How long before the epoch's first block it was; none yet, or none if it was not.
    pub margin: Option<Option<Duration>>,
    /// When it was first told that it was at risk.
    pub at_risk: Option<Instant>,
    /// When it was first told that it was impossible.
    pub impossible: Option<Instant>,
}

/// All shards that nodes had to take, by node, shard, and the epoch in which it must be tracked.
#[derive(Clone, Debug, Default)]
pub struct Takes {
    all: BTreeMap<(NodeId, ShardId, Epoch), Take>,
    current: BTreeMap<(NodeId, ShardId), Epoch>,
}

impl Takes {
    /// Every take, in order.
    pub fn iter(&self) -> impl Iterator<Item = ((NodeId, ShardId, Epoch), &Take)> {
        self.all.iter().map(|(place, take)| (*place, take))
    }

    /// Those that no later take of the same shard by the same node has replaced.
    pub(crate) fn newest(&self) -> impl Iterator<Item = ((NodeId, ShardId, Epoch), &Take)> {
        let is_newest = |place: &(NodeId, ShardId, Epoch)| {
            self.current.get(&(place.0, place.1)) == Some(&place.2)
        };
        self.iter().filter(move |(place, _)| is_newest(place))
    }

    /// A node is told to take a shard, which it may follow already.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        (node, shard, epoch): (NodeId, ShardId, Epoch),
        follows: bool,
    ) {
        let take = Take {
            since: now,
            last_arrival: None,
            applied: follows.then_some(now),
            caught_up: follows.then_some(now),
            margin: None,
            at_risk: None,
            impossible: None,
        };
        self.all.entry((node, shard, epoch)).or_insert(take);
        self.current.insert((node, shard), epoch);
    }

    pub(crate) fn part_came(&mut self, now: Instant, node: NodeId, shard: ShardId) {
        if let Some(take) = self.current(node, shard) {
            take.last_arrival = Some(now);
        }
    }

    pub(crate) fn event(&mut self, now: Instant, node: NodeId, event: &Event) {
        match event {
            Event::PhaseChanged { shard, phase: Phase::Replaying | Phase::Following } => {
                if let Some(take) = self.current(node, *shard) {
                    take.applied.get_or_insert(now);
                }
            }
            Event::CaughtUp { shard, .. } => {
                if let Some(take) = self.current(node, *shard) {
                    take.caught_up.get_or_insert(now);
                }
            }
            Event::VerdictChanged { shard, verdict } => {
                if let Some(take) = self.current(node, *shard) {
                    match verdict {
                        Verdict::OnTime { .. } => {}
                        Verdict::AtRisk { .. } => {
                            take.at_risk.get_or_insert(now);
                        }
                        Verdict::Impossible { .. } => {
                            take.impossible.get_or_insert(now);
                        }
                    }
                }
            }
            Event::Boundary { shard, epoch, margin } => {
                if let Some(take) = self.all.get_mut(&(node, *shard, *epoch)) {
                    take.margin.get_or_insert(*margin);
                }
            }
            _ => {}
        }
    }

    fn current(&mut self, node: NodeId, shard: ShardId) -> Option<&mut Take> {
        let epoch = *self.current.get(&(node, shard))?;
        self.all.get_mut(&(node, shard, epoch))
    }
}
