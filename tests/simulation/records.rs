//! Lines of a record: whatever is written is read again as the same, and the bytes are fixed.

use std::time::Duration;

use ketch_coordinator::{
    Ask, Command, Config, EpochStart, Failure, Fault, Input, JobEnd, JobId, OurFault, PartSizes,
    Peer, PeerClass, PeerQuery, Query, RequestEnd, RequestId, Turn, Work,
};
use ketch_sim::{RecordError, RecordStart, RecordedTurn};
use ketch_types::{Epoch, Height, Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{Following, Holding, OutputsRequest, PartsRequest, Refusal, Summary};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::Union;

fn shard() -> impl Strategy<Value = ShardId> {
    any::<u32>().prop_map(ShardId)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch)
}

fn height() -> impl Strategy<Value = Height> {
    any::<u64>().prop_map(Height)
}

fn root() -> impl Strategy<Value = StateRoot> {
    any::<[u8; 32]>().prop_map(StateRoot::new)
}

fn part() -> impl Strategy<Value = PartIndex> {
    any::<u32>().prop_map(PartIndex)
}

fn time() -> impl Strategy<Value = Duration> {
    (any::<u32>(), 0u32..1_000_000_000).prop_map(|(s, nanos)| Duration::new(s.into(), nanos))
}

fn moment() -> impl Strategy<Value = Instant> {
    any::<u64>().prop_map(|nanos| Instant::ORIGIN + Duration::from_nanos(nanos))
}

fn set() -> impl Strategy<Value = PartSet> {
    (1u32..3_000, vec(0u32..3_000, 0..40), any::<bool>()).prop_map(|(count, parts, full)| {
        let mut set = if full { PartSet::full(count) } else { PartSet::empty(count) };
        for part in parts.into_iter().map(PartIndex) {
            if full {
                set.remove(part)
            } else {
                set.insert(part)
            };
        }
        set
    })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::NotHeld),
        Just(Refusal::NotRetained),
        time().prop_map(|retry_after| Refusal::Busy { retry_after }),
        Just(Refusal::Unsupported),
        Just(Refusal::Invalid),
    ]
}

fn holding() -> impl Strategy<Value = Holding> {
    let made = |(shard, epoch, root, cut, held)| Holding::new(shard, epoch, root, cut, held);
    (shard(), epoch(), root(), any::<u32>(), set()).prop_map(move |of| made(of).unwrap())
}

fn summary() -> impl Strategy<Value = Summary> {
    let following = (shard(), height(), height())
        .prop_map(|(shard, a, b)| Following::new(shard, a.min(b), a.max(b)).unwrap());
    (vec(holding(), 0..4), vec(following, 0..4))
        .prop_map(|(holdings, following)| Summary::new(holdings, following).unwrap())
}

fn sizes() -> impl Strategy<Value = PartSizes> {
    (root(), any::<u32>(), vec(any::<u32>(), 0..20))
        .prop_map(|(root, cut, bytes)| PartSizes::new(root, cut, bytes))
}

fn starts() -> impl Strategy<Value = Vec<(Epoch, PartSizes)>> {
    vec((epoch(), sizes()), 0..3)
}

fn start() -> impl Strategy<Value = EpochStart> {
    let turn =
        (any::<u32>(), 1..u32::MAX).prop_map(|(place, of)| Turn::new(place % of, of).unwrap());
    let shards = || vec(shard(), 0..4);
    let roots = proptest::collection::btree_map(shard(), root(), 0..4);
    let turns = proptest::collection::btree_map(shard(), turn, 0..4);
    (epoch(), height(), any::<u64>(), any::<u32>(), shards(), shards(), roots, turns).prop_map(
        |(epoch, first_height, length, cut, tracked, tracked_next, roots, turns)| EpochStart {
            epoch,
            first_height,
            length,
            cut,
            tracked,
            tracked_next,
            roots,
            turns,
        },
    )
}

fn request_end() -> impl Strategy<Value = RequestEnd> {
    let failures = vec![Failure::TimedOut, Failure::Disconnected, Failure::Cancelled];
    prop_oneof![
        summary().prop_map(RequestEnd::Summary),
        sizes().prop_map(RequestEnd::Manifest),
        (set(), option::of(refusal()))
            .prop_map(|(held, refusal)| RequestEnd::Parts { held, refusal }),
        (height(), any::<u64>())
            .prop_map(|(through, bytes)| RequestEnd::Outputs { through, bytes }),
        refusal().prop_map(RequestEnd::Refused),
        proptest::sample::select(failures).prop_map(RequestEnd::Failed),
        part().prop_map(|part| RequestEnd::Faulty(Fault::Part(part))),
        proptest::sample::select(&[Fault::Outline, Fault::Outputs, Fault::Message])
            .prop_map(RequestEnd::Faulty),
    ]
}

fn job_end() -> impl Strategy<Value = JobEnd> {
    let faults = vec![OurFault::DiskFull, OurFault::Damaged, OurFault::Stopped];
    prop_oneof![
        Just(JobEnd::Searched),
        (option::of(height()), option::of(height()), starts()).prop_map(
            |(head, outputs_after, starts)| JobEnd::Opened { head, outputs_after, starts }
        ),
        set().prop_map(|held| JobEnd::Reconciled { held }),
        Just(JobEnd::Applied),
        Just(JobEnd::Completed),
        (height(), starts()).prop_map(|(through, starts)| JobEnd::Replayed { through, starts }),
        set().prop_map(|made| JobEnd::Generated { made }),
        Just(JobEnd::Dropped),
        any::<bool>().prop_map(|sound| JobEnd::Checked { sound }),
        proptest::sample::select(faults).prop_map(JobEnd::Failed),
    ]
}

fn peer_query() -> impl Strategy<Value = PeerQuery> {
    let parts =
        (root(), any::<u32>(), set(), any::<u64>()).prop_map(|(root, cut, mut set, most)| {
            set.insert(PartIndex(0));
            PartsRequest::new(root, cut, set, most).unwrap()
        });
    let outputs = (shard(), height(), any::<u64>(), epoch()).prop_map(
        |(shard, after, budget_bytes, newest_epoch)| OutputsRequest {
            shard,
            after,
            budget_bytes,
            newest_epoch,
        },
    );
    prop_oneof![
        vec(shard(), 0..4).prop_map(PeerQuery::Summary),
        (root(), any::<u32>()).prop_map(|(root, cut)| PeerQuery::Outline { root, cut }),
        parts.prop_map(PeerQuery::Parts),
        outputs.prop_map(PeerQuery::Outputs),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let peer = || any::<u32>().prop_map(Peer);
    let request = || any::<u64>().prop_map(RequestId);
    let ask = || any::<u64>().prop_map(Ask);
    let classes = vec![PeerClass::Validator, PeerClass::Other];
    let all: Vec<BoxedStrategy<Input>> = vec![
        start().prop_map(Input::EpochStarted).boxed(),
        (height(), moment())
            .prop_map(|(height, produced)| Input::HeadAdvanced { height, produced })
            .boxed(),
        (peer(), proptest::sample::select(classes), any::<u64>())
            .prop_map(|(peer, class, affinity)| Input::PeerConnected { peer, class, affinity })
            .boxed(),
        peer().prop_map(|peer| Input::PeerDisconnected { peer }).boxed(),
        (peer(), holding())
            .prop_map(|(peer, holding)| Input::HoldingAnnounced { peer, holding })
            .boxed(),
        (request(), any::<u64>())
            .prop_map(|(request, bytes)| Input::RequestProgressed { request, bytes })
            .boxed(),
        (request(), part())
            .prop_map(|(request, part)| Input::PartVerified { request, part })
            .boxed(),
        (request(), request_end())
            .prop_map(|(request, end)| Input::RequestEnded { request, end })
            .boxed(),
        (any::<u64>(), job_end())
            .prop_map(|(job, end)| Input::JobEnded { job: JobId(job), end })
            .boxed(),
        shard().prop_map(|shard| Input::DamageFound { shard }).boxed(),
        any::<bool>().prop_map(Input::HostBusy).boxed(),
        (ask(), peer(), peer_query())
            .prop_map(|(ask, peer, query)| Input::Asked { ask, peer, query })
            .boxed(),
        (ask(), part()).prop_map(|(ask, part)| Input::PartSent { ask, part }).boxed(),
        (ask(), part()).prop_map(|(ask, part)| Input::PartNotCached { ask, part }).boxed(),
        ask().prop_map(|ask| Input::AskClosed { ask }).boxed(),
    ];
    Union::new(all)
}

fn query() -> impl Strategy<Value = Query> {
    prop_oneof![
        vec(shard(), 0..4).prop_map(Query::Summary),
        (shard(), root(), any::<u32>()).prop_map(|(shard, root, cut)| Query::Outline {
            shard,
            root,
            cut
        }),
        (shard(), root(), set()).prop_map(|(shard, root, wanted)| Query::Parts {
            shard,
            root,
            wanted
        }),
        (shard(), height(), any::<u64>()).prop_map(|(shard, after, budget_bytes)| Query::Outputs {
            shard,
            after,
            budget_bytes
        }),
    ]
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        (shard(), epoch()).prop_map(|(shard, epoch)| Work::Search { shard, epoch }),
        shard().prop_map(|shard| Work::Open { shard }),
        (shard(), root(), any::<bool>()).prop_map(|(shard, root, distrust)| Work::Reconcile {
            shard,
            root,
            distrust
        }),
        (shard(), root(), part(), part()).prop_map(|(shard, root, a, b)| Work::Apply {
            shard,
            root,
            parts: a.min(b)..a.max(b)
        }),
        (shard(), root(), epoch(), height()).prop_map(|(shard, root, epoch, height)| {
            Work::Complete { shard, root, epoch, height }
        }),
        (shard(), height()).prop_map(|(shard, through)| Work::Replay { shard, through }),
        (shard(), root(), set(), any::<bool>()).prop_map(|(shard, root, parts, awaited)| {
            Work::Generate { shard, root, parts, awaited }
        }),
        shard().prop_map(|shard| Work::DropShard { shard }),
        (shard(), epoch()).prop_map(|(shard, before)| Work::DropEpochs { shard, before }),
        Just(Work::CheckOurselves),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let peer = || any::<u32>().prop_map(Peer);
    let ask = || any::<u64>().prop_map(Ask);
    let all: Vec<BoxedStrategy<Command>> = vec![
        (any::<u64>(), peer(), query())
            .prop_map(|(id, peer, query)| Command::Request { request: RequestId(id), peer, query })
            .boxed(),
        any::<u64>().prop_map(|id| Command::Cancel { request: RequestId(id) }).boxed(),
        (any::<u64>(), work()).prop_map(|(id, work)| Command::Run { job: JobId(id), work }).boxed(),
        shard().prop_map(|shard| Command::Discard { shard }).boxed(),
        (peer(), time()).prop_map(|(peer, lasting)| Command::Ban { peer, lasting }).boxed(),
        holding().prop_map(Command::Announce).boxed(),
        (shard(), epoch()).prop_map(|(shard, epoch)| Command::Provide { shard, epoch }).boxed(),
        (shard(), epoch())
            .prop_map(|(shard, epoch)| Command::StopProviding { shard, epoch })
            .boxed(),
        (ask(), summary()).prop_map(|(ask, summary)| Command::SendSummary { ask, summary }).boxed(),
        (ask(), shard(), root())
            .prop_map(|(ask, shard, root)| Command::SendOutline { ask, shard, root })
            .boxed(),
        (ask(), shard(), height(), epoch(), any::<u64>())
            .prop_map(|(ask, shard, after, newest_epoch, budget_bytes)| Command::SendOutputs {
                ask,
                shard,
                after,
                newest_epoch,
                budget_bytes,
            })
            .boxed(),
        (ask(), shard(), root(), part())
            .prop_map(|(ask, shard, root, part)| Command::SendPart { ask, shard, root, part })
            .boxed(),
        (ask(), option::of(refusal()), option::of(set()))
            .prop_map(|(ask, refusal, held)| Command::End { ask, refusal, held })
            .boxed(),
    ];
    Union::new(all)
}

proptest! {
    #[test]
    fn any_turn_is_read_as_what_was_written(
        at in moment(),
        input in option::weighted(0.9, input()),
        commands in vec(command(), 0..4),
    ) {
        let turn = RecordedTurn { at, input, commands };
        let line = turn.to_line().unwrap();
        prop_assert!(line.ends_with('\n') && line.lines().count() == 1);
        prop_assert_eq!(RecordedTurn::of_line(&line), Ok(turn));
    }

    #[test]
    fn whatever_is_cut_off_a_line_is_missed(input in input(), at in any::<prop::sample::Index>()) {
        let turn = RecordedTurn { at: Instant::ORIGIN, input: Some(input), commands: vec![] };
        let line = turn.to_line().unwrap();
        let cut = &line[..at.index(line.len() - 1)];
        prop_assert_eq!(RecordedTurn::of_line(cut), Err(RecordError::CutShort));
    }
}

#[test]
fn lines_have_fixed_bytes() {
    let start = RecordStart::new(Config::default(), 7, Instant::ORIGIN + Duration::from_micros(5));
    let line = start.to_line().unwrap();
    let begin = format!(
        r#"{{"record":1,"ketch":"{}","seed":7,"at":5000,"config":{{"memory_bytes":201326592,"#,
        env!("CARGO_PKG_VERSION")
    );
    assert!(line.starts_with(&begin) && line.ends_with(",\"serve\":true}}\n"), "{line}");
    assert_eq!(RecordStart::of_line(&line), Ok(start));

    let at = Instant::ORIGIN + Duration::from_secs(3);
    let held = "0-4,7/9".parse().unwrap();
    let end = RequestEnd::Parts {
        held,
        refusal: Some(Refusal::Busy { retry_after: Duration::from_millis(1_500) }),
    };
    let input = Some(Input::RequestEnded { request: RequestId(8), end });
    let (shard, root) = (ShardId(3), StateRoot::new([0xab; 32]));
    let work = Work::Apply { shard, root, parts: PartIndex(2)..PartIndex(5) };
    let commands = vec![
        Command::Cancel { request: RequestId(9) },
        Command::Run { job: JobId(1), work },
        Command::Run { job: JobId(2), work: Work::CheckOurselves },
    ];
    let root = "ab".repeat(32);
    let expected = [
        r#"{"at":3000000000,"input":{"RequestEnded":{"request":8,"end":{"Parts":{"held":"0-4,7/9","#,
        r#""refusal":{"Busy":{"retry_after":{"secs":1,"nanos":500000000}}}}}}},"#,
        r#""commands":[{"Cancel":{"request":9}},{"Run":{"job":1,"work":{"Apply":{"shard":3,"root":""#,
        &root,
        r#"","parts":{"start":2,"end":5}}}}},{"Run":{"job":2,"work":"CheckOurselves"}}]}"#,
        "\n",
    ];
    assert_eq!(RecordedTurn { at, input, commands }.to_line().unwrap(), expected.concat());
    let nothing = RecordedTurn { at, input: None, commands: vec![] };
    assert_eq!(nothing.to_line().unwrap(), "{\"at\":3000000000}\n");
}
