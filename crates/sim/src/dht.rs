//! The DHT: who says that it can be asked for a shard's state at an epoch's start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ketch_coordinator::Peer;
use ketch_types::{Chance, Epoch, ShardId};

/// How look-ups fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DhtModel {
    /// One look-up, all its steps.
    pub lookup: Duration,
    /// Providers of which one look-up learns. *Source:* Kademlia's bucket of twenty.
    pub found_max: usize,
    /// How many look-ups find nobody. *Units:* per thousand.
    pub failures_per_mille: u64,
}

impl Default for DhtModel {
    fn default() -> Self {
        Self { lookup: Duration::from_millis(80), found_max: 20, failures_per_mille: 0 }
    }
}

/// All provider records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dht {
    /// Of whom, too, who has gone and come back as somebody else.
    records: BTreeMap<(ShardId, Epoch), BTreeSet<Peer>>,
}

impl Dht {
    pub(crate) fn provide(&mut self, shard: ShardId, epoch: Epoch, peer: Peer) {
        self.records.entry((shard, epoch)).or_default().insert(peer);
    }

    pub(crate) fn stop_providing(&mut self, shard: ShardId, epoch: Epoch, peer: Peer) {
        self.records.entry((shard, epoch)).or_default().remove(&peer);
    }

    /// Whom one look-up finds.
    pub(crate) fn find(
        &self,
        (shard, epoch): (ShardId, Epoch),
        model: DhtModel,
        chance: &mut Chance,
    ) -> Vec<Peer> {
        let Some(records) = self.records.get(&(shard, epoch)) else { return vec![] };
        if chance.draw() % 1_000 < model.failures_per_mille {
            return vec![];
        }
        let mut found: Vec<Peer> = records.iter().copied().collect();
        while found.len() > model.found_max {
            found.swap_remove(chance.below(found.len()));
        }
        found
    }
}
