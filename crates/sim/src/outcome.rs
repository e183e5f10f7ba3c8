//! What came of a run, in figures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ketch_types::{Epoch, Instant, ShardId};

use crate::check::Breach;
use crate::effect::over;
use crate::node::NodeId;
use crate::world::World;

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Shards that had to be taken by nodes.
    pub takes: usize,
    /// Of these, how many were not caught up before their epoch began.
    pub missed: usize,
    /// Of those that are still wanted, how many were not caught up when the run ended.
    pub unfinished: usize,
    /// From being told of the epoch to the last part applied: median, 99th percentile, longest.
    pub applied: Spread,
    /// The same, to being caught up.
    pub ready: Spread,
    /// The least time in which all could have downloaded and applied what they had to.
    pub bound: Duration,
    /// From the last part's arrival to the state being whole: the longest.
    pub apply_lag: Duration,
    /// Bytes of parts that were sent. *Units:* bytes, packed.
    pub sent: u64,
    /// The share of these that nodes sent which were still downloading that shard.
    pub from_downloading: f64,
    /// The share of these that came twice.
    pub wasted: f64,
    /// What was sent, to what takers lacked, as it is when they are done.
    pub excess: f64,
    /// The most that one part was made by one node.
    pub made_most: u32,
    /// Jain's index over how fast takers were.
    pub fairness: f64,
    /// The most that one node banned one peer.
    pub strikes: u32,
    /// The most that the nodes with a state from the beginning sent, to the state's size.
    pub seed_upload: f64,
    /// From a first warning "at risk" to the missed boundary: the shortest.
    pub warned_ahead: Option<Duration>,
    /// When "impossible" was first told.
    pub impossible_at: Option<Instant>,
    /// The fewest blocks that a node replayed in a second, among those that had at least a hundred to.
    pub replay_rate: Option<f64>,
    /// What must never be, and was.
    pub breaches: Vec<Breach>,
    /// What went wrong, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// The world's time at the end.
    pub end: Instant,
    /// Tells two runs apart.
    pub trace_hash: [u8; 32],
}

/// Some times, in short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Half took less.
    pub median: Duration,
    /// Of a hundred, one took longer.
    pub p99: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |share: usize| {
            let place = (times.len() * share).div_ceil(100).saturating_sub(1);
            times.get(place).copied().unwrap_or_default()
        };
        Self { median: at(50), p99: at(99), longest: at(100) }
    }
}

impl World {
    /// What came of the run.
    pub fn outcome(&self) -> Outcome {
        let ledger = self.ledger();
        let takes: Vec<_> = ledger.takes.iter().collect();
        let times = |end: fn(&crate::take::Take) -> Option<Instant>| {
            Spread::of(takes.iter().filter_map(|(_, take)| Some(end(take)? - take.since)).collect())
        };
        let sent: u64 = ledger.sent.values().sum();
        let lags = takes.iter().filter_map(|(_, take)| Some(take.applied? - take.last_arrival?));
        let missed = |take: &crate::take::Take| take.margin == Some(None);
        let warned = takes.iter().filter(|(_, take)| missed(take)).filter_map(|(place, take)| {
            Some(self.boundary(place.2) - take.at_risk.into_iter().chain(take.impossible).min()?)
        });
        Outcome {
            takes: takes.len(),
            missed: takes.iter().filter(|(_, take)| missed(take)).count(),
            unfinished: self.unfinished(),
            applied: times(|take| take.applied),
            ready: times(|take| take.caught_up),
            bound: self.bound(),
            apply_lag: lags.max().unwrap_or_default(),
            sent,
            from_downloading: share(ledger.sent_while_fetching, sent),
            wasted: share(ledger.wasted_bytes, sent),
            excess: share(sent, self.lacked()) - 1.0,
            made_most: ledger.generated.values().copied().max().unwrap_or(0),
            fairness: fairness(&self.speeds()),
            strikes: ledger.bans.values().copied().max().unwrap_or(0),
            seed_upload: self.seed_upload(),
            warned_ahead: warned.min(),
            impossible_at: takes.iter().filter_map(|(_, take)| take.impossible).min(),
            replay_rate: self.replay_rate(),
            breaches: ledger.breaches.clone(),
            faults: ledger.faults.clone(),
            end: self.now(),
            trace_hash: self.trace_hash(),
        }
    }

    /// When an epoch's first block is produced.
    fn boundary(&self, epoch: Epoch) -> Instant {
        let length = self.chain.setup().epoch_length;
        self.chain.produced(ketch_types::Height(epoch.0 * length + 1))
    }

    /// What each epoch's takers lacked when they were told.
    fn demands(&self) -> BTreeMap<Epoch, BTreeMap<NodeId, BTreeSet<ShardId>>> {
        let mut demands: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
        for ((node, shard, epoch), _) in self.ledger.takes.iter() {
            let of_epoch: &mut BTreeMap<_, BTreeSet<_>> = demands.entry(epoch).or_default();
            of_epoch.entry(node).or_default().insert(shard);
        }
        demands
    }

    fn lacked(&self) -> u64 {
        let takes = self.ledger.takes.iter().map(|(place, _)| place);
        takes.map(|(_, shard, epoch)| self.packed_before(shard, epoch)).sum()
    }

    /// The state that is fetched for an epoch: that of the start before it.
    fn packed_before(&self, shard: ShardId, epoch: Epoch) -> u64 {
        self.chain.packed_bytes(shard, Epoch(epoch.0.saturating_sub(1)))
    }

    /// The fluid bound: no schedule is faster than its narrowest place.
    ///
    /// *Source:* Mundinger, Weber and Weiss, "Optimal scheduling of peer-to-peer file dissemination",
    /// 2008, with the rate of applying as a further place.
    fn bound(&self) -> Duration {
        let demands = self.demands();
        let bounds = demands.iter().map(|(epoch, takers)| self.bound_of(*epoch, takers));
        bounds.max().unwrap_or_default()
    }

    fn bound_of(&self, epoch: Epoch, takers: &BTreeMap<NodeId, BTreeSet<ShardId>>) -> Duration {
        let before = Epoch(epoch.0.saturating_sub(1));
        let packed = |shard: &ShardId| self.packed_before(*shard, epoch);
        let whole = |shard: &ShardId| self.chain.state_bytes(*shard, before);
        let mut longest = Duration::ZERO;
        let mut by_shard: BTreeMap<ShardId, u64> = BTreeMap::new();
        for (id, shards) in takers {
            let Some(node) = self.nodes.get(*id) else { continue };
            let over_line = over(shards.iter().map(packed).sum(), node.setup.speed.download);
            let to_disk = over(shards.iter().map(whole).sum(), node.setup.apply_rate);
            longest = longest.max(over_line).max(to_disk);
            for shard in shards {
                *by_shard.entry(*shard).or_default() += node.setup.speed.upload;
            }
        }
        let mut demand = 0;
        let mut all_upload = 0;
        for (shard, takers_upload) in &by_shard {
            let holds = |node: &&crate::node::Node| {
                node.setup.is_honest() && node.setup.tracked_in(before).contains(shard)
            };
            let seeds = self.nodes.iter().filter(holds);
            let seeds_upload: u64 = seeds.map(|node| node.setup.speed.upload).sum();
            let wanting = takers.values().filter(|shards| shards.contains(shard)).count() as u64;
            longest = longest.max(over(packed(shard), seeds_upload));
            longest = longest.max(over(packed(shard) * wanting, seeds_upload + takers_upload));
            demand += packed(shard) * wanting;
        }
        for node in self.nodes.iter().filter(|node| node.setup.is_honest()) {
            all_upload += node.setup.speed.upload;
        }
        longest.max(over(demand, all_upload))
    }

    /// How fast each taker was, in shards an hour.
    fn speeds(&self) -> Vec<f64> {
        let takes = self.ledger.takes.iter();
        let times = takes.filter_map(|(_, take)| Some(take.applied? - take.since));
        times.map(|time| 3_600.0 / time.as_secs_f64().max(1e-9)).collect()
    }

    fn seed_upload(&self) -> f64 {
        let seeds = self
            .nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| node.setup.is_honest() && !node.setup.genesis.is_empty());
        let takers: BTreeSet<NodeId> = self.ledger.takes.iter().map(|(place, _)| place.0).collect();
        let seeds = seeds.filter(|(id, _)| !takers.contains(id));
        let uploads = seeds.map(|(id, node)| {
            let sent = self.ledger.sent.range((id, 0)..=(id, NodeId::MAX)).map(|(_, bytes)| bytes);
            let states = node.setup.genesis.iter();
            let state = states.map(|shard| self.chain.packed_bytes(*shard, Epoch(0))).sum();
            share(sent.sum(), state)
        });
        uploads.fold(0.0, f64::max)
    }

    fn replay_rate(&self) -> Option<f64> {
        let rates = self.ledger.takes.iter().filter_map(|((node, shard, _), take)| {
            let blocks = *self.ledger.replayed_by_catching_up.get(&(node, shard))?;
            let took = take.caught_up? - take.applied?;
            (blocks >= 100).then(|| blocks as f64 / took.as_secs_f64().max(1e-9))
        });
        rates.min_by(f64::total_cmp)
    }
}

/// Jain's fairness index: 1 if all are equal, 1 ÷ n if one has all.
///
/// *Source:* Jain, Chiu and Hawe, "A quantitative measure of fairness", 1984.
fn fairness(speeds: &[f64]) -> f64 {
    let sum: f64 = speeds.iter().sum();
    let squares: f64 = speeds.iter().map(|speed| speed * speed).sum();
    if squares == 0.0 { 1.0 } else { sum * sum / (speeds.len() as f64 * squares) }
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_among_equals_and_the_share_of_one_who_has_all() {
        assert!((fairness(&[2.0, 2.0, 2.0]) - 1.0).abs() < 1e-9);
        assert!((fairness(&[1.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-9);
        assert!((fairness(&[]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_spread_names_the_middle_and_the_end() {
        let times = (1..=200).map(Duration::from_secs).collect();
        let seconds =
            |spread: Spread| [spread.median, spread.p99, spread.longest].map(|time| time.as_secs());
        assert_eq!(seconds(Spread::of(times)), [100, 198, 200]);
        assert_eq!(Spread::of(vec![]), Spread::default());
    }
}
