use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ketch_types::Instant;

/// The node's clock: moments for the coordinator, and how block times become such.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
    /// The origin by the wall. *Units:* milliseconds since 1970.
    origin_ms: u64,
}

/// How far before its start a clock can tell: blocks that are older seem this old.
const BEFORE_START: Duration = Duration::from_secs(30 * 24 * 3_600);

impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: std::time::Instant::now(), origin_ms: wall_ms() }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::ORIGIN + BEFORE_START + self.origin.elapsed()
    }

    /// A moment by this clock as the runtime's timers take it.
    pub(crate) fn of_runtime(&self, at: Instant) -> tokio::time::Instant {
        let after = at - (Instant::ORIGIN + BEFORE_START);
        (self.origin + after).into()
    }

    /// The moment that the wall called `ms`, in milliseconds since 1970.
    pub(crate) fn of_wall_ms(&self, ms: u64) -> Instant {
        let first_ms = self.origin_ms.saturating_sub(millis(BEFORE_START));
        Instant::ORIGIN + Duration::from_millis(ms.saturating_sub(first_ms))
    }
}

/// What the wall says now. *Units:* milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_now_was_produced_now_and_one_of_before_the_start_before_it() {
        let clock = Clock::new();
        let now = clock.now();
        let apart = |at: Instant| (at - now).max(now - at);
        assert!(apart(clock.of_wall_ms(wall_ms())) < Duration::from_secs(1));
        let hour = Duration::from_secs(3_600);
        let earlier = clock.of_wall_ms(wall_ms() - millis(hour));
        assert!(now - earlier + Duration::from_secs(1) > hour && earlier < now);
        assert_eq!(clock.of_wall_ms(0), Instant::ORIGIN);
    }
}
