//! Building the trie from its entries in key order, in one pass.
//!
//! Between two neighbouring entries lies a separator: the number of leading bits that their keys
//! share. The trie is the tree in which the least separator of a range is that range's node, so a
//! stack of subtrees that wait for their right sibling builds it in linear time, whatever its
//! depth. A subtree stays *open*, its entries unhashed, until it is known not to be part of a
//! bucket: as soon as it and all that follows it under the same parent outgrow one.

use ketch_types::NodeHash;

use crate::entry::Entry;
use crate::node::{BUCKET_BYTES, Children, Commit};
use crate::open_bytes::{Bucket, OpenBytes};
use crate::prefix::{Prefix, rising_common_bits};

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

    /// The size of all that is not hashed yet. *Units:* bytes.
    #[cfg(test)]
    pub(crate) fn open_bytes(&self) -> u64 {
        self.open_bytes
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
