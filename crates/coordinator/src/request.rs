use std::collections::{BTreeMap, BTreeSet};

use ketch_types::{Height, Instant, PartIndex, PartSet, ShardId, StateRoot};

use crate::id::{Peer, RequestId};
use crate::peers::Kind;

/// Every request that is under way. What is derived from it (bytes from a peer, slots taken) is looked
/// up for every peer with every input, so it is kept beside it: changed here alone, and in debug builds
/// compared with what is open each time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    open: BTreeMap<RequestId, Request>,
    of_peers: BTreeMap<Peer, OfPeer>,
    next: u64,
}

/// What one peer is asked for.
#[derive(Clone, Debug, Default)]
struct OfPeer {
    ids: BTreeSet<RequestId>,
    /// By kind: how many requests, and for how many bytes.
    load: [(usize, u64); Kind::COUNT],
}

/// One question to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) peer: Peer,
    pub(crate) subject: Subject,
    pub(crate) started: Instant,
    /// When anything came last, or it started.
    pub(crate) progressed: Instant,
    /// When something whole came last (a part), or it started.
    pub(crate) delivered: Instant,
    /// What came of parts that are not verified yet. *Units:* bytes.
    pub(crate) brought_bytes: u64,
    /// Whether somebody else was asked for the same.
    pub(crate) hedged: bool,
    /// Whether it was cancelled; it holds its slot until the driver says that it is over.
    pub(crate) cancelled: bool,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Summary { shards: Vec<ShardId> },
    Outline { shard: ShardId, root: StateRoot },
    Parts { shard: ShardId, root: StateRoot, awaited: PartSet, awaited_bytes: u64 },
    Outputs { shard: ShardId, after: Height },
}

impl Request {
    pub(crate) fn new(peer: Peer, subject: Subject, now: Instant) -> Self {
        Self {
            peer,
            subject,
            started: now,
            progressed: now,
            delivered: now,
            brought_bytes: 0,
            hedged: false,
            cancelled: false,
        }
    }

    /// The shard that waits for it.
    pub(crate) fn shard(&self) -> Option<ShardId> {
        match self.subject {
            Subject::Summary { .. } => None,
            Subject::Outline { shard, .. }
            | Subject::Parts { shard, .. }
            | Subject::Outputs { shard, .. } => Some(shard),
        }
    }

    /// The state that it is about.
    pub(crate) fn root(&self) -> Option<StateRoot> {
        match self.subject {
            Subject::Summary { .. } | Subject::Outputs { .. } => None,
            Subject::Outline { root, .. } | Subject::Parts { root, .. } => Some(root),
        }
    }

    /// Bytes that are still to come, as far as is known.
    pub(crate) fn awaited_bytes(&self) -> u64 {
        match self.subject {
            Subject::Parts { awaited_bytes, .. } => awaited_bytes,
            _ => 0,
        }
    }

    /// The parts still to come.
    pub(crate) fn awaited(&self) -> Option<&PartSet> {
        match &self.subject {
            Subject::Parts { awaited, .. } => Some(awaited),
            _ => None,
        }
    }

    /// Whether any of some parts is still to come.
    pub(crate) fn awaits_any(&self, parts: &PartSet) -> bool {
        self.awaited().is_some_and(|awaited| parts.iter().any(|part| awaited.contains(part)))
    }

    /// Takes note that some bytes of parts came; how many of them can be. No more than was asked for,
    /// whatever is told.
    pub(crate) fn bring(&mut self, bytes: u64) -> u64 {
        let fresh = bytes.min(self.awaited_bytes().saturating_sub(self.brought_bytes));
        self.brought_bytes = self.brought_bytes.saturating_add(fresh);
        fresh
    }

    /// Takes note that `part`, of so many bytes, came; how many of them were not brought before. None if
    /// it was not awaited.
    fn deliver(&mut self, part: PartIndex, bytes: u64, now: Instant) -> Option<u64> {
        let Subject::Parts { awaited, awaited_bytes, .. } = &mut self.subject else {
            return None;
        };
        awaited.remove(part).then_some(())?;
        *awaited_bytes = awaited_bytes.saturating_sub(bytes);
        (self.progressed, self.delivered) = (now, now);
        // Parts come one after the other: what was brought is of this one first.
        let known = self.brought_bytes.min(bytes);
        self.brought_bytes -= known;
        Some(bytes - known)
    }
}

impl Requests {
    pub(crate) fn open(&mut self, request: Request) -> RequestId {
        let id = RequestId(self.next);
        self.next += 1;
        let (peer, kind) = (request.peer, request.subject.kind());
        self.of_peers.entry(peer).or_default().ids.insert(id);
        self.open.insert(id, request);
        self.weigh(peer, kind);
        id
    }

    /// Ends a request and gives it back; none if it is over already.
    pub(crate) fn close(&mut self, id: RequestId) -> Option<Request> {
        let request = self.open.remove(&id)?;
        if let Some(of_peer) = self.of_peers.get_mut(&request.peer) {
            of_peer.ids.remove(&id);
            if of_peer.ids.is_empty() {
                self.of_peers.remove(&request.peer);
            }
        }
        self.weigh(request.peer, request.subject.kind());
        Some(request)
    }

    /// Takes note that `part`, of so many bytes, came; see [`Request::deliver`].
    pub(crate) fn deliver(
        &mut self,
        id: RequestId,
        part: PartIndex,
        bytes: u64,
        now: Instant,
    ) -> Option<u64> {
        let request = self.open.get_mut(&id)?;
        let (peer, fresh) = (request.peer, request.deliver(part, bytes, now)?);
        self.weigh(peer, Kind::Parts);
        Some(fresh)
    }

    /// Makes the load of a peer anew, from the few requests that it has open.
    fn weigh(&mut self, peer: Peer, kind: Kind) {
        let weighed = self.weighed(peer, kind);
        let of_peer = self.of_peers.get_mut(&peer);
        if let Some(load) = of_peer.and_then(|of_peer| of_peer.load.get_mut(kind as usize)) {
            *load = weighed;
        }
    }

    fn weighed(&self, peer: Peer, kind: Kind) -> (usize, u64) {
        let add = |(count, bytes): (usize, u64), request: &Request| {
            (count + 1, bytes.saturating_add(request.awaited_bytes()))
        };
        let of_kind = self.of_peer(peer).map(|(_, request)| request);
        of_kind.filter(|request| request.subject.kind() == kind).fold((0, 0), add)
    }

    pub(crate) fn get(&self, id: RequestId) -> Option<&Request> {
        self.open.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: RequestId) -> Option<&mut Request> {
        self.open.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (RequestId, &Request)> {
        self.open.iter().map(|(id, request)| (*id, request))
    }

    pub(crate) fn of_peer(&self, peer: Peer) -> impl Iterator<Item = (RequestId, &Request)> {
        let ids = self.of_peers.get(&peer).into_iter().flat_map(|of_peer| &of_peer.ids);
        ids.filter_map(|id| Some((*id, self.open.get(id)?)))
    }

    pub(crate) fn of_shard(&self, shard: ShardId) -> impl Iterator<Item = (RequestId, &Request)> {
        self.iter().filter(move |(_, request)| request.shard() == Some(shard))
    }

    pub(crate) fn of_shard_mut(
        &mut self,
        shard: ShardId,
    ) -> impl Iterator<Item = (RequestId, &mut Request)> {
        let of_shard = move |(_, r): &(&RequestId, &mut Request)| r.shard() == Some(shard);
        self.open.iter_mut().filter(of_shard).map(|(id, request)| (*id, request))
    }

    /// How many requests of a kind a peer has open, and for how many bytes.
    pub(crate) fn load(&self, peer: Peer, kind: Kind) -> (usize, u64) {
        let of_peer = self.of_peers.get(&peer);
        let load = of_peer.and_then(|of_peer| of_peer.load.get(kind as usize)).copied();
        let load = load.unwrap_or_default();
        debug_assert_eq!(load, self.weighed(peer, kind), "{peer}");
        load
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(peer: u32, parts: &[u32], bytes: u64) -> Request {
        let mut awaited = PartSet::empty(100);
        parts.iter().for_each(|part| {
            awaited.insert(PartIndex(*part));
        });
        let (shard, root) = (ShardId(1), StateRoot::new([0; 32]));
        let subject = Subject::Parts { shard, root, awaited, awaited_bytes: bytes };
        Request::new(Peer(peer), subject, Instant::ORIGIN)
    }

    #[test]
    fn a_request_is_closed_once() {
        let mut requests = Requests::default();
        let id = requests.open(parts(1, &[1], 10));
        assert!(requests.close(id).is_some());
        assert_eq!(requests.close(id), None);
        assert!(requests.is_empty() && requests.of_peers.is_empty());
    }

    #[test]
    fn a_part_counts_once_however_often_it_comes() {
        let mut requests = Requests::default();
        let id = requests.open(parts(1, &[1, 2], 20));
        for (part, fresh) in [(1, Some(10)), (1, None), (3, None)] {
            assert_eq!(requests.deliver(id, PartIndex(part), 10, Instant::ORIGIN), fresh);
        }
        assert_eq!(requests.load(Peer(1), Kind::Parts), (1, 10));
    }

    proptest! {
        #[test]
        fn bytes_count_once_whether_they_are_told_of_on_the_way_or_not(
            steps in proptest::collection::vec((0u32..8, 0u64..30, any::<bool>()), 0..40),
        ) {
            let mut request = parts(1, &[0, 1, 2, 3, 4, 5], 60);
            let (mut counted, mut verified) = (0, 0);
            for (part, bytes, whole) in steps {
                if whole {
                    let fresh = request.deliver(PartIndex(part), 10, Instant::ORIGIN);
                    counted += fresh.unwrap_or(0);
                    verified += fresh.map_or(0, |_| 10);
                } else {
                    counted += request.bring(bytes);
                }
                prop_assert_eq!(counted, verified + request.brought_bytes);
                prop_assert!(counted <= 60);
            }
        }

        /// Rule 8: whatever happens in whatever order, slots are those of what is open.
        #[test]
        fn slots_are_those_of_open_requests_and_none_at_rest(
            steps in proptest::collection::vec((0u32..4, 0u64..30, any::<bool>()), 0..120),
        ) {
            let mut requests = Requests::default();
            let mut model: BTreeMap<u64, (u32, u64)> = BTreeMap::new();
            for (peer, number, open) in steps {
                if open {
                    let id = requests.open(parts(peer, &[1], number));
                    model.insert(id.0, (peer, number));
                } else {
                    let closed = requests.close(RequestId(number));
                    prop_assert_eq!(closed.is_some(), model.remove(&number).is_some());
                }
                for peer in 0..4 {
                    let of_peer: Vec<_> = model.values().filter(|(p, _)| *p == peer).collect();
                    let bytes = of_peer.iter().map(|(_, bytes)| bytes).sum();
                    prop_assert_eq!(requests.load(Peer(peer), Kind::Parts), (of_peer.len(), bytes));
                }
            }
            for id in model.into_keys() {
                requests.close(RequestId(id));
            }
            prop_assert!(requests.is_empty() && requests.of_peers.is_empty());
        }
    }
}
