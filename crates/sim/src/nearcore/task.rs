//! A task's steps from opening the store to having the whole state.

use ketch_coordinator::{Event, JobEnd, JobId, OurFault, PartSizes, Phase, Work};
use ketch_types::{Epoch, Height, Instant, PartSet, ShardId, StateRoot};

use super::Nearcore;
use super::fetch::{is_fetched, shuffled};
use super::limits::{NEARCORE_PART_BYTES, RETRY_BACKOFF};
use super::shard::{Doom, Download, Shard};
use super::window::Window;

impl Nearcore {
    pub(super) fn run(&mut self, work: Work) -> JobId {
        let job = JobId(self.next_job);
        self.next_job += 1;
        self.jobs.insert(job, work.clone());
        self.command(ketch_coordinator::Command::Run { job, work });
        job
    }

    /// Runs the job that a shard's phase waits for.
    pub(super) fn run_for(&mut self, id: ShardId, work: Work) {
        let job = self.run(work);
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.job = Some(job);
        }
    }

    /// Whether anything works on the store of a shard.
    fn is_worked_on(&self, id: ShardId) -> bool {
        let on_store = |work: &Work| !matches!(work, Work::Search { .. });
        self.jobs.values().any(|work| work.shard() == Some(id) && on_store(work))
    }

    pub(super) fn job_ended(&mut self, job: JobId, end: JobEnd) {
        let Some(work) = self.jobs.remove(&job) else { return };
        let Some(id) = work.shard() else { return };
        match &work {
            Work::Generate { .. } => return self.generated(job, &end),
            Work::Search { .. } => {
                let found = self.shards.get_mut(&id).filter(|shard| shard.search == Some(job));
                return found.into_iter().for_each(|shard| shard.search = None);
            }
            _ => {}
        }
        let Some(shard) = self.shards.get_mut(&id).filter(|shard| shard.job == Some(job)) else {
            return;
        };
        shard.job = None;
        if shard.doom.is_some() {
            return;
        }
        match (work, end) {
            (_, JobEnd::Failed(fault)) => self.failed(id, fault),
            (Work::Open { .. }, JobEnd::Opened { head, outputs_after, starts }) => {
                self.opened(id, head, outputs_after, starts);
            }
            (Work::Reconcile { .. }, JobEnd::Reconciled { held }) => self.reconciled(id, held),
            (Work::Apply { parts, .. }, JobEnd::Applied) => shard.stored(parts),
            (Work::Complete { .. }, JobEnd::Completed) => self.completed(id),
            (Work::Replay { .. }, JobEnd::Replayed { through, starts }) => {
                shard.applied = shard.applied.max(Some(through));
                self.hold(id, starts);
            }
            _ => {}
        }
    }

    /// Local work failed: the store is opened again after a while, and the target stays.
    fn failed(&mut self, id: ShardId, fault: OurFault) {
        self.event(Event::Failed { shard: id, fault });
        self.cancel_requests_of(id);
        self.command(ketch_coordinator::Command::Discard { shard: id });
        let Some(shard) = self.shards.get_mut(&id) else { return };
        (shard.download, shard.fetched) = (None, None);
        shard.retry_at = Some(self.now + RETRY_BACKOFF);
        self.enter(id, Phase::Stopped);
    }

    /// A damaged store is thrown away, and its shard taken again if it is needed.
    pub(super) fn damage_found(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id).filter(|shard| shard.doom.is_none()) else { return };
        let wanted = shard.deadline.is_some();
        self.doom(id, if wanted { Doom::Retaken } else { Doom::Forgotten });
    }

    /// Does what each task can do now.
    pub(super) fn step(&mut self) {
        for id in self.shards.keys().copied().collect::<Vec<_>>() {
            let Some(shard) = self.shards.get(&id) else { continue };
            let due = shard.retry_at.is_none_or(|at| at <= self.now);
            match (shard.doom, shard.phase) {
                (Some(doom), _) => self.bury(id, doom),
                (None, Phase::Opening) if shard.job.is_none() && !self.is_worked_on(id) => {
                    self.run_for(id, Work::Open { shard: id });
                }
                (None, Phase::Stopped) if due && !self.is_worked_on(id) => {
                    self.enter(id, Phase::Opening);
                    self.run_for(id, Work::Open { shard: id });
                }
                (None, Phase::Locating) => self.locate(id),
                (None, Phase::Downloading) => self.complete_if_whole(id),
                _ => {}
            }
        }
    }

    /// Deletes a doomed shard if nothing works on it.
    fn bury(&mut self, id: ShardId, doom: Doom) {
        if self.is_worked_on(id) {
            return;
        }
        let Some(old) = self.shards.remove(&id) else { return };
        if old.caught_up_since.is_some() {
            self.event(Event::FellBehind { shard: id });
        }
        self.run(Work::DropShard { shard: id });
        if doom == Doom::Retaken {
            // It is opened once it is deleted.
            let shard = Shard { deadline: old.deadline, ..Shard::new(id) };
            self.shards.insert(id, shard);
        }
    }

    fn opened(
        &mut self,
        id: ShardId,
        head: Option<Height>,
        outputs_after: Option<Height>,
        starts: Vec<(Epoch, PartSizes)>,
    ) {
        let newest = self.chain.newest_target(id);
        let Some(shard) = self.shards.get_mut(&id) else { return };
        (shard.applied, shard.outputs_after, shard.retry_at) = (head, outputs_after, None);
        let target = shard.target.or(newest);
        if head.is_some() {
            self.hold(id, starts);
            self.enter(id, Phase::Replaying);
            self.retake_what_is_too_old();
        } else if shard.deadline.is_none() {
            self.doom(id, Doom::Forgotten);
        } else if let Some(target) = target {
            // The old target, if there was one: it is never changed for a newer one.
            shard.target = Some(target);
            if target.root == StateRoot::EMPTY {
                shard.sizes = Some(PartSizes::new(target.root, target.cut, vec![]));
            }
            self.hosts.ask_again();
            self.enter(id, Phase::Locating);
        } else {
            shard.retry_at = Some(self.now + RETRY_BACKOFF);
            self.enter(id, Phase::Stopped);
        }
    }

    /// Takes note of epochs' starts that are held whole; only the newest is kept.
    fn hold(&mut self, id: ShardId, starts: Vec<(Epoch, PartSizes)>) {
        let newest = self.chain.epoch().map_or(Epoch(0), |start| start.epoch);
        let Some(shard) = self.shards.get_mut(&id) else { return };
        shard.starts.extend(starts.into_iter().filter(|(epoch, _)| *epoch >= newest));
    }

    fn locate(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        if shard.sizes.is_none() {
            return self.ask_outline(id);
        }
        let Some(root) = shard.target.map(|target| target.root) else { return };
        if !self.is_worked_on(id) {
            self.run_for(id, Work::Reconcile { shard: id, root, distrust: false });
            self.enter(id, Phase::Reconciling);
        }
    }

    /// What is on the disk of the target, after a restart, need not be fetched again.
    fn reconciled(&mut self, id: ShardId, held: PartSet) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let window = Window::new(shuffled(&held.complement(), &mut self.chance));
        shard.download = Some(Download { window, durable: held });
        self.enter(id, Phase::Downloading);
    }

    /// Applies the next run of a shard of which every part is here: one at a time, over all shards.
    pub(super) fn apply(&mut self) {
        if self.jobs.values().any(|work| matches!(work, Work::Apply { .. })) {
            return;
        }
        let mut fetched = self.shards.values().filter(|shard| is_fetched(shard));
        let next = fetched.find_map(|shard| {
            let parts = shard.next_run(NEARCORE_PART_BYTES.into())?;
            Some((shard.id, shard.target?.root, parts))
        });
        if let Some((id, root, parts)) = next {
            self.run_for(id, Work::Apply { shard: id, root, parts });
        }
    }

    fn complete_if_whole(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get(&id) else { return };
        let whole = shard.download.as_ref().is_some_and(|download| download.durable.is_full());
        let Some(target) = shard.target.filter(|_| whole && shard.job.is_none()) else { return };
        let (root, epoch, height) = (target.root, target.epoch, target.height);
        self.run_for(id, Work::Complete { shard: id, root, epoch, height });
        self.enter(id, Phase::Completing);
    }

    fn completed(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let (Some(target), Some(sizes)) = (shard.target, shard.sizes.clone()) else { return };
        (shard.download, shard.waits) = (None, shard.last_height.is_none());
        (shard.applied, shard.outputs_after) = (Some(target.height), Some(target.height));
        self.hold(id, vec![(target.epoch, sizes)]);
        self.enter(id, Phase::Replaying);
    }

    /// When something is tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        let retries = self.shards.values().filter_map(|shard| shard.retry_at);
        retries.filter(|at| *at > self.now).min()
    }
}
