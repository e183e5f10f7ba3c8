use ketch_wire::{OutlineAnswer, OutlineEnd, OutlineNext};

use crate::error::AnswerError;
use crate::reader::Reader;

/// A peer's answer to a request for an outline, each record of which is checked as it comes.
pub struct OutlineStream {
    reader: Reader,
    /// None once the end has come.
    answer: Option<OutlineAnswer>,
}

impl OutlineStream {
    pub(crate) fn new(reader: Reader, answer: OutlineAnswer) -> Self {
        Self { reader, answer: Some(answer) }
    }

    /// Reads the next frame: what the answer came to, if that was the end.
    ///
    /// *Errors:* see [`AnswerError`]; after one, and after the end, the stream is of no use.
    pub async fn next(&mut self) -> Result<Option<OutlineEnd>, AnswerError> {
        let header = self.reader.exact().await?;
        let answer = self.answer.as_mut().ok_or(AnswerError::Closed)?;
        match answer.header(header)? {
            OutlineNext::Outline { body_bytes } => {
                answer.push(&self.reader.message(body_bytes).await?)?;
                Ok(None)
            }
            OutlineNext::End { body_bytes } => {
                let body = self.reader.message(body_bytes).await?;
                let answer = self.answer.take().ok_or(AnswerError::Closed)?;
                Ok(Some(answer.end(&body)?))
            }
        }
    }
}
