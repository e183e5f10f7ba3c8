use std::time::Duration;

use ketch_types::Instant;

/// How fast a node sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpeed {
    /// *Units:* bytes per second.
    pub upload: u64,
    /// *Units:* bytes per second.
    pub download: u64,
    /// One way, to anybody.
    pub delay: Duration,
}

impl Default for LinkSpeed {
    /// A hundred megabits each way, ten milliseconds from anybody.
    fn default() -> Self {
        Self { upload: 12_500_000, download: 12_500_000, delay: Duration::from_millis(10) }
    }
}

/// One direction of one node's line: what is sent goes one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    rate: u64,
    free_at: Instant,
}

impl Line {
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate, free_at: Instant::ORIGIN }
    }

    /// When what is sent now begins to be.
    pub(crate) fn begins(&self, now: Instant) -> Instant {
        self.free_at.max(now)
    }

    /// Takes the line for `bytes` from `now` on; when they are through.
    pub(crate) fn take(&mut self, now: Instant, bytes: u64) -> Instant {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.max(1));
        let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.free_at = self.free_at.max(now) + takes;
        self.free_at
    }
}
