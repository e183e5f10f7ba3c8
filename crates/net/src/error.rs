use std::io;

use ketch_wire::{FrameFault, TooLong, WireFault};
use thiserror::Error;

use crate::streams::OpenError;

/// Why there is no answer, or no more of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// There is no connection to the peer.
    #[error("the peer is not connected")]
    NotConnected,
    /// The peer does not speak the protocol.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// Nothing came, or nothing was taken, for too long.
    #[error("the peer is silent")]
    TimedOut,
    /// The stream or the connection was closed before the answer's end.
    #[error("the stream was closed before its end")]
    Closed,
    /// What came breaks the protocol.
    #[error(transparent)]
    Fault(#[from] AnswerFault),
}

/// What in an answer proves that its sender breaks the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AnswerFault {
    /// A message that cannot be decoded.
    #[error(transparent)]
    Message(#[from] WireFault),
    /// A frame that was not to come.
    #[error(transparent)]
    Frame(#[from] FrameFault),
    /// A response of another kind than was asked for, or with another number of items.
    #[error("the response does not answer the request")]
    OtherResponse,
}

/// Why an answer was not taken by its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// It took nothing for too long.
    #[error("the peer takes nothing")]
    Stalled,
    /// It closed the stream or the connection.
    #[error("the peer closed the stream")]
    Closed,
    /// The answer is longer than the protocol allows: an error of ours.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

/// Why a node does not take part in the network.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address in the configuration is none that libp2p knows.
    #[error("{0} is not an address to listen on or to be reached at")]
    Address(ketch_types::Address),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// What is built in is refused by libp2p: an error of ours.
    #[error("libp2p refuses the setup: {0}")]
    Setup(String),
}

impl From<OpenError> for AnswerError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotConnected => AnswerError::NotConnected,
            OpenError::Unsupported => AnswerError::Unsupported,
            OpenError::TimedOut => AnswerError::TimedOut,
            OpenError::Closed => AnswerError::Closed,
        }
    }
}

impl From<WireFault> for AnswerError {
    fn from(fault: WireFault) -> Self {
        AnswerFault::Message(fault).into()
    }
}

impl From<TooLong> for AnswerError {
    fn from(too_long: TooLong) -> Self {
        WireFault::TooLong(too_long).into()
    }
}

impl From<FrameFault> for AnswerError {
    fn from(fault: FrameFault) -> Self {
        AnswerFault::Frame(fault).into()
    }
}
