//! Any message survives its bytes, and any bytes are a message or refused.

use std::time::Duration;

use ketch_types::{Epoch, Height, LedgerInfoHash, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{
    Announcement, End, EpochEnds, EpochEndsRequest, Following, Head, Holding, LedgerBytes,
    OutlineRequest, OutputsRequest, PartsEnd, PartsRequest, Proofs, ProofsRequest, Refusal,
    Request, Response, Summary, SummaryRequest, Waypoint,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::message::{KINDS, Message, PARTS_OF_END};

fn root() -> impl Strategy<Value = StateRoot> {
    any::<[u8; 32]>().prop_map(StateRoot::new)
}

fn object() -> impl Strategy<Value = LedgerBytes> {
    vec(any::<u8>(), 0..40).prop_map(LedgerBytes)
}

fn refusal() -> impl Strategy<Value = Refusal> {
    let busy = |ms| Refusal::Busy { retry_after: Duration::from_millis(ms) };
    prop_oneof![
        Just(Refusal::NotHeld),
        Just(Refusal::NotRetained),
        (0..=60_000_u64).prop_map(busy),
        Just(Refusal::Unsupported),
        Just(Refusal::Invalid),
    ]
}

/// A set over `count` parts: some alone, and some neighbours.
fn set(count: u32) -> impl Strategy<Value = PartSet> {
    let some = vec(0..count.max(1), 0..30);
    (some, 0..count.max(1), 0..200_u32).prop_map(move |(some, first, many)| {
        let mut set = PartSet::empty(count);
        some.into_iter().chain(first..first + many).for_each(|part| {
            set.insert(PartIndex(part));
        });
        set
    })
}

fn any_set() -> impl Strategy<Value = PartSet> {
    prop_oneof![0..40_u32, 0..200_000_u32, Just(1 << 20)].prop_flat_map(set)
}

fn holding() -> impl Strategy<Value = Holding> {
    (any::<(u32, u64, u32)>(), root(), any_set()).prop_map(|((shard, epoch, cut), root, held)| {
        Holding::new(ShardId(shard), Epoch(epoch), root, cut, held).unwrap()
    })
}

fn following() -> impl Strategy<Value = Following> {
    any::<(u32, u64, u64)>().prop_map(|(shard, a, b)| {
        Following::new(ShardId(shard), Height(a.min(b)), Height(a.max(b))).unwrap()
    })
}

fn shards(max: usize) -> impl Strategy<Value = Vec<ShardId>> {
    proptest::collection::btree_set(any::<u32>().prop_map(ShardId), 1..=max)
        .prop_map(|shards| shards.into_iter().collect())
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        shards(16).prop_map(|shards| Request::Summary(SummaryRequest::new(shards).unwrap())),
        Just(Request::Head),
        (any::<u64>(), 1..=64_u32).prop_map(|(epoch, count)| {
            Request::EpochEnds(EpochEndsRequest::new(Epoch(epoch), count).unwrap())
        }),
        any::<[u8; 32]>().prop_map(|hash| Request::Waypoint(LedgerInfoHash::new(hash))),
        (any::<u64>(), shards(1_000)).prop_map(|(height, shards)| {
            Request::Proofs(ProofsRequest::new(Height(height), shards).unwrap())
        }),
        Just(Request::Unknown),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        refusal().prop_map(Response::Refusal),
        (vec(holding(), 0..5), vec(following(), 0..64)).prop_map(|(holdings, following)| {
            Response::Summary(Summary::new(holdings, following).unwrap())
        }),
        head().prop_map(Response::Head),
        vec(object(), 1..=64).prop_map(|ends| Response::EpochEnds(EpochEnds::new(ends).unwrap())),
        (object(), object()).prop_map(|(signed_ledger_info, next_epoch_info)| {
            Response::Waypoint(Waypoint { signed_ledger_info, next_epoch_info })
        }),
        (object(), vec(object(), 0..100))
            .prop_map(|(info, proofs)| Response::Proofs(Proofs::new(info, proofs).unwrap())),
    ]
}

fn head() -> impl Strategy<Value = Head> {
    (object(), object()).prop_map(|(signed_ledger_info, block)| Head { signed_ledger_info, block })
}

fn announcement() -> impl Strategy<Value = Announcement> {
    (holding(), any::<(u64, u64)>()).prop_map(|(holding, (sequence, expires_at_ms))| Announcement {
        holding,
        sequence,
        expires_at_ms,
    })
}

fn parts_request() -> impl Strategy<Value = PartsRequest> {
    let wanted = any_set().prop_filter("some part is wanted", |wanted| !wanted.is_empty());
    (root(), any::<(u32, u64)>(), wanted).prop_map(|(root, (cut, budget_bytes), wanted)| {
        PartsRequest::new(root, cut, wanted, budget_bytes).unwrap()
    })
}

fn parts_end() -> impl Strategy<Value = PartsEnd> {
    let refused = (refusal(), option::of(set(PARTS_OF_END)));
    prop_oneof![
        set(PARTS_OF_END).prop_map(|held| PartsEnd::Sent { held }),
        refused.prop_map(|(refusal, held)| PartsEnd::Refused { refusal, held }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let outputs = any::<(u32, u64, u64, u64)>().prop_map(|(shard, after, budget_bytes, newest)| {
        let (shard, after, newest_epoch) = (ShardId(shard), Height(after), Epoch(newest));
        OutputsRequest { shard, after, budget_bytes, newest_epoch }
    });
    prop_oneof![
        request().prop_map(Message::Request),
        response().prop_map(Message::Response),
        announcement().prop_map(Message::Announcement),
        head().prop_map(Message::GossipedHead),
        (root(), any::<u32>())
            .prop_map(|(root, cut)| Message::OutlineRequest(OutlineRequest { root, cut })),
        parts_request().prop_map(Message::PartsRequest),
        outputs.prop_map(Message::OutputsRequest),
        option::of(refusal()).prop_map(|refusal| Message::End(End { refusal })),
        parts_end().prop_map(Message::PartsEnd),
    ]
}

/// One change of a few bytes somewhere.
#[derive(Clone, Debug)]
enum Change {
    Flip(u8),
    Insert(Vec<u8>),
    Remove(usize),
    Copy(usize),
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Change)>> {
    let change = prop_oneof![
        (1..=u8::MAX).prop_map(Change::Flip),
        vec(any::<u8>(), 1..4).prop_map(Change::Insert),
        (1..20_usize).prop_map(Change::Remove),
        (1..20_usize).prop_map(Change::Copy),
    ];
    vec((any::<prop::sample::Index>(), change), 1..4)
}

fn changed(mut bytes: Vec<u8>, changes: Vec<(prop::sample::Index, Change)>) -> Vec<u8> {
    for (place, change) in changes {
        let at = place.index(bytes.len() + 1);
        let end = |length: usize| bytes.len().min(at + length);
        match change {
            Change::Flip(bits) if at < bytes.len() => bytes[at] ^= bits,
            Change::Flip(bits) => bytes.push(bits),
            Change::Insert(some) => drop(bytes.splice(at..at, some)),
            Change::Remove(length) => drop(bytes.drain(at..end(length))),
            Change::Copy(length) => {
                let copy = bytes[at..end(length)].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

/// What decodes is valid: it has an encoding, which means the same.
fn assert_same_again(kind: &str, bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = Message::decode(kind, bytes) {
        prop_assert_eq!(Message::decode(kind, &message.encode()), Ok(message));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_message_survives_its_bytes(message in message()) {
        let bytes = message.encode();
        prop_assert_eq!(Message::decode(message.kind(), &bytes), Ok(message));
    }

    #[test]
    fn a_message_that_was_tampered_with_is_another_message_or_refused(
        message in message(),
        changes in changes(),
    ) {
        let bytes = changed(message.encode(), changes);
        for kind in KINDS {
            assert_same_again(kind, &bytes)?;
        }
    }

    #[test]
    fn arbitrary_bytes_are_a_message_or_refused(bytes in vec(any::<u8>(), 0..60)) {
        for kind in KINDS {
            assert_same_again(kind, &bytes)?;
        }
    }

    /// Small numbers, which are keys and lengths more often than arbitrary ones.
    #[test]
    fn bytes_that_look_like_fields_are_a_message_or_refused(bytes in vec(0..0x33_u8, 0..60)) {
        for kind in KINDS {
            assert_same_again(kind, &bytes)?;
        }
    }
}
