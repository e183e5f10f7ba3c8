//! From a store to packed parts in a cache.

use ketch_store::ShardStore;
use ketch_trie::PackedPart;
use ketch_types::Epoch;

use crate::Options;
use crate::measure::{Sample, Samples, print_share, sample};
use crate::pieces::{indices, open, unpacked};
use crate::seed::{Seed, generate};
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
            samples.add(pregenerate(&store, threads));
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
fn pregenerate(store: &ShardStore, threads: usize) -> Sample {
    let folder = tempfile::tempdir().expect("a temporary folder");
    sample(|| generate(store, folder.path(), threads)).1
}
