//! What a commit will read is known before it reads.

use std::cell::RefCell;
use std::convert::Infallible;
use std::ops::ControlFlow;

use ketch_trie::{Commit, MemoryState, Prefix, StateReader, Visit, commit, touched_buckets};
use ketch_types::KeyRange;
use proptest::prelude::*;

use super::properties::{changes, items, some_deletes};
use super::{state_of, writes_of};

/// A state that notes which ranges of its entries are read.
struct Noted<'a> {
    state: &'a MemoryState,
    read: RefCell<Vec<KeyRange>>,
}

impl StateReader for Noted<'_> {
    type Error = Infallible;
    type Nodes<'a>
        = <MemoryState as StateReader>::Nodes<'a>
    where
        Self: 'a;

    fn top(&self) -> Option<Commit> {
        self.state.top()
    }

    fn nodes(&self, from: &Prefix) -> Self::Nodes<'_> {
        self.state.nodes(from)
    }

    fn entries(&self, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), Infallible> {
        self.read.borrow_mut().push(range.clone());
        self.state.entries(range, visit)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_buckets_that_writes_fall_into_are_named_in_the_order_in_which_a_commit_reads_them(
        items in items(), changes in changes(), deletes in 0_usize..5,
    ) {
        let state = state_of(&items);
        let changes = if deletes == 0 { changes } else { some_deletes(&items, deletes) };
        let writes = writes_of(changes.iter().map(|(key, value)| (key, value.as_ref())));
        let noted = Noted { state: &state, read: RefCell::default() };
        commit(&noted, &writes).unwrap();
        let mut named = Vec::new();
        touched_buckets(&state, &writes, &mut |range| {
            named.push(range);
            ControlFlow::Continue(())
        })
        .unwrap();
        let mut read = noted.read.into_inner().into_iter();
        for range in &named {
            prop_assert!(changes.keys().any(|key| range.contains(key)), "{range:?}");
            prop_assert!(read.any(|read| read == *range), "{range:?} is not read, or not then");
        }
        // What is read beside them is only what shrinks into one bucket with them.
        let written = |range: &KeyRange| changes.keys().any(|key| range.contains(key));
        prop_assert!(read.all(|range| !written(&range)), "after {named:?}");
    }
}

#[test]
fn whoever_has_enough_is_told_of_no_more_buckets() {
    let items = (0_u16..200).map(|i| (i.to_be_bytes().to_vec(), vec![1; 1_000])).collect();
    let state = state_of(&items);
    let all = writes_of(items.keys().map(|key| (key, None)));
    let mut named = 0;
    touched_buckets(&state, &all, &mut |_| {
        named += 1;
        if named == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(named, 3);
}
