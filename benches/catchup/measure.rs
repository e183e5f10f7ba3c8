use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What one run of something took.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) wall: Duration,
    pub(crate) cpu: Cpu,
}

/// Processor time.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    fn of(who: UsageWho) -> Self {
        let usage = getrusage(who).expect("the system tells a process's usage");
        let micros = |time: nix::sys::time::TimeVal| {
            Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or(0))
        };
        Self { user: micros(usage.user_time()), system: micros(usage.system_time()) }
    }
}

impl Add for Cpu {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { user: self.user - before.user, system: self.system - before.system }
    }
}

/// Runs something once, and says what it took of this process's time.
pub(crate) fn sample<T>(run: impl FnOnce() -> T) -> (T, Sample) {
    sample_of(UsageWho::RUSAGE_SELF, run)
}

/// Runs something once that waits for processes of its own, and says what it took of their time.
pub(crate) fn sample_children<T>(run: impl FnOnce() -> T) -> (T, Sample) {
    sample_of(UsageWho::RUSAGE_CHILDREN, run)
}

fn sample_of<T>(who: UsageWho, run: impl FnOnce() -> T) -> (T, Sample) {
    let before = Cpu::of(who);
    let start = Instant::now();
    let done = run();
    let wall = start.elapsed();
    (done, Sample { wall, cpu: Cpu::of(who) - before })
}

/// What a process that runs has taken so far.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Cpu,
    /// Its largest resident memory. *Units:* MiB.
    pub(crate) peak_mib: u64,
}

impl Usage {
    /// What a child process has taken, as the system tells it of one that still runs.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_process(id: u32) -> Self {
        let id = i32::try_from(id).expect("a process id");
        let process = procfs::process::Process::new(id).expect("it runs");
        let (stat, status) = (process.stat().expect("told"), process.status().expect("told"));
        let time =
            |ticks: u64| Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64);
        let cpu = Cpu { user: time(stat.utime), system: time(stat.stime) };
        Self { cpu, peak_mib: status.vmhwm.unwrap_or(0) / 1_024 }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of_process(_: u32) -> Self {
        Self { cpu: Cpu::default(), peak_mib: 0 }
    }
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
            self.median_rate(),
            per_gb(best.cpu.user, self.bytes),
            per_gb(best.cpu.system, self.bytes),
        );
    }

    /// CPU seconds per GB, user and system together, of the best run.
    pub(crate) fn cpu_per_gb(&self) -> f64 {
        per_gb(self.best().cpu.user + self.best().cpu.system, self.bytes)
    }

    /// MB/s of the best run.
    pub(crate) fn best_rate(&self) -> f64 {
        self.rate(self.best().wall)
    }

    /// MB/s in the median.
    pub(crate) fn median_rate(&self) -> f64 {
        self.rate(self.median())
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
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

/// How near something came to what its pieces' CPU time allows. *Units:* MB/s.
pub(crate) fn print_share(name: &str, samples: &Samples, bound: f64) {
    let share = 100.0 * samples.best_rate() / bound;
    println!("{name}: {share:.0} % of the {bound:.0} MB/s that the pieces' CPU time allows");
}
