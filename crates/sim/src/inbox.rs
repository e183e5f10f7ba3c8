//! What a driver makes of what arrives, and what work does to its disk.

use std::sync::Arc;

use ketch_coordinator::{
    Fault, Input, JobEnd, JobId, OurFault, PeerQuery, Query, RequestEnd, RequestId, Work,
};
use ketch_trie::{COMMIT_BYTES, Entries as Coding, Manifest, OutlineChecker, PackedPart};
use ketch_types::{Epoch, Height, KeyRange, PartIndex, ShardId, StateRoot};
use ketch_wire::{OutlineRequest, OutputsRequest, PartsRequest};

use crate::chain::sizes_of;
use crate::check::Breach;
use crate::disk::Arrived;
use crate::lie::{Conduct, Liar, Reply};
use crate::message::{Answer, Message, writes_bytes};
use crate::node::{Incoming, NodeId};
use crate::world::{Happening, World, handle};

/// Chunks of an answer.
type Chunks = Vec<(Height, Arc<ketch_trie::Writes>)>;

impl World {
    pub(crate) fn arrive(&mut self, from: NodeId, to: NodeId, message: Message) {
        if !self.linked(from, to) {
            return;
        }
        let lies = self.nodes.get(to).is_some_and(|node| !node.setup.is_honest());
        match message {
            Message::Ask { request, query } if lies => self.lie(to, from, request, &query),
            Message::Ask { request, query } => self.tell_asked(to, from, request, query),
            Message::Cancel { request } => self.cancelled(to, from, request),
            Message::Answer { request, answer } => self.answered(to, from, request, answer),
            Message::Announce(holding) => {
                self.tell_now(to, Input::HoldingAnnounced { peer: handle(from), holding });
            }
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
            Conduct::Honest | Conduct::Sequencer => None,
        });
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
        for (after, answer) in answers {
            let message = Message::Answer { request, answer };
            self.after(after + delay, Happening::Arrive { from: liar, to, message });
        }
        if hangup {
            self.after(last + delay, Happening::Hangup(liar, to));
        }
    }

    /// What those who lie tell a node without being asked.
    pub(crate) fn gossip_lies(&mut self, to: NodeId) {
        let shards: Vec<_> = self.chain.setup().shards.iter().map(|(shard, _)| *shard).collect();
        for liar in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(liar).filter(|_| self.linked(liar, to)) else {
                continue;
            };
            let Conduct::Lies(lie) = node.setup.conduct else { continue };
            let (delay, patience) = (node.setup.speed.delay, std::time::Duration::ZERO);
            let (chain, head, chance) = (&self.chain, self.head, &mut self.chance);
            let claims = Liar { lie: Some(lie), chain, head, chance, patience }.claim(&shards);
            for holding in claims.holdings() {
                let message = Message::Announce(holding.clone());
                self.after(delay, Happening::Arrive { from: liar, to, message });
            }
        }
    }

    fn cancelled(&mut self, id: NodeId, peer: NodeId, request: RequestId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let of = |incoming: &Incoming| incoming.peer == peer && incoming.request == request;
        let ask = node.memory.asks.iter().find(|(_, incoming)| of(incoming)).map(|(ask, _)| *ask);
        if let Some(ask) = ask {
            node.memory.asks.remove(&ask);
            self.tell_now(id, Input::AskClosed { ask });
        }
    }

    fn answered(&mut self, id: NodeId, from: NodeId, request: RequestId, answer: Answer) {
        let Some(node) = self.nodes.get(id) else { return };
        let Some(outgoing) = node.memory.requests.get(&request).filter(|o| o.peer == from) else {
            return;
        };
        if matches!(answer, Answer::End { .. }) && !node.setup.defences.ends {
            return;
        }
        match (outgoing.query.clone(), answer) {
            (Query::Parts { shard, root, .. }, Answer::Part { index, packed }) => {
                self.part_came(id, request, shard, root, index, &packed);
            }
            (Query::Parts { root, .. }, Answer::Flow { index, bytes, of }) => {
                let manifest = node.memory.manifests.get(&root);
                let part = manifest.and_then(|manifest| manifest.part(index));
                // As much of the part as is here of what it is packed into.
                let unpacked = part.map_or(0, ketch_trie::Part::bytes) * bytes / of.max(1);
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
        node.memory.requests.remove(&request);
        let end = match end {
            // The control without blame: a lie is taken for bad luck.
            RequestEnd::Faulty(_) if !node.setup.defences.blame => {
                RequestEnd::Failed(ketch_coordinator::Failure::Disconnected)
            }
            end => end,
        };
        self.tell_now(id, Input::RequestEnded { request, end });
    }

    fn end_of(&mut self, id: NodeId, query: &Query, answer: Answer) -> RequestEnd {
        match (query, answer) {
            (Query::Summary(_), Answer::Summary(summary)) => RequestEnd::Summary(summary),
            (Query::Outline { root, cut, .. }, Answer::Outline { opening, records }) => {
                self.outline_came(id, *root, *cut, &opening, &records)
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
        root: StateRoot,
        cut: u32,
        opening: &[u8; COMMIT_BYTES],
        records: &[u8],
    ) -> RequestEnd {
        let check = || {
            let mut checker = OutlineChecker::new(&root, cut, opening).ok()?;
            checker.push(records).ok()?;
            Manifest::new(checker.finish().ok()?).ok()
        };
        let Some(manifest) = check() else { return RequestEnd::Faulty(Fault::Outline) };
        let sizes = sizes_of(&manifest);
        if let Some(node) = self.nodes.get_mut(id) {
            node.memory.manifests.insert(root, Arc::new(manifest));
        }
        RequestEnd::Manifest(sizes)
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
        let true_chunk =
            |((height, writes), next): (&(Height, Arc<ketch_trie::Writes>), Height)| {
                *height == next && self.chain.outputs(shard, next) == Some(writes)
            };
        let whole = chunks.last().map_or(after, |(height, _)| *height) == through;
        if node.setup.defences.verify && !(whole && chunks.iter().zip(next).all(true_chunk)) {
            return RequestEnd::Faulty(Fault::Outputs);
        }
        let bytes = chunks.iter().map(|(_, writes)| writes_bytes(writes) as u64).sum();
        node.memory.outputs.entry(shard).or_default().extend(chunks);
        RequestEnd::Outputs { through, bytes }
    }

    fn part_came(
        &mut self,
        id: NodeId,
        request: RequestId,
        shard: ShardId,
        root: StateRoot,
        index: PartIndex,
        packed: &PackedPart,
    ) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let verify = node.setup.defences.verify;
        let Some(outgoing) = node.memory.requests.get_mut(&request) else { return };
        let asked = outgoing.awaited.as_mut().is_some_and(|awaited| awaited.remove(index));
        let manifest = node.memory.manifests.get(&root).cloned();
        let arrived = manifest.filter(|_| asked).and_then(|manifest| {
            if verify {
                verified(&manifest, index, packed)
            } else {
                believed(&manifest, index, packed)
            }
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
        } else {
            parts.insert(index, arrived);
        }
        self.tell_now(id, Input::PartVerified { request, part: index });
    }

    pub(crate) fn work_on_disk(&mut self, id: NodeId, job: JobId, work: &Work) -> JobEnd {
        let stopped = JobEnd::Failed(OurFault::Stopped);
        let Some(node) = self.nodes.get_mut(id) else { return stopped };
        match work {
            Work::Open { shard } => {
                let disk = node.disks.entry(*shard).or_default();
                let starts = disk.starts.iter().map(|(epoch, start)| (*epoch, start.sizes.clone()));
                let (head, outputs_after) = (disk.head, disk.outputs_after);
                JobEnd::Opened { head, outputs_after, starts: starts.collect() }
            }
            Work::Reconcile { shard, root, .. } => {
                let empty = (*root == StateRoot::EMPTY).then(|| self.chain.empty_manifest());
                let known = node.memory.manifests.get(root).cloned();
                let Some(manifest) = &known.or(empty.flatten()) else { return stopped };
                let held = node.disks.entry(*shard).or_default().reconcile(manifest);
                JobEnd::Reconciled { held }
            }
            Work::Apply { shard, root, parts } => {
                let mut arrived = node.memory.applying.remove(&job).unwrap_or_default();
                let disk = node.disks.entry(*shard).or_default();
                for part in (parts.start.0..parts.end.0).map(PartIndex) {
                    let Some(part_arrived) = arrived.remove(&part) else { return stopped };
                    if disk.durable.get(root).is_some_and(|held| held.contains(part)) {
                        self.ledger.breach(Breach::AppliedTwice(id, *shard, part));
                    }
                    disk.apply(*root, part, part_arrived);
                }
                self.ledger.applied.push((id, *shard, parts.clone()));
                JobEnd::Applied
            }
            Work::Complete { shard, root, epoch, height } => {
                let verify = node.setup.defences.verify;
                let start = self.chain.start(*shard, *epoch).filter(|s| s.sizes.root() == *root);
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
                node.disks.remove(shard);
                self.ledger.forget_phases(id, Some(*shard));
                JobEnd::Dropped
            }
            Work::DropEpochs { shard, before } => {
                if let Some(disk) = node.disks.get_mut(shard) {
                    disk.drop_before(*before);
                }
                JobEnd::Dropped
            }
            _ => stopped,
        }
    }

    fn replay(&mut self, id: NodeId, shard: ShardId, through: Height) -> JobEnd {
        let failed = JobEnd::Failed(OurFault::Stopped);
        let Some(node) = self.nodes.get_mut(id) else { return failed };
        let Some(disk) = node.disks.get_mut(&shard) else { return failed };
        let outputs = node.memory.outputs.entry(shard).or_default();
        let Some(head) = disk.head else { return failed };
        let mut starts = Vec::new();
        for height in (head.0 + 1..=through.0).map(Height) {
            let Some(writes) = outputs.remove(&height) else { return failed };
            let start = disk.replay(&self.chain, shard, height, &writes);
            starts.extend(start.map(|(epoch, start)| (epoch, start.sizes.clone())));
            *self.ledger.replayed.entry((id, shard)).or_default() += 1;
        }
        outputs.retain(|height, _| *height > through);
        JobEnd::Replayed { through, starts }
    }
}

fn verified(manifest: &Manifest, index: PartIndex, packed: &PackedPart) -> Option<Arrived> {
    let bytes = usize::try_from(manifest.part(index)?.bytes()).ok()?;
    let part = manifest.verify(index, packed.unpack(bytes).ok()?).ok()?;
    Some(Arrived::from(&part))
}

/// What a driver without defences takes for the part: whatever entries can be read.
fn believed(manifest: &Manifest, index: PartIndex, packed: &PackedPart) -> Option<Arrived> {
    let bytes = usize::try_from(manifest.part(index)?.bytes()).ok()?;
    let payload = packed.unpack(bytes).unwrap_or_else(|_| packed.bytes.clone());
    let range: KeyRange = manifest.part_range(index)?;
    let entries = Coding::new(&payload).map_while(Result::ok);
    let entries = entries.map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect();
    Some(Arrived { range, entries })
}
