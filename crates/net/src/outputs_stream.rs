use ketch_wire::{OutputsAnswer, OutputsEnd, OutputsNext, OutputsStart, RangeFrame, Refusal};

use crate::error::AnswerError;
use crate::reader::{Body, Reader};

/// How a peer's answer to a request for outputs begins.
pub enum OutputsOpening {
    /// With a range, to be verified before anything that follows it.
    Range(RangeStream),
    /// There is none.
    Refused(Refusal),
}

/// An answer to a request for outputs whose range is not verified yet.
pub struct RangeStream {
    reader: Reader,
    frame: RangeFrame,
    range: Vec<u8>,
}

/// An answer to a request for outputs, after its range.
pub struct OutputsStream {
    reader: Reader,
    /// None once the end has come.
    answer: Option<OutputsAnswer>,
    /// The outputs that are being read, with their chunk's place in the range.
    outputs: Option<(usize, Body)>,
}

/// What an [`OutputsStream`] came to next.
#[derive(Debug, PartialEq, Eq)]
pub enum OutputsStep {
    /// Some bytes of outputs.
    Progress,
    /// The outputs of the chunk at this place in the range; they are not checked yet.
    Outputs(usize, Vec<u8>),
    /// The end.
    End(OutputsEnd),
}

impl OutputsOpening {
    pub(crate) async fn read(mut reader: Reader) -> Result<Self, AnswerError> {
        match OutputsAnswer::start(reader.exact().await?)? {
            OutputsStart::Range(frame) => {
                let range = reader.message(frame.body_bytes()).await?;
                Ok(OutputsOpening::Range(RangeStream { reader, frame, range }))
            }
            OutputsStart::End { body_bytes } => {
                let body = reader.message(body_bytes).await?;
                Ok(OutputsOpening::Refused(OutputsAnswer::refusal(&body)?))
            }
        }
    }
}

impl RangeStream {
    /// The range, encoded.
    pub fn range(&self) -> &[u8] {
        &self.range
    }

    /// The outputs that follow the range, now that it is verified: `output_bytes` are its headers'
    /// *bytes of outputs*, in order.
    pub fn verified(self, output_bytes: Vec<u64>) -> OutputsStream {
        let answer = Some(self.frame.verified(output_bytes));
        OutputsStream { reader: self.reader, answer, outputs: None }
    }
}

impl OutputsStream {
    /// Reads on.
    ///
    /// *Errors:* see [`AnswerError`]; after one, and after the end, the stream is of no use.
    pub async fn next(&mut self) -> Result<OutputsStep, AnswerError> {
        if let Some((chunk, mut body)) = self.outputs.take() {
            if self.reader.body(&mut body).await? {
                return Ok(OutputsStep::Outputs(chunk, body.taken()));
            }
            self.outputs = Some((chunk, body));
            return Ok(OutputsStep::Progress);
        }
        let header = self.reader.exact().await?;
        let answer = self.answer.as_mut().ok_or(AnswerError::Closed)?;
        match answer.header(header)? {
            OutputsNext::Outputs { chunk, body_bytes } => {
                self.outputs = Some((chunk, Body::of(body_bytes)));
                Ok(OutputsStep::Progress)
            }
            OutputsNext::End { body_bytes } => {
                let body = self.reader.message(body_bytes).await?;
                let answer = self.answer.take().ok_or(AnswerError::Closed)?;
                Ok(OutputsStep::End(answer.end(&body)?))
            }
        }
    }
}
