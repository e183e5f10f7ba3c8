//! What a driver makes of what arrives, and what work does to its disk.

use std::sync::Arc;

use ketch_coordinator::{
    Fault, Input, JobEnd, JobId, OurFault, PeerQuery, Query, RequestEnd, RequestId, Work,
};
use ketch_types::{Epoch, Height, PartIndex, ShardId, StateRoot};
use ketch_wire::{OutlineRequest, OutputsRequest, PartsRequest};

use crate::check::Breach;
use crate::content::{Chunk, Outline, Parcel};
use crate::lie::{Conduct, Liar, Reply};
use crate::message::{Answer, Message};
use crate::node::{Incoming, NodeId};
use crate::planted::Planted;
use crate::trouble::ApplyCut;
use crate::world::{Happening, World};

/// Chunks of an answer.
type Chunks = Vec<(Height, Chunk)>;

impl World {
    pub(crate) fn arrive(&mut self, from: NodeId, to: NodeId, message: Message) {
        if let Message::Announce { author, sequence, holding } = message {
            // Gossip comes by way of others.
            return self.hear(to, author, sequence, holding);
        }
        if self.weather.is_blocked(from, to) {
            let era = self.era(from, to);
            return self.clogged.push((from, to, era, message));
        }
        if !self.linked(from, to) {
            return;
        }
        let lies = self.nodes.get(to).is_some_and(|node| !node.setup.is_honest());
        match message {
            Message::Ask { request, query } if lies => self.lie(to, from, request, &query),
            Message::Ask { request, query } => self.tell_asked(to, from, request, query),
            Message::Cancel { request } => self.cancelled(to, from, request),
            Message::Answer { request, answer } => self.answered(to, from, request, answer),
            Message::Announce { .. } => {}
        }
    }

    /// A question as it comes out of its bytes: what does not survive them is never asked.
    pub(crate) fn peer_query(&self, query: Query) -> Option<PeerQuery> {
        Some(match query {
            Query::Summary(shards) => PeerQuery::Summary(shards),
            Query::Outline { root, cut, .. } => {
                let bytes = OutlineRequest { root, cut }.encode();
                let OutlineRequest { root, cut } = OutlineRequest::decode(&bytes).ok()?;
                PeerQuery::Outline { root, cut }
            }
            Query::Parts { root, wanted, .. } => {
                let cut = self.chain.setup().cut;
                let request = PartsRequest::new(root, cut, wanted, u64::MAX).ok()?;
                PeerQuery::Parts(PartsRequest::decode(&request.encode()).ok()?)
            }
            Query::Outputs { shard, after, budget_bytes } => {
                let newest_epoch = Epoch(u64::MAX);
                let request = OutputsRequest { shard, after, budget_bytes, newest_epoch };
                PeerQuery::Outputs(OutputsRequest::decode(&request.encode()).ok()?)
            }
        })
    }

    fn lie(&mut self, liar: NodeId, to: NodeId, request: RequestId, query: &Query) {
        let lie = self.nodes.get(liar).and_then(|node| match node.setup.conduct {
            Conduct::Lies(lie) => Some(lie),
            Conduct::Honest | Conduct::Sequencer | Conduct::Absent => None,
        });
        if let Some(lie) = lie {
            self.ledger.fired(lie.name());
        }
        let patience = self
            .nodes
            .get(to)
            .map_or_else(Default::default, |node| node.setup.config.stall_timeout);
        let (chain, head, chance) = (&self.chain, self.head, &mut self.chance);
        let reply = Liar { lie, chain, head, chance, patience }.reply(query);
        let (answers, hangup) = match reply {
            Reply::Answers(answers) => (answers, false),
            Reply::Hangup(answers) => (answers, true),
        };
        let delay = self.nodes.get(liar).map_or_else(Default::default, |n| n.setup.speed.delay);
        let last = answers.last().map_or(delay, |(after, _)| *after + delay);
        let era = self.era(liar, to);
        for (after, answer) in answers {
            let to = Incoming { peer: to, request };
            self.after(after, Happening::Say { from: liar, to, era, answer });
        }
        if hangup {
            self.after(last + delay, Happening::Hangup(liar, to));
        }
    }

    /// What those who lie tell a node without being asked.
    pub(crate) fn gossip_lies(&mut self, to: NodeId) {
        let shards = self.all_shards();
        for liar in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(liar).filter(|_| self.linked(liar, to)) else {
                continue;
            };
            let Conduct::Lies(lie) = node.setup.conduct else { continue };
            let (delay, patience) = (node.setup.speed.delay, std::time::Duration::ZERO);
            let (chain, head, chance) = (&self.chain, self.head, &mut self.chance);
            let claims = Liar { lie: Some(lie), chain, head, chance, patience }.claim(&shards);
            for holding in claims.holdings() {
                let sequence = self.head.0 + 1;
                let (author, holding) = (self.peer_of(liar), holding.clone());
                let message = Message::Announce { author, sequence, holding };
                self.post(self.now + delay, liar, to, message);
            }
        }
    }

    fn cancelled(&mut self, id: NodeId, peer: NodeId, request: RequestId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let of = |incoming: &Incoming| incoming.peer == peer && incoming.request == request;
        let ask = node.memory.asks.iter().find(|(_, incoming)| of(incoming)).map(|(ask, _)| *ask);
        if let Some(ask) = ask {
            node.memory.asks.remove(&ask);
            self.abort_request(peer, request);
            self.tell_now(id, Input::AskClosed { ask });
        }
    }

    fn answered(&mut self, id: NodeId, from: NodeId, request: RequestId, answer: Answer) {
        let peer = self.peer_of(from);
        let Some(node) = self.nodes.get(id) else { return };
        let Some(outgoing) = node.memory.requests.get(&request).filter(|o| o.peer == peer) else {
            return;
        };
        if matches!(answer, Answer::End { .. }) && !node.setup.defences.ends {
            return;
        }
        match (outgoing.query.clone(), answer) {
            (Query::Parts { shard, root, .. }, Answer::Part { index, parcel }) => {
                self.part_came(id, request, (shard, root), index, &parcel);
            }
            (query, Answer::Flow { part, bytes, of }) => {
                let manifest = match &query {
                    Query::Parts { root, .. } => node.memory.manifests.get(root),
                    _ => None,
                };
                // As much of the part as is here of what it is packed into.
                let whole = manifest.zip(part).map_or(0, |(start, part)| start.sizes.bytes(part));
                let unpacked = whole * bytes / of.max(1);
                self.tell_now(id, Input::RequestProgressed { request, bytes: unpacked });
            }
            (query, answer) => {
                let end = self.end_of(id, &query, answer);
                self.end_request(id, request, end);
            }
        }
    }

    fn end_request(&mut self, id: NodeId, request: RequestId, end: RequestEnd) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let asked = node.memory.requests.remove(&request).map(|outgoing| outgoing.peer);
        let end = match end {
            // The control without blame: a lie is taken for bad luck.
            RequestEnd::Faulty(_) if !node.setup.defences.blame => {
                RequestEnd::Failed(ketch_coordinator::Failure::Disconnected)
            }
            end => end,
        };
        let liar = asked.filter(|_| matches!(end, RequestEnd::Faulty(_)));
        self.tell_now(id, Input::RequestEnded { request, end });
        liar.into_iter().for_each(|peer| self.check_blame(id, peer));
    }

    fn end_of(&mut self, id: NodeId, query: &Query, answer: Answer) -> RequestEnd {
        match (query, answer) {
            (Query::Summary(_), Answer::Summary(summary)) => RequestEnd::Summary(summary),
            (Query::Outline { shard, root, .. }, Answer::Outline(outline)) => {
                self.outline_came(id, *shard, *root, &outline)
            }
            (Query::Outputs { shard, after, .. }, Answer::Outputs { through, chunks }) => {
                self.outputs_came(id, *shard, *after, through, chunks)
            }
            (Query::Parts { wanted, .. }, Answer::End { refusal, held }) => {
                match held.filter(|held| held.count() == wanted.count()) {
                    Some(held) => RequestEnd::Parts { held, refusal },
                    None => refusal.map_or(RequestEnd::Faulty(Fault::Message), RequestEnd::Refused),
                }
            }
            (_, Answer::End { refusal: Some(refusal), .. }) => RequestEnd::Refused(refusal),
            _ => RequestEnd::Faulty(Fault::Message),
        }
    }

    fn outline_came(
        &mut self,
        id: NodeId,
        shard: ShardId,
        root: StateRoot,
        outline: &Outline,
    ) -> RequestEnd {
        let start = self.chain.start_of(shard, root).filter(|start| start.is_outlined_by(outline));
        let (Some(start), Some(node)) = (start, self.nodes.get_mut(id)) else {
            return RequestEnd::Faulty(Fault::Outline);
        };
        node.memory.manifests.insert(root, Arc::clone(start));
        RequestEnd::Manifest(start.sizes.clone())
    }

    fn outputs_came(
        &mut self,
        id: NodeId,
        shard: ShardId,
        after: Height,
        through: Height,
        chunks: Chunks,
    ) -> RequestEnd {
        let Some(node) = self.nodes.get_mut(id) else { return RequestEnd::Faulty(Fault::Outputs) };
        let next = (after.0 + 1..).map(Height);
        let true_chunk = |((height, chunk), next): (&(Height, Chunk), Height)| {
            let truth = self.chain.chunk(shard, next);
            *height == next && truth.is_some_and(|truth| truth.is_same(chunk))
        };
        let whole = chunks.last().map_or(after, |(height, _)| *height) == through;
        let verify = node.setup.defences.verify && !node.has(Planted::SkipsOutputs);
        if verify && !(whole && chunks.iter().zip(next).all(true_chunk)) {
            return RequestEnd::Faulty(Fault::Outputs);
        }
        let bytes = chunks.iter().map(|(_, chunk)| chunk.bytes()).sum();
        node.memory.outputs.entry(shard).or_default().extend(chunks);
        RequestEnd::Outputs { through, bytes }
    }

    fn part_came(
        &mut self,
        id: NodeId,
        request: RequestId,
        (shard, root): (ShardId, StateRoot),
        index: PartIndex,
        parcel: &Parcel,
    ) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let skips = node.has(Planted::SkipsParts) && self.chance.one_in(5);
        let verify = node.setup.defences.verify && !skips;
        let Some(outgoing) = node.memory.requests.get_mut(&request) else { return };
        let asked = outgoing.awaited.as_mut().is_some_and(|awaited| awaited.remove(index));
        let manifest = node.memory.manifests.get(&root).filter(|_| asked).cloned();
        let arrived = manifest.and_then(|start| {
            if verify { start.verify(index, parcel) } else { start.believe(index, parcel) }
        });
        let Some(arrived) = arrived else {
            return self.end_request(id, request, RequestEnd::Faulty(Fault::Part(index)));
        };
        let here = node.disks.get(&shard).and_then(|disk| disk.durable.get(&root));
        let known = here.is_some_and(|held| held.contains(index));
        let parts = node.memory.arrived.entry((shard, root)).or_default();
        self.ledger.verified_parts += 1;
        if known || parts.contains_key(&index) {
            self.ledger.wasted_parts += 1;
            self.ledger.wasted_bytes += parcel.bytes();
        } else {
            if !(node.planted == Some(Planted::LosesBytes) && self.chance.one_in(20)) {
                parts.insert(index, arrived);
            }
            self.ledger.takes.part_came(self.now, id, shard);
        }
        self.tell_now(id, Input::PartVerified { request, part: index });
    }

    pub(crate) fn work_on_disk(&mut self, id: NodeId, job: JobId, work: &Work) -> JobEnd {
        let stopped = JobEnd::Failed(OurFault::Stopped);
        let Some(node) = self.nodes.get_mut(id) else { return stopped };
        node.note_write(work);
        match work {
            Work::Open { shard } => {
                node.memory.rot_told.remove(shard);
                let disk = node.disks.entry(*shard).or_default();
                disk.open();
                let starts = disk.starts.iter().map(|(epoch, start)| (*epoch, start.sizes.clone()));
                let (head, outputs_after) = (disk.head, disk.outputs_after);
                JobEnd::Opened { head, outputs_after, starts: starts.collect() }
            }
            Work::Reconcile { shard, root, distrust } => {
                let known = node.memory.manifests.get(root).or_else(|| {
                    self.chain.start_of(*shard, *root).filter(|_| *root == StateRoot::EMPTY)
                });
                let Some(target) = known.cloned() else { return stopped };
                let believes = node.has(Planted::MarksFirst) && !distrust;
                let disk = node.disks.entry(*shard).or_default();
                let marked = disk.durable.get(root).filter(|_| believes).cloned();
                let mut held = disk.reconcile(&self.chain, *shard, &target);
                marked.into_iter().for_each(|marked| held.union_with(&marked));
                node.memory.rot_told.remove(shard);
                JobEnd::Reconciled { held }
            }
            Work::Apply { shard, root, parts } => self.apply(id, job, (*shard, *root), parts),
            Work::Complete { shard, root, epoch, height } => {
                let verify = node.setup.defences.verify;
                let start = self.chain.start(*shard, *epoch).filter(|s| s.root() == *root);
                let disk = node.disks.entry(*shard).or_default();
                let Some(start) = start else { return stopped };
                if disk.complete(*epoch, *height, start, verify) {
                    JobEnd::Completed
                } else {
                    JobEnd::Failed(OurFault::Damaged)
                }
            }
            Work::Replay { shard, through } => self.replay(id, *shard, *through),
            Work::DropShard { shard } => {
                match node.planted {
                    Some(Planted::DropsNothing) => {}
                    Some(Planted::DropsAnother) => drop(node.disks.pop_first()),
                    _ => drop(node.disks.remove(shard)),
                }
                JobEnd::Dropped
            }
            Work::DropEpochs { .. } if node.has(Planted::KeepsEpochs) => JobEnd::Dropped,
            Work::DropEpochs { shard, before } => {
                if let Some(disk) = node.disks.get_mut(shard) {
                    disk.drop_before(*before);
                }
                JobEnd::Dropped
            }
            _ => stopped,
        }
    }

    fn apply(
        &mut self,
        id: NodeId,
        job: JobId,
        (shard, root): (ShardId, StateRoot),
        parts: &std::ops::Range<PartIndex>,
    ) -> JobEnd {
        let stopped = JobEnd::Failed(OurFault::Stopped);
        let truth = self.chain.start_of(shard, root).cloned();
        let Some(node) = self.nodes.get_mut(id) else { return stopped };
        let (cut, planted) = (node.trouble.next_apply.take(), node.planted);
        let mut arrived = node.memory.applying.remove(&job).unwrap_or_default();
        let disk = node.disks.entry(shard).or_default();
        let indices = || (parts.start.0..parts.end.0).map(PartIndex);
        if indices().any(|part| !arrived.contains_key(&part)) {
            return stopped;
        }
        let written = match cut {
            Some(ApplyCut::Torn) => arrived.len().div_ceil(2),
            _ => arrived.len(),
        };
        let mut breaches = Vec::new();
        for part in indices().take(written) {
            let Some(content) = arrived.remove(&part) else { return stopped };
            if truth.as_ref().is_none_or(|truth| !truth.is_part(part, &content)) {
                breaches.push(Breach::Unverified(id, shard, part));
            }
            if disk.durable.get(&root).is_some_and(|held| held.contains(part)) {
                breaches.push(Breach::AppliedTwice(id, shard, part));
            }
            match cut {
                _ if planted.is_some_and(|bug| bug.leaves_out(part, parts)) => {}
                Some(ApplyCut::BeforeMarker | ApplyCut::Torn)
                    if planted == Some(Planted::MarksFirst) =>
                {
                    disk.mark(root, part);
                }
                Some(ApplyCut::BeforeMarker | ApplyCut::Torn) => disk.write(part, content),
                _ => disk.apply(root, part, content),
            }
        }
        breaches.into_iter().for_each(|breach| self.ledger.breach(breach));
        if cut.is_some() {
            self.crash_for_a_while(id);
            return stopped;
        }
        self.ledger.applied.push((id, shard, parts.clone()));
        JobEnd::Applied
    }

    fn replay(&mut self, id: NodeId, shard: ShardId, through: Height) -> JobEnd {
        let failed = JobEnd::Failed(OurFault::Stopped);
        let is_behind = self.phase(id, shard) == Some(ketch_coordinator::Phase::Replaying);
        let Some(node) = self.nodes.get_mut(id) else { return failed };
        let Some(disk) = node.disks.get_mut(&shard) else { return failed };
        let outputs = node.memory.outputs.entry(shard).or_default();
        let Some(head) = disk.head else { return failed };
        let mut starts = Vec::new();
        let short = u64::from(node.planted == Some(Planted::StopsShort));
        for height in (head.0 + 1..=through.0.saturating_sub(short)).map(Height) {
            let Some(mut chunk) = outputs.remove(&height) else { return failed };
            if node.planted == Some(Planted::SkipsChunks) && self.chance.one_in(10) {
                chunk = chunk.without_writes();
            }
            let start = disk.replay(&self.chain, shard, height, &chunk);
            starts.extend(start.map(|(epoch, start)| (epoch, start.sizes.clone())));
            *self.ledger.replayed.entry((id, shard)).or_default() += 1;
            if is_behind {
                *self.ledger.replayed_by_catching_up.entry((id, shard)).or_default() += 1;
            }
        }
        outputs.retain(|height, _| height.0 + short > through.0);
        JobEnd::Replayed { through, starts }
    }
}
