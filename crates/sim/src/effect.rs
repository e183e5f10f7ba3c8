//! What a driver does about a coordinator's commands.

use std::collections::BTreeMap;
use std::time::Duration;

use ketch_coordinator::{
    Ask, Command, Failure, Input, JobEnd, JobId, OurFault, Peer, Query, RequestEnd, RequestId, Work,
};
use ketch_types::{Height, PartIndex, PartSet, ShardId, StateRoot};

use crate::check::Breach;
use crate::content::{Parcel, Start};
use crate::identity::node_of;
use crate::message::{Answer, Message};
use crate::node::{Incoming, NodeId, Outgoing};
use crate::planted::Planted;
use crate::world::{Happening, World};

impl World {
    pub(crate) fn obey(&mut self, id: NodeId, command: Command) {
        match command {
            Command::Request { request, peer, query } => {
                self.open_request(id, request, peer, query);
            }
            Command::Cancel { request } => self.cancel_request(id, request),
            Command::Run { job, work } => self.begin_work(id, job, work),
            Command::Discard { shard } => {
                if let Some(node) = self.nodes.get_mut(id) {
                    node.memory.arrived.retain(|(of, _), _| *of != shard);
                    node.memory.outputs.remove(&shard);
                }
            }
            Command::Ban { peer, .. } => self.ban(id, peer),
            Command::Announce(holding) => self.announce(id, holding),
            Command::Provide { shard, epoch } => self.provide(id, shard, epoch, true),
            Command::StopProviding { shard, epoch } => self.provide(id, shard, epoch, false),
            Command::SendSummary { ask, summary } => {
                summary.holdings().iter().for_each(|held| self.check_holding(id, held));
                self.close_ask(id, ask, Answer::Summary(summary));
            }
            Command::SendOutline { ask, shard, root } => self.send_outline(id, ask, shard, root),
            Command::SendOutputs { ask, shard, after, budget_bytes, .. } => {
                self.send_outputs(id, ask, shard, after, budget_bytes);
            }
            Command::SendPart { ask, shard, root, part } => {
                self.send_part(id, ask, shard, root, part);
            }
            Command::End { ask, refusal, held } => {
                self.close_ask(id, ask, Answer::End { refusal, held });
            }
        }
    }

    fn provide(&mut self, id: NodeId, shard: ShardId, epoch: ketch_types::Epoch, does: bool) {
        let node = self.nodes.get_mut(id).into_iter();
        node.for_each(|node| node.memory.duties.provides(shard, epoch, does));
        let peer = self.peer_of(id);
        if does {
            self.dht.provide(shard, epoch, peer);
        } else {
            self.dht.stop_providing(shard, epoch, peer);
        }
    }

    fn open_request(&mut self, id: NodeId, request: RequestId, peer: Peer, query: Query) {
        if self.ledger.banned.contains(&(id, peer)) {
            self.ledger.breach(Breach::AskedOfBanned(id, node_of(peer)));
        }
        *self.ledger.asked.entry((id, node_of(peer))).or_default() += 1;
        let awaited = match &query {
            Query::Parts { wanted, .. } => Some(wanted.clone()),
            _ => None,
        };
        let outgoing = Outgoing { peer, query: query.clone(), awaited, last_arrival: self.now };
        self.check_request(id, &outgoing);
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.memory.requests.insert(request, outgoing);
        if node.has(Planted::DropsHedges) && node.is_hedge(&query) {
            return self.lose_request(id, request);
        }
        if let Query::Parts { shard, root, wanted } = &query {
            let too_often = wanted.iter().find(|part| node.asked_for(*root, *part) > 2);
            if let Some(part) = too_often {
                self.ledger.breach(Breach::AskedTooOften(id, *shard, part));
            }
        }
        // Who has gone away cannot be asked, also if the same node is back as somebody else.
        if self.is_current(peer) {
            self.send(id, node_of(peer), Message::Ask { request, query });
        }
    }

    fn lose_request(&mut self, id: NodeId, request: RequestId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.memory.requests.remove(&request);
        let end = RequestEnd::Failed(Failure::Disconnected);
        self.tell(id, Input::RequestEnded { request, end });
    }

    fn cancel_request(&mut self, id: NodeId, request: RequestId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if let Some(outgoing) = node.memory.requests.remove(&request) {
            let end = RequestEnd::Failed(Failure::Cancelled);
            self.tell(id, Input::RequestEnded { request, end });
            self.send(id, node_of(outgoing.peer), Message::Cancel { request });
        }
    }

    fn ban(&mut self, id: NodeId, peer: Peer) {
        if self.nodes.get(node_of(peer)).is_some_and(|node| !node.setup.lies()) {
            self.ledger.breach(Breach::BannedHonest(id, node_of(peer)));
        }
        self.ledger.banned.insert((id, peer));
        if let Some(node) = self.nodes.get_mut(id) {
            node.memory.requests.retain(|_, outgoing| outgoing.peer != peer);
        }
        if self.is_current(peer) {
            self.unlink(id, node_of(peer));
        }
    }

    /// Sends what takes no room on the line.
    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        let delay = self.delay(from, to);
        if self.linked(from, to) {
            self.post(self.now + delay, from, to, message);
        }
    }

    /// Sends the last of an answer.
    fn close_ask(&mut self, id: NodeId, ask: Ask, answer: Answer) {
        let Some(incoming) = self.nodes.get_mut(id).and_then(|n| n.memory.asks.remove(&ask)) else {
            return;
        };
        self.answer(id, incoming, answer, Some(Input::AskClosed { ask }));
    }

    /// A state that a node holds whole, or whose outline it has fetched.
    fn known(&self, id: NodeId, shard: ShardId, root: StateRoot) -> Option<std::sync::Arc<Start>> {
        let node = self.nodes.get(id)?;
        let held = node.disks.get(&shard).and_then(|disk| disk.start_of(root));
        held.or_else(|| node.memory.manifests.get(&root)).cloned()
    }

    fn send_outline(&mut self, id: NodeId, ask: Ask, shard: ShardId, root: StateRoot) {
        let answer = match self.known(id, shard, root) {
            Some(start) => Answer::Outline(start.outline()),
            None => Answer::End { refusal: Some(ketch_wire::Refusal::NotHeld), held: None },
        };
        self.close_ask(id, ask, answer);
    }

    fn send_outputs(&mut self, id: NodeId, ask: Ask, shard: ShardId, after: Height, budget: u64) {
        let Some(disk) = self.nodes.get(id).and_then(|node| node.disks.get(&shard)) else { return };
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        for (height, chunk) in disk.outputs.range(after.next()..) {
            bytes += chunk.bytes();
            if bytes > budget && !chunks.is_empty() {
                break;
            }
            chunks.push((*height, chunk.clone()));
        }
        let through = chunks.last().map_or(after, |(height, _)| *height);
        self.close_ask(id, ask, Answer::Outputs { through, chunks });
    }

    fn send_part(
        &mut self,
        id: NodeId,
        ask: Ask,
        shard: ShardId,
        root: StateRoot,
        part: PartIndex,
    ) {
        let parcel = self.cached(id, shard, root, part);
        let incoming = self.nodes.get(id).and_then(|node| node.memory.asks.get(&ask)).copied();
        let (Some(incoming), Some(parcel)) = (incoming, parcel) else {
            return self.tell(id, Input::PartNotCached { ask, part });
        };
        let bytes = parcel.bytes();
        *self.ledger.sent.entry((id, incoming.peer)).or_default() += bytes;
        if self.is_fetching(id, shard) {
            self.ledger.sent_while_fetching += bytes;
        }
        let answer = Answer::Part { index: part, parcel };
        self.answer(id, incoming, answer, Some(Input::PartSent { ask, part }));
    }

    fn cached(
        &self,
        id: NodeId,
        shard: ShardId,
        root: StateRoot,
        part: PartIndex,
    ) -> Option<Parcel> {
        let content = self.known(id, shard, root)?.content(part)?;
        self.nodes.get(id)?.cache.get(&content).cloned()
    }

    /// Puts a part into a node's cache, from what is on its disk.
    pub(crate) fn generate(
        &mut self,
        id: NodeId,
        shard: ShardId,
        root: StateRoot,
        part: PartIndex,
    ) -> Option<()> {
        let start = self.known(id, shard, root)?;
        let node = self.nodes.get_mut(id)?;
        let lacks = |(of, parts): &(ShardId, PartSet)| *of == shard && parts.contains(part);
        if node.trouble.read_fails || node.setup.lacking.iter().any(lacks) {
            return None;
        }
        // What is generated is hashed again before it is sent: a damaged disk makes nobody a liar.
        let parcel = node.disks.get(&shard)?.parcel(&start, part)?;
        start.verify(part, &parcel)?;
        node.cache.insert(start.content(part)?, parcel);
        let times = if node.has(Planted::MakesTwice) { 2 } else { 1 };
        *self.ledger.generated.entry((id, root, part)).or_default() += times;
        Some(())
    }

    /// Begins work; what it does is done when it ends, so that a crash in between leaves nothing.
    fn begin_work(&mut self, id: NodeId, job: JobId, work: Work) {
        self.check_writers(id, &work);
        let now = self.now;
        let sizes = match &work {
            Work::Generate { shard, root, .. } => self.known(id, *shard, *root),
            _ => None,
        };
        let lookup = self.dht_model.lookup;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let generation = node.generation;
        node.memory.jobs.insert(job, work.clone());
        let done = match &work {
            Work::Search { .. } => now + lookup,
            Work::Generate { parts, .. } => {
                let bytes = sizes.map_or(0, |start| start.sizes.bytes_of(parts));
                let takes = over(bytes, node.setup.generate_rate);
                now + node.trouble.takes(node.setup.generate_part * parts.len() + takes)
            }
            Work::Apply { shard, root, parts } => {
                let arrived = node.memory.arrived.entry((*shard, *root)).or_default();
                let parts = (parts.start.0..parts.end.0).map(PartIndex);
                let parts: BTreeMap<_, _> =
                    parts.filter_map(|part| Some((part, arrived.remove(&part)?))).collect();
                let bytes = parts.values().map(crate::content::Arrived::bytes).sum();
                node.memory.applying.insert(job, parts);
                let takes = node.trouble.takes(over(bytes, node.setup.apply_rate));
                node.apply_free_at = node.apply_free_at.max(now) + takes;
                node.apply_free_at + node.trouble.takes(node.setup.sync)
            }
            Work::Replay { shard, through } => {
                let head = node.disks.get(shard).and_then(|disk| disk.head).unwrap_or(*through);
                let blocks = u32::try_from(through.0.saturating_sub(head.0)).unwrap_or(u32::MAX);
                now + node.trouble.takes(node.setup.replay_block * blocks)
            }
            _ => now + node.trouble.takes(node.setup.sync),
        };
        self.at(done, Happening::Work { node: id, generation, job, work });
    }

    pub(crate) fn work_done(&mut self, id: NodeId, job: JobId, work: &Work) {
        let end = self.do_work(id, job, work);
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.is_up) else { return };
        node.memory.jobs.remove(&job);
        self.check_work(id, work, &end);
        if let Work::DropShard { shard } = work {
            self.ledger.forget_phases(id, Some(*shard));
        }
        self.tell_now(id, Input::JobEnded { job, end });
        if let Work::Open { shard } | Work::Replay { shard, .. } = work {
            self.find_rot(id, *shard);
        }
    }

    fn do_work(&mut self, id: NodeId, job: JobId, work: &Work) -> JobEnd {
        match work {
            Work::Search { shard, epoch } => {
                let found = self.dht.find((*shard, *epoch), self.dht_model, &mut self.chance);
                let Some(node) = self.nodes.get_mut(id) else { return JobEnd::Searched };
                node.memory.searches += 1;
                if !node.has(Planted::SearchesOnce) || node.memory.searches == 1 {
                    let found = found.into_iter().filter(|peer| self.is_current(*peer));
                    let found: Vec<_> = found.map(node_of).collect();
                    found.into_iter().for_each(|peer| self.link(id, peer));
                }
                JobEnd::Searched
            }
            Work::Generate { shard, root, .. } if self.is_pruned(id, *shard, *root) => {
                JobEnd::Failed(OurFault::Stopped)
            }
            Work::Generate { shard, root, parts, .. } => {
                let mut made = PartSet::empty(parts.count());
                for part in parts.iter() {
                    if self.cached(id, *shard, *root, part).is_some()
                        || self.generate(id, *shard, *root, part).is_some()
                    {
                        made.insert(part);
                    }
                }
                JobEnd::Generated { made }
            }
            Work::CheckOurselves => {
                let sound = self.nodes.get(id).is_some_and(|node| node.setup.defences.verify);
                JobEnd::Checked { sound }
            }
            _ => match self.trouble_with(id, work) {
                Some(fault) => JobEnd::Failed(fault),
                None => self.work_on_disk(id, job, work),
            },
        }
    }

    /// Why work on a disk fails before it has changed anything, if it does.
    fn trouble_with(&mut self, id: NodeId, work: &Work) -> Option<OurFault> {
        let trouble = self.nodes.get(id)?.trouble;
        let writes = !matches!(work, Work::Open { .. });
        let of_writing = trouble.of_writing().filter(|_| writes);
        let of_reading = (trouble.read_fails
            && matches!(work, Work::Open { .. } | Work::Reconcile { .. } | Work::Replay { .. }))
        .then_some(OurFault::Stopped);
        of_writing.or(of_reading)
    }

    pub(crate) fn is_fetching(&self, id: NodeId, shard: ShardId) -> bool {
        self.phase(id, shard).is_some_and(ketch_coordinator::Phase::is_catching_up)
    }

    /// Nodes by their handle, for messages that name them.
    pub(crate) fn incoming(&mut self, id: NodeId, peer: NodeId, request: RequestId) -> Option<Ask> {
        let memory = &mut self.nodes.get_mut(id)?.memory;
        let ask = Ask(memory.next_ask);
        memory.next_ask += 1;
        memory.asks.insert(ask, Incoming { peer, request });
        Some(ask)
    }

    /// States to a node that a peer asks.
    pub(crate) fn tell_asked(
        &mut self,
        id: NodeId,
        peer: NodeId,
        request: RequestId,
        query: Query,
    ) {
        let Some(query) = self.peer_query(query) else { return };
        if let Some(ask) = self.incoming(id, peer, request) {
            self.tell_now(id, Input::Asked { ask, peer: self.peer_of(peer), query });
        }
    }
}

/// How long some bytes take at a rate.
pub(crate) fn over(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
