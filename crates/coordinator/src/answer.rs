//! How requests end, and what is learned from it.

use ketch_types::{PartIndex, ShardId};
use ketch_wire::{Holding, Refusal, Summary};

use crate::command::Command;
use crate::coordinator::Coordinator;
use crate::id::{Peer, RequestId};
use crate::input::{Failure, RequestEnd};
use crate::request::{Request, Subject};
use crate::shard::Phase;

impl Coordinator {
    /// What a peer says that it holds; kept only of states that are known to be, of shards that we take
    /// part in, so that nobody can make us remember anything else.
    pub(crate) fn holding_told(&mut self, peer: Peer, holding: Holding) {
        let now = self.now;
        let Some(shard) = self.shards.get(&holding.shard()) else { return };
        let epoch = self.chain.epochs.get(&holding.epoch());
        let is_state = epoch.is_some_and(|epoch| {
            let root = epoch.roots.get(&holding.shard());
            root == Some(&holding.root()) && epoch.cut == holding.cut()
        });
        let sizes = shard.sizes.as_ref().filter(|sizes| sizes.root() == holding.root());
        let miscounted = sizes.is_some_and(|sizes| sizes.count() != holding.held().count());
        if !is_state || miscounted {
            return;
        }
        if let Some(state) = self.peers.get_mut(peer).filter(|state| !state.is_banned(now)) {
            state.hold(holding);
        }
    }

    pub(crate) fn request_progressed(&mut self, id: RequestId) {
        if let Some(request) = self.requests.get_mut(id) {
            request.progressed = self.now;
        }
    }

    pub(crate) fn part_verified(&mut self, id: RequestId, part: PartIndex) {
        let now = self.now;
        let Some(request) = self.requests.get_mut(id).filter(|request| !request.cancelled) else {
            return;
        };
        let Subject::Parts { shard, root, .. } = request.subject else { return };
        let (peer, took) = (request.peer, now - request.delivered);
        let download = self.shards.get_mut(&shard).and_then(|shard| shard.download.as_mut());
        let Some(download) = download.filter(|download| download.sizes().root() == root) else {
            return;
        };
        let bytes = download.sizes().bytes(part);
        if !request.deliver(part, bytes, now) {
            return;
        }
        if download.arrive(part) {
            self.downloaded.count(now, bytes);
        }
        if let Some(state) = self.peers.get_mut(peer) {
            state.delivered(bytes, took, &self.config);
        }
        self.latencies.entry(crate::peers::Kind::Parts).or_default().record(took);
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.moved = now;
        }
        self.cancel_superseded(shard);
    }

    pub(crate) fn request_ended(&mut self, id: RequestId, end: RequestEnd) {
        if let Some(request) = self.requests.close(id) {
            self.release_parts(id, &request);
            self.learn(&request, end);
        }
    }

    /// What a request did not bring is missing again.
    fn release_parts(&mut self, id: RequestId, request: &Request) {
        if let Subject::Parts { shard, awaited, root, .. } = &request.subject
            && let Some(shard) = self.shards.get_mut(shard)
            && let Some(download) = &mut shard.download
            && download.sizes().root() == *root
        {
            download.release(id, awaited.iter());
            download.close_windows();
        }
    }

    fn learn(&mut self, request: &Request, end: RequestEnd) {
        let peer = request.peer;
        match end {
            RequestEnd::Summary(summary) => self.summary_came(request, &summary),
            RequestEnd::Manifest(sizes) => {
                self.answered(request);
                if let Subject::Outline { shard, .. } = request.subject {
                    self.outline_came(shard, sizes);
                }
            }
            RequestEnd::Parts { held, refusal } => self.parts_ended(request, held, refusal),
            RequestEnd::Outputs { through, bytes } => {
                self.answered(request);
                self.outputs_came(request, through, bytes);
            }
            RequestEnd::Refused(refusal) => self.refused(request, refusal),
            RequestEnd::Failed(Failure::Cancelled) => {}
            RequestEnd::Failed(Failure::TimedOut | Failure::Disconnected) => {
                self.disappointed(peer);
            }
            RequestEnd::Faulty(fault) => self.proven(request, fault),
        }
    }

    /// Takes note of how long an answer took that came as a whole.
    fn answered(&mut self, request: &Request) {
        let took = self.now - request.started;
        self.latencies.entry(request.subject.kind()).or_default().record(took);
    }

    fn summary_came(&mut self, request: &Request, summary: &Summary) {
        let Subject::Summary { shards } = &request.subject else { return };
        // What is not in the summary is not held, whatever was announced.
        for shard in shards {
            let key = self.shards.get(shard).and_then(|shard| shard.target).map(|t| t.key);
            if let Some((state, key)) = self.peers.get_mut(request.peer).zip(key) {
                state.forget(&key);
            }
            if let Some(state) = self.peers.get_mut(request.peer) {
                state.unfollow(*shard);
            }
        }
        for holding in summary.holdings() {
            self.holding_told(request.peer, holding.clone());
        }
        for following in summary.following() {
            if let Some(state) = self.peers.get_mut(request.peer) {
                state.follow(*following);
            }
        }
    }

    fn parts_ended(
        &mut self,
        request: &Request,
        held: ketch_types::PartSet,
        refusal: Option<Refusal>,
    ) {
        let Subject::Parts { shard, root, awaited, .. } = &request.subject else { return };
        // What is promised and not kept costs trust: parts that it says it holds did not come.
        let broken = !request.cancelled && awaited.iter().any(|part| held.contains(part));
        let target = self.shards.get(shard).and_then(|shard| shard.target);
        let target = target.filter(|target| target.key.root == *root);
        if let Some(holding) = target.and_then(|target| target.key.holding(held)) {
            self.holding_told(request.peer, holding);
        }
        if broken && matches!(refusal, None | Some(Refusal::NotHeld)) {
            self.disappointed(request.peer);
        }
        if let Some(refusal) = refusal {
            self.refused(request, refusal);
        }
    }

    /// A peer failed without having lied.
    fn disappointed(&mut self, peer: Peer) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.failed(self.now, &self.config);
        }
    }

    /// Rule 4: a typed answer is no fault.
    fn refused(&mut self, request: &Request, refusal: Refusal) {
        let kind = request.subject.kind();
        let key = request.shard().and_then(|id| self.shards.get(&id)?.target).map(|t| t.key);
        let (now, longest) = (self.now, self.config.backoff_max);
        let Some(state) = self.peers.get_mut(request.peer) else { return };
        match refusal {
            Refusal::Busy { retry_after } => state.rest(now + retry_after.min(longest)),
            Refusal::Unsupported => state.lacks(kind),
            Refusal::Invalid => state.failed(now, &self.config),
            Refusal::NotHeld | Refusal::NotRetained => match &request.subject {
                Subject::Outputs { shard, .. } => state.unfollow(*shard),
                // A parts answer has said exactly what is held.
                Subject::Parts { .. } if refusal == Refusal::NotHeld => {}
                _ => key.iter().for_each(|key| state.forget(key)),
            },
        }
        if refusal == Refusal::NotRetained
            && let Some(shard) = request.shard()
        {
            self.not_retained(shard, request.peer);
        }
    }

    /// A target that nobody keeps any more is given up for the newest one.
    fn not_retained(&mut self, id: ShardId, peer: Peer) {
        let newest = self.newest_target(id);
        let Some(shard) = self.shards.get_mut(&id) else { return };
        shard.search.not_retained.insert(peer);
        if !matches!(shard.phase, Phase::Locating | Phase::Downloading | Phase::Replaying) {
            return;
        }
        let Some(target) = shard.target else {
            // A chain of outputs that nobody keeps: what is held is an old state.
            return self.retarget(id);
        };
        let nobody = !self.peers.reachable(self.now).any(|(_, p)| p.claims(&target.key).is_some());
        let replaying = self.shards.get(&id).is_some_and(|shard| shard.phase == Phase::Replaying);
        if newest.is_some_and(|newest| newest.key != target.key) && (nobody || replaying) {
            self.retarget(id);
        }
    }

    pub(crate) fn peer_disconnected(&mut self, peer: Peer) {
        self.close_requests_of(peer);
        self.peers.disconnect(peer, self.now);
        self.serving.disconnect(peer);
    }

    /// Ends all requests to a peer that cannot answer any more.
    pub(crate) fn close_requests_of(&mut self, peer: Peer) {
        let ids: Vec<_> = self.requests.of_peer(peer).map(|(id, _)| id).collect();
        for id in ids {
            if let Some(request) = self.requests.close(id) {
                self.release_parts(id, &request);
            }
        }
    }

    /// Cancels everything that was asked for a shard; what it was for is not wanted any more.
    pub(crate) fn cancel_requests_of(&mut self, shard: ShardId) {
        let ids: Vec<_> = self.requests.of_shard(shard).map(|(id, _)| id).collect();
        for id in ids {
            self.cancel(id);
            if let Some(request) = self.requests.get(id).cloned() {
                self.release_parts(id, &request);
            }
        }
    }

    pub(crate) fn cancel_outlines_of(&mut self, shard: ShardId) {
        let outlines = self.requests.of_shard(shard);
        let ids: Vec<_> = outlines
            .filter(|(_, request)| matches!(request.subject, Subject::Outline { .. }))
            .map(|(id, _)| id)
            .collect();
        ids.into_iter().for_each(|id| self.cancel(id));
    }

    /// Ends requests that have stalled.
    pub(crate) fn expire_requests(&mut self) {
        let (now, patience) = (self.now, self.config.stall_timeout);
        let stalled = self.requests.iter().filter(|(_, r)| now - r.progressed >= patience);
        let ids: Vec<_> = stalled.map(|(id, request)| (id, request.cancelled)).collect();
        for (id, cancelled) in ids {
            if !cancelled {
                self.command(Command::Cancel { request: id });
            }
            let failure = if cancelled { Failure::Cancelled } else { Failure::TimedOut };
            self.request_ended(id, RequestEnd::Failed(failure));
        }
    }
}
