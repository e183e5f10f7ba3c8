use std::ops::Range;

use ketch_types::{KeyRange, PartHash, PartIndex, StateRoot};
use thiserror::Error;

use crate::entry::ENTRY_BYTES_MAX;
use crate::node::{Children, Commit, part_hash};
use crate::outline::{Outline, OutlineNode, OutlineWalk};
use crate::prefix::Prefix;

/// How a state is cut into parts: its outline at the shard layout's `part_bytes`.
///
/// *Shape:* parts tile the key space; the empty state has none. Two neighbours together exceed the
/// cut, so there are at most `2 × bytes ÷ cut + 1` of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    outline: Outline,
    /// The commits of the outline's frontier.
    frontier: Vec<Commit>,
    parts: Vec<Part>,
}

/// One part of a state: some neighbouring frontier nodes and the key range that they own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    hash: PartHash,
    entries: u64,
    bytes: u64,
    low: Vec<u8>,
    nodes: Range<usize>,
}

/// Why an outline is not a manifest. No state that keeps the limits has such an outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// There are more parts than an index counts.
    #[error("the manifest has more than 2^32 parts")]
    TooManyParts,
    /// A part is larger than the cut and than any entry.
    #[error("part {0} has {1} bytes, more than the cut and than any entry")]
    PartBytes(PartIndex, u64),
}

impl Part {
    /// The part's name by its content.
    pub fn hash(&self) -> PartHash {
        self.hash
    }

    /// The number of entries in the part.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The size of the part's payload. *Units:* bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first key that the part owns; empty for the first part.
    pub fn low(&self) -> &[u8] {
        &self.low
    }

    /// How many frontier nodes the part consists of.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }
}

impl Manifest {
    /// The parts that `outline` cuts its state into.
    ///
    /// *Errors:* see [`ManifestError`].
    pub fn new(outline: Outline) -> Result<Self, ManifestError> {
        let (frontier, mut parts) = Cutter::new(&outline).cut();
        u32::try_from(parts.len()).map_err(|_| ManifestError::TooManyParts)?;
        let bytes_max = u64::from(outline.cut()).max(ENTRY_BYTES_MAX as u64);
        for (index, part) in (0..).map(PartIndex).zip(&mut parts) {
            if part.bytes > bytes_max {
                return Err(ManifestError::PartBytes(index, part.bytes));
            }
            part.hash = part_hash(frontier.get(part.nodes.clone()).unwrap_or_default());
        }
        Ok(Self { outline, frontier, parts })
    }

    /// The root of the state that this cuts.
    pub fn root(&self) -> StateRoot {
        self.outline.root()
    }

    /// The outline that the manifest was made from.
    pub fn outline(&self) -> &Outline {
        &self.outline
    }

    /// The parts in key order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The number of parts.
    pub fn part_count(&self) -> u32 {
        // Checked when the manifest was made.
        self.parts.len().try_into().unwrap_or(u32::MAX)
    }

    /// The part at `index`, if the manifest has it.
    pub fn part(&self, index: PartIndex) -> Option<&Part> {
        self.parts.get(index.0 as usize)
    }

    /// The keys that one part owns, if the manifest has it.
    pub fn part_range(&self, index: PartIndex) -> Option<KeyRange> {
        self.range(index..PartIndex(index.0.checked_add(1)?))
    }

    /// The keys that the parts from `first` up to `end`, excluded, own together; none if there is no
    /// such part. Applying parts replaces everything in their range.
    pub fn range(&self, parts: Range<PartIndex>) -> Option<KeyRange> {
        let first = self.part(parts.start).filter(|_| parts.start < parts.end)?;
        let high = self.part(parts.end).map(|part| part.low.clone());
        Some(KeyRange { low: first.low.clone(), high })
    }

    /// The nodes of one part, in key order.
    pub(crate) fn nodes_of(&self, part: &Part) -> &[Commit] {
        self.frontier.get(part.nodes.clone()).unwrap_or_default()
    }

    /// The opened nodes that begin in the parts from `first` up to `end`, excluded, in order.
    ///
    /// Together with the nodes inside the parts these are all the inner nodes that a store holds in
    /// the parts' key range. It walks the outline from its start: a walk of 20,000 records takes a
    /// millisecond or two, and is made once for a window of tens of mebibytes.
    pub fn opened_in(&self, parts: Range<PartIndex>) -> Vec<(Prefix, Children)> {
        let count = parts.end.0.saturating_sub(parts.start.0) as usize;
        self.part_nodes(parts.start).take(count).flat_map(|nodes| nodes.opened).collect()
    }

    /// The outline's nodes part by part from `first` on, in one walk.
    pub fn part_nodes(&self, first: PartIndex) -> impl Iterator<Item = PartNodes> + '_ {
        let parts = self.parts.get(first.0 as usize..).unwrap_or_default();
        let mut passed_by = parts.first().map_or(0, |part| part.nodes.start);
        let mut walk = self.outline.walk();
        while passed_by > 0 {
            match walk.next() {
                Some(OutlineNode::Opened { .. }) => {}
                Some(OutlineNode::Frontier { .. }) => passed_by -= 1,
                None => break,
            }
        }
        parts.iter().map(move |part| next_part_nodes(&mut walk, part))
    }
}

/// The nodes that a walk meets up to the end of `part`, which comes next.
fn next_part_nodes(walk: &mut OutlineWalk<'_>, part: &Part) -> PartNodes {
    let mut nodes = PartNodes { opened: Vec::new(), frontier: Vec::new() };
    while nodes.frontier.len() < part.node_count() {
        match walk.next() {
            Some(OutlineNode::Opened { prefix, children, .. }) => {
                nodes.opened.push((prefix.clone(), children));
            }
            Some(OutlineNode::Frontier { known, .. }) => nodes.frontier.push(known.clone()),
            None => break,
        }
    }
    nodes
}

/// The nodes of an outline that belong to one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartNodes {
    /// The opened nodes that begin in the part's key range.
    pub opened: Vec<(Prefix, Children)>,
    /// What is known of the prefixes of the frontier nodes that the part consists of.
    pub frontier: Vec<Prefix>,
}

/// Cuts an outline's frontier into parts: at each opened node, once both sides are cut, the last
/// part on the left and the first on the right become one if they fit the cut together.
struct Cutter<'a> {
    outline: &'a Outline,
    frontier: Vec<Commit>,
    /// Parts, some merged into the one before them: `next` leads past those.
    parts: Vec<Part>,
    next: Vec<usize>,
    /// Runs of parts that wait for the run on the other side of an opened node.
    stack: Vec<(Run, usize)>,
}

/// Neighbouring parts under one node, by the places of the first and the last.
#[derive(Clone, Copy)]
struct Run {
    first: usize,
    last: usize,
}

impl<'a> Cutter<'a> {
    fn new(outline: &'a Outline) -> Self {
        Self {
            outline,
            frontier: Vec::new(),
            parts: Vec::new(),
            next: Vec::new(),
            stack: Vec::new(),
        }
    }

    fn cut(mut self) -> (Vec<Commit>, Vec<Part>) {
        let mut current: Option<Run> = None;
        let mut walk = self.outline.walk();
        while let Some(node) = walk.next() {
            let OutlineNode::Frontier { commit, .. } = node else {
                continue;
            };
            if let (Some(run), Some(separator)) = (current, walk.separator()) {
                let run = self.fold(run, Some(separator));
                self.stack.push((run, separator));
            }
            current = Some(self.add(commit));
        }
        if let Some(run) = current {
            self.fold(run, None);
        }
        let mut parts = follow(self.parts, &self.next);
        set_lows(self.outline, &mut parts);
        (self.frontier, parts)
    }

    /// Adds a frontier node as a part of its own.
    fn add(&mut self, commit: Commit) -> Run {
        let at = self.parts.len();
        self.frontier.push(commit);
        self.parts.push(Part {
            hash: PartHash(commit.hash.0),
            entries: commit.entries,
            bytes: commit.bytes,
            low: Vec::new(),
            nodes: at..at + 1,
        });
        self.next.push(at + 1);
        Run { first: at, last: at }
    }

    /// Joins `right` with the runs that wait below nodes of more than `down_to` bits.
    fn fold(&mut self, mut right: Run, down_to: Option<usize>) -> Run {
        while let Some((left, _)) = self.stack.pop_if(|(_, bits)| down_to.is_none_or(|d| *bits > d))
        {
            right = self.join(left, right);
        }
        right
    }

    fn join(&mut self, left: Run, right: Run) -> Run {
        let apart = Run { first: left.first, last: right.last };
        let cut = u64::from(self.outline.cut());
        let after = self.next.get(right.first).copied();
        let Ok([a, b]) = self.parts.get_disjoint_mut([left.last, right.first]) else {
            return apart;
        };
        let bytes = a.bytes.saturating_add(b.bytes);
        if bytes > cut {
            return apart;
        }
        a.bytes = bytes;
        a.entries = a.entries.saturating_add(b.entries);
        a.nodes.end = b.nodes.end;
        if let (Some(next), Some(after)) = (self.next.get_mut(left.last), after) {
            *next = after;
        }
        let last = if right.first == right.last { left.last } else { right.last };
        Run { first: left.first, last }
    }
}

/// Sets the first key of each part, in a walk of its own: an enemy's frontier has many more nodes
/// than parts, with keys of two kibibytes between them.
fn set_lows(outline: &Outline, parts: &mut [Part]) {
    let mut parts = parts.iter_mut().peekable();
    let (mut walk, mut at) = (outline.walk(), 0);
    while let Some(node) = walk.next() {
        if matches!(node, OutlineNode::Opened { .. }) {
            continue;
        }
        if let Some(part) = parts.next_if(|part| part.nodes.start == at) {
            part.low = walk.low().to_vec();
        }
        at += 1;
    }
}

/// The parts that are left when each is followed by its next.
fn follow(parts: Vec<Part>, next: &[usize]) -> Vec<Part> {
    let mut at = 0;
    let kept = parts.into_iter().enumerate().filter(|(place, _)| {
        let keep = *place == at;
        if keep {
            at = next.get(at).copied().unwrap_or(usize::MAX);
        }
        keep
    });
    kept.map(|(_, part)| part).collect()
}
