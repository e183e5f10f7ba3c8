use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ketch_trie::{Children, Entry, Manifest, Prefix, StateReader, VerifiedPart, equal_parts};
use ketch_types::{KeyRange, PartIndex, PartSet};

use crate::record::{encode_children, node_key};
use crate::view::StateView;
use crate::{ShardStore, StoreError};

impl ShardStore {
    /// The parts of `manifest` that the store is marked as holding.
    pub fn held(&self, manifest: &Manifest) -> PartSet {
        let state = self.state();
        if state.head.is_some_and(|head| head.root() == manifest.root()) {
            return PartSet::full(manifest.part_count());
        }
        let marked = state.marks.ranges_of(manifest.root());
        drop(state);
        let mut held = PartSet::empty(manifest.part_count());
        for part in (0..manifest.part_count()).map(PartIndex) {
            if manifest.part_range(part).is_some_and(|range| KeyRange::any_covers(&marked, &range))
            {
                held.insert(part);
            }
        }
        held
    }

    /// Turns whatever the store holds towards the state of `manifest`: the parts that it holds
    /// already, which are marked; the others are to be applied.
    ///
    /// An empty store, an older version of the shard, a mixture of two after the target moved, what
    /// a crash left: all are the same to it. A range that a mark vouches for is compared by its inner
    /// nodes; any other that is not empty is read and hashed. A complete state of another root is
    /// given up as such: its head and its epochs' starts are gone, its entries are not.
    ///
    /// *Errors:* what the disk says.
    pub fn reconcile(&self, manifest: &Manifest) -> Result<PartSet, StoreError> {
        let _alone = self.change_alone()?;
        if self.head().is_some_and(|head| head.root() == manifest.root()) {
            return Ok(PartSet::full(manifest.part_count()));
        }
        self.give_up_head()?;
        let view = StateView::new(self, self.db.snapshot(), None);
        let known = self.state().marks.ranges();
        let held = self.held(manifest);
        let equal = equal_parts(manifest, &view, &known)?;
        let mut adoption = Adoption::default();
        for (part, nodes) in (0..).map(PartIndex).zip(manifest.part_nodes(PartIndex(0))) {
            let Some(range) = manifest.part_range(part) else {
                break;
            };
            if held.contains(part) {
                continue;
            }
            if !KeyRange::any_covers(&known, &range) {
                let Some(verified) = read_part(&view, manifest, part, &range) else {
                    continue;
                };
                adoption.add(
                    &view,
                    range,
                    &[],
                    [nodes.opened, verified.nodes().to_vec()].concat(),
                )?;
            } else if equal.contains(part) {
                adoption.add(&view, range, &nodes.frontier, nodes.opened)?;
            }
            if adoption.nodes.len() > ADOPTED_NODES_MAX {
                self.write_adoption(std::mem::take(&mut adoption), manifest)?;
            }
        }
        self.write_adoption(adoption, manifest)?;
        Ok(self.held(manifest))
    }

    /// Believes nothing that is stored any more, since some of it was found damaged: the next
    /// [`ShardStore::reconcile`] reads and hashes everything, and what is not as it should be counts
    /// as missing. The head and the epochs' starts are given up.
    ///
    /// Where the disk does not even read, applying a window fails too: then the store is closed and
    /// [`ShardStore::set_aside`].
    ///
    /// *Errors:* what the disk says.
    pub fn distrust(&self) -> Result<(), StoreError> {
        let _alone = self.change_alone()?;
        self.give_up_head()?;
        let mut state = self.state();
        let mut marks = state.marks.clone();
        let mut batch = self.batch();
        self.put_marks(&mut batch, marks.clear_all());
        self.write(batch)?;
        state.marks = marks;
        Ok(())
    }

    /// From now on the head's state is one that is only marked, and that windows may overwrite.
    pub(crate) fn give_up_head(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        let Some(head) = state.head else {
            return Ok(());
        };
        let mut batch = self.batch();
        self.put_head(&mut batch, None);
        let changes = state.marks.set(&KeyRange::ALL, head.root());
        self.put_marks(&mut batch, changes);
        self.drop_epochs(&mut state, batch, None)?;
        state.head = None;
        Ok(())
    }

    /// Replaces inner nodes and marks what they stand over as held, in one batch.
    fn write_adoption(&self, adoption: Adoption, manifest: &Manifest) -> Result<(), StoreError> {
        if adoption.ranges.is_empty() {
            return Ok(());
        }
        let mut batch = self.batch();
        for (prefix, children) in adoption.nodes {
            match children {
                Some(children) => {
                    batch.insert(&self.nodes, node_key(&prefix), encode_children(&children));
                }
                None => batch.remove(&self.nodes, node_key(&prefix)),
            }
        }
        let mut state = self.state();
        let mut marks = state.marks.clone();
        let root = manifest.root();
        let changes = adoption.ranges.iter().flat_map(|range| marks.set(range, root)).collect();
        self.put_marks(&mut batch, changes);
        self.write(batch)?;
        state.marks = marks;
        Ok(())
    }
}

/// How many nodes are changed in one batch.
const ADOPTED_NODES_MAX: usize = 4_096;

/// Ranges whose entries turned out to be those of the manifest, and what that changes in the inner
/// nodes that begin in them.
#[derive(Default)]
struct Adoption {
    ranges: Vec<KeyRange>,
    nodes: BTreeMap<Prefix, Option<Children>>,
}

impl Adoption {
    /// Adds a range: of the nodes there, those below one of `kept` stay, and `new` are added.
    fn add(
        &mut self,
        view: &StateView,
        range: KeyRange,
        kept: &[Prefix],
        new: Vec<(Prefix, Children)>,
    ) -> Result<(), StoreError> {
        for node in view.nodes_in(&range) {
            let (prefix, _) = node?;
            // Both are in order, so only the last one that is not behind the node can be above it.
            let after = kept.partition_point(|kept| *kept <= prefix);
            let above = after.checked_sub(1).and_then(|at| kept.get(at));
            if !above.is_some_and(|kept| kept.covers(&prefix)) {
                self.nodes.insert(prefix, None);
            }
        }
        self.nodes.extend(new.into_iter().map(|(prefix, children)| (prefix, Some(children))));
        self.ranges.push(range);
        Ok(())
    }
}

/// The part that the entries in `range` are, if they can be read and are it.
fn read_part(
    view: &StateView,
    manifest: &Manifest,
    index: PartIndex,
    range: &KeyRange,
) -> Option<VerifiedPart> {
    let part = manifest.part(index)?;
    let mut payload = Vec::new();
    let read = view.entries(range, &mut |key, value| {
        Entry { key, value }.encode(&mut payload);
        if payload.len() as u64 > part.bytes() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    // What cannot be read is missing, and fetched again.
    read.ok()?;
    manifest.verify(index, payload).ok()
}
