use std::ops::Bound;

use fjall::{Keyspace, Readable, Snapshot};
use ketch_trie::{Children, Commit, Prefix, StateReader, Visit};
use ketch_types::KeyRange;

use crate::record::{decode_node, node_bounds, node_key};
use crate::{ShardStore, StoreError};

/// A state in the store, as it was when the view was made. Short-lived: it keeps old data on disk.
pub struct StateView {
    pub(crate) snapshot: Snapshot,
    entries: Keyspace,
    nodes: Keyspace,
    top: Option<Commit>,
}

impl StateView {
    pub(crate) fn new(store: &ShardStore, snapshot: Snapshot, top: Option<Commit>) -> Self {
        let (entries, nodes) = (store.entries.clone(), store.nodes.clone());
        Self { snapshot, entries, nodes, top }
    }

    /// The value at `key`, if there is one.
    pub fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.snapshot.get(&self.entries, key)?.map(|value| value.to_vec()))
    }

    /// The inner nodes that begin in `range`.
    pub(crate) fn nodes_in(&self, range: &KeyRange) -> NodeIter {
        NodeIter { records: records_in(&self.snapshot, &self.nodes, &node_bounds(range)) }
    }

    /// The keys of the inner nodes that begin in `range`.
    pub(crate) fn node_keys_in(&self, range: &KeyRange) -> fjall::Iter {
        records_in(&self.snapshot, &self.nodes, &node_bounds(range))
    }

    /// The raw entries in `range`.
    pub(crate) fn entries_in(&self, range: &KeyRange) -> fjall::Iter {
        records_in(&self.snapshot, &self.entries, range)
    }
}

/// The records of `keyspace` in `range`.
pub(crate) fn records_in(
    snapshot: &Snapshot,
    keyspace: &Keyspace,
    range: &KeyRange,
) -> fjall::Iter {
    let end = range.high.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    snapshot.range::<&[u8], _>(keyspace, (Bound::Included(range.low.as_slice()), end))
}

/// Inner nodes from their records.
pub struct NodeIter {
    records: fjall::Iter,
}

impl Iterator for NodeIter {
    type Item = Result<(Prefix, Children), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.records.next()?.into_inner();
        let node = |(key, value): fjall::KvPair| decode_node(&key, &value);
        Some(record.map_err(StoreError::from).and_then(node))
    }
}

impl StateReader for StateView {
    type Error = StoreError;
    type Nodes<'a> = NodeIter;

    fn top(&self) -> Option<Commit> {
        self.top
    }

    fn nodes(&self, from: &Prefix) -> NodeIter {
        NodeIter { records: self.snapshot.range(&self.nodes, node_key(from)..) }
    }

    fn entries(&self, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        for entry in self.entries_in(range) {
            let (key, value) = entry.into_inner()?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
