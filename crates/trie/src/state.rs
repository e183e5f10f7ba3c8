use std::collections::BTreeMap;
use std::collections::btree_map;
use std::convert::Infallible;
use std::iter::Peekable;
use std::ops::{Bound, ControlFlow};

use ketch_types::{KeyRange, StateRoot};
use thiserror::Error;

use crate::commit::{Committed, Writes, commit};
use crate::node::{Children, Commit, state_root};
use crate::prefix::Prefix;

/// What is shown the key and the value of one entry after the other, and may break off.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// A state that can be read: its entries in key order and, beside them, its inner nodes.
pub trait StateReader {
    /// Why the state could not be read.
    type Error;

    /// Inner nodes in order, each with its place.
    type Nodes<'a>: Iterator<Item = Result<(Prefix, Children), Self::Error>>
    where
        Self: 'a;

    /// The state's top node; none if it has no entries.
    fn top(&self) -> Option<Commit>;

    /// The inner nodes at and after `from`, in the order of prefixes.
    fn nodes(&self, from: &Prefix) -> Self::Nodes<'_>;

    /// Shows the entries in `range` in key order until `visit` breaks off.
    fn entries(&self, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), Self::Error>;
}

/// Why a state could not be worked on.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError<E> {
    /// The state could not be read.
    #[error("the state could not be read")]
    Reader(#[source] E),
    /// What was read is not what its parent, or the root, commits to.
    #[error("the state is damaged in {0:?}")]
    Damaged(KeyRange),
}

impl<E> From<E> for ReadError<E> {
    fn from(error: E) -> Self {
        Self::Reader(error)
    }
}

/// The state without entries.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptyState;

impl StateReader for EmptyState {
    type Error = Infallible;
    type Nodes<'a> = std::iter::Empty<Result<(Prefix, Children), Infallible>>;

    fn top(&self) -> Option<Commit> {
        None
    }

    fn nodes(&self, _: &Prefix) -> Self::Nodes<'_> {
        std::iter::empty()
    }

    fn entries(&self, _: &KeyRange, _: &mut Visit<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// A state and the writes laid over it, so that what is speculative never reaches the store.
#[derive(Clone, Debug)]
pub struct Overlay<R> {
    base: R,
    top: Option<Commit>,
    entries: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    nodes: BTreeMap<Prefix, Option<Children>>,
}

/// A state held in memory.
pub type MemoryState = Overlay<EmptyState>;

impl<R: StateReader> Overlay<R> {
    /// The base's state, so far without writes.
    pub fn new(base: R) -> Self {
        let top = base.top();
        Self { base, top, entries: BTreeMap::new(), nodes: BTreeMap::new() }
    }

    /// The root of the state with all writes.
    pub fn root(&self) -> StateRoot {
        state_root(self.top.as_ref())
    }

    /// Lays `writes` over the state, and says what that changed.
    ///
    /// *Errors:* see [`ReadError`]; after one, nothing has changed.
    pub fn commit(&mut self, writes: &Writes) -> Result<Committed, ReadError<R::Error>> {
        let committed = commit(self, writes)?;
        self.apply(writes, &committed);
        Ok(committed)
    }

    /// Lays writes over the state whose commit was computed elsewhere.
    pub fn apply(&mut self, writes: &Writes, committed: &Committed) {
        self.top = committed.top;
        let writes = writes.iter().map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec)));
        self.entries.extend(writes);
        self.nodes.extend(committed.nodes.iter().map(|(prefix, node)| (prefix.clone(), *node)));
    }
}

impl Default for MemoryState {
    fn default() -> Self {
        Self::new(EmptyState)
    }
}

impl<R: StateReader> StateReader for Overlay<R> {
    type Error = R::Error;
    type Nodes<'a>
        = OverlayNodes<'a, R::Nodes<'a>>
    where
        R: 'a;

    fn top(&self) -> Option<Commit> {
        self.top
    }

    fn nodes(&self, from: &Prefix) -> Self::Nodes<'_> {
        let over = self.nodes.range(from..).peekable();
        OverlayNodes { base: self.base.nodes(from).peekable(), over }
    }

    fn entries(&self, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), R::Error> {
        if range.is_empty() {
            return Ok(());
        }
        let end = range.high.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let bounds = (Bound::Included(range.low.as_slice()), end);
        let mut over = self.entries.range::<[u8], _>(bounds).peekable();
        let mut flow = ControlFlow::Continue(());
        self.base.entries(range, &mut |key, value| {
            flow = show_until(&mut over, Some(key), visit);
            let shadowed = over.next_if(|(over_key, _)| over_key.as_slice() == key);
            if flow.is_continue() {
                flow = match shadowed {
                    Some((key, Some(value))) => visit(key, value),
                    Some((_, None)) => ControlFlow::Continue(()),
                    None => visit(key, value),
                };
            }
            flow
        })?;
        if flow.is_continue() {
            let _ = show_until(&mut over, None, visit);
        }
        Ok(())
    }
}

/// Shows the writes below `end`, or all that are left.
fn show_until(
    over: &mut Peekable<btree_map::Range<'_, Vec<u8>, Option<Vec<u8>>>>,
    end: Option<&[u8]>,
    visit: &mut Visit<'_>,
) -> ControlFlow<()> {
    while let Some((key, value)) =
        over.next_if(|(key, _)| end.is_none_or(|end| key.as_slice() < end))
    {
        if let Some(value) = value {
            visit(key, value)?;
        }
    }
    ControlFlow::Continue(())
}

/// The nodes of a base with an overlay's changes, merged in order.
pub struct OverlayNodes<'a, I: Iterator> {
    base: Peekable<I>,
    over: Peekable<btree_map::Range<'a, Prefix, Option<Children>>>,
}

impl<I, E> Iterator for OverlayNodes<'_, I>
where
    I: Iterator<Item = Result<(Prefix, Children), E>>,
{
    type Item = Result<(Prefix, Children), E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((over, _)) = self.over.peek() else {
                return self.base.next();
            };
            match self.base.peek() {
                Some(Err(_)) => return self.base.next(),
                Some(Ok((base, _))) if base < *over => return self.base.next(),
                Some(Ok((base, _))) if base == *over => drop(self.base.next()),
                _ => {}
            }
            if let Some((prefix, Some(children))) = self.over.next() {
                return Some(Ok((prefix.clone(), *children)));
            }
        }
    }
}

/// How many nodes are stepped over rather than sought past: a new search in a store costs as much
/// as reading a few dozen neighbours.
const STEPS_MAX: usize = 32;

/// Finds single nodes, going along with the reader's order where that is cheaper than searching.
///
/// *Shape:* the places asked for must rise.
pub(crate) struct NodeCursor<'a, R: StateReader + 'a> {
    reader: &'a R,
    ahead: Option<Peekable<R::Nodes<'a>>>,
}

impl<'a, R: StateReader> NodeCursor<'a, R> {
    pub(crate) fn new(reader: &'a R) -> Self {
        Self { reader, ahead: None }
    }

    /// The first node at or below `place`, provided that its commit is `expected`.
    pub(crate) fn find(
        &mut self,
        place: &Prefix,
        expected: &Commit,
    ) -> Result<(Prefix, Children), ReadError<R::Error>> {
        self.first_at(place)?
            .filter(|(prefix, children)| {
                place.covers(prefix) && children.commit(prefix).as_ref() == Some(expected)
            })
            .ok_or_else(|| ReadError::Damaged(place.range()))
    }

    /// The first node that is not before `place`.
    pub(crate) fn first_at(
        &mut self,
        place: &Prefix,
    ) -> Result<Option<(Prefix, Children)>, R::Error> {
        if !self.ahead.as_mut().is_some_and(|ahead| step_to(ahead, place)) {
            self.ahead = Some(self.reader.nodes(place).peekable());
        }
        let Some(ahead) = &mut self.ahead else {
            return Ok(None);
        };
        match ahead.peek() {
            Some(Ok(found)) => Ok(Some(found.clone())),
            Some(Err(_)) | None => ahead.next().transpose(),
        }
    }
}

/// Whether a few steps lead to the first node that is not before `place`.
fn step_to<I, E>(ahead: &mut Peekable<I>, place: &Prefix) -> bool
where
    I: Iterator<Item = Result<(Prefix, Children), E>>,
{
    let before = |node: &I::Item| node.as_ref().is_ok_and(|(prefix, _)| prefix < place);
    (0..STEPS_MAX).any(|_| ahead.next_if(before).is_none())
}
