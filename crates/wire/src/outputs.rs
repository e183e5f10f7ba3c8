use crate::end::End;
use crate::frame::{FRAME_HEADER_BYTES, FrameFault, FrameHeader, FrameKind};
use crate::limits::RANGE_BYTES_MAX;
use crate::refusal::Refusal;

/// The bytes of a list's count, which stand before a chunk's outputs.
const COUNT_BYTES: u64 = 4;

/// How an answer on an outputs stream begins.
#[derive(Debug, PartialEq, Eq)]
pub enum OutputsStart {
    /// A chunk range.
    Range(RangeFrame),
    /// The end, for [`OutputsAnswer::refusal`].
    End {
        /// Its length.
        body_bytes: usize,
    },
}

/// A chunk range, which is read as a whole and verified before anything that follows it.
#[derive(Debug, PartialEq, Eq)]
pub struct RangeFrame {
    body_bytes: usize,
}

/// The reading side of an outputs stream, once its range is verified.
///
/// Read [`FRAME_HEADER_BYTES`] and call [`start`](Self::start). If a range comes, read and verify it,
/// and give what its headers say to [`RangeFrame::verified`]. Then, for each frame, call
/// [`header`](Self::header) and read the body that it announces. A fault is final.
#[derive(Debug)]
pub struct OutputsAnswer {
    /// The bytes of outputs of the range's chunks.
    chunks: Vec<u64>,
    /// How many chunks' outputs have begun to come.
    begun: usize,
    ended: bool,
}

/// What an answer on an outputs stream comes to, after its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputsEnd {
    /// All outputs were sent, or the budget is spent. Where the range has no chunks, there is nothing
    /// to send.
    Sent,
    /// Outputs are missing, and this is why.
    Refused(Refusal),
}

/// What comes next on an outputs stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputsNext {
    /// The outputs of a chunk.
    Outputs {
        /// The chunk's place in the range.
        chunk: usize,
        /// Their length, with their count.
        body_bytes: usize,
    },
    /// The end, for [`OutputsAnswer::end`].
    End {
        /// Its length.
        body_bytes: usize,
    },
}

impl RangeFrame {
    /// How many bytes of a range to read.
    pub fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// What may follow the range, now that it is verified: `output_bytes` are its headers' *bytes of
    /// outputs*, in order.
    pub fn verified(self, output_bytes: Vec<u64>) -> OutputsAnswer {
        OutputsAnswer { chunks: output_bytes, begun: 0, ended: false }
    }
}

impl OutputsAnswer {
    /// What the first frame of an answer is.
    ///
    /// *Errors:* see [`FrameFault`].
    pub fn start(bytes: [u8; FRAME_HEADER_BYTES]) -> Result<OutputsStart, FrameFault> {
        let header = FrameHeader::decode(bytes)?;
        match header.kind {
            FrameKind::Range => {
                let body_bytes = header.body_within(0, RANGE_BYTES_MAX as u64)?;
                Ok(OutputsStart::Range(RangeFrame { body_bytes }))
            }
            FrameKind::End => header.end_bytes().map(|body_bytes| OutputsStart::End { body_bytes }),
            kind @ FrameKind::Outputs => Err(FrameFault::OutOfOrder(kind)),
            kind => Err(FrameFault::OtherStream(kind)),
        }
    }

    /// Why there is no range, from the body of the end that comes in its place.
    ///
    /// *Errors:* see [`FrameFault`]; such an end has a reason.
    pub fn refusal(body: &[u8]) -> Result<Refusal, FrameFault> {
        End::decode(body)?.refusal.ok_or(FrameFault::EndsEarly)
    }

    /// Takes in the header of the next frame.
    ///
    /// *Errors:* see [`FrameFault`].
    pub fn header(&mut self, bytes: [u8; FRAME_HEADER_BYTES]) -> Result<OutputsNext, FrameFault> {
        if self.ended {
            return Err(FrameFault::AfterEnd);
        }
        let header = FrameHeader::decode(bytes)?;
        match header.kind {
            FrameKind::Outputs => self.outputs(header),
            FrameKind::End => {
                self.ended = true;
                header.end_bytes().map(|body_bytes| OutputsNext::End { body_bytes })
            }
            kind @ FrameKind::Range => Err(FrameFault::OutOfOrder(kind)),
            kind => Err(FrameFault::OtherStream(kind)),
        }
    }

    /// Takes in the body of the end; what the answer came to.
    ///
    /// *Errors:* see [`FrameFault`]; without a reason, the outputs of the first chunk have come.
    pub fn end(self, body: &[u8]) -> Result<OutputsEnd, FrameFault> {
        match End::decode(body)?.refusal {
            Some(refusal) => Ok(OutputsEnd::Refused(refusal)),
            None if self.begun == 0 && !self.chunks.is_empty() => Err(FrameFault::EndsEarly),
            None => Ok(OutputsEnd::Sent),
        }
    }

    fn outputs(&mut self, header: FrameHeader) -> Result<OutputsNext, FrameFault> {
        let chunk = self.begun;
        let Some(output_bytes) = self.chunks.get(chunk) else {
            return Err(FrameFault::OutOfOrder(header.kind));
        };
        let expected = output_bytes.saturating_add(COUNT_BYTES);
        let body_bytes = header.body_within(expected, expected)?;
        self.begun += 1;
        Ok(OutputsNext::Outputs { chunk, body_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: FrameKind, body_bytes: u32) -> [u8; 5] {
        FrameHeader { kind, body_bytes }.encode()
    }

    fn end(refusal: Option<Refusal>) -> Vec<u8> {
        End { refusal }.frame().split_off(5)
    }

    /// An answer whose range has chunks of 0, 10 and 67,108,864 bytes of outputs.
    fn answer() -> OutputsAnswer {
        match OutputsAnswer::start(header(FrameKind::Range, 700)).unwrap() {
            OutputsStart::Range(range) => {
                assert_eq!(range.body_bytes(), 700);
                range.verified(vec![0, 10, 67_108_864])
            }
            OutputsStart::End { .. } => panic!("not a range"),
        }
    }

    #[test]
    fn outputs_come_in_the_order_of_the_range_some_or_all_and_then_the_end() {
        for sent in 1..=3 {
            let mut answer = answer();
            for (chunk, body_bytes) in [4, 14, 67_108_868].into_iter().enumerate().take(sent) {
                let next = answer.header(header(FrameKind::Outputs, body_bytes));
                let body_bytes = body_bytes as usize;
                assert_eq!(next, Ok(OutputsNext::Outputs { chunk, body_bytes }));
            }
            let next = answer.header(header(FrameKind::End, 0));
            assert_eq!(next, Ok(OutputsNext::End { body_bytes: 0 }));
            let after = answer.header(header(FrameKind::Outputs, 14));
            assert_eq!(after, Err(FrameFault::AfterEnd));
            assert_eq!(answer.end(&end(None)), Ok(OutputsEnd::Sent));
        }
    }

    #[test]
    fn outputs_of_another_length_are_refused_by_their_header() {
        for body_bytes in [0, 3, 5, 14, u32::MAX] {
            let fault = answer().header(header(FrameKind::Outputs, body_bytes)).unwrap_err();
            assert!(matches!(fault, FrameFault::BodyBytes { bytes_min: 4, bytes_max: 4, .. }));
        }
        for body_bytes in [4, 13, 15] {
            let mut answer = answer();
            answer.header(header(FrameKind::Outputs, 4)).unwrap();
            let fault = answer.header(header(FrameKind::Outputs, body_bytes)).unwrap_err();
            assert!(matches!(fault, FrameFault::BodyBytes { bytes_min: 14, bytes_max: 14, .. }));
        }
    }

    #[test]
    fn outputs_before_the_range_or_beyond_it_and_a_second_range_are_refused() {
        let early = OutputsAnswer::start(header(FrameKind::Outputs, 4));
        assert_eq!(early, Err(FrameFault::OutOfOrder(FrameKind::Outputs)));
        let mut answer = answer();
        let second = answer.header(header(FrameKind::Range, 700));
        assert_eq!(second, Err(FrameFault::OutOfOrder(FrameKind::Range)));
        for body_bytes in [4, 14, 67_108_868] {
            assert!(answer.header(header(FrameKind::Outputs, body_bytes)).is_ok());
        }
        let beyond = answer.header(header(FrameKind::Outputs, 4));
        assert_eq!(beyond, Err(FrameFault::OutOfOrder(FrameKind::Outputs)));
    }

    #[test]
    fn an_end_needs_a_reason_unless_the_first_outputs_were_sent() {
        let start = OutputsAnswer::start(header(FrameKind::End, 2));
        assert_eq!(start, Ok(OutputsStart::End { body_bytes: 2 }));
        let retained = Refusal::NotRetained;
        assert_eq!(OutputsAnswer::refusal(&end(Some(retained))), Ok(retained));
        assert_eq!(OutputsAnswer::refusal(&end(None)), Err(FrameFault::EndsEarly));
        assert_eq!(answer().end(&end(None)), Err(FrameFault::EndsEarly));
        let refused = Ok(OutputsEnd::Refused(retained));
        assert_eq!(answer().end(&end(Some(retained))), refused);
    }

    #[test]
    fn a_range_without_chunks_has_its_end_alone() {
        let empty = || RangeFrame { body_bytes: 700 }.verified(vec![]);
        assert_eq!(empty().end(&end(None)), Ok(OutputsEnd::Sent));
        let beyond = empty().header(header(FrameKind::Outputs, 4));
        assert_eq!(beyond, Err(FrameFault::OutOfOrder(FrameKind::Outputs)));
    }

    #[test]
    fn a_range_that_is_too_long_and_frames_of_other_streams_are_refused() {
        assert!(OutputsAnswer::start(header(FrameKind::Range, 8_388_608)).is_ok());
        for body_bytes in [8_388_609, u32::MAX] {
            let fault = OutputsAnswer::start(header(FrameKind::Range, body_bytes)).unwrap_err();
            assert!(matches!(fault, FrameFault::BodyBytes { .. }));
        }
        for kind in [FrameKind::PartRaw, FrameKind::PartLz4, FrameKind::Outline] {
            let other = FrameFault::OtherStream(kind);
            assert_eq!(OutputsAnswer::start(header(kind, 5)), Err(other.clone()));
            assert_eq!(answer().header(header(kind, 5)), Err(other));
        }
        assert_eq!(OutputsAnswer::start([9; 5]), Err(FrameFault::UnknownKind(9)));
        assert_eq!(answer().header([9; 5]), Err(FrameFault::UnknownKind(9)));
    }
}
