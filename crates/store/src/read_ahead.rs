//! Reading the buckets that a commit will ask for while it works on those before.
//!
//! Reading entries is half of a commit's time, so a second thread does it. What it reads is checked
//! by the commit like anything else that is read.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use ketch_trie::{
    Commit, Committed, Entries, Entry, Prefix, ReadError, StateReader, Visit, Writes, commit,
    touched_buckets,
};
use ketch_types::{KeyRange, VALUE_BYTES_MAX};

use crate::StoreError;
use crate::view::{NodeIter, StateView};

/// Buckets that are handed over together: waking a thread costs as much as reading one.
const RUN: usize = 8;
/// Runs that wait, so that neither thread often waits for the other.
const RUNS_AHEAD: usize = 8;
/// One bucket in so many is left to the commit, which else would wait: reading takes longer than all
/// the rest.
const LEFT_ONE_IN: usize = 4;
/// With fewer writes than this another thread is not worth it.
const WRITES_MIN: usize = 16;

/// What a batch of writes makes of a state in the store.
pub(crate) fn commit_ahead(
    view: &StateView,
    writes: &Writes,
) -> Result<Committed, ReadError<StoreError>> {
    if writes.len() < WRITES_MIN {
        return commit(view, writes);
    }
    thread::scope(|scope| {
        let (send, runs) = sync_channel(RUNS_AHEAD);
        let reader = thread::Builder::new().name("ketch-read-ahead".to_owned());
        // Without another thread everything is read when it is asked for.
        let _ = reader.spawn_scoped(scope, move || read(view, writes, &send));
        commit(&ReadAhead { view, next: RefCell::default(), runs }, writes)
    })
}

/// The entries of one key range, encoded.
struct BucketBytes {
    range: KeyRange,
    entries: Vec<u8>,
}

/// Reads buckets in the order in which a commit asks for them, until nobody wants more.
fn read(view: &StateView, writes: &Writes, send: &SyncSender<Vec<BucketBytes>>) {
    let (mut run, mut buckets) = (Vec::with_capacity(RUN), 0_usize);
    // Whatever cannot be read here, the commit meets it as well, and says so.
    let _ = touched_buckets(view, writes, &mut |range| {
        buckets += 1;
        if buckets.is_multiple_of(LEFT_ONE_IN) {
            return ControlFlow::Continue(());
        }
        let mut entries = Vec::new();
        let read = view.entries(&range, &mut |key, value| {
            // What is too long for a bucket is damage, for the commit to find.
            match Entry::new(key, value) {
                Ok(entry) if entries.len() <= VALUE_BYTES_MAX => entry.encode(&mut entries),
                _ => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        });
        run.push(BucketBytes { range, entries });
        let full = run.len() == RUN;
        if read.is_err() || (full && send.send(std::mem::take(&mut run)).is_err()) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    let _ = send.send(run);
}

/// A view of which some buckets have been read already.
struct ReadAhead<'a> {
    view: &'a StateView,
    /// What was handed over and not asked for yet.
    next: RefCell<VecDeque<BucketBytes>>,
    runs: Receiver<Vec<BucketBytes>>,
}

impl ReadAhead<'_> {
    /// The bucket of a range, if it is the next that was read.
    fn take(&self, range: &KeyRange) -> Option<BucketBytes> {
        let mut next = self.next.borrow_mut();
        loop {
            match next.front() {
                None => next.extend(self.runs.recv().ok()?),
                Some(bucket) if bucket.range.low < range.low => drop(next.pop_front()),
                Some(bucket) if bucket.range == *range => return next.pop_front(),
                Some(_) => return None,
            }
        }
    }
}

impl StateReader for ReadAhead<'_> {
    type Error = StoreError;
    type Nodes<'a>
        = NodeIter
    where
        Self: 'a;

    fn top(&self) -> Option<Commit> {
        self.view.top()
    }

    fn nodes(&self, from: &Prefix) -> NodeIter {
        self.view.nodes(from)
    }

    fn entries(&self, range: &KeyRange, visit: &mut Visit<'_>) -> Result<(), StoreError> {
        let Some(bucket) = self.take(range) else { return self.view.entries(range, visit) };
        for entry in Entries::new(&bucket.entries).map_while(Result::ok) {
            if visit(entry.key, entry.value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
