use ketch_types::PeerId;
use ketch_wire::{
    Announcement, Head, OutlineRequest, OutputsRequest, PartsRequest, Request, WireFault,
};

use crate::writer::{AnswerWriter, ControlReply};

/// What happens on the network, for the driver.
pub enum NetworkEvent {
    /// A peer can be asked.
    Connected(PeerId),
    /// A peer can no longer be asked: its last connection is closed.
    Disconnected(PeerId),
    /// A connected peer asks for something. The driver may learn of it after the peer's
    /// disconnection; then nobody waits for an answer.
    Asked {
        /// Who asks.
        peer: PeerId,
        /// What it asks for, and where the answer goes.
        question: Question,
    },
    /// A head was gossiped. It is passed on once it is judged as accepted.
    HeadGossiped {
        /// The head, of which nothing is checked.
        head: Head,
        /// For [`judge`](crate::Network::judge).
        delivery: Delivery,
    },
    /// Held parts were announced, on the topic of their shard, neither expired nor expiring too far
    /// ahead. It is passed on once it is judged as accepted.
    Announced {
        /// Who signed it.
        author: PeerId,
        /// What it says.
        announcement: Announcement,
        /// For [`judge`](crate::Network::judge).
        delivery: Delivery,
    },
    /// A peer broke the protocol on its own account, and is banned for it.
    Misbehaved {
        /// The peer.
        peer: PeerId,
        /// What it did.
        fault: PeerFault,
    },
}

/// What a peer asks for, and where the answer goes. Dropping it cuts the answer off.
pub enum Question {
    /// A control request.
    Control(Request, ControlReply),
    /// An outline.
    Outline(OutlineRequest, AnswerWriter),
    /// Parts.
    Parts(PartsRequest, AnswerWriter),
    /// Outputs.
    Outputs(OutputsRequest, AnswerWriter),
}

/// How a peer breaks the protocol on its own account; what is wrong with its answers is seen by
/// whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerFault {
    /// A request that cannot be decoded.
    Request(WireFault),
    /// A gossip message that nobody passes on, whoever wrote it.
    Gossip,
}

/// A gossip message that waits for its judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub(crate) message: libp2p::gossipsub::MessageId,
    pub(crate) from: libp2p::PeerId,
}

/// What becomes of a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is passed on.
    Accept,
    /// It is not passed on, without any consequence.
    Ignore,
    /// Nobody passes it on: whoever delivered it is banned.
    Reject,
}
