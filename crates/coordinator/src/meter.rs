use std::time::Duration;

use ketch_types::Instant;

/// The length of one of a meter's slots.
const SLOT: Duration = Duration::from_secs(1);
/// How many slots a meter looks back on: long enough to smooth out windows of tens of mebibytes,
/// short enough to notice a lost peer before a verdict depends on it.
const SLOTS: usize = 10;
/// How many whole slots there must be before one of them is called the best that can be: what begins is
/// slow at first.
const PEAK_SLOTS: u64 = 3;

/// How much of something happens in a second, over the last ten.
///
/// *Units:* whatever is counted, per second.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    slots: [u64; SLOTS],
    /// The number of the slot that was counted into last.
    newest: u64,
    /// When counting began.
    since: Option<Instant>,
    /// The slot in which anything was first counted since then.
    first: Option<u64>,
    best: u64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { slots: [0; SLOTS], newest: 0, since: None, first: None, best: 0 }
    }

    /// Begins, or begins anew, to count: what came before was another kind of time.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.slots = [0; SLOTS];
        self.newest = slot_of(now);
        (self.since, self.first) = (Some(now), None);
    }

    pub(crate) fn count(&mut self, now: Instant, amount: u64) {
        if self.since.is_none() {
            self.restart(now);
        }
        self.turn(now);
        self.first = self.first.or(Some(self.newest));
        if let Some(slot) = self.slots.get_mut(place(self.newest)) {
            *slot = slot.saturating_add(amount);
        }
        // A first moment says little: the best rate is one that lasted.
        if self.since.is_some_and(|since| now - since >= SLOT) {
            self.best = self.best.max(self.rate(now).unwrap_or(0));
        }
    }

    /// The rate, once a quarter of a slot has been watched.
    pub(crate) fn rate(&self, now: Instant) -> Option<u64> {
        let watched = (now - self.since?).min(SLOT * u32::try_from(SLOTS).unwrap_or(1));
        if watched < SLOT / 4 {
            return None;
        }
        let oldest = slot_of(now).saturating_sub(SLOTS as u64 - 1);
        let first = self.newest.saturating_sub(SLOTS as u64 - 1).max(oldest);
        let live = (first..=self.newest).filter_map(|slot| self.slots.get(place(slot)));
        let total: u128 = live.map(|amount| u128::from(*amount)).sum();
        u64::try_from(total * 1_000 / watched.as_millis().max(1)).ok()
    }

    /// The highest rate that ever lasted for a second.
    pub(crate) fn best(&self) -> Option<u64> {
        Some(self.best).filter(|best| *best > 0)
    }

    /// The most of the last whole slots, of which there must be some since anything was first counted.
    pub(crate) fn peak(&self, now: Instant) -> Option<u64> {
        let (begun, slot) = (self.first?.saturating_add(1), slot_of(now));
        if slot < begun.saturating_add(PEAK_SLOTS) {
            return None;
        }
        let oldest = slot.saturating_sub(SLOTS as u64 - 1);
        let whole = (oldest.max(begun)..slot).filter(|slot| *slot <= self.newest);
        let best = whole.filter_map(|slot| self.slots.get(place(slot))).max();
        best.copied().filter(|best| *best > 0)
    }

    /// Empties the slots that have passed since the last count.
    fn turn(&mut self, now: Instant) {
        let slot = slot_of(now);
        let first = slot.saturating_sub(SLOTS as u64 - 1).max(self.newest.saturating_add(1));
        for passed in first..=slot {
            if let Some(amount) = self.slots.get_mut(place(passed)) {
                *amount = 0;
            }
        }
        self.newest = self.newest.max(slot);
    }
}

fn slot_of(now: Instant) -> u64 {
    now.since_origin().as_secs() / SLOT.as_secs()
}

fn place(slot: u64) -> usize {
    usize::try_from(slot % SLOTS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ORIGIN + Duration::from_millis(millis)
    }

    #[test]
    fn a_steady_flow_is_measured_after_a_moment_and_stays() {
        let mut meter = Meter::new();
        assert_eq!(meter.rate(at(0)), None);
        for tick in 0..300 {
            meter.count(at(tick * 100), 50);
        }
        let rate = meter.rate(at(29_900)).unwrap();
        assert!((450..=550).contains(&rate), "{rate}");
        assert!(meter.best().unwrap() >= 490);
    }

    #[test]
    fn what_has_stopped_is_forgotten_within_ten_seconds() {
        let mut meter = Meter::new();
        meter.count(at(0), 1_000);
        assert_eq!(meter.rate(at(1_000)), Some(1_000));
        assert_eq!(meter.rate(at(5_000)), Some(200));
        assert_eq!(meter.rate(at(11_000)), Some(0));
    }

    #[test]
    fn the_peak_is_the_most_of_some_whole_seconds_and_forgotten_after_ten() {
        let mut meter = Meter::new();
        for tick in 0..80 {
            let now = at(500 + tick * 100);
            meter.count(now, if tick == 40 { 70 } else { 5 });
            assert_eq!(meter.peak(now).is_some(), tick >= 35, "{tick}");
        }
        assert_eq!(meter.peak(at(8_400)), Some(115));
        assert_eq!(meter.peak(at(13_900)), Some(115));
        assert_eq!(meter.peak(at(14_100)), Some(50));
        assert_eq!(meter.peak(at(30_000)), None);
    }

    #[test]
    fn a_long_silence_leaves_nothing_of_what_was_before() {
        let mut meter = Meter::new();
        meter.count(at(0), 1_000);
        meter.count(at(1_000_000), 10);
        assert_eq!(meter.rate(at(1_000_000)), Some(1));
    }
}
