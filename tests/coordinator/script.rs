use ketch_coordinator::{Coordinator, JobId, PeerClass, ShardStatus, Verdict};

use super::*;

/// More wake-ups in one stretch of time than a coordinator that does not spin asks for.
const WAKE_UPS_MAX: usize = 100_000;

/// A coordinator, and what it has commanded and told so far.
pub(super) struct Script {
    pub(super) coordinator: Coordinator,
    pub(super) now: Instant,
    pub(super) height: u64,
    /// Asked, not cancelled, and not taken by the script yet.
    pub(super) questions: Vec<Question>,
    /// Begun, and not ended by the script yet.
    pub(super) jobs: Vec<(JobId, Work)>,
    /// Every request that was cancelled, and how many of these the driver has ended.
    pub(super) cancels: Vec<RequestId>,
    cancels_ended: usize,
    /// All other commands.
    pub(super) commands: Vec<Command>,
    pub(super) events: Vec<(Instant, Event)>,
}

/// A request that was commanded.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) request: RequestId,
    pub(super) peer: Peer,
    pub(super) query: Query,
}

impl Script {
    pub(super) fn new(config: Config) -> Self {
        Self {
            coordinator: Coordinator::new(config, 1, at(0)),
            now: at(0),
            height: 0,
            questions: Vec::new(),
            jobs: Vec::new(),
            cancels: Vec::new(),
            cancels_ended: 0,
            commands: Vec::new(),
            events: Vec::new(),
        }
    }

    /// The shard is wanted next, in epoch 3 of that many blocks, and nothing of it is held.
    pub(super) fn taking(config: Config, length: u64) -> Self {
        let mut script = Self::new(config);
        script.epoch(3, length, &[], &[S]);
        script.head(3 * length + 1);
        script.open(None, vec![]);
        script
    }

    /// The shard is tracked in epoch 3 and after, of that many blocks each, and held up to a height.
    pub(super) fn tracking(length: u64, head: u64, applied: u64) -> Self {
        let mut script = Self::new(Config::default());
        script.epoch(3, length, &[S], &[S]);
        script.head(head);
        script.open(Some(applied), vec![]);
        script
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.coordinator.handle(self.now, input);
        self.read();
    }

    fn read(&mut self) {
        while let Some(command) = self.coordinator.poll_command() {
            match command {
                Command::Request { request, peer, query } => {
                    self.questions.push(Question { request, peer, query });
                }
                Command::Run { job, work } => self.jobs.push((job, work)),
                Command::Cancel { request } => {
                    self.questions.retain(|question| question.request != request);
                    self.cancels.push(request);
                }
                other => self.commands.push(other),
            }
        }
        while let Some(event) = self.coordinator.poll_event() {
            self.events.push((self.now, event));
        }
    }

    /// Lets time pass, waking the coordinator whenever it asks for it. The driver stops meanwhile
    /// what was cancelled.
    pub(super) fn run_to(&mut self, millis: u64) {
        for _ in 0..WAKE_UPS_MAX {
            self.end_cancelled();
            let wake_up = self.coordinator.poll_timeout().map(|(wake_up, _)| wake_up);
            let next = wake_up.filter(|wake_up| *wake_up < at(millis));
            self.now = next.unwrap_or(at(millis)).max(self.now);
            self.coordinator.handle_timeout(self.now);
            self.read();
            if next.is_none() {
                return self.end_cancelled();
            }
        }
        panic!("it is woken without end before {millis} ms");
    }

    fn end_cancelled(&mut self) {
        while let Some(request) = self.cancels.get(self.cancels_ended).copied() {
            self.cancels_ended += 1;
            let end = RequestEnd::Failed(Failure::Cancelled);
            self.tell(Input::RequestEnded { request, end });
        }
    }

    pub(super) fn millis(&self) -> u64 {
        self.now.since_origin().as_millis() as u64
    }

    pub(super) fn wait(&mut self, millis: u64) {
        self.run_to(self.millis() + millis);
    }

    pub(super) fn head(&mut self, height: u64) {
        self.height = height;
        self.tell(Input::HeadAdvanced { height: Height(height), produced: self.now });
    }

    /// A second passes, and a block comes.
    pub(super) fn block(&mut self) {
        self.wait(1_000);
        self.head(self.height + 1);
    }

    pub(super) fn epoch(&mut self, epoch: u64, length: u64, tracked: &[ShardId], next: &[ShardId]) {
        self.tell(Input::EpochStarted(epoch_start(epoch, length, tracked, next)));
    }

    pub(super) fn connect(&mut self, peer: u32) {
        let affinity = u64::from(peer) * 77;
        self.tell(Input::PeerConnected { peer: Peer(peer), class: PeerClass::Validator, affinity });
    }

    /// A peer comes and says what it holds of an epoch's start.
    pub(super) fn connect_holder(&mut self, peer: u32, epoch: u64, held: &PartSet) {
        self.connect(peer);
        self.summarize(|_| holds(epoch, held.clone()));
    }

    /// Takes the questions of a kind out of those that are not answered yet.
    pub(super) fn take(&mut self, kind: impl Fn(&Query) -> bool) -> Vec<Question> {
        self.questions.extract_if(.., |question| kind(&question.query)).collect()
    }

    pub(super) fn end(&mut self, question: &Question, end: RequestEnd) {
        self.tell(Input::RequestEnded { request: question.request, end });
    }

    pub(super) fn refuse(&mut self, question: &Question, refusal: Refusal) {
        self.end(question, RequestEnd::Refused(refusal));
    }

    /// Answers every question for a summary.
    pub(super) fn summarize(&mut self, of: impl Fn(Peer) -> Summary) {
        for question in self.take(|query| matches!(query, Query::Summary(_))) {
            self.end(&question, RequestEnd::Summary(of(question.peer)));
        }
    }

    /// Answers every question for outputs with those of all blocks.
    pub(super) fn give_outputs(&mut self) {
        for question in self.take(is_outputs) {
            let through = Height(self.height);
            self.end(&question, RequestEnd::Outputs { through, bytes: 10 });
        }
    }

    /// Sends all that a question for parts wants, by a peer that holds some parts.
    pub(super) fn give_parts(&mut self, question: &Question, held: &PartSet) {
        let Query::Parts { wanted, .. } = &question.query else { panic!("{question:?}") };
        for part in wanted.iter() {
            self.tell(Input::PartVerified { request: question.request, part });
        }
        self.end(question, RequestEnd::Parts { held: held.clone(), refusal: None });
    }

    /// Ends the jobs that `end` has an end for, and counts them.
    pub(super) fn finish(&mut self, end: impl Fn(&Work) -> Option<JobEnd>) -> usize {
        let mut count = 0;
        for (job, work) in std::mem::take(&mut self.jobs) {
            if let Some(end) = end(&work) {
                self.tell(Input::JobEnded { job, end });
                count += 1;
            } else {
                self.jobs.push((job, work));
            }
        }
        count
    }

    /// The store opens, with a head or without, and can serve these starts.
    pub(super) fn open(&mut self, head: Option<u64>, starts: Vec<(Epoch, PartSizes)>) {
        let head = head.map(Height);
        let opened = JobEnd::Opened { head, outputs_after: head, starts };
        let opens = |work: &Work| matches!(work, Work::Open { .. });
        assert_eq!(self.finish(|work| opens(work).then(|| opened.clone())), 1);
    }

    pub(super) fn search(&mut self) {
        self.finish(|work| matches!(work, Work::Search { .. }).then_some(JobEnd::Searched));
    }

    pub(super) fn apply(&mut self) {
        self.finish(|work| matches!(work, Work::Apply { .. }).then_some(JobEnd::Applied));
    }

    pub(super) fn replay(&mut self) {
        self.finish(|work| match work {
            Work::Replay { through, .. } => {
                Some(JobEnd::Replayed { through: *through, starts: vec![] })
            }
            _ => None,
        });
    }

    /// The store turns out to hold some parts of the target.
    pub(super) fn reconcile(&mut self, held: &PartSet) -> usize {
        let reconciled = JobEnd::Reconciled { held: held.clone() };
        self.finish(|work| matches!(work, Work::Reconcile { .. }).then(|| reconciled.clone()))
    }

    /// Brings the outline, after which the store turns out to hold some parts of the target.
    pub(super) fn download(&mut self, held: &PartSet) {
        let (epoch, _) = self.status().target.unwrap();
        let asked = self.take(is_outline);
        self.end(&asked[0], RequestEnd::Manifest(sizes(S, epoch.0, held.count())));
        assert_eq!(self.reconcile(held), 1, "{:?}", self.status());
        assert_eq!(self.status().phase, Phase::Downloading);
    }

    /// Every question has the true answer, of a state in so many parts, and all work is done.
    pub(super) fn all_goes_well(&mut self, count: u32) {
        let (all, height) = (PartSet::full(count), self.height);
        let (epoch, _) = self.status().target.unwrap();
        self.summarize(|_| tracks(epoch.0, &all, 1, height));
        for question in self.take(is_outline) {
            self.end(&question, RequestEnd::Manifest(sizes(S, epoch.0, count)));
        }
        for question in self.take(is_parts) {
            self.give_parts(&question, &all);
        }
        self.give_outputs();
        self.finish(|work| Some(done(work, count)));
    }

    pub(super) fn status(&self) -> ShardStatus {
        self.coordinator.shards().find(|status| status.shard == S).unwrap()
    }

    pub(super) fn applied(&self) -> u64 {
        self.status().applied.unwrap().0
    }

    /// Whether such work is under way.
    pub(super) fn runs(&self, kind: impl Fn(&Work) -> bool) -> bool {
        self.jobs.iter().any(|(_, work)| kind(work))
    }

    pub(super) fn is_dropping(&self) -> bool {
        self.runs(|work| matches!(work, Work::DropShard { shard: S }))
    }

    pub(super) fn is_opening(&self) -> bool {
        self.runs(|work| matches!(work, Work::Open { shard: S }))
    }

    pub(super) fn has_told(&self, news: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|(_, event)| news(event))
    }

    /// Every verdict that was told, and when.
    pub(super) fn verdicts(&self) -> Vec<(Instant, Verdict)> {
        let told = self.events.iter().filter_map(|(at, event)| match event {
            Event::VerdictChanged { shard: S, verdict } => Some((*at, *verdict)),
            _ => None,
        });
        told.collect()
    }

    /// Whether it was commanded to forget what was fetched and not applied.
    pub(super) fn has_discarded(&self) -> bool {
        self.commands.iter().any(|command| matches!(command, Command::Discard { shard: S }))
    }
}
