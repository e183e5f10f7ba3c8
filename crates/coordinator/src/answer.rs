//! How requests end, and what is learned from it.

use std::collections::BTreeSet;

use ketch_types::{Instant, PartIndex, ShardId};
use ketch_wire::{Holding, Refusal, Summary};

use crate::command::Command;
use crate::coordinator::Coordinator;
use crate::id::{Peer, RequestId};
use crate::input::{Failure, RequestEnd};
use crate::peers::Kind;
use crate::request::{Request, Subject};
use crate::state_key::StateKey;

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
        if self.peers.get(peer).is_some_and(|state| !state.is_banned(now)) {
            let download = self.shards.get_mut(&holding.shard()).and_then(|s| s.download.as_mut());
            download.into_iter().for_each(|download| download.holds_otherwise(peer));
            self.peers.hold(peer, holding);
        }
    }

    pub(crate) fn request_progressed(&mut self, id: RequestId, bytes: u64) {
        let is_first = self.is_first(id);
        if let Some(request) = self.requests.get_mut(id) {
            request.progressed = self.now;
            let (peer, kind) = (request.peer, request.subject.kind());
            // What was asked of another before is a copy, and brings the state no nearer.
            let fresh = if is_first { request.bring(bytes) } else { 0 };
            if fresh > 0 {
                self.arriving.count(self.now, fresh);
            }
            self.peers.progressed(peer, kind, self.now);
        }
    }

    /// Whether nobody was asked before for the parts that a request brings next.
    fn is_first(&self, id: RequestId) -> bool {
        let first = || {
            let request = self.requests.get(id)?;
            let (shard, part) = (request.shard()?, request.awaited()?.iter().next()?);
            self.shards.get(&shard)?.download.as_ref()?.asked_first(part)
        };
        first() == Some(id)
    }

    /// When anything came last of a request, or of another of its kind that the peer answers first.
    pub(crate) fn progressed(&self, request: &Request) -> Instant {
        let kind = request.subject.kind();
        let of_peer = self.peers.get(request.peer).and_then(|state| state.last_progress(kind));
        of_peer.map_or(request.progressed, |of_peer| of_peer.max(request.progressed))
    }

    pub(crate) fn part_verified(&mut self, id: RequestId, part: PartIndex) {
        let now = self.now;
        let Some(request) = self.requests.get(id).filter(|request| !request.cancelled) else {
            return;
        };
        let Subject::Parts { shard, root, .. } = request.subject else { return };
        let (peer, took) = (request.peer, now - request.delivered);
        let download = self.shards.get_mut(&shard).and_then(|shard| shard.download.as_mut());
        let Some(download) = download.filter(|download| download.sizes().root() == root) else {
            return;
        };
        let bytes = download.sizes().bytes(part);
        let Some(fresh) = self.requests.deliver(id, part, bytes, now) else { return };
        if download.arrive(part) {
            self.arriving.count(now, fresh);
            self.downloaded.count(now, bytes);
        }
        self.peers.progressed(peer, Kind::Parts, now);
        if let Some(state) = self.peers.get_mut(peer) {
            state.delivered(bytes, took, &self.config);
        }
        self.latencies.entry(Kind::Parts).or_default().record(took);
        if let Some(shard) = self.shards.get_mut(&shard) {
            (shard.moved, shard.gained, shard.given_up) = (now, now, 0);
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
        let (peer, kind) = (request.peer, request.subject.kind());
        if request.cancelled && !matches!(end, RequestEnd::Faulty(_)) {
            // What it was for is not wanted any more; a lie is one nevertheless.
            return;
        }
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
                self.disappointed(peer, kind);
                if let Subject::Summary { shards } = &request.subject {
                    shards.iter().for_each(|shard| self.peers.not_told(peer, *shard));
                }
            }
            RequestEnd::Faulty(fault) => self.proven(request, fault),
        }
    }

    /// Takes note of how long an answer took that came as a whole.
    fn answered(&mut self, request: &Request) {
        let (took, kind) = (self.now - request.started, request.subject.kind());
        self.latencies.entry(kind).or_default().record(took);
        if let Some(state) = self.peers.get_mut(request.peer) {
            state.did_well(kind);
        }
    }

    fn summary_came(&mut self, request: &Request, summary: &Summary) {
        let Subject::Summary { shards } = &request.subject else { return };
        self.answered(request);
        // What is not in the summary is not held, whatever was announced.
        for shard in shards {
            let key = self.shards.get(shard).and_then(|shard| shard.target).map(|t| t.key);
            key.iter().for_each(|key| self.peers.forget(request.peer, key));
            let follows = summary.following().iter().any(|f| f.shard() == *shard);
            if let Some(state) = self.peers.get_mut(request.peer).filter(|_| !follows) {
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
        let broken = awaited.iter().any(|part| held.contains(part));
        let target = self.shards.get(shard).and_then(|shard| shard.target);
        let target = target.filter(|target| target.key.root == *root);
        if let Some(holding) = target.and_then(|target| target.key.holding(held)) {
            self.holding_told(request.peer, holding);
        }
        if broken && matches!(refusal, None | Some(Refusal::NotHeld)) {
            self.disappointed(request.peer, Kind::Parts);
        }
        // What is held was said exactly.
        if let Some(refusal) = refusal.filter(|refusal| *refusal != Refusal::NotHeld) {
            self.refused(request, refusal);
        }
    }

    /// A peer failed without having lied.
    pub(crate) fn disappointed(&mut self, peer: Peer, kind: Kind) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.failed(kind, self.now, &self.config);
        }
    }

    /// Rule 4: a typed answer is no fault.
    fn refused(&mut self, request: &Request, refusal: Refusal) {
        let kind = request.subject.kind();
        let of_target = |key: &StateKey| request.root().is_none_or(|root| root == key.root);
        let key = request.shard().and_then(|id| self.shards.get(&id)?.target).map(|t| t.key);
        let key = key.filter(of_target);
        let (now, pause, config) = (self.now, self.block_interval() / 4, &self.config);
        let Some(state) = self.peers.get_mut(request.peer) else { return };
        match (refusal, &request.subject) {
            (Refusal::Busy { retry_after }, _) => {
                let wait = retry_after.max(config.backoff).min(config.backoff_max);
                state.rest(kind, now + wait);
            }
            (Refusal::Unsupported, _) => state.lacks(kind),
            (Refusal::Invalid, _) => state.failed(kind, now, config),
            (Refusal::NotHeld, Subject::Outputs { shard, .. }) => {
                state.had_nothing_newer(*shard, now, pause);
            }
            (Refusal::NotRetained, Subject::Outputs { shard, .. }) => state.unfollow(*shard),
            (Refusal::NotHeld | Refusal::NotRetained, _) => {
                // It said that it had it.
                if key.is_some_and(|key| state.claims(&key).is_some()) {
                    state.failed(kind, now, config);
                }
                key.iter().for_each(|key| self.peers.forget(request.peer, key));
            }
        }
    }

    pub(crate) fn peer_disconnected(&mut self, peer: Peer) {
        let left: BTreeSet<_> = self
            .requests
            .of_peer(peer)
            .filter(|(_, request)| !request.cancelled)
            .map(|(_, request)| request.subject.kind())
            .collect();
        // Whoever goes away and comes again is not as good as who stays.
        left.into_iter().for_each(|kind| self.disappointed(peer, kind));
        self.close_requests_of(peer);
        self.peers.disconnect(peer, self.now, &self.config);
        let downloads = self.shards.values_mut().filter_map(|shard| shard.download.as_mut());
        downloads.for_each(|download| download.holds_otherwise(peer));
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
        self.cancel_where(shard, |_| true);
    }

    pub(crate) fn cancel_outlines_of(&mut self, shard: ShardId) {
        self.cancel_where(shard, |request| matches!(request.subject, Subject::Outline { .. }));
    }

    /// Cancels some of what was asked for a shard.
    pub(crate) fn cancel_where(&mut self, shard: ShardId, which: impl Fn(&Request) -> bool) {
        let open = self.requests.of_shard(shard).filter(|(_, request)| which(request));
        let ids: Vec<_> = open.map(|(id, _)| id).collect();
        for id in ids {
            self.cancel(id);
            if let Some(request) = self.requests.get(id).cloned() {
                self.release_parts(id, &request);
            }
        }
    }

    /// Ends requests that have stalled.
    pub(crate) fn expire_requests(&mut self) {
        let (now, patience) = (self.now, self.config.stall_timeout);
        let stalled = self.requests.iter().filter(|(_, r)| now - self.progressed(r) >= patience);
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
