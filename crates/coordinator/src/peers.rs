use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ketch_types::{Epoch, Height, Instant, PartSet, ShardId};
use ketch_wire::{Following, Holding};

use crate::config::Config;
use crate::id::Peer;
use crate::input::PeerClass;
use crate::state_key::StateKey;

/// The most holdings that are remembered of one peer: two epochs of more shards than one node takes.
const HOLDINGS_MAX: usize = 256;
/// Peers that are not connected and of which something is remembered nevertheless.
const ABSENT_MAX: usize = 4_096;

/// Every peer that is connected, or of which something must not be forgotten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    known: BTreeMap<Peer, PeerState>,
    /// Exactly those who have told of a shard's state at an epoch's start, whatever they told.
    tellers: BTreeMap<(ShardId, Epoch), BTreeSet<Peer>>,
    /// Everybody who has a rest that has not ended, and some who have none.
    resting: BTreeSet<Peer>,
    /// Shards of which every connected peer was asked what it holds.
    asked: BTreeSet<ShardId>,
}

/// What we know of one peer.
#[derive(Clone, Debug)]
pub(crate) struct PeerState {
    pub(crate) class: PeerClass,
    pub(crate) affinity: u64,
    connected: bool,
    holdings: BTreeMap<(ShardId, Epoch), Holding>,
    feeds: BTreeMap<ShardId, Feed>,
    /// Measured over its answers. *Units:* bytes per second.
    rate: Option<u64>,
    /// What may be under way from it. *Units:* bytes.
    window_bytes: u64,
    /// The size of the part that came last. *Units:* bytes.
    part_bytes: u64,
    /// By kind.
    records: [Record; Kind::COUNT],
    banned_until: Instant,
    /// When it was last asked what it holds of a shard.
    asked: BTreeMap<ShardId, Instant>,
}

/// How a peer has done at one kind of request. Each kind has its own, so that who answers one well
/// cannot make up for another that it leaves lying.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Since it last did well.
    failures: u32,
    resting_until: Instant,
    /// When anything came of an answer.
    progressed: Option<Instant>,
    /// Whether it said that it does not answer this kind.
    unsupported: bool,
}

impl Record {
    const CLEAN: Self =
        Self { failures: 0, resting_until: Instant::ORIGIN, progressed: None, unsupported: false };
}

/// Outputs that a peer keeps of one shard.
#[derive(Clone, Copy, Debug)]
struct Feed {
    following: Following,
    /// How often in a row it had nothing newer.
    idle: u32,
    /// It is not asked before.
    idle_until: Instant,
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

impl Kind {
    /// How many there are.
    pub(crate) const COUNT: usize = 4;
}

impl Peers {
    pub(crate) fn connect(&mut self, peer: Peer, class: PeerClass, affinity: u64) {
        self.asked.clear();
        self.resting.insert(peer);
        let state = self.known.entry(peer).or_insert_with(|| PeerState::new(class, affinity));
        (state.class, state.affinity, state.connected) = (class, affinity, true);
    }

    /// Notes that `peer` is gone; what it failed at stays known as long as it matters.
    pub(crate) fn disconnect(&mut self, peer: Peer, now: Instant, config: &Config) {
        self.forget_all(peer);
        if let Some(state) = self.known.get_mut(&peer) {
            state.connected = false;
            state.feeds.clear();
            state.asked.clear();
        }
        let matters = |state: &PeerState| state.matters_until() + config.backoff_max > now;
        let absent = || self.known.iter().filter(|(_, state)| !state.connected);
        let mut gone: Vec<_> = absent().filter(|(_, s)| !matters(s)).map(|(p, _)| *p).collect();
        let too_many = (absent().count() - gone.len()).saturating_sub(ABSENT_MAX);
        let remembered = absent().filter(|(_, state)| matters(state));
        gone.extend(remembered.take(too_many).map(|(peer, _)| *peer));
        for peer in gone {
            self.forget_all(peer);
            self.known.remove(&peer);
        }
    }

    pub(crate) fn get(&self, peer: Peer) -> Option<&PeerState> {
        self.known.get(&peer)
    }

    pub(crate) fn get_mut(&mut self, peer: Peer) -> Option<&mut PeerState> {
        let state = self.known.get_mut(&peer)?;
        self.resting.insert(peer);
        Some(state)
    }

    /// Notes that something of an answer came, which ends no rest and begins none.
    pub(crate) fn progressed(&mut self, peer: Peer, kind: Kind, now: Instant) {
        if let Some(state) = self.known.get_mut(&peer) {
            state.record_mut(kind).progressed = Some(now);
        }
    }

    /// Remembers what a peer says that it holds; of each, the newest epochs stay.
    pub(crate) fn hold(&mut self, peer: Peer, holding: Holding) {
        let Some(state) = self.known.get_mut(&peer) else { return };
        self.tellers.entry((holding.shard(), holding.epoch())).or_default().insert(peer);
        if let Some(oldest) = state.hold(holding) {
            self.untell(peer, oldest);
        }
    }

    /// Forgets what a peer said about a state.
    pub(crate) fn forget(&mut self, peer: Peer, state: &StateKey) {
        let told = (state.shard, state.epoch);
        let known = self.known.get_mut(&peer);
        if known.is_some_and(|known| known.holdings.remove(&told).is_some()) {
            self.untell(peer, told);
        }
    }

    pub(crate) fn ban(&mut self, peer: Peer, until: Instant) {
        self.forget_all(peer);
        if let Some(state) = self.get_mut(peer) {
            state.banned_until = until;
            state.feeds.clear();
        }
    }

    fn forget_all(&mut self, peer: Peer) {
        let holdings = self.known.get_mut(&peer).map(|state| std::mem::take(&mut state.holdings));
        for told in holdings.into_iter().flat_map(BTreeMap::into_keys) {
            self.untell(peer, told);
        }
    }

    fn untell(&mut self, peer: Peer, told: (ShardId, Epoch)) {
        if let Some(tellers) = self.tellers.get_mut(&told) {
            tellers.remove(&peer);
            if tellers.is_empty() {
                self.tellers.remove(&told);
            }
        }
    }

    /// Peers that can be asked now for something of a kind.
    pub(crate) fn usable(
        &self,
        kind: Kind,
        now: Instant,
    ) -> impl Iterator<Item = (Peer, &PeerState)> {
        self.reachable(now).filter(move |(_, state)| state.is_usable(kind, now))
    }

    /// Peers that are connected and not banned, resting ones included.
    pub(crate) fn reachable(&self, now: Instant) -> impl Iterator<Item = (Peer, &PeerState)> {
        let reachable = self.known.iter().filter(move |(_, state)| state.is_reachable(now));
        reachable.map(|(peer, state)| (*peer, state))
    }

    /// Peers in reach that say that they hold something of a state.
    pub(crate) fn holders(
        &self,
        state: &StateKey,
        now: Instant,
    ) -> impl Iterator<Item = (Peer, &PeerState)> {
        let tellers = self.tellers.get(&(state.shard, state.epoch)).into_iter().flatten();
        let known = tellers.filter_map(|peer| Some((*peer, self.known.get(peer)?)));
        let state = *state;
        known.filter(move |(_, peer)| peer.is_reachable(now) && peer.claims(&state).is_some())
    }

    /// Those of them that can be asked now for something of a kind.
    pub(crate) fn usable_holders(
        &self,
        state: &StateKey,
        kind: Kind,
        now: Instant,
    ) -> impl Iterator<Item = (Peer, &PeerState)> {
        self.holders(state, now).filter(move |(_, peer)| peer.is_usable(kind, now))
    }

    /// Has every peer be asked anew what it holds of a shard.
    pub(crate) fn ask_again(&mut self, shard: ShardId) {
        self.asked.remove(&shard);
        for state in self.known.values_mut() {
            state.asked.remove(&shard);
        }
    }

    /// A peer did not say what it holds of a shard.
    pub(crate) fn not_told(&mut self, peer: Peer, shard: ShardId) {
        self.asked.remove(&shard);
        if let Some(state) = self.known.get_mut(&peer) {
            state.asked.remove(&shard);
        }
    }

    /// Whether every connected peer was asked what it holds of a shard.
    pub(crate) fn all_asked(&mut self, shard: ShardId) -> bool {
        let mut connected = self.known.values().filter(|state| state.connected);
        if !self.asked.contains(&shard) && connected.all(|state| state.asked_at(shard).is_some()) {
            self.asked.insert(shard);
        }
        self.asked.contains(&shard)
    }

    /// Forgets what cannot be, now that it is known how many parts a state has.
    pub(crate) fn forget_miscounted(&mut self, key: &StateKey, parts: u32) {
        let miscounts = |(_, state): &(&Peer, &PeerState)| {
            state.claims(key).is_some_and(|holding| holding.held().count() != parts)
        };
        let miscounting: Vec<_> =
            self.known.iter().filter(miscounts).map(|(peer, _)| *peer).collect();
        miscounting.into_iter().for_each(|peer| self.forget(peer, key));
    }

    /// The next moment at which a peer has rested enough.
    pub(crate) fn next_free(&mut self, now: Instant) -> Option<Instant> {
        let known = &self.known;
        let rests = |peer: &Peer| known.get(peer).is_some_and(|state| state.matters_until() > now);
        self.resting.retain(rests);
        let resting = self.resting.iter().filter_map(|peer| known.get(peer));
        let connected = resting.filter(|state| state.connected);
        connected.filter_map(|state| state.rests().filter(|free| *free > now).min()).min()
    }
}

impl PeerState {
    fn new(class: PeerClass, affinity: u64) -> Self {
        Self {
            class,
            affinity,
            connected: true,
            holdings: BTreeMap::new(),
            feeds: BTreeMap::new(),
            rate: None,
            window_bytes: 0,
            part_bytes: 0,
            records: [Record::CLEAN; Kind::COUNT],
            banned_until: Instant::ORIGIN,
            asked: BTreeMap::new(),
        }
    }

    fn record(&self, kind: Kind) -> Record {
        self.records.get(kind as usize).copied().unwrap_or(Record::CLEAN)
    }

    fn record_mut(&mut self, kind: Kind) -> &mut Record {
        let [summary, outline, parts, outputs] = &mut self.records;
        match kind {
            Kind::Summary => summary,
            Kind::Outline => outline,
            Kind::Parts => parts,
            Kind::Outputs => outputs,
        }
    }

    fn is_reachable(&self, now: Instant) -> bool {
        self.connected && self.banned_until <= now
    }

    fn is_usable(&self, kind: Kind, now: Instant) -> bool {
        let record = self.record(kind);
        record.resting_until <= now && !record.unsupported
    }

    /// All moments at which some rest of it ends.
    fn rests(&self) -> impl Iterator<Item = Instant> + '_ {
        let records = self.records.iter().map(|record| record.resting_until);
        let feeds = self.feeds.values().map(|feed| feed.idle_until);
        records.chain(feeds).chain([self.banned_until])
    }

    /// When the last rest of it ends: it is remembered for a while longer, so that coming again does not
    /// wipe out what it failed at.
    fn matters_until(&self) -> Instant {
        self.rests().max().unwrap_or(self.banned_until)
    }

    pub(crate) fn is_banned(&self, now: Instant) -> bool {
        self.banned_until > now
    }

    /// Remembers what the peer says that it holds, and gives what is forgotten for it.
    fn hold(&mut self, holding: Holding) -> Option<(ShardId, Epoch)> {
        self.holdings.insert((holding.shard(), holding.epoch()), holding);
        if self.holdings.len() <= HOLDINGS_MAX {
            return None;
        }
        let oldest = *self.holdings.keys().min_by_key(|(shard, epoch)| (*epoch, *shard))?;
        self.holdings.remove(&oldest).map(|_| oldest)
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

    pub(crate) fn follow(&mut self, following: Following) {
        let shard = following.shard();
        if let Some(feed) = self.feeds.get_mut(&shard) {
            feed.following = following;
        } else if self.feeds.len() < HOLDINGS_MAX {
            let feed = Feed { following, idle: 0, idle_until: Instant::ORIGIN };
            self.feeds.insert(shard, feed);
        }
    }

    /// Whether the peer keeps the outputs that come after a height; how far it has come by now is
    /// only known to it.
    pub(crate) fn keeps_outputs_after(&self, shard: ShardId, height: Height) -> bool {
        self.feeds.get(&shard).is_some_and(|feed| feed.following.first() <= height.next())
    }

    /// Whether it may have had something newer since it was last asked.
    pub(crate) fn feeds(&self, shard: ShardId, height: Height, now: Instant) -> bool {
        self.keeps_outputs_after(shard, height)
            && self.feeds.get(&shard).is_some_and(|feed| feed.idle_until <= now)
    }

    /// It had nothing newer: it is asked again a moment later, each time a longer one.
    pub(crate) fn had_nothing_newer(&mut self, shard: ShardId, now: Instant, pause: Duration) {
        if let Some(feed) = self.feeds.get_mut(&shard) {
            feed.idle_until = now + pause.saturating_mul(1 << feed.idle.min(8));
            feed.idle = feed.idle.saturating_add(1);
        }
    }

    /// Outputs came from it.
    pub(crate) fn had_something_newer(&mut self, shard: ShardId) {
        if let Some(feed) = self.feeds.get_mut(&shard) {
            feed.idle = 0;
        }
    }

    /// How often in a row it had no newer outputs.
    pub(crate) fn idleness(&self, shard: ShardId) -> u32 {
        self.feeds.get(&shard).map_or(0, |feed| feed.idle)
    }

    /// Forgets that the peer has outputs of a shard.
    pub(crate) fn unfollow(&mut self, shard: ShardId) {
        self.feeds.remove(&shard);
    }

    pub(crate) fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Failures at a kind of request since the last success.
    pub(crate) fn failures(&self, kind: Kind) -> u32 {
        self.record(kind).failures
    }

    /// Where it stands among those who could be asked for parts: who delivers comes first, then who
    /// has not been tried, then who failed last.
    pub(crate) fn standing(&self) -> Standing {
        match (self.failures(Kind::Parts), self.rate) {
            (0, Some(_)) => Standing::Proven,
            (0, None) => Standing::Untried,
            _ => Standing::Failed,
        }
    }

    pub(crate) fn lacks(&mut self, kind: Kind) {
        self.record_mut(kind).unsupported = true;
    }

    /// How many more bytes of parts may be asked of it. A peer that has not proven itself gets one
    /// part.
    pub(crate) fn spare_bytes(&self, in_flight: (usize, u64), config: &Config) -> u64 {
        match self.rate {
            None if in_flight.0 > 0 => 0,
            None => 1,
            Some(_) if in_flight.0 >= config.peer_requests_max => 0,
            Some(rate) => {
                let millis = u64::try_from(config.ask_ahead.as_millis()).unwrap_or(u64::MAX);
                let soon = rate.saturating_mul(millis) / 1_000;
                let window = self.window_bytes.min(soon.max(self.part_bytes.saturating_mul(2)));
                // One part may always be asked for, or it could never show that it does better now.
                window.max(self.part_bytes).saturating_sub(in_flight.1)
            }
        }
    }

    /// A part of `bytes` came, `took` after what came before it.
    pub(crate) fn delivered(&mut self, bytes: u64, took: Duration, config: &Config) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = bytes.saturating_mul(1_000) / millis;
        self.part_bytes = bytes;
        self.rate = Some(self.rate.map_or(rate, |old| (old / 4).saturating_mul(3) + rate / 4));
        self.did_well(Kind::Parts);
        // As congestion windows open: by what was delivered, so doubling with every round.
        let grown = self.window_bytes.max(bytes).saturating_add(bytes);
        self.window_bytes = grown.min(config.peer_bytes_max.max(bytes));
    }

    pub(crate) fn last_progress(&self, kind: Kind) -> Option<Instant> {
        self.record(kind).progressed
    }

    /// It answered a request of a kind as it should.
    pub(crate) fn did_well(&mut self, kind: Kind) {
        self.record_mut(kind).failures = 0;
    }

    /// It did not answer, or not well: it is left alone for a while, each time longer.
    pub(crate) fn failed(&mut self, kind: Kind, now: Instant, config: &Config) {
        if kind == Kind::Parts {
            self.window_bytes /= 2;
        }
        let record = self.record_mut(kind);
        record.failures = record.failures.saturating_add(1);
        let times = 1 << (record.failures - 1).min(16);
        let wait = config.backoff.saturating_mul(times).min(config.backoff_max);
        self.rest(kind, now + wait);
    }

    pub(crate) fn rest(&mut self, kind: Kind, until: Instant) {
        let record = self.record_mut(kind);
        record.resting_until = record.resting_until.max(until);
    }

    /// When it was last asked what it holds of a shard.
    pub(crate) fn asked_at(&self, shard: ShardId) -> Option<Instant> {
        self.asked.get(&shard).copied()
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

#[cfg(test)]
mod tests {
    use super::*;
    use ketch_types::StateRoot;

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
            peers.get_mut(Peer(1)).unwrap().failed(Kind::Parts, at(now), &config);
            assert_eq!(peers.usable(Kind::Parts, at(now + rest - 1)).count(), 0);
            assert_eq!(peers.usable(Kind::Parts, at(now + rest)).count(), 1);
        }
        let peer = peers.get_mut(Peer(1)).unwrap();
        peer.delivered(1_000, Duration::from_secs(1), &config);
        peer.failed(Kind::Parts, at(10_000), &config);
        assert_eq!(peers.usable(Kind::Parts, at(10_500)).count(), 1);
    }

    #[test]
    fn an_unproven_peer_gets_one_part_and_then_ever_more_up_to_a_bound() {
        let config = Config { peer_bytes_max: 100, ..Config::default() };
        let mut peers = connected();
        let peer = peers.get_mut(Peer(1)).unwrap();
        assert_eq!((peer.spare_bytes((0, 0), &config), peer.spare_bytes((1, 10), &config)), (1, 0));
        let windows: Vec<_> = (0..10)
            .map(|_| {
                peer.delivered(10, Duration::from_millis(1), &config);
                peer.spare_bytes((0, 0), &config)
            })
            .collect();
        assert_eq!(windows, [20, 30, 40, 50, 60, 70, 80, 90, 100, 100]);
        peer.failed(Kind::Parts, at(0), &config);
        assert_eq!(peer.spare_bytes((1, 20), &config), 30);
        assert_eq!(peer.spare_bytes((config.peer_requests_max, 0), &config), 0);
    }

    #[test]
    fn no_more_is_asked_of_a_slow_peer_than_soon_comes_but_two_parts_at_least() {
        let config = Config { ask_ahead: Duration::from_secs(1), ..Config::default() };
        for (took, room) in [(1, 1_000), (2, 500), (1_000, 200)] {
            let mut peers = connected();
            let peer = peers.get_mut(Peer(1)).unwrap();
            for _ in 0..100 {
                peer.delivered(100, Duration::from_secs(1) * took / 10, &config);
            }
            assert_eq!(
                peer.spare_bytes((0, 0), &config),
                room,
                "a part in {took} tenths of a second"
            );
        }
    }

    #[test]
    fn who_does_well_at_one_kind_of_request_is_not_excused_for_another() {
        let config = Config::default();
        let mut peers = connected();
        let peer = peers.get_mut(Peer(1)).unwrap();
        peer.failed(Kind::Parts, at(0), &config);
        peer.did_well(Kind::Outputs);
        assert_eq!((peer.failures(Kind::Parts), peer.failures(Kind::Outputs)), (1, 0));
        assert_eq!(peers.usable(Kind::Parts, at(1)).count(), 0);
        assert_eq!(peers.usable(Kind::Outputs, at(1)).count(), 1);
    }

    #[test]
    fn a_ban_outlives_the_connection_and_a_clean_peer_is_forgotten() {
        let (config, mut peers) = (Config::default(), connected());
        peers.ban(Peer(1), at(1_000));
        peers.disconnect(Peer(1), at(0), &config);
        peers.connect(Peer(1), PeerClass::Other, 1);
        assert!(peers.get(Peer(1)).unwrap().is_banned(at(999)));
        assert_eq!(peers.usable(Kind::Parts, at(999)).count(), 0);
        peers.disconnect(Peer(1), at(61_000), &config);
        assert!(peers.get(Peer(1)).is_none());
    }

    #[test]
    fn what_a_peer_may_make_us_remember_is_bounded() {
        let mut peers = connected();
        for epoch in 0..1_000 {
            let root = StateRoot::new([0; 32]);
            let held = PartSet::full(3);
            peers.hold(Peer(1), Holding::new(ShardId(1), Epoch(epoch), root, 1, held).unwrap());
        }
        let peer = peers.get(Peer(1)).unwrap();
        assert_eq!((peer.holdings.len(), peers.tellers.len()), (HOLDINGS_MAX, HOLDINGS_MAX));
        assert!(peer.holdings.contains_key(&(ShardId(1), Epoch(999))));
    }
}
