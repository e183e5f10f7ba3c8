//! Which parts are asked of whom.

use std::cell::{LazyCell, OnceCell};
use std::time::Duration;

use ketch_types::{Chance, PartIndex, PartSet, ShardId, mix};
use ketch_wire::limits::SUMMARY_SHARDS_MAX;

use crate::affinity::rendezvous;
use crate::command::Query;
use crate::coordinator::Coordinator;
use crate::download::Download;
use crate::holders::Holders;
use crate::id::{Peer, RequestId};
use crate::peers::{Kind, PeerState, Standing};
use crate::request::Subject;
use crate::shard::{Phase, Shard};
use crate::state_key::StateKey;
use crate::turn::Turn;
use crate::verdict::{Verdict, time_for};

/// A peer that has room for more, and holds something that is missing.
struct Able<'a> {
    peer: Peer,
    state: &'a PeerState,
    /// What it may be asked for.
    held: &'a PartSet,
    /// Whether it holds the whole state.
    whole: bool,
    /// What is under way from it. *Units:* bytes.
    load_bytes: u64,
    /// *Units:* bytes.
    spare: u64,
}

/// One request that is about to be made.
struct Assignment {
    peer: Peer,
    parts: PartSet,
    bytes: u64,
}

impl Coordinator {
    /// Asks for as much as peers and memory allow, of the shard with the least slack first.
    pub(crate) fn fetch(&mut self) {
        let mut memory = self.config.memory_bytes.saturating_sub(self.pending_bytes());
        for id in self.order.clone() {
            if self.yields(id) {
                continue;
            }
            self.note_shared(id);
            while let Some(bytes) = self.fetch_some(id, memory) {
                memory = memory.saturating_sub(bytes);
            }
        }
        self.ask_summaries();
    }

    /// Whether a shard that cannot be in time leaves the line to the blocks of one that can be, as long
    /// as that one gains by it.
    fn yields(&self, id: ShardId) -> bool {
        let is_lost =
            |shard: &Shard| matches!(shard.outlook.verdict, Some(Verdict::Impossible { .. }));
        let needs_blocks = |shard: &Shard| {
            let gains = self.now - shard.gained <= self.config.stall_timeout;
            shard.phase == Phase::Replaying && shard.deadline.is_some() && !is_lost(shard) && gains
        };
        self.shards.get(&id).is_some_and(is_lost) && self.shards.values().any(needs_blocks)
    }

    /// Makes one request or opens one window; the bytes that it takes, if there was anything to do.
    fn fetch_some(&mut self, id: ShardId, memory: u64) -> Option<u64> {
        // Drawn for each request, used for one in many.
        let experiment =
            self.chance.one_in(self.config.experiment_one_in).then(|| self.chance.draw());
        let shard = self.shards.get(&id).filter(|shard| shard.phase == Phase::Downloading)?;
        let (target, download) = (shard.target?, shard.download.as_ref()?);
        let (turn, rare) = (shard.turn, OnceCell::new());
        let rare = || rare.get_or_init(|| download.rare()).as_ref();
        let (able, useless) = self.able(&target.key, download, rare);
        if able.is_empty() {
            self.shards.get_mut(&id)?.download.as_mut()?.note_useless(useless);
            return None;
        }
        // A part that is larger than all memory is taken alone.
        let nothing_pending = memory == self.config.memory_bytes;
        let largest = if nothing_pending { u64::MAX } else { memory };
        let fits = |part: &PartIndex| download.sizes().bytes(*part) <= largest;
        for missing in download.missing_in_open_windows() {
            if missing.is_empty() {
                continue;
            }
            let missing: Vec<_> = missing.into_iter().filter(fits).collect();
            if missing.is_empty() {
                return None;
            }
            if let Some(assignment) = self.assign(&able, download, &missing, (memory, experiment)) {
                self.assigned(id, assignment.peer, &assignment.parts);
                return Some(assignment.bytes);
            }
        }
        let mut askable = PartSet::empty(download.sizes().count());
        able.iter().for_each(|able| askable.union_with(able.held));
        let opens = memory > 0 && download.has_window_for(&askable, turn);
        (opens && self.open_window(id, &target.key, &askable)).then_some(0)
    }

    fn open_window(&mut self, id: ShardId, key: &StateKey, askable: &PartSet) -> bool {
        let holders = Holders::count(&self.peers, key, askable.count(), self.now);
        let Some(shard) = self.shards.get_mut(&id) else { return false };
        let (turn, download) = (shard.turn, shard.download.as_mut());
        let holders = |part| holders.of(part);
        download.is_some_and(|download| {
            download.open_window(holders, askable, turn, &mut self.chance, self.now)
        })
    }

    /// Notes what other takers have got, where takers take turns, or that nobody is waited for any more.
    fn note_shared(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get_mut(&id).filter(|shard| shard.turn != Turn::ALONE) else {
            return;
        };
        let Some((target, download)) = shard.target.zip(shard.download.as_mut()) else { return };
        // As long as others take to tell of what they have.
        if self.now - shard.gained >= self.config.announce_interval {
            download.wait_for_nobody();
        }
        if !download.is_shared_unknown() {
            return;
        }
        let count = download.sizes().count();
        let mut shared = PartSet::empty(count);
        let holders = self.peers.holders(&target.key, self.now);
        let partial = holders.filter_map(|(_, peer)| peer.held(&target.key, count));
        partial.filter(|held| !held.is_full()).for_each(|held| shared.union_with(held));
        download.note_shared(shared);
    }

    /// Who could be asked for something at this moment, and who has room for more but nothing to give.
    /// Of those who hold everything only what is `rare` is asked, if that is not everything.
    fn able<'a>(
        &'a self,
        key: &StateKey,
        download: &Download,
        rare: impl Fn() -> Option<&'a PartSet>,
    ) -> (Vec<Able<'a>>, Vec<Peer>) {
        let (mut able, mut useless) = (Vec::new(), Vec::new());
        if download.all_asked() {
            return (able, useless);
        }
        let holders = self.peers.usable_holders(key, Kind::Parts, self.now);
        for (peer, state) in holders {
            let load = self.requests.load(peer, Kind::Parts);
            let spare = state.spare_bytes(load, &self.config);
            let held = state.held(key, download.sizes().count()).filter(|_| spare > 0);
            let Some(held) = held else { continue };
            if download.is_useless(peer, held) {
                useless.push(peer);
                continue;
            }
            let whole = held.is_full();
            let held = if whole { rare().unwrap_or(held) } else { held };
            able.push(Able { peer, state, held, whole, load_bytes: load.1, spare });
        }
        (able, useless)
    }

    /// Chooses who is asked for some of `missing`, and for which.
    fn assign(
        &self,
        able: &[Able],
        download: &Download,
        missing: &[PartIndex],
        (memory, experiment): (u64, Option<u64>),
    ) -> Option<Assignment> {
        let candidates = self.candidates(able, download, missing);
        let any = |chance: u64| candidates.get(Chance::new(chance).below(candidates.len()));
        let candidate = experiment.map_or_else(|| best(&candidates), any)?;
        let held = candidate.held;
        let room = candidate.spare.min(memory);
        let (mut parts, mut bytes) = (PartSet::empty(download.sizes().count()), 0);
        let able = |part: &&PartIndex| {
            held.contains(**part) && !download.has_failed_at(**part, candidate.peer)
        };
        for part in missing.iter().filter(able) {
            let more = download.sizes().bytes(*part);
            if bytes > 0 && bytes + more > room {
                break;
            }
            parts.insert(*part);
            bytes += more;
        }
        Some(Assignment { peer: candidate.peer, parts, bytes })
    }

    /// A rank of peers that is this node's own, so that not everybody asks the same one first.
    pub(crate) fn preference(&self, state: &PeerState) -> u64 {
        mix(state.affinity ^ self.salt)
    }

    /// What is expected of a peer that has not delivered anything: as much as of the best.
    pub(crate) fn unproven_rate(&self) -> u64 {
        let usable = self.peers.usable(Kind::Parts, self.now);
        let rates = usable.filter_map(|(_, state)| state.rate());
        rates.max().unwrap_or(self.config.download_prior)
    }

    fn candidates<'a>(
        &self,
        able: &[Able<'a>],
        download: &Download,
        missing: &[PartIndex],
    ) -> Vec<Candidate<'a>> {
        let unproven = LazyCell::new(|| self.unproven_rate());
        let of = |&Able { peer, state, held, whole, load_bytes, spare }: &Able<'a>| {
            let able =
                |part: &&PartIndex| held.contains(**part) && !download.has_failed_at(**part, peer);
            let first = missing.iter().find(able)?;
            let bytes = load_bytes.saturating_add(download.sizes().bytes(*first));
            let rate = state.rate().unwrap_or_else(|| *unproven);
            let failures = state.failures(Kind::Parts);
            let done_in = time_for(bytes, rate).saturating_mul(failures.saturating_add(1));
            let affinity = rendezvous(state.affinity, *first);
            let standing = state.standing();
            Some(Candidate { peer, held, standing, whole, spare, done_in, affinity })
        };
        able.iter().filter_map(of).collect()
    }

    /// Makes a request of an assignment. Parts that are here or asked of enough peers stay out.
    pub(crate) fn assigned(
        &mut self,
        id: ShardId,
        peer: Peer,
        parts: &PartSet,
    ) -> Option<RequestId> {
        let download = self.shards.get(&id)?.download.as_ref()?;
        let (root, bytes) = (download.sizes().root(), download.sizes().bytes_of(parts));
        let subject =
            Subject::Parts { shard: id, root, awaited: parts.clone(), awaited_bytes: bytes };
        let query = Query::Parts { shard: id, root, wanted: parts.clone() };
        let request = self.request(peer, subject, query);
        let download = self.shards.get_mut(&id)?.download.as_mut()?;
        for part in parts.iter() {
            download.request(part, request);
        }
        Some(request)
    }

    /// Asks peers what they hold, where that may help: those that were never asked, and while too
    /// few are known to hold what is missing, all.
    fn ask_summaries(&mut self) {
        let mut wanting: Vec<_> =
            self.shards.values().filter_map(|shard| self.wants(shard)).collect();
        wanting.retain(|(shard, starved)| *starved || !self.peers.all_asked(*shard));
        if wanting.is_empty() {
            return;
        }
        let peers = self.peers.usable(Kind::Summary, self.now);
        let peers: Vec<_> = peers.map(|(peer, _)| peer).collect();
        for peer in peers {
            let asking = |(_, request): (_, &crate::request::Request)| {
                matches!(request.subject, Subject::Summary { .. })
            };
            let busy = self.requests.of_peer(peer).any(asking);
            let Some(state) = self.peers.get_mut(peer).filter(|_| !busy) else { continue };
            let mut due: Vec<_> = wanting
                .iter()
                .filter(|(shard, starved)| *starved || state.asked_at(*shard).is_none())
                .map(|(shard, _)| (state.asked_at(*shard), *shard))
                .collect();
            // Those it was never asked about come first, or many shards would never be asked about.
            due.sort_unstable();
            let mut shards = Vec::new();
            for (_, shard) in due {
                if shards.len() < SUMMARY_SHARDS_MAX && state.ask(shard, self.now, &self.config) {
                    shards.push(shard);
                }
            }
            shards.sort_unstable();
            if !shards.is_empty() {
                let subject = Subject::Summary { shards: shards.clone() };
                self.request(peer, subject, Query::Summary(shards));
            }
        }
    }

    /// Whether a shard needs word of what peers hold, and whether it is starved of it.
    fn wants(&self, shard: &Shard) -> Option<(ShardId, bool)> {
        let starved = match shard.phase {
            Phase::Locating | Phase::Downloading => {
                let key = shard.target?.key;
                let enough = self.config.holders_wanted;
                let few = self.peers.holders(&key, self.now).take(enough).count() < enough;
                let idle = self.requests.of_shard(shard.id).next().is_none();
                few || idle
            }
            Phase::Replaying | Phase::Following => {
                let after = shard.outputs_through()?;
                let mut usable = self.peers.usable(Kind::Outputs, self.now);
                !usable.any(|(_, peer)| peer.feeds(shard.id, after, self.now))
            }
            _ => return None,
        };
        Some((shard.id, starved))
    }
}

/// A peer that could be asked.
struct Candidate<'a> {
    peer: Peer,
    held: &'a PartSet,
    standing: Standing,
    /// Whether it holds the whole state.
    whole: bool,
    /// *Units:* bytes.
    spare: u64,
    /// When it would have sent what it was asked for and one part more.
    done_in: Duration,
    affinity: u64,
}

/// Of those that stand best, and are about as soon done as the soonest, one that has not got all
/// itself, since those that have are few and everybody needs them; of these the one whose cache most
/// likely has it. A peer that delivers has little room to spare, so others are soon tried as well.
fn best<'a, 'b>(candidates: &'b [Candidate<'a>]) -> Option<&'b Candidate<'a>> {
    let standing = candidates.iter().map(|candidate| candidate.standing).min()?;
    let candidates = candidates.iter().filter(|candidate| candidate.standing == standing);
    let soonest = candidates.clone().map(|candidate| candidate.done_in).min()?;
    let soon = soonest.saturating_mul(2);
    let good = candidates.filter(|candidate| candidate.done_in <= soon);
    good.max_by_key(|candidate| (!candidate.whole, candidate.affinity, candidate.peer))
}
