use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment, as time since an origin that the driver chose; pure crates are told it, never ask.
///
/// *Units:* nanoseconds, 64 bits of them: 584 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant {
    since_origin_nanos: u64,
}

impl Instant {
    /// The driver's origin of time.
    pub const ORIGIN: Instant = Instant { since_origin_nanos: 0 };

    /// How long after the origin this moment is.
    pub const fn since_origin(self) -> Duration {
        Duration::from_nanos(self.since_origin_nanos)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// The later moment; past the end of time it is the end of time.
    fn add(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant { since_origin_nanos: self.since_origin_nanos.saturating_add(nanos) }
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// The time from `earlier` to this moment; zero if it is in truth the later one.
    fn sub(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.since_origin_nanos.saturating_sub(earlier.since_origin_nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_neither_wraps_nor_runs_backwards() {
        let late = Instant::ORIGIN + Duration::MAX;
        assert_eq!(late + Duration::from_secs(1), late);
        assert_eq!(Instant::ORIGIN - late, Duration::ZERO);
        assert_eq!(
            (Instant::ORIGIN + Duration::from_millis(7)) - Instant::ORIGIN,
            Duration::from_millis(7)
        );
    }
}
