//! What the node tells its operator: gathered here, published a few times a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::{
    Coordinator, EpochStart, Event, OurFault, Peer, Phase, RequestEnd, ShardStatus, Verdict,
};
use ketch_types::{Epoch, Height, Instant, ShardId, StateRoot};
use ketch_wire::Holding;
use tokio::sync::watch;

use crate::clock::wall_ms;
use crate::status::{HeadStatus, NodeStatus, ShardReport, Taken};

/// How often the status is published at most.
const INTERVAL: Duration = Duration::from_millis(200);

/// Taken shards that are remembered, the newest.
const TAKEN_MAX: usize = 1_024;

pub(crate) struct Report {
    status: watch::Sender<Arc<NodeStatus>>,
    /// What does not change.
    fixed: NodeStatus,
    head: Option<HeadStatus>,
    taken: Vec<Taken>,
    fetching: BTreeMap<ShardId, Fetching>,
    errors: BTreeMap<ShardId, String>,
    /// Whether a peer held a whole state when it last said so.
    whole: BTreeMap<(Peer, StateRoot), bool>,
    published: Option<Instant>,
}

/// A shard that is being fetched.
#[derive(Default)]
struct Fetching {
    taken: Taken,
    /// Bytes that had come when the rate was last measured, and the rate.
    measured: Option<(Instant, u64)>,
    bytes_per_second: f64,
}

impl Report {
    pub(crate) fn new(fixed: NodeStatus, status: watch::Sender<Arc<NodeStatus>>) -> Self {
        Self {
            status,
            fixed,
            head: None,
            taken: Vec::new(),
            fetching: BTreeMap::new(),
            errors: BTreeMap::new(),
            whole: BTreeMap::new(),
            published: None,
        }
    }

    pub(super) fn head(&mut self, height: Height, time_ms: u64) {
        self.head = Some(HeadStatus { height: height.0, time_ms });
    }

    /// Forgets what was said of states of epochs that are over.
    pub(super) fn epoch(&mut self, known: &BTreeMap<Epoch, EpochStart>) {
        let is_known =
            |root| known.values().any(|start| start.roots.values().any(|of| *of == root));
        self.whole.retain(|(_, root), _| is_known(*root));
    }

    pub(super) fn disconnected(&mut self, peer: Peer) {
        self.whole.retain(|(of, _), _| *of != peer);
    }

    /// Takes note of what a peer says that it holds.
    pub(super) fn holds(&mut self, peer: Peer, holding: &Holding) {
        self.whole.insert((peer, holding.root()), holding.held().is_full());
    }

    /// Takes note of how a request ended.
    pub(super) fn request_ended(
        &mut self,
        peer: Peer,
        of: Option<(ShardId, StateRoot)>,
        end: &RequestEnd,
    ) {
        match (end, of) {
            (RequestEnd::Summary(summary), _) => {
                summary.holdings().iter().for_each(|holding| self.holds(peer, holding));
            }
            (RequestEnd::Parts { held, .. }, Some((_, root))) => {
                self.whole.insert((peer, root), held.is_full());
            }
            (RequestEnd::Faulty(fault), Some((shard, _))) => {
                self.errors.insert(shard, format!("a peer was at fault: {fault:?}"));
            }
            _ => {}
        }
    }

    /// Takes note of a verified part.
    pub(super) fn part(
        &mut self,
        (shard, root): (ShardId, StateRoot),
        peer: Peer,
        is_validator: bool,
        bytes: usize,
    ) {
        let taken = &mut self.fetching.entry(shard).or_default().taken;
        let bytes = bytes as u64;
        taken.bytes = taken.bytes.saturating_add(bytes);
        let is_whole = self.whole.get(&(peer, root)).copied().unwrap_or(false);
        let from = match (is_whole, is_validator) {
            (false, _) => &mut taken.bytes_from_catching_up,
            (true, true) => &mut taken.bytes_from_trackers,
            (true, false) => &mut taken.bytes_from_part_servers,
        };
        *from = from.saturating_add(bytes);
    }

    pub(super) fn event(&mut self, event: &Event, known: &BTreeMap<Epoch, EpochStart>) {
        match event {
            Event::PhaseChanged { shard, phase: Phase::Locating | Phase::Downloading } => {
                self.fetching.entry(*shard).or_default();
            }
            Event::CaughtUp { shard, height, after, blocks_left, left } => {
                self.errors.remove(shard);
                let Some((epoch, start)) = known.last_key_value() else { return };
                let Some(fetched) = self.fetching.remove(shard) else {
                    return self.again(*shard, *epoch, *after, *left, *blocks_left);
                };
                let taken = Taken {
                    epoch: epoch.0,
                    shard: shard.0,
                    replayed: height.0.saturating_sub(start.start_height().0),
                    caught_up_ms: wall_ms(),
                    seconds: after.as_secs_f64(),
                    margin_seconds: left.as_secs_f64(),
                    margin_blocks: *blocks_left,
                    ..fetched.taken
                };
                self.take(taken);
            }
            Event::Boundary { shard, epoch, margin } => self.boundary(*shard, *epoch, *margin),
            Event::Failed { shard, fault } => {
                let what = match fault {
                    OurFault::DiskFull => "the disk is full: make room",
                    OurFault::Damaged => "what is stored is damaged, and is fetched again",
                    OurFault::Stopped => "own work failed; see the log",
                };
                self.errors.insert(*shard, what.to_owned());
            }
            _ => {}
        }
    }

    /// A shard that had fallen behind has caught up again.
    fn again(
        &mut self,
        shard: ShardId,
        epoch: Epoch,
        after: Duration,
        left: Duration,
        blocks: u64,
    ) {
        let mut taken = self.taken.iter_mut().rev();
        let is_it = |taken: &&mut Taken| taken.shard == shard.0 && taken.epoch == epoch.0;
        if let Some(taken) = taken.find(is_it) {
            (taken.seconds, taken.caught_up_ms) = (after.as_secs_f64(), wall_ms());
            (taken.margin_seconds, taken.margin_blocks) = (left.as_secs_f64(), blocks);
        }
    }

    fn boundary(&mut self, shard: ShardId, epoch: Epoch, margin: Option<Duration>) {
        let before = epoch.0.saturating_sub(1);
        let is_it = |taken: &&mut Taken| taken.shard == shard.0 && taken.epoch == before;
        if let Some(taken) = self.taken.iter_mut().rev().find(is_it) {
            taken.in_time = Some(margin.is_some());
            taken.margin_seconds = margin.unwrap_or_default().as_secs_f64();
        } else if margin.is_none() {
            // It was to be there, and is not: what has come of it so far.
            let fetched = self.fetching.get(&shard).map(|fetching| fetching.taken.clone());
            let (epoch, shard, in_time) = (before, shard.0, Some(false));
            self.take(Taken { epoch, shard, in_time, ..fetched.unwrap_or_default() });
        }
    }

    fn take(&mut self, taken: Taken) {
        if self.taken.len() >= TAKEN_MAX {
            self.taken.remove(0);
        }
        self.taken.push(taken);
    }

    /// Publishes how the node stands, unless it was done just now.
    pub(super) fn publish(
        &mut self,
        now: Instant,
        coordinator: &Coordinator,
        known: &BTreeMap<Epoch, EpochStart>,
        peers: usize,
    ) {
        if self.published.is_some_and(|at| now - at < INTERVAL) {
            return;
        }
        self.published = Some(now);
        let start = known.last_key_value().map(|(_, start)| start);
        let shards = coordinator.shards().map(|shard| self.shard(now, &shard, start)).collect();
        self.status.send_replace(Arc::new(NodeStatus {
            epoch: start.map(|start| start.epoch.0),
            head: self.head.clone(),
            peers,
            shards,
            taken: self.taken.clone(),
            ..self.fixed.clone()
        }));
    }

    fn shard(&mut self, now: Instant, of: &ShardStatus, start: Option<&EpochStart>) -> ShardReport {
        let rate = self.fetching.get_mut(&of.shard).map_or(0.0, |fetching| fetching.rate(now));
        let is_fetching = of.phase == Phase::Downloading && rate >= 1.0;
        let (verdict, margin_seconds, reason) = of.verdict.map_or((None, None, None), told);
        #[expect(clippy::cast_precision_loss, reason = "shown to people")]
        let eta_seconds = is_fetching.then(|| of.bytes_left as f64 / rate);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate that is never negative, and shown to people"
        )]
        let bytes_per_second = rate as u64;
        ShardReport {
            shard: of.shard.0,
            phase: format!("{:?}", of.phase).to_lowercase(),
            is_tracked: start.is_some_and(|start| start.tracked.contains(&of.shard)),
            epoch: of.target.map(|(epoch, _)| epoch.0),
            root: of.target.map(|(_, root)| root.to_string()),
            parts_held: of.parts_held,
            parts: of.parts,
            bytes_held: of.bytes.saturating_sub(of.bytes_left),
            bytes: of.bytes,
            bytes_per_second,
            eta_seconds,
            applied_height: of.applied.map(|height| height.0),
            deadline_height: of.deadline.map(|height| height.0),
            margin_seconds,
            verdict,
            reason,
            providers: of.holders,
            last_error: self.errors.get(&of.shard).cloned(),
        }
    }
}

impl Fetching {
    /// The rate of the last seconds. *Units:* bytes per second.
    fn rate(&mut self, now: Instant) -> f64 {
        let bytes = self.taken.bytes;
        let Some((at, before)) = self.measured else {
            self.measured = Some((now, bytes));
            return 0.0;
        };
        let elapsed = (now - at).as_secs_f64();
        if elapsed > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "shown to people")]
            let rate = bytes.saturating_sub(before) as f64 / elapsed;
            self.bytes_per_second += (rate - self.bytes_per_second) * (elapsed / 2.0).min(1.0);
            self.measured = Some((now, bytes));
        }
        self.bytes_per_second
    }
}

/// A verdict's name, the margin in seconds and what to say about it.
fn told(verdict: Verdict) -> (Option<String>, Option<f64>, Option<String>) {
    let name = |name: &str| Some(name.to_owned());
    match verdict {
        Verdict::OnTime { margin } => (name("on-time"), Some(margin.as_secs_f64()), None),
        Verdict::AtRisk { needed, left } => {
            let margin = needed.map(|needed| left.as_secs_f64() - needed.as_secs_f64());
            let reason = match needed {
                Some(needed) => format!("it takes {needed:.0?} more, and {left:.0?} are left"),
                None => format!("as things go it never ends, and {left:.0?} are left"),
            };
            (name("at-risk"), margin, Some(reason))
        }
        Verdict::Impossible { obstacle, .. } => {
            (name("impossible"), None, Some(obstacle.to_string()))
        }
    }
}
