use ketch_trie::{Manifest, PackedPart, Packing, Part};
use ketch_types::{PartIndex, PartSet};
use thiserror::Error;

use crate::end::PartsEnd;
use crate::fault::TooLong;
use crate::frame::{FRAME_HEADER_BYTES, FrameFault, FrameHeader, FrameKind};

/// The bytes before a packed part: the frame's header and the part's index.
pub const PART_FRAME_HEADER_BYTES: usize = FRAME_HEADER_BYTES + INDEX_BYTES;

/// The bytes of a part's index.
const INDEX_BYTES: usize = 4;

/// The reading side of a parts stream: says what may be read next, and which part it is.
///
/// For each frame, read [`FRAME_HEADER_BYTES`] and call [`header`](Self::header). If a part comes,
/// read four bytes and call [`index`](Self::index), then read exactly that many packed bytes: they go
/// past this type. If the end comes, read it and call [`end`](Self::end). A fault is final.
///
/// *Shape:* memory is one size for each part that was asked for.
#[derive(Debug)]
pub struct PartsAnswer {
    wanted: PartSet,
    /// The parts that were asked for, with their sizes, in order.
    sizes: Vec<(PartIndex, u64)>,
    largest_bytes: u64,
    missing: PartSet,
    /// The part whose packed bytes are being read.
    open: Option<PartIndex>,
    ended: bool,
}

/// What comes next on a parts stream.
#[derive(Debug, PartialEq, Eq)]
pub enum PartsNext {
    /// A part: four bytes of its index, for [`PartsAnswer::index`].
    Part(PartHeader),
    /// The end, for [`PartsAnswer::end`].
    End {
        /// Its length.
        body_bytes: usize,
    },
}

/// The header of a part's frame, before the part's index is known.
#[derive(Debug, PartialEq, Eq)]
pub struct PartHeader {
    packing: Packing,
    packed_bytes: u64,
}

/// A part that was asked for, and whose packed bytes come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartFrame {
    /// The part.
    pub index: PartIndex,
    /// How it is packed.
    pub packing: Packing,
    /// How many bytes to read.
    pub packed_bytes: usize,
}

/// An answer is to be read with other sizes than those of the wanted parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{sizes} sizes were given for {wanted} wanted parts")]
pub struct WantedBytesError {
    /// How many parts are wanted.
    pub wanted: u32,
    /// How many sizes were given.
    pub sizes: usize,
}

impl PartsAnswer {
    /// An answer to a request for the parts `wanted`, whose sizes are `wanted_bytes`, in order.
    ///
    /// *Errors:* [`WantedBytesError`].
    pub fn new(wanted: PartSet, wanted_bytes: &[u64]) -> Result<Self, WantedBytesError> {
        if usize::try_from(wanted.len()) != Ok(wanted_bytes.len()) {
            let (wanted, sizes) = (wanted.len(), wanted_bytes.len());
            return Err(WantedBytesError { wanted, sizes });
        }
        let sizes = wanted.iter().zip(wanted_bytes.iter().copied()).collect();
        let largest_bytes = wanted_bytes.iter().copied().max().unwrap_or(0);
        let missing = wanted.clone();
        Ok(Self { wanted, sizes, largest_bytes, missing, open: None, ended: false })
    }

    /// Takes in the header of the next frame. The part before it counts as arrived.
    ///
    /// *Errors:* see [`FrameFault`].
    pub fn header(&mut self, bytes: [u8; FRAME_HEADER_BYTES]) -> Result<PartsNext, FrameFault> {
        if let Some(part) = self.open.take() {
            self.missing.remove(part);
        }
        if self.ended {
            return Err(FrameFault::AfterEnd);
        }
        let header = FrameHeader::decode(bytes)?;
        match header.kind {
            FrameKind::PartRaw => self.part(header, Packing::Raw),
            FrameKind::PartLz4 => self.part(header, Packing::Lz4),
            FrameKind::End => {
                self.ended = true;
                header.end_bytes().map(|body_bytes| PartsNext::End { body_bytes })
            }
            kind => Err(FrameFault::OtherStream(kind)),
        }
    }

    /// Takes in the index of the part whose frame was begun; what is to be read for it.
    ///
    /// *Errors:* see [`FrameFault`].
    #[expect(clippy::needless_pass_by_value, reason = "a header has one index")]
    pub fn index(
        &mut self,
        header: PartHeader,
        bytes: [u8; INDEX_BYTES],
    ) -> Result<PartFrame, FrameFault> {
        let PartHeader { packing, packed_bytes } = header;
        let part = PartIndex(u32::from_le_bytes(bytes));
        let part_bytes = self.part_bytes(part).ok_or(FrameFault::NotAsked(part))?;
        if !self.missing.contains(part) {
            return Err(FrameFault::SentTwice(part));
        }
        let fits = match packing {
            Packing::Raw => packed_bytes == part_bytes,
            Packing::Lz4 => (1..part_bytes).contains(&packed_bytes),
        };
        let fault = FrameFault::PartBytes { part, part_bytes, packed_bytes };
        let Some(packed_bytes) = usize::try_from(packed_bytes).ok().filter(|_| fits) else {
            return Err(fault);
        };
        self.open = Some(part);
        Ok(PartFrame { index: part, packing, packed_bytes })
    }

    /// Takes in the body of the end; what the answer came to.
    ///
    /// *Errors:* see [`FrameFault`]; without a reason, a part has come if any that was asked for is
    /// held.
    pub fn end(self, body: &[u8]) -> Result<PartsEnd, FrameFault> {
        let end = PartsEnd::decode(body, self.wanted.count())?;
        match &end {
            PartsEnd::Sent { held } if self.missing == self.wanted && self.wants_of(held) => {
                Err(FrameFault::EndsEarly)
            }
            PartsEnd::Sent { .. } | PartsEnd::Refused { .. } => Ok(end),
        }
    }

    /// The parts that were asked for and have not come. One whose bytes are being read is among
    /// them until the next frame begins.
    pub fn missing(&self) -> &PartSet {
        &self.missing
    }

    fn part(&self, header: FrameHeader, packing: Packing) -> Result<PartsNext, FrameFault> {
        let index_bytes = INDEX_BYTES as u64;
        let longest = self.largest_bytes.saturating_add(index_bytes);
        header.body_within(index_bytes, longest)?;
        let packed_bytes = u64::from(header.body_bytes).saturating_sub(index_bytes);
        Ok(PartsNext::Part(PartHeader { packing, packed_bytes }))
    }

    /// Whether any of these parts was asked for.
    fn wants_of(&self, held: &PartSet) -> bool {
        self.sizes.iter().any(|(part, _)| held.contains(*part))
    }

    /// The size of a part, if it was asked for.
    fn part_bytes(&self, part: PartIndex) -> Option<u64> {
        let place = self.sizes.binary_search_by_key(&part, |(part, _)| *part).ok()?;
        self.sizes.get(place).map(|(_, bytes)| *bytes)
    }
}

/// The sizes of the parts `wanted`, in order: what [`PartsAnswer::new`] needs to know of a manifest.
pub fn wanted_bytes(manifest: &Manifest, wanted: &PartSet) -> Vec<u64> {
    wanted.iter().filter_map(|part| manifest.part(part)).map(Part::bytes).collect()
}

/// What is written before the bytes of a packed part, which are not copied for it.
///
/// *Errors:* [`TooLong`], for what no layout's parts are.
pub fn part_frame_header(
    index: PartIndex,
    part: &PackedPart,
) -> Result<[u8; PART_FRAME_HEADER_BYTES], TooLong> {
    let kind = match part.packing {
        Packing::Raw => FrameKind::PartRaw,
        Packing::Lz4 => FrameKind::PartLz4,
    };
    let header = FrameHeader::new(kind, part.bytes.len().saturating_add(INDEX_BYTES))?;
    let [kind, a, b, c, d] = header.encode();
    let [e, f, g, h] = index.0.to_le_bytes();
    Ok([kind, a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::WireFault;
    use crate::refusal::Refusal;

    /// Parts 2, 5 and 6 of 9, of 100, 7 and 4,000 bytes.
    fn answer() -> PartsAnswer {
        PartsAnswer::new(set(&[2, 5, 6]), &[100, 7, 4_000]).unwrap()
    }

    fn set(parts: &[u32]) -> PartSet {
        let mut set = PartSet::empty(9);
        parts.iter().for_each(|part| {
            set.insert(PartIndex(*part));
        });
        set
    }

    fn header(kind: u8, body_bytes: u32) -> [u8; 5] {
        let [a, b, c, d] = body_bytes.to_le_bytes();
        [kind, a, b, c, d]
    }

    /// What a part's frame of this kind, packed length and index leads to.
    fn part(
        answer: &mut PartsAnswer,
        kind: u8,
        packed: u32,
        index: u32,
    ) -> Result<PartFrame, FrameFault> {
        match answer.header(header(kind, packed + 4))? {
            PartsNext::Part(header) => answer.index(header, index.to_le_bytes()),
            PartsNext::End { .. } => panic!("not a part"),
        }
    }

    #[test]
    fn parts_come_in_any_order_and_then_the_end() {
        let mut answer = answer();
        let raw = PartFrame { index: PartIndex(5), packing: Packing::Raw, packed_bytes: 7 };
        assert_eq!(part(&mut answer, 1, 7, 5), Ok(raw));
        assert_eq!(*answer.missing(), set(&[2, 5, 6]));
        let lz4 = PartFrame { index: PartIndex(2), packing: Packing::Lz4, packed_bytes: 99 };
        assert_eq!(part(&mut answer, 2, 99, 2), Ok(lz4));
        assert_eq!(*answer.missing(), set(&[2, 6]));

        let end = PartsEnd::Sent { held: set(&[2, 5]) };
        let frame = end.frame();
        let body_bytes = frame.len() - 5;
        let next = answer.header(*frame.first_chunk().unwrap());
        assert_eq!(next, Ok(PartsNext::End { body_bytes }));
        assert_eq!(*answer.missing(), set(&[6]));
        assert_eq!(answer.header(header(1, 11)), Err(FrameFault::AfterEnd));
        assert_eq!(answer.header(header(77, 11)), Err(FrameFault::AfterEnd));
        assert_eq!(answer.end(&frame[5..]), Ok(end));
    }

    #[test]
    fn an_end_without_a_part_and_a_reason_is_refused_if_a_wanted_part_is_held() {
        let sent = |held: &[u32]| PartsEnd::Sent { held: set(held) };
        for held in [&[2][..], &[6, 8]] {
            let refused = answer().end(&sent(held).frame()[5..]);
            assert_eq!(refused, Err(FrameFault::EndsEarly));
        }
        for held in [&[][..], &[0, 1, 8]] {
            assert_eq!(answer().end(&sent(held).frame()[5..]), Ok(sent(held)));
        }
        let mut begun = answer();
        assert!(part(&mut begun, 1, 7, 5).is_ok());
        let frame = sent(&[2, 5]).frame();
        assert!(begun.header(*frame.first_chunk().unwrap()).is_ok());
        assert_eq!(begun.end(&frame[5..]), Ok(sent(&[2, 5])));
        let held = Some(set(&[2, 5, 6]));
        let busy = PartsEnd::Refused { refusal: Refusal::NotHeld, held };
        assert_eq!(answer().end(&busy.frame()[5..]), Ok(busy));
    }

    #[test]
    fn a_part_that_was_not_asked_for_or_came_before_is_refused() {
        for index in [0, 3, 8, 9, u32::MAX] {
            let fault = FrameFault::NotAsked(PartIndex(index));
            assert_eq!(part(&mut answer(), 1, 100, index), Err(fault));
        }
        let mut answer = answer();
        assert!(part(&mut answer, 1, 100, 2).is_ok());
        assert_eq!(part(&mut answer, 2, 50, 2), Err(FrameFault::SentTwice(PartIndex(2))));
    }

    #[test]
    fn a_part_of_another_size_is_refused_before_its_bytes_are_read() {
        let cases =
            [(1, 99, 2), (1, 101, 2), (1, 0, 2), (1, 6, 5), (2, 100, 2), (2, 101, 2), (2, 0, 2)];
        for (kind, packed, index) in cases {
            let fault = part(&mut answer(), kind, packed, index).unwrap_err();
            let FrameFault::PartBytes { part, packed_bytes, .. } = fault else { panic!("{fault}") };
            assert_eq!((part, packed_bytes), (PartIndex(index), u64::from(packed)));
        }
    }

    #[test]
    fn a_body_longer_than_any_part_or_without_an_index_is_refused_by_its_header() {
        for (kind, body) in [(1, 4_005), (2, 4_005), (1, u32::MAX), (2, u32::MAX), (1, 3), (2, 0)] {
            let fault = answer().header(header(kind, body)).unwrap_err();
            assert!(matches!(fault, FrameFault::BodyBytes { bytes, .. } if bytes == body));
        }
        assert!(answer().header(header(0, u32::MAX)).is_err());
    }

    #[test]
    fn frames_of_other_streams_and_unknown_ones_are_refused() {
        for kind in [FrameKind::Outline, FrameKind::Range, FrameKind::Outputs] {
            let fault = FrameFault::OtherStream(kind);
            assert_eq!(answer().header(header(kind as u8, 10)), Err(fault));
        }
        assert_eq!(answer().header(header(6, 10)), Err(FrameFault::UnknownKind(6)));
    }

    #[test]
    fn an_end_over_another_number_of_parts_is_refused() {
        let end = PartsEnd::Sent { held: PartSet::full(8) }.frame();
        let fault = FrameFault::End(WireFault::EndPartCount(8));
        assert_eq!(answer().end(&end[5..]), Err(fault));
        let refused = PartsEnd::Refused { refusal: Refusal::NotHeld, held: None };
        assert_eq!(answer().end(&refused.frame()[5..]), Ok(refused));
    }

    #[test]
    fn an_answer_needs_a_size_for_each_part() {
        let refused = PartsAnswer::new(set(&[2, 5]), &[100]).unwrap_err();
        assert_eq!(refused, WantedBytesError { wanted: 2, sizes: 1 });
    }

    #[test]
    fn a_part_frame_begins_with_fixed_bytes() {
        let lz4 = PackedPart { packing: Packing::Lz4, bytes: vec![0; 300] };
        let bytes = part_frame_header(PartIndex(0x0102_0304), &lz4).unwrap();
        assert_eq!(bytes, [2, 0x30, 1, 0, 0, 4, 3, 2, 1]);
        let raw = PackedPart { packing: Packing::Raw, bytes: vec![0; 7] };
        assert_eq!(part_frame_header(PartIndex(5), &raw).unwrap(), [1, 11, 0, 0, 0, 5, 0, 0, 0]);
    }
}
