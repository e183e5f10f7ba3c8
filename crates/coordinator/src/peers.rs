use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ketch_types::{Epoch, Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{Following, Holding};

use crate::config::Config;
use crate::id::Peer;
use crate::input::PeerClass;

/// The most holdings that are remembered of one peer: two epochs of more shards than one node takes.
const HOLDINGS_MAX: usize = 256;
/// Peers that are not connected and of which something is remembered nevertheless.
const ABSENT_MAX: usize = 4_096;

/// Every peer that is connected, or of which something must not be forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    known: BTreeMap<Peer, PeerState>,
}

/// What we know of one peer.
#[derive(Clone, Debug)]
pub(crate) struct PeerState {
    pub(crate) class: PeerClass,
    pub(crate) affinity: u64,
    connected: bool,
    holdings: BTreeMap<(ShardId, Epoch), Holding>,
    following: BTreeMap<ShardId, Following>,
    /// Measured over its answers. *Units:* bytes per second.
    rate: Option<u64>,
    /// What may be under way from it. *Units:* bytes.
    window_bytes: u64,
    failures: u32,
    resting_until: Instant,
    banned_until: Instant,
    /// What it said that it does not answer.
    unsupported: BTreeSet<Kind>,
    /// When it was last asked what it holds of a shard.
    asked: BTreeMap<ShardId, Instant>,
}

/// How well a peer has done so far, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Proven,
    Untried,
    Failed,
}

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Summary,
    Outline,
    Parts,
    Outputs,
}

impl Peers {
    pub(crate) fn connect(&mut self, peer: Peer, class: PeerClass, affinity: u64) {
        let state = self.known.entry(peer).or_insert_with(|| PeerState::new(class, affinity));
        (state.class, state.affinity, state.connected) = (class, affinity, true);
    }

    /// Notes that `peer` is gone; what it failed at stays known as long as it matters.
    pub(crate) fn disconnect(&mut self, peer: Peer, now: Instant) {
        if let Some(state) = self.known.get_mut(&peer) {
            state.connected = false;
            state.holdings.clear();
            state.following.clear();
            state.asked.clear();
        }
        self.known.retain(|_, state| state.connected || state.free_at() > now);
        let absent: Vec<_> =
            self.known.iter().filter(|(_, s)| !s.connected).map(|(p, _)| *p).collect();
        for peer in absent.iter().take(absent.len().saturating_sub(ABSENT_MAX)) {
            self.known.remove(peer);
        }
    }

    pub(crate) fn get(&self, peer: Peer) -> Option<&PeerState> {
        self.known.get(&peer)
    }

    pub(crate) fn get_mut(&mut self, peer: Peer) -> Option<&mut PeerState> {
        self.known.get_mut(&peer)
    }

    /// Peers that can be asked now.
    pub(crate) fn usable(&self, now: Instant) -> impl Iterator<Item = (Peer, &PeerState)> {
        let usable = move |state: &PeerState| state.connected && state.free_at() <= now;
        self.known
            .iter()
            .filter(move |(_, state)| usable(state))
            .map(|(peer, state)| (*peer, state))
    }

    /// Peers that are connected and not banned, resting ones included.
    pub(crate) fn reachable(&self, now: Instant) -> impl Iterator<Item = (Peer, &PeerState)> {
        let reachable = move |state: &PeerState| state.connected && state.banned_until <= now;
        self.known.iter().filter(move |(_, s)| reachable(s)).map(|(peer, state)| (*peer, state))
    }

    /// Has every peer be asked anew what it holds of a shard.
    pub(crate) fn ask_again(&mut self, shard: ShardId) {
        self.known.values_mut().for_each(|state| drop(state.asked.remove(&shard)));
    }

    /// The next moment at which a peer has rested enough.
    pub(crate) fn next_free(&self, now: Instant) -> Option<Instant> {
        let connected = self.known.values().filter(|state| state.connected);
        connected.map(PeerState::free_at).filter(|free| *free > now).min()
    }
}

impl PeerState {
    fn new(class: PeerClass, affinity: u64) -> Self {
        Self {
            class,
            affinity,
            connected: true,
            holdings: BTreeMap::new(),
            following: BTreeMap::new(),
            rate: None,
            window_bytes: 0,
            failures: 0,
            resting_until: Instant::ORIGIN,
            banned_until: Instant::ORIGIN,
            unsupported: BTreeSet::new(),
            asked: BTreeMap::new(),
        }
    }

    /// When it may be asked again.
    fn free_at(&self) -> Instant {
        self.resting_until.max(self.banned_until)
    }

    pub(crate) fn is_banned(&self, now: Instant) -> bool {
        self.banned_until > now
    }

    /// Remembers what the peer says that it holds; the newest epochs stay.
    pub(crate) fn hold(&mut self, holding: Holding) {
        self.holdings.insert((holding.shard(), holding.epoch()), holding);
        while self.holdings.len() > HOLDINGS_MAX {
            let oldest =
                self.holdings.keys().min_by_key(|(shard, epoch)| (*epoch, *shard)).copied();
            oldest.and_then(|oldest| self.holdings.remove(&oldest));
        }
    }

    /// What the peer holds of a state, as far as it was told over that many parts.
    pub(crate) fn held(&self, state: &StateKey, parts: u32) -> Option<&PartSet> {
        self.claims(state).map(Holding::held).filter(|held| held.count() == parts)
    }

    /// Whether the peer says that it holds anything of a state.
    pub(crate) fn claims(&self, state: &StateKey) -> Option<&Holding> {
        let holding = self.holdings.get(&(state.shard, state.epoch))?;
        let same = holding.root() == state.root && holding.cut() == state.cut;
        Some(holding).filter(|holding| same && !holding.is_withdrawal())
    }

    /// Forgets what the peer said about a state.
    pub(crate) fn forget(&mut self, state: &StateKey) {
        self.holdings.remove(&(state.shard, state.epoch));
    }

    pub(crate) fn follow(&mut self, following: Following) {
        let shard = following.shard();
        if self.following.len() < HOLDINGS_MAX || self.following.contains_key(&shard) {
            self.following.insert(shard, following);
        }
    }

    /// Whether the peer keeps the outputs that come after a height; how far it has come by now is
    /// only known to it.
    pub(crate) fn has_outputs_after(&self, shard: ShardId, height: Height) -> bool {
        self.following.get(&shard).is_some_and(|following| following.first() <= height.next())
    }

    /// Forgets that the peer has outputs of a shard.
    pub(crate) fn unfollow(&mut self, shard: ShardId) {
        self.following.remove(&shard);
    }

    pub(crate) fn rate(&self) -> Option<u64> {
        self.rate
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Where it stands among those who could be asked: who delivers comes first, then who has not been
    /// tried, then who failed last.
    pub(crate) fn standing(&self) -> Standing {
        match (self.failures, self.rate) {
            (0, Some(_)) => Standing::Proven,
            (0, None) => Standing::Untried,
            _ => Standing::Failed,
        }
    }

    pub(crate) fn supports(&self, kind: Kind) -> bool {
        !self.unsupported.contains(&kind)
    }

    pub(crate) fn lacks(&mut self, kind: Kind) {
        self.unsupported.insert(kind);
    }

    /// How many more bytes may be asked of it. A peer that has not proven itself gets one part.
    pub(crate) fn spare_bytes(&self, in_flight: (usize, u64), config: &Config) -> u64 {
        match self.rate {
            None if in_flight.0 > 0 => 0,
            None => 1,
            Some(_) if in_flight.0 >= config.peer_requests_max => 0,
            Some(_) => self.window_bytes.saturating_sub(in_flight.1),
        }
    }

    /// Something of `bytes` came, `took` after what came before it.
    pub(crate) fn delivered(&mut self, bytes: u64, took: Duration, config: &Config) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = bytes.saturating_mul(1_000) / millis;
        self.rate = Some(self.rate.map_or(rate, |old| (old / 4).saturating_mul(3) + rate / 4));
        self.failures = 0;
        // As congestion windows open: by what was delivered, so doubling with every round.
        let grown = self.window_bytes.max(bytes).saturating_add(bytes);
        self.window_bytes = grown.min(config.peer_bytes_max.max(bytes));
    }

    /// It did not answer, or not well: it is left alone for a while, each time longer.
    pub(crate) fn failed(&mut self, now: Instant, config: &Config) {
        self.failures = self.failures.saturating_add(1);
        self.window_bytes /= 2;
        let times = 1 << (self.failures - 1).min(16);
        self.rest(now + config.backoff.saturating_mul(times).min(config.backoff_max));
    }

    pub(crate) fn rest(&mut self, until: Instant) {
        self.resting_until = self.resting_until.max(until);
    }

    pub(crate) fn ban(&mut self, until: Instant) {
        self.banned_until = until;
        self.holdings.clear();
        self.following.clear();
    }

    /// Whether it was ever asked what it holds of a shard.
    pub(crate) fn was_asked(&self, shard: ShardId) -> bool {
        self.asked.contains_key(&shard)
    }

    /// Whether it is time to ask what it holds of a shard, and if so, that it is being asked.
    pub(crate) fn ask(&mut self, shard: ShardId, now: Instant, config: &Config) -> bool {
        let due =
            self.asked.get(&shard).is_none_or(|asked| now - *asked >= config.summary_interval);
        if due {
            self.asked.insert(shard, now);
        }
        due
    }
}

/// One shard's state at one epoch's start, cut into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StateKey {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) root: StateRoot,
    /// *Units:* bytes.
    pub(crate) cut: u32,
}

impl StateKey {
    /// Some parts of the state, as they are told; none if it has more parts than can be told of.
    pub(crate) fn holding(&self, held: PartSet) -> Option<Holding> {
        Holding::new(self.shard, self.epoch, self.root, self.cut, held).ok()
    }
}

/// How many peers hold each part of a state.
pub(crate) struct Holders {
    /// Peers that hold everything.
    complete: u32,
    partial: BTreeMap<PartIndex, u32>,
}

impl Holders {
    pub(crate) fn count(peers: &Peers, state: &StateKey, parts: u32, now: Instant) -> Self {
        let mut holders = Holders { complete: 0, partial: BTreeMap::new() };
        for held in peers.reachable(now).filter_map(|(_, peer)| peer.held(state, parts)) {
            if held.is_full() {
                holders.complete += 1;
            } else {
                held.iter().for_each(|part| *holders.partial.entry(part).or_default() += 1);
            }
        }
        holders
    }

    pub(crate) fn of(&self, part: PartIndex) -> u32 {
        self.complete + self.partial.get(&part).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    fn connected() -> Peers {
        let mut peers = Peers::default();
        peers.connect(Peer(1), PeerClass::Other, 1);
        peers
    }

    #[test]
    fn a_peer_that_fails_rests_longer_each_time_until_it_delivers() {
        let config = Config::default();
        let mut peers = connected();
        for (now, rest) in [(0, 500), (500, 1_000), (1_500, 2_000)] {
            peers.get_mut(Peer(1)).unwrap().failed(at(now), &config);
            assert_eq!(peers.usable(at(now + rest - 1)).count(), 0);
            assert_eq!(peers.usable(at(now + rest)).count(), 1);
        }
        let peer = peers.get_mut(Peer(1)).unwrap();
        peer.delivered(1_000, Duration::from_secs(1), &config);
        peer.failed(at(10_000), &config);
        assert_eq!(peers.usable(at(10_500)).count(), 1);
    }

    #[test]
    fn an_unproven_peer_gets_one_part_and_then_ever_more_up_to_a_bound() {
        let config = Config { peer_bytes_max: 100, ..Config::default() };
        let mut peers = connected();
        let peer = peers.get_mut(Peer(1)).unwrap();
        assert_eq!((peer.spare_bytes((0, 0), &config), peer.spare_bytes((1, 10), &config)), (1, 0));
        let windows: Vec<_> = (0..10)
            .map(|_| {
                peer.delivered(10, Duration::from_secs(1), &config);
                peer.spare_bytes((0, 0), &config)
            })
            .collect();
        assert_eq!(windows, [20, 30, 40, 50, 60, 70, 80, 90, 100, 100]);
        peer.failed(at(0), &config);
        assert_eq!(peer.spare_bytes((1, 20), &config), 30);
        assert_eq!(peer.spare_bytes((config.peer_requests_max, 0), &config), 0);
    }

    #[test]
    fn a_ban_outlives_the_connection_and_a_clean_peer_is_forgotten() {
        let mut peers = connected();
        peers.get_mut(Peer(1)).unwrap().ban(at(1_000));
        peers.disconnect(Peer(1), at(0));
        peers.connect(Peer(1), PeerClass::Other, 1);
        assert!(peers.get(Peer(1)).unwrap().is_banned(at(999)));
        assert_eq!(peers.usable(at(999)).count(), 0);
        peers.disconnect(Peer(1), at(1_000));
        assert!(peers.get(Peer(1)).is_none());
    }

    #[test]
    fn what_a_peer_may_make_us_remember_is_bounded() {
        let mut peers = connected();
        let peer = peers.get_mut(Peer(1)).unwrap();
        for epoch in 0..1_000 {
            let root = StateRoot::new([0; 32]);
            let held = PartSet::full(3);
            peer.hold(Holding::new(ShardId(1), Epoch(epoch), root, 1, held).unwrap());
        }
        assert_eq!(peer.holdings.len(), HOLDINGS_MAX);
        assert!(peer.holdings.contains_key(&(ShardId(1), Epoch(999))));
    }
}
