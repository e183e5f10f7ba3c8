use std::sync::Arc;

use ketch_coordinator::{Query, RequestId};
use ketch_trie::{COMMIT_BYTES, PackedPart, Writes};
use ketch_types::{Height, PartIndex, PartSet};
use ketch_wire::{Holding, Refusal, Summary};

/// What one node sends to another.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// Opens a request of the sender.
    Ask { request: RequestId, query: Query },
    /// Closes a request of the sender.
    Cancel { request: RequestId },
    /// Answers; the request is the receiver's.
    Answer { request: RequestId, answer: Answer },
    /// Gossip.
    Announce(Holding),
}

/// Some of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Summary(Summary),
    Outline {
        opening: [u8; COMMIT_BYTES],
        records: Vec<u8>,
    },
    Part {
        index: PartIndex,
        packed: Arc<PackedPart>,
    },
    /// Some bytes of a part that is on its way.
    Flow {
        index: PartIndex,
        /// *Units:* bytes, packed.
        bytes: u64,
        /// The whole part. *Units:* bytes, packed.
        of: u64,
    },
    /// Every chunk above what was asked, up to a height.
    Outputs {
        through: Height,
        chunks: Vec<(Height, Arc<Writes>)>,
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
    /// How long it is on the line. *Units:* bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let length = match self {
            Answer::Outline { records, .. } => records.len(),
            Answer::Part { packed, .. } => packed.bytes.len(),
            Answer::Outputs { chunks, .. } => chunks.iter().map(|(_, w)| writes_bytes(w)).sum(),
            Answer::Summary(_) | Answer::End { .. } | Answer::Garbage | Answer::Flow { .. } => 0,
        };
        64 + length as u64
    }
}

pub(crate) fn writes_bytes(writes: &Writes) -> usize {
    writes.iter().map(|(key, value)| 12 + key.len() + value.map_or(0, <[u8]>::len)).sum()
}
