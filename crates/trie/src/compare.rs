use std::ops::ControlFlow;

use ketch_types::{KeyRange, PartIndex, PartSet};

use crate::commit::read_bucket;
use crate::manifest::Manifest;
use crate::node::Commit;
use crate::outline::OutlineNode;
use crate::prefix::Prefix;
use crate::state::{NodeCursor, StateReader};

/// The parts of `manifest` that `local` holds already, in whatever shape its own trie has.
///
/// A subtree is equal if the local trie has a node of the same hash, at whatever depth, and the
/// range that the manifest gives the subtree holds nothing else. What lies below an equal node is
/// not looked at. Nothing is found outside `intact`: ranges, disjoint and in key order, of whose
/// entries the local inner nodes are known to speak truly.
///
/// *Errors:* those of the reader.
pub fn equal_parts<R: StateReader>(
    manifest: &Manifest,
    local: &R,
    intact: &[KeyRange],
) -> Result<PartSet, R::Error> {
    let mut comparison = Comparison { local, cursor: NodeCursor::new(local), intact };
    let mut equal_nodes = Vec::new();
    let mut equal_below: Option<Prefix> = None;
    let mut walk = manifest.outline().walk();
    while let Some(node) = walk.next() {
        let (place, commit, at_frontier) = match node {
            OutlineNode::Opened { prefix, commit, .. } => (prefix.clone(), commit, false),
            OutlineNode::Frontier { known, commit } => (known.clone(), commit, true),
        };
        let mut equal = equal_below.as_ref().is_some_and(|above| above.covers(&place));
        if !equal && comparison.holds(&place, &commit, &walk.range())? {
            equal = true;
            equal_below = Some(place);
        }
        if at_frontier {
            equal_nodes.push(equal);
        }
    }
    Ok(whole_parts(manifest, &equal_nodes))
}

/// The parts all of whose nodes are equal.
fn whole_parts(manifest: &Manifest, equal_nodes: &[bool]) -> PartSet {
    let mut parts = PartSet::empty(manifest.part_count());
    let mut rest = equal_nodes;
    for (index, part) in (0..).map(PartIndex).zip(manifest.parts()) {
        let Some((nodes, after)) = rest.split_at_checked(part.node_count()) else {
            break;
        };
        rest = after;
        if nodes.iter().all(|equal| *equal) {
            parts.insert(index);
        }
    }
    parts
}

struct Comparison<'a, R: StateReader> {
    local: &'a R,
    cursor: NodeCursor<'a, R>,
    intact: &'a [KeyRange],
}

impl<R: StateReader> Comparison<'_, R> {
    /// Whether the local entries in `range` are those of the node at `place`, and no others.
    fn holds(
        &mut self,
        place: &Prefix,
        commit: &Commit,
        range: &KeyRange,
    ) -> Result<bool, R::Error> {
        if !KeyRange::any_covers(self.intact, range) {
            return Ok(false);
        }
        if !commit.is_inner() {
            // No node to believe: the entries themselves are read and hashed.
            return Ok(read_bucket(self.local, range, commit)?.is_some());
        }
        let Some((prefix, children)) = self.cursor.first_at(place)? else {
            return Ok(false);
        };
        if !place.covers(&prefix) || children.commit(&prefix).as_ref() != Some(commit) {
            return Ok(false);
        }
        let own = prefix.range();
        let before = KeyRange { low: range.low.clone(), high: Some(own.low) };
        let behind = own.high.map(|low| KeyRange { low, high: range.high.clone() });
        Ok(self.is_bare(&before)? && behind.map_or(Ok(true), |behind| self.is_bare(&behind))?)
    }

    /// Whether there is no local entry in `range`.
    fn is_bare(&self, range: &KeyRange) -> Result<bool, R::Error> {
        let mut bare = true;
        if !range.is_empty() {
            self.local.entries(range, &mut |_, _| {
                bare = false;
                ControlFlow::Break(())
            })?;
        }
        Ok(bare)
    }
}
