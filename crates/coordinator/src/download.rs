use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ketch_types::{Chance, Instant, PartIndex, PartSet};

use crate::id::{JobId, Peer, RequestId};
use crate::part_sizes::PartSizes;
use crate::turn::Turn;

/// Where every part of one target is: durable, on its way to being so, or missing.
///
/// *Shape:* each part is in exactly one of `held`, the keys of `pending`, and `missing`.
#[derive(Clone, Debug)]
pub(crate) struct Download {
    sizes: PartSizes,
    /// Durable in the store.
    held: PartSet,
    pending: BTreeMap<PartIndex, Pending>,
    missing: PartSet,
    /// Peers that were seen to hold nothing of what is missing. Whoever tells of more is taken out, and
    /// everybody when more is missing.
    useless: BTreeSet<Peer>,
    windows: Vec<Window>,
    /// Where takers take turns, what peers have that do not hold everything; none once that may have
    /// changed.
    shared: Option<PartSet>,
    /// Whether what is others' turn to fetch first is fetched too.
    waits_for_nobody: bool,
    /// Held, and in the cache for whoever asks.
    cached: PartSet,
    /// Peers that failed at a part; they are not asked for it again.
    failed_at: BTreeMap<PartIndex, Vec<Peer>>,
}

/// A part between missing and durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    /// Asked for: of one peer, or of two where it was hedged.
    Requested(Vec<RequestId>),
    /// Verified, and waiting with the driver.
    Arrived,
    /// Being applied.
    Applying(JobId),
}

/// Some neighbouring parts that are applied together.
#[derive(Clone, Debug)]
struct Window {
    parts: Range<u32>,
    opened: Option<Instant>,
}

/// At most two peers are asked for a part at once.
const ASKED_MAX: usize = 2;

impl Download {
    /// Everything of `sizes` but `held` is missing.
    pub(crate) fn new(sizes: PartSizes, held: PartSet, window_bytes: u64) -> Self {
        let windows = sizes.neighbourhoods(window_bytes).into_iter();
        let windows = windows.map(|parts| Window { parts, opened: None }).collect();
        let (pending, failed_at) = (BTreeMap::new(), BTreeMap::new());
        let (cached, missing) = (PartSet::empty(sizes.count()), held.complement());
        let (useless, shared, waits_for_nobody) = (BTreeSet::new(), None, false);
        Self {
            sizes,
            held,
            pending,
            missing,
            useless,
            windows,
            shared,
            waits_for_nobody,
            cached,
            failed_at,
        }
    }

    pub(crate) fn sizes(&self) -> &PartSizes {
        &self.sizes
    }

    pub(crate) fn held(&self) -> &PartSet {
        &self.held
    }

    pub(crate) fn cached(&self) -> &PartSet {
        &self.cached
    }

    pub(crate) fn cached_mut(&mut self) -> &mut PartSet {
        &mut self.cached
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.held.is_full()
    }

    pub(crate) fn is_missing(&self, part: PartIndex) -> bool {
        self.missing.contains(part)
    }

    /// Bytes that are not durable.
    pub(crate) fn bytes_left(&self) -> u64 {
        self.sizes.total_bytes().saturating_sub(self.sizes.bytes_of(&self.held))
    }

    /// Bytes that take memory, or soon will.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.pending.keys().map(|part| self.sizes.bytes(*part)).sum()
    }

    /// Bytes that are here and not durable.
    pub(crate) fn arrived_bytes(&self) -> u64 {
        let here = |(_, pending): &(&PartIndex, &Pending)| {
            matches!(pending, Pending::Arrived | Pending::Applying(_))
        };
        self.pending.iter().filter(here).map(|(part, _)| self.sizes.bytes(*part)).sum()
    }

    /// Whether nothing is left to ask for: what is not here has been asked for.
    pub(crate) fn all_asked(&self) -> bool {
        self.missing.is_empty()
    }

    /// Missing parts in windows that are open, the oldest window first.
    pub(crate) fn missing_in_open_windows(&self) -> Vec<Vec<PartIndex>> {
        let mut open: Vec<_> =
            self.windows.iter().filter_map(|w| Some((w.opened?, &w.parts))).collect();
        open.sort_by_key(|(opened, parts)| (*opened, parts.start));
        open.into_iter().map(|(_, parts)| self.missing_in(parts)).collect()
    }

    /// Whether there is a window to open for the sake of something that is `askable`.
    pub(crate) fn has_window_for(&self, askable: &PartSet, turn: Turn) -> bool {
        self.openable(turn).any(|(_, parts)| parts.iter().any(|part| askable.contains(*part)))
    }

    /// Windows that may be opened, and what is missing of them. What only holders of the whole state
    /// have is left to those whose turn it is, until others' turns are not waited for any more.
    fn openable(&self, turn: Turn) -> impl Iterator<Item = (usize, Vec<PartIndex>)> {
        let closed = self.windows.iter().enumerate().filter(|(_, w)| w.opened.is_none());
        let missing = closed.map(|(at, window)| (at, self.missing_in(&window.parts)));
        missing.filter(move |(at, missing)| {
            let shared = |part: &PartIndex| self.shared.as_ref().is_some_and(|s| s.contains(*part));
            turn.is_own(*at) || self.waits_for_nobody || missing.iter().all(shared)
        })
    }

    /// What is missing and nobody has but those who hold everything, while there is any and takers take
    /// turns.
    pub(crate) fn rare(&self) -> Option<PartSet> {
        let shared = self.shared.as_ref().filter(|_| !self.waits_for_nobody)?;
        let mut rare = self.missing.clone();
        rare.subtract(shared);
        (!rare.is_empty()).then_some(rare)
    }

    pub(crate) fn is_shared_unknown(&self) -> bool {
        self.shared.is_none()
    }

    pub(crate) fn note_shared(&mut self, shared: PartSet) {
        self.shared = Some(shared);
    }

    /// Whether a peer that holds `held` holds nothing of what is missing.
    pub(crate) fn is_useless(&self, peer: Peer, held: &PartSet) -> bool {
        let known = self.useless.contains(&peer);
        debug_assert!(!known || held.is_disjoint(&self.missing), "{peer}");
        known || held.is_disjoint(&self.missing)
    }

    /// Remembers peers that hold nothing of what is missing.
    pub(crate) fn note_useless(&mut self, peers: Vec<Peer>) {
        self.useless.extend(peers);
    }

    /// Takes note that a peer may hold more than before, or be gone.
    pub(crate) fn holds_otherwise(&mut self, peer: Peer) {
        self.useless.remove(&peer);
        self.shared = None;
    }

    /// How many peers are asked for a part.
    pub(crate) fn asked_of(&self, part: PartIndex) -> usize {
        match self.pending.get(&part) {
            Some(Pending::Requested(by)) => by.len(),
            _ => 0,
        }
    }

    /// Who was asked for a part first, of the requests that may still bring it.
    pub(crate) fn asked_first(&self, part: PartIndex) -> Option<RequestId> {
        match self.pending.get(&part)? {
            Pending::Requested(by) => by.first().copied(),
            _ => None,
        }
    }

    /// Opens the window whose rarest part is rarest, of those of which something is `askable` now: a
    /// holder that does not answer must not keep others idle. `holders` counts the peers that hold a
    /// part.
    pub(crate) fn open_window(
        &mut self,
        holders: impl Fn(PartIndex) -> u32,
        askable: &PartSet,
        turn: Turn,
        chance: &mut Chance,
        now: Instant,
    ) -> bool {
        let mut best: Vec<usize> = Vec::new();
        let mut rarest = u32::MAX;
        for (at, missing) in self.openable(turn) {
            if !missing.iter().any(|part| askable.contains(*part)) {
                continue;
            }
            let counts = missing.into_iter().map(&holders).filter(|all| *all > 0);
            let Some(rarity) = counts.min() else { continue };
            if rarity < rarest {
                best.clear();
                rarest = rarity;
            }
            if rarity == rarest {
                best.push(at);
            }
        }
        let chosen = if best.is_empty() { None } else { best.get(chance.below(best.len())) };
        let window = chosen.and_then(|at| self.windows.get_mut(*at));
        window.map(|window| window.opened = Some(now)).is_some()
    }

    /// Fetches from now on what is others' turn to fetch first too, if nothing else is under way.
    pub(crate) fn wait_for_nobody(&mut self) {
        self.waits_for_nobody |= self.pending.is_empty();
    }

    /// Notes that `request` asks for `part`; false if it is here already or asked of enough peers.
    pub(crate) fn request(&mut self, part: PartIndex, request: RequestId) -> bool {
        if self.held.contains(part) || part.0 >= self.sizes.count() {
            return false;
        }
        self.missing.remove(part);
        let pending = self.pending.entry(part).or_insert_with(|| Pending::Requested(Vec::new()));
        match pending {
            Pending::Requested(by) if by.len() < ASKED_MAX => {
                by.push(request);
                true
            }
            _ => false,
        }
    }

    /// Notes that `request` will not bring these parts.
    pub(crate) fn release(&mut self, request: RequestId, parts: impl Iterator<Item = PartIndex>) {
        for part in parts {
            let Some(Pending::Requested(by)) = self.pending.get_mut(&part) else {
                continue;
            };
            by.retain(|id| *id != request);
            if by.is_empty() {
                self.pending.remove(&part);
                self.missing.insert(part);
                self.useless.clear();
                self.shared = None;
            }
        }
    }

    /// Notes that a verified part is here; false if it was already.
    pub(crate) fn arrive(&mut self, part: PartIndex) -> bool {
        match self.pending.get_mut(&part) {
            Some(pending @ Pending::Requested(_)) => {
                *pending = Pending::Arrived;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn is_requested(&self, part: PartIndex) -> bool {
        matches!(self.pending.get(&part), Some(Pending::Requested(_)))
    }

    /// Runs of arrived neighbours in windows of which nothing is missing, or all such runs where
    /// `hurry` says so of the time at which the window was opened.
    pub(crate) fn ready(&self, hurry: impl Fn(Instant) -> bool) -> Vec<Range<u32>> {
        let mut runs = Vec::new();
        for window in &self.windows {
            let Some(opened) = window.opened else { continue };
            let parts = window.parts.clone();
            let waits = |part| {
                let part = PartIndex(part);
                self.is_missing(part) || self.is_requested(part)
            };
            if hurry(opened) || !parts.clone().any(waits) {
                runs.extend(self.arrived_runs(parts));
            }
        }
        runs
    }

    /// Whether anything waits to be applied.
    pub(crate) fn has_arrived(&self) -> bool {
        self.pending.values().any(|pending| *pending == Pending::Arrived)
    }

    /// Whether anything is on its way to the store.
    pub(crate) fn is_under_way(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(crate) fn apply(&mut self, parts: Range<u32>, job: JobId) {
        for part in parts.map(PartIndex) {
            if let Some(pending) = self.pending.get_mut(&part) {
                *pending = Pending::Applying(job);
            }
        }
    }

    /// The parts that `job` applied are durable.
    pub(crate) fn applied(&mut self, job: JobId) {
        let held = &mut self.held;
        self.pending.retain(|part, pending| {
            let done = *pending == Pending::Applying(job);
            if done {
                held.insert(*part);
            }
            !done
        });
        self.close_windows();
    }

    /// Notes that `peer` failed at `part`, and gives everybody who did.
    pub(crate) fn fail(&mut self, part: PartIndex, peer: Peer) -> &[Peer] {
        let peers = self.failed_at.entry(part).or_default();
        if !peers.contains(&peer) {
            peers.push(peer);
        }
        peers
    }

    pub(crate) fn has_failed_at(&self, part: PartIndex, peer: Peer) -> bool {
        self.failed_at.get(&part).is_some_and(|peers| peers.contains(&peer))
    }

    /// Closes windows of which nothing is under way: what is missing of them is chosen anew.
    pub(crate) fn close_windows(&mut self) {
        let pending = &self.pending;
        for window in self.windows.iter_mut().filter(|window| window.opened.is_some()) {
            let parts = PartIndex(window.parts.start)..PartIndex(window.parts.end);
            if pending.range(parts).next().is_none() {
                window.opened = None;
            }
        }
    }

    /// When the oldest open window was opened.
    pub(crate) fn oldest_window(&self) -> Option<Instant> {
        self.windows.iter().filter_map(|window| window.opened).min()
    }

    fn missing_in(&self, parts: &Range<u32>) -> Vec<PartIndex> {
        parts.clone().map(PartIndex).filter(|part| self.is_missing(*part)).collect()
    }

    fn arrived_runs(&self, parts: Range<u32>) -> Vec<Range<u32>> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        let arrived = |part: &u32| self.pending.get(&PartIndex(*part)) == Some(&Pending::Arrived);
        for part in parts.filter(arrived) {
            match runs.last_mut() {
                Some(run) if run.end == part => run.end += 1,
                _ => runs.push(part..part + 1),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ketch_types::StateRoot;
    use proptest::prelude::*;

    fn download(parts: usize, window_bytes: u64) -> Download {
        let sizes = PartSizes::new(StateRoot::new([0; 32]), 10, vec![10; parts]);
        let held = PartSet::empty(sizes.count());
        Download::new(sizes, held, window_bytes)
    }

    /// Opens a window, if one can be; parts have so many holders.
    fn open(
        download: &mut Download,
        holders: impl Fn(PartIndex) -> u32,
        askable: &PartSet,
        turn: Turn,
    ) -> bool {
        download.open_window(holders, askable, turn, &mut Chance::new(0), Instant::ORIGIN)
    }

    fn open_all(download: &mut Download) {
        let all = PartSet::full(download.sizes.count());
        while open(download, |_| 1, &all, Turn::ALONE) {}
    }

    #[test]
    fn the_window_with_the_rarest_part_is_opened_first() {
        let mut download = download(30, 100);
        let holders = |part: PartIndex| if part.0 == 17 { 1 } else { 5 };
        assert!(open(&mut download, holders, &PartSet::full(30), Turn::ALONE));
        let open = download.missing_in_open_windows();
        assert_eq!(open, [(10..20).map(PartIndex).collect::<Vec<_>>()]);
    }

    #[test]
    fn a_window_of_which_nobody_can_be_asked_for_anything_is_not_opened() {
        let mut download = download(20, 100);
        let mut askable = PartSet::empty(20);
        askable.insert(PartIndex(3));
        assert!(open(&mut download, |_| 1, &askable, Turn::ALONE));
        assert!(!open(&mut download, |_| 1, &askable, Turn::ALONE));
    }

    #[test]
    fn what_only_whole_holders_have_is_left_to_whose_turn_it_is_until_nobody_is_waited_for() {
        let (mut download, all) = (download(40, 100), PartSet::full(40));
        let second = Turn::new(1, 4).unwrap();
        assert!(open(&mut download, |_| 1, &all, second));
        let own = (10..20).map(PartIndex).collect::<Vec<_>>();
        assert_eq!(download.missing_in_open_windows(), [own]);
        assert!(!open(&mut download, |_| 1, &all, second));
        // Another taker has all of the third window but one part, then that too.
        let mut shared = PartSet::empty(40);
        for part in 20..29 {
            shared.insert(PartIndex(part));
        }
        download.note_shared(shared.clone());
        assert!(!open(&mut download, |_| 1, &all, second));
        assert_eq!(download.rare().map(|rare| rare.contains(PartIndex(25))), Some(false));
        shared.insert(PartIndex(29));
        download.note_shared(shared);
        assert!(open(&mut download, |_| 1, &all, second));
        assert!(!open(&mut download, |_| 1, &all, second));
        assert!(download.request(PartIndex(10), RequestId(1)));
        download.wait_for_nobody();
        assert!(!open(&mut download, |_| 1, &all, second), "something is under way");
        download.release(RequestId(1), [PartIndex(10)].into_iter());
        download.wait_for_nobody();
        assert!(open(&mut download, |_| 1, &all, second));
        assert_eq!(download.rare(), None);
    }

    #[test]
    fn only_whole_windows_are_ready_unless_there_is_a_hurry() {
        let mut download = download(4, 20);
        open_all(&mut download);
        for part in [0, 1, 2] {
            assert!(download.request(PartIndex(part), RequestId(0)));
            assert!(download.arrive(PartIndex(part)));
        }
        assert_eq!(download.ready(|_| false), std::slice::from_ref(&(0..2)));
        assert_eq!(download.ready(|_| true), [0..2, 2..3]);
    }

    #[test]
    fn a_part_comes_once_and_is_asked_of_two_peers_at_most() {
        let mut download = download(2, 20);
        for (request, accepted) in [(0, true), (1, true), (2, false)] {
            assert_eq!(download.request(PartIndex(0), RequestId(request)), accepted);
        }
        assert!(download.arrive(PartIndex(0)));
        assert!(!download.arrive(PartIndex(0)) && !download.arrive(PartIndex(1)));
        download.release(RequestId(0), [PartIndex(0)].into_iter());
        assert!(download.has_arrived() && !download.is_missing(PartIndex(0)));
    }

    proptest! {
        #[test]
        fn parts_are_held_pending_or_missing_and_bytes_add_up(
            steps in proptest::collection::vec((0u32..12, 0u64..5, 0..5), 0..200),
        ) {
            let mut download = download(12, 40);
            open_all(&mut download);
            for (part, id, step) in steps {
                let part = PartIndex(part);
                match step {
                    0 => drop(download.request(part, RequestId(id))),
                    1 => download.release(RequestId(id), (0..12).map(PartIndex)),
                    2 => drop(download.arrive(part)),
                    3 => {
                        if let Some(run) = download.ready(|_| true).first().cloned() {
                            download.apply(run, JobId(id));
                        }
                    }
                    _ => download.applied(JobId(id)),
                }
                let missing = (0..12).filter(|p| download.is_missing(PartIndex(*p))).count();
                let held = download.held.len() as usize;
                prop_assert_eq!(missing + held + download.pending.len(), 12);
                prop_assert!(download.missing.is_disjoint(&download.held));
                prop_assert!(download.pending.keys().all(|part| !download.is_missing(*part)));
                prop_assert_eq!(download.bytes_left(), 10 * (12 - held as u64));
                prop_assert!(download.pending.keys().all(|part| !download.held.contains(*part)));
            }
        }
    }
}
