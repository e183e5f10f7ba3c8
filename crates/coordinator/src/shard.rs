use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ketch_types::{Epoch, Height, Instant, PartIndex, PartSet, ShardId, StateRoot};

use crate::download::Download;
use crate::id::JobId;
use crate::part_sizes::PartSizes;
use crate::state_key::StateKey;
use crate::turn::Turn;
use crate::verdict::Verdict;

/// Where one shard's task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The store is being opened.
    Opening,
    /// Somebody is looked for who gives the target's outline.
    Locating,
    /// The store is being compared with the target.
    Reconciling,
    /// Parts are being fetched and applied.
    Downloading,
    /// The state is being made the head.
    Completing,
    /// Chunks since the target are being fetched and applied.
    Replaying,
    /// The shard is held and its newest chunks are applied as they come: caught up.
    Following,
    /// The shard is not tracked any more; what is held is served until it is dropped.
    Frozen,
    /// Local work failed; it is tried again later.
    Stopped,
}

impl Phase {
    /// Whether a task may go from here to `to`.
    pub fn may_become(self, to: Phase) -> bool {
        use Phase::{
            Completing, Downloading, Following, Frozen, Locating, Opening, Reconciling, Replaying,
            Stopped,
        };
        match self {
            Opening => matches!(to, Locating | Replaying | Frozen | Stopped),
            Locating => matches!(to, Reconciling | Locating | Stopped),
            Reconciling => matches!(to, Downloading | Locating | Stopped),
            Downloading => matches!(to, Completing | Locating | Stopped),
            Completing => matches!(to, Replaying | Locating | Stopped),
            Replaying => matches!(to, Following | Frozen | Locating | Stopped),
            Following => matches!(to, Replaying | Frozen | Locating | Stopped),
            Frozen => matches!(to, Opening | Replaying | Locating | Stopped),
            Stopped => matches!(to, Opening),
        }
    }

    /// Whether a target is still to be reached.
    pub fn is_catching_up(self) -> bool {
        matches!(
            self,
            Phase::Opening
                | Phase::Locating
                | Phase::Reconciling
                | Phase::Downloading
                | Phase::Completing
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Phase::Opening => "opening",
            Phase::Locating => "locating",
            Phase::Reconciling => "reconciling",
            Phase::Downloading => "downloading",
            Phase::Completing => "completing",
            Phase::Replaying => "replaying",
            Phase::Following => "following",
            Phase::Frozen => "frozen",
            Phase::Stopped => "stopped",
        };
        f.write_str(name)
    }
}

/// The task of one shard, from an empty folder to following the head and being dropped.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) phase: Phase,
    /// The state at an epoch's start that is to be reached.
    pub(crate) target: Option<Target>,
    /// The target's parts, once its outline came.
    pub(crate) sizes: Option<PartSizes>,
    /// From reconciling to completing.
    pub(crate) download: Option<Download>,
    /// The one job that the phase waits for: opening, reconciling, completing, replaying.
    pub(crate) job: Option<JobId>,
    /// Whether the store's own word is not to be taken at the next reconciling.
    pub(crate) distrust: bool,
    /// The height of the head, once the state is whole.
    pub(crate) applied: Option<Height>,
    /// The height after which outputs of chunks are kept.
    pub(crate) outputs_after: Option<Height>,
    /// The height up to which outputs have been fetched, and the bytes of those not yet applied.
    pub(crate) fetched: Option<Fetched>,
    /// The height to stop at, for a shard that is tracked no more.
    pub(crate) last_height: Option<Height>,
    /// Which of those that take it this node is.
    pub(crate) turn: Turn,
    /// When the shard must be held: the first height of the next epoch.
    pub(crate) deadline: Option<Height>,
    /// Starts of epochs that are held whole.
    pub(crate) starts: BTreeMap<Epoch, Start>,
    pub(crate) search: Search,
    pub(crate) outlook: Outlook,
    pub(crate) voice: Voice,
    /// When the task last moved on, or anything was last verified or applied.
    pub(crate) moved: Instant,
    /// When anything was last gained towards the target: a task that is begun anew gains nothing by it.
    pub(crate) gained: Instant,
    /// When a stopped task is tried again.
    pub(crate) retry_at: Option<Instant>,
    /// How often it has stopped since local work last succeeded.
    pub(crate) stops: u32,
    /// How many answers were given up because they came too slowly, since one was whole.
    pub(crate) given_up: u32,
    /// Whether it is to be dropped as soon as no job of it is running.
    pub(crate) doomed: bool,
}

/// A state to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) key: StateKey,
    /// The height of the block that it is the state after.
    pub(crate) height: Height,
}

/// Outputs that were fetched ahead of being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) through: Height,
    /// *Units:* bytes, not applied yet.
    pub(crate) bytes: u64,
}

/// A whole state that is served.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    pub(crate) sizes: PartSizes,
    /// The parts that are known to be in the cache.
    pub(crate) cached: PartSet,
    /// Parts that could not be made: what is damaged is not held, though the rest is.
    pub(crate) lost: PartSet,
    /// How many of its parts, from the first on, have been made ahead of demand: each once, whatever
    /// the cache drops later.
    pub(crate) made: u32,
}

/// The search for holders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    pub(crate) job: Option<JobId>,
    pub(crate) last: Option<Instant>,
}

/// What is expected, and since when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) at_risk_since: Option<Instant>,
    pub(crate) holderless_since: Option<Instant>,
    /// Since when nobody in reach has the outputs that come next.
    pub(crate) feedless_since: Option<Instant>,
    /// Since when local work has failed.
    pub(crate) stopped_since: Option<Instant>,
    pub(crate) caught_up_since: Option<Instant>,
    /// Since when it was caught up, while all that is known is applied and nothing but the age of the
    /// newest head says that it is so no more: the chain has halted, or we hear nothing of it.
    pub(crate) caught_up_before: Option<Instant>,
}

/// What was announced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Voice {
    /// Whether more is held than was announced.
    pub(crate) due: bool,
    pub(crate) last: Option<Instant>,
    /// The epochs that we are a provider of.
    pub(crate) provided: BTreeSet<Epoch>,
    /// What was announced of each state.
    pub(crate) announced: BTreeMap<StateKey, PartSet>,
}

impl Shard {
    pub(crate) fn new(id: ShardId, now: Instant) -> Self {
        Self {
            id,
            phase: Phase::Opening,
            target: None,
            sizes: None,
            download: None,
            job: None,
            distrust: false,
            applied: None,
            outputs_after: None,
            fetched: None,
            last_height: None,
            turn: Turn::ALONE,
            deadline: None,
            starts: BTreeMap::new(),
            search: Search::default(),
            outlook: Outlook::default(),
            voice: Voice::default(),
            moved: now,
            gained: now,
            retry_at: None,
            stops: 0,
            given_up: 0,
            doomed: false,
        }
    }

    /// How many bytes are not durable yet; an unknown outline counts as nothing.
    pub(crate) fn bytes_left(&self) -> u64 {
        if self.applied.is_some() {
            return 0;
        }
        let whole = self.sizes.as_ref().map_or(0, PartSizes::total_bytes);
        self.download.as_ref().map_or(whole, Download::bytes_left)
    }

    /// The height from which blocks are to be replayed.
    pub(crate) fn replayed_from(&self) -> Option<Height> {
        self.applied.or_else(|| self.target.map(|target| target.height))
    }

    /// The height up to which outputs have been fetched or applied.
    pub(crate) fn outputs_through(&self) -> Option<Height> {
        self.fetched.map(|fetched| fetched.through).or(self.applied)
    }

    /// Every state that something of is held, with what is held of it.
    pub(crate) fn held_states(&self) -> Vec<(StateKey, PartSet)> {
        let mut states: Vec<_> = self
            .starts
            .iter()
            .map(|(epoch, start)| {
                let (root, cut) = (start.sizes.root(), start.sizes.cut());
                let key = StateKey { shard: self.id, epoch: *epoch, root, cut };
                (key, start.lost.complement())
            })
            .collect();
        // In earlier phases the download may still be that of a target that was given up.
        if let (Some(target), Some(download)) = (self.target, &self.download)
            && matches!(self.phase, Phase::Downloading | Phase::Completing)
        {
            states.push((target.key, download.held().clone()));
        }
        states
    }

    /// Whether something of a state may be held.
    pub(crate) fn has(&self, root: StateRoot) -> bool {
        self.cached(root).is_some() || self.target.is_some_and(|target| target.key.root == root)
    }

    /// The parts of a state that are in the cache, and all their sizes.
    pub(crate) fn cached(&self, root: StateRoot) -> Option<(&PartSizes, &PartSet)> {
        if let Some(start) = self.starts.values().find(|start| start.sizes.root() == root) {
            return Some((&start.sizes, &start.cached));
        }
        let download = self.download.as_ref().filter(|d| d.sizes().root() == root)?;
        Some((download.sizes(), download.cached()))
    }

    /// Notes that a part is in the cache.
    pub(crate) fn cache(&mut self, root: StateRoot, part: PartIndex) {
        self.cached_mut(root).into_iter().for_each(|cached| {
            cached.insert(part);
        });
    }

    /// Notes that a part is not in the cache any more.
    pub(crate) fn uncache(&mut self, root: StateRoot, part: PartIndex) {
        self.cached_mut(root).into_iter().for_each(|cached| {
            cached.remove(part);
        });
    }

    /// Notes that a part of a whole state cannot be made, and that less is held than was announced.
    pub(crate) fn lose(&mut self, root: StateRoot, part: PartIndex) {
        let start = self.starts.values_mut().find(|start| start.sizes.root() == root);
        self.voice.due |= start.is_some_and(|start| start.lost.insert(part));
    }

    fn cached_mut(&mut self, root: StateRoot) -> Option<&mut PartSet> {
        if let Some(start) = self.starts.values_mut().find(|start| start.sizes.root() == root) {
            return Some(&mut start.cached);
        }
        let download = self.download.as_mut().filter(|d| d.sizes().root() == root)?;
        Some(download.cached_mut())
    }

    /// Whether its store can be worked on.
    pub(crate) fn is_open(&self) -> bool {
        !self.doomed && !matches!(self.phase, Phase::Opening | Phase::Stopped)
    }

    pub(crate) fn is_caught_up(&self) -> bool {
        self.phase == Phase::Following
    }

    /// Whether only news can change what is expected of it, and not time alone.
    pub(crate) fn is_at_ease(&self) -> bool {
        let on_time = matches!(self.outlook.verdict, Some(Verdict::OnTime { .. }));
        self.is_caught_up() && on_time && self.outlook.feedless_since.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Phase; 9] = [
        Phase::Opening,
        Phase::Locating,
        Phase::Reconciling,
        Phase::Downloading,
        Phase::Completing,
        Phase::Replaying,
        Phase::Following,
        Phase::Frozen,
        Phase::Stopped,
    ];

    #[test]
    fn every_phase_can_be_reached_and_left() {
        for phase in ALL {
            assert!(ALL.iter().any(|from| from.may_become(phase)), "{phase} is never reached");
            assert!(ALL.iter().any(|to| phase.may_become(*to)), "{phase} is never left");
        }
    }

    #[test]
    fn nothing_is_followed_that_was_not_replayed_and_nothing_downloaded_that_was_not_compared() {
        for from in ALL.into_iter().filter(|from| *from != Phase::Replaying) {
            assert!(!from.may_become(Phase::Following));
        }
        for from in ALL.into_iter().filter(|from| *from != Phase::Reconciling) {
            assert!(!from.may_become(Phase::Downloading));
        }
    }
}
