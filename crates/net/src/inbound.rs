//! Questions of peers: admitted, read, decoded, and handed to the driver.

use std::sync::Arc;

use ketch_types::PeerId;
use ketch_wire::{
    End, OutlineRequest, OutputsRequest, PartsEnd, PartsRequest, Refusal, Request, Response,
    WireFault, control_response, stream_request_bytes,
};
use libp2p::Stream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc};

use crate::error::{AnswerError, AnswerFault, SendError};
use crate::event::{NetworkEvent, Question};
use crate::limits::ANSWERS_RETRY_AFTER;
use crate::protocol::Protocol;
use crate::reader::{Line, Reader};
use crate::writer::{AnswerWriter, ControlReply, Slots, within_stall, write};

const BUSY: Refusal = Refusal::Busy { retry_after: ANSWERS_RETRY_AFTER };

/// A stream that a connected peer opened, and all that its question needs.
pub(crate) struct Inbound {
    pub(crate) peer: PeerId,
    pub(crate) protocol: Protocol,
    pub(crate) line: Arc<Line>,
    pub(crate) events: mpsc::Sender<NetworkEvent>,
}

/// Room for an answer among all and among the peer's own, if there is any.
pub(crate) fn slots(all: &Arc<Semaphore>, of_peer: &Arc<Semaphore>) -> Option<Slots> {
    let of_peer = Arc::clone(of_peer).try_acquire_owned().ok()?;
    Some(vec![of_peer, Arc::clone(all).try_acquire_owned().ok()?])
}

impl Inbound {
    /// Answers the stream's question, or hands it to the driver: how the peer breaks the protocol, if
    /// it does. Without slots it is told to come again, before anything is read.
    pub(crate) async fn receive(self, stream: Stream, slots: Option<Slots>) -> Option<WireFault> {
        let Some(slots) = slots else {
            metrics::counter!("ketch_net_refused_streams_count").increment(1);
            self.refuse(stream, BUSY).await;
            return None;
        };
        let mut reader = Reader::of_request(stream, Arc::clone(&self.line), self.protocol);
        let message = match read(&mut reader).await {
            Ok(message) => message,
            Err(AnswerError::Fault(AnswerFault::Message(fault))) => return Some(fault),
            // It went away, or is silent: no fault.
            Err(_) => return None,
        };
        let stream = reader.into_stream();
        match self.question(&message) {
            Ok(Asked::Control(Request::Unknown)) => {
                self.refuse(stream, Refusal::Unsupported).await;
            }
            Ok(asked) => self.ask(asked, stream, slots).await,
            Err(WireFault::Rule(_)) => self.refuse(stream, Refusal::Invalid).await,
            Err(fault) => return Some(fault),
        }
        None
    }

    fn question(&self, message: &[u8]) -> Result<Asked, WireFault> {
        Ok(match self.protocol {
            Protocol::Control => Asked::Control(Request::decode(message)?),
            Protocol::Outline => Asked::Outline(OutlineRequest::decode(message)?),
            Protocol::Parts => Asked::Parts(PartsRequest::decode(message)?),
            Protocol::Outputs => Asked::Outputs(OutputsRequest::decode(message)?),
        })
    }

    async fn ask(self, asked: Asked, stream: Stream, slots: Slots) {
        // Room first: the stream is still needed where there is none.
        let room = match self.events.clone().try_reserve_owned() {
            Ok(room) => room,
            Err(TrySendError::Full(_)) => return self.refuse(stream, BUSY).await,
            Err(TrySendError::Closed(_)) => return,
        };
        let writer = AnswerWriter::new(stream, Arc::clone(&self.line), self.protocol, slots);
        let question = match asked {
            Asked::Control(request) => Question::Control(request, ControlReply::new(writer)),
            Asked::Outline(request) => Question::Outline(request, writer),
            Asked::Parts(request) => Question::Parts(request, writer),
            Asked::Outputs(request) => Question::Outputs(request, writer),
        };
        room.send(NetworkEvent::Asked { peer: self.peer, question });
    }

    /// Writes a refusal in the protocol's own form; whether it arrives is the peer's affair.
    async fn refuse(&self, mut stream: Stream, refusal: Refusal) {
        let _ = self.send_refusal(&mut stream, refusal).await;
    }

    async fn send_refusal(&self, stream: &mut Stream, refusal: Refusal) -> Result<(), SendError> {
        let answer = match self.protocol {
            Protocol::Control => control_response(&Response::Refusal(refusal).encode()?)?,
            Protocol::Parts => PartsEnd::Refused { refusal, held: None }.frame(),
            Protocol::Outline | Protocol::Outputs => End { refusal: Some(refusal) }.frame(),
        };
        write(stream, &answer, &self.line).await?;
        within_stall(&self.line, futures::AsyncWriteExt::close(stream)).await
    }
}

/// A decoded request.
enum Asked {
    Control(Request),
    Outline(OutlineRequest),
    Parts(PartsRequest),
    Outputs(OutputsRequest),
}

async fn read(reader: &mut Reader) -> Result<Vec<u8>, AnswerError> {
    let bytes = stream_request_bytes(reader.exact().await?)?;
    reader.message(bytes).await
}
