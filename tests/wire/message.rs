//! Any message of the protocol, and the vectors' way of writing it.

use std::time::Duration;

use ketch_types::{Epoch, Height, LedgerInfoHash, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{
    Announcement, End, EpochEnds, EpochEndsRequest, Following, Head, Holding, LedgerBytes,
    OutlineRequest, OutputsRequest, PartsEnd, PartsRequest, Proofs, ProofsRequest, Refusal,
    Request, Response, Summary, SummaryRequest, Waypoint, WireFault,
};
use serde_json::Value;

/// The number of parts over which ends of parts are decoded, in the vectors and elsewhere.
pub(crate) const PARTS_OF_END: u32 = 7;

/// A message of any kind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Request(Request),
    Response(Response),
    Announcement(Announcement),
    GossipedHead(Head),
    OutlineRequest(OutlineRequest),
    PartsRequest(PartsRequest),
    OutputsRequest(OutputsRequest),
    End(End),
    PartsEnd(PartsEnd),
}

/// Every kind of message, by its name in the vectors.
pub(crate) const KINDS: [&str; 9] = [
    "request",
    "response",
    "announcement",
    "gossiped_head",
    "outline_request",
    "parts_request",
    "outputs_request",
    "end",
    "parts_end",
];

impl Message {
    /// The message of this kind that some bytes are.
    pub(crate) fn decode(kind: &str, bytes: &[u8]) -> Result<Self, WireFault> {
        Ok(match kind {
            "request" => Message::Request(Request::decode(bytes)?),
            "response" => Message::Response(Response::decode(bytes)?),
            "announcement" => Message::Announcement(Announcement::decode(bytes)?),
            "gossiped_head" => Message::GossipedHead(Head::decode_gossip(bytes)?),
            "outline_request" => Message::OutlineRequest(OutlineRequest::decode(bytes)?),
            "parts_request" => Message::PartsRequest(PartsRequest::decode(bytes)?),
            "outputs_request" => Message::OutputsRequest(OutputsRequest::decode(bytes)?),
            "end" => Message::End(End::decode(bytes)?),
            "parts_end" => Message::PartsEnd(PartsEnd::decode(bytes, PARTS_OF_END)?),
            kind => panic!("unknown kind {kind}"),
        })
    }

    /// The message's bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Message::Request(message) => message.encode(),
            Message::Response(message) => message.encode().unwrap(),
            Message::Announcement(message) => message.encode(),
            Message::GossipedHead(message) => message.encode_gossip().unwrap(),
            Message::OutlineRequest(message) => message.encode(),
            Message::PartsRequest(message) => message.encode(),
            Message::OutputsRequest(message) => message.encode(),
            Message::End(message) => message.frame().split_off(5),
            Message::PartsEnd(message) => message.frame().split_off(5),
        }
    }

    /// The kind's name in the vectors.
    pub(crate) fn kind(&self) -> &'static str {
        KINDS[match self {
            Message::Request(_) => 0,
            Message::Response(_) => 1,
            Message::Announcement(_) => 2,
            Message::GossipedHead(_) => 3,
            Message::OutlineRequest(_) => 4,
            Message::PartsRequest(_) => 5,
            Message::OutputsRequest(_) => 6,
            Message::End(_) => 7,
            Message::PartsEnd(_) => 8,
        }]
    }

    /// The message of this kind with these fields.
    pub(crate) fn of_fields(kind: &str, fields: &Value) -> Self {
        match kind {
            "request" => Message::Request(request(fields)),
            "response" => Message::Response(response(fields)),
            "announcement" => Message::Announcement(Announcement {
                holding: holding(&fields["holding"]),
                sequence: number(&fields["sequence"]),
                expires_at_ms: number(&fields["expires_at_ms"]),
            }),
            "gossiped_head" => Message::GossipedHead(head(fields)),
            "outline_request" => {
                let (root, cut) = (StateRoot::new(hash(&fields["root"])), small(&fields["cut"]));
                Message::OutlineRequest(OutlineRequest { root, cut })
            }
            "parts_request" => Message::PartsRequest(parts_request(fields)),
            "outputs_request" => Message::OutputsRequest(OutputsRequest {
                shard: ShardId(small(&fields["shard"])),
                after: Height(number(&fields["after"])),
                budget_bytes: number(&fields["budget_bytes"]),
                newest_epoch: Epoch(number(&fields["newest_epoch"])),
            }),
            "end" => Message::End(End { refusal: refusal(&fields["refusal"]) }),
            "parts_end" => Message::PartsEnd(parts_end(fields)),
            kind => panic!("unknown kind {kind}"),
        }
    }
}

fn request(fields: &Value) -> Request {
    let Some((arm, fields)) = fields.as_object().unwrap().iter().next() else {
        return Request::Unknown;
    };
    let shards = || all(&fields["shards"], |shard| ShardId(small(shard)));
    match arm.as_str() {
        "summary" => Request::Summary(SummaryRequest::new(shards()).unwrap()),
        "head" => Request::Head,
        "epoch_ends" => {
            let (epoch, count) = (Epoch(number(&fields["epoch"])), small(&fields["count"]));
            Request::EpochEnds(EpochEndsRequest::new(epoch, count).unwrap())
        }
        "waypoint" => Request::Waypoint(LedgerInfoHash::new(hash(&fields["ledger_info_hash"]))),
        "proofs" => {
            let height = Height(number(&fields["height"]));
            Request::Proofs(ProofsRequest::new(height, shards()).unwrap())
        }
        arm => panic!("unknown request {arm}"),
    }
}

fn response(fields: &Value) -> Response {
    let (arm, fields) = fields.as_object().unwrap().iter().next().unwrap();
    match arm.as_str() {
        "refusal" => Response::Refusal(refusal(fields).unwrap()),
        "summary" => {
            let holdings = all(&fields["holdings"], holding);
            let following = all(&fields["following"], following);
            Response::Summary(Summary::new(holdings, following).unwrap())
        }
        "head" => Response::Head(head(fields)),
        "epoch_ends" => {
            let ends = all(&fields["signed_ledger_infos"], object);
            Response::EpochEnds(EpochEnds::new(ends).unwrap())
        }
        "waypoint" => Response::Waypoint(Waypoint {
            signed_ledger_info: object(&fields["signed_ledger_info"]),
            next_epoch_info: object(&fields["next_epoch_info"]),
        }),
        "proofs" => {
            let proofs = all(&fields["chunk_proofs"], object);
            Response::Proofs(Proofs::new(object(&fields["signed_ledger_info"]), proofs).unwrap())
        }
        arm => panic!("unknown response {arm}"),
    }
}

fn holding(fields: &Value) -> Holding {
    let (shard, epoch) = (ShardId(small(&fields["shard"])), Epoch(number(&fields["epoch"])));
    let root = StateRoot::new(hash(&fields["root"]));
    let held = part_set(&fields["held"]).unwrap();
    Holding::new(shard, epoch, root, small(&fields["cut"]), held).unwrap()
}

fn following(fields: &Value) -> Following {
    let [first, last] = ["first_height", "last_height"].map(|field| Height(number(&fields[field])));
    Following::new(ShardId(small(&fields["shard"])), first, last).unwrap()
}

fn head(fields: &Value) -> Head {
    let signed_ledger_info = object(&fields["signed_ledger_info"]);
    Head { signed_ledger_info, block: object(&fields["block"]) }
}

fn parts_request(fields: &Value) -> PartsRequest {
    let root = StateRoot::new(hash(&fields["root"]));
    let wanted = part_set(&fields["wanted"]).unwrap();
    let (cut, budget_bytes) = (small(&fields["cut"]), number(&fields["budget_bytes"]));
    PartsRequest::new(root, cut, wanted, budget_bytes).unwrap()
}

/// The end of a parts stream with these fields.
pub(crate) fn parts_end(fields: &Value) -> PartsEnd {
    let held = part_set(&fields["held"]);
    match refusal(&fields["refusal"]) {
        Some(refusal) => PartsEnd::Refused { refusal, held },
        None => PartsEnd::Sent { held: held.unwrap() },
    }
}

/// The refusal with these fields, or none.
pub(crate) fn refusal(fields: &Value) -> Option<Refusal> {
    let retry_after = || Duration::from_millis(number(&fields["retry_after_ms"]));
    match fields.get("reason")?.as_str().unwrap() {
        "not_held" => Some(Refusal::NotHeld),
        "not_retained" => Some(Refusal::NotRetained),
        "busy" => Some(Refusal::Busy { retry_after: retry_after() }),
        "unsupported" => Some(Refusal::Unsupported),
        "invalid" => Some(Refusal::Invalid),
        reason => panic!("unknown reason {reason}"),
    }
}

/// The set with these runs, or none.
pub(crate) fn part_set(fields: &Value) -> Option<PartSet> {
    let mut set = PartSet::empty(small(fields.get("count")?));
    for run in fields["runs"].as_array().unwrap() {
        let [first, many, step] = [0, 1, 2].map(|at| small(&run[at]));
        for part in 0..many {
            assert!(set.insert(PartIndex(first + part * step)));
        }
    }
    Some(set)
}

fn object(field: &Value) -> LedgerBytes {
    LedgerBytes(bytes(field))
}

/// Every item of a list.
pub(crate) fn all<T>(list: &Value, item: impl Fn(&Value) -> T) -> Vec<T> {
    list.as_array().unwrap().iter().map(item).collect()
}

/// A byte string.
pub(crate) fn bytes(field: &Value) -> Vec<u8> {
    hex::decode(field.as_str().unwrap()).unwrap()
}

/// 32 bytes.
pub(crate) fn hash(field: &Value) -> [u8; 32] {
    bytes(field).try_into().unwrap()
}

/// A number of 64 bits.
pub(crate) fn number(field: &Value) -> u64 {
    field.as_u64().unwrap()
}

/// A number of 32 bits.
pub(crate) fn small(field: &Value) -> u32 {
    u32::try_from(number(field)).unwrap()
}
