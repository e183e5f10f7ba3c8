//! Work on shards, and what it leaves on the disk and in memory.

use std::collections::BTreeMap;
use std::ops::Range;

use ketch_coordinator::{JobEnd, JobId, PartSizes, Query, Work};
use ketch_types::{Epoch, PartIndex, PartSet, ShardId};
use ketch_wire::Holding;

use super::requests::State;
use super::{Kept, Rule, holds};

/// Jobs that are open, and where parts of states are by what came of those before.
#[derive(Debug)]
pub(super) struct Works {
    applies_max: usize,
    open: BTreeMap<JobId, Work>,
    /// The id after those that were given out.
    next: u64,
    parts: BTreeMap<State, Places>,
}

/// Where the parts of a state are.
#[derive(Debug)]
struct Places {
    durable: PartSet,
    /// Verified, and in memory.
    waiting: PartSet,
    /// In windows that are being applied.
    applying: PartSet,
}

impl Places {
    fn over(count: u32) -> Self {
        let none = PartSet::empty(count);
        Self { durable: none.clone(), waiting: none.clone(), applying: none }
    }
}

impl Works {
    pub(super) fn new(applies_max: usize) -> Self {
        Self { applies_max, open: BTreeMap::new(), next: 0, parts: BTreeMap::new() }
    }

    /// Whether none of the parts that are asked for is there, of one's own.
    pub(super) fn are_missing(&mut self, query: &Query) -> Kept {
        let Query::Parts { shard, root, wanted } = query else { return Ok(()) };
        let count = wanted.count();
        let places = self.parts.entry((*shard, *root)).or_insert_with(|| Places::over(count));
        let there = [&places.durable, &places.waiting, &places.applying];
        holds(there.iter().all(|there| there.is_disjoint(wanted)), Rule::AskedForHeld)
    }

    /// A part is in memory, unless it is there already: then this one is dropped.
    pub(super) fn verified(&mut self, state: State, part: PartIndex) {
        let Some(places) = self.parts.get_mut(&state) else { return };
        if !places.durable.contains(part) && !places.applying.contains(part) {
            places.waiting.insert(part);
        }
    }

    pub(super) fn discarded(&mut self, shard: ShardId) {
        for (_, places) in self.parts.iter_mut().filter(|((of, _), _)| *of == shard) {
            places.waiting = PartSet::empty(places.waiting.count());
        }
    }

    /// Whether all that is said to be held is durable.
    pub(super) fn said(&self, holding: &Holding) -> Kept {
        let places = self.parts.get(&(holding.shard(), holding.root()));
        let mut missing = holding.held().clone();
        places.into_iter().for_each(|places| missing.subtract(&places.durable));
        holds(missing.is_empty(), Rule::SaidBeforeDurable)
    }

    pub(super) fn began(&mut self, job: JobId, work: &Work) -> Kept {
        let is_new = holds(job.0 >= self.next, Rule::JobNotNew);
        self.next = self.next.max(job.0.saturating_add(1));
        let is_alone = self.may_write(work);
        let begun = match work {
            Work::Apply { shard, root, parts } => self.applies((*shard, *root), parts),
            Work::Reconcile { shard, .. } | Work::DropShard { shard } => {
                // From here on nothing can be said of what was there.
                self.parts.retain(|(of, _), _| of != shard);
                Ok(())
            }
            _ => Ok(()),
        };
        self.open.insert(job, work.clone());
        is_new.and(is_alone).and(begun)
    }

    /// Whether work is alone with what it writes to; windows of one state may be applied together.
    fn may_write(&self, work: &Work) -> Kept {
        let Some(shard) = work.shard().filter(|_| writes(work)) else { return Ok(()) };
        let is_apply = |work: &Work| matches!(work, Work::Apply { .. });
        let mut others = self.open.values().filter(|o| o.shard() == Some(shard) && writes(o));
        let is_alone = others.all(|other| is_apply(work) && is_apply(other));
        let applies = self.open.values().filter(|other| is_apply(other)).count();
        let is_room = !is_apply(work) || applies < self.applies_max;
        holds(is_alone, Rule::TwoWriters).and(holds(is_room, Rule::TooManyApplies))
    }

    fn applies(&mut self, state: State, window: &Range<PartIndex>) -> Kept {
        let places = self.parts.get_mut(&state).ok_or(Rule::AppliedUnverified)?;
        let (mut overlaps, mut is_verified) = (false, true);
        for part in (window.start.0..window.end.0).map(PartIndex) {
            is_verified &= places.waiting.remove(part);
            overlaps |= !places.applying.insert(part);
        }
        holds(!overlaps, Rule::WindowsOverlap).and(holds(is_verified, Rule::AppliedUnverified))
    }

    pub(super) fn ended(&mut self, job: JobId, end: &JobEnd) -> Kept {
        let work = self.open.remove(&job).ok_or(Rule::JobNotOpen)?;
        if let Work::Apply { shard, root, parts } = &work
            && let Some(places) = self.parts.get_mut(&(*shard, *root))
        {
            for part in (parts.start.0..parts.end.0).map(PartIndex) {
                places.applying.remove(part);
                if *end == JobEnd::Applied {
                    places.durable.insert(part);
                }
            }
        }
        let fits = match (&work, end) {
            (_, JobEnd::Failed(_))
            | (Work::Search { .. }, JobEnd::Searched)
            | (Work::Apply { .. }, JobEnd::Applied)
            | (Work::DropShard { .. } | Work::DropEpochs { .. }, JobEnd::Dropped)
            | (Work::CheckOurselves, JobEnd::Checked { .. }) => true,
            (Work::Open { shard }, JobEnd::Opened { starts, .. }) => {
                self.started(*shard, starts);
                true
            }
            (Work::Reconcile { shard, root, .. }, JobEnd::Reconciled { held }) => {
                let places = Places { durable: held.clone(), ..Places::over(held.count()) };
                self.parts.insert((*shard, *root), places);
                true
            }
            (Work::Complete { shard, root, .. }, JobEnd::Completed) => {
                let places = self.parts.get(&(*shard, *root));
                places.is_none_or(|places| places.durable.is_full())
            }
            (Work::Replay { shard, through: asked }, JobEnd::Replayed { through, starts }) => {
                self.started(*shard, starts);
                through == asked
            }
            (Work::Generate { parts, .. }, JobEnd::Generated { made }) => {
                let mut unasked = made.clone();
                unasked.subtract(parts);
                unasked.is_empty()
            }
            _ => false,
        };
        holds(fits, Rule::EndUnlikeWork)
    }

    /// States are there as a whole.
    fn started(&mut self, shard: ShardId, starts: &[(Epoch, PartSizes)]) {
        for (_, sizes) in starts {
            let durable = PartSet::full(sizes.count());
            let places = Places { durable, ..Places::over(sizes.count()) };
            self.parts.insert((shard, sizes.root()), places);
        }
    }
}

/// Whether work changes what is in a store.
fn writes(work: &Work) -> bool {
    matches!(
        work,
        Work::Open { .. }
            | Work::Reconcile { .. }
            | Work::Apply { .. }
            | Work::Complete { .. }
            | Work::Replay { .. }
            | Work::DropShard { .. }
    )
}
