use ketch_types::KeyRange;

use crate::node::{Children, Commit};
use crate::prefix::Prefix;

/// A walk of a trie from the top down, parents before children and left before right.
///
/// *Shape:* no recursion, however deep the trie is: what waits is one item for each level, and the
/// place of the node at hand is one prefix that grows and shrinks. `T` is what the walker knows of
/// a subtree beside its commit.
pub(crate) struct Descent<T> {
    path: Prefix,
    low: Vec<u8>,
    separator: Option<usize>,
    waiting: Vec<Waiting<T>>,
}

struct Waiting<T> {
    commit: Commit,
    parent_bits: usize,
    side: Option<bool>,
    beside: T,
}

impl<T> Descent<T> {
    /// A walk that begins at `top`.
    pub(crate) fn new(top: Option<Commit>, beside: T) -> Self {
        let mut waiting = Vec::new();
        if let Some(commit) = top {
            waiting.push(Waiting { commit, parent_bits: 0, side: None, beside });
        }
        Self { path: Prefix::default(), low: Vec::new(), separator: None, waiting }
    }

    /// Goes on to the next node, whose place is then the path.
    pub(crate) fn next(&mut self) -> Option<(Commit, T)> {
        let next = self.waiting.pop()?;
        self.path.truncate(next.parent_bits);
        if let Some(side) = next.side {
            self.path.push(side);
        }
        if next.side == Some(true) {
            self.low.clear();
            self.low.extend_from_slice(self.path.least_key());
            self.separator = Some(next.parent_bits);
        }
        Some((next.commit, next.beside))
    }

    /// Goes down into the node at hand, whose whole prefix is the path by now.
    pub(crate) fn open(&mut self, children: Children, left: T, right: T) {
        let parent_bits = self.path.bits();
        let mut wait = |commit, side, beside| {
            self.waiting.push(Waiting { commit, parent_bits, side: Some(side), beside });
        };
        wait(children.right, true, right);
        wait(children.left, false, left);
    }

    /// What is known of the prefix of the node at hand.
    pub(crate) fn path(&self) -> &Prefix {
        &self.path
    }

    /// The path, to be extended to the whole prefix of the node at hand.
    pub(crate) fn path_mut(&mut self) -> &mut Prefix {
        &mut self.path
    }

    /// The first key of the range that the node at hand owns: its own keys, and the gap before them.
    pub(crate) fn low(&self) -> &[u8] {
        &self.low
    }

    /// The bits of the node that parts the node at hand from all before it; none for the first.
    pub(crate) fn separator(&self) -> Option<usize> {
        self.separator
    }

    /// The range that the node at hand owns, which ends where the next one that waits begins.
    pub(crate) fn range(&self) -> KeyRange {
        let high = self.waiting.last().map(|next| {
            let mut end = self.path.clone();
            end.truncate(next.parent_bits);
            end.push(true);
            end.least_key().to_vec()
        });
        KeyRange { low: self.low.clone(), high }
    }
}
