use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::{ControlFlow, Range};

use ketch_types::{KeyRange, NodeHash, StateRoot};

use crate::build::{Bucket, Buffer, NodeBuilder, OpenBytes};
use crate::descent::Descent;
use crate::entry::{Entries, Entry, EntryError};
use crate::node::{Children, Commit, bucket_hash, inner_body_bytes, state_root};
use crate::prefix::Prefix;
use crate::state::{NodeCursor, ReadError, StateReader};

/// Puts and deletes, at most one for a key, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Writes {
    /// Puts `value` at `key`; of several writes to a key the last holds.
    ///
    /// *Errors:* an entry over the limits is refused and changes nothing.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), EntryError> {
        Entry::new(key, value)?;
        self.writes.insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    /// Deletes what is at `key`, if anything is.
    ///
    /// *Errors:* what cannot be a key is refused.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), EntryError> {
        Entry::new(key, &[])?;
        self.writes.insert(key.to_vec(), None);
        Ok(())
    }

    /// The writes in key order; no value means a delete.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> {
        self.writes
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// The number of keys written.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }
}

/// What a batch of writes makes of a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The state's top node afterwards; none if it is empty.
    pub top: Option<Commit>,
    /// The inner nodes that are new or changed, and those that are no more.
    pub nodes: BTreeMap<Prefix, Option<Children>>,
    /// The values that the written keys had before, in the order of the writes.
    pub replaced: Vec<Option<Vec<u8>>>,
    /// What it cost.
    pub cost: CommitCost,
}

impl Committed {
    /// The root of the state afterwards.
    pub fn root(&self) -> StateRoot {
        state_root(self.top.as_ref())
    }
}

/// The work that a batch of writes took. It depends on the state and the writes alone, so a chain
/// can price or cap it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitCost {
    /// Nodes that were read or made.
    pub nodes_touched: u64,
    /// Bytes that were hashed, in checking what was read and in making what is new.
    pub bytes_hashed: u64,
}

/// What a batch of writes makes of the state that `reader` reads. Nothing is written.
///
/// Reads and hashes only the buckets that the writes fall into and the nodes above them, and what
/// shrinks into one bucket with those. Each node read is checked against its parent's commit.
///
/// *Errors:* see [`ReadError`].
pub fn commit<R: StateReader>(
    reader: &R,
    writes: &Writes,
) -> Result<Committed, ReadError<R::Error>> {
    let writes: Vec<Write<'_>> = writes.iter().collect();
    Committer::new(reader, &writes).run()
}

type Write<'a> = (&'a [u8], Option<&'a [u8]>);

struct Committer<'a, R: StateReader> {
    reader: &'a R,
    cursor: NodeCursor<'a, R>,
    writes: &'a [Write<'a>],
    builder: NodeBuilder<StateBytes<'a, R>>,
    /// The inner nodes that were opened: gone, unless they are made again.
    old: BTreeMap<Prefix, Children>,
    made: Made,
    replaced: Vec<Option<Vec<u8>>>,
    nodes_read: u64,
}

/// The inner nodes that were made, and how many bytes were hashed for inner nodes.
#[derive(Default)]
struct Made {
    nodes: Vec<(Prefix, Children)>,
    bytes_hashed: u64,
}

impl<'a, R: StateReader> Committer<'a, R> {
    fn new(reader: &'a R, writes: &'a [Write<'a>]) -> Self {
        let open = StateBytes {
            reader,
            buffer: Buffer::default(),
            buckets: 0,
            bytes_hashed: 0,
        };
        Self {
            reader,
            cursor: NodeCursor::new(reader),
            writes,
            builder: NodeBuilder::new(open),
            old: BTreeMap::new(),
            made: Made::default(),
            replaced: vec![None; writes.len()],
            nodes_read: 0,
        }
    }

    fn run(mut self) -> Result<Committed, ReadError<R::Error>> {
        let top = self.reader.top();
        let mut descent = Descent::new(top, 0..self.writes.len());
        if top.is_none() {
            self.put(0..self.writes.len())?;
        }
        while let Some((commit, writes)) = descent.next() {
            self.visit(&mut descent, commit, writes)?;
        }
        let Made {
            nodes,
            bytes_hashed,
        } = &mut self.made;
        let top = self.builder.finish(&mut |prefix, children| {
            *bytes_hashed += inner_body_bytes(prefix.bits()) as u64;
            nodes.push((prefix, children));
        })?;
        Ok(self.committed(top))
    }

    fn committed(self, top: Option<Commit>) -> Committed {
        let open = &self.builder.open;
        let cost = CommitCost {
            nodes_touched: self.nodes_read + open.buckets + self.made.nodes.len() as u64,
            bytes_hashed: self.made.bytes_hashed + open.bytes_hashed,
        };
        let mut old = self.old;
        let mut nodes = BTreeMap::new();
        for (prefix, children) in self.made.nodes {
            if old.remove(&prefix) != Some(children) {
                nodes.insert(prefix, Some(children));
            }
        }
        nodes.extend(old.into_keys().map(|prefix| (prefix, None)));
        Committed {
            top,
            nodes,
            replaced: self.replaced,
            cost,
        }
    }

    /// Takes the node at hand over as it is if no write falls into it; else goes into it.
    ///
    /// `writes` are those that lie after all nodes before this one and before all after it: some
    /// may lie beside the node rather than in it.
    fn visit(
        &mut self,
        descent: &mut Descent<Range<usize>>,
        commit: Commit,
        writes: Range<usize>,
    ) -> Result<(), ReadError<R::Error>> {
        let (before, inside, after) = self.split(writes.clone(), descent.path());
        if inside.is_empty() {
            return self.take_over(descent.path().clone(), commit, before, after);
        }
        if !commit.is_inner() {
            return self.open_bucket(descent.path(), &commit, writes);
        }
        let (prefix, children) = self.cursor.find(descent.path(), &commit)?;
        self.nodes_read += 1;
        self.made.bytes_hashed += inner_body_bytes(prefix.bits()) as u64;
        let (before, inside, after) = self.split(writes, &prefix);
        if inside.is_empty() {
            return self.take_over(prefix, commit, before, after);
        }
        self.put(before)?;
        *descent.path_mut() = prefix.clone();
        let mut right_place = prefix.clone();
        right_place.push(true);
        let (left, _, _) = self.split(inside.clone(), &right_place);
        let right = left.end..after.end;
        descent.open(children, left, right);
        self.old.insert(prefix, children);
        Ok(())
    }

    /// The writes before, among and after the keys that start with `place`.
    fn split(
        &self,
        writes: Range<usize>,
        place: &Prefix,
    ) -> (Range<usize>, Range<usize>, Range<usize>) {
        let all = self.writes.get(writes.clone()).unwrap_or_default();
        let before = all.partition_point(|(key, _)| place.place_of(key).is_lt());
        let up_to = all.partition_point(|(key, _)| place.place_of(key).is_le());
        let (inside, after) = (writes.start + before, writes.start + up_to);
        (writes.start..inside, inside..after, after..writes.end)
    }

    /// Takes over a node that no write falls into, with the writes on both sides of it.
    fn take_over(
        &mut self,
        prefix: Prefix,
        commit: Commit,
        before: Range<usize>,
        after: Range<usize>,
    ) -> Result<(), ReadError<R::Error>> {
        self.put(before)?;
        // Places rise in a walk, and so do the keys put between them.
        let common_bits = self.builder.rise_to(prefix.least_key()).unwrap_or(0);
        let sink = &mut |prefix, children| self.made.add(prefix, children);
        self.builder.subtree(prefix, commit, common_bits, sink)?;
        self.put(after)
    }

    /// Adds the writes where nothing was: deletes do nothing there.
    fn put(&mut self, writes: Range<usize>) -> Result<(), ReadError<R::Error>> {
        for (key, value) in self.writes.get(writes).unwrap_or_default() {
            if let Some(value) = value {
                self.entry(Entry { key, value })?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: Entry<'_>) -> Result<(), ReadError<R::Error>> {
        let common_bits = self.builder.rise_to(entry.key).unwrap_or(0);
        let sink = &mut |prefix, children| self.made.add(prefix, children);
        self.builder.entry(&entry, common_bits, sink)
    }

    /// Adds a bucket's entries, merged with the writes in and beside it.
    fn open_bucket(
        &mut self,
        place: &Prefix,
        commit: &Commit,
        writes: Range<usize>,
    ) -> Result<(), ReadError<R::Error>> {
        let old = self.builder.open.load(place, commit)?;
        let mut old = Entries::new(&old).map_while(Result::ok).peekable();
        for at in writes {
            let Some((key, value)) = self.writes.get(at).copied() else {
                break;
            };
            self.entries_below(&mut old, key)?;
            if let Some(replaced) = old.next_if(|entry| entry.key == key)
                && let Some(slot) = self.replaced.get_mut(at)
            {
                *slot = Some(replaced.value.to_vec());
            }
            if let Some(value) = value {
                self.entry(Entry { key, value })?;
            }
        }
        old.try_for_each(|entry| self.entry(entry))
    }

    fn entries_below<'b>(
        &mut self,
        old: &mut Peekable<impl Iterator<Item = Entry<'b>>>,
        end: &[u8],
    ) -> Result<(), ReadError<R::Error>> {
        while let Some(entry) = old.next_if(|entry| entry.key < end) {
            self.entry(entry)?;
        }
        Ok(())
    }
}

impl Made {
    fn add(&mut self, prefix: Prefix, children: Children) {
        self.bytes_hashed += inner_body_bytes(prefix.bits()) as u64;
        self.nodes.push((prefix, children));
    }
}

/// Open bytes of which some may still lie in the state that is written to.
struct StateBytes<'a, R> {
    reader: &'a R,
    buffer: Buffer,
    /// How many buckets were read or made.
    buckets: u64,
    bytes_hashed: u64,
}

impl<R: StateReader> StateBytes<'_, R> {
    /// The encodings of a bucket's entries, checked against its commit.
    fn load(&mut self, place: &Prefix, commit: &Commit) -> Result<Vec<u8>, ReadError<R::Error>> {
        let bytes = read_bucket(self.reader, &place.range(), commit)?;
        self.buckets += 1;
        self.bytes_hashed += commit.bytes;
        bytes.ok_or_else(|| ReadError::Damaged(place.range()))
    }
}

impl<R: StateReader> OpenBytes for StateBytes<'_, R> {
    type Error = ReadError<R::Error>;

    fn append(&mut self, entry: &Entry<'_>) {
        self.buffer.append(entry);
    }

    fn close(&mut self, bytes: usize) -> NodeHash {
        self.buckets += 1;
        self.bytes_hashed += bytes as u64;
        self.buffer.close(bytes)
    }

    fn reopen(&mut self, bucket: &Bucket, behind: usize) -> Result<(), Self::Error> {
        let entries = self.load(&bucket.prefix, &bucket.commit)?;
        self.buffer.insert(&entries, behind);
        Ok(())
    }
}

/// The encodings of the entries in `range`, if they are the bucket that `commit` says.
pub(crate) fn read_bucket<R: StateReader>(
    reader: &R,
    range: &KeyRange,
    commit: &Commit,
) -> Result<Option<Vec<u8>>, R::Error> {
    let (mut bytes, mut entries) = (Vec::new(), 0_u64);
    reader.entries(range, &mut |key, value| {
        Entry { key, value }.encode(&mut bytes);
        entries += 1;
        // More than the bucket holds is read no further.
        if bytes.len() as u64 > commit.bytes {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    let same = entries == commit.entries
        && bytes.len() as u64 == commit.bytes
        && bucket_hash(&bytes) == commit.hash;
    Ok(same.then_some(bytes))
}
