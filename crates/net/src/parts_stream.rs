use ketch_wire::{PartFrame, PartsAnswer, PartsEnd, PartsNext};

use crate::error::AnswerError;
use crate::reader::{Body, Reader};

/// A peer's answer to a request for parts.
pub struct PartsStream {
    reader: Reader,
    /// None once the end has come.
    answer: Option<PartsAnswer>,
    /// The part that is being read.
    part: Option<(PartFrame, Body)>,
}

/// What a [`PartsStream`] came to next.
#[derive(Debug, PartialEq, Eq)]
pub enum PartsStep {
    /// So many bytes of a part's packed ones are here, none at first.
    Progress(PartFrame, usize),
    /// A part that was asked for, packed; its content is not checked yet.
    Part(PartFrame, Vec<u8>),
    /// The end.
    End(PartsEnd),
}

impl PartsStream {
    pub(crate) fn new(reader: Reader, answer: PartsAnswer) -> Self {
        Self { reader, answer: Some(answer), part: None }
    }

    /// Reads on.
    ///
    /// *Errors:* see [`AnswerError`]; after one, and after the end, the stream is of no use.
    pub async fn next(&mut self) -> Result<PartsStep, AnswerError> {
        if let Some((frame, mut body)) = self.part.take() {
            if self.reader.body(&mut body).await? {
                return Ok(PartsStep::Part(frame, body.taken()));
            }
            let read = body.filled();
            self.part = Some((frame, body));
            return Ok(PartsStep::Progress(frame, read));
        }
        let header = self.reader.exact().await?;
        let answer = self.answer.as_mut().ok_or(AnswerError::Closed)?;
        match answer.header(header)? {
            PartsNext::Part(header) => {
                let index = self.reader.exact().await?;
                let frame = answer.index(header, index)?;
                self.part = Some((frame, Body::of(frame.packed_bytes)));
                Ok(PartsStep::Progress(frame, 0))
            }
            PartsNext::End { body_bytes } => {
                let body = self.reader.message(body_bytes).await?;
                let answer = self.answer.take().ok_or(AnswerError::Closed)?;
                Ok(PartsStep::End(answer.end(&body)?))
            }
        }
    }
}
