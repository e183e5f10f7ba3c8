use std::collections::BTreeMap;

use ketch_types::{KeyRange, NodeHash, StateRoot};
use thiserror::Error;

use crate::descent::Descent;
use crate::entry::ENTRY_BYTES_MIN;
use crate::node::{COMMIT_BYTES, Children, Commit, bit_count, root_of_opening, state_root};
use crate::prefix::{PREFIX_BITS_MAX, Prefix, pack_bits};
use crate::state::{NodeCursor, ReadError, StateReader};

/// The bytes of a record beside its prefix bits: their count, the left commit and the right hash.
const RECORD_FIXED_BYTES: usize = 2 + COMMIT_BYTES + 32;

/// The largest record of an outline. *Units:* bytes.
pub const RECORD_BYTES_MAX: usize = RECORD_FIXED_BYTES + PREFIX_BITS_MAX / 8;

/// The upper part of a state's trie: every node of more than one entry and more than `cut` bytes
/// opened, and the commits of the nodes where that stops, the *frontier*.
///
/// *Shape:* held as the records that are sent, which for a root and a cut are always the same; an
/// outline that exists is verified against its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    cut: u32,
    top: Option<Commit>,
    records: Vec<u8>,
}

/// What a walk of an outline meets, parents before children and left before right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutlineNode<'a> {
    /// A node that the cut opens.
    Opened {
        /// Its whole prefix.
        prefix: &'a Prefix,
        /// Its commit.
        commit: Commit,
        /// Its children.
        children: Children,
    },
    /// A node where the outline stops.
    Frontier {
        /// What is known of its prefix: its parent's, and on which side of it the node lies.
        known: &'a Prefix,
        /// Its commit.
        commit: Commit,
    },
}

/// Why an outline is refused: proof that its sender lies, since each record is checked against
/// what the one above committed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OutlineFault {
    /// The opening does not belong to the root.
    #[error("the opening does not belong to the state root")]
    Opening,
    /// The records end before every node that the cut opens has one.
    #[error("the outline ends too early")]
    Truncated,
    /// Bytes follow the last record.
    #[error("bytes follow the outline's last record")]
    Trailing,
    /// A record's prefix is too short, too long, not made of key bits, or not padded with zeros.
    #[error("a record's prefix is malformed")]
    Prefix,
    /// A record's counts do not add up to its parent's.
    #[error("a record's counts do not add up")]
    Counts,
    /// A record's hash is not the one its parent committed to.
    #[error("a record does not have the hash that its parent commits to")]
    Hash,
}

impl Outline {
    /// The outline of the state with `top`, whose nodes above the cut `node_at` finds by what is
    /// known of their prefix.
    pub(crate) fn trace<E>(
        top: Option<Commit>,
        cut: u32,
        mut node_at: impl FnMut(&Prefix, &Commit) -> Result<(Prefix, Children), E>,
    ) -> Result<Self, E> {
        let mut records = Vec::new();
        let mut descent = Descent::new(top, ());
        while let Some((commit, ())) = descent.next() {
            if !commit.is_opened_at(u64::from(cut)) {
                continue;
            }
            let (prefix, children) = node_at(descent.path(), &commit)?;
            let known_bits = descent.path().bits();
            records.extend_from_slice(&bit_count(prefix.bits()));
            pack_bits(&mut records, prefix.least_key(), known_bits, prefix.bits());
            records.extend_from_slice(&children.left.encode());
            records.extend_from_slice(children.right.hash.as_bytes());
            *descent.path_mut() = prefix;
            descent.open(children, (), ());
        }
        Ok(Self { cut, top, records })
    }

    /// The outline of the state that `reader` reads.
    ///
    /// *Errors:* see [`ReadError`]; every node read is checked against its parent's commit.
    pub fn of_state<R: StateReader>(reader: &R, cut: u32) -> Result<Self, ReadError<R::Error>> {
        let mut cursor = NodeCursor::new(reader);
        Self::trace(reader.top(), cut, |known, commit| cursor.find(known, commit))
    }

    /// The outline of the state with `top`, from its inner nodes, as [`StateBuilder`] hands them out:
    /// at least those of more than `cut` bytes; none if one of these is missing.
    ///
    /// [`StateBuilder`]: crate::StateBuilder
    pub fn of_nodes(
        top: Option<Commit>,
        cut: u32,
        nodes: &BTreeMap<Prefix, Children>,
    ) -> Option<Self> {
        let node_at = |known: &Prefix, _: &Commit| {
            let first = nodes.range(known..).next().filter(|(prefix, _)| known.covers(prefix));
            first.map(|(prefix, children)| (prefix.clone(), *children)).ok_or(())
        };
        Self::trace(top, cut, node_at).ok()
    }

    /// The size down to which nodes are opened. *Units:* bytes.
    pub fn cut(&self) -> u32 {
        self.cut
    }

    /// The root of the state that this outlines.
    pub fn root(&self) -> StateRoot {
        state_root(self.top.as_ref())
    }

    /// The state's top node; none if it has no entries.
    pub fn top(&self) -> Option<Commit> {
        self.top
    }

    /// The commit of the top node, or zeros for the empty state: sent before the records.
    pub fn opening(&self) -> [u8; COMMIT_BYTES] {
        self.top.map_or([0; COMMIT_BYTES], |top| top.encode())
    }

    /// One record for each opened node.
    pub fn records(&self) -> &[u8] {
        &self.records
    }

    /// Walks the outline.
    pub fn walk(&self) -> OutlineWalk<'_> {
        OutlineWalk {
            cut: u64::from(self.cut),
            rest: &self.records,
            descent: Descent::new(self.top, ()),
            inside: None,
        }
    }
}

/// A walk of an outline, parents before children and left before right.
pub struct OutlineWalk<'a> {
    cut: u64,
    rest: &'a [u8],
    descent: Descent<()>,
    /// The children of the node at hand, into which the next step goes.
    inside: Option<Children>,
}

impl OutlineWalk<'_> {
    /// The next node. Not an iterator: its place is lent, so that none is made anew for each.
    #[expect(clippy::should_implement_trait, reason = "the item borrows from the walk")]
    pub fn next(&mut self) -> Option<OutlineNode<'_>> {
        if let Some(children) = self.inside.take() {
            self.descent.open(children, (), ());
        }
        let (commit, ()) = self.descent.next()?;
        if !commit.is_opened_at(self.cut) {
            return Some(OutlineNode::Frontier { known: self.descent.path(), commit });
        }
        // The records were checked when the outline was made, so this never ends the walk early.
        let record = Record::split(self.rest, self.descent.path().bits()).ok()??;
        self.rest = record.rest;
        let children = record.extend_path(self.descent.path_mut(), &commit).ok()?;
        self.inside = Some(children);
        Some(OutlineNode::Opened { prefix: self.descent.path(), commit, children })
    }

    /// The first key of the range that the node at hand owns.
    pub(crate) fn low(&self) -> &[u8] {
        self.descent.low()
    }

    /// The bits of the node that parts the node at hand from all before it; none for the first.
    pub(crate) fn separator(&self) -> Option<usize> {
        self.descent.separator()
    }

    /// The range that the node at hand owns.
    pub(crate) fn range(&self) -> KeyRange {
        self.descent.range()
    }
}

/// Checks an outline from a peer, record by record as the bytes arrive.
///
/// *Shape:* memory is the records that were verified, which a true root bounds, at most two records
/// more, and one item for each level of the path, at most [`PREFIX_BITS_MAX`].
pub struct OutlineChecker {
    outline: Outline,
    descent: Descent<()>,
    /// The node whose record comes next; none when the outline is complete.
    next: Option<Commit>,
    /// How many bytes of the records are checked.
    checked: usize,
}

impl OutlineChecker {
    /// A checker of the outline, at `cut`, of the state with this trusted root.
    ///
    /// *Errors:* [`OutlineFault::Opening`].
    pub fn new(
        root: &StateRoot,
        cut: u32,
        opening: &[u8; COMMIT_BYTES],
    ) -> Result<Self, OutlineFault> {
        if root_of_opening(opening) != *root {
            return Err(OutlineFault::Opening);
        }
        let top = Some(Commit::decode(opening)).filter(|_| *opening != [0; COMMIT_BYTES]);
        if top.is_some_and(|top| top.entries == 0) {
            return Err(OutlineFault::Opening);
        }
        let outline = Outline { cut, top, records: Vec::new() };
        let mut checker = Self { outline, descent: Descent::new(top, ()), next: None, checked: 0 };
        checker.advance();
        Ok(checker)
    }

    /// Takes in the next bytes of the records, however they are split.
    ///
    /// *Errors:* see [`OutlineFault`]; the first one is final.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), OutlineFault> {
        // No more than a record's worth is ever kept of what is not checked yet.
        bytes.chunks(RECORD_BYTES_MAX).try_for_each(|some| {
            self.outline.records.extend_from_slice(some);
            self.check()
        })
    }

    /// Checks the records that are there as a whole.
    fn check(&mut self) -> Result<(), OutlineFault> {
        while let Some(commit) = self.next {
            let rest = self.outline.records.get(self.checked..).unwrap_or_default();
            let Some(record) = Record::split(rest, self.descent.path().bits())? else {
                return Ok(());
            };
            let record_bytes = rest.len() - record.rest.len();
            let children = record.extend_path(self.descent.path_mut(), &commit)?;
            let path = self.descent.path();
            if children.hash(path.least_key(), path.bits()) != commit.hash {
                return Err(OutlineFault::Hash);
            }
            self.descent.open(children, (), ());
            self.checked += record_bytes;
            self.advance();
        }
        if self.checked == self.outline.records.len() {
            Ok(())
        } else {
            Err(OutlineFault::Trailing)
        }
    }

    /// Whether every opened node has its record.
    pub fn is_complete(&self) -> bool {
        self.next.is_none()
    }

    /// The outline, once it is complete.
    ///
    /// *Errors:* [`OutlineFault::Truncated`].
    pub fn finish(self) -> Result<Outline, OutlineFault> {
        if self.is_complete() { Ok(self.outline) } else { Err(OutlineFault::Truncated) }
    }

    /// Goes on to the next node that has a record.
    fn advance(&mut self) {
        let cut = u64::from(self.outline.cut);
        self.next = None;
        while let Some((commit, ())) = self.descent.next() {
            if commit.is_opened_at(cut) {
                self.next = Some(commit);
                return;
            }
        }
    }
}

/// One record, as it lies in the bytes.
struct Record<'a> {
    extension_bits: usize,
    extension: &'a [u8],
    left: &'a [u8; COMMIT_BYTES],
    right_hash: &'a [u8; 32],
    rest: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record that `bytes` begin with, if it is there as a whole.
    fn split(bytes: &'a [u8], known_bits: usize) -> Result<Option<Self>, OutlineFault> {
        let Some((count, rest)) = bytes.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let bits = usize::from(u16::from_le_bytes(*count));
        if bits < known_bits || bits > PREFIX_BITS_MAX {
            return Err(OutlineFault::Prefix);
        }
        let extension_bits = bits - known_bits;
        let split = || {
            let (extension, rest) = rest.split_at_checked(extension_bits.div_ceil(8))?;
            let (left, rest) = rest.split_first_chunk::<COMMIT_BYTES>()?;
            let (right_hash, rest) = rest.split_first_chunk::<32>()?;
            Some(Self { extension_bits, extension, left, right_hash, rest })
        };
        Ok(split())
    }

    /// Extends the path to the node's whole prefix; the node's children.
    fn extend_path(&self, path: &mut Prefix, node: &Commit) -> Result<Children, OutlineFault> {
        path.extend(self.extension, self.extension_bits).map_err(|_| OutlineFault::Prefix)?;
        let left = Commit::decode(self.left);
        let right = right_commit(node, &left, *self.right_hash).ok_or(OutlineFault::Counts)?;
        Ok(Children { left, right })
    }
}

/// The commit of a right child, whose counts are the node's less the left child's.
fn right_commit(node: &Commit, left: &Commit, hash: [u8; 32]) -> Option<Commit> {
    let right = Commit {
        hash: NodeHash::new(hash),
        entries: node.entries.checked_sub(left.entries)?,
        bytes: node.bytes.checked_sub(left.bytes)?,
    };
    let possible = |child: &Commit| child.entries >= 1 && child.bytes >= ENTRY_BYTES_MIN as u64;
    (possible(left) && possible(&right)).then_some(right)
}
