//! Peers, over libp2p: finding them, telling them, asking and answering them, banning them.
//!
//! [`Network`] is a handle to one task that owns a swarm: TCP with noise and yamux, QUIC beside it, a
//! Kademlia of the chain's own, gossip, and four protocols on streams. What happens comes as
//! [`NetworkEvent`]s, in order: nobody asks before it is connected. A question of a peer comes decoded,
//! with the writer of its answer; an answer of a peer comes frame by frame, each checked against what
//! was asked.
//!
//! What is *not* here: any trust. Ledger objects are opaque, gossip is judged by the driver, and a
//! part's content is checked by whoever asked for it. Nor is any decision: whom to ask, and what to
//! answer, is the coordinator's.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod actor;
mod bans;
mod behaviour;
mod config;
mod contact;
mod contacts;
mod dht;
mod error;
mod event;
mod gossip;
mod inbound;
mod limits;
mod listen;
mod network;
mod node_key;
mod outline_stream;
mod outputs_stream;
mod parts_stream;
mod pending_limits;
mod prefix_limits;
mod protocol;
mod provider_store;
mod quic;
mod rates;
mod reader;
mod search;
mod streams;
mod writer;

pub use config::{NetworkConfig, Timeouts};
pub use contact::{Contact, ContactError, address_text, parse_address, peer_text};
pub use error::{AnswerError, AnswerFault, SendError, StartError};
pub use event::{Delivery, Judgement, NetworkEvent, PeerFault, Question};
pub use network::{Network, NetworkEvents};
pub use node_key::{NodeKey, NodeKeyError};
pub use outline_stream::OutlineStream;
pub use outputs_stream::{OutputsOpening, OutputsStep, OutputsStream, RangeStream};
pub use parts_stream::{PartsStep, PartsStream};
pub use writer::{AnswerWriter, ControlReply};
