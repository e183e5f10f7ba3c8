//! The coordinator's driver: tells it what happens, and does what it says.

mod answering;
mod asking;
mod flow;
mod gossip;
mod peers;
mod report;
mod working;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::{
    Ask, Command, Coordinator, EpochStart, Event, Input, JobEnd, JobId, RequestEnd, RequestId,
};
use ketch_net::{Delivery, Judgement, Network, NetworkEvent, NetworkEvents};
use ketch_sim::RecordedTurn;
use ketch_trie::VerifiedPart;
use ketch_types::{Epoch, Height, PartIndex, PeerId, ShardId, StateRoot};
use ketch_wire::{Head, OutputsRequest};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

use crate::book::Book;
use crate::clock::Clock;
use crate::recorder::Recorder;
use crate::shards::Shards;
use answering::Answers;
pub(crate) use answering::{ledger_answer, send_outputs};
pub(crate) use asking::blocking;
use gossip::Announced;
use peers::Peers;
pub(crate) use report::Report;

/// How long the driver sleeps at most: coordinators without timers have nothing to do.
const AT_REST: Duration = Duration::from_secs(3_600);

/// What the driver is told by its tasks.
pub(crate) enum Told {
    /// A request brought something.
    Request(RequestId, Brought),
    /// A job is over.
    Job(JobId, JobEnd),
    /// What a peer asked for was dealt with.
    Asked(Input, Option<Ask>),
    /// The chain went on.
    Chain(ChainNews),
}

/// What a request brought.
pub(crate) enum Brought {
    /// Some bytes; how many of parts, as they will be unpacked.
    Progress(u64),
    Part(Box<VerifiedPart>),
    End(RequestEnd),
}

/// What is learned of the chain.
pub(crate) enum ChainNews {
    /// An epoch has begun, with these validators now and next.
    Epoch { start: EpochStart, validators: Vec<PeerId> },
    /// A newer block is under a quorum.
    Head { height: Height, time_ms: u64 },
}

/// What all tasks of a node share.
pub(crate) struct Shared {
    pub(crate) network: Network,
    pub(crate) shards: Shards,
    pub(crate) book: Arc<Book>,
    pub(crate) told: mpsc::UnboundedSender<Told>,
    /// Room on the processor's cores for hashing and unpacking.
    pub(crate) cores: Semaphore,
    /// Threads for the work that may take its time.
    pub(crate) background: Handle,
}

/// The driver's ends of the channels to whoever follows the chain.
pub(crate) struct FollowerEnds {
    pub(crate) heads: mpsc::Sender<(Head, Delivery)>,
    pub(crate) connected: watch::Sender<Vec<PeerId>>,
}

/// The task around a coordinator.
pub(crate) struct Driver {
    coordinator: Coordinator,
    /// What the coordinator has said and was not done yet.
    commands: VecDeque<Command>,
    recorder: Option<Recorder>,
    clock: Clock,
    shared: Arc<Shared>,
    told: mpsc::UnboundedReceiver<Told>,
    peers: Peers,
    /// Requests under way: of whom, of which shard's state, and how to stop them.
    requests: BTreeMap<RequestId, Outgoing>,
    /// Verified parts that wait to be applied.
    arrived: BTreeMap<(ShardId, StateRoot), BTreeMap<PartIndex, VerifiedPart>>,
    answers: Answers,
    announced: Announced,
    report: Report,
    /// Heads go to whoever follows the chain.
    heads: mpsc::Sender<(Head, Delivery)>,
    /// Who is connected, for whoever follows the chain.
    connected: watch::Sender<Vec<PeerId>>,
    /// The epochs and shards that exist, as the network was told.
    known: BTreeMap<Epoch, EpochStart>,
}

struct Outgoing {
    peer: ketch_coordinator::Peer,
    /// The state whose parts are asked for.
    parts_of: Option<(ShardId, StateRoot)>,
    task: AbortHandle,
}

impl Driver {
    pub(crate) fn new(
        coordinator: Coordinator,
        recorder: Option<Recorder>,
        clock: Clock,
        shared: Arc<Shared>,
        told: mpsc::UnboundedReceiver<Told>,
        follower: FollowerEnds,
        report: Report,
    ) -> Self {
        Self {
            coordinator,
            commands: VecDeque::new(),
            recorder,
            clock,
            told,
            report,
            heads: follower.heads,
            connected: follower.connected,
            peers: Peers::default(),
            requests: BTreeMap::new(),
            arrived: BTreeMap::new(),
            answers: Answers::new(Arc::clone(&shared)),
            announced: Announced::default(),
            known: BTreeMap::new(),
            shared,
        }
    }

    /// Runs until it is told to stop, and then as long as answers are being given, but no longer than
    /// `drain`.
    pub(crate) async fn run(
        mut self,
        mut events: NetworkEvents,
        mut stopping: watch::Receiver<bool>,
        drain: Duration,
    ) {
        let mut stops = None;
        while !(stops.is_some() && self.answers.is_empty()) {
            let wakes = self.coordinator.poll_timeout().map(|(at, _)| self.clock.of_runtime(at));
            let wakes = wakes.unwrap_or_else(|| tokio::time::Instant::now() + AT_REST);
            tokio::select! {
                told = self.told.recv() => match told {
                    Some(told) => self.take_in(told),
                    None => return,
                },
                event = events.next() => match event {
                    Some(event) => self.network_event(event),
                    None => return,
                },
                () = sleep_until(wakes) => self.turn(None),
                // Whoever would say stop is gone only when this is aborted too.
                _ = stopping.changed(), if stops.is_none() => {
                    stops = Some(tokio::time::Instant::now() + drain);
                    self.answers.close();
                }
                () = sleep_until(stops.unwrap_or(wakes)), if stops.is_some() => return,
            }
            self.obey_all();
            let (now, peers) = (self.clock.now(), self.peers.count());
            self.report.publish(now, &self.coordinator, &self.known, peers);
        }
    }

    fn tell(&mut self, input: Input) {
        self.turn(Some(input));
    }

    /// Tells the coordinator something, or that time has passed, and takes what it says to it.
    fn turn(&mut self, input: Option<Input>) {
        let at = self.clock.now();
        let recorder = self.recorder.as_mut().filter(|recorder| recorder.is_on());
        let recorder = recorder.map(|recorder| (recorder, input.clone()));
        match input {
            Some(input) => self.coordinator.handle(at, input),
            None => self.coordinator.handle_timeout(at),
        }
        let before = self.commands.len();
        self.commands.extend(std::iter::from_fn(|| self.coordinator.poll_command()));
        if let Some((recorder, input)) = recorder {
            let commands = self.commands.range(before..).cloned().collect();
            recorder.turn(RecordedTurn { at, input, commands });
        }
    }

    fn take_in(&mut self, told: Told) {
        match told {
            Told::Request(request, brought) => self.request_brought(request, brought),
            Told::Job(job, end) => {
                tracing::debug!(%job, ?end, "worked");
                self.tell(Input::JobEnded { job, end });
            }
            Told::Asked(input, closed) => {
                if let Some(ask) = closed {
                    self.answers.closed(ask);
                }
                self.tell(input);
            }
            Told::Chain(news) => self.chain_news(news),
        }
    }

    fn chain_news(&mut self, news: ChainNews) {
        match news {
            ChainNews::Head { height, time_ms } => {
                self.report.head(height, time_ms);
                let produced = self.clock.of_wall_ms(time_ms);
                self.tell(Input::HeadAdvanced { height, produced });
            }
            ChainNews::Epoch { start, validators } => {
                self.peers.set_validators(validators);
                self.known.insert(start.epoch, start.clone());
                while self.known.len() > 2 {
                    self.known.pop_first();
                }
                let shards = |start: &EpochStart| -> Vec<_> {
                    start.roots.keys().map(|shard| (*shard, start.epoch)).collect()
                };
                let known = self.known.values().flat_map(shards).collect();
                self.shared.network.set_epochs(known);
                self.report.epoch(&self.known);
                self.tell(Input::EpochStarted(start));
            }
        }
    }

    fn network_event(&mut self, event: NetworkEvent) {
        match event {
            NetworkEvent::Connected(peer) => {
                let input = self.peers.connected(&peer);
                self.connected.send_replace(self.peers.all_connected());
                self.tell(input);
            }
            NetworkEvent::Disconnected(peer) => {
                if let Some(peer) = self.peers.disconnected(&peer) {
                    self.connected.send_replace(self.peers.all_connected());
                    self.report.disconnected(peer);
                    self.requests.retain(|_, outgoing| {
                        let stays = outgoing.peer != peer;
                        if !stays {
                            outgoing.task.abort();
                        }
                        stays
                    });
                    self.tell(Input::PeerDisconnected { peer });
                }
            }
            NetworkEvent::Asked { peer, question } => self.asked(&peer, question),
            NetworkEvent::Announced { author, announcement, delivery } => {
                self.announced(&author, &announcement, delivery);
            }
            NetworkEvent::HeadGossiped { head, delivery } => {
                // Where the follower is behind, this head is older than what it will ask for.
                if let Err(error) = self.heads.try_send((head, delivery)) {
                    let (_, delivery) = error.into_inner();
                    self.shared.network.judge(delivery, Judgement::Ignore);
                }
            }
            NetworkEvent::Misbehaved { peer, fault } => {
                tracing::warn!(peer = ketch_net::peer_text(&peer), ?fault, "a peer is banned");
            }
        }
    }

    /// Does everything that the coordinator says, and tells its news.
    fn obey_all(&mut self) {
        while let Some(command) = self.commands.pop_front() {
            self.obey(command);
        }
        while let Some(event) = self.coordinator.poll_event() {
            log(&event);
            self.report.event(&event, &self.known);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Request { request, peer, query } => self.ask(request, peer, query),
            Command::Cancel { request } => self.cancel(request),
            Command::Run { job, work } => self.run_work(job, work),
            Command::Discard { shard } => self.arrived.retain(|(of, _), _| *of != shard),
            Command::Ban { peer, lasting } => {
                if let Some(peer) = self.peers.id(peer) {
                    self.shared.network.ban(peer, lasting);
                }
            }
            Command::Announce(holding) => self.announce(holding),
            Command::Provide { shard, epoch } => self.shared.network.provide(shard, epoch),
            Command::StopProviding { shard, epoch } => {
                self.shared.network.stop_providing(shard, epoch);
            }
            Command::SendSummary { ask, summary } => self.answers.summary(ask, summary),
            Command::SendOutline { ask, shard, root } => self.answers.outline(ask, shard, root),
            Command::SendOutputs { ask, shard, after, newest_epoch, budget_bytes } => {
                let request = OutputsRequest { shard, after, budget_bytes, newest_epoch };
                self.answers.outputs(ask, request);
            }
            Command::SendPart { ask, shard, root, part } => {
                self.answers.part(ask, shard, root, part);
            }
            Command::End { ask, refusal, held } => self.answers.end(ask, refusal, held),
        }
    }
}

#[expect(
    clippy::cognitive_complexity,
    reason = "a flat list; what is counted is in tracing's macros"
)]
fn log(event: &Event) {
    match event {
        Event::PhaseChanged { shard, phase } => tracing::info!(%shard, ?phase, "phase"),
        Event::VerdictChanged { shard, verdict } => tracing::info!(%shard, ?verdict, "verdict"),
        Event::Pivoted { shard, epoch, root } => {
            tracing::info!(%shard, %epoch, %root, "turning to a newer state");
        }
        Event::CaughtUp { shard, height, after, blocks_left, left } => {
            tracing::info!(%shard, %height, ?after, blocks_left, ?left, "caught up");
        }
        Event::FellBehind { shard } => tracing::warn!(%shard, "fell behind"),
        Event::Boundary { shard, epoch, margin: Some(margin) } => {
            tracing::info!(%shard, %epoch, ?margin, "in time");
        }
        Event::Boundary { shard, epoch, margin: None } => {
            tracing::error!(%shard, %epoch, "late");
        }
        Event::Banned { peer, fault } => tracing::warn!(%peer, ?fault, "a liar is banned"),
        Event::SuspectingOurselves { part } => {
            tracing::error!(?part, "so much fails that our own memory or disk is suspected");
        }
        Event::CheckedOurselves { sound } => tracing::warn!(sound, "checked ourselves"),
        Event::WatchdogFired { shard } => {
            tracing::warn!(%shard, "nothing moved for long; begun anew from what is durable");
        }
        Event::Failed { shard, fault } => tracing::error!(%shard, ?fault, "own work failed"),
    }
}
