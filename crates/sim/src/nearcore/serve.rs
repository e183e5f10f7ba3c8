//! Parts for others: made when they are asked for, few at a time, and not too many in a while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ketch_coordinator::{Ask, Command, JobEnd, JobId, Peer, PeerQuery, Work};
use ketch_types::{Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{Following, OutputsRequest, PartsRequest, Refusal, Summary};

use super::Nearcore;
use super::limits::{ANSWERS_PER_PERIOD, GENERATIONS_MAX, THROTTLE_PERIOD};
use super::shard::Shard;

/// What others ask for.
#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    /// Parts that nobody works on yet, the oldest first.
    waiting: VecDeque<(Ask, PartIndex)>,
    asks: BTreeMap<Ask, Served>,
    /// Two that ask for the same part may both have it made.
    making: BTreeMap<JobId, (Ask, StateRoot, PartIndex)>,
    /// Parts that were made in this epoch.
    made: BTreeSet<(StateRoot, PartIndex)>,
    /// When the newest answers were begun.
    answered: VecDeque<Instant>,
}

/// Parts that one peer asked for.
#[derive(Clone, Debug)]
struct Served {
    peer: Peer,
    shard: ShardId,
    root: StateRoot,
    /// Not sent yet.
    left: PartSet,
}

impl Server {
    pub(super) fn close(&mut self, ask: Ask) {
        self.asks.remove(&ask);
        self.waiting.retain(|(of, _)| *of != ask);
    }

    pub(super) fn disconnect(&mut self, peer: Peer) {
        let left = self.asks.iter().filter(|(_, served)| served.peer == peer);
        let left: Vec<_> = left.map(|(ask, _)| *ask).collect();
        left.into_iter().for_each(|ask| self.close(ask));
    }

    /// Forgets all parts that were made.
    pub(super) fn wipe(&mut self) {
        self.made.clear();
    }

    /// Whether one more answer may be begun now, which it is then.
    fn admits(&mut self, now: Instant) -> bool {
        while self.answered.front().is_some_and(|begun| now - *begun >= THROTTLE_PERIOD) {
            self.answered.pop_front();
        }
        let admitted = self.answered.len() < ANSWERS_PER_PERIOD;
        if admitted {
            self.answered.push_back(now);
        }
        admitted
    }
}

impl Nearcore {
    pub(super) fn asked(&mut self, ask: Ask, peer: Peer, query: PeerQuery) {
        match query {
            PeerQuery::Summary(shards) => {
                let summary = self.summary(&shards);
                self.command(Command::SendSummary { ask, summary });
            }
            _ if !self.serves => self.refuse(ask, Refusal::NotHeld),
            PeerQuery::Outline { root, cut } => match self.served(root, cut) {
                Some((shard, _)) => self.command(Command::SendOutline { ask, shard, root }),
                None => self.refuse(ask, Refusal::NotHeld),
            },
            PeerQuery::Parts(request) => self.parts_asked(ask, peer, &request),
            PeerQuery::Outputs(request) => self.outputs_asked(ask, request),
        }
    }

    fn refuse(&mut self, ask: Ask, refusal: Refusal) {
        self.command(Command::End { ask, refusal: Some(refusal), held: None });
    }

    /// What is held whole of some shards.
    fn summary(&self, shards: &[ShardId]) -> Summary {
        let (mut holdings, mut following) = (Vec::new(), Vec::new());
        let shards = shards.iter().filter_map(|id| self.shards.get(id));
        for shard in shards.filter(|shard| shard.doom.is_none() && self.serves) {
            holdings.extend(shard.announced.iter().filter_map(|epoch| shard.holding(*epoch)));
            let outputs = self.outputs_of(shard);
            following.extend(outputs.and_then(|(f, l)| Following::new(shard.id, f, l).ok()));
        }
        Summary::fitting(holdings, following)
    }

    /// The heights of the first and the last chunk whose outputs are kept.
    fn outputs_of(&self, shard: &Shard) -> Option<(Height, Height)> {
        let after = shard.outputs_after?.max(self.chain.oldest_kept());
        let last = shard.applied.filter(|last| *last > after)?;
        Some((after.next(), last))
    }

    /// The shard of a state that is held whole, and how many parts it has.
    fn served(&self, root: StateRoot, cut: u32) -> Option<(ShardId, u32)> {
        let shards = self.shards.values().filter(|shard| shard.doom.is_none());
        let mut starts = shards.flat_map(|s| s.starts.values().map(|start| (s.id, start)));
        let found = starts.find(|(_, start)| start.root() == root && start.cut() == cut);
        found.map(|(shard, start)| (shard, start.count()))
    }

    fn parts_asked(&mut self, ask: Ask, peer: Peer, request: &PartsRequest) {
        let (root, wanted) = (request.root(), request.wanted());
        let held = self.served(root, request.cut());
        match held.filter(|(_, count)| *count == wanted.count()) {
            Some((shard, _)) => {
                self.server.waiting.extend(wanted.iter().map(|part| (ask, part)));
                let left = wanted.clone();
                self.server.asks.insert(ask, Served { peer, shard, root, left });
            }
            None => self.refuse(ask, Refusal::NotHeld),
        }
    }

    fn outputs_asked(&mut self, ask: Ask, request: OutputsRequest) {
        let OutputsRequest { shard, after, newest_epoch, budget_bytes } = request;
        let known = self.shards.get(&shard).filter(|shard| shard.doom.is_none());
        match known.and_then(|shard| self.outputs_of(shard)) {
            Some((first, _)) if after.next() < first => self.refuse(ask, Refusal::NotRetained),
            Some((_, last)) if after < last => {
                let send = Command::SendOutputs { ask, shard, after, newest_epoch, budget_bytes };
                self.command(send);
            }
            _ => self.refuse(ask, Refusal::NotHeld),
        }
    }

    /// Answers in the order of asking, as far as there are threads. What is too much is not answered
    /// at all: its asker learns of it when it has waited long enough.
    pub(super) fn serve(&mut self) {
        while self.server.making.len() < GENERATIONS_MAX {
            let Some((ask, part)) = self.server.waiting.pop_front() else { return };
            let Some((shard, root, count)) = self.still_served(ask) else { continue };
            if !self.server.admits(self.now) {
                self.server.close(ask);
            } else if self.server.made.contains(&(root, part)) {
                self.command(Command::SendPart { ask, shard, root, part });
            } else {
                let mut parts = PartSet::empty(count);
                parts.insert(part);
                let job = self.run(Work::Generate { shard, root, parts, awaited: true });
                self.server.making.insert(job, (ask, root, part));
            }
        }
    }

    /// The state of which an ask is and its number of parts, if it is still held; otherwise the ask
    /// is over.
    fn still_served(&mut self, ask: Ask) -> Option<(ShardId, StateRoot, u32)> {
        let served = self.server.asks.get(&ask)?;
        let (id, root, count) = (served.shard, served.root, served.left.count());
        let shard = self.shards.get(&id).filter(|shard| shard.doom.is_none());
        if shard.is_some_and(|shard| shard.starts.values().any(|start| start.root() == root)) {
            return Some((id, root, count));
        }
        self.server.close(ask);
        self.refuse(ask, Refusal::NotHeld);
        None
    }

    /// A part was made, or could not be.
    pub(super) fn generated(&mut self, job: JobId, end: &JobEnd) {
        let Some((ask, root, part)) = self.server.making.remove(&job) else { return };
        let made = matches!(end, JobEnd::Generated { made } if made.contains(part));
        if made {
            self.server.made.insert((root, part));
        }
        let Some((shard, root, _)) = self.still_served(ask) else { return };
        if made {
            self.command(Command::SendPart { ask, shard, root, part });
        } else {
            self.server.close(ask);
            self.refuse(ask, Refusal::NotHeld);
        }
    }

    pub(super) fn part_sent(&mut self, ask: Ask, part: PartIndex) {
        let Some(served) = self.server.asks.get_mut(&ask) else { return };
        served.left.remove(part);
        if served.left.is_empty() {
            let held = Some(PartSet::full(served.left.count()));
            self.server.close(ask);
            self.command(Command::End { ask, refusal: None, held });
        }
    }

    pub(super) fn part_not_cached(&mut self, ask: Ask, part: PartIndex) {
        if let Some((_, root, _)) = self.still_served(ask) {
            self.server.made.remove(&(root, part));
            self.server.waiting.push_back((ask, part));
        }
    }
}

#[cfg(test)]
mod tests {
    use ketch_coordinator::{EpochStart, Input, PartSizes};
    use ketch_types::Epoch;

    use super::*;

    const S: ShardId = ShardId(7);
    const PARTS: u32 = 50;

    fn root(epoch: u64) -> StateRoot {
        StateRoot::new([u8::try_from(epoch).unwrap(); 32])
    }

    fn begin(node: &mut Nearcore, epoch: u64) {
        let start = EpochStart {
            epoch: Epoch(epoch),
            first_height: Height(epoch * 100 + 1),
            length: 100,
            cut: 9,
            tracked: vec![S],
            tracked_next: vec![S],
            roots: [(S, root(epoch))].into(),
            turns: [].into(),
        };
        node.handle(Instant::ORIGIN, Input::EpochStarted(start));
    }

    /// A node that holds the first epoch's start.
    fn holder() -> Nearcore {
        let mut node = Nearcore::new(true, 1, Instant::ORIGIN);
        begin(&mut node, 0);
        let sizes = PartSizes::new(root(0), 9, vec![9; PARTS as usize]);
        let (head, starts) = (Some(Height(0)), vec![(Epoch(0), sizes)]);
        let end = JobEnd::Opened { head, outputs_after: head, starts };
        node.handle(Instant::ORIGIN, Input::JobEnded { job: JobId(0), end });
        while node.poll_command().is_some() {}
        node
    }

    fn ask(node: &mut Nearcore, at: Instant, ask: u64, part: u32) {
        let mut wanted = PartSet::empty(PARTS);
        wanted.insert(PartIndex(part));
        let query = PeerQuery::Parts(PartsRequest::new(root(0), 9, wanted, u64::MAX).unwrap());
        node.handle(at, Input::Asked { ask: Ask(ask), peer: Peer(1), query });
    }

    fn made(node: &mut Nearcore, at: Instant, job: JobId, part: u32) {
        let mut made = PartSet::empty(PARTS);
        made.insert(PartIndex(part));
        node.handle(at, Input::JobEnded { job, end: JobEnd::Generated { made } });
    }

    /// The jobs that were begun, and the asks that parts were sent for or that were refused.
    fn done(node: &mut Nearcore) -> (Vec<JobId>, Vec<u64>, Vec<u64>) {
        let (mut jobs, mut sent, mut refused) = (vec![], vec![], vec![]);
        while let Some(command) = node.poll_command() {
            match command {
                Command::Run { job, work: Work::Generate { .. } } => jobs.push(job),
                Command::SendPart { ask, .. } => sent.push(ask.0),
                Command::End { ask, refusal: Some(_), .. } => refused.push(ask.0),
                _ => {}
            }
        }
        (jobs, sent, refused)
    }

    #[test]
    fn two_that_ask_for_the_same_part_have_it_made_twice_and_the_third_has_it_at_once() {
        let mut node = holder();
        ask(&mut node, Instant::ORIGIN, 0, 5);
        ask(&mut node, Instant::ORIGIN, 1, 5);
        let (jobs, sent, _) = done(&mut node);
        assert_eq!((jobs.len(), sent.len()), (2, 0));
        jobs.into_iter().for_each(|job| made(&mut node, Instant::ORIGIN, job, 5));
        ask(&mut node, Instant::ORIGIN, 2, 5);
        assert_eq!(done(&mut node), (vec![], vec![0, 1, 2], vec![]));
    }

    #[test]
    fn four_parts_are_made_at_once_and_what_is_past_thirty_in_a_while_gets_no_answer() {
        let mut node = holder();
        let (mut jobs, mut sent) = (Vec::new(), Vec::new());
        for part in 0..40 {
            ask(&mut node, Instant::ORIGIN, part.into(), part);
        }
        for part in 0..40 {
            let (more, parts, refused) = done(&mut node);
            assert!(refused.is_empty());
            jobs.extend(more);
            sent.extend(parts);
            assert!(jobs.len() <= 4);
            if jobs.is_empty() {
                break;
            }
            made(&mut node, Instant::ORIGIN, jobs.remove(0), part);
        }
        assert_eq!(sent, (0..30).collect::<Vec<_>>());
        let later = Instant::ORIGIN + THROTTLE_PERIOD;
        ask(&mut node, later, 40, 0);
        assert_eq!(done(&mut node), (vec![], vec![40], vec![]));
    }

    #[test]
    fn at_the_boundary_the_old_state_is_refused_and_what_was_made_is_forgotten() {
        let mut node = holder();
        ask(&mut node, Instant::ORIGIN, 0, 5);
        let (jobs, ..) = done(&mut node);
        begin(&mut node, 1);
        jobs.into_iter().for_each(|job| made(&mut node, Instant::ORIGIN, job, 5));
        ask(&mut node, Instant::ORIGIN, 1, 6);
        assert_eq!(done(&mut node), (vec![], vec![], vec![0, 1]));
    }
}
