//! Rule 5: what takes too long, or is the last that is missing, is asked of a second peer.

use std::cell::LazyCell;
use std::time::Duration;

use ketch_types::{Instant, PartSet, ShardId};

use crate::command::Command;
use crate::coordinator::Coordinator;
use crate::download::Download;
use crate::id::{Peer, RequestId};
use crate::peers::{Kind, PeerState, Standing};
use crate::request::{Request, Subject};
use crate::shard::Phase;
use crate::verdict::time_for;

/// The most peers that are asked at once for the same outline or outputs.
const AT_ONCE_MAX: usize = 8;

impl Coordinator {
    /// Asks second peers, where that promises an earlier end.
    pub(crate) fn hedge(&mut self) {
        let late = self.requests.iter().filter(|(_, request)| self.wants_hedge(request));
        let late: Vec<_> = late.map(|(id, _)| id).collect();
        late.into_iter().for_each(|id| self.hedge_parts(id));
        self.give_up_slow_parts();
    }

    /// Gives up requests that bring nothing whole though they have a second, for the sake of a third.
    fn give_up_slow_parts(&mut self) {
        let slow = |(_, request): &(RequestId, &Request)| {
            let parts = matches!(request.subject, Subject::Parts { .. });
            let slow = self.is_too_slow(request) || self.is_doubtful(request);
            parts && request.hedged && !request.cancelled && slow
        };
        let slow: Vec<_> = self.requests.iter().filter(slow).map(|(id, _)| id).collect();
        for id in slow {
            let Some(request) = self.requests.get(id) else { continue };
            let Some((shard, awaited)) = request.shard().zip(request.awaited().cloned()) else {
                continue;
            };
            if self.somebody_else_holds(shard, &awaited) {
                self.give_up(id);
                for (_, other) in self.requests.of_shard_mut(shard) {
                    other.hedged &= !other.awaits_any(&awaited);
                }
            }
        }
    }

    /// Whether a peer that was not asked for these parts could be.
    fn somebody_else_holds(&self, shard: ShardId, parts: &PartSet) -> bool {
        let shard = self.shards.get(&shard).filter(|shard| shard.phase == Phase::Downloading);
        let Some(shard) = shard else { return false };
        let Some((target, download)) = shard.target.zip(shard.download.as_ref()) else {
            return false;
        };
        let able = |(peer, state): (Peer, &PeerState)| {
            let spare = state.spare_bytes(self.requests.load(peer, Kind::Parts), &self.config);
            let asked = self.requests.of_peer(peer).any(|(_, request)| request.awaits_any(parts));
            let held = state.held(&target.key, parts.count()).filter(|_| spare > 0 && !asked);
            let fine = |part| !download.has_failed_at(part, peer);
            held.is_some_and(|held| parts.iter().any(|part| held.contains(part) && fine(part)))
        };
        self.peers.usable_holders(&target.key, Kind::Parts, self.now).any(able)
    }

    /// Whom to ask for what comes as a whole, an outline or outputs: the best of those who are able, if
    /// everybody who was asked is late. Two are asked at once, and one more for each that was given up.
    pub(crate) fn whom_to_ask(
        &mut self,
        id: ShardId,
        kind: Kind,
        able: impl Fn(&PeerState) -> bool,
    ) -> Option<Peer> {
        let open = self.requests.of_shard(id);
        let open = open.filter(|(_, r)| r.subject.kind() == kind && !r.cancelled);
        let open: Vec<_> = open.map(|(request, r)| (request, r.peer, self.is_late(r))).collect();
        if open.iter().any(|(.., late)| !late) {
            return None;
        }
        let load = |peer| self.requests.load(peer, kind).0;
        let others = self
            .peers
            .usable(kind, self.now)
            .filter(|(peer, state)| open.iter().all(|(_, other, _)| other != peer) && able(state));
        let (peer, _) = others.min_by_key(|(peer, state)| {
            let trouble = (state.failures(kind), state.idleness(id));
            (trouble, load(*peer), self.preference(state), *peer)
        })?;
        let given_up = self.shards.get(&id).map_or(0, |shard| shard.given_up as usize);
        if open.len() >= given_up.saturating_add(2).min(AT_ONCE_MAX) {
            self.give_up_slowest(open.into_iter().map(|(request, ..)| request));
            return None;
        }
        Some(peer)
    }

    /// Gives up the slowest of some requests of a shard if it takes too long.
    fn give_up_slowest(&mut self, requests: impl Iterator<Item = RequestId>) {
        let open = requests.filter_map(|id| Some((self.requests.get(id)?, id)));
        let slowest = open.min_by_key(|(request, id)| (request.delivered, *id));
        if let Some((request, id)) = slowest
            && self.is_too_slow(request)
        {
            self.give_up(id);
        }
    }

    /// Whether nothing comes of a peer that has never brought a part, and is late twice: two of these must
    /// not keep a part from those who are known to bring some.
    fn is_doubtful(&self, request: &Request) -> bool {
        let peer = self.peers.get(request.peer);
        let is_proven = peer.is_some_and(|peer| peer.standing() == Standing::Proven);
        let waited = self.now - request.delivered;
        let late = self.patience(request.subject.kind()).saturating_mul(2);
        !is_proven && waited >= late && request.brought_bytes == 0
    }

    fn is_too_slow(&self, request: &Request) -> bool {
        self.now - request.delivered >= self.endurance(request)
    }

    /// How long a peer may take for something whole when others could be asked. It doubles twice, so
    /// that a crowd of honest slow ones is not asked in turns for ever.
    fn endurance(&self, request: &Request) -> Duration {
        let given_up =
            request.shard().and_then(|id| self.shards.get(&id)).map_or(0, |s| s.given_up);
        let measured = self.latencies.get(&request.subject.kind());
        let usual = measured.and_then(crate::latency::Latency::longest).unwrap_or_default();
        let first = usual.saturating_mul(4).max(self.config.stall_timeout);
        first.saturating_mul(1 << given_up.min(2))
    }

    fn give_up(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(id) else { return };
        let (peer, kind, shard) = (request.peer, request.subject.kind(), request.shard());
        self.cancel(id);
        self.disappointed(peer, kind);
        if let Some(shard) = shard.and_then(|id| self.shards.get_mut(&id)) {
            shard.given_up = shard.given_up.saturating_add(1);
        }
    }

    fn wants_hedge(&self, request: &Request) -> bool {
        let parts = matches!(request.subject, Subject::Parts { .. });
        parts
            && !request.hedged
            && !request.cancelled
            && (self.is_late(request) || self.is_last(request))
    }

    fn is_late(&self, request: &Request) -> bool {
        self.now - request.delivered >= self.patience(request.subject.kind())
    }

    /// Whether everything of the shard that is missing has been asked for, and this request is some
    /// of it.
    fn is_last(&self, request: &Request) -> bool {
        let Subject::Parts { shard, .. } = request.subject else { return false };
        let shard = self.shards.get(&shard).filter(|shard| shard.phase == Phase::Downloading);
        shard.and_then(|shard| shard.download.as_ref()).is_some_and(Download::all_asked)
    }

    /// How long nothing whole may come before a second peer is asked.
    pub(crate) fn patience(&self, kind: Kind) -> Duration {
        let measured = self.latencies.get(&kind).and_then(crate::latency::Latency::high);
        // A percentile of answers that came at once must not make every hiccup a second request.
        measured.map_or(self.config.hedge_prior, |high| {
            let doubled = high.saturating_mul(2).max(self.config.hedge_min);
            doubled.min(self.config.stall_timeout)
        })
    }

    fn mark_hedged(&mut self, id: RequestId) {
        if let Some(request) = self.requests.get_mut(id) {
            request.hedged = true;
        }
    }

    fn hedge_parts(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(id) else { return };
        let Some((shard, awaited)) = request.shard().zip(request.awaited()) else { return };
        let Some((peer, parts)) = self.second_peer(shard, request, awaited) else { return };
        self.mark_hedged(id);
        // What is hedged twice gains nothing: the second request is not hedged again.
        if let Some(second) = self.assigned(shard, peer, &parts) {
            self.mark_hedged(second);
        }
    }

    /// Whoever would bring what is awaited at least half again as soon as the one who was asked.
    fn second_peer(
        &self,
        shard: ShardId,
        request: &Request,
        awaited: &PartSet,
    ) -> Option<(Peer, PartSet)> {
        let shard = self.shards.get(&shard).filter(|shard| shard.phase == Phase::Downloading)?;
        let (key, download) = (shard.target?.key, shard.download.as_ref()?);
        let count = download.sizes().count();
        let single: Vec<_> = awaited.iter().filter(|part| download.asked_of(*part) == 1).collect();
        if single.is_empty() {
            return None;
        }
        let overdue = self.is_late(request);
        // Who has kept us waiting for so long will hardly be there sooner.
        let waited = self.now - request.delivered;
        let unproven = LazyCell::new(|| self.unproven_rate());
        let expected = |peer, bytes| {
            let rate = self.peers.get(peer).and_then(PeerState::rate);
            let bytes = self.requests.load(peer, Kind::Parts).1.saturating_add(bytes);
            time_for(bytes, rate.unwrap_or_else(|| *unproven))
        };
        let first = expected(request.peer, 0).max(waited);
        let able = |(peer, state): (Peer, &PeerState)| {
            let spare = state.spare_bytes(self.requests.load(peer, Kind::Parts), &self.config);
            if peer == request.peer || spare == 0 {
                return None;
            }
            let held = state.held(&key, count)?;
            let mut parts = PartSet::empty(count);
            let gives = |part: &&ketch_types::PartIndex| {
                held.contains(**part) && !download.has_failed_at(**part, peer)
            };
            single.iter().filter(gives).for_each(|part| {
                parts.insert(*part);
            });
            let bytes = download.sizes().bytes_of(&parts);
            let takes = expected(peer, bytes);
            let sooner = overdue || takes.saturating_mul(3) < first.saturating_mul(2);
            (bytes > 0 && sooner).then_some((state.standing(), takes, peer, parts))
        };
        let second = self.peers.usable_holders(&key, Kind::Parts, self.now).filter_map(able);
        let best = second.min_by_key(|(standing, takes, peer, _)| (*standing, *takes, *peer));
        best.map(|(_, _, peer, parts)| (peer, parts))
    }

    /// Cancels requests of which everything has come from elsewhere.
    pub(crate) fn cancel_superseded(&mut self, shard: ShardId) {
        let Some(download) = self.shards.get(&shard).and_then(|shard| shard.download.as_ref())
        else {
            return;
        };
        let superseded = |(_, request): &(RequestId, &Request)| {
            let awaited = request.awaited().filter(|awaited| !awaited.is_empty());
            !request.cancelled
                && awaited
                    .is_some_and(|awaited| !awaited.iter().any(|part| download.is_requested(part)))
        };
        let ids: Vec<_> =
            self.requests.of_shard(shard).filter(superseded).map(|(id, _)| id).collect();
        for id in ids {
            self.cancel(id);
        }
    }

    /// Tells the driver to stop a request. It keeps its slot until the driver has.
    pub(crate) fn cancel(&mut self, id: RequestId) {
        let Some(request) = self.requests.get_mut(id).filter(|request| !request.cancelled) else {
            return;
        };
        request.cancelled = true;
        self.command(Command::Cancel { request: id });
    }

    pub(crate) fn next_request_timer(&self) -> Option<Instant> {
        let of = |(_, request): (RequestId, &Request)| {
            let stalls = self.progressed(request) + self.config.stall_timeout;
            let second = request.delivered + self.patience(request.subject.kind());
            let third = request.delivered + self.endurance(request);
            let more = [(second, !request.hedged), (third, true)].into_iter();
            let more = more.filter(|(at, counts)| *counts && !request.cancelled && *at > self.now);
            more.map(|(at, _)| at).chain([stalls]).min().unwrap_or(stalls)
        };
        self.requests.iter().map(of).min()
    }
}

impl Subject {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Subject::Summary { .. } => Kind::Summary,
            Subject::Outline { .. } => Kind::Outline,
            Subject::Parts { .. } => Kind::Parts,
            Subject::Outputs { .. } => Kind::Outputs,
        }
    }
}
