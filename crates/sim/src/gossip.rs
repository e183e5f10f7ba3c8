//! Gossip: everybody who is concerned with a shard hears of who holds parts of it, after a while, or not.

use std::time::Duration;

use ketch_coordinator::{Input, Peer};
use ketch_types::{Epoch, Instant, ShardId};
use ketch_wire::Holding;

use crate::identity::node_of;
use crate::message::Message;
use crate::node::NodeId;
use crate::world::{Happening, World};

/// How gossip travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GossipModel {
    /// From one node of the mesh to the next.
    pub hop: Duration,
    /// Nodes that each hands a message on to. *Source:* gossipsub's default degree.
    pub degree: u64,
    /// How many receivers a message does not reach. *Units:* per thousand.
    pub loss_per_mille: u64,
    /// How many announcements tell what was held before instead. *Units:* per thousand.
    pub stale_per_mille: u64,
}

impl Default for GossipModel {
    fn default() -> Self {
        Self { hop: Duration::from_millis(10), degree: 6, loss_per_mille: 0, stale_per_mille: 0 }
    }
}

/// A connection is dialed, secured and multiplexed in so many ways back and forth.
const DIAL_TRIPS: u32 = 3;

impl World {
    /// Who hears of a shard: who tracks it now or will, as of an epoch.
    pub(crate) fn subscribe(&mut self, epoch: Epoch) {
        self.subscribers.clear();
        for (id, node) in self.nodes.iter().enumerate() {
            let shards = [epoch, epoch.next()].into_iter().flat_map(|e| node.setup.tracked_in(e));
            for shard in shards {
                self.subscribers.entry(shard).or_default().insert(id);
            }
        }
    }

    pub(crate) fn announce(&mut self, id: NodeId, holding: Holding) {
        self.check_holding(id, &holding);
        self.check_announced(id, &holding);
        let author = self.peer_of(id);
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.announced += 1;
        let sequence = node.announced;
        let told = node.last_holding.insert(holding.shard(), (author, holding.clone()));
        // What is stale is true of some earlier moment.
        let is_stale = self.chance.draw() % 1_000 < self.gossip.stale_per_mille;
        let holding = told.filter(|_| is_stale).map_or(holding, |(_, told)| told);
        self.spread(author, sequence, &holding);
    }

    /// Has everybody who is concerned hear an announcement.
    pub(crate) fn spread(&mut self, author: Peer, sequence: u64, holding: &Holding) {
        let from = node_of(author);
        let receivers = self.subscribers.get(&holding.shard()).cloned().unwrap_or_default();
        let hops = hops(receivers.len() as u64, self.gossip.degree);
        for to in receivers.into_iter().filter(|to| *to != from) {
            let sky = self.weather.sky(to);
            let lost = self.chance.draw() % 1_000 < self.gossip.loss_per_mille;
            if lost || self.weather.is_blocked(from, to) {
                continue;
            }
            for _ in 0..=u32::from(sky.doubles) {
                let hops = 1 + u32::try_from(self.chance.draw() % hops).unwrap_or(0);
                let delay = self.delay(from, to) + self.gossip.hop * hops;
                let message = Message::Announce { author, sequence, holding: holding.clone() };
                self.post(self.now + delay, from, to, message);
            }
        }
    }

    /// What a driver makes of an announcement: news of somebody it is connected to is told, and who
    /// announces what is being fetched is dialed.
    pub(crate) fn hear(&mut self, to: NodeId, author: Peer, sequence: u64, holding: Holding) {
        let shard = holding.shard();
        let is_there = self.is_current(author);
        let is_linked = is_there && self.linked(node_of(author), to);
        let Some(node) = self.nodes.get_mut(to) else { return };
        let heard = node.memory.heard.entry((author, shard)).or_default();
        if *heard >= sequence {
            return;
        }
        *heard = sequence;
        if is_linked {
            return self.tell_now(to, Input::HoldingAnnounced { peer: author, holding });
        }
        if is_there && self.is_fetching(to, shard) && !holding.is_withdrawal() {
            self.dial(to, node_of(author));
        }
    }

    pub(crate) fn dial(&mut self, from: NodeId, to: NodeId) {
        let delay = self.delay(from, to) * DIAL_TRIPS;
        self.after(delay, Happening::Link(from, to));
    }

    /// When a message that everybody hears reaches one of them.
    pub(crate) fn heard_at(&mut self, id: NodeId, sent: Instant) -> Instant {
        let hops = hops(self.nodes.len() as u64, self.gossip.degree);
        let hops = 1 + u32::try_from(self.chance.draw() % hops).unwrap_or(0);
        sent + self.gossip.hop * hops + self.weather.delay(&mut self.chance, id, id)
    }

    /// The shards of a chain.
    pub(crate) fn all_shards(&self) -> Vec<ShardId> {
        self.chain.setup().shards.iter().map(|(shard, _)| *shard).collect()
    }
}

/// How many times a message is handed on until it has reached so many.
fn hops(receivers: u64, degree: u64) -> u64 {
    let mut hops = 1;
    let mut reached = degree.max(2);
    while reached < receivers {
        reached = reached.saturating_mul(degree.max(2));
        hops += 1;
    }
    hops
}
