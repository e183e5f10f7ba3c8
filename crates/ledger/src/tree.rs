//! One construction of a Merkle tree, under three sets of keys.
//!
//! Level by level, neighbours are joined and an odd last node rises as it is; that is the tree whose
//! left half is the largest power of two below its count. No leaf is doubled, the count is committed.

use ketch_types::Hash;

use crate::domain::{self, keyed};

/// The keys of one kind of tree.
pub(crate) struct TreeKeys {
    leaf: [u8; 32],
    inner: [u8; 32],
    tree: [u8; 32],
}

/// The tree over the shards' newest chunk headers.
pub(crate) const CHUNKS: TreeKeys = TreeKeys {
    leaf: domain::K_CHUNKS_LEAF,
    inner: domain::K_CHUNKS_INNER,
    tree: domain::K_CHUNKS_TREE,
};

/// The tree over a chunk's outputs.
pub(crate) const OUTPUTS: TreeKeys = TreeKeys {
    leaf: domain::K_OUTPUTS_LEAF,
    inner: domain::K_OUTPUTS_INNER,
    tree: domain::K_OUTPUTS_TREE,
};

/// The tree over a chunk's transactions.
pub(crate) const TRANSACTIONS: TreeKeys = TreeKeys {
    leaf: domain::K_TRANSACTIONS_LEAF,
    inner: domain::K_TRANSACTIONS_INNER,
    tree: domain::K_TRANSACTIONS_TREE,
};

impl TreeKeys {
    /// The root of the tree over `items`.
    pub(crate) fn root<T: AsRef<[u8]>>(&self, items: impl IntoIterator<Item = T>) -> [u8; 32] {
        let mut builder = TreeBuilder::new(self);
        items.into_iter().for_each(|item| builder.push(item.as_ref()));
        builder.finish()
    }

    /// The siblings of item `index` of `items`, from the leaf upwards; none if there is no such item.
    pub(crate) fn prove<T: AsRef<[u8]>>(&self, items: &[T], index: usize) -> Option<Vec<Hash>> {
        let mut nodes: Vec<_> = items.iter().map(|item| keyed(&self.leaf, item.as_ref())).collect();
        nodes.get(index)?;
        let (mut at, mut siblings) = (index, Vec::new());
        while nodes.len() > 1 {
            siblings.extend(nodes.get(at ^ 1).copied().map(Hash));
            nodes = nodes.chunks(2).map(|pair| self.join(pair)).collect();
            at /= 2;
        }
        Some(siblings)
    }

    /// The root of a tree of `count` items, of which `item` is the one at `index`; none if such a
    /// tree has no item at `index`, or has another number of siblings there.
    pub(crate) fn root_of_proof(
        &self,
        count: u32,
        index: u32,
        item: &[u8],
        siblings: &[Hash],
    ) -> Option<[u8; 32]> {
        let mut last = count.checked_sub(1).filter(|last| index <= *last)?;
        let mut at = index;
        let mut node = keyed(&self.leaf, item);
        let mut siblings = siblings.iter();
        while last > 0 {
            // An odd last node has no sibling and rises as it is.
            if at % 2 == 1 {
                node = self.inner(&siblings.next()?.0, &node);
            } else if at < last {
                node = self.inner(&node, &siblings.next()?.0);
            }
            at /= 2;
            last /= 2;
        }
        siblings.next().is_none().then(|| self.commit(count, &node))
    }

    fn join(&self, pair: &[[u8; 32]]) -> [u8; 32] {
        match pair {
            [left, right] => self.inner(left, right),
            // `chunks(2)` yields no empty chunk.
            rest => rest.first().copied().unwrap_or_default(),
        }
    }

    fn inner(&self, left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
        let mut both = [0; 64];
        let (l, r) = both.split_at_mut(32);
        l.copy_from_slice(left);
        r.copy_from_slice(right);
        keyed(&self.inner, &both)
    }

    fn commit(&self, count: u32, top: &[u8; 32]) -> [u8; 32] {
        let mut body = [0; 36];
        let (c, t) = body.split_at_mut(4);
        c.copy_from_slice(&count.to_le_bytes());
        t.copy_from_slice(top);
        keyed(&self.tree, &body)
    }
}

/// Makes a root from items that come one by one.
///
/// *Shape:* the tops of the full subtrees so far, one for each set bit of the count, so that memory
/// is the logarithm of the count.
pub(crate) struct TreeBuilder<'a> {
    keys: &'a TreeKeys,
    tops: Vec<[u8; 32]>,
    count: u32,
}

impl<'a> TreeBuilder<'a> {
    pub(crate) fn new(keys: &'a TreeKeys) -> Self {
        Self { keys, tops: Vec::new(), count: 0 }
    }

    /// Adds the next item. Callers keep their counts within 32 bits.
    pub(crate) fn push(&mut self, item: &[u8]) {
        let mut node = keyed(&self.keys.leaf, item);
        for _ in 0..self.count.trailing_ones() {
            if let Some(left) = self.tops.pop() {
                node = self.keys.inner(&left, &node);
            }
        }
        self.tops.push(node);
        self.count = self.count.saturating_add(1);
    }

    /// How many items were added.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The root over all items.
    pub(crate) fn finish(self) -> [u8; 32] {
        let top = self.tops.iter().rev().copied().reduce(|right, left| {
            // The smaller subtrees are to the right.
            self.keys.inner(&left, &right)
        });
        self.keys.commit(self.count, &top.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: u32) -> Vec<[u8; 4]> {
        (0..count).map(u32::to_be_bytes).collect()
    }

    /// The construction as the page states it.
    fn top(keys: &TreeKeys, items: &[[u8; 4]]) -> [u8; 32] {
        match items {
            [] => [0; 32],
            [item] => keyed(&keys.leaf, item),
            items => {
                let left = items.len().next_power_of_two() / 2;
                let (left, right) = items.split_at(left);
                keyed(&keys.inner, &[top(keys, left), top(keys, right)].concat())
            }
        }
    }

    fn root(keys: &TreeKeys, items: &[[u8; 4]]) -> [u8; 32] {
        let count = u32::try_from(items.len()).unwrap().to_le_bytes();
        keyed(&keys.tree, &[&count[..], &top(keys, items)].concat())
    }

    #[test]
    fn a_root_is_the_one_that_the_page_states() {
        for keys in [CHUNKS, OUTPUTS, TRANSACTIONS] {
            for count in 0..=130 {
                assert_eq!(keys.root(items(count)), root(&keys, &items(count)), "{count}");
            }
        }
    }

    #[test]
    fn every_item_of_every_tree_is_proven_and_nothing_else_is() {
        for count in 1..=70 {
            let (items, root) = (items(count), CHUNKS.root(items(count)));
            for (index, item) in (0..count).zip(&items) {
                let siblings = CHUNKS.prove(&items, index as usize).unwrap();
                let proves = |count, index, item: &[u8], siblings: &[Hash]| {
                    CHUNKS.root_of_proof(count, index, item, siblings) == Some(root)
                };
                assert!(proves(count, index, item, &siblings), "{index} of {count}");
                assert!(!proves(count, index, b"else", &siblings));
                for other in (0..=count).filter(|other| *other != index) {
                    assert!(!proves(count, other, item, &siblings), "{other} for {index}/{count}");
                }
                for other in (0..=count + 2).filter(|other| *other != count) {
                    assert!(!proves(other, index, item, &siblings), "{index}/{other} for {count}");
                }
                for changed in changed(&siblings) {
                    assert!(!proves(count, index, item, &changed), "{index} of {count}");
                }
            }
        }
    }

    /// Lists of siblings with one dropped, added, swapped or changed.
    fn changed(siblings: &[Hash]) -> Vec<Vec<Hash>> {
        let mut lists = Vec::new();
        for at in 0..=siblings.len() {
            let mut added = siblings.to_vec();
            added.insert(at, Hash([9; 32]));
            lists.push(added);
        }
        for at in 0..siblings.len() {
            let mut dropped = siblings.to_vec();
            dropped.remove(at);
            let mut flipped = siblings.to_vec();
            flipped[at].0[at] ^= 1;
            let mut swapped = siblings.to_vec();
            swapped.swap(0, at);
            lists.extend([dropped, flipped]);
            lists.extend((at > 0).then_some(swapped));
        }
        lists
    }

    #[test]
    fn the_kinds_of_trees_and_their_levels_never_share_a_hash() {
        let mut hashes = Vec::new();
        for keys in [CHUNKS, OUTPUTS, TRANSACTIONS] {
            let leaf = keyed(&keys.leaf, b"");
            hashes.extend([leaf, keys.inner(&leaf, &leaf), keys.root([b""]), keys.root([""; 0])]);
        }
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 12);
    }

    #[test]
    fn an_item_that_is_not_there_has_no_proof() {
        assert_eq!(CHUNKS.prove(&items(3), 3), None);
        assert_eq!(CHUNKS.root_of_proof(0, 0, b"", &[]), None);
        assert_eq!(CHUNKS.root_of_proof(u32::MAX, 0, b"", &[]), None);
    }
}
