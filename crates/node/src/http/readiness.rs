use std::fmt;
use std::time::Duration;

use crate::figure::{OneLine, PercentFigure, TimeFigure};
use crate::status::{HeadStatus, NodeStatus, ShardReport};

/// A chain makes a block in seconds: one that is older means that this node, or the chain, stands.
const HEAD_AGE_MAX: Duration = Duration::from_secs(30);

/// Whether a node does now what it is there for, and what is in the way if not.
pub(super) struct Readiness(Vec<Check>);

/// One condition of readiness.
struct Check {
    of: String,
    /// Why it is not met.
    reason: Option<String>,
}

impl Readiness {
    /// The readiness of a node at a moment in milliseconds since 1970.
    pub(super) fn of(status: &NodeStatus, now_ms: u64) -> Self {
        let head = Check { of: "head".into(), reason: head_reason(status.head.as_ref(), now_ms) };
        let alone = (status.peers == 0).then(|| "no peers are connected".to_owned());
        let peers = Check { of: "peers".into(), reason: alone };
        let shards = status.shards.iter().map(|report| Check {
            of: format!("shard {}", report.shard),
            reason: shard_reason(report),
        });
        Self([head, peers].into_iter().chain(shards).collect())
    }

    /// Whether every condition is met.
    pub(super) fn is_ready(&self) -> bool {
        self.0.iter().all(|check| check.reason.is_none())
    }

    /// Every condition on its own line.
    pub(super) fn verbose(&self) -> String {
        self.0.iter().map(|check| format!("{check}\n")).collect()
    }

    /// The conditions that are not met, or that there are none.
    pub(super) fn brief(&self) -> String {
        if self.is_ready() {
            return "ok\n".to_owned();
        }
        let unmet = self.0.iter().filter(|check| check.reason.is_some());
        unmet.map(|check| format!("{check}\n")).collect()
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => write!(f, "{}: ok", self.of),
            Some(reason) => write!(f, "{}: not ok: {}", self.of, OneLine(reason)),
        }
    }
}

fn head_reason(head: Option<&HeadStatus>, now_ms: u64) -> Option<String> {
    let Some(head) = head else { return Some("no block is known".to_owned()) };
    let age = head.age(now_ms);
    (age > HEAD_AGE_MAX)
        .then(|| format!("block {} is {} old", head.height, TimeFigure(age.as_secs_f64())))
}

fn shard_reason(report: &ShardReport) -> Option<String> {
    if !report.is_tracked || report.is_following() {
        return None;
    }
    let mut reason = format!("must be tracked now and is {}", report.phase);
    if let Some(held) = report.fraction_held() {
        reason += &format!(" ({})", PercentFigure(held));
    }
    if let Some(error) = &report.last_error {
        reason += &format!("; last error: {error}");
    }
    Some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_000_000;

    fn status() -> NodeStatus {
        let following = ShardReport {
            shard: 1,
            phase: "following".into(),
            is_tracked: true,
            ..ShardReport::default()
        };
        let next = ShardReport { shard: 2, phase: "locating".into(), ..ShardReport::default() };
        NodeStatus {
            head: Some(HeadStatus { height: 7, time_ms: NOW_MS - 30_000 }),
            peers: 1,
            shards: vec![following, next],
            ..NodeStatus::default()
        }
    }

    #[test]
    fn a_node_that_follows_what_it_must_is_ready_whatever_it_takes_beside_it() {
        let ready = Readiness::of(&status(), NOW_MS);
        assert!(ready.is_ready());
        assert_eq!(ready.brief(), "ok\n");
        assert_eq!(ready.verbose(), "head: ok\npeers: ok\nshard 1: ok\nshard 2: ok\n");
    }

    #[test]
    fn a_head_of_the_future_is_new() {
        assert!(Readiness::of(&status(), 0).is_ready());
    }

    #[test]
    fn every_reason_has_its_line() {
        let mut status = status();
        status.peers = 0;
        status.shards.insert(
            0,
            ShardReport {
                shard: 0,
                phase: "downloading".into(),
                is_tracked: true,
                bytes_held: 1,
                bytes: 2,
                last_error: Some("stalled\nshard 9: ok".into()),
                ..ShardReport::default()
            },
        );
        let unready = Readiness::of(&status, NOW_MS + 1);
        assert!(!unready.is_ready());
        let reasons = "head: not ok: block 7 is 30s old
peers: not ok: no peers are connected
shard 0: not ok: must be tracked now and is downloading (50.0%); last error: stalled shard 9: ok
";
        assert_eq!(unready.brief(), reasons);
        assert_eq!(unready.verbose(), format!("{reasons}shard 1: ok\nshard 2: ok\n"));
        status.head = None;
        let unready = Readiness::of(&status, NOW_MS);
        assert!(unready.brief().starts_with("head: not ok: no block is known\n"));
    }
}
