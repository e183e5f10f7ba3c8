use std::convert::Infallible;

use ketch_types::NodeHash;

use crate::entry::Entry;
use crate::node::{BUCKET_BYTES, Commit, bucket_hash};
use crate::prefix::Prefix;

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

    /// How many bytes are open.
    #[cfg(test)]
    pub(crate) fn open_len(&self) -> usize {
        self.bytes.len() - self.closed
    }

    /// How many bytes are held, those that are closed included.
    #[cfg(test)]
    pub(crate) fn held_len(&self) -> usize {
        self.bytes.len()
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

    /// Never called: a state is built from entries alone.
    fn reopen(&mut self, _: &Bucket, _: usize) -> Result<(), Infallible> {
        Ok(())
    }
}
