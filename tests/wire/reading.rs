//! Reading whole streams through the reading sides, as the network does, but from memory.

use ketch_types::{PartSet, StateRoot};
use ketch_wire::{
    FRAME_HEADER_BYTES, FrameFault, OutlineAnswer, OutlineEnd, OutlineNext, OutputsAnswer,
    OutputsEnd, OutputsNext, OutputsStart, PartFrame, PartsAnswer, PartsEnd, PartsNext, Refusal,
};

/// What comes of a stream: a fault, nothing because it ends before the answer does, or its end.
pub(crate) type Read<T> = Result<Option<T>, FrameFault>;

/// What came on a parts stream.
#[derive(Debug, PartialEq)]
pub(crate) struct PartsRead {
    pub(crate) parts: Vec<(PartFrame, Vec<u8>)>,
    pub(crate) end: PartsEnd,
    pub(crate) missing: PartSet,
}

/// What came on an outputs stream.
#[derive(Debug, PartialEq)]
pub(crate) struct OutputsRead {
    pub(crate) range: Option<Vec<u8>>,
    pub(crate) outputs: Vec<Vec<u8>>,
    pub(crate) refusal: Option<Refusal>,
}

/// Bytes of a stream that are taken from its front; none where there are too few left.
struct Stream<'a>(&'a [u8]);

impl<'a> Stream<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn header(&mut self) -> Option<[u8; FRAME_HEADER_BYTES]> {
        self.array()
    }

    fn body(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Takes what is there, or says that the stream is not complete.
macro_rules! take {
    ($some:expr) => {
        match $some {
            Some(taken) => taken,
            None => return Ok(None),
        }
    };
}

/// Reads an answer to a request for `wanted`, of these sizes.
pub(crate) fn read_parts(wanted: PartSet, sizes: &[u64], bytes: &[u8]) -> Read<PartsRead> {
    let mut answer = PartsAnswer::new(wanted, sizes).unwrap();
    let mut stream = Stream(bytes);
    let mut parts = Vec::new();
    loop {
        match answer.header(take!(stream.header()))? {
            PartsNext::Part(header) => {
                let frame = answer.index(header, take!(stream.array()))?;
                parts.push((frame, take!(stream.body(frame.packed_bytes)).to_vec()));
            }
            PartsNext::End { body_bytes } => {
                let body = take!(stream.body(body_bytes));
                stream.header().map_or(Ok(()), |next| answer.header(next).map(drop))?;
                let missing = answer.missing().clone();
                return Ok(Some(PartsRead { parts, end: answer.end(body)?, missing }));
            }
        }
    }
}

/// Reads an answer to a request for the outline of `root` at `cut`.
pub(crate) fn read_outline(root: StateRoot, cut: u32, bytes: &[u8]) -> Read<OutlineEnd> {
    let mut answer = OutlineAnswer::new(root, cut);
    let mut stream = Stream(bytes);
    loop {
        match answer.header(take!(stream.header()))? {
            OutlineNext::Outline { body_bytes } => {
                answer.push(take!(stream.body(body_bytes)))?;
            }
            OutlineNext::End { body_bytes } => {
                let body = take!(stream.body(body_bytes));
                stream.header().map_or(Ok(()), |next| answer.header(next).map(drop))?;
                return answer.end(body).map(Some);
            }
        }
    }
}

/// Reads an answer whose range has chunks with so many bytes of outputs.
pub(crate) fn read_outputs(output_bytes: &[u64], bytes: &[u8]) -> Read<OutputsRead> {
    let mut stream = Stream(bytes);
    let frame = match OutputsAnswer::start(take!(stream.header()))? {
        OutputsStart::Range(frame) => frame,
        OutputsStart::End { body_bytes } => {
            let refusal = Some(OutputsAnswer::refusal(take!(stream.body(body_bytes)))?);
            return Ok(Some(OutputsRead { range: None, outputs: Vec::new(), refusal }));
        }
    };
    let range = Some(take!(stream.body(frame.body_bytes())).to_vec());
    let mut answer = frame.verified(output_bytes.to_vec());
    let mut outputs = Vec::new();
    loop {
        match answer.header(take!(stream.header()))? {
            OutputsNext::Outputs { chunk, body_bytes } => {
                assert_eq!(chunk, outputs.len());
                outputs.push(take!(stream.body(body_bytes)).to_vec());
            }
            OutputsNext::End { body_bytes } => {
                let body = take!(stream.body(body_bytes));
                stream.header().map_or(Ok(()), |next| answer.header(next).map(drop))?;
                let refusal = match answer.end(body)? {
                    OutputsEnd::Sent => None,
                    OutputsEnd::Refused(refusal) => Some(refusal),
                };
                return Ok(Some(OutputsRead { range, outputs, refusal }));
            }
        }
    }
}
