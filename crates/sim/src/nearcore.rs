//! The baseline: how NEAR's nearcore takes and serves shards, from the same facts as the coordinator.

use std::collections::{BTreeMap, VecDeque};

use ketch_coordinator::{Command, Event, Input, JobId, Phase, RequestId, ShardStatus, Timer, Work};
use ketch_types::{Chance, Instant, ShardId, mix};

mod chain;
mod fetch;
mod hosts;
mod limits;
mod replay;
mod serve;
mod shard;
mod task;
mod window;

pub use limits::NEARCORE_PART_BYTES;
pub(crate) use limits::{APPLY_RATE, GENERATE_PART, REPLAY_BLOCK};

use chain::Chain;
use fetch::Request;
use hosts::Hosts;
use serve::Server;
use shard::Shard;

/// Decides for one node as nearcore does.
///
/// A shard's parts are fetched in rounds, each from one of the hosts that announced the whole state of
/// this epoch's start, through an ordered window. Only when all are there are they applied, one after
/// another, and only when all shards of an epoch are whole are their chunks replayed. Whoever is asked
/// makes parts on demand, answers few of them in a while and is silent about the rest, and drops
/// everything at the next epoch. A target never changes: what is late stays late.
///
/// Nobody is banned, no rate and no failure is remembered, no memory is counted, nothing is expected:
/// there are no verdicts. What is announced, called caught up and reported at a boundary is what it is
/// for the coordinator.
///
/// *Source:* nearcore 2026, `chain/client/src/sync/state` and `state_request_actor.rs`. Where these say
/// nothing, or nothing that means anything here, what is best for the baseline is done.
pub(crate) struct Nearcore {
    serves: bool,
    /// Sets this node's preferences among equals apart from those of others.
    salt: u64,
    now: Instant,
    chance: Chance,
    chain: Chain,
    hosts: Hosts,
    requests: BTreeMap<RequestId, Request>,
    next_request: u64,
    jobs: BTreeMap<JobId, Work>,
    next_job: u64,
    shards: BTreeMap<ShardId, Shard>,
    server: Server,
    /// When something is next due, as of the last turn.
    next: Option<(Instant, Timer)>,
    commands: VecDeque<Command>,
    events: VecDeque<Event>,
}

impl Nearcore {
    /// A node that knows nothing yet.
    pub(crate) fn new(serves: bool, seed: u64, now: Instant) -> Self {
        Self {
            serves,
            salt: mix(seed),
            now,
            chance: Chance::new(seed),
            chain: Chain::default(),
            hosts: Hosts::default(),
            requests: BTreeMap::new(),
            next_request: 0,
            jobs: BTreeMap::new(),
            next_job: 0,
            shards: BTreeMap::new(),
            server: Server::default(),
            next: None,
            commands: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes note of a fact.
    pub(crate) fn handle(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::EpochStarted(start) => self.epoch_started(&start),
            Input::HeadAdvanced { height, produced } => self.head_advanced(height, produced),
            Input::PeerConnected { peer, affinity, .. } => self.hosts.connect(peer, affinity),
            Input::PeerDisconnected { peer } => self.peer_disconnected(peer),
            Input::HoldingAnnounced { peer, holding } => {
                let host = self.hosts.get_mut(peer);
                host.into_iter().for_each(|host| host.announces(&holding));
            }
            Input::RequestProgressed { request, .. } => {
                self.request_progressed(request);
                if self.next.is_none_or(|(at, _)| at > self.now) {
                    return;
                }
            }
            Input::PartVerified { request, .. } => self.part_verified(request),
            Input::RequestEnded { request, end } => self.request_ended(request, end),
            Input::JobEnded { job, end } => self.job_ended(job, end),
            Input::DamageFound { shard } => self.damage_found(shard),
            Input::HostBusy(_) => {}
            Input::Asked { ask, peer, query } => self.asked(ask, peer, query),
            Input::PartSent { ask, part } => self.part_sent(ask, part),
            Input::PartNotCached { ask, part } => self.part_not_cached(ask, part),
            Input::AskClosed { ask } => self.server.close(ask),
        }
        self.turn();
    }

    /// Takes note that time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.turn();
    }

    /// The next thing to do.
    pub(crate) fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The next piece of news.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted, and what for.
    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.next
    }

    /// Whether no request and no job is under way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.requests.is_empty() && self.jobs.is_empty()
    }

    /// Where a shard's task is, if it has one.
    pub(crate) fn phase(&self, shard: ShardId) -> Option<Phase> {
        self.shards.get(&shard).map(|shard| shard.phase)
    }

    /// Where each task is.
    pub(crate) fn phases(&self) -> Vec<Phase> {
        self.shards.values().map(|shard| shard.phase).collect()
    }

    /// How a shard stands.
    pub(crate) fn status(&self, shard: ShardId) -> Option<ShardStatus> {
        let shard = self.shards.get(&shard)?;
        let holders = shard.target.as_ref().map_or(0, |target| self.hosts.of(target).count());
        Some(shard.status(holders))
    }

    /// Everything that follows from what is known now.
    fn turn(&mut self) {
        self.expire_requests();
        self.step();
        self.discover();
        self.fetch();
        self.apply();
        self.follow();
        self.announce();
        self.serve();
        self.next = self.next_timer();
    }

    fn next_timer(&self) -> Option<(Instant, Timer)> {
        let timers = [
            (self.next_request_timer(), Timer::Request),
            (self.hosts.next_idle(self.now), Timer::Peer),
            (self.next_staleness(), Timer::Verdict),
            (self.next_discovery(), Timer::Search),
            (self.next_retry(), Timer::Task),
        ];
        let due = timers.into_iter().filter_map(|(at, timer)| Some((at?, timer)));
        due.filter(|(at, _)| *at > self.now).min()
    }

    /// Moves a task on: the one place where a phase changes.
    fn enter(&mut self, id: ShardId, phase: Phase) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        debug_assert!(shard.phase.may_become(phase), "{id}: {} to {phase}", shard.phase);
        let before = std::mem::replace(&mut shard.phase, phase);
        if before != phase {
            self.event(Event::PhaseChanged { shard: id, phase });
        }
        if before == Phase::Following && !matches!(phase, Phase::Following | Phase::Frozen) {
            self.shards.get_mut(&id).into_iter().for_each(|shard| shard.caught_up_since = None);
            self.event(Event::FellBehind { shard: id });
        }
    }

    fn command(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }
}
