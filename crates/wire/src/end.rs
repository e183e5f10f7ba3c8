use ketch_types::PartSet;
use prost::Message;

use crate::fault::WireFault;
use crate::frame::{FrameKind, frame};
use crate::holding::part_set;
use crate::limits::END_BYTES_MAX;
use crate::refusal::Refusal;
use crate::{proto, scan};

/// How an answer on an outline or an outputs stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Why not all was sent, if it was not.
    pub refusal: Option<Refusal>,
}

/// How an answer on a parts stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartsEnd {
    /// All that was asked for and is held was sent, or the budget is spent.
    Sent {
        /// What the server holds.
        held: PartSet,
    },
    /// Parts that were asked for are missing.
    Refused {
        /// Why they are.
        refusal: Refusal,
        /// What the server holds, if it says so.
        held: Option<PartSet>,
    },
}

impl End {
    /// The end's frame, the last of an answer.
    pub fn frame(&self) -> Vec<u8> {
        let (reason, retry_after_ms) = Refusal::to_fields(self.refusal);
        let message = proto::End { reason, retry_after_ms, part_count: 0, held: Vec::new() };
        frame(FrameKind::End, &message.encode_to_vec())
    }

    /// The end that a frame's body holds.
    ///
    /// *Errors:* see [`WireFault`].
    pub fn decode(body: &[u8]) -> Result<Self, WireFault> {
        let message: proto::End = scan::decode(body, END_BYTES_MAX, &[])?;
        if message.part_count != 0 || !message.held.is_empty() {
            return Err(WireFault::EndPartCount(message.part_count));
        }
        Ok(Self { refusal: Refusal::from_fields(message.reason, message.retry_after_ms)? })
    }
}

impl PartsEnd {
    /// The end's frame, the last of an answer.
    pub fn frame(&self) -> Vec<u8> {
        let (reason, retry_after_ms) = Refusal::to_fields(self.refusal());
        let held = self.held();
        let message = proto::End {
            reason,
            retry_after_ms,
            part_count: held.map_or(0, PartSet::count),
            held: held.map_or_else(Vec::new, PartSet::encode),
        };
        frame(FrameKind::End, &message.encode_to_vec())
    }

    /// The end that a frame's body holds, of an answer to a request over `part_count` parts.
    ///
    /// *Errors:* see [`WireFault`].
    pub fn decode(body: &[u8], part_count: u32) -> Result<Self, WireFault> {
        let message: proto::End = scan::decode(body, END_BYTES_MAX, &[])?;
        let refusal = Refusal::from_fields(message.reason, message.retry_after_ms)?;
        let says_held = message.part_count != 0 || !message.held.is_empty();
        if says_held && message.part_count != part_count {
            return Err(WireFault::EndPartCount(message.part_count));
        }
        let held = says_held.then(|| part_set(&message.held, part_count)).transpose()?;
        match (refusal, held) {
            (Some(refusal), held) => Ok(PartsEnd::Refused { refusal, held }),
            (None, Some(held)) => Ok(PartsEnd::Sent { held }),
            (None, None) => Err(WireFault::EndWithoutHeld),
        }
    }

    /// Why parts are missing, if not for the budget or for not being held.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            PartsEnd::Sent { .. } => None,
            PartsEnd::Refused { refusal, .. } => Some(*refusal),
        }
    }

    /// What the server holds, if it says so.
    pub fn held(&self) -> Option<&PartSet> {
        match self {
            PartsEnd::Sent { held } => Some(held),
            PartsEnd::Refused { held, .. } => held.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::RuleError;
    use crate::limits::PART_COUNT_MAX;
    use ketch_types::PartIndex;
    use std::time::Duration;

    fn body(frame: &[u8]) -> &[u8] {
        &frame[5..]
    }

    #[test]
    fn every_end_has_fixed_bytes() {
        let busy = Refusal::Busy { retry_after: Duration::from_millis(300) };
        let golden = [
            (None, "0000000000"),
            (Some(Refusal::NotHeld), "00020000000801"),
            (Some(busy), "0005000000080310ac02"),
        ];
        for (refusal, bytes) in golden {
            let frame = End { refusal }.frame();
            assert_eq!(hex::encode(&frame), bytes);
            assert_eq!(End::decode(body(&frame)), Ok(End { refusal }));
        }
    }

    #[test]
    fn every_end_of_parts_has_fixed_bytes() {
        let held = PartSet::full(7);
        let bitmap = "3b3000000100000600010000000600";
        let refusal = Refusal::NotRetained;
        let golden = [
            (PartsEnd::Sent { held: held.clone() }, format!("00130000001807220f{bitmap}")),
            (PartsEnd::Refused { refusal, held: None }, "00020000000802".to_owned()),
            (
                PartsEnd::Refused { refusal, held: Some(held) },
                format!("001500000008021807220f{bitmap}"),
            ),
        ];
        for (end, bytes) in golden {
            let frame = end.frame();
            assert_eq!(hex::encode(&frame), bytes);
            assert_eq!(PartsEnd::decode(body(&frame), 7), Ok(end));
        }
    }

    #[test]
    fn an_end_speaks_of_the_parts_that_were_asked_for_or_of_none() {
        let frame = PartsEnd::Sent { held: PartSet::full(7) }.frame();
        assert_eq!(PartsEnd::decode(body(&frame), 8), Err(WireFault::EndPartCount(7)));
        assert_eq!(End::decode(body(&frame)), Err(WireFault::EndPartCount(7)));
        assert_eq!(PartsEnd::decode(&[0x22, 1, 0], 7), Err(WireFault::EndPartCount(0)));
        assert_eq!(PartsEnd::decode(&[], 7), Err(WireFault::EndWithoutHeld));
        assert!(matches!(PartsEnd::decode(&[0x18, 7], 7), Err(WireFault::PartSet(_))));
        let count = PART_COUNT_MAX + 1;
        let frame = PartsEnd::Sent { held: PartSet::empty(count) }.frame();
        let refused = RuleError::PartCount(count);
        assert_eq!(PartsEnd::decode(body(&frame), count), Err(refused.into()));
    }

    #[test]
    fn the_largest_end_fits_its_limit_and_no_byte_more_is_read() {
        let mut held = PartSet::empty(PART_COUNT_MAX);
        (0..PART_COUNT_MAX).filter(|part| part % 3 > 0).for_each(|part| {
            held.insert(PartIndex(part));
        });
        let refusal = Refusal::Busy { retry_after: Duration::from_secs(60) };
        let end = PartsEnd::Refused { refusal, held: Some(held) };
        assert_eq!(PartsEnd::decode(body(&end.frame()), PART_COUNT_MAX), Ok(end));
        let bytes = vec![0; END_BYTES_MAX + 1];
        assert!(matches!(End::decode(&bytes), Err(WireFault::TooLong(_))));
        assert!(matches!(PartsEnd::decode(&bytes, 1), Err(WireFault::TooLong(_))));
    }
}
