//! From packed parts in memory to a queryable store, and back to packed parts.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use ketch_store::{PartCache, ShardStore, StoreConfig};
use ketch_trie::{PackedPart, VerifiedPart};
use ketch_types::{Epoch, Height, PartIndex};

use crate::Options;
use crate::measure::{Sample, Samples, peak_mib, sample};
use crate::state::{BenchState, ENTRY_BYTES, value};

/// How many threads take windows from arrival to the store.
const LANES: [usize; 3] = [1, 2, 3];

/// Everything that is measured against the pieces it is made of, in turns.
pub(crate) fn run(options: &Options) {
    let state = BenchState::new(options.state_bytes / ENTRY_BYTES);
    let packed = state.packed();
    let packed_bytes: usize = packed.iter().map(|part| part.bytes.len()).sum();
    println!(
        "\n{} parts, {} windows, lz4 ratio {:.3}",
        packed.len(),
        state.windows().len(),
        packed_bytes as f64 / state.bytes() as f64
    );
    let bytes = state.bytes();
    let mut unpack = Samples::new("unpack, 1 thread", bytes);
    let mut verify = Samples::new("verify, 1 thread", bytes);
    let mut ingest = Samples::new("ingest verified parts, 2 lanes", bytes);
    let mut arrival =
        LANES.map(|lanes| Samples::new(format!("unpack + verify + ingest, {lanes} lanes"), bytes));
    let mut pregeneration =
        [1, 2].map(|threads| Samples::new(format!("pre-generate, {threads} threads"), bytes));
    let mut pack = Samples::new("pack, 1 thread", bytes);
    let mut read = Samples::new("read and verify parts from the store, 1 thread", bytes);
    for _ in 0..options.rounds {
        if options.runs("pieces") || options.runs("arrival") {
            unpack.add(unpack_all(&state, &packed));
            let (parts, took) = verify_all(&state, &packed);
            verify.add(took);
            ingest.add(ingest_all(&state, parts));
            for (lanes, samples) in LANES.into_iter().zip(&mut arrival) {
                samples.add(arrive(&state, &packed, lanes));
            }
        }
        if options.runs("pregeneration") {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let store = filled(&state, &packed, folder.path());
            read.add(read_all(&state, &store));
            pack.add(pack_all(&state, &packed));
            for (threads, samples) in [1, 2].into_iter().zip(&mut pregeneration) {
                samples.add(pregenerate(&state, &store, threads));
            }
        }
    }
    if options.runs("pieces") || options.runs("arrival") {
        print_arrival(&unpack, &verify, &ingest, &arrival);
    }
    if options.runs("pregeneration") {
        println!();
        read.print();
        pack.print();
        pregeneration.iter().for_each(Samples::print);
        let bound = 1e3 / (read.cpu_per_gb() + pack.cpu_per_gb());
        print_share("one thread", &pregeneration[0], bound);
        print_share("two threads", &pregeneration[1], 2.0 * bound);
    }
    println!("peak memory {} MiB, the packed parts and keys of the benchmark included", peak_mib());
}

fn print_arrival(unpack: &Samples, verify: &Samples, ingest: &Samples, arrival: &[Samples]) {
    println!();
    for samples in [unpack, verify, ingest].into_iter().chain(arrival) {
        samples.print();
    }
    // What two cores could do if nothing waited.
    let bound = 2e3 / (unpack.cpu_per_gb() + verify.cpu_per_gb() + ingest.cpu_per_gb());
    for (lanes, samples) in LANES.into_iter().zip(arrival) {
        print_share(&format!("{lanes} lanes"), samples, bound);
    }
}

fn print_share(name: &str, samples: &Samples, bound: f64) {
    let share = 100.0 * samples.best_rate() / bound;
    println!("{name}: {share:.0} % of the {bound:.0} MB/s that the pieces' CPU time allows");
}

fn unpacked(state: &BenchState, packed: &[PackedPart], index: PartIndex) -> Vec<u8> {
    let part = state.manifest.part(index).expect("a part of the state");
    let bytes = usize::try_from(part.bytes()).expect("small");
    packed[index.0 as usize].unpack(bytes).expect("packed by us")
}

fn indices(state: &BenchState) -> impl Iterator<Item = PartIndex> {
    (0..state.manifest.part_count()).map(PartIndex)
}

fn unpack_all(state: &BenchState, packed: &[PackedPart]) -> Sample {
    sample(|| {
        for index in indices(state) {
            std::hint::black_box(unpacked(state, packed, index));
        }
    })
    .1
}

fn verify_all(state: &BenchState, packed: &[PackedPart]) -> (Vec<VerifiedPart>, Sample) {
    let payloads: Vec<_> = indices(state).map(|index| unpacked(state, packed, index)).collect();
    sample(|| {
        let verify =
            |(index, payload)| state.manifest.verify(index, payload).expect("our own part");
        indices(state).zip(payloads).map(verify).collect()
    })
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

fn open(folder: &Path) -> ShardStore {
    ShardStore::open(folder, StoreConfig::default()).expect("a new store").store
}

/// Windows of parts that were verified before, into a new store.
fn ingest_all(state: &BenchState, parts: Vec<VerifiedPart>) -> Sample {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(folder.path());
    let mut parts = parts.into_iter();
    let mut windows: Vec<_> = state
        .windows()
        .into_iter()
        .map(|window| {
            let count = (window.end.0 - window.start.0) as usize;
            (window, Some(parts.by_ref().take(count).collect::<Vec<_>>()))
        })
        .collect();
    let (left, right) = windows.split_at_mut(state.windows().len() / 2);
    sample(|| {
        std::thread::scope(|scope| {
            for half in [left, right] {
                scope.spawn(|| {
                    for (window, parts) in half {
                        let parts = parts.take().expect("taken once");
                        store.apply(&state.manifest, window.clone(), parts).expect("applied");
                    }
                });
            }
        });
        store.complete(&state.manifest, Epoch(0), Height(0)).expect("complete");
    })
    .1
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

fn filled(state: &BenchState, packed: &[PackedPart], folder: &Path) -> ShardStore {
    let store = open(folder);
    fill(state, packed, &store, 2);
    store
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
