use std::sync::Arc;

use futures::AsyncReadExt as _;
use libp2p::Stream;
use metrics::Counter;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::config::Timeouts;
use crate::error::AnswerError;
use crate::limits::SLICE_BYTES;
use crate::protocol::Protocol;
use crate::rates::Rates;

/// What all streams share.
pub(crate) struct Line {
    pub(crate) rates: Rates,
    pub(crate) timeouts: Timeouts,
}

/// The reading end of a stream: waits for every byte only so long, and of answers keeps to the
/// download limit.
pub(crate) struct Reader {
    stream: Stream,
    line: Arc<Line>,
    protocol: Protocol,
    received: Counter,
    is_answer: bool,
    begun: bool,
    /// Room among what the peer is asked at once.
    _slot: Option<OwnedSemaphorePermit>,
}

impl Reader {
    /// Reads an answer.
    pub(crate) fn of_answer(
        stream: Stream,
        line: Arc<Line>,
        protocol: Protocol,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let received =
            metrics::counter!("ketch_net_received_bytes", "protocol" => protocol.label());
        Self { stream, line, protocol, received, is_answer: true, begun: false, _slot: slot }
    }

    /// Reads a request, which need not be made first.
    pub(crate) fn of_request(stream: Stream, line: Arc<Line>, protocol: Protocol) -> Self {
        Self { is_answer: false, begun: true, ..Self::of_answer(stream, line, protocol, None) }
    }

    /// Reads so many bytes.
    pub(crate) async fn exact<const N: usize>(&mut self) -> Result<[u8; N], AnswerError> {
        let mut bytes = [0; N];
        let mut rest = &mut bytes[..];
        while !rest.is_empty() {
            let read = self.some(rest).await?;
            rest = rest.get_mut(read..).unwrap_or_default();
        }
        Ok(bytes)
    }

    /// Reads a message of so many bytes, which its length has been checked to be.
    pub(crate) async fn message(&mut self, bytes: usize) -> Result<Vec<u8>, AnswerError> {
        let mut body = Body::of(bytes);
        while !self.body(&mut body).await? {}
        Ok(body.taken())
    }

    /// Reads on in a body; whether it is complete.
    pub(crate) async fn body(&mut self, body: &mut Body) -> Result<bool, AnswerError> {
        if !body.is_complete() {
            let read = self.some(body.rest()).await?;
            body.filled = body.filled.saturating_add(read);
        }
        Ok(body.is_complete())
    }

    /// Reads some bytes, at least one.
    async fn some(&mut self, into: &mut [u8]) -> Result<usize, AnswerError> {
        let longest = into.len().min(SLICE_BYTES);
        let into = into.get_mut(..longest).unwrap_or_default();
        let timeouts = &self.line.timeouts;
        let patience = if self.begun { timeouts.stall } else { timeouts.first_byte };
        let read = match timeout(patience, self.stream.read(into)).await {
            Ok(Ok(read)) if read > 0 => read,
            Ok(_) => return Err(AnswerError::Closed),
            Err(_) => return Err(AnswerError::TimedOut),
        };
        self.begun = true;
        self.received.increment(read as u64);
        if self.is_answer {
            self.line.rates.received(self.protocol, read).await;
        }
        Ok(read)
    }

    /// The stream, for the answer to what was read.
    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }
}

/// A body of a known length that is being read.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    length: usize,
    filled: usize,
}

impl Body {
    /// A body of so many bytes, for which room is made as they come: who announces much and sends
    /// little takes no memory.
    pub(crate) fn of(length: usize) -> Self {
        Self { bytes: Vec::new(), length, filled: 0 }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.filled == self.length
    }

    /// How many bytes of it are here.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// The body, once it is complete.
    pub(crate) fn taken(self) -> Vec<u8> {
        self.bytes
    }

    fn rest(&mut self) -> &mut [u8] {
        if self.filled == self.bytes.len() {
            let grown = self.filled.saturating_mul(2).max(SLICE_BYTES).min(self.length);
            self.bytes.reserve_exact(grown.saturating_sub(self.filled));
            self.bytes.resize(grown, 0);
        }
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }
}
