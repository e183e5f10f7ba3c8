use std::time::Duration;

/// How many of the newest durations are looked at: enough for a 95th percentile, few enough to sort.
const SAMPLES: usize = 64;
/// With fewer samples than this a percentile says nothing.
const SAMPLES_MIN: usize = 8;

/// How long one kind of answer takes, from the newest that came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latency {
    samples: Vec<Duration>,
    next: usize,
    /// The 95th percentile of `samples`, made anew with every eighth sample.
    high: Option<Duration>,
    /// The longest of `samples`.
    longest: Option<Duration>,
}

impl Latency {
    pub(crate) fn record(&mut self, took: Duration) {
        if self.samples.len() < SAMPLES {
            self.samples.push(took);
        } else if let Some(oldest) = self.samples.get_mut(self.next % SAMPLES) {
            *oldest = took;
        }
        self.longest = self.samples.iter().max().copied();
        self.next = self.next.wrapping_add(1);
        if self.samples.len() >= SAMPLES_MIN && (self.high.is_none() || self.next.is_multiple_of(8))
        {
            self.high = percentile_95(&self.samples);
        }
    }

    /// The longest of those that are remembered.
    pub(crate) fn longest(&self) -> Option<Duration> {
        self.longest
    }

    /// The 95th percentile, once there are enough samples.
    pub(crate) fn high(&self) -> Option<Duration> {
        self.high
    }
}

fn percentile_95(samples: &[Duration]) -> Option<Duration> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(samples.len() * 95 / 100).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_outliers_do_not_move_the_percentile_and_a_change_of_pace_does() {
        let mut latency = Latency::default();
        for i in 0..64 {
            let slow = i % 32 == 31;
            latency.record(Duration::from_millis(if slow { 9_000 } else { 100 }));
        }
        assert_eq!(latency.high(), Some(Duration::from_millis(100)));
        for _ in 0..64 {
            latency.record(Duration::from_millis(700));
        }
        assert_eq!(latency.high(), Some(Duration::from_millis(700)));
    }

    #[test]
    fn too_few_samples_give_no_percentile() {
        let mut latency = Latency::default();
        for _ in 0..7 {
            latency.record(Duration::from_millis(1));
        }
        assert_eq!(latency.high(), None);
    }
}
