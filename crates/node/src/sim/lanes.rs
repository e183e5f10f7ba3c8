use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What comes of each seed, as many at once as there are processors, by seed; none of seeds that are
/// not begun any more once `go_on` says no.
pub(super) fn each_seed<T: Send>(
    seeds: Range<u64>,
    go_on: impl Fn() -> bool + Sync,
    run: impl Fn(u64) -> T + Sync,
) -> Vec<(u64, T)> {
    let next = AtomicU64::new(seeds.start);
    let done = Mutex::new(Vec::new());
    let lanes = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || !go_on() {
                        return;
                    }
                    let outcome = run(seed);
                    if let Ok(mut done) = done.lock() {
                        done.push((seed, outcome));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(seed, _)| *seed);
    done
}
