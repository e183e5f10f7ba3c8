//! What the operator is told of a shard that stands still.

use ketch_coordinator::Verdict;

use super::line::Line;
use super::*;

/// What never ends, or is never given, of a shard.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stuck {
    Opening,
    Reconciling,
    Parts,
    Completing,
    Outputs(Refusal),
    Replaying,
}

/// Another shard, of which everything goes well all the time.
const OTHER: ShardId = ShardId(8);
/// Its parts: more than come until the deadline.
const OTHER_PARTS: u32 = 5_000;

impl Stuck {
    fn holds_up(self, work: &Work) -> bool {
        work.shard() == Some(S)
            && match work {
                Work::Open { .. } => self == Stuck::Opening,
                Work::Reconcile { .. } => self == Stuck::Reconciling,
                Work::Complete { .. } => self == Stuck::Completing,
                Work::Replay { .. } => self == Stuck::Replaying,
                _ => false,
            }
    }

    fn count(shard: ShardId) -> u32 {
        if shard == OTHER { OTHER_PARTS } else { 50 }
    }

    /// How a question is answered; parts of the other shard are not answered here.
    fn answer(self, script: &mut Script, question: &Question) {
        let end = match &question.query {
            Query::Summary(shards) => {
                // Each of the two peers has one of the shards.
                let own = if question.peer == Peer(1) { S } else { OTHER };
                let has = shards.contains(&own);
                let held = holding(own, 3, PartSet::full(Self::count(own)));
                let kept = Following::new(own, Height(1), Height(script.height)).unwrap();
                let summary = Summary::new(vec![held], vec![kept]).unwrap();
                RequestEnd::Summary(if has { summary } else { Summary::default() })
            }
            Query::Outline { shard, .. } => {
                RequestEnd::Manifest(sizes(*shard, 3, Self::count(*shard)))
            }
            Query::Parts { .. } if self == Stuck::Parts => {
                let retry_after = Duration::from_secs(1);
                RequestEnd::Parts {
                    held: PartSet::full(50),
                    refusal: Some(Refusal::Busy { retry_after }),
                }
            }
            Query::Parts { .. } => return script.give_parts(question, &PartSet::full(50)),
            Query::Outputs { .. } => match self {
                Stuck::Outputs(refusal) => RequestEnd::Refused(refusal),
                _ => RequestEnd::Outputs { through: Height(script.height), bytes: 10 },
            },
        };
        script.end(question, end);
    }
}

/// Lets an epoch of 300 blocks pass, in which a shard stands still somewhere and another moves.
fn standing_still(stuck: Stuck) -> Script {
    let mut script = Script::new(Config::default());
    script.epoch(3, 300, &[], &[S, OTHER]);
    script.head(901);
    (1..3).for_each(|peer| script.connect(peer));
    let mut line = Line::new(OTHER_PARTS);
    for tick in 1..2_990 {
        script.wait(100);
        if tick % 10 == 0 {
            script.head(script.height + 1);
        }
        let of_other = |query: &Query| matches!(query, Query::Parts { shard: OTHER, .. });
        for question in script.take(|query| !of_other(query)) {
            stuck.answer(&mut script, &question);
        }
        line.bring_one(&mut script);
        script.finish(|work| {
            let count = work.shard().map_or(0, Stuck::count);
            (!stuck.holds_up(work)).then(|| done(work, count))
        });
    }
    script
}

#[test]
fn what_stands_still_is_at_risk_long_before_the_deadline_however_well_another_shard_does() {
    let busy = Refusal::Busy { retry_after: Duration::from_secs(1) };
    for stuck in [
        Stuck::Opening,
        Stuck::Reconciling,
        Stuck::Parts,
        Stuck::Completing,
        Stuck::Outputs(busy),
        Stuck::Outputs(Refusal::NotHeld),
        Stuck::Outputs(Refusal::NotRetained),
        Stuck::Replaying,
    ] {
        let script = standing_still(stuck);
        let told = script.verdicts();
        let last = told
            .iter()
            .rposition(|(_, verdict)| matches!(verdict, Verdict::OnTime { .. }))
            .unwrap_or(0);
        assert!(matches!(told[0].1, Verdict::OnTime { .. }), "{stuck:?}: {told:?}");
        assert!(
            told.get(last + 1).is_some_and(|(told, _)| *told < at(60_000)),
            "{stuck:?}: {told:?}"
        );
        let other = script.coordinator.shards().find(|status| status.shard == OTHER).unwrap();
        assert!(other.parts_held > 2_500, "{stuck:?}: {other:?}");
    }
}
