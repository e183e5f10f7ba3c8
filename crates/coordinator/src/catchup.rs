//! A task's steps from opening the store to having the whole state.

use std::time::Duration;

use ketch_types::{Epoch, Height, Instant, PartSet, ShardId, StateRoot};

use crate::command::{Command, Query, Work};
use crate::coordinator::Coordinator;
use crate::download::Download;
use crate::event::Event;
use crate::id::{JobId, Peer};
use crate::input::{JobEnd, OurFault};
use crate::part_sizes::PartSizes;
use crate::peers::{Kind, PeerState};
use crate::request::{Request, Subject};
use crate::shard::{Phase, Search, Shard, Start};

/// A state is fetched in as many windows, if they are not too small: others who fetch it too learn of
/// each only when it is durable, and with fewer there is soon nothing left that one has and another
/// has not asked for.
const WINDOWS: u64 = 32;
/// Of those that take a state in turns each begins with so many windows of its own, if they are not too
/// small, so that there is something to have from others soon.
const WINDOWS_OF_TURN: u64 = 8;

impl Coordinator {
    pub(crate) fn job_ended(&mut self, job: JobId, end: JobEnd) {
        let Some(work) = self.jobs.close(job) else { return };
        if let JobEnd::Failed(fault) = end {
            self.work_failed(job, &work, fault);
        } else {
            self.work_done(job, &work, end);
        }
        if let Some(shard) = work.shard() {
            self.bury(shard);
        }
    }

    fn work_done(&mut self, job: JobId, work: &Work, end: JobEnd) {
        match (work, end) {
            (Work::Search { shard, .. }, _) => self.searched(*shard),
            (Work::Open { shard }, JobEnd::Opened { head, outputs_after, starts }) => {
                self.opened(*shard, job, head, outputs_after, starts);
            }
            (Work::Reconcile { shard, .. }, JobEnd::Reconciled { held }) => {
                self.reconciled(*shard, job, held);
            }
            (Work::Apply { shard, .. }, JobEnd::Applied) => self.applied(*shard, job),
            (Work::Complete { shard, .. }, JobEnd::Completed) => self.completed(*shard, job),
            (Work::Replay { shard, .. }, JobEnd::Replayed { through, starts }) => {
                self.replayed(*shard, job, through, starts);
            }
            (Work::Generate { shard, root, parts, .. }, end) => {
                self.generated(*shard, *root, parts, &end);
            }
            (Work::CheckOurselves, JobEnd::Checked { sound }) => self.checked_ourselves(sound),
            _ => {}
        }
    }

    /// Local work failed. It is tried again, from what is durable, after a while.
    fn work_failed(&mut self, job: JobId, work: &Work, fault: OurFault) {
        let Some(id) = work.shard() else { return self.checked_ourselves(false) };
        match work {
            Work::Search { .. } => return self.searched(id),
            Work::Generate { root, parts, .. } => {
                self.generated(id, *root, parts, &JobEnd::Failed(fault));
            }
            _ => {}
        }
        self.event(Event::Failed { shard: id, fault });
        let Some(shard) = self.shards.get_mut(&id) else { return };
        shard.job = shard.job.filter(|current| *current != job);
        match (fault, work) {
            (_, Work::DropShard { .. }) => {}
            (_, Work::Open { .. }) => self.stop(id),
            // It is being opened anew already.
            _ if shard.phase == Phase::Opening => {}
            (OurFault::Damaged, _) => self.work_found_damage(id),
            (OurFault::DiskFull, Work::Generate { .. } | Work::DropEpochs { .. }) => {}
            _ => self.stop(id),
        }
    }

    /// The first time a damaged store is mended at once; when that leads to no success, after a while.
    fn work_found_damage(&mut self, id: ShardId) {
        let now = self.now;
        let Some(shard) = self.shards.get_mut(&id) else { return };
        if shard.stops == 0 {
            (shard.stops, shard.outlook.stopped_since) = (1, Some(now));
            self.damage_found(id);
        } else {
            shard.distrust = true;
            self.withdraw(id);
            self.stop(id);
        }
    }

    /// Gives a task up for a while, each time a longer one.
    fn stop(&mut self, id: ShardId) {
        let (now, config) = (self.now, &self.config);
        let Some(shard) = self.shards.get_mut(&id).filter(|shard| !shard.doomed) else { return };
        let times = 1 << shard.stops.min(16);
        let wait = config.backoff.saturating_mul(times).min(config.backoff_max);
        shard.retry_at = Some(now + wait);
        // Of several that fail at once, the first counts.
        if shard.phase != Phase::Stopped {
            shard.stops = shard.stops.saturating_add(1);
            shard.outlook.stopped_since = shard.outlook.stopped_since.or(Some(now));
            shard.job = None;
            self.discard(id);
            self.enter(id, Phase::Stopped);
        }
    }

    /// Local work is done again: whatever had stopped it has passed.
    pub(crate) fn works_again(&mut self, id: ShardId) {
        let now = self.now;
        if let Some(shard) = self.shards.get_mut(&id) {
            (shard.stops, shard.outlook.stopped_since) = (0, None);
            (shard.moved, shard.gained) = (now, now);
        }
    }

    /// A store that is in use turned out to be damaged: what it holds is compared anew, without
    /// believing it, and nothing of it is announced meanwhile.
    pub(crate) fn damage_found(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get_mut(&id).filter(|shard| !shard.doomed) else { return };
        shard.distrust = true;
        let phase = shard.phase;
        self.withdraw(id);
        if matches!(phase, Phase::Opening | Phase::Stopped) {
            return;
        }
        if self.shards.get(&id).is_some_and(|shard| shard.deadline.is_none()) {
            // It was only kept for others.
            self.drop_shard(id);
        } else {
            self.retarget(id);
        }
    }

    pub(crate) fn reopen(&mut self, id: ShardId) {
        let job = self.run(Work::Open { shard: id });
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.job = Some(job);
        }
    }

    fn opened(
        &mut self,
        id: ShardId,
        job: JobId,
        head: Option<Height>,
        outputs_after: Option<Height>,
        starts: Vec<(Epoch, PartSizes)>,
    ) {
        let Some(shard) = self.shards.get_mut(&id).filter(|shard| shard.job == Some(job)) else {
            return;
        };
        shard.job = None;
        (shard.applied, shard.outputs_after) = (head, outputs_after);
        let (wanted, distrusted) = (shard.deadline.is_some(), shard.distrust);
        // The store may have lost what it held before it was opened anew.
        let held = shard.starts.len();
        shard.starts.retain(|epoch, _| starts.iter().any(|(of, _)| of == epoch));
        // What could not be made may be there again.
        for start in shard.starts.values_mut() {
            start.lost = PartSet::empty(start.sizes.count());
        }
        if shard.starts.len() < held {
            self.withdraw(id);
        }
        for (epoch, sizes) in starts {
            self.hold_start(id, epoch, sizes);
        }
        if head.is_some() && !distrusted {
            self.enter(id, Phase::Replaying);
        } else if wanted {
            self.retarget(id);
        } else {
            self.drop_shard(id);
        }
    }

    /// Takes note that an epoch's start is held whole.
    pub(crate) fn hold_start(&mut self, id: ShardId, epoch: Epoch, sizes: PartSizes) {
        let oldest = self.chain.epochs.keys().next().copied().unwrap_or(Epoch(0));
        let Some(shard) = self.shards.get_mut(&id) else { return };
        if epoch < oldest {
            return;
        }
        let (cached, lost) = (PartSet::empty(sizes.count()), PartSet::empty(sizes.count()));
        shard.starts.entry(epoch).or_insert(Start { sizes, cached, lost, made: 0 });
        shard.voice.due = true;
    }

    /// Makes for the newest start of the shard, from whatever is held.
    ///
    /// What has arrived is applied first: it is true, and most of it is in the new state as well.
    pub(crate) fn retarget(&mut self, id: ShardId) {
        // Without a root there is nothing to make for until the next epoch.
        let Some(target) = self.newest_target(id) else { return self.stop(id) };
        // Parts that are on their way are of use as long as there is nothing better to ask for.
        self.cancel_where(id, |request| request.awaited().is_none());
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let old = shard.target.replace(target);
        let moved = old.is_some_and(|old| old.key != target.key);
        let empty = PartSizes::new(target.key.root, target.key.cut, Vec::new());
        shard.sizes = (target.key.root == StateRoot::EMPTY).then_some(empty);
        (shard.job, shard.applied, shard.fetched) = (None, None, None);
        shard.search = Search { job: shard.search.job, ..Search::default() };
        shard.starts.clear();
        shard.download.take_if(|download| !download.is_under_way());
        self.withdraw(id);
        self.peers.ask_again(id);
        self.enter(id, Phase::Locating);
        if moved {
            let (epoch, root) = (target.key.epoch, target.key.root);
            self.event(Event::Pivoted { shard: id, epoch, root });
        }
    }

    /// Does what each task can do now.
    pub(crate) fn step_tasks(&mut self) {
        let ids: Vec<_> = self.shards.keys().copied().collect();
        for id in ids {
            let Some(shard) = self.shards.get(&id) else { continue };
            if shard.doomed {
                continue;
            }
            match shard.phase {
                Phase::Locating => self.locate(id),
                Phase::Downloading | Phase::Replaying | Phase::Following => {
                    self.keep_searching(id);
                }
                _ => {}
            }
        }
    }

    /// Looks for an outline of the target, and goes on once it is there and nothing of an older
    /// target is on its way to the store.
    fn locate(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        let Some(target) = shard.target else { return };
        let settling = self.jobs.iter().any(|work| {
            work.shard() == Some(id)
                && matches!(
                    work,
                    Work::Reconcile { .. }
                        | Work::Apply { .. }
                        | Work::Complete { .. }
                        | Work::Replay { .. }
                )
        });
        if shard.sizes.is_none() {
            self.ask_outline(id);
            self.keep_searching(id);
            return;
        }
        self.cancel_requests_of(id);
        let Some(shard) = self.shards.get(&id) else { return };
        if !settling && shard.download.as_ref().is_none_or(|d| !d.has_arrived()) {
            let (root, distrust) = (target.key.root, shard.distrust);
            let job = self.run(Work::Reconcile { shard: id, root, distrust });
            if let Some(shard) = self.shards.get_mut(&id) {
                (shard.job, shard.download) = (Some(job), None);
            }
            self.enter(id, Phase::Reconciling);
        }
    }

    fn ask_outline(&mut self, id: ShardId) {
        let Some(target) = self.shards.get(&id).and_then(|shard| shard.target) else { return };
        let claims = |peer: &PeerState| peer.claims(&target.key).is_some();
        let Some(peer) = self.whom_to_ask(id, Kind::Outline, claims) else { return };
        let (root, cut) = (target.key.root, target.key.cut);
        let query = Query::Outline { shard: id, root, cut };
        self.request(peer, Subject::Outline { shard: id, root }, query);
    }

    /// Opens a request and gives the command for it.
    pub(crate) fn request(
        &mut self,
        peer: Peer,
        subject: Subject,
        query: Query,
    ) -> crate::RequestId {
        let request = self.requests.open(Request::new(peer, subject, self.now));
        self.command(Command::Request { request, peer, query });
        request
    }

    /// An outline came and is verified.
    pub(crate) fn outline_came(&mut self, id: ShardId, sizes: PartSizes) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let Some(key) = shard.target.map(|target| target.key) else { return };
        let wanted = (key.root, key.cut) == (sizes.root(), sizes.cut());
        if wanted && shard.phase == Phase::Locating && shard.sizes.is_none() {
            self.peers.forget_miscounted(&key, sizes.count());
            shard.sizes = Some(sizes);
            (shard.moved, shard.gained, shard.given_up) = (self.now, self.now, 0);
            self.cancel_outlines_of(id);
        }
    }

    fn reconciled(&mut self, id: ShardId, job: JobId, held: PartSet) {
        // The first download in a while begins a new measurement.
        if !self.shards.values().any(|shard| shard.phase == Phase::Downloading) {
            self.arriving.restart(self.now);
            self.downloaded.restart(self.now);
        }
        let turns = self.shards.get(&id).map_or(1, |shard| shard.turn.of());
        let windows = WINDOWS.max(WINDOWS_OF_TURN * u64::from(turns));
        let window_bytes = |total: u64| {
            let share = (total / windows).max(self.config.window_bytes_min);
            share.min(self.config.window_bytes)
        };
        let Some(shard) = self.shards.get_mut(&id).filter(|shard| shard.job == Some(job)) else {
            return;
        };
        let Some(sizes) = shard.sizes.clone().filter(|sizes| sizes.count() == held.count()) else {
            return;
        };
        (shard.job, shard.distrust) = (None, false);
        shard.voice.due = true;
        let window_bytes = window_bytes(sizes.total_bytes());
        shard.download = Some(Download::new(sizes, held, window_bytes));
        self.enter(id, Phase::Downloading);
        self.complete_if_whole(id);
    }

    pub(crate) fn complete_if_whole(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        let whole = shard.download.as_ref().is_some_and(Download::is_complete);
        let Some(target) = shard.target.filter(|_| whole && shard.phase == Phase::Downloading)
        else {
            return;
        };
        let (root, epoch, height) = (target.key.root, target.key.epoch, target.height);
        let job = self.run(Work::Complete { shard: id, root, epoch, height });
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.job = Some(job);
        }
        self.enter(id, Phase::Completing);
    }

    fn completed(&mut self, id: ShardId, job: JobId) {
        let Some(shard) = self.shards.get_mut(&id).filter(|shard| shard.job == Some(job)) else {
            return;
        };
        let (Some(target), Some(sizes)) = (shard.target, shard.sizes.clone()) else { return };
        let cached = shard.download.take().map(|download| download.cached().clone());
        shard.job = None;
        (shard.applied, shard.outputs_after) = (Some(target.height), Some(target.height));
        self.hold_start(id, target.key.epoch, sizes);
        let shard = self.shards.get_mut(&id);
        let start = shard.and_then(|shard| shard.starts.get_mut(&target.key.epoch));
        if let Some((start, cached)) = start.zip(cached) {
            start.cached = cached;
        }
        self.works_again(id);
        self.enter(id, Phase::Replaying);
    }

    /// Looks for more holders where too few are known, and asks those that are connected again.
    pub(crate) fn keep_searching(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        let due = shard.search.last.is_none_or(|last| self.now - last >= self.search_pause(shard));
        if !due || shard.search.job.is_some() {
            return;
        }
        if let Some(epoch) = self.epoch_to_search(shard) {
            let job = self.run(Work::Search { shard: id, epoch });
            if let Some(shard) = self.shards.get_mut(&id) {
                (shard.search.job, shard.search.last) = (Some(job), Some(self.now));
            }
        }
    }

    /// The epoch of which holders are to be looked for, if more are wanted: too few of those that are
    /// known can be asked, or nobody has what comes next.
    fn epoch_to_search(&self, shard: &Shard) -> Option<Epoch> {
        let kind = match shard.phase {
            Phase::Locating => Kind::Outline,
            Phase::Downloading => Kind::Parts,
            Phase::Replaying | Phase::Following => {
                shard.outlook.feedless_since?;
                return self.epoch().map(|epoch| epoch.epoch);
            }
            _ => return None,
        };
        let (key, newest) = (shard.target?.key, self.newest_target(shard.id)?.key);
        let able = self.peers.usable_holders(&key, kind, self.now);
        let holderless = shard.outlook.holderless_since.is_some();
        let few = || able.take(self.config.holders_wanted).count() < self.config.holders_wanted;
        let wanted = holderless || few();
        // Where nobody has the old start, those of the newest are wanted too.
        wanted.then_some(if holderless { newest.epoch } else { key.epoch })
    }

    /// The time between searches: shorter while nobody at all is known.
    fn search_pause(&self, shard: &Shard) -> Duration {
        let known = shard.outlook.feedless_since.is_some()
            || shard.target.is_some_and(|target| self.is_claimed(&target.key));
        if known { self.config.search_interval } else { self.config.search_interval / 5 }
    }

    fn searched(&mut self, id: ShardId) {
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.search.job = None;
        }
    }

    pub(crate) fn next_search(&self) -> Option<Instant> {
        let of = |shard: &Shard| {
            let at = shard.search.last? + self.search_pause(shard);
            (at > self.now && self.epoch_to_search(shard).is_some()).then_some(at)
        };
        self.shards.values().filter_map(of).min()
    }

    /// Begins anew what does not move, and tries again what had stopped.
    pub(crate) fn watch_tasks(&mut self) {
        let (now, patience) = (self.now, self.config.watchdog);
        let ids: Vec<_> = self.shards.keys().copied().collect();
        for id in ids {
            let Some(shard) = self.shards.get_mut(&id) else { continue };
            let due = shard.phase == Phase::Stopped && shard.retry_at.is_some_and(|at| now >= at);
            if due && self.jobs.any_on_store_of(id) {
                // A store is opened anew once nothing works on it.
                continue;
            }
            let Some(shard) = self.shards.get_mut(&id) else { continue };
            if due {
                shard.retry_at = None;
                self.enter(id, Phase::Opening);
                self.reopen(id);
            } else if shard.phase == Phase::Downloading
                && now - shard.moved >= patience
                && shard.outlook.holderless_since.is_none()
                && !self.jobs.any_on_store_of(id)
            {
                self.begin_anew(id);
            }
        }
    }

    /// Rebuilds all that is in flight of a shard from what is durable.
    fn begin_anew(&mut self, id: ShardId) {
        self.event(Event::WatchdogFired { shard: id });
        self.discard(id);
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.search.last = None;
        }
        self.enter(id, Phase::Locating);
    }

    pub(crate) fn next_task_timer(&self) -> Option<Instant> {
        let retries = self.shards.values().filter_map(|shard| shard.retry_at);
        let downloading = self.shards.values().filter(|s| s.phase == Phase::Downloading);
        let watched = downloading.map(|shard| shard.moved + self.config.watchdog);
        retries.chain(watched).filter(|at| *at > self.now).min()
    }
}
