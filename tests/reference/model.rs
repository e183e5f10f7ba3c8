//! The trie over a set of entries, built from nothing each time.

use std::mem;
use std::ops::Range;

use super::coding::{commit_bytes, encode, key_bits, keyed, low_key, pack, root_of, u16le};
use super::{COMMIT_BYTES, Commit, Entries, HASH_BYTES, Mutation, vectors};

/// The whole trie over a set of entries, in memory.
pub(crate) struct Model {
    mutation: Mutation,
    bits: Vec<Vec<bool>>,
    encoded: Vec<Vec<u8>>,
    /// Every node after its parent: a pass from the back meets children first, at any depth.
    nodes: Vec<Node>,
}

struct Node {
    range: Range<usize>,
    known: usize,
    commit: Commit,
    inner: Option<Inner>,
}

struct Inner {
    prefix: Vec<bool>,
    left: usize,
    right: usize,
}

/// A part as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct ModelPart {
    /// The part's hash.
    #[serde(deserialize_with = "vectors::bytes")]
    pub(crate) hash: [u8; HASH_BYTES],
    /// How many entries it holds.
    pub(crate) entries: u64,
    /// The total size of its entries.
    pub(crate) bytes: u64,
    /// How many nodes of the frontier it is made of.
    pub(crate) nodes: usize,
    /// The least key that it owns.
    #[serde(deserialize_with = "vectors::bytes")]
    pub(crate) low: Vec<u8>,
}

struct Run<'a> {
    nodes: Vec<&'a Node>,
    low: Vec<u8>,
}

impl Model {
    /// The trie as the specification has it.
    pub(crate) fn new(entries: &Entries) -> Model {
        Model::mutated(entries, Mutation::None)
    }

    /// The trie as a mutant has it.
    pub(crate) fn mutated(entries: &Entries, mutation: Mutation) -> Model {
        let mut model = Model {
            mutation,
            bits: entries.keys().map(|key| key_bits(key, mutation)).collect(),
            encoded: entries.iter().map(|(key, value)| encode(key, value)).collect(),
            nodes: Vec::new(),
        };
        if !entries.is_empty() {
            model.add_node(0..entries.len(), 0);
            model.split_nodes();
            model.hash_nodes();
        }
        model
    }

    /// The state root.
    pub(crate) fn root(&self) -> [u8; HASH_BYTES] {
        root_of(&self.opening())
    }

    /// The commit of the top node, 48 zero bytes for the empty state.
    pub(crate) fn opening(&self) -> Vec<u8> {
        let top = self.nodes.first();
        top.map_or(vec![0; COMMIT_BYTES], |top| commit_bytes(&top.commit))
    }

    /// The records of the outline at a cut.
    pub(crate) fn records(&self, cut: u64) -> Vec<u8> {
        let mut records = Vec::new();
        let mut pending: Vec<_> = self.nodes.first().into_iter().collect();
        while let Some(node) = pending.pop() {
            if let Some(inner) = self.opened(node, cut) {
                records.extend(self.record(inner, node.known));
                pending.extend([&self.nodes[inner.right], &self.nodes[inner.left]]);
            }
        }
        records
    }

    /// The nodes where the outline at a cut stops, in key order.
    pub(crate) fn frontier(&self, cut: u64) -> Vec<Commit> {
        let runs = self.runs(cut);
        runs.iter().flat_map(|run| &run.nodes).map(|node| node.commit).collect()
    }

    /// The parts at a cut, in key order.
    pub(crate) fn parts(&self, cut: u64) -> Vec<ModelPart> {
        self.runs(cut).iter().map(Run::part).collect()
    }

    /// The encodings of a part's entries, concatenated in key order.
    pub(crate) fn payload(&self, cut: u64, part: usize) -> Vec<u8> {
        let runs = self.runs(cut);
        runs[part].nodes.iter().flat_map(|node| self.encoded[node.range.clone()].concat()).collect()
    }

    fn add_node(&mut self, range: Range<usize>, known: usize) -> usize {
        let encoded = &self.encoded[range.clone()];
        let entries = encoded.len() as u64;
        let bytes = encoded.iter().map(|entry| entry.len() as u64).sum();
        let commit = ([0; HASH_BYTES], entries, bytes);
        self.nodes.push(Node { range, known, commit, inner: None });
        self.nodes.len() - 1
    }

    fn split_nodes(&mut self) {
        let mut at = 0;
        while let Some(node) = self.nodes.get(at) {
            if !self.mutation.is_bucket(&node.commit) {
                self.nodes[at].inner = self.split(node.range.clone());
            }
            at += 1;
        }
    }

    fn split(&mut self, range: Range<usize>) -> Option<Inner> {
        let bits = &self.bits[range.clone()];
        let (first, last) = (&bits[0], &bits[bits.len() - 1]);
        let n = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        // Without the terminator the first key may be a prefix of the last: no bit tells them apart.
        if n == first.len() {
            return None;
        }
        let prefix = first[..n].to_vec();
        let zeros = bits.iter().take_while(|bits| !bits[n]).count();
        let middle = range.start + zeros;
        let left = self.add_node(range.start..middle, n + 1);
        let right = self.add_node(middle..range.end, n + 1);
        Some(Inner { prefix, left, right })
    }

    fn hash_nodes(&mut self) {
        for at in (0..self.nodes.len()).rev() {
            self.nodes[at].commit.0 = self.hash(&self.nodes[at]);
        }
    }

    fn hash(&self, node: &Node) -> [u8; HASH_BYTES] {
        let Some(inner) = &node.inner else {
            return keyed("ketch.v1.bucket", &self.encoded[node.range.clone()].concat());
        };
        let (left, right) = (&self.nodes[inner.left], &self.nodes[inner.right]);
        self.mutation.inner_hash(&inner.prefix, node.known, &left.commit, &right.commit)
    }

    fn opened<'a>(&self, node: &'a Node, cut: u64) -> Option<&'a Inner> {
        let is_frontier = self.mutation.is_frontier(&node.commit, cut);
        node.inner.as_ref().filter(|_| !is_frontier)
    }

    fn record(&self, inner: &Inner, known: usize) -> Vec<u8> {
        let (left, right) = (&self.nodes[inner.left], &self.nodes[inner.right]);
        let edge = pack(&inner.prefix[known..]);
        let count = u16le(inner.prefix.len());
        [count, edge, commit_bytes(&left.commit), right.commit.0.to_vec()].concat()
    }

    fn runs(&self, cut: u64) -> Vec<Run<'_>> {
        let mut runs: Vec<Vec<Run>> = self.nodes.iter().map(|_| Vec::new()).collect();
        for (at, node) in self.nodes.iter().enumerate().rev() {
            runs[at] = match self.opened(node, cut) {
                None => vec![Run { nodes: vec![node], low: Vec::new() }],
                Some(inner) => {
                    let left = mem::take(&mut runs[inner.left]);
                    let right = mem::take(&mut runs[inner.right]);
                    self.join(left, &inner.prefix, right, cut)
                }
            };
        }
        runs.into_iter().next().unwrap_or_default()
    }

    fn join<'a>(
        &self,
        mut left: Vec<Run<'a>>,
        separator: &[bool],
        mut right: Vec<Run<'a>>,
        cut: u64,
    ) -> Vec<Run<'a>> {
        let last = left.last_mut().expect("every node has a part");
        right[0].low = low_key(separator);
        if self.mutation.merges(last.bytes() + right[0].bytes(), cut) {
            last.nodes.extend(right.remove(0).nodes);
        }
        left.extend(right);
        left
    }
}

impl Run<'_> {
    fn bytes(&self) -> u64 {
        self.nodes.iter().map(|node| node.commit.2).sum()
    }

    fn hash(&self) -> [u8; HASH_BYTES] {
        if let [node] = self.nodes[..] {
            return node.commit.0;
        }
        let commits: Vec<_> = self.nodes.iter().map(|node| commit_bytes(&node.commit)).collect();
        keyed("ketch.v1.part", &commits.concat())
    }

    fn part(&self) -> ModelPart {
        ModelPart {
            hash: self.hash(),
            entries: self.nodes.iter().map(|node| node.commit.1).sum(),
            bytes: self.bytes(),
            nodes: self.nodes.len(),
            low: self.low.clone(),
        }
    }
}
