use std::convert::Infallible;

use ketch_types::{KeyRange, NodeHash, PartHash, PartIndex, StateRoot};
use thiserror::Error;

use crate::entry::{Entries, Entry, EntryError};
use crate::manifest::{Manifest, Part};
use crate::node::{Children, Commit, bucket_hash};
use crate::node_builder::NodeBuilder;
use crate::open_bytes::{Bucket, OpenBytes};
use crate::prefix::Prefix;

/// A part whose payload is what its manifest commits to.
///
/// *Shape:* the payload, and the inner nodes below the part's own nodes in the order of prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPart {
    root: StateRoot,
    index: PartIndex,
    hash: PartHash,
    range: KeyRange,
    payload: Vec<u8>,
    nodes: Vec<(Prefix, Children)>,
}

/// Why a payload is refused: proof that its sender lies, or that the disk it was read from does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PartFault {
    /// The manifest has no such part.
    #[error("the manifest has no part {0}")]
    Index(PartIndex),
    /// The payload does not have the part's size.
    #[error("the payload has {got} bytes, the part {expected}")]
    Bytes {
        /// The part's size.
        expected: u64,
        /// The payload's size.
        got: u64,
    },
    /// The payload is not a run of entries.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The payload does not have as many entries as the part.
    #[error("the payload does not have the part's {0} entries")]
    Count(u64),
    /// A key is not above the one before it.
    #[error("a key is not above the one before it")]
    Order,
    /// A key lies outside the part's range.
    #[error("a key lies outside the part's range")]
    Range,
    /// The entries do not make the nodes that the manifest names.
    #[error("the entries do not have the hash that the manifest names")]
    Hash,
}

impl VerifiedPart {
    /// The root of the state that the part is of.
    pub fn root(&self) -> StateRoot {
        self.root
    }

    /// The part's place in its manifest.
    pub fn index(&self) -> PartIndex {
        self.index
    }

    /// The part's name by its content.
    pub fn hash(&self) -> PartHash {
        self.hash
    }

    /// The keys that the part owns.
    pub fn range(&self) -> &KeyRange {
        &self.range
    }

    /// The encodings of the part's entries, in key order.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The part's entries, in key order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        // The payload was parsed to the end when it was verified.
        Entries::new(&self.payload).map_while(Result::ok)
    }

    /// The inner nodes inside the part, in the order of prefixes.
    pub fn nodes(&self) -> &[(Prefix, Children)] {
        &self.nodes
    }
}

impl Manifest {
    /// Checks a part's payload against the manifest.
    ///
    /// *Errors:* see [`PartFault`].
    pub fn verify(&self, index: PartIndex, payload: Vec<u8>) -> Result<VerifiedPart, PartFault> {
        let part = self.part(index).ok_or(PartFault::Index(index))?;
        let range = self.part_range(index).ok_or(PartFault::Index(index))?;
        let nodes = check_payload(part, &range, self.nodes_of(part), &payload)?;
        Ok(VerifiedPart { root: self.root(), index, hash: part.hash(), range, payload, nodes })
    }
}

/// The inner nodes that a payload makes, if it is the part's.
fn check_payload(
    part: &Part,
    range: &KeyRange,
    expected: &[Commit],
    payload: &[u8],
) -> Result<Vec<(Prefix, Children)>, PartFault> {
    if payload.len() as u64 != part.bytes() {
        return Err(PartFault::Bytes { expected: part.bytes(), got: payload.len() as u64 });
    }
    let mut nodes = Vec::new();
    let mut sink = |prefix, children| nodes.push((prefix, children));
    let mut builder = NodeBuilder::new(PayloadBytes { payload, closed: 0 });
    let mut entries = Entries::new(payload);
    let mut above: Option<&[u8]> = None;
    for node in expected {
        for at in 0..node.entries {
            let entry = entries.next().ok_or(PartFault::Count(part.entries()))??;
            // Keys rise, so within the range are all if the first and the last are.
            if above.is_none() && !range.contains(entry.key) {
                return Err(PartFault::Range);
            }
            if at == 0 && above.is_some_and(|above| entry.key <= above) {
                return Err(PartFault::Order);
            }
            let common_bits = builder.rise_to(entry.key).ok_or(PartFault::Order)?;
            let Ok(()) = builder.entry(&entry, common_bits, &mut sink);
            above = Some(entry.key);
        }
        let Ok(built) = builder.finish(&mut sink);
        if built.as_ref() != Some(node) {
            return Err(PartFault::Hash);
        }
    }
    if entries.next().is_some() {
        return Err(PartFault::Count(part.entries()));
    }
    if above.is_some_and(|last| !range.contains(last)) {
        return Err(PartFault::Range);
    }
    nodes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Ok(nodes)
}

/// Open bytes that lie in a payload already: buckets are slices of it.
struct PayloadBytes<'a> {
    payload: &'a [u8],
    closed: usize,
}

impl OpenBytes for PayloadBytes<'_> {
    type Error = Infallible;

    fn append(&mut self, _: &Entry<'_>) {}

    fn close(&mut self, bytes: usize) -> NodeHash {
        let end = self.closed + bytes;
        let hash = bucket_hash(self.payload.get(self.closed..end).unwrap_or_default());
        self.closed = end;
        hash
    }

    /// Never called: a payload holds entries alone.
    fn reopen(&mut self, _: &Bucket, _: usize) -> Result<(), Infallible> {
        Ok(())
    }
}
