use std::collections::{BTreeMap, BTreeSet};

use ketch_coordinator::Peer;
use ketch_types::{Epoch, Instant, PartIndex, ShardId, StateRoot, mix};
use ketch_wire::{Holding, Summary};

use super::shard::{Asked, Target};

/// The peers that can be asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    connected: BTreeMap<Peer, Host>,
}

/// What is known of one peer: what it says that it holds whole, and nothing of how it has done.
#[derive(Clone, Debug)]
pub(super) struct Host {
    affinity: u64,
    holds: BTreeMap<(ShardId, Epoch), StateRoot>,
    /// Shards of which it says that it has outputs.
    feeds: BTreeSet<ShardId>,
    /// Outputs that did not come, one after the other.
    misses: u32,
    /// It has no newer outputs and is not asked for them before.
    idle_until: Instant,
    /// When it was last asked what it holds.
    pub(super) asked: Option<Instant>,
}

impl Hosts {
    pub(super) fn connect(&mut self, peer: Peer, affinity: u64) {
        let host = Host {
            affinity,
            holds: BTreeMap::new(),
            feeds: BTreeSet::new(),
            misses: 0,
            idle_until: Instant::ORIGIN,
            asked: None,
        };
        self.connected.entry(peer).or_insert(host);
    }

    pub(super) fn disconnect(&mut self, peer: Peer) {
        self.connected.remove(&peer);
    }

    pub(super) fn get_mut(&mut self, peer: Peer) -> Option<&mut Host> {
        self.connected.get_mut(&peer)
    }

    /// Has every host asked again what it holds.
    pub(super) fn ask_again(&mut self) {
        self.connected.values_mut().for_each(|host| host.asked = None);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Peer, &Host)> {
        self.connected.iter().map(|(peer, host)| (*peer, host))
    }

    /// Those that announced a state, all of it.
    pub(super) fn of<'a>(
        &'a self,
        target: &'a Target,
    ) -> impl Iterator<Item = (Peer, &'a Host)> + 'a {
        self.iter().filter(|(_, host)| host.holds(target))
    }

    /// Whom to ask for a part: who was asked for it least often, and of these the one that suits it
    /// best, so that everybody who asks the same hosts asks the same one for the same part.
    ///
    /// *Source:* nearcore's `PartPeerSelector`; rendezvous hashing, Thaler and Ravishankar, 1998.
    pub(super) fn choose(&self, target: &Target, part: PartIndex, asked: &Asked) -> Option<Peer> {
        let place = mix(mix(u64::from(target.shard.0) << 32 | u64::from(part.0)) ^ target.epoch.0);
        let hosts = self.of(target).map(|(peer, host)| {
            let times = asked.get(&(part, peer)).copied().unwrap_or(0);
            (times, std::cmp::Reverse(mix(host.affinity ^ place)), peer)
        });
        hosts.min().map(|(_, _, peer)| peer)
    }

    /// Whom to ask for outputs of a shard: who has been best at it, and of several any, by `salt`.
    pub(super) fn feeder(&self, shard: ShardId, now: Instant, salt: u64) -> Option<Peer> {
        let able = self.iter().filter(|(_, host)| host.feeds.contains(&shard));
        let able = able.filter(|(_, host)| host.idle_until <= now);
        let rank = |host: &Host| (host.misses, host.idle_until, mix(host.affinity ^ salt));
        able.min_by_key(|(_, host)| rank(host)).map(|(peer, _)| peer)
    }

    /// Whether anybody says that it has outputs of a shard.
    pub(super) fn has_feeder(&self, shard: ShardId) -> bool {
        self.iter().any(|(_, host)| host.feeds.contains(&shard))
    }

    /// When somebody may be asked for outputs again.
    pub(super) fn next_idle(&self, now: Instant) -> Option<Instant> {
        self.connected.values().map(|host| host.idle_until).filter(|until| *until > now).min()
    }
}

impl Host {
    pub(super) fn holds(&self, target: &Target) -> bool {
        self.holds.get(&(target.shard, target.epoch)) == Some(&target.root)
    }

    /// Takes an announcement; some of a state counts as nothing.
    pub(super) fn announces(&mut self, holding: &Holding) {
        let place = (holding.shard(), holding.epoch());
        if holding.held().is_full() && !holding.is_withdrawal() {
            self.holds.insert(place, holding.root());
        } else {
            self.holds.remove(&place);
        }
    }

    /// Takes what it says that it holds of some shards.
    pub(super) fn sums_up(&mut self, shards: &[ShardId], summary: &Summary) {
        self.holds.retain(|(shard, _), _| !shards.contains(shard));
        self.feeds.retain(|shard| !shards.contains(shard));
        summary.holdings().iter().for_each(|holding| self.announces(holding));
        self.feeds.extend(summary.following().iter().map(ketch_wire::Following::shard));
    }

    /// It sent outputs.
    pub(super) fn fed(&mut self) {
        (self.misses, self.idle_until) = (0, Instant::ORIGIN);
    }

    /// It had no newer outputs.
    pub(super) fn had_nothing(&mut self, until: Instant) {
        self.idle_until = until;
    }

    /// Outputs that it was asked for did not come.
    pub(super) fn missed(&mut self) {
        self.misses = self.misses.saturating_add(1);
    }

    pub(super) fn drop_feed(&mut self, shard: ShardId) {
        self.feeds.remove(&shard);
    }
}
