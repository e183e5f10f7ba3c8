use ketch_types::{Epoch, Height, PartSet, ShardId, StateRoot};
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::fault::{RuleError, TooLong, WireFault};
use crate::holding::{check_part_count, part_set};
use crate::limits::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use crate::{proto, scan};

/// Asks for the outline of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlineRequest {
    /// The state's root.
    pub root: StateRoot,
    /// The size down to which nodes are opened. *Units:* bytes.
    pub cut: u32,
}

/// Asks for parts of a state.
///
/// *Shape:* at least one part is wanted, of at most [`PART_COUNT_MAX`].
///
/// [`PART_COUNT_MAX`]: crate::limits::PART_COUNT_MAX
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wanted")]
pub struct PartsRequest {
    root: StateRoot,
    cut: u32,
    wanted: PartSet,
    budget_bytes: u64,
}

/// Asks for the outputs of a shard's chunks above a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputsRequest {
    /// The shard.
    pub shard: ShardId,
    /// The height up to which the outputs are known.
    pub after: Height,
    /// How much of outputs may be sent; the first chunk's are sent however little it is. *Units:*
    /// bytes of payloads: a chunk counts with its header's *bytes of outputs*.
    pub budget_bytes: u64,
    /// The newest epoch whose ledger infos the requester can check: no later one proves it anything.
    pub newest_epoch: Epoch,
}

impl OutlineRequest {
    /// The request's message.
    pub fn encode(&self) -> Vec<u8> {
        let root = self.root.as_bytes().to_vec();
        proto::OutlineRequest { root, cut: self.cut }.encode_to_vec()
    }

    /// The request that a message holds.
    ///
    /// *Errors:* see [`WireFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let message: proto::OutlineRequest = scan::decode(bytes, REQUEST_BYTES_MAX, &[])?;
        Ok(Self { root: StateRoot(scan::hash(&message.root)?), cut: message.cut })
    }
}

impl PartsRequest {
    /// Asks for the parts `wanted` of the state with `root`, cut at `cut`; for as many of them as
    /// have payloads of `budget_bytes` together, but for one however few that is.
    ///
    /// *Errors:* [`RuleError::PartCount`] and [`RuleError::NoPartWanted`].
    pub fn new(
        root: StateRoot,
        cut: u32,
        wanted: PartSet,
        budget_bytes: u64,
    ) -> Result<Self, RuleError> {
        check_part_count(wanted.count())?;
        if wanted.is_empty() {
            return Err(RuleError::NoPartWanted);
        }
        Ok(Self { root, cut, wanted, budget_bytes })
    }

    /// The root of the state.
    pub fn root(&self) -> StateRoot {
        self.root
    }

    /// The size down to which the state's nodes are opened. *Units:* bytes.
    pub fn cut(&self) -> u32 {
        self.cut
    }

    /// The parts that are asked for, of all that the requester's manifest has.
    pub fn wanted(&self) -> &PartSet {
        &self.wanted
    }

    /// How much may be sent. *Units:* bytes of payloads: a part counts with its size in the manifest.
    pub fn budget_bytes(&self) -> u64 {
        self.budget_bytes
    }

    /// The request's message.
    pub fn encode(&self) -> Vec<u8> {
        let message = proto::PartsRequest {
            root: self.root.as_bytes().to_vec(),
            cut: self.cut,
            part_count: self.wanted.count(),
            wanted: self.wanted.encode(),
            budget_bytes: self.budget_bytes,
        };
        message.encode_to_vec()
    }

    /// The request that a message holds.
    ///
    /// *Errors:* see [`WireFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let message: proto::PartsRequest = scan::decode(bytes, REQUEST_BYTES_MAX, &[])?;
        let root = StateRoot(scan::hash(&message.root)?);
        let wanted = part_set(&message.wanted, message.part_count)?;
        Ok(Self::new(root, message.cut, wanted, message.budget_bytes)?)
    }
}

/// A [`PartsRequest`] as it is written, before it is known to ask for anything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    root: StateRoot,
    cut: u32,
    wanted: PartSet,
    budget_bytes: u64,
}

impl TryFrom<Wanted> for PartsRequest {
    type Error = RuleError;

    fn try_from(written: Wanted) -> Result<Self, RuleError> {
        Self::new(written.root, written.cut, written.wanted, written.budget_bytes)
    }
}

impl OutputsRequest {
    /// The request's message.
    pub fn encode(&self) -> Vec<u8> {
        let message = proto::OutputsRequest {
            shard: self.shard.0,
            after: self.after.0,
            budget_bytes: self.budget_bytes,
            newest_epoch: self.newest_epoch.0,
        };
        message.encode_to_vec()
    }

    /// The request that a message holds.
    ///
    /// *Errors:* see [`WireFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let message: proto::OutputsRequest = scan::decode(bytes, REQUEST_BYTES_MAX, &[])?;
        Ok(Self {
            shard: ShardId(message.shard),
            after: Height(message.after),
            budget_bytes: message.budget_bytes,
            newest_epoch: Epoch(message.newest_epoch),
        })
    }
}

/// What a requester writes on a stream, of control or any other, whose side it leaves open: the
/// message behind its length.
///
/// *Errors:* [`TooLong`]; no request that this crate encodes is.
pub fn stream_request(message: &[u8]) -> Result<Vec<u8>, TooLong> {
    behind_length(message, REQUEST_BYTES_MAX)
}

/// How many bytes of a message follow these first four of a stream.
///
/// *Errors:* [`TooLong`].
pub fn stream_request_bytes(length: [u8; 4]) -> Result<usize, TooLong> {
    length_within(length, REQUEST_BYTES_MAX)
}

/// What a server writes on a control stream before it closes its side: the response's message behind
/// its length.
///
/// *Errors:* [`TooLong`]; no response that this crate encodes is.
pub fn control_response(message: &[u8]) -> Result<Vec<u8>, TooLong> {
    behind_length(message, RESPONSE_BYTES_MAX)
}

/// How many bytes of a response follow these first four of a control stream's answer.
///
/// *Errors:* [`TooLong`].
pub fn control_response_bytes(length: [u8; 4]) -> Result<usize, TooLong> {
    length_within(length, RESPONSE_BYTES_MAX)
}

fn behind_length(message: &[u8], bytes_max: usize) -> Result<Vec<u8>, TooLong> {
    TooLong::check(message.len(), bytes_max)?;
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    Ok([&length.to_le_bytes(), message].concat())
}

fn length_within(length: [u8; 4], bytes_max: usize) -> Result<usize, TooLong> {
    let bytes = u32::from_le_bytes(length) as usize;
    TooLong::check(bytes, bytes_max)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::PART_COUNT_MAX;
    use ketch_types::PartIndex;

    const ROOT: StateRoot = StateRoot::new([0xaa; 32]);

    #[test]
    fn every_request_of_a_stream_has_fixed_bytes() {
        let root = "aa".repeat(32);
        let outline = OutlineRequest { root: ROOT, cut: 4 << 20 };
        assert_eq!(hex::encode(outline.encode()), format!("0a20{root}1080808002"));
        assert_eq!(OutlineRequest::decode(&outline.encode()), Ok(outline));

        let parts = PartsRequest::new(ROOT, 65_536, PartSet::full(7), 1 << 20).unwrap();
        let bitmap = "3b3000000100000600010000000600";
        let golden = format!("0a20{root}1080800418 07220f{bitmap}28808040").replace(' ', "");
        assert_eq!(hex::encode(parts.encode()), golden);
        assert_eq!(PartsRequest::decode(&parts.encode()), Ok(parts));

        let (shard, after) = (ShardId(300), Height(7));
        let (budget_bytes, newest_epoch) = (u64::MAX, Epoch(9));
        let outputs = OutputsRequest { shard, after, budget_bytes, newest_epoch };
        assert_eq!(hex::encode(outputs.encode()), "08ac02100718ffffffffffffffffff012009");
        assert_eq!(OutputsRequest::decode(&outputs.encode()), Ok(outputs));
    }

    #[test]
    fn no_parts_of_none_and_parts_of_too_many_are_not_asked_for() {
        let written = |wanted: &str| {
            let json =
                serde_json::json!({ "root": ROOT, "cut": 1, "wanted": wanted, "budget_bytes": 0 });
            serde_json::from_value::<PartsRequest>(json)
        };
        assert!(written("3/7").is_ok() && written("/7").is_err());
        let parts = |wanted| PartsRequest::new(ROOT, 1, wanted, 0);
        let count = PART_COUNT_MAX + 1;
        assert_eq!(parts(PartSet::empty(7)), Err(RuleError::NoPartWanted));
        assert_eq!(parts(PartSet::full(count)), Err(RuleError::PartCount(count)));
        let invalid = |wanted| PartsRequest { root: ROOT, cut: 1, wanted, budget_bytes: 0 };
        for (wanted, rule) in [
            (PartSet::empty(7), RuleError::NoPartWanted),
            (PartSet::full(count), RuleError::PartCount(count)),
        ] {
            assert_eq!(PartsRequest::decode(&invalid(wanted).encode()), Err(rule.into()));
        }
    }

    #[test]
    fn the_largest_request_fits_its_limit() {
        let mut wanted = PartSet::empty(PART_COUNT_MAX);
        (0..PART_COUNT_MAX).filter(|part| part % 3 > 0).for_each(|part| {
            wanted.insert(PartIndex(part));
        });
        let largest = PartsRequest::new(ROOT, u32::MAX, wanted, u64::MAX).unwrap();
        assert!(stream_request(&largest.encode()).is_ok());
        assert_eq!(PartsRequest::decode(&largest.encode()), Ok(largest));
    }

    #[test]
    fn the_length_before_a_request_is_checked() {
        assert_eq!(stream_request(&[8, 1]), Ok(vec![2, 0, 0, 0, 8, 1]));
        assert_eq!(stream_request_bytes([2, 0, 0, 0]), Ok(2));
        assert_eq!(stream_request_bytes([0, 0, 3, 0]), Ok(REQUEST_BYTES_MAX));
        let too_long = |bytes| Err(TooLong { bytes, bytes_max: REQUEST_BYTES_MAX });
        assert_eq!(stream_request_bytes([1, 0, 3, 0]), too_long(196_609));
        assert_eq!(stream_request_bytes([0xff; 4]), too_long(u32::MAX as usize));
        assert!(stream_request(&vec![0; REQUEST_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn the_length_before_a_response_is_checked() {
        assert_eq!(control_response(&[0x12, 0]), Ok(vec![2, 0, 0, 0, 0x12, 0]));
        assert_eq!(control_response_bytes([0, 0, 0x80, 0]), Ok(RESPONSE_BYTES_MAX));
        let too_long = |bytes| Err(TooLong { bytes, bytes_max: RESPONSE_BYTES_MAX });
        assert_eq!(control_response_bytes([1, 0, 0x80, 0]), too_long(8_388_609));
        assert!(control_response(&vec![0; RESPONSE_BYTES_MAX + 1]).is_err());
    }
}
