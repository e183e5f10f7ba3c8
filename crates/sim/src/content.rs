//! What states, parts and chunks are made of: real tries, or stand-ins of which only sizes matter.
//!
//! A stand-in's part is one number that stands for its content: two parts are the same exactly if
//! their numbers are. Everything that is decided of real bytes is decided of numbers in the same way,
//! so a false part is refused, a part that did not change is kept, and a state is true or not.

use std::sync::Arc;

use ketch_coordinator::PartSizes;
use ketch_trie::{
    COMMIT_BYTES, Entries as Coding, Manifest, OutlineChecker, PackedPart, Packing, VerifiedPart,
    Writes,
};
use ketch_types::{Chance, KeyRange, PartIndex, StateRoot, mix};

use crate::tries::{Entries, payload_of};

/// One shard's state at an epoch's start.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) sizes: PartSizes,
    pub(crate) body: Body,
}

/// What a state is made of.
#[derive(Debug)]
pub(crate) enum Body {
    Trie { entries: Entries, manifest: Manifest },
    StandIn { parts: Vec<u64>, packed_per_mille: u64 },
}

/// A part as it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    Packed(Arc<PackedPart>),
    StandIn {
        content: u64,
        /// *Units:* bytes, packed.
        bytes: u64,
    },
}

/// A part that arrived and waits to be applied.
#[derive(Clone, Debug)]
pub(crate) enum Arrived {
    Trie { range: KeyRange, entries: Entries },
    StandIn { content: u64, bytes: u64 },
}

/// An outline as it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Outline {
    Trie { opening: [u8; COMMIT_BYTES], records: Vec<u8> },
    StandIn { is_true: bool, bytes: u64 },
}

/// What one chunk writes.
#[derive(Clone, Debug)]
pub(crate) enum Chunk {
    Writes(Arc<Writes>),
    StandIn {
        content: u64,
        /// *Units:* bytes.
        bytes: u64,
    },
}

impl Start {
    pub(crate) fn root(&self) -> StateRoot {
        self.sizes.root()
    }

    /// A number that stands for a part's content, the same in every state that holds it.
    pub(crate) fn content(&self, part: PartIndex) -> Option<u64> {
        match &self.body {
            Body::Trie { manifest, .. } => {
                let hash = manifest.part(part)?.hash();
                let first = hash.as_bytes().first_chunk()?;
                Some(u64::from_le_bytes(*first))
            }
            Body::StandIn { parts, .. } => parts.get(part.0 as usize).copied(),
        }
    }

    /// A part as it is sent.
    pub(crate) fn parcel(&self, part: PartIndex) -> Option<Parcel> {
        match &self.body {
            Body::Trie { entries, manifest } => {
                let payload = payload_of(entries, manifest, part);
                Some(Parcel::Packed(Arc::new(PackedPart::pack(&payload))))
            }
            Body::StandIn { .. } => self.stand_in(part, self.content(part)?),
        }
    }

    /// A part with any content, in the size that this one has.
    pub(crate) fn stand_in(&self, part: PartIndex, content: u64) -> Option<Parcel> {
        let Body::StandIn { packed_per_mille, .. } = &self.body else { return None };
        Some(Parcel::StandIn { content, bytes: self.sizes.bytes(part) * packed_per_mille / 1_000 })
    }

    /// The outline as it is sent.
    pub(crate) fn outline(&self) -> Outline {
        match &self.body {
            Body::Trie { manifest, .. } => {
                let outline = manifest.outline();
                Outline::Trie { opening: outline.opening(), records: outline.records().to_vec() }
            }
            Body::StandIn { parts, .. } => {
                Outline::StandIn { is_true: true, bytes: 96 * parts.len() as u64 }
            }
        }
    }

    /// Whether an outline that came is this state's.
    pub(crate) fn is_outlined_by(&self, outline: &Outline) -> bool {
        match (outline, &self.body) {
            (Outline::Trie { opening, records }, Body::Trie { .. }) => {
                let check = || {
                    let (root, cut) = (self.sizes.root(), self.sizes.cut());
                    let mut checker = OutlineChecker::new(&root, cut, opening).ok()?;
                    checker.push(records).ok()?;
                    Manifest::new(checker.finish().ok()?).ok()
                };
                check().is_some()
            }
            (Outline::StandIn { is_true, .. }, Body::StandIn { .. }) => *is_true,
            _ => false,
        }
    }

    /// A part that came, if it is the one that it should be.
    pub(crate) fn verify(&self, part: PartIndex, parcel: &Parcel) -> Option<Arrived> {
        match (parcel, &self.body) {
            (Parcel::Packed(packed), Body::Trie { manifest, .. }) => {
                let bytes = usize::try_from(manifest.part(part)?.bytes()).ok()?;
                let verified = manifest.verify(part, packed.unpack(bytes).ok()?).ok()?;
                Some(Arrived::of(&verified))
            }
            (Parcel::StandIn { content, .. }, Body::StandIn { .. }) => {
                self.content(part).filter(|truth| truth == content)?;
                self.believe(part, parcel)
            }
            _ => None,
        }
    }

    /// Whether a part that arrived is in truth this state's.
    pub(crate) fn is_part(&self, part: PartIndex, arrived: &Arrived) -> bool {
        match (arrived, &self.body) {
            (Arrived::Trie { range, entries }, Body::Trie { entries: truth, .. }) => {
                let truth = truth.range(range.low.clone()..);
                let truth = truth.take_while(|(key, _)| range.contains(key));
                truth.eq(entries.iter())
            }
            (Arrived::StandIn { content, .. }, Body::StandIn { .. }) => {
                self.content(part) == Some(*content)
            }
            _ => false,
        }
    }

    /// What a driver that verifies nothing takes for the part: whatever can be read.
    pub(crate) fn believe(&self, part: PartIndex, parcel: &Parcel) -> Option<Arrived> {
        match (parcel, &self.body) {
            (Parcel::Packed(packed), Body::Trie { manifest, .. }) => {
                let bytes = usize::try_from(manifest.part(part)?.bytes()).ok()?;
                let payload = packed.unpack(bytes).unwrap_or_else(|_| packed.bytes.clone());
                let entries = Coding::new(&payload).map_while(Result::ok);
                let entries = entries.map(|entry| (entry.key.to_vec(), entry.value.to_vec()));
                let range = manifest.part_range(part)?;
                Some(Arrived::Trie { range, entries: entries.collect() })
            }
            (Parcel::StandIn { content, .. }, Body::StandIn { .. }) => {
                let bytes = self.sizes.bytes(part);
                Some(Arrived::StandIn { content: *content, bytes })
            }
            _ => None,
        }
    }
}

impl Parcel {
    /// *Units:* bytes, packed.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Parcel::Packed(packed) => packed.bytes.len() as u64,
            Parcel::StandIn { bytes, .. } => *bytes,
        }
    }

    /// A part that is something else in the same size.
    pub(crate) fn junk(&self, chance: &mut Chance) -> Parcel {
        match self {
            Parcel::Packed(packed) => raw(chance.bytes(packed.bytes.len())),
            Parcel::StandIn { bytes, .. } => {
                Parcel::StandIn { content: chance.draw(), bytes: *bytes }
            }
        }
    }

    /// A part of which one bit is another.
    pub(crate) fn flipped(&self, payload_bytes: u64, chance: &mut Chance) -> Parcel {
        self.changed(payload_bytes, |payload| flip(payload, chance))
    }

    /// A part without its second half.
    pub(crate) fn truncated(&self, payload_bytes: u64) -> Parcel {
        match self {
            Parcel::Packed(packed) => {
                let length = usize::try_from(payload_bytes).unwrap_or(0);
                let mut payload = packed.unpack(length).unwrap_or_default();
                payload.truncate(payload.len() / 2);
                raw(payload)
            }
            Parcel::StandIn { content, bytes } => {
                Parcel::StandIn { content: mix(*content), bytes: bytes / 2 }
            }
        }
    }

    /// A part with bytes behind its end.
    pub(crate) fn oversized(&self, payload_bytes: u64) -> Parcel {
        self.changed(payload_bytes, |payload| payload.extend([0; 16]))
    }

    fn changed(&self, payload_bytes: u64, change: impl FnOnce(&mut Vec<u8>)) -> Parcel {
        match self {
            Parcel::Packed(packed) => {
                let length = usize::try_from(payload_bytes).unwrap_or(0);
                let mut payload = packed.unpack(length).unwrap_or_default();
                change(&mut payload);
                Parcel::Packed(Arc::new(PackedPart::pack(&payload)))
            }
            Parcel::StandIn { content, bytes } => {
                Parcel::StandIn { content: mix(*content), bytes: *bytes }
            }
        }
    }
}

impl Arrived {
    pub(crate) fn of(part: &VerifiedPart) -> Self {
        let entries = part.entries().map(|entry| (entry.key.to_vec(), entry.value.to_vec()));
        Self::Trie { range: part.range().clone(), entries: entries.collect() }
    }

    /// What is written when it is applied. *Units:* bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Arrived::Trie { entries, .. } => {
                entries.iter().map(|(key, value)| 6 + key.len() as u64 + value.len() as u64).sum()
            }
            Arrived::StandIn { bytes, .. } => *bytes,
        }
    }
}

impl Outline {
    /// *Units:* bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Outline::Trie { records, .. } => records.len() as u64,
            Outline::StandIn { bytes, .. } => *bytes,
        }
    }

    /// An outline of which one bit is another.
    pub(crate) fn flipped(mut self, chance: &mut Chance) -> Outline {
        match &mut self {
            Outline::Trie { records, .. } => flip(records, chance),
            Outline::StandIn { is_true, .. } => *is_true = false,
        }
        self
    }

    /// An outline without its last byte.
    pub(crate) fn cut(mut self) -> Outline {
        match &mut self {
            Outline::Trie { records, .. } => records.truncate(records.len().saturating_sub(1)),
            Outline::StandIn { is_true, .. } => *is_true = false,
        }
        self
    }

    /// An outline that goes on for another `more` bytes.
    pub(crate) fn endless(mut self, more: usize, chance: &mut Chance) -> Outline {
        match &mut self {
            Outline::Trie { records, .. } => records.extend(chance.bytes(more)),
            Outline::StandIn { is_true, bytes } => {
                (*is_true, *bytes) = (false, *bytes + more as u64);
            }
        }
        self
    }
}

impl Chunk {
    /// *Units:* bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Chunk::Writes(writes) => {
                let bytes = |(key, value): (&[u8], Option<&[u8]>)| {
                    12 + key.len() as u64 + value.map_or(0, |value| value.len() as u64)
                };
                writes.iter().map(bytes).sum()
            }
            Chunk::StandIn { bytes, .. } => *bytes,
        }
    }

    pub(crate) fn is_same(&self, other: &Chunk) -> bool {
        match (self, other) {
            (Chunk::Writes(a), Chunk::Writes(b)) => Arc::ptr_eq(a, b) || a == b,
            (Chunk::StandIn { content: a, .. }, Chunk::StandIn { content: b, .. }) => a == b,
            _ => false,
        }
    }

    /// A chunk that writes nothing.
    pub(crate) fn without_writes(&self) -> Chunk {
        match self {
            Chunk::Writes(_) => Chunk::Writes(Arc::new(Writes::default())),
            Chunk::StandIn { .. } => self.falsified(),
        }
    }

    /// A chunk that writes something else.
    pub(crate) fn falsified(&self) -> Chunk {
        match self {
            Chunk::Writes(writes) => {
                let mut writes = Writes::clone(writes);
                let _ = writes.put(b"a key that the chunk never wrote", b"");
                Chunk::Writes(Arc::new(writes))
            }
            Chunk::StandIn { content, bytes } => {
                Chunk::StandIn { content: mix(*content), bytes: *bytes }
            }
        }
    }
}

fn raw(bytes: Vec<u8>) -> Parcel {
    Parcel::Packed(Arc::new(PackedPart { packing: Packing::Raw, bytes }))
}

fn flip(bytes: &mut [u8], chance: &mut Chance) {
    let bit = chance.below((bytes.len() * 8).max(1));
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}
