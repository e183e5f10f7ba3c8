use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use ketch_types::{KeyRange, NodeHash, StateRoot};

use crate::descent::Descent;
use crate::entry::{Entries, Entry, EntryError};
use crate::node::{BUCKET_BYTES, Children, Commit, bucket_hash, inner_body_bytes, state_root};
use crate::node_builder::NodeBuilder;
use crate::open_bytes::{Bucket, Buffer, OpenBytes};
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
        self.writes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
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
        let open = StateBytes { reader, buffer: Buffer::default(), buckets: 0, bytes_hashed: 0 };
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
        let top = self.builder.finish(&mut |prefix, children| self.made.add(prefix, children))?;
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
        Committed { top, nodes, replaced: self.replaced, cost }
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
        let (before, inside, after) = split(self.writes, writes.clone(), descent.path());
        if inside.is_empty() {
            return self.take_over(descent.path().clone(), commit, before, after);
        }
        if !commit.is_inner() {
            self.put(before)?;
            self.open_bucket(descent.path(), &commit, inside)?;
            return self.put(after);
        }
        let (prefix, children) = self.cursor.find(descent.path(), &commit)?;
        self.nodes_read += 1;
        self.made.bytes_hashed += inner_body_bytes(prefix.bits()) as u64;
        let (before, inside, after) = split(self.writes, writes, &prefix);
        if inside.is_empty() {
            return self.take_over(prefix, commit, before, after);
        }
        self.put(before)?;
        open_node(descent, self.writes, &prefix, children, (inside, after));
        self.old.insert(prefix, children);
        Ok(())
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

    /// Adds a bucket's entries with the writes into it.
    fn open_bucket(
        &mut self,
        place: &Prefix,
        commit: &Commit,
        writes: Range<usize>,
    ) -> Result<(), ReadError<R::Error>> {
        let old = self.builder.open.load(place, commit)?;
        let inside = self.writes.get(writes.clone()).unwrap_or_default();
        let replaced = self.replaced.get_mut(writes).unwrap_or_default();
        let new = merge(&old, inside, replaced);
        let mut entries = Entries::new(&new).map_while(Result::ok);
        if new.len() as u64 > BUCKET_BYTES {
            return entries.try_for_each(|entry| self.entry(entry));
        }
        // What fits a bucket is one, whatever lies in it: no separator inside it is of use.
        let Some(first) = entries.next() else {
            return Ok(());
        };
        let (count, last) = entries.fold((1, first), |(count, _), entry| (count + 1, entry));
        let common_bits = self.builder.rise_to(first.key).unwrap_or(0);
        let append = |open: &mut StateBytes<'_, R>| open.buffer.append_run(&new);
        let sink = &mut |prefix, children| self.made.add(prefix, children);
        self.builder.run((count, new.len() as u64), append, last.key, common_bits, sink)
    }
}

/// The key ranges of the buckets that `writes` fall into, in key order: what a commit of them reads
/// first, so that somebody else can read it ahead. It ends when `on` breaks off.
///
/// *Errors:* see [`ReadError`].
pub fn touched_buckets<R: StateReader>(
    reader: &R,
    writes: &Writes,
    on: &mut dyn FnMut(KeyRange) -> ControlFlow<()>,
) -> Result<(), ReadError<R::Error>> {
    let writes: Vec<Write<'_>> = writes.iter().collect();
    let mut cursor = NodeCursor::new(reader);
    let mut descent = Descent::new(reader.top(), 0..writes.len());
    while let Some((commit, beside)) = descent.next() {
        let (_, inside, _) = split(&writes, beside.clone(), descent.path());
        if inside.is_empty() {
            continue;
        }
        if !commit.is_inner() {
            if on(descent.path().range()).is_break() {
                break;
            }
            continue;
        }
        let (prefix, children) = cursor.find(descent.path(), &commit)?;
        let (_, inside, after) = split(&writes, beside, &prefix);
        if !inside.is_empty() {
            open_node(&mut descent, &writes, &prefix, children, (inside, after));
        }
    }
    Ok(())
}

/// The writes before, among and after the keys that start with `place`.
fn split(
    writes: &[Write<'_>],
    range: Range<usize>,
    place: &Prefix,
) -> (Range<usize>, Range<usize>, Range<usize>) {
    let all = writes.get(range.clone()).unwrap_or_default();
    let before = all.partition_point(|(key, _)| place.place_of(key).is_lt());
    let up_to = all.partition_point(|(key, _)| place.place_of(key).is_le());
    let (inside, after) = (range.start + before, range.start + up_to);
    (range.start..inside, inside..after, after..range.end)
}

/// Goes down into an inner node, with the writes inside it and those after it.
fn open_node(
    descent: &mut Descent<Range<usize>>,
    writes: &[Write<'_>],
    prefix: &Prefix,
    children: Children,
    (inside, after): (Range<usize>, Range<usize>),
) {
    *descent.path_mut() = prefix.clone();
    let mut right_place = prefix.clone();
    right_place.push(true);
    let (left, _, _) = split(writes, inside, &right_place);
    let right = left.end..after.end;
    descent.open(children, left, right);
}

/// The encodings of a bucket's entries after some writes; `replaced` are the values that they hit.
fn merge(old: &[u8], writes: &[Write<'_>], replaced: &mut [Option<Vec<u8>>]) -> Vec<u8> {
    let mut new = Vec::with_capacity(old.len());
    let mut rest = old;
    for ((key, value), replaced) in writes.iter().zip(replaced) {
        let (below, from_key) =
            rest.split_at_checked(bytes_below(rest, key)).unwrap_or((rest, &[]));
        new.extend_from_slice(below);
        rest = from_key;
        if let Ok((entry, after)) = Entry::decode(rest)
            && entry.key == *key
        {
            *replaced = Some(entry.value.to_vec());
            rest = after;
        }
        if let Some(value) = value {
            Entry { key, value }.encode(&mut new);
        }
    }
    new.extend_from_slice(rest);
    new
}

/// How many bytes the entries below `key` take.
fn bytes_below(encoded: &[u8], key: &[u8]) -> usize {
    let entries = Entries::new(encoded).map_while(Result::ok);
    entries.take_while(|entry| entry.key < key).map(|entry| entry.bytes()).sum()
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
