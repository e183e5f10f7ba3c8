//! What a node owes to others and to its operator.

use std::collections::{BTreeMap, BTreeSet};

use ketch_coordinator::{Event, Input, JobEnd, OurFault, Peer, Phase, Query, Work};
use ketch_types::{Epoch, Height, Instant, ShardId, StateRoot};
use ketch_wire::Holding;

use crate::check::Breach;
use crate::identity::node_of;
use crate::node::{NodeId, Outgoing};
use crate::world::World;

/// What one process has been told and has told, for the checkers.
#[derive(Default)]
pub(crate) struct Duties {
    /// When it was first told anything.
    since: Option<Instant>,
    connected: BTreeSet<Peer>,
    suspects_itself: bool,
    /// The states of which it said last that it holds something.
    announced: BTreeMap<(ShardId, StateRoot), Epoch>,
    provided: BTreeSet<(ShardId, Epoch)>,
    /// When it came to hold the starts of epochs.
    held_since: BTreeMap<(ShardId, Epoch), Instant>,
}

impl Duties {
    /// Takes note of what it is told.
    pub(crate) fn told(&mut self, now: Instant, input: &Input) {
        self.since.get_or_insert(now);
        match input {
            Input::PeerConnected { peer, .. } => {
                self.connected.insert(*peer);
            }
            Input::PeerDisconnected { peer } => {
                self.connected.remove(peer);
            }
            // What is older than the epoch before, everybody forgets by himself.
            Input::EpochStarted(start) => {
                self.announced.retain(|_, epoch| epoch.next() >= start.epoch);
            }
            _ => {}
        }
    }

    /// Takes note of what became of work.
    pub(crate) fn worked(&mut self, now: Instant, work: &Work, end: &JobEnd) {
        let Some(shard) = work.shard() else { return };
        match (work, end) {
            (Work::Open { .. }, JobEnd::Opened { starts, .. })
            | (_, JobEnd::Replayed { starts, .. }) => {
                let places = starts.iter().map(|(epoch, _)| (shard, *epoch));
                for place in places {
                    self.held_since.entry(place).or_insert(now);
                }
            }
            (Work::Complete { epoch, .. }, JobEnd::Completed) => {
                self.held_since.entry((shard, *epoch)).or_insert(now);
            }
            (Work::Reconcile { .. } | Work::DropShard { .. }, _) => {
                self.held_since.retain(|(of, _), _| *of != shard);
            }
            _ => {}
        }
    }

    /// Takes note that a start is gone, of which it is not told.
    pub(crate) fn lost(&mut self, shard: ShardId, epoch: Epoch) {
        self.held_since.remove(&(shard, epoch));
    }

    pub(crate) fn announces(&mut self, holding: &Holding) {
        let place = (holding.shard(), holding.root());
        if holding.is_withdrawal() {
            self.announced.remove(&place);
        } else {
            self.announced.insert(place, holding.epoch());
        }
    }

    pub(crate) fn provides(&mut self, shard: ShardId, epoch: Epoch, does: bool) {
        if does {
            self.provided.insert((shard, epoch));
        } else {
            self.provided.remove(&(shard, epoch));
        }
    }
}

impl World {
    /// Checks whom a question is put to, and what for.
    pub(crate) fn check_request(&mut self, id: NodeId, outgoing: &Outgoing) {
        let Some(node) = self.nodes.get(id) else { return };
        let peer = outgoing.peer;
        let mut breaches = Vec::new();
        if node.setup.defences.ends && !node.memory.duties.connected.contains(&peer) {
            breaches.push(Breach::AskedOfAbsent(id, node_of(peer)));
        }
        if let Query::Parts { shard, root, wanted } = &outgoing.query {
            let durable = node.disks.get(shard).and_then(|disk| disk.durable.get(root));
            let arrived = node.memory.arrived.get(&(*shard, *root));
            let held = wanted.iter().find(|part| {
                durable.is_some_and(|held| held.contains(*part))
                    || arrived.is_some_and(|held| held.contains_key(part))
            });
            breaches.extend(held.map(|part| Breach::AskedForHeld(id, *shard, part)));
        }
        breaches.into_iter().for_each(|breach| self.ledger.breach(breach));
    }

    /// Checks that whoever announces can be found.
    pub(crate) fn check_announced(&mut self, id: NodeId, holding: &Holding) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let duties = &mut node.memory.duties;
        duties.announces(holding);
        let (shard, epoch) = (holding.shard(), holding.epoch());
        if !holding.is_withdrawal() && !duties.provided.contains(&(shard, epoch)) {
            self.ledger.breach(Breach::Unprovided(id, shard, epoch));
        }
    }

    /// Checks that nothing is left of what was dropped, and that nobody is told of it.
    pub(crate) fn check_work(&mut self, id: NodeId, work: &Work, end: &JobEnd) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.memory.duties.worked(now, work, end);
        let duties = &node.memory.duties;
        match (work, end) {
            (Work::DropShard { shard }, JobEnd::Dropped) => {
                let announced = duties.announced.keys().any(|(of, _)| of == shard);
                let arrived = node.memory.arrived.iter();
                let arrived = arrived.filter(|((of, _), parts)| of == shard && !parts.is_empty());
                let outputs = node.memory.outputs.get(shard).is_some_and(|of| !of.is_empty());
                if arrived.count() > 0 || outputs {
                    self.ledger.breach(Breach::MemoryLeft(id, *shard));
                }
                let provided = duties.provided.iter().any(|(of, _)| of == shard);
                if node.disks.contains_key(shard) {
                    self.ledger.breach(Breach::NotDropped(id, *shard));
                }
                if announced || provided {
                    self.ledger.breach(Breach::StillAnnounced(id, *shard));
                }
            }
            (Work::DropEpochs { shard, before }, JobEnd::Dropped) => {
                let disk = node.disks.get(shard);
                if disk.is_some_and(|disk| disk.starts.keys().any(|epoch| epoch < before)) {
                    self.ledger.breach(Breach::NotDropped(id, *shard));
                }
            }
            (Work::Complete { shard, .. }, JobEnd::Failed(OurFault::Damaged))
                if node.disks.get(shard).is_some_and(|disk| !disk.is_rotten) =>
            {
                self.ledger.breach(Breach::Incomplete(id, *shard));
            }
            _ => {}
        }
    }

    /// Checks that what an operator is told of a peer was done.
    pub(crate) fn check_duties(&mut self, id: NodeId, event: &Event) {
        match event {
            Event::Banned { peer, .. } if !self.ledger.banned.contains(&(id, *peer)) => {
                self.ledger.breach(Breach::BannedInName(id, node_of(*peer)));
            }
            Event::SuspectingOurselves { .. } => {
                let node = self.nodes.get_mut(id).into_iter();
                node.for_each(|node| node.memory.duties.suspects_itself = true);
            }
            _ => {}
        }
    }

    /// Checks that a proven liar was banned, by whoever has no reason to doubt itself.
    pub(crate) fn check_blame(&mut self, id: NodeId, peer: Peer) {
        let Some(node) = self.nodes.get(id) else { return };
        let doubts = node.memory.duties.suspects_itself;
        if node.setup.policy == crate::policy::PolicyKind::Ketch
            && !doubts
            && !self.ledger.banned.contains(&(id, peer))
        {
            self.ledger.breach(Breach::Unpunished(id, node_of(peer)));
        }
    }

    /// Whether a shard is followed, and a height of it is applied.
    pub(crate) fn is_at(&self, id: NodeId, shard: ShardId, height: Height) -> bool {
        let Some(node) = self.nodes.get(id) else { return false };
        let phase = node.policy.as_ref().and_then(|policy| policy.phase(shard));
        let head = node.disks.get(&shard).and_then(|disk| disk.head);
        head == Some(height) && phase == Some(Phase::Following)
    }

    /// Checks, when an epoch ends, that in its course all was told that was to be.
    pub(crate) fn check_epoch_end(&mut self, ended: Epoch) {
        let setup = self.chain.setup();
        let began = self.chain.produced(Height(ended.0 * setup.epoch_length + 1));
        let half = setup.block_interval * u32::try_from(setup.epoch_length / 2).unwrap_or(u32::MAX);
        let mut breaches = Vec::new();
        for (id, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.is_up) {
            let duties = &node.memory.duties;
            // Who stood still may not have come to it.
            let stood = node.trouble.stands_until.is_some();
            let Some(policy) = node.policy.as_ref().filter(|_| !stood) else { continue };
            if node.setup.policy != crate::policy::PolicyKind::Ketch {
                continue;
            }
            if duties.since.is_some_and(|since| since < began) {
                let takes = self.ledger.takes.iter().filter(|((of, _, epoch), take)| {
                    (*of, *epoch) == (id, ended) && take.margin.is_none()
                });
                breaches.extend(
                    takes.map(|((_, shard, _), _)| Breach::BoundaryUntold(id, shard, ended)),
                );
            }
            for ((shard, epoch), since) in &duties.held_since {
                let start = self.chain.start(*shard, *epoch).filter(|_| *epoch == ended);
                let Some(start) = start.filter(|start| start.sizes.count() > 0) else { continue };
                let follows = policy.phase(*shard) == Some(Phase::Following);
                let announced = duties.announced.contains_key(&(*shard, start.root()));
                if follows && node.setup.config.serve && self.now - *since > half && !announced {
                    breaches.push(Breach::Unannounced(id, *shard, *epoch));
                }
            }
        }
        breaches.into_iter().for_each(|breach| self.ledger.breach(breach));
    }
}
