use std::sync::Arc;

use futures::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use ketch_wire::{Refusal, Response, control_response};
use libp2p::Stream;
use metrics::Counter;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::error::SendError;
use crate::limits::SLICE_BYTES;
use crate::protocol::Protocol;
use crate::reader::Line;

/// The writing end of a stream: waits for its reader only so long, and keeps to the upload limit.
///
/// What is written is sent at the latest by [`finish`](Self::finish). Dropping it before cuts the
/// answer off.
pub struct AnswerWriter {
    stream: Stream,
    line: Arc<Line>,
    protocol: Protocol,
    sent: Counter,
    /// Room among the answers that are given at once.
    _slots: Slots,
}

/// Room for one answer among all, and among those of one peer.
pub(crate) type Slots = Vec<OwnedSemaphorePermit>;

impl AnswerWriter {
    pub(crate) fn new(stream: Stream, line: Arc<Line>, protocol: Protocol, slots: Slots) -> Self {
        let sent = metrics::counter!("ketch_net_sent_bytes", "protocol" => protocol.label());
        Self { stream, line, protocol, sent, _slots: slots }
    }

    /// Sends frames, or pieces of them.
    ///
    /// *Errors:* [`SendError`], after which the answer is cut off.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        for slice in bytes.chunks(SLICE_BYTES) {
            self.line.rates.sending(self.protocol, slice.len()).await;
            let written = write(&mut self.stream, slice, &self.line).await?;
            self.sent.increment(written);
        }
        Ok(())
    }

    /// Waits until the reader wants no more of the answer, or has gone.
    pub async fn unwanted(&mut self) {
        let mut bytes = [0; 4_096];
        // Nothing follows a request; whatever does is not looked at.
        while matches!(self.stream.read(&mut bytes).await, Ok(1..)) {}
    }

    /// Sends what is left, and closes the stream.
    ///
    /// *Errors:* see [`SendError`].
    pub async fn finish(mut self) -> Result<(), SendError> {
        within_stall(&self.line, self.stream.close()).await
    }
}

/// The answer to a control request.
pub struct ControlReply(AnswerWriter);

impl ControlReply {
    pub(crate) fn new(writer: AnswerWriter) -> Self {
        Self(writer)
    }

    /// Sends the response.
    ///
    /// *Errors:* see [`SendError`].
    pub async fn send(mut self, response: &Response) -> Result<(), SendError> {
        self.0.send(&control_response(&response.encode()?)?).await?;
        self.0.finish().await
    }

    /// Refuses the request.
    ///
    /// *Errors:* see [`SendError`].
    pub async fn refuse(self, refusal: Refusal) -> Result<(), SendError> {
        self.send(&Response::Refusal(refusal)).await
    }
}

/// Writes all of `bytes`; how many they are.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    line: &Line,
) -> Result<u64, SendError> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = within_stall(line, stream.write(rest)).await?;
        if written == 0 {
            return Err(SendError::Closed);
        }
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(bytes.len() as u64)
}

pub(crate) async fn within_stall<T>(
    line: &Line,
    io: impl Future<Output = std::io::Result<T>>,
) -> Result<T, SendError> {
    match timeout(line.timeouts.stall, io).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(SendError::Closed),
        Err(_) => Err(SendError::Stalled),
    }
}
