//! What peers ask for, and in which order they get it.

use std::time::Duration;

use ketch_types::{Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{Budget, Following, OutputsRequest, PartsRequest, Refusal, Summary};

use crate::command::Command;
use crate::coordinator::Coordinator;
use crate::id::{Ask, Peer};
use crate::input::{PeerClass, PeerQuery};
use crate::serving::{PartStream, Stream};
use crate::shard::Shard;

/// Parts of one peer that the driver has at once: one on its way and one being read.
const SENDING_PER_PEER: usize = 2;
/// How much more a validator of this epoch or the next is served than anybody else.
const VALIDATOR_WEIGHT: u64 = 3;

/// A state that a peer asks for, as far as it is held.
struct Served {
    shard: ShardId,
    root: StateRoot,
    held: PartSet,
}

impl Coordinator {
    pub(crate) fn asked(&mut self, ask: Ask, peer: Peer, query: PeerQuery) {
        let class = self.peers.get(peer).map_or(PeerClass::Other, |state| state.class);
        if let PeerQuery::Summary(shards) = query {
            let summary = self.summary(&shards);
            return self.command(Command::SendSummary { ask, summary });
        }
        if !self.config.serve {
            return self.end(ask, Some(Refusal::NotHeld), None);
        }
        if !self.admits(peer, class) {
            let retry_after = self.config.busy_retry;
            return self.end(ask, Some(Refusal::Busy { retry_after }), None);
        }
        let weight = if class == PeerClass::Validator { VALIDATOR_WEIGHT } else { 1 };
        match query {
            PeerQuery::Summary(_) => {}
            PeerQuery::Outline { root, cut } => self.outline_asked(ask, peer, weight, root, cut),
            PeerQuery::Parts(request) => self.parts_asked(ask, peer, weight, &request),
            PeerQuery::Outputs(request) => self.outputs_asked(ask, peer, weight, request),
        }
    }

    /// Whether one more answer may be begun: a share is kept for validators, and nobody takes all.
    fn admits(&self, peer: Peer, class: PeerClass) -> bool {
        let kept = match class {
            PeerClass::Validator => 0,
            PeerClass::Other => self.config.asks_for_validators,
        };
        self.serving.len() + kept < self.config.asks_max
            && self.serving.of_peer(peer) < self.config.asks_per_peer
    }

    fn end(&mut self, ask: Ask, refusal: Option<Refusal>, held: Option<PartSet>) {
        self.command(Command::End { ask, refusal, held });
    }

    /// What we hold of some shards: all of it durable.
    fn summary(&self, shards: &[ShardId]) -> Summary {
        let (mut holdings, mut following) = (Vec::new(), Vec::new());
        let shards = shards.iter().filter_map(|id| self.shards.get(id));
        for shard in shards.filter(|shard| !shard.doomed && self.config.serve) {
            let states = shard.held_states().into_iter();
            holdings.extend(states.filter_map(|(key, held)| key.holding(held)));
            let outputs = self.outputs_of(shard);
            following.extend(outputs.and_then(|(f, l)| Following::new(shard.id, f, l).ok()));
        }
        Summary::fitting(holdings, following)
    }

    /// The heights of the first and the last chunk whose outputs are kept.
    fn outputs_of(&self, shard: &Shard) -> Option<(Height, Height)> {
        let after = shard.outputs_after?.max(self.oldest_kept_height());
        let last = shard.applied.filter(|last| *last > after)?;
        Some((after.next(), last))
    }

    fn served(&self, root: StateRoot, cut: u32) -> Result<Served, Refusal> {
        let holding = self.shards.values().filter(|shard| !shard.doomed && shard.has(root));
        let states = holding.flat_map(Shard::held_states);
        let mut of_root = states.filter(|(key, _)| key.root == root).peekable();
        if of_root.peek().is_none() {
            let retired = self.retired.contains(&root);
            return Err(if retired { Refusal::NotRetained } else { Refusal::NotHeld });
        }
        // Another size of parts than the layout's is nobody's.
        let (key, held) = of_root.find(|(key, _)| key.cut == cut).ok_or(Refusal::Invalid)?;
        Ok(Served { shard: key.shard, root, held })
    }

    fn outline_asked(&mut self, ask: Ask, peer: Peer, weight: u64, root: StateRoot, cut: u32) {
        match self.served(root, cut) {
            Ok(Served { shard, root, .. }) => {
                self.serving.open(ask, Stream { peer, weight, parts: None });
                self.command(Command::SendOutline { ask, shard, root });
            }
            Err(refusal) => self.end(ask, Some(refusal), None),
        }
    }

    fn parts_asked(&mut self, ask: Ask, peer: Peer, weight: u64, request: &PartsRequest) {
        let served = match self.served(request.root(), request.cut()) {
            Ok(served) if served.held.count() == request.wanted().count() => served,
            Ok(_) => return self.end(ask, Some(Refusal::Invalid), None),
            Err(refusal) => return self.end(ask, Some(refusal), None),
        };
        let mut left = request.wanted().clone();
        left.subtract(&served.held.complement());
        let (lacking, budget) =
            (left.len() < request.wanted().len(), Budget::new(request.budget_bytes()));
        let parts = PartStream::new(served.shard, served.root, left, lacking, budget);
        self.serving.open(ask, Stream { peer, weight, parts: Some(parts) });
    }

    fn outputs_asked(&mut self, ask: Ask, peer: Peer, weight: u64, request: OutputsRequest) {
        let OutputsRequest { shard, after, newest_epoch, budget_bytes } = request;
        let kept = self.shards.get(&shard).and_then(|shard| self.outputs_of(shard));
        let refusal = match kept {
            Some((first, _)) if after.next() < first => Refusal::NotRetained,
            Some((_, last)) if after < last => {
                self.serving.open(ask, Stream { peer, weight, parts: None });
                let send = Command::SendOutputs { ask, shard, after, newest_epoch, budget_bytes };
                return self.command(send);
            }
            _ => Refusal::NotHeld,
        };
        self.end(ask, Some(refusal), None);
    }

    /// Gives the driver parts to send and to make, the peer that had least first.
    pub(crate) fn serve(&mut self) {
        let patience = self.config.stall_timeout;
        self.drop_what_is_not_held();
        // Who takes his part slowly keeps nobody else waiting.
        let counts = |begun: &Instant| self.now - *begun < patience;
        let sending = self.serving.sends().take_while(counts).count();
        for _ in sending..self.config.sends_max {
            let asks = self.serving.by_fairness(|ask, _| self.next_cached(ask).is_some());
            if !asks.into_iter().any(|ask| self.send_next(ask)) {
                break;
            }
        }
        let generates = self.may_generate();
        for ask in self.serving.by_fairness(|_, parts| generates || parts.is_done()) {
            self.generate_for(ask);
            self.finish(ask);
        }
        self.pregenerate();
    }

    /// Gives up what is left of streams whose state is not held any more.
    fn drop_what_is_not_held(&mut self) {
        let shards = &self.shards;
        for stream in self.serving.part_streams_mut() {
            let shard = shards.get(&stream.shard).filter(|shard| !shard.doomed);
            if shard.is_none_or(|shard| shard.cached(stream.root).is_none()) {
                stream.left = PartSet::empty(stream.left.count());
            }
        }
    }

    /// When a send is so old that it does not count any more.
    pub(crate) fn next_send_timer(&self) -> Option<Instant> {
        let patience: Duration = self.config.stall_timeout;
        let ends = self.serving.sends().map(|begun| begun + patience);
        ends.take_while(|at| *at > self.now).last()
    }

    /// Sends a stream's next part that is in the cache, if it has one.
    fn send_next(&mut self, ask: Ask) -> bool {
        let Some((shard, root, part, bytes)) = self.next_cached(ask) else { return false };
        let now = self.now;
        let Some(stream) = self.serving.parts_mut(ask) else { return false };
        if !stream.budget.admits(bytes) {
            // The budget is spent: what is left is not sent.
            stream.left = PartSet::empty(stream.left.count());
            return false;
        }
        self.serving.begin(ask, part, bytes, now);
        self.command(Command::SendPart { ask, shard, root, part });
        true
    }

    /// Whether the peer of a stream takes more at this moment.
    pub(crate) fn has_room(&self, ask: Ask) -> bool {
        self.serving.sending_to_peer_of(ask) < SENDING_PER_PEER
    }

    pub(crate) fn next_cached(&self, ask: Ask) -> Option<(ShardId, StateRoot, PartIndex, u64)> {
        let stream = self.serving.parts(ask).filter(|_| self.has_room(ask))?;
        let shard = self.shards.get(&stream.shard)?;
        let (sizes, cached) = shard.cached(stream.root)?;
        let part = stream.left.iter().find(|part| cached.contains(*part))?;
        Some((stream.shard, stream.root, part, sizes.bytes(part)))
    }

    /// Ends an answer of which nothing is left to send.
    fn finish(&mut self, ask: Ask) {
        let Some(stream) = self.serving.parts(ask) else { return };
        if !stream.is_done() {
            return;
        }
        let refusal = stream.lacking.then_some(Refusal::NotHeld);
        let (id, root) = (stream.shard, stream.root);
        let states = self.shards.get(&id).map(Shard::held_states).unwrap_or_default();
        let held = states.into_iter().find(|(key, _)| key.root == root).map(|(_, held)| held);
        let refusal = if held.is_none() { Some(Refusal::NotRetained) } else { refusal };
        self.serving.finish(ask);
        self.end(ask, refusal, held);
    }

    pub(crate) fn part_sent(&mut self, ask: Ask, part: PartIndex) {
        self.serving.end(ask, part);
    }

    /// The cache has dropped a part: it is made again, and sent then.
    pub(crate) fn part_not_cached(&mut self, ask: Ask, part: PartIndex) {
        if !self.serving.end(ask, part) {
            return;
        }
        if let Some(stream) = self.serving.parts_mut(ask) {
            stream.left.insert(part);
            let (id, root) = (stream.shard, stream.root);
            if let Some(shard) = self.shards.get_mut(&id) {
                shard.uncache(root, part);
            }
        }
    }
}
