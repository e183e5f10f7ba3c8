use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use ketch_coordinator::{
    Command, Config, Event, Failure, Fault, Input, JobEnd, JobId, Peer, Phase, Query, RequestEnd,
    RequestId, Timer, Verdict, Work,
};
use ketch_types::{Chance, Height, Instant, PartIndex, PartSet, ShardId};
use ketch_wire::{Refusal, Summary};

use super::{Planted, holding_of};
use crate::policy::{Policy, PolicyKind};

/// What nobody but the saboteur asked for has such a number.
const OURS: u64 = 1 << 63;
/// How late timers go off that go off late.
const LATE: Duration = Duration::from_secs(5);
/// One in so many is lost, where not all are.
const ONE_IN: usize = 10;

/// A coordinator with a bug: what goes in and what comes out is another.
pub(crate) struct Saboteur {
    policy: Policy,
    bug: Planted,
    chance: Chance,
    commands: VecDeque<Command>,
    events: VecDeque<Event>,
    peers: BTreeSet<Peer>,
    banned: Option<Peer>,
    told: u64,
}

impl Saboteur {
    pub(crate) fn new(
        bug: Planted,
        kind: PolicyKind,
        config: Config,
        seed: u64,
        now: Instant,
    ) -> Self {
        Self {
            policy: Policy::new(kind, bug.config(config), seed, bug.clock(now)),
            bug,
            chance: Chance::new(seed ^ 0x5ab0_7e42),
            commands: VecDeque::new(),
            events: VecDeque::new(),
            peers: BTreeSet::new(),
            banned: None,
            told: 0,
        }
    }

    /// The coordinator without the bug.
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input) {
        let now = self.bug.clock(now);
        if let Some(input) = self.input(input) {
            self.policy.handle(now, input);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.policy.handle_timeout(self.bug.clock(now));
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        let (at, timer) = self.policy.poll_timeout()?;
        match self.bug {
            Planted::NeverWakes => None,
            Planted::WakesLate => Some((at + LATE, timer)),
            Planted::SlowClock => Some((at + at.since_origin(), timer)),
            _ => Some((at, timer)),
        }
    }

    /// Whether something that happens now and then happens now.
    fn now_and_then(&mut self) -> bool {
        self.chance.one_in(ONE_IN)
    }

    /// Whether this is one of every two.
    fn every_other(&mut self) -> bool {
        self.told += 1;
        self.told.is_multiple_of(2)
    }

    fn input(&mut self, input: Input) -> Option<Input> {
        self.note(&input);
        match (self.bug, input) {
            (
                _,
                Input::RequestProgressed { request: RequestId(OURS..), .. }
                | Input::PartVerified { request: RequestId(OURS..), .. }
                | Input::RequestEnded { request: RequestId(OURS..), .. }
                | Input::JobEnded { job: JobId(OURS..), .. },
            )
            | (Planted::HearsNothing, Input::HoldingAnnounced { .. })
            | (Planted::LosesAskEnds, Input::AskClosed { .. })
            | (Planted::LosesPartSent, Input::PartSent { .. })
            | (Planted::LosesDisconnects, Input::PeerDisconnected { .. })
            | (Planted::LosesDamage, Input::DamageFound { .. }) => None,
            (Planted::LosesRequestEnds, Input::RequestEnded { .. })
            | (Planted::LosesJobEnds, Input::JobEnded { .. })
                if self.now_and_then() =>
            {
                None
            }
            (Planted::LosesHeads, Input::HeadAdvanced { .. })
            | (Planted::LosesEpochs, Input::EpochStarted(_))
                if self.every_other() =>
            {
                None
            }
            (_, Input::RequestEnded { request, end }) => {
                Some(Input::RequestEnded { request, end: self.request_end(end) })
            }
            (_, Input::JobEnded { job, end }) => {
                Some(Input::JobEnded { job, end: self.job_end(end) })
            }
            (_, input) => Some(input),
        }
    }

    /// What the saboteur knows itself.
    fn note(&mut self, input: &Input) {
        match input {
            Input::PeerConnected { peer, .. } => {
                self.peers.insert(*peer);
            }
            Input::PeerDisconnected { peer } => {
                self.peers.remove(peer);
            }
            _ => {}
        }
    }

    fn request_end(&self, end: RequestEnd) -> RequestEnd {
        match (self.bug, end) {
            (
                Planted::BansTheBusy,
                RequestEnd::Refused(Refusal::Busy { .. })
                | RequestEnd::Parts { refusal: Some(Refusal::Busy { .. }), .. },
            )
            | (
                Planted::BansTheEmpty,
                RequestEnd::Refused(Refusal::NotHeld | Refusal::NotRetained)
                | RequestEnd::Parts {
                    refusal: Some(Refusal::NotHeld | Refusal::NotRetained), ..
                },
            ) => RequestEnd::Faulty(Fault::Message),
            (Planted::ForgivesLies, RequestEnd::Faulty(_)) => {
                RequestEnd::Failed(Failure::Disconnected)
            }
            (_, end) => end,
        }
    }

    fn job_end(&self, end: JobEnd) -> JobEnd {
        match (self.bug, end) {
            (Planted::FindsAll, JobEnd::Reconciled { held }) => {
                JobEnd::Reconciled { held: PartSet::full(held.count()) }
            }
            (Planted::FindsNothing, JobEnd::Reconciled { held }) => {
                JobEnd::Reconciled { held: PartSet::empty(held.count()) }
            }
            (Planted::OpensAhead, JobEnd::Opened { head, outputs_after, starts }) => {
                JobEnd::Opened { head: head.map(Height::next), outputs_after, starts }
            }
            (Planted::ForgetsStarts, JobEnd::Replayed { through, .. }) => {
                JobEnd::Replayed { through, starts: vec![] }
            }
            (Planted::MakesNothing, JobEnd::Generated { made }) => {
                JobEnd::Generated { made: PartSet::empty(made.count()) }
            }
            (_, end) => end,
        }
    }

    pub(crate) fn poll_command(&mut self) -> Option<Command> {
        loop {
            if let Some(command) = self.commands.pop_front() {
                return Some(command);
            }
            let command = self.policy.poll_command()?;
            let command = self.command(command);
            self.commands.extend(command);
        }
    }

    fn command(&mut self, command: Command) -> Option<Command> {
        match (self.bug, command) {
            (Planted::AnnouncesNothing, Command::Announce(_))
            | (Planted::ProvidesNothing, Command::Provide { .. })
            | (Planted::ProvidesForEver, Command::StopProviding { .. })
            | (Planted::ForgetsBans, Command::Ban { .. })
            | (Planted::CancelsNothing, Command::Cancel { .. })
            | (Planted::DiscardsNothing, Command::Discard { .. }) => None,
            (Planted::WithdrawsNothing, Command::Announce(holding)) if holding.is_withdrawal() => {
                None
            }
            (Planted::AnnouncesTooMuch, Command::Announce(holding)) if !holding.is_withdrawal() => {
                let mut held = holding.held().clone();
                let missing = held.complement().iter().next();
                missing.into_iter().for_each(|part| {
                    held.insert(part);
                });
                Some(Command::Announce(holding_of(&holding, held)))
            }
            (Planted::SummaryTooMuch, Command::SendSummary { ask, summary }) => {
                let holdings = summary.holdings().iter();
                let full = holdings.map(|h| holding_of(h, PartSet::full(h.held().count())));
                let summary = Summary::fitting(full.collect(), summary.following().to_vec());
                Some(Command::SendSummary { ask, summary })
            }
            (Planted::AsksTheBanned, Command::Ban { peer, lasting }) => {
                self.banned = Some(peer);
                Some(Command::Ban { peer, lasting })
            }
            (Planted::AsksTheBanned, Command::Request { request, peer, query }) => {
                let peer = self.banned.unwrap_or(peer);
                Some(Command::Request { request, peer, query })
            }
            (Planted::AsksTwice, Command::Request { request, peer, query }) => {
                self.ask_another(request, peer, &query);
                Some(Command::Request { request, peer, query })
            }
            (Planted::WritesTwice, Command::Run { job, work }) => {
                self.reconcile_beside(job, &work);
                Some(Command::Run { job, work })
            }
            (Planted::SendsAnother, Command::SendPart { ask, shard, root, part }) => {
                let part = if part.0 > 0 { PartIndex(part.0 - 1) } else { part };
                Some(Command::SendPart { ask, shard, root, part })
            }
            (Planted::EndsWithoutReason, Command::End { ask, held, .. }) => {
                Some(Command::End { ask, refusal: None, held })
            }
            (_, command) => Some(command),
        }
    }

    fn ask_another(&mut self, request: RequestId, peer: Peer, query: &Query) {
        let mut others = self.peers.iter().filter(|other| **other != peer);
        if let (Query::Parts { .. }, Some(other)) = (query, others.next()) {
            let (request, query) = (RequestId(request.0 | OURS), query.clone());
            self.commands.push_back(Command::Request { request, peer: *other, query });
        }
    }

    fn reconcile_beside(&mut self, job: JobId, work: &Work) {
        if let Work::Apply { shard, root, .. } = work {
            let work = Work::Reconcile { shard: *shard, root: *root, distrust: false };
            self.commands.push_back(Command::Run { job: JobId(job.0 | OURS), work });
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let event = self.policy.poll_event()?;
            self.event(event);
        }
    }

    fn event(&mut self, event: Event) {
        match (self.bug, event) {
            (Planted::TellsNoBoundary, Event::Boundary { .. }) => {}
            (
                Planted::CaughtUpAhead,
                Event::CaughtUp { shard, height, after, blocks_left, left },
            ) => {
                let height = height.next();
                self.events.push_back(Event::CaughtUp { shard, height, after, blocks_left, left });
            }
            (
                Planted::CaughtUpEarly,
                Event::PhaseChanged { shard, phase: phase @ Phase::Replaying },
            ) => {
                self.events.push_back(Event::PhaseChanged { shard, phase });
                let height = self.policy.status(shard).and_then(|status| status.applied);
                let (after, left) = (Duration::ZERO, Duration::ZERO);
                self.events.extend(height.map(|height| Event::CaughtUp {
                    shard,
                    height,
                    after,
                    blocks_left: 0,
                    left,
                }));
            }
            (Planted::AlwaysOnTime, Event::VerdictChanged { shard, .. }) => {
                self.events.push_back(on_time(shard));
            }
            (Planted::TakesWarningsBack, event @ Event::VerdictChanged { shard, .. }) => {
                self.events.extend([event, on_time(shard)]);
            }
            (_, event) => self.events.push_back(event),
        }
    }
}

fn on_time(shard: ShardId) -> Event {
    Event::VerdictChanged { shard, verdict: Verdict::OnTime { margin: Duration::from_secs(1) } }
}
