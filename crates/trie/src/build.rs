//! Building the trie from its entries in key order, in one pass.
//!
//! Between two neighbouring entries lies a separator: the number of leading bits that their keys
//! share. The trie is the tree in which the least separator of a range is that range's node, so a
//! stack of subtrees that wait for their right sibling builds it in linear time, whatever its
//! depth. A subtree stays *open*, its entries unhashed, until it is known not to be part of a
//! bucket: as soon as it and all that follows it under the same parent outgrow one.

use std::convert::Infallible;

use ketch_types::NodeHash;
use thiserror::Error;

use crate::entry::{Entry, EntryError};
use crate::node::{BUCKET_BYTES, Children, Commit, bucket_hash};
use crate::prefix::{Prefix, rising_common_bits};

/// Why entries do not make a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// An entry is over the limits.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A key is not above the one before it.
    #[error("a key is not above the one before it")]
    Order,
}

/// Builds a state from its entries, handed over in key order.
///
/// *Shape:* memory stays below two buckets and one entry, and 80 bytes for each level of the path
/// to the last key; every inner node is handed to `sink`, children before parents.
pub struct StateBuilder<S> {
    nodes: NodeBuilder<Buffer>,
    sink: S,
}

impl<S: FnMut(Prefix, Children)> StateBuilder<S> {
    /// A builder of a state without entries so far.
    pub fn new(sink: S) -> Self {
        Self { nodes: NodeBuilder::new(Buffer::default()), sink }
    }

    /// Adds the next entry.
    ///
    /// *Errors:* see [`BuildError`]; a refused entry changes nothing.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), BuildError> {
        let entry = Entry::new(key, value)?;
        let common_bits = self.nodes.rise_to(key).ok_or(BuildError::Order)?;
        let Ok(()) = self.nodes.entry(&entry, common_bits, &mut self.sink);
        Ok(())
    }

    /// The top node of the state; none if it is empty.
    pub fn finish(mut self) -> Option<Commit> {
        let Ok(top) = self.nodes.finish(&mut self.sink);
        top
    }
}

/// The bytes of the entries that are not yet hashed, in key order.
pub(crate) trait OpenBytes {
    /// Why a bucket's entries could not be had.
    type Error;

    /// Adds an entry behind all others.
    fn append(&mut self, entry: &Entry<'_>);

    /// The hash of the bucket that the first `bytes` open bytes make; they are open no longer.
    fn close(&mut self, bytes: usize) -> NodeHash;

    /// Puts the entries of a bucket that was given by its commit before the last `behind` bytes.
    fn reopen(&mut self, bucket: &Bucket, behind: usize) -> Result<(), Self::Error>;
}

/// A bucket that was given by its commit: its entries are read only if it grows.
pub(crate) struct Bucket {
    pub(crate) prefix: Prefix,
    pub(crate) commit: Commit,
}

/// Open bytes that are copied in as they come.
#[derive(Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    closed: usize,
}

impl Buffer {
    /// Adds the encodings of some entries behind all others.
    pub(crate) fn append_run(&mut self, encoded: &[u8]) {
        self.make_room();
        self.bytes.extend_from_slice(encoded);
    }

    /// Forgets closed bytes, a bucket's worth at a time.
    fn make_room(&mut self) {
        if self.closed as u64 > BUCKET_BYTES {
            self.bytes.drain(..self.closed);
            self.closed = 0;
        }
    }

    /// Puts `entries` before the last `behind` bytes.
    pub(crate) fn insert(&mut self, entries: &[u8], behind: usize) {
        let at = self.bytes.len().saturating_sub(behind);
        self.bytes.splice(at..at, entries.iter().copied());
    }
}

impl OpenBytes for Buffer {
    type Error = Infallible;

    fn append(&mut self, entry: &Entry<'_>) {
        self.make_room();
        entry.encode(&mut self.bytes);
    }

    fn close(&mut self, bytes: usize) -> NodeHash {
        let end = self.closed + bytes;
        let hash = bucket_hash(self.bytes.get(self.closed..end).unwrap_or_default());
        self.closed = end;
        hash
    }

    /// Never called: a [`StateBuilder`] is given entries alone.
    fn reopen(&mut self, _: &Bucket, _: usize) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What lies between two separators.
struct Subtree {
    entries: u64,
    bytes: u64,
    form: Form,
}

enum Form {
    /// Entries whose bytes are open.
    Open,
    /// A bucket whose bytes have not been asked for.
    Given(Box<Bucket>),
    /// A node that no bucket can take in any more.
    Closed(NodeHash),
}

/// A subtree that waits for its right sibling, and the separator between them.
struct Pending {
    subtree: Subtree,
    separator: usize,
}

/// Makes nodes of entries and of whole subtrees, handed over in key order.
pub(crate) struct NodeBuilder<B> {
    pub(crate) open: B,
    /// Subtrees that wait for their right sibling, separators rising.
    stack: Vec<Pending>,
    /// How many subtrees at the bottom of the stack are closed.
    closed: usize,
    /// The subtree that came last.
    current: Option<Subtree>,
    /// The size of all that is not closed; more than a bucket only if it is one entry.
    open_bytes: u64,
    /// A key that lies in the subtree that came last.
    last_key: Vec<u8>,
}

impl<B: OpenBytes> NodeBuilder<B> {
    pub(crate) fn new(open: B) -> Self {
        Self {
            open,
            stack: Vec::new(),
            closed: 0,
            current: None,
            open_bytes: 0,
            last_key: Vec::new(),
        }
    }

    /// The bits that `key` shares with the last one, if it lies above it; none are before the first.
    pub(crate) fn rise_to(&self, key: &[u8]) -> Option<usize> {
        rising_common_bits(&self.last_key, key)
    }

    /// Adds an entry; `common_bits` is from [`Self::rise_to`].
    pub(crate) fn entry(
        &mut self,
        entry: &Entry<'_>,
        common_bits: usize,
        sink: &mut impl FnMut(Prefix, Children),
    ) -> Result<(), B::Error> {
        self.rest(common_bits, sink)?;
        self.open.append(entry);
        let subtree = Subtree { entries: 1, bytes: entry.bytes() as u64, form: Form::Open };
        self.follow(entry.key, subtree);
        Ok(())
    }

    /// Adds all keys that start with some prefix, which together are at most one bucket: so many
    /// entries and bytes, which `append` adds to what is open.
    pub(crate) fn run(
        &mut self,
        (entries, bytes): (u64, u64),
        append: impl FnOnce(&mut B),
        last_key: &[u8],
        common_bits: usize,
        sink: &mut impl FnMut(Prefix, Children),
    ) -> Result<(), B::Error> {
        self.rest(common_bits, sink)?;
        append(&mut self.open);
        self.follow(last_key, Subtree { entries, bytes, form: Form::Open });
        Ok(())
    }

    /// Adds all keys that start with `prefix`, as the node that `commit` says.
    pub(crate) fn subtree(
        &mut self,
        prefix: Prefix,
        commit: Commit,
        common_bits: usize,
        sink: &mut impl FnMut(Prefix, Children),
    ) -> Result<(), B::Error> {
        self.rest(common_bits, sink)?;
        let key = prefix.least_key().to_vec();
        let form = if commit.bytes <= BUCKET_BYTES {
            Form::Given(Box::new(Bucket { prefix, commit }))
        } else {
            Form::Closed(commit.hash)
        };
        let subtree = Subtree { entries: commit.entries, bytes: commit.bytes, form };
        self.follow(&key, subtree);
        Ok(())
    }

    /// The node above everything that was added; none if nothing was.
    pub(crate) fn finish(
        &mut self,
        sink: &mut impl FnMut(Prefix, Children),
    ) -> Result<Option<Commit>, B::Error> {
        let Some(last) = self.current.take() else {
            return Ok(None);
        };
        let mut top = self.fold(last, None, sink)?;
        let hash = self.close(&mut top);
        self.last_key.clear();
        Ok(Some(Commit { hash, entries: top.entries, bytes: top.bytes }))
    }

    /// Puts the subtree that came last to rest before a separator.
    fn rest(
        &mut self,
        separator: usize,
        sink: &mut impl FnMut(Prefix, Children),
    ) -> Result<(), B::Error> {
        if let Some(last) = self.current.take() {
            let subtree = self.fold(last, Some(separator), sink)?;
            self.stack.push(Pending { subtree, separator });
        }
        Ok(())
    }

    fn follow(&mut self, key: &[u8], subtree: Subtree) {
        if !matches!(subtree.form, Form::Closed(_)) {
            self.open_bytes += subtree.bytes;
        }
        let outgrown = subtree.bytes > BUCKET_BYTES;
        self.current = Some(subtree);
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.close_outgrown(outgrown);
    }

    /// Joins `last` with the subtrees on the stack whose separator is above `down_to`.
    fn fold(
        &mut self,
        last: Subtree,
        down_to: Option<usize>,
        sink: &mut impl FnMut(Prefix, Children),
    ) -> Result<Subtree, B::Error> {
        let mut right = last;
        while let Some(left) = self.stack.pop_if(|left| down_to.is_none_or(|d| left.separator > d))
        {
            self.closed = self.closed.min(self.stack.len());
            right = self.join(left.subtree, right, left.separator, sink)?;
        }
        Ok(right)
    }

    /// The node above two neighbours.
    fn join(
        &mut self,
        mut left: Subtree,
        mut right: Subtree,
        separator: usize,
        sink: &mut impl FnMut(Prefix, Children),
    ) -> Result<Subtree, B::Error> {
        let entries = left.entries.saturating_add(right.entries);
        let bytes = left.bytes.saturating_add(right.bytes);
        if bytes <= BUCKET_BYTES {
            self.reopen(&right, 0)?;
            self.reopen(&left, in_memory(right.bytes))?;
            return Ok(Subtree { entries, bytes, form: Form::Open });
        }
        let commit = |hash, subtree: &Subtree| Commit {
            hash,
            entries: subtree.entries,
            bytes: subtree.bytes,
        };
        let left_hash = self.close(&mut left);
        let right_hash = self.close(&mut right);
        let children =
            Children { left: commit(left_hash, &left), right: commit(right_hash, &right) };
        let hash = children.hash(&self.last_key, separator);
        sink(Prefix::of_key(&self.last_key, separator), children);
        Ok(Subtree { entries, bytes, form: Form::Closed(hash) })
    }

    /// Closes, from the first subtree on, what no bucket can take in any more: all if the last one
    /// alone has outgrown a bucket.
    fn close_outgrown(&mut self, all: bool) {
        while all || self.open_bytes > BUCKET_BYTES {
            let Some(pending) = self.stack.get_mut(self.closed) else {
                break;
            };
            self.closed += 1;
            close(&mut self.open, &mut self.open_bytes, &mut pending.subtree);
        }
        if let (true, Some(current)) = (all, &mut self.current) {
            close(&mut self.open, &mut self.open_bytes, current);
        }
    }

    fn close(&mut self, subtree: &mut Subtree) -> NodeHash {
        close(&mut self.open, &mut self.open_bytes, subtree)
    }

    fn reopen(&mut self, subtree: &Subtree, behind: usize) -> Result<(), B::Error> {
        match &subtree.form {
            Form::Given(bucket) => self.open.reopen(bucket, behind),
            Form::Open | Form::Closed(_) => Ok(()),
        }
    }
}

/// Hashes what of `subtree` is open, which is then the first of all that is.
fn close<B: OpenBytes>(open: &mut B, open_bytes: &mut u64, subtree: &mut Subtree) -> NodeHash {
    let hash = match &subtree.form {
        Form::Closed(hash) => return *hash,
        Form::Given(bucket) => bucket.commit.hash,
        Form::Open => open.close(in_memory(subtree.bytes)),
    };
    *open_bytes -= subtree.bytes;
    subtree.form = Form::Closed(hash);
    hash
}

/// A count of bytes that lie in memory.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::entry::ENTRY_BYTES_MAX;

    proptest! {
        #[test]
        fn a_builder_holds_less_than_two_buckets_and_one_entry(
            values in vec(prop_oneof![4 => 0_usize..300, 2 => 0_usize..9_000, 1 => 0_usize..90_000], 1..300),
            deep in any::<bool>(),
        ) {
            let mut builder = StateBuilder::new(|_, _| {});
            let bucket = in_memory(BUCKET_BYTES);
            for (i, value_bytes) in values.into_iter().enumerate() {
                // Either every key parts from all after it at the same depth, or ever deeper.
                let key = if deep { vec![0xff; i + 1] } else { vec![u8::try_from(i % 255).unwrap(); i + 1] };
                if builder.push(&key, &vec![0; value_bytes]).is_err() {
                    continue;
                }
                let open = &builder.nodes.open;
                prop_assert!(builder.nodes.open_bytes <= BUCKET_BYTES);
                prop_assert_eq!(open.bytes.len() - open.closed, in_memory(builder.nodes.open_bytes));
                prop_assert!(open.bytes.len() < 2 * bucket + ENTRY_BYTES_MAX);
                prop_assert!(open.bytes.len() < 2 * bucket + 100_000);
            }
        }
    }
}
