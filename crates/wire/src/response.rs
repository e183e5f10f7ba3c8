use prost::Message;
use prost::encoding::encoded_len_varint;

use crate::fault::{List, TooLong, WireFault};
use crate::limits::RESPONSE_BYTES_MAX;
use crate::objects::{EpochEnds, Head, Proofs, Waypoint};
use crate::proto;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::scan::{self, Field, Shape};
use crate::summary::{SUMMARY_SHAPE, Summary};

const RESPONSE_SHAPE: Shape = &[
    (2, Field::Message(SUMMARY_SHAPE)),
    (4, Field::Message(&[(1, Field::Item(List::EpochEnds))])),
    (6, Field::Message(&[(2, Field::Item(List::ChunkProofs))])),
];

/// How much of a response is left to the fields of the answer in it: all but the key and the length
/// of the field that holds the answer.
pub(crate) const FIELDS_BYTES_MAX: usize = RESPONSE_BYTES_MAX - 8;

/// What one node answers another's [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The request is not answered.
    Refusal(Refusal),
    /// What is held and followed.
    Summary(Summary),
    /// The newest block.
    Head(Head),
    /// The ends of epochs.
    EpochEnds(EpochEnds),
    /// A waypoint.
    Waypoint(Waypoint),
    /// Proofs of chunks.
    Proofs(Proofs),
}

impl Response {
    /// The response's message.
    ///
    /// *Errors:* [`TooLong`], which many large bitmaps or ledger objects can be together.
    pub fn encode(&self) -> Result<Vec<u8>, TooLong> {
        let message = proto::Response { response: Some(self.to_message()) };
        TooLong::check(message.encoded_len(), RESPONSE_BYTES_MAX)?;
        Ok(message.encode_to_vec())
    }

    /// The response that a message holds.
    ///
    /// *Errors:* see [`WireFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let message: proto::Response = scan::decode(bytes, RESPONSE_BYTES_MAX, RESPONSE_SHAPE)?;
        Ok(match message.response.ok_or(WireFault::Empty)? {
            proto::AnyResponse::Refusal(refusal) => Response::Refusal(refusal.try_into()?),
            proto::AnyResponse::Summary(summary) => Response::Summary(summary.try_into()?),
            proto::AnyResponse::Head(head) => Response::Head(head.into()),
            proto::AnyResponse::EpochEnds(ends) => Response::EpochEnds(ends.try_into()?),
            proto::AnyResponse::Waypoint(waypoint) => Response::Waypoint(waypoint.into()),
            proto::AnyResponse::Proofs(proofs) => Response::Proofs(proofs.try_into()?),
        })
    }

    /// Whether this is an answer to `request`: a refusal, or of its kind and in the number that was
    /// asked for. What the ledger objects in it are of is seen when they are verified.
    pub fn answers(&self, request: &Request) -> bool {
        match (self, request) {
            (Response::Refusal(_), _)
            | (Response::Summary(_), Request::Summary(_))
            | (Response::Head(_), Request::Head)
            | (Response::Waypoint(_), Request::Waypoint(_)) => true,
            (Response::EpochEnds(ends), Request::EpochEnds(asked)) => {
                ends.signed_ledger_infos().len() <= asked.count() as usize
            }
            (Response::Proofs(proofs), Request::Proofs(asked)) => {
                proofs.chunk_proofs().len() == asked.shards().len()
            }
            _ => false,
        }
    }

    fn to_message(&self) -> proto::AnyResponse {
        match self {
            Response::Refusal(refusal) => proto::AnyResponse::Refusal((*refusal).into()),
            Response::Summary(summary) => proto::AnyResponse::Summary(summary.into()),
            Response::Head(head) => proto::AnyResponse::Head(head.into()),
            Response::EpochEnds(ends) => proto::AnyResponse::EpochEnds(ends.into()),
            Response::Waypoint(waypoint) => proto::AnyResponse::Waypoint(waypoint.into()),
            Response::Proofs(proofs) => proto::AnyResponse::Proofs(proofs.into()),
        }
    }
}

/// What a field of so many bytes takes in a message, with its key of one byte and its length.
pub(crate) fn field_bytes(bytes: usize) -> usize {
    (1 + encoded_len_varint(bytes as u64)).saturating_add(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::RuleError;
    use crate::holding::{Following, Holding};
    use crate::objects::LedgerBytes;
    use crate::request::{EpochEndsRequest, ProofsRequest, SummaryRequest};
    use ketch_types::{Epoch, Height, LedgerInfoHash, PartSet, ShardId, StateRoot};
    use std::time::Duration;

    fn object(byte: u8, length: usize) -> LedgerBytes {
        LedgerBytes(vec![byte; length])
    }

    fn summary() -> Summary {
        let root = StateRoot::new([0xaa; 32]);
        let held = PartSet::empty(7);
        let holding = Holding::new(ShardId(1), Epoch(0), root, 65_536, held).unwrap();
        let following = Following::new(ShardId(1), Height(5), Height(300)).unwrap();
        Summary::new(vec![holding], vec![following]).unwrap()
    }

    fn responses() -> Vec<(Response, String)> {
        let busy = Refusal::Busy { retry_after: Duration::from_millis(1_500) };
        let ends = EpochEnds::new(vec![object(1, 2), object(2, 0)]).unwrap();
        let waypoint = Waypoint { signed_ledger_info: object(3, 1), next_epoch_info: object(4, 2) };
        let proofs = Proofs::new(object(5, 1), vec![object(6, 1), object(7, 2)]).unwrap();
        let head = Head { signed_ledger_info: object(8, 3), block: object(9, 1) };
        let holding =
            format!("0a3408011a20{}2080800428073208{}", "aa".repeat(32), "3a30000000000000");
        vec![
            (Response::Refusal(Refusal::NotHeld), "0a020801".into()),
            (Response::Refusal(Refusal::NotRetained), "0a020802".into()),
            (Response::Refusal(busy), "0a05080310dc0b".into()),
            (Response::Refusal(Refusal::Unsupported), "0a020804".into()),
            (Response::Refusal(Refusal::Invalid), "0a020805".into()),
            (
                Response::Summary(summary()),
                format!("123f{holding}1207080110051 8ac02").replace(' ', ""),
            ),
            (Response::Summary(Summary::default()), "1200".into()),
            (Response::Head(head), "1a080a03080808120109".into()),
            (Response::EpochEnds(ends), "22060a0201010a00".into()),
            (Response::Waypoint(waypoint), "2a070a010312020404".into()),
            (Response::Proofs(proofs), "320a0a0105120106120207 07".replace(' ', "")),
        ]
    }

    #[test]
    fn every_response_has_fixed_bytes() {
        for (response, golden) in responses() {
            let bytes = response.encode().unwrap();
            assert_eq!(hex::encode(&bytes), golden);
            assert_eq!(Response::decode(&bytes), Ok(response));
        }
    }

    #[test]
    fn an_empty_response_is_refused_and_so_is_a_refusal_without_reason() {
        assert_eq!(Response::decode(&[]), Err(WireFault::Empty));
        assert_eq!(Response::decode(&[0x3a, 0]), Err(WireFault::Empty));
        assert_eq!(Response::decode(&[0x0a, 0]), Err(WireFault::Reason(0)));
    }

    #[test]
    fn a_response_of_millions_of_empty_items_is_refused_before_it_is_decoded() {
        let filled = |tag: u8, item: [u8; 2]| {
            let items = item.repeat((RESPONSE_BYTES_MAX - 5) / 2);
            let length = [0xfa, 0xff, 0xff, 3];
            [&[tag][..], &length, &items].concat()
        };
        let cases = [
            (filled(0x12, [0x0a, 0]), List::Holdings),
            (filled(0x12, [0x12, 0]), List::Followings),
            (filled(0x22, [0x0a, 0]), List::EpochEnds),
            (filled(0x32, [0x12, 0]), List::ChunkProofs),
        ];
        for (bytes, list) in cases {
            assert_eq!(Response::decode(&bytes), Err(RuleError::TooManyItems(list).into()));
        }
    }

    #[test]
    fn no_response_is_made_or_read_that_is_longer_than_the_limit() {
        let head = |length| {
            Response::Head(Head { signed_ledger_info: object(1, length), block: object(2, 0) })
        };
        let longest = head(RESPONSE_BYTES_MAX - 10);
        let bytes = longest.encode().unwrap();
        assert_eq!((bytes.len(), Response::decode(&bytes)), (RESPONSE_BYTES_MAX, Ok(longest)));
        let too_long = TooLong { bytes: RESPONSE_BYTES_MAX + 1, bytes_max: RESPONSE_BYTES_MAX };
        assert_eq!(head(RESPONSE_BYTES_MAX - 9).encode(), Err(too_long));
        let bytes = vec![0; RESPONSE_BYTES_MAX + 1];
        assert_eq!(Response::decode(&bytes), Err(too_long.into()));
    }

    #[test]
    fn a_response_answers_a_request_of_its_kind_with_no_more_than_was_asked() {
        let ends = |count| Request::EpochEnds(EpochEndsRequest::new(Epoch(1), count).unwrap());
        let proofs = |count: u32| {
            let shards = (0..count).map(ShardId).collect();
            Request::Proofs(ProofsRequest::new(Height(1), shards).unwrap())
        };
        let requests = [
            Request::Summary(SummaryRequest::new(vec![ShardId(1)]).unwrap()),
            Request::Head,
            ends(2),
            Request::Waypoint(LedgerInfoHash::new([1; 32])),
            proofs(2),
        ];
        for (response, _) in responses() {
            let answered = requests.iter().filter(|request| response.answers(request)).count();
            let refused = matches!(response, Response::Refusal(_));
            assert_eq!(answered, if refused { 5 } else { 1 }, "{response:?}");
            assert!(!response.answers(&ends(1)) || refused);
            assert!(!response.answers(&proofs(1)) && !response.answers(&proofs(3)) || refused);
        }
    }
}
