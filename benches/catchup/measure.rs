use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What one run of something took.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    user: Duration,
    system: Duration,
}

/// Runs something once, and says what it took of this process's time.
pub(crate) fn sample<T>(run: impl FnOnce() -> T) -> (T, Sample) {
    let (user, system) = cpu();
    let start = Instant::now();
    let done = run();
    let wall = start.elapsed();
    let (user_after, system_after) = cpu();
    (done, Sample { wall, user: user_after - user, system: system_after - system })
}

fn cpu() -> (Duration, Duration) {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system tells a process's usage");
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0))
    };
    (micros(usage.user_time()), micros(usage.system_time()))
}

/// The largest resident memory of this process so far. *Units:* MiB.
pub(crate) fn peak_mib() -> i64 {
    getrusage(UsageWho::RUSAGE_SELF).expect("the system tells a process's usage").max_rss() / 1_024
}

/// The samples of something that moves `bytes` each time.
pub(crate) struct Samples {
    name: String,
    bytes: u64,
    samples: Vec<Sample>,
}

impl Samples {
    pub(crate) fn new(name: impl Into<String>, bytes: u64) -> Self {
        Self { name: name.into(), bytes, samples: Vec::new() }
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// MB/s, best and median, and the CPU seconds per GB of the best.
    pub(crate) fn print(&self) {
        let best = self.best();
        println!(
            "{:<44} {:>6.0} MB/s best {:>6.0} median   user {:.2} system {:.2} s/GB",
            self.name,
            self.rate(best.wall),
            self.rate(self.median()),
            per_gb(best.user, self.bytes),
            per_gb(best.system, self.bytes),
        );
    }

    /// CPU seconds per GB, user and system together, of the best run.
    pub(crate) fn cpu_per_gb(&self) -> f64 {
        per_gb(self.best().user + self.best().system, self.bytes)
    }

    /// MB/s of the best run.
    pub(crate) fn best_rate(&self) -> f64 {
        self.rate(self.best().wall)
    }

    fn rate(&self, wall: Duration) -> f64 {
        self.bytes as f64 / 1e6 / wall.as_secs_f64()
    }

    fn best(&self) -> Sample {
        *self.samples.iter().min_by_key(|sample| sample.wall).expect("at least one round")
    }

    fn median(&self) -> Duration {
        let mut walls: Vec<_> = self.samples.iter().map(|sample| sample.wall).collect();
        walls.sort_unstable();
        walls[walls.len() / 2]
    }
}

fn per_gb(time: Duration, bytes: u64) -> f64 {
    time.as_secs_f64() / (bytes as f64 / 1e9)
}
