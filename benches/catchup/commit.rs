//! Incremental commits: random puts into a large state, and one put where the trie is deepest.

use std::path::Path;
use std::time::Instant;

use ketch_store::{Chunk, ShardStore, StoreConfig};
use ketch_trie::{MemoryState, Writes, commit};
use ketch_types::{Height, KEY_BYTES_MAX};

use crate::Options;
use crate::measure::{Samples, sample};
use crate::state::{PART_BYTES, key, value};

/// How many random puts make a batch, after which the root is known.
const BATCH: u64 = 10_000;

/// 10,000 random puts at a time, the root after each batch: right after opening, and once warm.
///
/// Cold means an empty block cache, the system's own cache of the files being as it is; warm that the
/// state was read once and fits the block cache.
pub(crate) fn random_puts(options: &Options) {
    println!("\ncommits of {BATCH} random puts into {} entries", options.entries);
    let mut keys: Vec<_> = (0..options.entries).map(key).collect();
    keys.sort_unstable();
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a temporary folder"));
    for folder in &folders {
        let entries = keys.iter().map(|key| (key, value(key)));
        open(folder.path()).import(entries, PART_BYTES).expect("an empty store");
    }
    // The twin tells the root that a batch leads to, so that the other reads nothing before it is
    // timed.
    let [folder, twin] = &folders;
    let twin = open(twin.path());
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for round in 0..options.rounds as u64 {
        let store = open(folder.path());
        for batch in 0..5 {
            let rate = put_batch(&store, &twin, &keys, round * 5 + batch);
            if batch > 0 {
                warm.push(rate);
                continue;
            }
            cold.push(rate);
            store.scan(|_, _| {}).expect("readable");
        }
    }
    print_rates("cold: the first batch after opening", cold);
    print_rates("warm: the batches after it", warm);
}

fn open(folder: &Path) -> ShardStore {
    let config = StoreConfig { block_cache_bytes: 2 << 30, ..StoreConfig::default() };
    ShardStore::open(folder, config).expect("a store").store
}

/// Writes per second of one batch: root, entries, nodes and history, synced.
fn put_batch(store: &ShardStore, twin: &ShardStore, keys: &[[u8; 32]], batch: u64) -> f64 {
    let mut writes = Writes::default();
    for i in 0..BATCH {
        let pick = key(u64::MAX - batch * BATCH - i);
        let at = u64::from_le_bytes(*pick.first_chunk().expect("longer")) % keys.len() as u64;
        let at = usize::try_from(at).expect("small");
        writes.put(&keys[at], &value(&pick)).expect("within the limits");
    }
    let root = commit(&twin.view().expect("a complete state"), &writes).expect("readable").root();
    let height = Height(batch + 1);
    let chunk = Chunk { height, writes: &writes, root, next_epoch_cut: None };
    twin.commit(chunk).expect("the right root");
    let start = Instant::now();
    store.commit(chunk).expect("the right root");
    store.sync().expect("synced");
    BATCH as f64 / start.elapsed().as_secs_f64()
}

fn print_rates(name: &str, mut rates: Vec<f64>) {
    rates.sort_by(f64::total_cmp);
    let best = rates.last().copied().unwrap_or(0.0);
    println!("{name:<44} {best:>6.0} writes/s best {:>6.0} median", rates[rates.len() / 2]);
}

/// One put under a comb of keys of up to 2,048 bytes, where every level of the trie is touched.
pub(crate) fn comb(options: &Options) {
    let mut writes = Writes::default();
    for level in 1..9 * KEY_BYTES_MAX - 1 {
        let (whole, open) = (level / 9, level % 9);
        let mut key = vec![0xff; whole];
        if open > 0 {
            key.push(!(0x80_u8 >> (open - 1)));
        }
        writes.put(&key, &[1; 200]).expect("within the limits");
    }
    let mut state = MemoryState::default();
    state.commit(&writes).expect("nothing can fail in memory");
    let mut put = Writes::default();
    put.put(&[0xff; KEY_BYTES_MAX - 1], b"x").expect("within the limits");
    let cost = commit(&state, &put).expect("nothing can fail in memory").cost;
    println!("\none put under a comb of {} levels: {cost:?}", writes.len());
    let mut samples = Samples::new("hashed bytes of the put", cost.bytes_hashed);
    let mut best_ms = f64::MAX;
    for _ in 0..options.rounds.max(3) {
        let (_, took) = sample(|| commit(&state, &put).expect("nothing can fail in memory"));
        best_ms = best_ms.min(took.wall.as_secs_f64() * 1e3);
        samples.add(took);
    }
    samples.print();
    println!("{best_ms:.1} ms best");
}
