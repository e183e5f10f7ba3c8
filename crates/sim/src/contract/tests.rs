use std::time::Duration;

use ketch_coordinator::{
    Ask, Command, EpochStart, Failure, Input, JobEnd, JobId, OurFault, PartSizes, Peer, PeerClass,
    PeerQuery, Query, RequestEnd, RequestId, Work,
};
use ketch_types::{Epoch, Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{Holding, PartsRequest, Summary};

use super::{Contract, Rule};

const S: ShardId = ShardId(1);
const ROOT: StateRoot = StateRoot::new([7; 32]);
const P: Peer = Peer(5);

/// What is told or said next.
enum Step {
    Told(u64, Input),
    Said(Command),
}
use Step::{Said, Told};

/// The first rule that steps break, and the step.
fn broken(steps: Vec<Step>) -> Option<(usize, Rule)> {
    let mut contract = Contract::new(2);
    let mut at = |step| match step {
        Told(second, input) => {
            let now = Instant::ORIGIN + Duration::from_secs(second);
            contract.told(now, Some(&input)).err()
        }
        Said(command) => contract.ordered(&command).err(),
    };
    steps.into_iter().enumerate().find_map(|(place, step)| Some((place, at(step)?)))
}

fn set(text: &str) -> PartSet {
    text.parse().unwrap()
}

fn there(second: u64, peer: Peer) -> Step {
    Told(second, Input::PeerConnected { peer, class: PeerClass::Other, affinity: 1 })
}

fn gone(second: u64, peer: Peer) -> Step {
    Told(second, Input::PeerDisconnected { peer })
}

fn head(second: u64, height: u64) -> Step {
    let (height, produced) = (Height(height), Instant::ORIGIN);
    Told(second, Input::HeadAdvanced { height, produced })
}

fn epoch(epoch: u64) -> Step {
    Told(
        0,
        Input::EpochStarted(EpochStart {
            epoch: Epoch(epoch),
            first_height: Height(1),
            length: 10,
            cut: 9,
            tracked: vec![],
            tracked_next: vec![],
            roots: [(S, ROOT)].into(),
            turns: [].into(),
        }),
    )
}

fn asks(request: u64, peer: Peer, query: Query) -> Step {
    Said(Command::Request { request: RequestId(request), peer, query })
}

fn asks_parts(request: u64, peer: Peer, wanted: &str) -> Step {
    asks(request, peer, Query::Parts { shard: S, root: ROOT, wanted: set(wanted) })
}

fn came(request: u64, part: u32) -> Step {
    Told(1, Input::PartVerified { request: RequestId(request), part: PartIndex(part) })
}

fn ended(request: u64, end: RequestEnd) -> Step {
    Told(1, Input::RequestEnded { request: RequestId(request), end })
}

fn failed(request: u64) -> Step {
    ended(request, RequestEnd::Failed(Failure::TimedOut))
}

fn runs(job: u64, work: Work) -> Step {
    Said(Command::Run { job: JobId(job), work })
}

fn applies(job: u64, first: u32, end: u32) -> Step {
    let parts = PartIndex(first)..PartIndex(end);
    runs(job, Work::Apply { shard: S, root: ROOT, parts })
}

fn worked(job: u64, end: JobEnd) -> Step {
    Told(1, Input::JobEnded { job: JobId(job), end })
}

fn holding(held: &str) -> Holding {
    Holding::new(S, Epoch(1), ROOT, 9, set(held)).unwrap()
}

fn says(held: &str) -> Step {
    Said(Command::Announce(holding(held)))
}

fn asked(ask: u64) -> Step {
    let request = PartsRequest::new(ROOT, 9, set("0-2/9"), 1).unwrap();
    Told(1, Input::Asked { ask: Ask(ask), peer: P, query: PeerQuery::Parts(request) })
}

fn sends(ask: u64, part: u32) -> Step {
    Said(Command::SendPart { ask: Ask(ask), shard: S, root: ROOT, part: PartIndex(part) })
}

fn sent(ask: u64, part: u32) -> Step {
    Told(1, Input::PartSent { ask: Ask(ask), part: PartIndex(part) })
}

fn ends(ask: u64) -> Step {
    Said(Command::End { ask: Ask(ask), refusal: None, held: None })
}

fn closed(ask: u64) -> Step {
    Told(1, Input::AskClosed { ask: Ask(ask) })
}

/// A peer is there, and some parts of it came.
fn arrived(parts: std::ops::Range<u32>) -> Vec<Step> {
    let mut steps = vec![there(1, P), asks_parts(0, P, "0-5/9")];
    steps.extend(parts.map(|part| came(0, part)));
    steps
}

fn then(mut steps: Vec<Step>, more: impl IntoIterator<Item = Step>) -> Vec<Step> {
    steps.extend(more);
    steps
}

/// Steps of which the last breaks a rule.
fn breaking(rule: Rule) -> Vec<Step> {
    let other = Peer(6);
    let third = Peer(7);
    match rule {
        Rule::TimeRanBack => vec![head(5, 1), head(4, 2)],
        Rule::HeadNotAbove => vec![head(1, 3), head(1, 3)],
        Rule::EpochNotAbove => vec![epoch(2), epoch(1)],
        Rule::PeerThereTwice => vec![there(1, P), there(2, P)],
        Rule::PeerNotThere => vec![there(1, P), gone(2, P), gone(3, P)],
        Rule::RequestNotOpen => then(arrived(0..1), [failed(0), failed(0)]),
        Rule::PartNotAwaited => then(arrived(0..1), [came(0, 0)]),
        Rule::EndUnlikeRequest => {
            then(arrived(0..1), [ended(0, RequestEnd::Summary(Summary::default()))])
        }
        Rule::JobNotOpen => vec![worked(0, JobEnd::Applied)],
        Rule::EndUnlikeWork => vec![runs(0, Work::CheckOurselves), worked(0, JobEnd::Searched)],
        Rule::AskNotNew => vec![there(1, P), asked(3), closed(3), asked(3)],
        Rule::AskNotOpen => vec![there(1, P), asked(3), closed(3), closed(3)],
        Rule::PartNotBeingSent => vec![there(1, P), asked(3), sends(3, 1), sent(3, 1), sent(3, 1)],
        Rule::RequestNotNew => then(arrived(0..1), [failed(0), asks_parts(0, P, "8/9")]),
        Rule::AskedOfAbsent => then(arrived(0..1), [gone(2, P), asks_parts(1, P, "8/9")]),
        Rule::AskedOfBanned => {
            let ban = Command::Ban { peer: P, lasting: Duration::from_secs(60) };
            let again = [gone(2, P), there(9, P), asks_parts(0, P, "1/9")];
            then(vec![there(1, P), Said(ban)], again)
        }
        Rule::AskedTooOften => {
            let all = [P, other, third].map(|peer| there(1, peer));
            let asked = (0..).zip([P, other, third]).map(|(id, peer)| asks_parts(id, peer, "3/9"));
            then(all.into(), asked)
        }
        Rule::AskedForHeld => then(arrived(0..1), [asks_parts(1, P, "0,7/9")]),
        Rule::CancelledNotOpen => {
            let cancel = || Said(Command::Cancel { request: RequestId(0) });
            then(arrived(0..1), [cancel(), failed(0), cancel()])
        }
        Rule::JobNotNew => vec![
            runs(0, Work::CheckOurselves),
            worked(0, JobEnd::Checked { sound: true }),
            runs(0, Work::CheckOurselves),
        ],
        Rule::TwoWriters => {
            then(arrived(0..2), [applies(0, 0, 1), runs(1, Work::DropShard { shard: S })])
        }
        Rule::WindowsOverlap => then(arrived(0..3), [applies(0, 0, 2), applies(1, 1, 3)]),
        Rule::TooManyApplies => {
            then(arrived(0..3), [applies(0, 0, 1), applies(1, 1, 2), applies(2, 2, 3)])
        }
        Rule::AppliedUnverified => then(arrived(0..2), [applies(0, 0, 3)]),
        Rule::SaidBeforeDurable => then(arrived(0..2), [applies(0, 0, 2), says("0/9")]),
        Rule::AnsweredNotOpen => vec![there(1, P), asked(3), ends(3), ends(3)],
        Rule::PartNotWanted => vec![there(1, P), asked(3), sends(3, 8)],
    }
}

#[test]
fn each_rule_is_noticed_where_it_is_broken_and_not_before() {
    for rule in Rule::ALL {
        let steps = breaking(*rule);
        let last = steps.len() - 1;
        assert_eq!(broken(steps), Some((last, *rule)));
    }
}

#[test]
fn what_is_gone_closes_what_was_open_of_it() {
    // Its requests at once: their ends would be told of nothing. What it asked, the driver closes yet.
    let steps = then(arrived(0..1), [asked(3), gone(1, P)]);
    assert_eq!(broken(then(steps, [failed(0)])), Some((5, Rule::RequestNotOpen)));
    let steps = then(arrived(0..1), [asked(3), sends(3, 1), gone(1, P)]);
    assert_eq!(broken(then(steps, [sent(3, 1), closed(3)])), None);
    let steps = then(arrived(0..1), [asked(3), gone(1, P)]);
    assert_eq!(broken(then(steps, [ends(3)])), Some((5, Rule::AnsweredNotOpen)));
}

#[test]
fn who_is_cancelled_or_banned_is_awaited_no_more_and_another_peer_may_be_asked() {
    let cancel = Command::Cancel { request: RequestId(0) };
    let ban = Command::Ban { peer: P, lasting: Duration::from_secs(60) };
    for done in [cancel, ban] {
        let steps = || {
            let all = [P, Peer(6), Peer(7)].map(|peer| there(1, peer)).into();
            let asked = [asks_parts(0, P, "3/9"), asks_parts(1, Peer(6), "3/9")];
            then(then(all, asked), [Said(done.clone())])
        };
        let other = [asks_parts(2, Peer(7), "3/9"), failed(0), came(2, 3)];
        assert_eq!(broken(then(steps(), other)), None);
        assert_eq!(broken(then(steps(), [came(0, 3)])), Some((6, Rule::PartNotAwaited)));
    }
}

#[test]
fn what_is_held_is_what_jobs_made_durable() {
    let applied = || then(arrived(0..2), [applies(0, 0, 2), worked(0, JobEnd::Applied)]);
    assert_eq!(broken(then(applied(), [says("0-1/9"), says("/9")])), None);
    assert_eq!(broken(then(applied(), [says("2/9")])), Some((6, Rule::SaidBeforeDurable)));
    let summary = Summary::new(vec![holding("2/9")], vec![]).unwrap();
    let send = Said(Command::SendSummary { ask: Ask(3), summary });
    let steps = then(applied(), [asked(3), send]);
    assert_eq!(broken(steps), Some((7, Rule::SaidBeforeDurable)));
    let full = JobEnd::Failed(OurFault::DiskFull);
    let steps = then(arrived(0..2), [applies(0, 0, 2), worked(0, full), says("0/9")]);
    assert_eq!(broken(steps), Some((6, Rule::SaidBeforeDurable)));
    // A store that is opened with a start, or turned towards another state, says so itself.
    let starts = vec![(Epoch(1), PartSizes::new(ROOT, 9, vec![1; 9]))];
    let opened = JobEnd::Opened { head: Some(Height(0)), outputs_after: None, starts };
    let open = || vec![runs(1, Work::Open { shard: S }), worked(1, opened.clone())];
    assert_eq!(broken(then(open(), [says("0-8/9")])), None);
    let reconcile = || Work::Reconcile { shard: S, root: ROOT, distrust: false };
    let begun = then(open(), [runs(2, reconcile()), says("0-8/9")]);
    assert_eq!(broken(begun), Some((3, Rule::SaidBeforeDurable)));
    let held = set("4/9");
    let done = [runs(2, reconcile()), worked(2, JobEnd::Reconciled { held }), says("4/9")];
    assert_eq!(broken(then(open(), done)), None);
}
