use ketch_coordinator::{Peer, Query, RequestId};
use ketch_types::{Height, PartIndex, PartSet};
use ketch_wire::{Holding, Refusal, Summary};

use crate::content::{Chunk, Outline, Parcel};

/// What one node sends to another.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// Opens a request of the sender.
    Ask { request: RequestId, query: Query },
    /// Closes a request of the sender.
    Cancel { request: RequestId },
    /// Answers; the request is the receiver's.
    Answer { request: RequestId, answer: Answer },
    /// Gossip, signed by its author, which need not be who hands it on.
    Announce { author: Peer, sequence: u64, holding: Holding },
}

/// Some of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Summary(Summary),
    Outline(Outline),
    Part {
        index: PartIndex,
        parcel: Parcel,
    },
    /// Some bytes of something that is on its way.
    Flow {
        /// The part that it is, if it is one.
        part: Option<PartIndex>,
        /// *Units:* bytes, packed.
        bytes: u64,
        /// The whole of it. *Units:* bytes, packed.
        of: u64,
    },
    /// Every chunk above what was asked, up to a height.
    Outputs {
        through: Height,
        chunks: Vec<(Height, Chunk)>,
    },
    /// Nothing follows.
    End {
        refusal: Option<Refusal>,
        held: Option<PartSet>,
    },
    /// Bytes that are no message.
    Garbage,
}

impl Answer {
    /// How long it is on the line; what takes no room worth speaking of is none. *Units:* bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Answer::Outline(outline) => 64 + outline.bytes(),
            Answer::Part { parcel, .. } => 64 + parcel.bytes(),
            Answer::Outputs { chunks, .. } => {
                64 + chunks.iter().map(|(_, chunk)| chunk.bytes()).sum::<u64>()
            }
            Answer::Summary(_) | Answer::End { .. } | Answer::Garbage | Answer::Flow { .. } => 0,
        }
    }
}
