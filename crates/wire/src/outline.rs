use ketch_trie::{COMMIT_BYTES, Outline, OutlineChecker, OutlineFault};
use ketch_types::StateRoot;

use crate::end::End;
use crate::frame::{FRAME_HEADER_BYTES, FrameFault, FrameHeader, FrameKind, frame};
use crate::limits::OUTLINE_FRAME_BYTES_MAX;
use crate::refusal::Refusal;

/// The reading side of an outline stream: checks the outline as its frames arrive.
///
/// For each frame, read [`FRAME_HEADER_BYTES`] and call [`header`](Self::header), then read the body
/// that it announces and call [`push`](Self::push) or [`end`](Self::end). A fault is final.
///
/// *Shape:* memory is that of an [`OutlineChecker`], which a true root bounds.
pub struct OutlineAnswer {
    root: StateRoot,
    cut: u32,
    progress: Progress,
    ended: bool,
}

/// How far the outline is there.
enum Progress {
    /// Some bytes of the opening are, or none.
    Opening(Vec<u8>),
    /// The opening is.
    Records(Box<OutlineChecker>),
}

/// What comes next on an outline stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutlineNext {
    /// Bytes of the outline, for [`OutlineAnswer::push`].
    Outline {
        /// Their number.
        body_bytes: usize,
    },
    /// The end, for [`OutlineAnswer::end`].
    End {
        /// Its length.
        body_bytes: usize,
    },
}

/// What an answer on an outline stream comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutlineEnd {
    /// The outline, verified against its root.
    Complete(Outline),
    /// The outline is not sent, or not to its end.
    Refused(Refusal),
}

impl OutlineAnswer {
    /// An answer to a request for the outline, at `cut`, of the state with this trusted root.
    pub fn new(root: StateRoot, cut: u32) -> Self {
        Self { root, cut, progress: Progress::Opening(Vec::new()), ended: false }
    }

    /// Takes in the header of the next frame.
    ///
    /// *Errors:* see [`FrameFault`].
    pub fn header(&mut self, bytes: [u8; FRAME_HEADER_BYTES]) -> Result<OutlineNext, FrameFault> {
        if self.ended {
            return Err(FrameFault::AfterEnd);
        }
        let header = FrameHeader::decode(bytes)?;
        match header.kind {
            FrameKind::Outline if self.is_complete() => Err(OutlineFault::Trailing.into()),
            FrameKind::Outline => {
                let body_bytes = header.body_within(1, OUTLINE_FRAME_BYTES_MAX as u64)?;
                Ok(OutlineNext::Outline { body_bytes })
            }
            FrameKind::End => {
                self.ended = true;
                header.end_bytes().map(|body_bytes| OutlineNext::End { body_bytes })
            }
            kind => Err(FrameFault::OtherStream(kind)),
        }
    }

    /// Takes in the next bytes of the outline, however they are split.
    ///
    /// *Errors:* [`FrameFault::Outline`].
    pub fn push(&mut self, mut body: &[u8]) -> Result<(), FrameFault> {
        if let Progress::Opening(opening) = &mut self.progress {
            let lacking = COMMIT_BYTES.saturating_sub(opening.len());
            let (some, rest) = body.split_at_checked(lacking).unwrap_or((body, &[]));
            opening.extend_from_slice(some);
            let Some(opening) = opening.first_chunk() else {
                return Ok(());
            };
            let checker = OutlineChecker::new(&self.root, self.cut, opening)?;
            self.progress = Progress::Records(Box::new(checker));
            body = rest;
        }
        if let Progress::Records(checker) = &mut self.progress {
            checker.push(body)?;
        }
        Ok(())
    }

    /// Takes in the body of the end; what the answer came to. An outline that is complete is that,
    /// whatever reason the end has.
    ///
    /// *Errors:* see [`FrameFault`]; without a reason, the outline is complete.
    pub fn end(self, body: &[u8]) -> Result<OutlineEnd, FrameFault> {
        let refusal = End::decode(body)?.refusal;
        match self.progress {
            Progress::Records(checker) if checker.is_complete() => {
                Ok(OutlineEnd::Complete(checker.finish()?))
            }
            Progress::Opening(_) | Progress::Records(_) => {
                refusal.map(OutlineEnd::Refused).ok_or(FrameFault::EndsEarly)
            }
        }
    }

    /// Whether all of the outline is there, so that nothing but the end may follow.
    pub fn is_complete(&self) -> bool {
        matches!(&self.progress, Progress::Records(checker) if checker.is_complete())
    }
}

/// The frames that carry an outline, each as long as it may be but the last; the end follows them.
pub fn outline_frames(outline: &Outline) -> impl Iterator<Item = Vec<u8>> + '_ {
    let beside_opening = OUTLINE_FRAME_BYTES_MAX - COMMIT_BYTES;
    let records = outline.records();
    let (some, rest) = records.split_at_checked(beside_opening).unwrap_or((records, &[]));
    let first = [&outline.opening(), some].concat();
    let others = rest.chunks(OUTLINE_FRAME_BYTES_MAX);
    let framed = |body: &[u8]| frame(FrameKind::Outline, body);
    std::iter::once(framed(&first)).chain(others.map(framed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ketch_trie::{MemoryState, Writes};

    const CUT: u32 = 2_000;

    /// The outline of some thousand small entries, of more than one frame.
    fn outline() -> Outline {
        let mut writes = Writes::default();
        for number in 0..60_000_u32 {
            let key = blake3::hash(&number.to_le_bytes());
            writes.put(key.as_bytes(), &[7; 1_000]).unwrap();
        }
        let mut state = MemoryState::default();
        state.commit(&writes).unwrap();
        Outline::of_state(&state, CUT.max(16_384)).unwrap()
    }

    fn answer(outline: &Outline) -> OutlineAnswer {
        OutlineAnswer::new(outline.root(), outline.cut())
    }

    fn header(kind: u8, body_bytes: u32) -> [u8; 5] {
        let [a, b, c, d] = body_bytes.to_le_bytes();
        [kind, a, b, c, d]
    }

    /// Reads a whole stream; none if it ends before the answer does.
    fn read(answer: OutlineAnswer, mut stream: &[u8]) -> Result<Option<OutlineEnd>, FrameFault> {
        let mut answer = answer;
        while let Some((bytes, rest)) = stream.split_first_chunk() {
            match answer.header(*bytes)? {
                OutlineNext::Outline { body_bytes } => {
                    let Some((body, rest)) = rest.split_at_checked(body_bytes) else { break };
                    answer.push(body)?;
                    stream = rest;
                }
                OutlineNext::End { body_bytes } => {
                    let Some(body) = rest.get(..body_bytes) else { break };
                    return answer.end(body).map(Some);
                }
            }
        }
        Ok(None)
    }

    fn stream_of(frames: impl IntoIterator<Item = Vec<u8>>, refusal: Option<Refusal>) -> Vec<u8> {
        let mut stream: Vec<u8> = frames.into_iter().flatten().collect();
        stream.extend(End { refusal }.frame());
        stream
    }

    #[test]
    fn an_outline_survives_its_frames_however_they_are_split() {
        let outline = outline();
        assert!(outline.records().len() > 2 * OUTLINE_FRAME_BYTES_MAX, "too small to show much");
        let complete = Ok(Some(OutlineEnd::Complete(outline.clone())));
        let stream = stream_of(outline_frames(&outline), None);
        assert_eq!(read(answer(&outline), &stream), complete);
        let refused_all_the_same = stream_of(outline_frames(&outline), Some(Refusal::NotHeld));
        assert_eq!(read(answer(&outline), &refused_all_the_same), complete);
        let bytes = [&outline.opening(), outline.records()].concat();
        for length in [1, 47, 48, 49, 1_000] {
            let frames = bytes.chunks(length).map(|body| frame(FrameKind::Outline, body));
            assert_eq!(read(answer(&outline), &stream_of(frames, None)), complete);
        }
    }

    #[test]
    fn the_frames_are_as_long_as_they_may_be() {
        let outline = outline();
        let lengths: Vec<_> = outline_frames(&outline).map(|frame| frame.len() - 5).collect();
        let (last, others) = lengths.split_last().unwrap();
        assert!(others.iter().all(|length| *length == OUTLINE_FRAME_BYTES_MAX) && *last > 0);
        assert_eq!(lengths.iter().sum::<usize>(), 48 + outline.records().len());
    }

    #[test]
    fn the_empty_state_is_an_opening_of_zeros() {
        let empty = Outline::of_state(&MemoryState::default(), CUT).unwrap();
        let stream = stream_of(outline_frames(&empty), None);
        assert_eq!(hex::encode(&stream), format!("0330000000{}0000000000", "00".repeat(48)));
        assert_eq!(read(answer(&empty), &stream), Ok(Some(OutlineEnd::Complete(empty))));
    }

    #[test]
    fn nothing_but_the_end_follows_a_complete_outline() {
        let outline = outline();
        let mut answer = answer(&outline);
        for frame in outline_frames(&outline) {
            assert!(!answer.is_complete());
            answer.push(&frame[5..]).unwrap();
        }
        assert!(answer.is_complete());
        let trailing = FrameFault::Outline(OutlineFault::Trailing);
        assert_eq!(answer.header(header(3, 1)), Err(trailing));
        assert_eq!(answer.header(header(0, 0)), Ok(OutlineNext::End { body_bytes: 0 }));
        assert_eq!(answer.header(header(0, 0)), Err(FrameFault::AfterEnd));
    }

    #[test]
    fn bytes_that_follow_the_outline_in_its_own_frame_are_refused() {
        let empty = Outline::of_state(&MemoryState::default(), CUT).unwrap();
        let trailing = FrameFault::Outline(OutlineFault::Trailing);
        assert_eq!(answer(&empty).push(&[0; 49]), Err(trailing));
    }

    #[test]
    fn an_outline_of_another_root_is_refused() {
        let outline = outline();
        let other = OutlineAnswer::new(StateRoot::new([1; 32]), outline.cut());
        let stream = stream_of(outline_frames(&outline), None);
        assert_eq!(read(other, &stream), Err(FrameFault::Outline(OutlineFault::Opening)));
    }

    #[test]
    fn an_end_before_the_outline_is_complete_needs_a_reason() {
        let outline = outline();
        for frames in 0..3 {
            let some = || outline_frames(&outline).take(frames);
            let ended = read(answer(&outline), &stream_of(some(), None));
            assert_eq!(ended, Err(FrameFault::EndsEarly));
            let refused = read(answer(&outline), &stream_of(some(), Some(Refusal::NotHeld)));
            assert_eq!(refused, Ok(Some(OutlineEnd::Refused(Refusal::NotHeld))));
        }
    }

    #[test]
    fn frames_of_other_lengths_kinds_and_streams_are_refused_by_their_headers() {
        let refused = |kind, body_bytes| {
            OutlineAnswer::new(StateRoot::new([1; 32]), CUT).header(header(kind, body_bytes))
        };
        for body_bytes in [0, 65_537, u32::MAX] {
            assert!(matches!(refused(3, body_bytes), Err(FrameFault::BodyBytes { .. })));
        }
        for kind in [FrameKind::PartRaw, FrameKind::PartLz4, FrameKind::Range, FrameKind::Outputs] {
            assert_eq!(refused(kind as u8, 9), Err(FrameFault::OtherStream(kind)));
        }
        assert_eq!(refused(6, 9), Err(FrameFault::UnknownKind(6)));
        assert!(matches!(refused(0, 147_457), Err(FrameFault::BodyBytes { .. })));
    }
}
