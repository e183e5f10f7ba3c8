//! What a driver does about a coordinator's commands.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::{
    Ask, Command, Failure, Input, JobEnd, JobId, Query, RequestEnd, RequestId, Work,
};
use ketch_trie::PackedPart;
use ketch_types::{Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::Holding;

use crate::chain::StartState;
use crate::check::Breach;
use crate::message::{Answer, Message, writes_bytes};
use crate::node::{Incoming, NodeId, Outgoing};
use crate::world::{Happening, World, handle, node_of};

/// A look-up in the DHT, with the dialling of whoever is found.
const SEARCH: Duration = Duration::from_millis(80);
/// Opening or closing something on a disk.
const DISK: Duration = Duration::from_millis(10);
/// How often a driver tells of a part that is on its way.
const PROGRESS: Duration = Duration::from_millis(250);
/// Reading, packing and storing one part.
const GENERATE: Duration = Duration::from_millis(3);

impl World {
    pub(crate) fn obey(&mut self, id: NodeId, command: Command) {
        match command {
            Command::Request { request, peer, query } => {
                self.open_request(id, request, node_of(peer), query);
            }
            Command::Cancel { request } => self.cancel_request(id, request),
            Command::Run { job, work } => self.begin_work(id, job, work),
            Command::Discard { shard } => {
                if let Some(node) = self.nodes.get_mut(id) {
                    node.memory.arrived.retain(|(of, _), _| *of != shard);
                    node.memory.outputs.remove(&shard);
                }
            }
            Command::Ban { peer, .. } => self.ban(id, node_of(peer)),
            Command::Announce(holding) => self.announce(id, &holding),
            Command::Provide { shard, epoch } => {
                self.directory.entry((shard, epoch)).or_default().insert(id);
            }
            Command::StopProviding { shard, epoch } => {
                self.directory.entry((shard, epoch)).or_default().remove(&id);
            }
            Command::SendSummary { ask, summary } => {
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

    fn open_request(&mut self, id: NodeId, request: RequestId, peer: NodeId, query: Query) {
        if self.ledger.banned.contains(&(id, peer)) {
            self.ledger.breach(Breach::AskedOfBanned(id, peer));
        }
        *self.ledger.asked.entry((id, peer)).or_default() += 1;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let awaited = match &query {
            Query::Parts { wanted, .. } => Some(wanted.clone()),
            _ => None,
        };
        node.memory.requests.insert(request, Outgoing { peer, query: query.clone(), awaited });
        if let Query::Parts { shard, root, wanted } = &query {
            let too_often = wanted.iter().find(|part| node.asked_for(*root, *part) > 2);
            if let Some(part) = too_often {
                self.ledger.breach(Breach::AskedTooOften(id, *shard, part));
            }
        }
        self.send(id, peer, Message::Ask { request, query });
    }

    fn cancel_request(&mut self, id: NodeId, request: RequestId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if let Some(outgoing) = node.memory.requests.remove(&request) {
            let generation = node.generation;
            let end = RequestEnd::Failed(Failure::Cancelled);
            let input = Input::RequestEnded { request, end };
            self.at(self.now, Happening::Input { node: id, generation, input });
            self.send(id, outgoing.peer, Message::Cancel { request });
        }
    }

    fn ban(&mut self, id: NodeId, peer: NodeId) {
        if self.nodes.get(peer).is_some_and(|node| !node.setup.lies()) {
            self.ledger.breach(Breach::BannedHonest(id, peer));
        }
        self.ledger.banned.insert((id, peer));
        self.unlink(id, peer);
    }

    fn announce(&mut self, id: NodeId, holding: &Holding) {
        let disk = self.nodes.get(id).and_then(|node| node.disks.get(&holding.shard()));
        let durable = disk.and_then(|disk| disk.durable.get(&holding.root()));
        self.ledger.announced(id, holding.shard(), holding.held(), durable);
        for peer in 0..self.nodes.len() {
            // Gossip reaches everybody, and who is fetching connects to who holds.
            let fetching = |status: ketch_coordinator::ShardStatus| status.phase.is_catching_up();
            if self.status(peer, holding.shard()).is_some_and(fetching) && !holding.is_withdrawal()
            {
                self.link(peer, id);
            }
            if self.linked(id, peer) {
                self.send(id, peer, Message::Announce(holding.clone()));
            }
        }
    }

    /// Sends what takes no room on the line.
    pub(crate) fn send(&mut self, from: NodeId, to: NodeId, message: Message) {
        let delay = self.delay(from, to);
        if self.linked(from, to) {
            self.after(delay, Happening::Arrive { from, to, message });
        }
    }

    /// Sends an answer over both lines; when it has left.
    pub(crate) fn answer(&mut self, from: NodeId, to: Incoming, answer: Answer) -> Instant {
        let (bytes, delay) = (answer.bytes(), self.delay(from, to.peer));
        let now = self.now;
        let begun = [self.nodes.get(from).map(|n| n.up), self.nodes.get(to.peer).map(|n| n.down)];
        let begun = begun.into_iter().flatten().map(|line| line.begins(now)).max().unwrap_or(now);
        let left = self.nodes.get_mut(from).map_or(now, |node| node.up.take(now, bytes));
        let there = self.nodes.get_mut(to.peer).map_or(left, |node| node.down.take(now, bytes));
        if let Answer::Part { index, packed } = &answer {
            let (index, of) = (*index, packed.bytes.len() as u64);
            self.flow(from, to, (index, of), (begun + delay, left.max(there) + delay));
        }
        let message = Message::Answer { request: to.request, answer };
        self.at(left.max(there) + delay, Happening::Arrive { from, to: to.peer, message });
        left
    }

    /// Has a part that is long on its way arrive in pieces.
    fn flow(
        &mut self,
        from: NodeId,
        to: Incoming,
        (index, of): (PartIndex, u64),
        (begun, end): (Instant, Instant),
    ) {
        let takes = (end - begun).as_micros().max(1);
        let mut at = begun + PROGRESS;
        while at < end {
            let bytes = u64::try_from(u128::from(of) * PROGRESS.as_micros() / takes).unwrap_or(0);
            let answer = Answer::Flow { index, bytes, of };
            let message = Message::Answer { request: to.request, answer };
            self.at(at, Happening::Arrive { from, to: to.peer, message });
            at = at + PROGRESS;
        }
    }

    fn delay(&self, a: NodeId, b: NodeId) -> Duration {
        let of =
            |id: NodeId| self.nodes.get(id).map_or(Duration::ZERO, |node| node.setup.speed.delay);
        of(a).max(of(b))
    }

    /// Sends the last of an answer.
    fn close_ask(&mut self, id: NodeId, ask: Ask, answer: Answer) {
        let Some(incoming) = self.nodes.get_mut(id).and_then(|n| n.memory.asks.remove(&ask)) else {
            return;
        };
        let left = self.answer(id, incoming, answer);
        let generation = self.nodes.get(id).map_or(0, |node| node.generation);
        let input = Input::AskClosed { ask };
        self.at(left, Happening::Input { node: id, generation, input });
    }

    fn send_outline(&mut self, id: NodeId, ask: Ask, shard: ShardId, root: StateRoot) {
        let Some(node) = self.nodes.get(id) else { return };
        let held = node
            .disks
            .get(&shard)
            .and_then(|disk| disk.starts.values().find(|start| start.manifest.root() == root));
        let manifest =
            held.map(|start| &start.manifest).or_else(|| node.memory.manifests.get(&root));
        let Some(manifest) = manifest else {
            let answer = Answer::End { refusal: Some(ketch_wire::Refusal::NotHeld), held: None };
            return self.close_ask(id, ask, answer);
        };
        let outline = manifest.outline();
        let (opening, records) = (outline.opening(), outline.records().to_vec());
        self.close_ask(id, ask, Answer::Outline { opening, records });
    }

    fn send_outputs(&mut self, id: NodeId, ask: Ask, shard: ShardId, after: Height, budget: u64) {
        let Some(disk) = self.nodes.get(id).and_then(|node| node.disks.get(&shard)) else { return };
        let (mut chunks, mut bytes) = (Vec::new(), 0);
        for (height, writes) in disk.outputs.range(after.next()..) {
            bytes += writes_bytes(writes) as u64;
            if bytes > budget && !chunks.is_empty() {
                break;
            }
            chunks.push((*height, Arc::clone(writes)));
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
        let generation = self.nodes.get(id).map_or(0, |node| node.generation);
        let packed = self.cached(id, shard, root, part);
        let incoming = self.nodes.get(id).and_then(|node| node.memory.asks.get(&ask)).copied();
        let (Some(incoming), Some(packed)) = (incoming, packed) else {
            let input = Input::PartNotCached { ask, part };
            return self.at(self.now, Happening::Input { node: id, generation, input });
        };
        let bytes = packed.bytes.len() as u64;
        *self.ledger.sent.entry((id, incoming.peer)).or_default() += bytes;
        let fetching = self.status(id, shard).is_some_and(|status| status.phase.is_catching_up());
        if fetching {
            self.ledger.sent_while_fetching += bytes;
        }
        let left = self.answer(id, incoming, Answer::Part { index: part, packed });
        let input = Input::PartSent { ask, part };
        self.at(left, Happening::Input { node: id, generation, input });
    }

    fn cached(
        &self,
        id: NodeId,
        shard: ShardId,
        root: StateRoot,
        part: PartIndex,
    ) -> Option<Arc<PackedPart>> {
        let node = self.nodes.get(id)?;
        let start = node.disks.get(&shard)?.starts.values().find(|s| s.manifest.root() == root);
        let manifest =
            start.map(|start| &start.manifest).or_else(|| node.memory.manifests.get(&root))?;
        node.cache.get(&manifest.part(part)?.hash()).cloned()
    }

    /// Puts a part into a node's cache, from what is on its disk.
    pub(crate) fn generate(
        &mut self,
        id: NodeId,
        shard: ShardId,
        root: StateRoot,
        part: PartIndex,
    ) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Some(disk) = node.disks.get(&shard) else { return };
        let start = disk.starts.values().find(|start| start.manifest.root() == root);
        let (hash, payload) = if let Some(start) = start {
            (start.manifest.part(part).map(ketch_trie::Part::hash), start.payload(part))
        } else {
            let Some(manifest) = node.memory.manifests.get(&root) else { return };
            let payload = StartState::payload_of(&disk.entries, manifest, part);
            (manifest.part(part).map(ketch_trie::Part::hash), payload)
        };
        if let Some(hash) = hash {
            node.cache.insert(hash, Arc::new(PackedPart::pack(&payload)));
            *self.ledger.generated.entry((id, root, part)).or_default() += 1;
        }
    }

    /// Begins work; what it does is done when it ends, so that a crash in between leaves nothing.
    fn begin_work(&mut self, id: NodeId, job: JobId, work: Work) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(id) else { return };
        let generation = node.generation;
        let done = match &work {
            Work::Search { .. } => now + SEARCH,
            Work::Generate { parts, .. } => now + GENERATE * parts.len(),
            Work::Apply { shard, root, parts } => {
                let arrived = node.memory.arrived.entry((*shard, *root)).or_default();
                let parts = (parts.start.0..parts.end.0).map(PartIndex);
                let parts: BTreeMap<_, _> =
                    parts.filter_map(|part| Some((part, arrived.remove(&part)?))).collect();
                let entries = parts.values().flat_map(|part| &part.entries);
                let bytes: usize = entries.map(|(key, value)| 6 + key.len() + value.len()).sum();
                node.memory.applying.insert(job, parts);
                let takes = bytes as u64 * 1_000_000 / node.setup.apply_rate.max(1);
                node.apply_free_at = node.apply_free_at.max(now) + Duration::from_micros(takes);
                node.apply_free_at + DISK
            }
            Work::Replay { shard, through } => {
                let head = node.disks.get(shard).and_then(|disk| disk.head).unwrap_or(*through);
                let blocks = u32::try_from(through.0.saturating_sub(head.0)).unwrap_or(u32::MAX);
                now + node.setup.replay_block * blocks
            }
            _ => now + DISK,
        };
        self.at(done, Happening::Work { node: id, generation, job, work });
    }

    pub(crate) fn work_done(&mut self, id: NodeId, job: JobId, work: &Work) {
        let end = self.do_work(id, job, work);
        self.tell_now(id, Input::JobEnded { job, end });
    }

    fn do_work(&mut self, id: NodeId, job: JobId, work: &Work) -> JobEnd {
        match work {
            Work::Search { shard, epoch } => {
                let found = self.directory.get(&(*shard, *epoch)).cloned().unwrap_or_default();
                found.into_iter().for_each(|peer| self.link(id, peer));
                JobEnd::Searched
            }
            Work::Generate { shard, root, parts, .. } => {
                let mut made = PartSet::empty(parts.count());
                for part in parts.iter() {
                    if self.cached(id, *shard, *root, part).is_none() {
                        self.generate(id, *shard, *root, part);
                    }
                    if self.cached(id, *shard, *root, part).is_some() {
                        made.insert(part);
                    }
                }
                JobEnd::Generated { made }
            }
            Work::CheckOurselves => {
                let sound = self.nodes.get(id).is_some_and(|node| node.setup.defences.verify);
                JobEnd::Checked { sound }
            }
            _ => self.work_on_disk(id, job, work),
        }
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
            self.tell_now(id, Input::Asked { ask, peer: handle(peer), query });
        }
    }
}
