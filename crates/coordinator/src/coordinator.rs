use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ketch_types::{Chance, Epoch, Height, Instant, ShardId, StateRoot, mix};

use crate::blame::Blame;
use crate::command::{Command, Work};
use crate::config::Config;
use crate::event::Event;
use crate::id::JobId;
use crate::input::{EpochStart, Input};
use crate::latency::Latency;
use crate::meter::Meter;
use crate::peers::{Kind, Peers};
use crate::request::Requests;
use crate::serving::Serving;
use crate::shard::{Phase, Shard};
use crate::state_key::StateKey;
use crate::verdict::{Pace, Verdict};

/// Decides all of one node's catching up and serving.
///
/// There are four kinds of methods. *Inputs*: [`handle`](Self::handle) takes a fact,
/// [`handle_timeout`](Self::handle_timeout) says that time has passed. *Outputs*:
/// [`poll_command`](Self::poll_command) gives what is to be done, [`poll_event`](Self::poll_event)
/// news for the operator; both are to be called until they give nothing.
/// [`poll_timeout`](Self::poll_timeout) says when `handle_timeout` is wanted next, and why. *Views*
/// ([`shards`](Self::shards)) show, and change nothing.
///
/// Nothing returns an error: bad news is an event. Time never runs backwards; an earlier `now` is
/// taken for the latest one.
pub struct Coordinator {
    pub(crate) config: Config,
    pub(crate) now: Instant,
    pub(crate) chance: Chance,
    /// Sets this node's preferences among equals apart from those of others.
    pub(crate) salt: u64,
    pub(crate) chain: Chain,
    pub(crate) peers: Peers,
    pub(crate) requests: Requests,
    pub(crate) jobs: Jobs,
    pub(crate) shards: BTreeMap<ShardId, Shard>,
    pub(crate) latencies: BTreeMap<Kind, Latency>,
    pub(crate) blame: Blame,
    /// Bytes of parts when they came, verified or not: how fast things go.
    pub(crate) arriving: Meter,
    /// Bytes of parts when they were verified: what the line has been shown to bring.
    pub(crate) downloaded: Meter,
    /// Measured while blocks to replay are there. *Units:* blocks in a thousand seconds.
    pub(crate) replay_rate: Option<u64>,
    /// Roots of epochs' starts that are not kept any more, the newest last.
    pub(crate) retired: VecDeque<StateRoot>,
    pub(crate) serving: Serving,
    pub(crate) host_busy: bool,
    pub(crate) verdicts_at: Instant,
    /// When something is next due, as of the last turn.
    next: Option<(Instant, Timer)>,
    /// The order in which shards are served, made with the verdicts.
    pub(crate) order: Vec<ShardId>,
    commands: VecDeque<Command>,
    events: VecDeque<Event>,
}

/// What is known of the chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    /// This epoch and the one before it.
    pub(crate) epochs: BTreeMap<Epoch, EpochStart>,
    pub(crate) head: Option<Head>,
    /// When the first head of this epoch was produced.
    pub(crate) epoch_began: Option<Instant>,
    /// The newest times between blocks that were measured.
    pub(crate) intervals: VecDeque<Duration>,
    /// The usual one, once some were measured.
    pub(crate) interval: Option<Duration>,
}

/// The newest block that is known to be under a quorum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) height: Height,
    pub(crate) produced: Instant,
}

/// Local work that is under way, and what it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs {
    open: BTreeMap<JobId, Work>,
    next: u64,
}

/// Why the coordinator wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A request has stalled, or is to be asked of a second peer.
    Request,
    /// A peer has rested long enough to be asked again.
    Peer,
    /// Verdicts are made anew.
    Verdict,
    /// A window has been open for too long.
    Window,
    /// Something is to be announced.
    Announce,
    /// Holders are to be looked for.
    Search,
    /// A task that had stopped is tried again, or one that does not move is begun anew.
    Task,
    /// A suspicion against ourselves ends.
    Suspicion,
    /// What is being sent has taken so long that others need not wait for it.
    Send,
}

/// How one shard stands, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    /// The shard.
    pub shard: ShardId,
    /// Where its task is.
    pub phase: Phase,
    /// The epoch and root that it makes for, or made for last.
    pub target: Option<(Epoch, StateRoot)>,
    /// Parts that are durable.
    pub parts_held: u32,
    /// Parts of the target; zero before its outline came.
    pub parts: u32,
    /// Bytes that are not durable yet. *Units:* bytes.
    pub bytes_left: u64,
    /// The size of the target. *Units:* bytes.
    pub bytes: u64,
    /// The height that is applied.
    pub applied: Option<Height>,
    /// When it must be held.
    pub deadline: Option<Height>,
    /// What is expected.
    pub verdict: Option<Verdict>,
    /// Peers in reach that hold something of the target.
    pub holders: u32,
}

impl Coordinator {
    /// A coordinator that knows nothing yet. All its chances come from `seed`.
    pub fn new(config: Config, seed: u64, now: Instant) -> Self {
        Self {
            config,
            now,
            chance: Chance::new(seed),
            salt: mix(seed),
            chain: Chain::default(),
            peers: Peers::default(),
            requests: Requests::default(),
            jobs: Jobs::default(),
            shards: BTreeMap::new(),
            latencies: BTreeMap::new(),
            blame: Blame::default(),
            arriving: Meter::new(),
            downloaded: Meter::new(),
            replay_rate: None,
            retired: VecDeque::new(),
            serving: Serving::default(),
            host_busy: false,
            verdicts_at: now,
            next: None,
            order: Vec::new(),
            commands: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes note of a fact.
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::EpochStarted(start) => self.epoch_started(&start),
            Input::HeadAdvanced { height, produced } => self.head_advanced(height, produced),
            Input::PeerConnected { peer, class, affinity } => {
                self.peers.connect(peer, class, affinity);
            }
            Input::PeerDisconnected { peer } => self.peer_disconnected(peer),
            Input::HoldingAnnounced { peer, holding } => self.holding_told(peer, holding),
            // Nothing follows from it, and it comes more often than all others together.
            Input::RequestProgressed { request, bytes } => {
                self.request_progressed(request, bytes);
                if !self.is_due() {
                    return;
                }
            }
            Input::PartVerified { request, part } => self.part_verified(request, part),
            Input::RequestEnded { request, end } => self.request_ended(request, end),
            Input::JobEnded { job, end } => self.job_ended(job, end),
            Input::DamageFound { shard } => self.damage_found(shard),
            Input::HostBusy(busy) => self.host_busy = busy,
            Input::Asked { ask, peer, query } => {
                self.asked(ask, peer, query);
                return self.serving_turn();
            }
            Input::PartSent { ask, part } => {
                self.part_sent(ask, part);
                return self.serving_turn();
            }
            Input::PartNotCached { ask, part } => {
                self.part_not_cached(ask, part);
                return self.serving_turn();
            }
            Input::AskClosed { ask } => {
                self.serving.close(ask);
                return self.serving_turn();
            }
        }
        self.turn();
    }

    /// Takes note that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.turn();
    }

    /// The next thing to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// The next piece of news.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted, unless an input comes before, and what
    /// for. Always later than the last `now`.
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.next
    }

    fn next_timer(&mut self) -> Option<(Instant, Timer)> {
        let next_free = self.peers.next_free(self.now);
        let timers = [
            (self.next_request_timer(), Timer::Request),
            (next_free, Timer::Peer),
            (self.next_verdict(), Timer::Verdict),
            (self.next_window_timer(), Timer::Window),
            (self.next_announcement(), Timer::Announce),
            (self.next_search(), Timer::Search),
            (self.next_task_timer(), Timer::Task),
            (self.blame.suspicion_ends(), Timer::Suspicion),
            (self.next_send_timer(), Timer::Send),
        ];
        let due = timers.into_iter().filter_map(|(at, timer)| Some((at?, timer)));
        due.filter(|(at, _)| *at > self.now).min()
    }

    /// How each shard stands.
    pub fn shards(&self) -> impl Iterator<Item = ShardStatus> + '_ {
        self.shards.values().map(|shard| self.status(shard))
    }

    /// Where a shard's task is, if it has one.
    pub fn phase(&self, shard: ShardId) -> Option<Phase> {
        self.shards.get(&shard).map(|shard| shard.phase)
    }

    /// Whether nothing is under way: no request, no job, nobody being served.
    pub fn is_at_rest(&self) -> bool {
        self.requests.is_empty() && self.jobs.open.is_empty() && self.serving.is_empty()
    }

    /// The bytes of parts that are under way or wait to be applied, over all shards.
    pub fn pending_bytes(&self) -> u64 {
        let downloads = self.shards.values().filter_map(|shard| shard.download.as_ref());
        downloads.map(crate::download::Download::pending_bytes).sum()
    }

    /// Everything that follows from what is known now.
    fn turn(&mut self) {
        self.expire_requests();
        self.end_suspicion();
        self.watch_tasks();
        if self.now >= self.verdicts_at {
            self.judge();
        }
        self.step_tasks();
        self.apply_ready();
        self.fetch();
        self.hedge();
        self.follow();
        self.announce();
        self.serve();
        self.next = self.next_timer();
    }

    /// What follows from something that concerns nobody but those who are served: half of all inputs
    /// while a state spreads.
    fn serving_turn(&mut self) {
        if self.is_due() {
            return self.turn();
        }
        self.serve();
        let send = self.next_send_timer().map(|at| (at, Timer::Send));
        self.next = self.next.into_iter().chain(send).min();
    }

    fn is_due(&self) -> bool {
        self.next.is_some_and(|(at, _)| at <= self.now)
    }

    fn status(&self, shard: &Shard) -> ShardStatus {
        let whole = shard.sizes.as_ref();
        let parts = whole.map_or(0, crate::part_sizes::PartSizes::count);
        let held = shard.download.as_ref().map(|download| download.held().len());
        let done = !shard.phase.is_catching_up();
        let holders =
            shard.target.map_or(0, |target| self.peers.holders(&target.key, self.now).count());
        ShardStatus {
            shard: shard.id,
            phase: shard.phase,
            target: shard.target.map(|target| (target.key.epoch, target.key.root)),
            parts_held: held.unwrap_or(if done { parts } else { 0 }),
            parts,
            bytes_left: shard.bytes_left(),
            bytes: whole.map_or(0, crate::part_sizes::PartSizes::total_bytes),
            applied: shard.applied,
            deadline: shard.deadline,
            verdict: shard.outlook.verdict,
            holders: u32::try_from(holders).unwrap_or(u32::MAX),
        }
    }

    /// Whether any peer in reach says that it holds something of a state.
    pub(crate) fn is_claimed(&self, key: &StateKey) -> bool {
        self.peers.holders(key, self.now).next().is_some()
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.commands.push_back(command);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(crate) fn run(&mut self, work: Work) -> JobId {
        let job = self.jobs.open(work.clone());
        self.command(Command::Run { job, work });
        job
    }

    /// Moves a task on. This is the one place where a phase changes.
    pub(crate) fn enter(&mut self, id: ShardId, phase: Phase) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        debug_assert!(shard.phase.may_become(phase), "{id}: {} to {phase}", shard.phase);
        shard.moved = self.now;
        let before = std::mem::replace(&mut shard.phase, phase);
        if before != phase {
            self.event(Event::PhaseChanged { shard: id, phase });
        }
        if before == Phase::Following && !matches!(phase, Phase::Following | Phase::Frozen) {
            self.fell_behind(id);
        }
        self.verdicts_at = self.now;
    }

    /// A shard that was caught up is not any more.
    fn fell_behind(&mut self, id: ShardId) {
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.outlook.caught_up_since = None;
        }
        self.event(Event::FellBehind { shard: id });
    }

    pub(crate) fn pace(&self) -> Pace {
        // Between downloads nothing is measured: what was reached before is the best guess.
        let downloading = self.shards.values().any(|shard| shard.phase == Phase::Downloading);
        let measured = self.arriving.rate(self.now).filter(|_| downloading);
        let download = measured.or(self.downloaded.best()).unwrap_or(self.config.download_prior);
        Pace {
            download,
            replay: self.replay_rate.unwrap_or(self.config.replay_prior.saturating_mul(1_000)),
            block_interval: self.block_interval(),
        }
    }

    pub(crate) fn block_interval(&self) -> Duration {
        self.chain.interval.unwrap_or(self.config.block_interval_prior)
    }

    /// The epoch that the chain is in.
    pub(crate) fn epoch(&self) -> Option<&EpochStart> {
        self.chain.epochs.values().next_back()
    }
}

/// The fewest times of which a median says anything.
const INTERVALS_MIN: usize = 3;

impl Chain {
    /// The usual time between blocks: a median, which neither a halt of the chain nor a clock that jumps
    /// moves. It takes three to have a middle; what was not measured is assumed.
    pub(crate) fn usual_interval(&self, prior: Duration) -> Duration {
        let assumed = INTERVALS_MIN.saturating_sub(self.intervals.len());
        let mut sorted: Vec<_> = self.intervals.iter().copied().collect();
        sorted.extend(std::iter::repeat_n(prior, assumed));
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(prior)
    }
}

impl Jobs {
    fn open(&mut self, work: Work) -> JobId {
        let job = JobId(self.next);
        self.next += 1;
        self.open.insert(job, work);
        job
    }

    /// Ends a job and gives back what it was; none if it is over already.
    pub(crate) fn close(&mut self, job: JobId) -> Option<Work> {
        self.open.remove(&job)
    }

    /// All work that is under way.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Work> {
        self.open.values()
    }

    /// Whether anything works on the store of a shard.
    pub(crate) fn any_on_store_of(&self, shard: ShardId) -> bool {
        let on_store = |work: &Work| !matches!(work, Work::Search { .. });
        self.iter().any(|work| work.shard() == Some(shard) && on_store(work))
    }
}
