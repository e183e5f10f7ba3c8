//! The messages as Protocol Buffers carry them: nothing in here is checked.

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Request {
    #[prost(oneof = "AnyRequest", tags = "1, 2, 3, 4, 5")]
    pub(crate) request: Option<AnyRequest>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum AnyRequest {
    #[prost(message, tag = "1")]
    Summary(SummaryRequest),
    #[prost(message, tag = "2")]
    Head(HeadRequest),
    #[prost(message, tag = "3")]
    EpochEnds(EpochEndsRequest),
    #[prost(message, tag = "4")]
    Waypoint(WaypointRequest),
    #[prost(message, tag = "5")]
    Proofs(ProofsRequest),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SummaryRequest {
    #[prost(uint32, repeated, tag = "1")]
    pub(crate) shards: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HeadRequest {}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EpochEndsRequest {
    #[prost(uint64, tag = "1")]
    pub(crate) epoch: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) count: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WaypointRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) ledger_info_hash: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProofsRequest {
    #[prost(uint64, tag = "1")]
    pub(crate) height: u64,
    #[prost(uint32, repeated, tag = "2")]
    pub(crate) shards: Vec<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Response {
    #[prost(oneof = "AnyResponse", tags = "1, 2, 3, 4, 5, 6")]
    pub(crate) response: Option<AnyResponse>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum AnyResponse {
    #[prost(message, tag = "1")]
    Refusal(Refusal),
    #[prost(message, tag = "2")]
    Summary(Summary),
    #[prost(message, tag = "3")]
    Head(Head),
    #[prost(message, tag = "4")]
    EpochEnds(EpochEnds),
    #[prost(message, tag = "5")]
    Waypoint(Waypoint),
    #[prost(message, tag = "6")]
    Proofs(Proofs),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Refusal {
    /// An enumeration, which travels as a number.
    #[prost(int32, tag = "1")]
    pub(crate) reason: i32,
    #[prost(uint64, tag = "2")]
    pub(crate) retry_after_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Summary {
    #[prost(message, repeated, tag = "1")]
    pub(crate) holdings: Vec<Holding>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) following: Vec<Following>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Holding {
    #[prost(uint32, tag = "1")]
    pub(crate) shard: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) epoch: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) root: Vec<u8>,
    #[prost(uint32, tag = "4")]
    pub(crate) cut: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) part_count: u32,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) held: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Following {
    #[prost(uint32, tag = "1")]
    pub(crate) shard: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) first_height: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) last_height: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Head {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) signed_ledger_info: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) block: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EpochEnds {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) signed_ledger_infos: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Waypoint {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) signed_ledger_info: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) next_epoch_info: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Proofs {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) signed_ledger_info: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) chunk_proofs: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Announcement {
    #[prost(message, optional, tag = "1")]
    pub(crate) holding: Option<Holding>,
    #[prost(uint64, tag = "2")]
    pub(crate) sequence: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) expires_at_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OutlineRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) root: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(crate) cut: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PartsRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) root: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(crate) cut: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) part_count: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) wanted: Vec<u8>,
    #[prost(uint64, tag = "5")]
    pub(crate) budget_bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OutputsRequest {
    #[prost(uint32, tag = "1")]
    pub(crate) shard: u32,
    #[prost(uint64, tag = "2")]
    pub(crate) after: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) budget_bytes: u64,
    #[prost(uint64, tag = "4")]
    pub(crate) newest_epoch: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct End {
    /// An enumeration, which travels as a number.
    #[prost(int32, tag = "1")]
    pub(crate) reason: i32,
    #[prost(uint64, tag = "2")]
    pub(crate) retry_after_ms: u64,
    #[prost(uint32, tag = "3")]
    pub(crate) part_count: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) held: Vec<u8>,
}
