use ketch_trie::OutlineFault;
use ketch_types::PartIndex;
use thiserror::Error;

use crate::fault::{TooLong, WireFault};
use crate::limits::END_BYTES_MAX;

/// The bytes before a frame's body: its kind and the body's length.
pub const FRAME_HEADER_BYTES: usize = 5;

/// What precedes the body of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the body is.
    pub kind: FrameKind,
    /// The length of the body.
    pub body_bytes: u32,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameKind {
    /// The end of an answer.
    End = 0,
    /// A part as it is.
    PartRaw = 1,
    /// A part as one lz4 block.
    PartLz4 = 2,
    /// The next bytes of an outline.
    Outline = 3,
    /// A chunk range.
    Range = 4,
    /// The outputs of the next chunk.
    Outputs = 5,
}

/// Why an answer is refused: proof that the answering node does not keep to the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameFault {
    /// There is no such kind of frame.
    #[error("there are no frames of kind {0}")]
    UnknownKind(u8),
    /// Frames of this kind have no place on this stream.
    #[error("a frame of kind {0:?} came on a stream that has none")]
    OtherStream(FrameKind),
    /// A frame of this kind has no place here.
    #[error("a frame of kind {0:?} came out of order")]
    OutOfOrder(FrameKind),
    /// A frame follows the end.
    #[error("a frame follows the end of the answer")]
    AfterEnd,
    /// The answer ends without a reason before all is there that it must have.
    #[error("the answer ends too early, without a reason")]
    EndsEarly,
    /// A body has a length that no frame of its kind may have here.
    #[error("a frame of kind {kind:?} has {bytes} bytes, not {bytes_min} to {bytes_max}")]
    BodyBytes {
        /// What the body is.
        kind: FrameKind,
        /// The length of the body.
        bytes: u32,
        /// The least that it may be.
        bytes_min: u64,
        /// The most that it may be.
        bytes_max: u64,
    },
    /// A part was not asked for.
    #[error("part {0} was not asked for")]
    NotAsked(PartIndex),
    /// A part is sent again.
    #[error("part {0} is sent twice")]
    SentTwice(PartIndex),
    /// A part does not come in its size, or its lz4 block is empty or not shorter than it.
    #[error("part {part} of {part_bytes} bytes comes in {packed_bytes}")]
    PartBytes {
        /// The part.
        part: PartIndex,
        /// The part's size.
        part_bytes: u64,
        /// The length of what is sent for it.
        packed_bytes: u64,
    },
    /// The end cannot be decoded.
    #[error(transparent)]
    End(#[from] WireFault),
    /// An outline is not that of the trusted root.
    #[error(transparent)]
    Outline(#[from] OutlineFault),
}

impl FrameKind {
    fn of_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => FrameKind::End,
            1 => FrameKind::PartRaw,
            2 => FrameKind::PartLz4,
            3 => FrameKind::Outline,
            4 => FrameKind::Range,
            5 => FrameKind::Outputs,
            _ => return None,
        })
    }
}

impl FrameHeader {
    /// The header of a frame with a body of so many bytes.
    ///
    /// *Errors:* [`TooLong`], for what 32 bits do not count.
    pub fn new(kind: FrameKind, body_bytes: usize) -> Result<Self, TooLong> {
        let too_long = TooLong { bytes: body_bytes, bytes_max: u32::MAX as usize };
        Ok(Self { kind, body_bytes: u32::try_from(body_bytes).map_err(|_| too_long)? })
    }

    /// The header's bytes.
    pub fn encode(self) -> [u8; FRAME_HEADER_BYTES] {
        let [a, b, c, d] = self.body_bytes.to_le_bytes();
        [self.kind as u8, a, b, c, d]
    }

    /// The header that these bytes are.
    ///
    /// *Errors:* [`FrameFault::UnknownKind`].
    pub fn decode(bytes: [u8; FRAME_HEADER_BYTES]) -> Result<Self, FrameFault> {
        let [kind, a, b, c, d] = bytes;
        let kind = FrameKind::of_byte(kind).ok_or(FrameFault::UnknownKind(kind))?;
        Ok(Self { kind, body_bytes: u32::from_le_bytes([a, b, c, d]) })
    }

    /// The body's length, which must lie within these bounds.
    pub(crate) fn body_within(self, bytes_min: u64, bytes_max: u64) -> Result<usize, FrameFault> {
        let FrameHeader { kind, body_bytes: bytes } = self;
        if (bytes_min..=bytes_max).contains(&u64::from(bytes)) {
            Ok(bytes as usize)
        } else {
            Err(FrameFault::BodyBytes { kind, bytes, bytes_min, bytes_max })
        }
    }

    /// The length of the body of an end.
    pub(crate) fn end_bytes(self) -> Result<usize, FrameFault> {
        self.body_within(0, END_BYTES_MAX as u64)
    }
}

/// A whole frame. Bodies that this is used for are far from any length that does not fit.
pub(crate) fn frame(kind: FrameKind, body: &[u8]) -> Vec<u8> {
    let body_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&FrameHeader { kind, body_bytes }.encode(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_number_and_no_other_number_has_a_kind() {
        for byte in 0..=u8::MAX {
            let bytes = [byte, 1, 2, 3, 4];
            match FrameHeader::decode(bytes) {
                Ok(header) => {
                    assert_eq!((header.encode(), header.body_bytes), (bytes, 0x0403_0201));
                    assert!(byte <= 5);
                }
                Err(fault) => {
                    assert_eq!(fault, FrameFault::UnknownKind(byte));
                    assert!(byte > 5);
                }
            }
        }
    }

    #[test]
    fn a_header_has_fixed_bytes() {
        let header = FrameHeader::new(FrameKind::PartLz4, 0x0102_0304).unwrap();
        assert_eq!(header.encode(), [2, 4, 3, 2, 1]);
        assert!(FrameHeader::new(FrameKind::Outputs, u32::MAX as usize).is_ok());
        assert!(FrameHeader::new(FrameKind::Outputs, 1 << 32).is_err());
    }

    #[test]
    fn an_end_that_is_too_long_is_refused_by_its_header() {
        let end = |body_bytes| FrameHeader { kind: FrameKind::End, body_bytes }.end_bytes();
        assert_eq!(end(0), Ok(0));
        assert_eq!(end(147_456), Ok(147_456));
        assert!(matches!(end(147_457), Err(FrameFault::BodyBytes { bytes: 147_457, .. })));
        assert!(end(u32::MAX).is_err());
    }
}
