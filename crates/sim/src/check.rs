use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ketch_coordinator::{Event, Peer, Phase, Verdict, Work};
use ketch_types::{Epoch, Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::Holding;

use crate::contract::Rule;
use crate::node::NodeId;
use crate::take::{Take, Takes};
use crate::world::World;

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
    /// A part was stored that is not the state's.
    Unverified(NodeId, ShardId, PartIndex),
    /// A shard was called caught up, and what is there is not what the chain committed to.
    FalseAtCaughtUp(NodeId, ShardId),
    /// Two jobs write to one shard's store at once.
    TwoWriters(NodeId, ShardId),
    /// More windows are applied at once than may be.
    TooManyApplies(NodeId, usize),
    /// A node thinks that nothing is under way, and something is.
    RestsTooEarly(NodeId),
    /// Nothing is under way any more, and a node thinks that something is.
    NeverRests(NodeId),
    /// A part was asked for that is there already.
    AskedForHeld(NodeId, ShardId, PartIndex),
    /// A peer was asked for something that is known to be gone.
    AskedOfAbsent(NodeId, NodeId),
    /// A peer was said to be banned, and its connection was not cut.
    BannedInName(NodeId, NodeId),
    /// A peer lied, which was proven, and it was not banned.
    Unpunished(NodeId, NodeId),
    /// A state was to be made the head of which something is missing, without a damaged disk.
    Incomplete(NodeId, ShardId),
    /// A shard or epochs of it were called gone, and they are there.
    NotDropped(NodeId, ShardId),
    /// A shard is gone, and others are still told that it is there.
    StillAnnounced(NodeId, ShardId),
    /// The start of an epoch has been held for half an epoch, and nobody was told.
    Unannounced(NodeId, ShardId, Epoch),
    /// Parts were announced of an epoch for which the node cannot be found.
    Unprovided(NodeId, ShardId, Epoch),
    /// An epoch went by, and it was never told how its beginning was met.
    BoundaryUntold(NodeId, ShardId, Epoch),
    /// What was fetched of a shard is still in memory, and of no use any more.
    MemoryLeft(NodeId, ShardId),
    /// A node's coordinator and its driver do not keep to what they owe each other.
    Contract(NodeId, Rule),
}

impl Breach {
    /// What must not be, in short.
    pub fn name(&self) -> &'static str {
        match self {
            Breach::AnnouncedBeforeDurable(..) => "announced before durable",
            Breach::AskedOfBanned(..) => "asked of banned",
            Breach::BannedHonest(..) => "banned honest",
            Breach::AppliedTwice(..) => "applied twice",
            Breach::AskedTooOften(..) => "asked too often",
            Breach::WrongRoot(..) => "wrong root",
            Breach::OverBudget(..) => "over budget",
            Breach::LateWithoutWarning(..) => "late without warning",
            Breach::TimerInThePast(..) => "timer in the past",
            Breach::WrongPhase(..) => "wrong phase",
            Breach::Unverified(..) => "unverified",
            Breach::FalseAtCaughtUp(..) => "false at caught up",
            Breach::TwoWriters(..) => "two writers",
            Breach::TooManyApplies(..) => "too many applies",
            Breach::RestsTooEarly(..) => "rests too early",
            Breach::NeverRests(..) => "never rests",
            Breach::AskedForHeld(..) => "asked for held",
            Breach::AskedOfAbsent(..) => "asked of absent",
            Breach::BannedInName(..) => "banned in name",
            Breach::Unpunished(..) => "unpunished",
            Breach::Incomplete(..) => "incomplete",
            Breach::NotDropped(..) => "not dropped",
            Breach::StillAnnounced(..) => "still announced",
            Breach::Unannounced(..) => "unannounced",
            Breach::Unprovided(..) => "unprovided",
            Breach::BoundaryUntold(..) => "boundary untold",
            Breach::MemoryLeft(..) => "memory left",
            Breach::Contract(..) => "contract",
        }
    }
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
    /// The bytes of these, packed. *Units:* bytes.
    pub wasted_bytes: u64,
    /// Parts that arrived and were verified.
    pub verified_parts: u64,
    /// What went wrong, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each part was made for the cache, by whom.
    pub generated: BTreeMap<(NodeId, StateRoot, PartIndex), u32>,
    /// Which parts were asked of whom.
    pub asked: BTreeMap<(NodeId, NodeId), u64>,
    /// Runs of parts that became durable, in order.
    pub applied: Vec<(NodeId, ShardId, Range<PartIndex>)>,
    /// Blocks that were replayed, by node and shard.
    pub replayed: BTreeMap<(NodeId, ShardId), u64>,
    /// Of these, those replayed before the shard was caught up.
    pub replayed_by_catching_up: BTreeMap<(NodeId, ShardId), u64>,
    /// Shards that had to be taken.
    pub takes: Takes,
    /// How often a node banned a peer; who comes back under another identity is another peer.
    pub bans: BTreeMap<(NodeId, Peer), u32>,
    pub(crate) forgets_events: bool,
    pub(crate) banned: BTreeSet<(NodeId, Peer)>,
    /// What nodes called on time last: nobody speaks for a process that is gone or stands still.
    on_time: BTreeSet<(NodeId, ShardId)>,
    phases: BTreeMap<(NodeId, ShardId), Phase>,
}

impl Ledger {
    pub(crate) fn breach(&mut self, breach: Breach) {
        self.breaches.push(breach);
    }

    /// Counts something that went wrong.
    pub(crate) fn fired(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    /// Takes note of an event, and of a boundary that was missed without a warning.
    pub(crate) fn event(&mut self, now: Instant, node: NodeId, event: Event) {
        match &event {
            Event::VerdictChanged { shard, verdict } => {
                if matches!(verdict, Verdict::OnTime { .. }) {
                    self.on_time.insert((node, *shard));
                } else {
                    self.on_time.remove(&(node, *shard));
                }
            }
            Event::PhaseChanged { shard, phase } => {
                // A new task begins by opening its store.
                let before = self.phases.insert((node, *shard), *phase).unwrap_or(Phase::Opening);
                if !before.may_become(*phase) {
                    self.breach(Breach::WrongPhase(node, *shard, before, *phase));
                }
            }
            Event::FellBehind { shard } => {
                self.on_time.remove(&(node, *shard));
            }
            Event::Boundary { shard, epoch, margin: None }
                if self.on_time.contains(&(node, *shard)) =>
            {
                self.breach(Breach::LateWithoutWarning(node, *shard, *epoch));
            }
            Event::Banned { peer, .. } => {
                *self.bans.entry((node, *peer)).or_default() += 1;
            }
            _ => {}
        }
        self.takes.event(now, node, &event);
        if !self.forgets_events {
            self.events.push((now, node, event));
        }
    }

    /// What a crash or a dropped shard makes a node forget.
    pub(crate) fn forget_phases(&mut self, node: NodeId, shard: Option<ShardId>) {
        if shard.is_none() {
            self.forget_verdicts(node);
        }
        self.phases.retain(|(of, id), _| *of != node || shard.is_some_and(|shard| shard != *id));
    }

    /// What a node said before its time went by unnoticed.
    pub(crate) fn forget_verdicts(&mut self, node: NodeId) {
        self.on_time.retain(|(of, _)| *of != node);
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

impl World {
    /// Checks a node after each turn of its coordinator.
    pub(crate) fn check_node(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get(id) else { return };
        let Some(policy) = &node.policy else { return };
        let pending = policy.pending_bytes();
        let largest = u64::from(self.chain.setup().cut) + 4_096;
        if pending > node.setup.config.memory_bytes.max(largest) + largest {
            self.ledger.breach(Breach::OverBudget(id, pending));
        }
        let memory = &node.memory;
        let is_busy = !(memory.requests.is_empty() && memory.jobs.is_empty());
        if is_busy && node.setup.defences.ends && policy.is_at_rest() {
            self.ledger.breach(Breach::RestsTooEarly(id));
        }
    }

    /// Checks what a node says that it holds against what is durable.
    pub(crate) fn check_holding(&mut self, id: NodeId, holding: &Holding) {
        let disk = self.nodes.get(id).and_then(|node| node.disks.get(&holding.shard()));
        let durable = disk.and_then(|disk| disk.durable.get(&holding.root()));
        self.ledger.announced(id, holding.shard(), holding.held(), durable);
    }

    /// Checks an event against what is on the disk.
    pub(crate) fn check_event(&mut self, id: NodeId, event: &Event) {
        self.check_duties(id, event);
        if let Event::CaughtUp { shard, height, .. } = event
            && self.verifies(id)
            && !self.has_unseen_rot(id, *shard)
            && !(self.holds_truth(id, *shard) && self.is_at(id, *shard, *height))
        {
            self.ledger.breach(Breach::FalseAtCaughtUp(id, *shard));
        }
    }

    fn verifies(&self, id: NodeId) -> bool {
        self.nodes.get(id).is_some_and(|node| node.setup.defences.verify)
    }

    /// Checks that whatever begins to write to a store is alone there; windows of one state may be
    /// applied together.
    pub(crate) fn check_writers(&mut self, id: NodeId, work: &Work) {
        let Some(node) = self.nodes.get(id) else { return };
        let (Some(shard), true) = (work.shard(), writes(work)) else { return };
        let others = node.memory.jobs.values().filter(|w| w.shard() == Some(shard) && writes(w));
        let others: Vec<&Work> = others.collect();
        let is_apply = |work: &Work| matches!(work, Work::Apply { .. });
        let all_apply = is_apply(work) && others.iter().all(|other| is_apply(other));
        if !others.is_empty() && !all_apply {
            self.ledger.breach(Breach::TwoWriters(id, shard));
        }
        let applies = node.memory.jobs.values().filter(|work| is_apply(work)).count();
        if is_apply(work) && applies >= node.setup.config.applies_max {
            self.ledger.breach(Breach::TooManyApplies(id, applies + 1));
        }
    }

    /// Takes note of where tasks are when an epoch ends: each is a thing that can go wrong.
    pub(crate) fn note_epoch_end(&mut self) {
        let policies = self.nodes.iter().filter_map(|node| node.policy.as_ref());
        let phases: Vec<Phase> = policies.flat_map(crate::policy::Policy::phases).collect();
        for phase in phases {
            let name = match phase {
                Phase::Opening => "epoch-ends-while-opening",
                Phase::Locating => "epoch-ends-while-locating",
                Phase::Reconciling => "epoch-ends-while-reconciling",
                Phase::Downloading => "epoch-ends-while-downloading",
                Phase::Completing => "epoch-ends-while-completing",
                Phase::Replaying => "epoch-ends-while-replaying",
                Phase::Following | Phase::Frozen => continue,
                Phase::Stopped => "epoch-ends-while-stopped",
            };
            self.ledger.fired(name);
        }
        self.note_late_takes();
    }

    /// Takes note of who, at the second end of an epoch, still takes a shard that it must have.
    fn note_late_takes(&mut self) {
        let epoch = self.chain.epoch_after(self.head);
        let is_late = |((node, shard, due), take): &((NodeId, ShardId, Epoch), &Take)| {
            let setup = self.nodes.get(*node).map(|node| &node.setup);
            let wanted = |epoch| setup.is_some_and(|s| s.tracked_in(epoch).contains(shard));
            let goes_on = wanted(epoch) || wanted(epoch.next());
            due.next() == epoch && take.caught_up.is_none() && goes_on
        };
        for _ in 0..self.ledger.takes.newest().filter(is_late).count() {
            self.ledger.fired("two-epochs-end-before-a-catchup");
        }
    }

    /// Notes every node that is up, has nothing under way, and does not know it.
    pub fn check_rest(&mut self) {
        // Who is about to be told something may not know it yet.
        let told = self.about_to_be_told();
        for (id, node) in self.nodes.iter().enumerate().filter(|(id, _)| !told.contains(id)) {
            let memory = &node.memory;
            let rests =
                memory.requests.is_empty() && memory.jobs.is_empty() && memory.asks.is_empty();
            let Some(policy) = node.policy.as_ref().filter(|_| rests) else { continue };
            if !policy.is_at_rest() {
                self.ledger.breaches.push(Breach::NeverRests(id));
            }
            let arrived = memory.arrived.iter().filter(|(_, parts)| !parts.is_empty());
            for ((shard, _), _) in arrived {
                if policy.phase(*shard) == Some(Phase::Following) {
                    self.ledger.breaches.push(Breach::MemoryLeft(id, *shard));
                }
            }
        }
    }
}

/// Whether work changes what is in a store.
fn writes(work: &Work) -> bool {
    matches!(
        work,
        Work::Open { .. }
            | Work::Reconcile { .. }
            | Work::Apply { .. }
            | Work::Complete { .. }
            | Work::Replay { .. }
            | Work::DropShard { .. }
    )
}
