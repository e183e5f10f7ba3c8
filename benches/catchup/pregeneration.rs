//! From a store to packed parts in a cache.

use std::sync::atomic::{AtomicUsize, Ordering};

use ketch_store::{PartCache, ShardStore};
use ketch_trie::PackedPart;
use ketch_types::{Epoch, PartIndex};

use crate::Options;
use crate::measure::{Sample, Samples, print_share, sample};
use crate::pieces::{indices, open, unpacked};
use crate::seed::Seed;
use crate::state::BenchState;

/// All parts of the seed's store, beside reading and packing alone.
pub(crate) fn run(options: &Options, state: &BenchState, seed: &Seed) {
    let bytes = state.bytes();
    let mut pregeneration =
        [1, 2].map(|threads| Samples::new(format!("pre-generate, {threads} threads"), bytes));
    let mut pack = Samples::new("pack, 1 thread", bytes);
    let mut read = Samples::new("read and verify parts from the store, 1 thread", bytes);
    let store = open(&seed.member.shard());
    for _ in 0..options.rounds {
        read.add(read_all(state, &store));
        pack.add(pack_all(state, &seed.packed));
        for (threads, samples) in [1, 2].into_iter().zip(&mut pregeneration) {
            samples.add(pregenerate(state, &store, threads));
        }
    }
    println!();
    read.print();
    pack.print();
    pregeneration.iter().for_each(Samples::print);
    let bound = 1e3 / (read.cpu_per_gb() + pack.cpu_per_gb());
    print_share("one thread", &pregeneration[0], bound);
    print_share("two threads", &pregeneration[1], 2.0 * bound);
}

fn pack_all(state: &BenchState, packed: &[PackedPart]) -> Sample {
    let payloads: Vec<_> = indices(state).map(|index| unpacked(state, packed, index)).collect();
    sample(|| {
        for payload in &payloads {
            std::hint::black_box(PackedPart::pack(payload));
        }
    })
    .1
}

fn read_all(state: &BenchState, store: &ShardStore) -> Sample {
    let view = store.epoch(Epoch(0)).expect("the start of epoch 0");
    sample(|| {
        for index in indices(state) {
            std::hint::black_box(view.part(index).expect("our own part"));
        }
    })
    .1
}

/// All parts from the store into an empty cache.
fn pregenerate(state: &BenchState, store: &ShardStore, threads: usize) -> Sample {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = PartCache::open(folder.path(), u64::MAX).expect("a new cache");
    let next = AtomicUsize::new(0);
    let view = store.epoch(Epoch(0)).expect("the start of epoch 0");
    sample(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let take = || u32::try_from(next.fetch_add(1, Ordering::Relaxed)).ok();
                    while let Some(index) = take().filter(|i| *i < state.manifest.part_count()) {
                        let part = view.part(PartIndex(index)).expect("our own part");
                        cache.insert(&part, Epoch(0)).expect("kept");
                    }
                });
            }
        });
    })
    .1
}
