use std::fmt;
use std::time::Duration;

use ketch_types::ShardId;

/// What is expected of a shard that must be taken before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It will be there in time.
    OnTime {
        /// What is left over.
        margin: Duration,
    },
    /// It will be late if nothing gets better.
    AtRisk {
        /// What it still takes, as things go; none if it would never end.
        needed: Option<Duration>,
        /// What is left until the deadline.
        left: Duration,
    },
    /// It cannot be there in time.
    Impossible {
        /// Why not.
        obstacle: Obstacle,
        /// What is left until the deadline.
        left: Duration,
    },
}

/// Why a shard cannot be in time; its text says what would help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody who can be reached holds what is missing.
    NoHolder,
    /// More must be fetched than the best rate seen can bring. *Units:* bytes per second.
    Bandwidth {
        /// The rate that it takes from now on.
        needed: u64,
        /// The best rate that was seen.
        best: u64,
    },
    /// Blocks come as fast as they are replayed.
    Replay,
    /// Local work has failed for a while.
    OwnWork,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NoHolder => {
                write!(
                    f,
                    "nobody in reach holds what is missing: connect a tracker or a part server"
                )
            }
            Obstacle::Bandwidth { needed, best } => write!(
                f,
                "it takes {needed} bytes/s and the best seen is {best}: raise the download limit or the line"
            ),
            Obstacle::Replay => {
                write!(f, "blocks come as fast as they are replayed: free processor and disk")
            }
            Obstacle::OwnWork => {
                write!(f, "this node's own work fails: see its last failure, free or mend the disk")
            }
        }
    }
}

/// What one shard still needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prospect {
    pub(crate) shard: ShardId,
    /// Time until its deadline.
    pub(crate) left: Duration,
    pub(crate) bytes_left: u64,
    pub(crate) blocks_behind: u64,
}

/// How fast things go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// *Units:* bytes per second, over all shards.
    pub(crate) download: u64,
    /// *Units:* blocks in a thousand seconds, of one shard.
    pub(crate) replay: u64,
    pub(crate) block_interval: Duration,
}

/// One shard's place in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) shard: ShardId,
    /// Deadline less everything that it still takes if it had the whole line; minus infinity as the
    /// smallest number. *Units:* milliseconds.
    pub(crate) slack: i64,
    /// When it will be done under this plan; none if never.
    pub(crate) needed: Option<Duration>,
    /// Whether that is in time.
    pub(crate) in_time: bool,
}

/// The shards in the order in which they should be served, and what comes of it.
///
/// Of shards that share one line, as many as can be are in time, those first, by least slack; the
/// others follow, the one with the least left to fetch first.
///
/// *Source:* Moore, "An n job, one machine sequencing algorithm for minimizing the number of late
/// jobs", 1968.
pub(crate) fn plan(prospects: &[Prospect], pace: Pace) -> Vec<Planned> {
    let mut jobs: Vec<Job> = prospects.iter().map(|prospect| Job::new(*prospect, pace)).collect();
    jobs.sort_by_key(|job| (job.due, job.shard));
    let (mut in_time, mut late) = (Vec::new(), Vec::new());
    let mut busy = Duration::ZERO;
    for job in jobs {
        let Some(due) = job.due.0 else {
            late.push(job);
            continue;
        };
        busy = busy.saturating_add(job.download);
        in_time.push(job);
        if busy > due
            && let Some(longest) = longest(&in_time)
        {
            let dropped = in_time.remove(longest);
            busy = busy.saturating_sub(dropped.download);
            late.push(dropped);
        }
    }
    late.sort_by_key(|job| (job.download, job.shard));
    schedule(in_time, late)
}

/// Download and replay of one shard.
struct Job {
    shard: ShardId,
    download: Duration,
    /// The time after the download, if it ends.
    replay: Option<Duration>,
    /// When the download must be done; `None`, which must sort last, if the shard can never be in time.
    due: Due,
    slack: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Due(Option<Duration>);

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |due: &Due| (due.0.is_none(), due.0);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Job {
    fn new(prospect: Prospect, pace: Pace) -> Self {
        let download = time_for(prospect.bytes_left, pace.download);
        let replay = replay_time(prospect.blocks_behind, download, pace);
        let due = replay.and_then(|replay| prospect.left.checked_sub(replay));
        let slack = replay.map_or(i64::MIN, |replay| {
            millis(prospect.left).saturating_sub(millis(download)).saturating_sub(millis(replay))
        });
        Self { shard: prospect.shard, download, replay, due: Due(due), slack }
    }
}

/// How long `bytes` take at `rate`.
pub(crate) fn time_for(bytes: u64, rate: u64) -> Duration {
    let millis = u128::from(bytes) * 1_000 / u128::from(rate.max(1));
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// How long it takes to catch up with blocks that go on coming, download included; never, if they
/// come as fast as they are replayed.
pub(crate) fn replay_time(blocks_behind: u64, download: Duration, pace: Pace) -> Option<Duration> {
    let interval = pace.block_interval.as_millis().max(1);
    let behind = u128::from(blocks_behind) + download.as_millis() / interval;
    if behind <= 1 {
        return Some(Duration::ZERO);
    }
    // Blocks gained on the chain in a thousand seconds.
    let gained =
        u128::from(pace.replay).checked_sub(1_000_000 / interval).filter(|gained| *gained > 0)?;
    Some(Duration::from_millis(u64::try_from(behind * 1_000_000 / gained).unwrap_or(u64::MAX)))
}

fn longest(jobs: &[Job]) -> Option<usize> {
    let by_length = |(_, job): &(usize, &Job)| (job.download, job.shard);
    jobs.iter().enumerate().max_by_key(by_length).map(|(at, _)| at)
}

fn schedule(mut in_time: Vec<Job>, late: Vec<Job>) -> Vec<Planned> {
    in_time.sort_by_key(|job| (job.slack, job.shard));
    let mut busy = Duration::ZERO;
    let on_time = in_time.into_iter().map(|job| (job, true));
    on_time
        .chain(late.into_iter().map(|job| (job, false)))
        .map(|(job, in_time)| {
            busy = busy.saturating_add(job.download);
            let needed = job.replay.map(|replay| busy.saturating_add(replay));
            Planned { shard: job.shard, slack: job.slack, needed, in_time }
        })
        .collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACE: Pace =
        Pace { download: 1_000, replay: 100_000, block_interval: Duration::from_secs(1) };

    fn prospect(shard: u32, left_seconds: u64, kilobytes: u64, blocks_behind: u64) -> Prospect {
        let left = Duration::from_secs(left_seconds);
        Prospect { shard: ShardId(shard), left, bytes_left: kilobytes * 1_000, blocks_behind }
    }

    fn order(prospects: &[Prospect]) -> Vec<(u32, bool)> {
        plan(prospects, PACE).iter().map(|planned| (planned.shard.0, planned.in_time)).collect()
    }

    #[test]
    fn the_shard_with_the_least_slack_comes_first() {
        let shards = [prospect(1, 100, 20, 0), prospect(2, 100, 60, 0), prospect(3, 50, 5, 0)];
        assert_eq!(order(&shards), [(2, true), (3, true), (1, true)]);
    }

    #[test]
    fn equal_slack_is_decided_by_id() {
        let shards = [prospect(9, 100, 20, 0), prospect(4, 100, 20, 0)];
        assert_eq!(order(&shards), [(4, true), (9, true)]);
    }

    #[test]
    fn when_not_all_can_be_in_time_those_that_can_are_served_first() {
        let shards = [prospect(1, 100, 90, 0), prospect(2, 100, 40, 0), prospect(3, 100, 40, 0)];
        assert_eq!(order(&shards), [(2, true), (3, true), (1, false)]);
    }

    #[test]
    fn replay_counts_blocks_that_come_during_the_download() {
        // 50 s of download, 50 more blocks, 99 blocks gained in a second.
        let planned = plan(&[prospect(1, 52, 50, 148)], PACE)[0];
        assert_eq!(planned.needed, Some(Duration::from_millis(52_000)));
    }

    #[test]
    fn replay_no_faster_than_the_chain_never_ends() {
        let pace = Pace { replay: 1_000, ..PACE };
        let planned = plan(&[prospect(1, 1_000_000, 0, 5)], pace)[0];
        assert_eq!((planned.needed, planned.slack, planned.in_time), (None, i64::MIN, false));
        let caught_up = plan(&[prospect(1, 10, 0, 1)], pace)[0];
        assert!(caught_up.in_time);
    }

    proptest! {
        /// Against every order of up to six shards.
        #[test]
        fn no_order_brings_more_shards_in_time(
            sizes in proptest::collection::vec((1u64..100, 1u64..60), 1..6),
        ) {
            let shards: Vec<_> = (0..).zip(&sizes)
                .map(|(id, (left, kilobytes))| prospect(id, *left, *kilobytes, 0))
                .collect();
            let planned = plan(&shards, Pace { block_interval: Duration::from_secs(1_000), ..PACE });
            let planned = planned.iter().filter(|p| p.in_time).count();
            prop_assert_eq!(planned, best(&sizes, 0));
        }
    }

    /// The most shards that can be in time, by trying every order.
    fn best(shards: &[(u64, u64)], busy: u64) -> usize {
        let each = (0..shards.len()).map(|first| {
            let mut rest = shards.to_vec();
            let (left, takes) = rest.remove(first);
            let done = busy + takes;
            usize::from(done <= left) + best(&rest, if done <= left { done } else { busy })
        });
        each.max().unwrap_or(0)
    }
}
