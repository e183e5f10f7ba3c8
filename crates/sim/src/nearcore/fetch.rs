//! Finding hosts, and asking them: one part of one host at a time.

use std::time::Duration;

use ketch_coordinator::{
    Command, Failure, PartSizes, Peer, Phase, Query, RequestEnd, RequestId, Work,
};
use ketch_types::{Chance, Instant, PartIndex, PartSet, ShardId};

use super::Nearcore;
use super::hosts::Host;
use super::limits::{DISCOVERY_INTERVAL, REQUEST_TIMEOUT, REQUESTS_MAX, RETRY_BACKOFF};
use super::shard::{Shard, Target};

/// The outline's place among a shard's parts.
const OUTLINE: PartIndex = PartIndex(u32::MAX);

/// A request that is open.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) peer: Peer,
    pub(super) subject: Subject,
    /// When anything last came of it.
    progressed: Instant,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Summary(Vec<ShardId>),
    Outline(ShardId),
    Part(ShardId),
    Outputs(ShardId),
}

impl Subject {
    fn shard(&self) -> Option<ShardId> {
        match self {
            Subject::Summary(_) => None,
            Subject::Outline(id) | Subject::Part(id) | Subject::Outputs(id) => Some(*id),
        }
    }
}

impl Request {
    pub(super) fn times_out(&self) -> Instant {
        self.progressed + REQUEST_TIMEOUT
    }
}

impl Nearcore {
    pub(super) fn request(&mut self, peer: Peer, subject: Subject, query: Query) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.requests.insert(request, Request { peer, subject, progressed: self.now });
        self.command(Command::Request { request, peer, query });
        request
    }

    /// Whether anything of a kind is asked for.
    pub(super) fn asks_for(&self, subject: &Subject) -> bool {
        self.requests.values().any(|request| request.subject == *subject)
    }

    pub(super) fn request_progressed(&mut self, request: RequestId) {
        if let Some(request) = self.requests.get_mut(&request) {
            request.progressed = self.now;
        }
    }

    pub(super) fn part_verified(&mut self, request: RequestId) {
        self.request_progressed(request);
        let shard = self.requests.get(&request).and_then(|request| request.subject.shard());
        let download = shard.and_then(|id| self.shards.get_mut(&id)?.download.as_mut());
        download.into_iter().for_each(|download| download.window.arrived(request));
    }

    pub(super) fn request_ended(&mut self, id: RequestId, end: RequestEnd) {
        let Some(Request { peer, subject, .. }) = self.requests.remove(&id) else { return };
        match (subject, end) {
            (Subject::Summary(shards), RequestEnd::Summary(summary)) => {
                if let Some(host) = self.hosts.get_mut(peer) {
                    host.sums_up(&shards, &summary);
                }
            }
            (Subject::Outline(shard), RequestEnd::Manifest(sizes)) => {
                self.outline_came(shard, sizes);
            }
            (Subject::Outputs(shard), RequestEnd::Outputs { through, .. }) => {
                self.outputs_came(shard, peer, through);
            }
            (subject, end) => self.nothing_came(id, peer, &subject, &end),
        }
    }

    /// A request has failed, and nobody is blamed for it: it is made again after a while.
    fn nothing_came(&mut self, id: RequestId, peer: Peer, subject: &Subject, end: &RequestEnd) {
        let until = self.now + RETRY_BACKOFF;
        match subject {
            Subject::Summary(_) => {}
            Subject::Outputs(shard) => self.outputs_missed(*shard, peer, end),
            Subject::Outline(shard) => {
                let shard = self.shards.get_mut(shard);
                shard.into_iter().for_each(|shard| shard.retry_at = Some(until));
            }
            Subject::Part(shard) => {
                let download = self.shards.get_mut(shard).and_then(|s| s.download.as_mut());
                download.into_iter().for_each(|download| download.window.failed(id, until));
            }
        }
    }

    pub(super) fn peer_disconnected(&mut self, peer: Peer) {
        self.hosts.disconnect(peer);
        self.server.disconnect(peer);
        self.end_where(|request| request.peer == peer, Failure::Disconnected);
    }

    pub(super) fn expire_requests(&mut self) {
        let now = self.now;
        self.cancel_where(|request| request.times_out() <= now, Failure::TimedOut);
    }

    pub(super) fn cancel_requests_of(&mut self, shard: ShardId) {
        let of_shard = |request: &Request| request.subject.shard() == Some(shard);
        self.cancel_where(of_shard, Failure::Cancelled);
    }

    fn cancel_where(&mut self, which: impl Fn(&Request) -> bool, failure: Failure) {
        let open = self.requests.iter().filter(|(_, request)| which(request));
        for request in open.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.command(Command::Cancel { request });
        }
        self.end_where(which, failure);
    }

    fn end_where(&mut self, which: impl Fn(&Request) -> bool, failure: Failure) {
        let open = self.requests.iter().filter(|(_, request)| which(request));
        for id in open.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.request_ended(id, RequestEnd::Failed(failure));
        }
    }

    /// Learns of hosts, as nearcore's nodes do of all that are in the network: looks for those that can
    /// be found, and has those that are connected say what they hold.
    pub(super) fn discover(&mut self) {
        let (now, pause) = (self.now, self.discovery_pause());
        let due = |last: Option<Instant>| last.is_none_or(|at| at + pause <= now);
        let searching = self.lookers().filter(|(shard, _)| shard.search.is_none());
        let searching = searching.filter(|(shard, _)| due(shard.searched));
        let targets: Vec<_> = searching.map(|(_, target)| *target).collect();
        for Target { shard, epoch, .. } in targets {
            let job = self.run(Work::Search { shard, epoch });
            if let Some(shard) = self.shards.get_mut(&shard) {
                (shard.search, shard.searched) = (Some(job), Some(now));
            }
        }
        let strangers: Vec<_> = self.strangers().filter(|(_, last)| due(*last)).collect();
        let shards: Vec<_> = self.shards.keys().copied().collect();
        for (peer, _) in strangers {
            self.hosts.get_mut(peer).into_iter().for_each(|host| host.asked = Some(now));
            self.request(peer, Subject::Summary(shards.clone()), Query::Summary(shards.clone()));
        }
    }

    /// The time between searches: shorter while nobody is known who holds what is wanted.
    fn discovery_pause(&self) -> Duration {
        let lost = self.lookers().any(|(_, target)| self.hosts.of(target).next().is_none());
        if lost { DISCOVERY_INTERVAL / 5 } else { DISCOVERY_INTERVAL }
    }

    /// Shards that hosts are wanted of, and what is fetched of each. Of an old epoch's start there are
    /// none to be found: who has it has dropped it.
    fn lookers(&self) -> impl Iterator<Item = (&Shard, &Target)> {
        let newest = self.chain.epoch().map(|start| start.epoch);
        let shards = self.shards.values().filter(|shard| shard.wants_hosts());
        let targets = shards.filter_map(|shard| Some((shard, shard.target.as_ref()?)));
        targets.filter(move |(_, target)| Some(target.epoch) == newest)
    }

    /// Peers that may have something that is needed and have not said so, and when they were asked.
    fn strangers(&self) -> impl Iterator<Item = (Peer, Option<Instant>)> + '_ {
        let mut followed = self.shards.values().filter(|shard| shard.is_followed());
        let unfed = followed.any(|shard| !self.hosts.has_feeder(shard.id));
        let is_needed = move |host: &Host| unfed || self.lookers().any(|(_, of)| !host.holds(of));
        let strangers = self.hosts.iter().filter(move |(_, host)| is_needed(host));
        strangers.map(|(peer, host)| (peer, host.asked))
    }

    /// When hosts are looked for again.
    pub(super) fn next_discovery(&self) -> Option<Instant> {
        let searched = self.lookers().filter_map(|(shard, _)| shard.searched);
        let asked = self.strangers().filter_map(|(_, asked)| asked);
        let pause = self.discovery_pause();
        let next = searched.chain(asked).map(|last| last + pause);
        next.filter(|at| *at > self.now).min()
    }

    /// Asks a host for the outline of what is to be fetched.
    pub(super) fn ask_outline(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        let rests = shard.retry_at.is_some_and(|at| at > self.now);
        let Some(target) = shard.target.filter(|_| !rests) else { return };
        if self.asks_for(&Subject::Outline(id)) {
            return;
        }
        let Some(peer) = self.hosts.choose(&target, OUTLINE, &shard.asked) else { return };
        if let Some(shard) = self.shards.get_mut(&id) {
            *shard.asked.entry((OUTLINE, peer)).or_default() += 1;
        }
        let query = Query::Outline { shard: id, root: target.root, cut: target.cut };
        self.request(peer, Subject::Outline(id), query);
    }

    fn outline_came(&mut self, id: ShardId, sizes: PartSizes) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let Some(target) = shard.target else { return };
        if (target.root, target.cut) == (sizes.root(), sizes.cut()) {
            shard.sizes = Some(sizes);
        }
    }

    /// Begins as many requests for parts as may be open.
    pub(super) fn fetch(&mut self) {
        let now = self.now;
        for download in self.shards.values_mut().filter_map(|shard| shard.download.as_mut()) {
            download.window.settle(now);
        }
        loop {
            let mut by_load = self.downloads_by_load();
            by_load.sort_unstable();
            let active: usize = by_load.iter().map(|(active, _)| active).sum();
            let next = by_load.iter().find_map(|(_, id)| self.next_part(*id));
            let Some((target, part)) = next.filter(|_| active < REQUESTS_MAX) else { return };
            self.ask_part(&target, part);
        }
    }

    /// Every download, with the number of requests that it takes up.
    fn downloads_by_load(&self) -> Vec<(usize, ShardId)> {
        let active = |shard: &Shard| Some((shard.download.as_ref()?.window.active(), shard.id));
        self.shards.values().filter_map(active).collect()
    }

    fn next_part(&self, id: ShardId) -> Option<(Target, PartIndex)> {
        let shard = self.shards.get(&id).filter(|shard| shard.doom.is_none())?;
        Some((shard.target?, shard.download.as_ref()?.window.next()?))
    }

    fn ask_part(&mut self, target: &Target, part: PartIndex) {
        let until = self.now + RETRY_BACKOFF;
        let Some(shard) = self.shards.get_mut(&target.shard) else { return };
        let Some(download) = &mut shard.download else { return };
        let Some(peer) = self.hosts.choose(target, part, &shard.asked) else {
            return download.window.skip(until);
        };
        *shard.asked.entry((part, peer)).or_default() += 1;
        let mut wanted = PartSet::empty(download.durable.count());
        wanted.insert(part);
        let query = Query::Parts { shard: target.shard, root: target.root, wanted };
        let request = self.request(peer, Subject::Part(target.shard), query);
        let download = self.shards.get_mut(&target.shard).and_then(|s| s.download.as_mut());
        download.into_iter().for_each(|download| download.window.ask(request));
    }

    /// When a request or a backoff is over.
    pub(super) fn next_request_timer(&self) -> Option<Instant> {
        let downloads = self.shards.values().filter_map(|shard| shard.download.as_ref());
        let backoffs = downloads.filter_map(|download| download.window.next_due());
        self.requests.values().map(Request::times_out).chain(backoffs).min()
    }
}

/// The parts of a shard in the order in which they are asked for: shuffled, so that not all who take
/// it ask the same hosts at the same time. *Source:* nearcore's `run_state_sync_for_shard`.
pub(super) fn shuffled(missing: &PartSet, chance: &mut Chance) -> Vec<PartIndex> {
    let mut parts: Vec<_> = missing.iter().collect();
    for place in (1..parts.len()).rev() {
        parts.swap(place, chance.below(place + 1));
    }
    parts
}

/// Whether a shard's parts are all here and not all of them are on its disk.
pub(super) fn is_fetched(shard: &Shard) -> bool {
    let here = shard.download.as_ref().is_some_and(|download| download.window.is_done());
    here && shard.phase == Phase::Downloading && shard.doom.is_none()
}
