//! From packed parts in memory to a queryable store.

use std::sync::atomic::{AtomicUsize, Ordering};

use ketch_store::ShardStore;
use ketch_trie::PackedPart;
use ketch_types::{Epoch, Height, PartIndex};

use crate::measure::{Sample, Samples, print_share, sample};
use crate::pieces::{open, unpacked};
use crate::seed::Seed;
use crate::state::{BenchState, value};

/// How many threads take windows from arrival to the store: one more than cores, since one waits for
/// the disk.
const LANES: usize = 3;

/// Parts that arrive without a network.
pub(crate) struct Arrival(Samples);

impl Arrival {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Samples::new(format!("unpack + verify + ingest, {LANES} lanes"), bytes))
    }

    pub(crate) fn round(&mut self, state: &BenchState, seed: &Seed) {
        self.0.add(arrive(state, &seed.packed, LANES));
    }

    pub(crate) fn print(&self, bound: f64) {
        self.0.print();
        print_share("without a network", &self.0, bound);
    }
}

/// Packed parts into a new store, until 1,000 keys read right.
fn arrive(state: &BenchState, packed: &[PackedPart], lanes: usize) -> Sample {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path());
    sample(|| {
        fill(state, packed, &store, lanes);
        let view = store.view().expect("a complete state");
        for key in state.keys.iter().step_by((state.keys.len() / 1_000).max(1)) {
            let found = view.value(key).expect("readable");
            assert_eq!(found.as_deref(), Some(&value(key)[..]));
        }
    })
    .1
}

fn fill(state: &BenchState, packed: &[PackedPart], store: &ShardStore, lanes: usize) {
    let mut windows = state.windows();
    // Arrival is in no order: take them from all over the state.
    windows.sort_by_key(|window| blake3::hash(&window.start.0.to_le_bytes()).as_bytes()[0]);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                while let Some(window) = windows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let parts = (window.start.0..window.end.0).map(PartIndex).map(|index| {
                        let payload = unpacked(state, packed, index);
                        state.manifest.verify(index, payload).expect("our own part")
                    });
                    store.apply(&state.manifest, window.clone(), parts).expect("applied");
                }
            });
        }
    });
    store.complete(&state.manifest, Epoch(0), Height(0)).expect("complete");
}
