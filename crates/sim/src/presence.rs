//! Who is there: processes that start and end, and connections between them.

use ketch_coordinator::{Input, PeerClass, Phase};
use ketch_types::{Epoch, Instant, mix};

use crate::identity::handle;
use crate::lie::Conduct;
use crate::node::{Memory, Node, NodeId};
use crate::policy::Policy;
use crate::world::World;

/// So many liars that come at once are a burst.
const BURST: usize = 3;

impl World {
    /// Who lies is found for everything.
    pub(crate) fn liars_provide(&mut self, epoch: Epoch) {
        let shards = self.all_shards();
        let liars =
            self.nodes.iter().enumerate().filter(|(_, node)| node.setup.lies() && node.is_up);
        for (liar, node) in liars {
            for shard in &shards {
                self.dht.provide(*shard, epoch, handle(liar, node.identity));
            }
        }
    }

    pub(crate) fn start(&mut self, id: NodeId) {
        let epoch = self.chain.epoch_after(self.head);
        let (clock, seed) = (self.clock(id), mix(self.seed ^ mix(id as u64 + 1)));
        let before = epoch.0.checked_sub(1).map(|before| self.epoch_input(id, Epoch(before)));
        let input = self.epoch_input(id, epoch);
        let Some(node) = self.nodes.get_mut(id) else { return };
        if node.is_up && node.policy.is_some() {
            return;
        }
        node.is_up = true;
        if !node.setup.is_honest() {
            self.note_burst(id);
            self.liars_provide(epoch);
            let others = (0..self.nodes.len()).filter(|other| self.is_honest(*other));
            let others: Vec<_> = others.collect();
            return others.into_iter().for_each(|other| self.link(other, id));
        }
        let seed = seed ^ u64::from(node.generation);
        node.decide(seed, clock);
        before.into_iter().for_each(|input| self.tell_now(id, input));
        self.tell_now(id, input);
        let (height, produced) = (self.head, self.chain.produced(self.head) + (clock - self.now));
        self.tell_now(id, Input::HeadAdvanced { height, produced });
        // Sequencers are in everybody's configuration, and who lies connects to everybody.
        let others: Vec<_> = (0..self.nodes.len()).filter(|id| !self.is_honest(*id)).collect();
        others.into_iter().for_each(|other| self.link(id, other));
        self.gossip_lies(id);
    }

    /// Connects a node to those who are in its configuration, where it has not come through to them.
    pub(crate) fn dial_contacts(&mut self, id: NodeId) {
        let is_contact = |node: &Node| node.setup.conduct == Conduct::Sequencer;
        let contacts = self.nodes.iter().enumerate().filter(|(_, node)| is_contact(node));
        let contacts: Vec<_> = contacts.map(|(contact, _)| contact).collect();
        contacts.into_iter().for_each(|contact| self.dial(id, contact));
    }

    /// Takes note of liars that come all at once while shards are taken, when the first of them does.
    fn note_burst(&mut self, id: NodeId) {
        let comes = |node: &Node| node.setup.lies() && node.setup.joins == self.now;
        let first = self.nodes.iter().position(comes).filter(|_| self.now > Instant::ORIGIN);
        let of_all = self.nodes.iter().filter(|node| comes(node)).count();
        let takes = || {
            let policies = self.nodes.iter().filter_map(|node| node.policy.as_ref());
            policies.flat_map(Policy::phases).any(Phase::is_catching_up)
        };
        if first == Some(id) && of_all >= BURST && takes() {
            self.ledger.fired("sybil-burst");
        }
    }

    fn is_honest(&self, id: NodeId) -> bool {
        self.nodes.get(id).is_some_and(|node| node.setup.is_honest())
    }

    /// A process ends, and those it was connected to learn of it.
    pub(crate) fn crash_now(&mut self, id: NodeId) {
        self.end_silently(id);
        self.cut_off(id);
    }

    /// A process ends, and those it was connected to do not learn of it.
    pub(crate) fn end_silently(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.generation += 1;
        (node.policy, node.memory, node.is_up) = (None, Memory::default(), false);
        node.wake_at = None;
        self.ledger.forget_phases(id, None);
    }

    /// Cuts all connections of a node.
    pub(crate) fn cut_off(&mut self, id: NodeId) {
        self.peers_of(id).into_iter().for_each(|peer| self.unlink(id, peer));
    }

    pub(crate) fn peers_of(&self, id: NodeId) -> Vec<NodeId> {
        (0..self.nodes.len()).filter(|peer| self.linked(id, *peer)).collect()
    }

    pub(crate) fn linked(&self, a: NodeId, b: NodeId) -> bool {
        self.links.contains(&(a.min(b), a.max(b)))
    }

    /// Connects two nodes, if both are up and neither has banned the other.
    pub(crate) fn link(&mut self, a: NodeId, b: NodeId) {
        let up = |id: NodeId| self.nodes.get(id).is_some_and(|node| node.is_up);
        let bans = |by, of| self.ledger.banned.contains(&(by, self.peer_of(of)));
        let banned = bans(a, b) || bans(b, a);
        let blocked = self.weather.is_blocked(a, b) || self.weather.is_blocked(b, a);
        let may = a != b && up(a) && up(b) && !banned && !blocked;
        if may && self.links.insert((a.min(b), a.max(b))) {
            for (to, peer) in [(a, b), (b, a)] {
                let handle = self.peer_of(peer);
                let affinity = mix(u64::from(handle.0));
                let conduct = self.nodes.get(peer).map(|node| node.setup.conduct);
                let is_other = conduct == Some(Conduct::Sequencer);
                let class = if is_other { PeerClass::Other } else { PeerClass::Validator };
                self.tell(to, Input::PeerConnected { peer: handle, class, affinity });
            }
        }
    }

    pub(crate) fn unlink(&mut self, a: NodeId, b: NodeId) {
        if self.links.remove(&(a.min(b), a.max(b))) {
            self.abort_between(a, b);
            for (to, peer) in [(a, b), (b, a)] {
                if self.nodes.get(to).is_some_and(|node| node.setup.defences.ends) {
                    self.tell(to, Input::PeerDisconnected { peer: self.peer_of(peer) });
                }
            }
        }
    }
}
