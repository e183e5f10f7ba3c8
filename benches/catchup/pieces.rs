//! The pieces that a catchup is made of, each alone.

use std::path::Path;

use ketch_store::{ShardStore, StoreConfig};
use ketch_trie::{PackedPart, VerifiedPart};
use ketch_types::{Epoch, Height, PartIndex};

use crate::measure::{Sample, Samples, sample};
use crate::seed::Seed;
use crate::state::BenchState;
use crate::stream::stream_all;

/// What of a catchup was measured alone.
pub(crate) struct Pieces {
    stream: Samples,
    unpack: Samples,
    verify: Samples,
    ingest: Samples,
    /// How much is streamed for each byte of the state.
    ratio: f64,
}

impl Pieces {
    pub(crate) fn new(seed: &Seed) -> Self {
        let bytes = seed.bytes();
        Self {
            stream: Samples::new("stream packed parts, both ends", seed.packed_bytes()),
            unpack: Samples::new("unpack, 1 thread", bytes),
            verify: Samples::new("verify, 1 thread", bytes),
            ingest: Samples::new("ingest verified parts, 2 lanes", bytes),
            ratio: seed.packed_bytes() as f64 / bytes as f64,
        }
    }

    /// Each once.
    pub(crate) fn round(&mut self, state: &BenchState, seed: &Seed) {
        self.stream.add(stream_all(&seed.manifest, &seed.packed));
        self.unpack.add(unpack_all(state, &seed.packed));
        let (parts, took) = verify_all(state, &seed.packed);
        self.verify.add(took);
        self.ingest.add(ingest_all(state, parts));
    }

    pub(crate) fn print(&self) {
        for samples in [&self.stream, &self.unpack, &self.verify, &self.ingest] {
            samples.print();
        }
    }

    /// What two cores could do if nothing waited, from packed parts in memory to the store. *Units:* MB/s.
    pub(crate) fn bound_in_memory(&self) -> f64 {
        2e3 / self.cpu_in_memory()
    }

    /// The same from the network. *Units:* MB/s.
    pub(crate) fn bound(&self) -> f64 {
        2e3 / (self.stream.cpu_per_gb() * self.ratio + self.cpu_in_memory())
    }

    /// *Units:* milliseconds per MB.
    fn cpu_in_memory(&self) -> f64 {
        let pieces = [&self.unpack, &self.verify, &self.ingest];
        pieces.map(Samples::cpu_per_gb).iter().sum()
    }
}

pub(crate) fn unpacked(state: &BenchState, packed: &[PackedPart], index: PartIndex) -> Vec<u8> {
    let part = state.manifest.part(index).expect("a part of the state");
    let bytes = usize::try_from(part.bytes()).expect("small");
    packed[index.0 as usize].unpack(bytes).expect("packed by us")
}

pub(crate) fn indices(state: &BenchState) -> impl Iterator<Item = PartIndex> {
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

pub(crate) fn open(folder: &Path) -> ShardStore {
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
