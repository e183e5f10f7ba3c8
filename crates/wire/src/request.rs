use ketch_types::{Epoch, Height, LedgerInfoHash, ShardId};
use prost::Message;

use crate::fault::{List, RuleError, WireFault};
use crate::limits::{EPOCH_ENDS_MAX, REQUEST_BYTES_MAX};
use crate::proto;
use crate::scan::{self, Field, Shape};

const REQUEST_SHAPE: Shape = &[
    (1, Field::Message(&[(1, Field::Numbers(List::SummaryShards))])),
    (5, Field::Message(&[(2, Field::Numbers(List::ProofShards))])),
];

/// What one node asks another for, answered by one [`Response`].
///
/// [`Response`]: crate::Response
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// What it holds and follows of some shards.
    Summary(SummaryRequest),
    /// The newest block that it knows.
    Head,
    /// The ledger infos that end some epochs.
    EpochEnds(EpochEndsRequest),
    /// The ledger info with this hash, which ends an epoch, and the next epoch's info.
    Waypoint(LedgerInfoHash),
    /// The proofs of some shards' chunks at a height.
    Proofs(ProofsRequest),
    /// A request of a later software of this version, which this one cannot read: its answer is
    /// [`Refusal::Unsupported`].
    ///
    /// [`Refusal::Unsupported`]: crate::Refusal::Unsupported
    Unknown,
}

/// Asks what a node holds and follows of some shards, 1 to [`SUMMARY_SHARDS_MAX`] of them in rising
/// order.
///
/// [`SUMMARY_SHARDS_MAX`]: crate::limits::SUMMARY_SHARDS_MAX
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummaryRequest {
    shards: Vec<ShardId>,
}

/// Asks for the ends of an epoch and of those after it, 1 to [`EPOCH_ENDS_MAX`] of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndsRequest {
    epoch: Epoch,
    count: u32,
}

/// Asks for the proofs of the newest chunks of some shards at a height, 1 to [`PROOF_SHARDS_MAX`]
/// of them in rising order.
///
/// [`PROOF_SHARDS_MAX`]: crate::limits::PROOF_SHARDS_MAX
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofsRequest {
    height: Height,
    shards: Vec<ShardId>,
}

impl Request {
    /// The request's message.
    pub fn encode(&self) -> Vec<u8> {
        proto::Request { request: self.to_message() }.encode_to_vec()
    }

    /// The request that a message holds.
    ///
    /// *Errors:* see [`WireFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let message: proto::Request = scan::decode(bytes, REQUEST_BYTES_MAX, REQUEST_SHAPE)?;
        Ok(match message.request {
            None => Request::Unknown,
            Some(proto::AnyRequest::Summary(request)) => {
                Request::Summary(SummaryRequest::new(shard_ids(request.shards))?)
            }
            Some(proto::AnyRequest::Head(_)) => Request::Head,
            Some(proto::AnyRequest::EpochEnds(request)) => {
                Request::EpochEnds(EpochEndsRequest::new(Epoch(request.epoch), request.count)?)
            }
            Some(proto::AnyRequest::Waypoint(request)) => {
                Request::Waypoint(LedgerInfoHash(scan::hash(&request.ledger_info_hash)?))
            }
            Some(proto::AnyRequest::Proofs(request)) => {
                let shards = shard_ids(request.shards);
                Request::Proofs(ProofsRequest::new(Height(request.height), shards)?)
            }
        })
    }

    fn to_message(&self) -> Option<proto::AnyRequest> {
        Some(match self {
            Request::Summary(request) => proto::AnyRequest::Summary(proto::SummaryRequest {
                shards: numbers(&request.shards),
            }),
            Request::Head => proto::AnyRequest::Head(proto::HeadRequest {}),
            Request::EpochEnds(EpochEndsRequest { epoch, count }) => {
                let request = proto::EpochEndsRequest { epoch: epoch.0, count: *count };
                proto::AnyRequest::EpochEnds(request)
            }
            Request::Waypoint(hash) => {
                let ledger_info_hash = hash.as_bytes().to_vec();
                proto::AnyRequest::Waypoint(proto::WaypointRequest { ledger_info_hash })
            }
            Request::Proofs(ProofsRequest { height, shards }) => {
                let request = proto::ProofsRequest { height: height.0, shards: numbers(shards) };
                proto::AnyRequest::Proofs(request)
            }
            Request::Unknown => return None,
        })
    }
}

impl SummaryRequest {
    /// Asks of these shards.
    ///
    /// *Errors:* [`RuleError::NoItem`], [`RuleError::TooManyItems`] and [`RuleError::ShardOrder`].
    pub fn new(shards: Vec<ShardId>) -> Result<Self, RuleError> {
        List::SummaryShards.check_some(shards.len())?;
        check_rising(&shards)?;
        Ok(Self { shards })
    }

    /// The shards.
    pub fn shards(&self) -> &[ShardId] {
        &self.shards
    }
}

impl EpochEndsRequest {
    /// Asks for the ends of `count` epochs from `epoch` on.
    ///
    /// *Errors:* [`RuleError::EpochEndCount`].
    pub fn new(epoch: Epoch, count: u32) -> Result<Self, RuleError> {
        if (1..=EPOCH_ENDS_MAX).contains(&count) {
            Ok(Self { epoch, count })
        } else {
            Err(RuleError::EpochEndCount(count))
        }
    }

    /// The first epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The most ends that are wanted.
    pub fn count(&self) -> u32 {
        self.count
    }
}

impl ProofsRequest {
    /// Asks for the proofs of these shards' chunks at `height`.
    ///
    /// *Errors:* [`RuleError::NoItem`], [`RuleError::TooManyItems`] and [`RuleError::ShardOrder`].
    pub fn new(height: Height, shards: Vec<ShardId>) -> Result<Self, RuleError> {
        List::ProofShards.check_some(shards.len())?;
        check_rising(&shards)?;
        Ok(Self { height, shards })
    }

    /// The height.
    pub fn height(&self) -> Height {
        self.height
    }

    /// The shards, in the order in which their proofs come.
    pub fn shards(&self) -> &[ShardId] {
        &self.shards
    }
}

/// Refuses shards that do not rise strictly, so that none is asked of twice.
fn check_rising(shards: &[ShardId]) -> Result<(), RuleError> {
    let pairs = shards.iter().zip(shards.iter().skip(1));
    let falling = pairs.map(|(before, shard)| (shard, shard > before)).find(|(_, rises)| !rises);
    falling.map_or(Ok(()), |(shard, _)| Err(RuleError::ShardOrder(*shard)))
}

fn shard_ids(numbers: Vec<u32>) -> Vec<ShardId> {
    numbers.into_iter().map(ShardId).collect()
}

fn numbers(shards: &[ShardId]) -> Vec<u32> {
    shards.iter().map(|shard| shard.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &str) -> Result<Request, WireFault> {
        Request::decode(&hex::decode(bytes).unwrap())
    }

    #[test]
    fn every_request_has_fixed_bytes() {
        let shards = vec![ShardId(0), ShardId(7), ShardId(300)];
        let summary = SummaryRequest::new(shards.clone()).unwrap();
        let ends = EpochEndsRequest::new(Epoch(5), 64).unwrap();
        let proofs = ProofsRequest::new(Height(1_000), shards).unwrap();
        let waypoint = format!("22220a20{}", "ab".repeat(32));
        let golden = [
            (Request::Summary(summary), "0a060a040007ac02"),
            (Request::Head, "1200"),
            (Request::EpochEnds(ends), "1a0408051040"),
            (Request::Waypoint(LedgerInfoHash::new([0xab; 32])), waypoint.as_str()),
            (Request::Proofs(proofs), "2a0908e80712040007ac02"),
            (Request::Unknown, ""),
        ];
        for (request, bytes) in golden {
            assert_eq!(hex::encode(request.encode()), bytes);
            assert_eq!(decoded(bytes), Ok(request));
        }
    }

    #[test]
    fn a_request_of_a_later_software_is_unknown_and_no_fault() {
        assert_eq!(decoded("3200"), Ok(Request::Unknown));
        assert_eq!(decoded("3200 1200".replace(' ', "").as_str()), Ok(Request::Head));
    }

    #[test]
    fn lists_of_shards_have_their_bounds() {
        let rule = |error: RuleError| Err(error.into());
        assert_eq!(decoded("0a00"), rule(RuleError::NoItem(List::SummaryShards)));
        assert_eq!(decoded("2a00"), rule(RuleError::NoItem(List::ProofShards)));
        let shards = format!("0a130a11{}", "01".repeat(17));
        assert_eq!(decoded(&shards), rule(RuleError::TooManyItems(List::SummaryShards)));
        let shards = |count: u32| (0..count).map(ShardId).collect();
        assert!(ProofsRequest::new(Height(1), shards(1_000)).is_ok());
        let too_many = Request::Proofs(ProofsRequest { height: Height(1), shards: shards(1_001) });
        let refused = RuleError::TooManyItems(List::ProofShards);
        assert_eq!(Request::decode(&too_many.encode()), rule(refused));
    }

    #[test]
    fn shards_are_asked_of_in_rising_order() {
        for (bytes, shard) in [("0a040a020707", 7), ("0a050a03000706", 6), ("2a041202 0101", 1)] {
            let refused = decoded(&bytes.replace(' ', ""));
            assert_eq!(refused, Err(RuleError::ShardOrder(ShardId(shard)).into()));
        }
        assert!(SummaryRequest::new(vec![ShardId(1), ShardId(1)]).is_err());
        assert!(ProofsRequest::new(Height(1), vec![ShardId(1), ShardId(0)]).is_err());
    }

    #[test]
    fn epoch_ends_are_asked_for_in_small_numbers() {
        for (bytes, count) in [("1a020801", 0), ("1a0408011041", 65)] {
            assert_eq!(decoded(bytes), Err(RuleError::EpochEndCount(count).into()));
        }
    }

    #[test]
    fn a_request_that_is_too_long_is_not_looked_at() {
        let bytes = vec![0xff; REQUEST_BYTES_MAX + 1];
        assert!(matches!(Request::decode(&bytes), Err(WireFault::TooLong(_))));
        let unknown = [[0x3a, 0x80, 0xfe, 0x0b].as_slice(), &vec![0; 196_608 - 256]].concat();
        assert_eq!(Request::decode(&unknown), Ok(Request::Unknown));
    }
}
