use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ketch_coordinator::{Event, Phase, Verdict};
use ketch_types::{Epoch, Height, Instant, PartIndex, PartSet, ShardId, StateRoot};

use crate::node::NodeId;

/// What must never happen, whatever is done to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A part was announced that is not durable.
    AnnouncedBeforeDurable(NodeId, ShardId),
    /// A banned peer was asked for something.
    AskedOfBanned(NodeId, NodeId),
    /// A peer was banned that never lied.
    BannedHonest(NodeId, NodeId),
    /// A part was applied that was there already.
    AppliedTwice(NodeId, ShardId, PartIndex),
    /// A part is asked of more than two peers at once.
    AskedTooOften(NodeId, ShardId, PartIndex),
    /// What a node has is not what the chain committed to.
    WrongRoot(NodeId, ShardId, Height),
    /// More is under way than memory allows.
    OverBudget(NodeId, u64),
    /// A shard was late that was said to be on time.
    LateWithoutWarning(NodeId, ShardId, Epoch),
    /// A node wants to be woken at a time that has passed.
    TimerInThePast(NodeId),
    /// A task went where it must not go from where it was.
    WrongPhase(NodeId, ShardId, Phase, Phase),
}

/// What happened in a world, for tests to look at.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Every breach, in order.
    pub breaches: Vec<Breach>,
    /// Every event of every node.
    pub events: Vec<(Instant, NodeId, Event)>,
    /// Bytes of packed parts, from whom to whom.
    pub sent: BTreeMap<(NodeId, NodeId), u64>,
    /// Of these, bytes sent by nodes that were themselves still fetching that shard.
    pub sent_while_fetching: u64,
    /// Parts that arrived, were verified and were not needed any more.
    pub wasted_parts: u64,
    /// Parts that arrived and were verified.
    pub verified_parts: u64,
    /// How often each part was made for the cache, by whom.
    pub generated: BTreeMap<(NodeId, StateRoot, PartIndex), u32>,
    /// Which parts were asked of whom.
    pub asked: BTreeMap<(NodeId, NodeId), u64>,
    /// Runs of parts that became durable, in order.
    pub applied: Vec<(NodeId, ShardId, Range<PartIndex>)>,
    /// Blocks that were replayed, by node and shard.
    pub replayed: BTreeMap<(NodeId, ShardId), u64>,
    pub(crate) banned: BTreeSet<(NodeId, NodeId)>,
    warned: BTreeSet<(NodeId, ShardId)>,
    phases: BTreeMap<(NodeId, ShardId), Phase>,
}

impl Ledger {
    pub(crate) fn breach(&mut self, breach: Breach) {
        self.breaches.push(breach);
    }

    /// Takes note of an event, and of a boundary that was missed without a warning.
    pub(crate) fn event(&mut self, now: Instant, node: NodeId, event: Event) {
        match &event {
            Event::VerdictChanged { shard, verdict } => {
                if matches!(verdict, Verdict::OnTime { .. }) {
                    self.warned.remove(&(node, *shard));
                } else {
                    self.warned.insert((node, *shard));
                }
            }
            Event::PhaseChanged { shard, phase } => {
                // A new task begins by opening its store.
                let before = self.phases.insert((node, *shard), *phase).unwrap_or(Phase::Opening);
                if !before.may_become(*phase) {
                    self.breach(Breach::WrongPhase(node, *shard, before, *phase));
                }
            }
            Event::FellBehind { shard } => drop(self.warned.insert((node, *shard))),
            Event::Boundary { shard, epoch, margin: None }
                if !self.warned.contains(&(node, *shard)) =>
            {
                self.breach(Breach::LateWithoutWarning(node, *shard, *epoch));
            }
            _ => {}
        }
        self.events.push((now, node, event));
    }

    /// What a crash or a dropped shard makes a node forget.
    pub(crate) fn forget_phases(&mut self, node: NodeId, shard: Option<ShardId>) {
        self.phases.retain(|(of, id), _| *of != node || shard.is_some_and(|shard| shard != *id));
    }

    /// The events of one node.
    pub fn events_of(&self, node: NodeId) -> impl Iterator<Item = (Instant, &Event)> {
        self.events
            .iter()
            .filter(move |(_, of, _)| *of == node)
            .map(|(now, _, event)| (*now, event))
    }

    /// Bytes of packed parts that a node had from another.
    pub fn received_from(&self, node: NodeId, peer: NodeId) -> u64 {
        self.sent.get(&(peer, node)).copied().unwrap_or(0)
    }

    pub(crate) fn announced(
        &mut self,
        node: NodeId,
        shard: ShardId,
        announced: &PartSet,
        durable: Option<&PartSet>,
    ) {
        let mut missing = announced.clone();
        if let Some(durable) = durable {
            missing.subtract(durable);
        }
        if !missing.is_empty() {
            self.breach(Breach::AnnouncedBeforeDurable(node, shard));
        }
    }
}
