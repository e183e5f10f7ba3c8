use std::collections::BTreeMap;

use ketch_coordinator::RequestId;
use ketch_types::{Instant, PartIndex};

use super::limits::REQUESTS_PER_SHARD;

/// The parts of one shard that are still to be fetched, in rounds: all of them are tried in order,
/// then those that failed, in the same order.
///
/// Only the parts of a window are tried at once, and the window begins with the oldest that is not
/// over: one that hangs holds up all behind the window's end.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// This round's parts.
    round: Vec<PartIndex>,
    /// The place in the round at which the window begins.
    first: usize,
    /// What has begun, by its place in the round.
    attempts: BTreeMap<usize, Attempt>,
    /// The next round's parts.
    failed: Vec<PartIndex>,
}

/// One try to fetch one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Asked(RequestId),
    /// It failed, and keeps its place until then.
    BackingOff(Instant),
    Arrived,
    Failed,
}

impl Window {
    pub(super) fn new(parts: Vec<PartIndex>) -> Self {
        Self { round: parts, ..Self::default() }
    }

    /// Whether every part has come.
    pub(super) fn is_done(&self) -> bool {
        self.round.is_empty()
    }

    /// The next part that may be tried.
    pub(super) fn next(&self) -> Option<PartIndex> {
        self.round.get(self.next_place()?).copied()
    }

    fn next_place(&self) -> Option<usize> {
        let end = self.first.saturating_add(REQUESTS_PER_SHARD).min(self.round.len());
        (self.first..end).find(|place| !self.attempts.contains_key(place))
    }

    /// Notes that the next part is asked for.
    pub(super) fn ask(&mut self, request: RequestId) {
        self.begin(Attempt::Asked(request));
    }

    /// Notes that nobody can be asked for the next part.
    pub(super) fn skip(&mut self, until: Instant) {
        self.begin(Attempt::BackingOff(until));
    }

    fn begin(&mut self, attempt: Attempt) {
        if let Some(place) = self.next_place() {
            self.attempts.insert(place, attempt);
        }
    }

    /// Notes that a part has come.
    pub(super) fn arrived(&mut self, request: RequestId) {
        self.turn(request, Attempt::Arrived);
    }

    /// Notes that a request has brought nothing; one whose part has come is over already.
    pub(super) fn failed(&mut self, request: RequestId, until: Instant) {
        self.turn(request, Attempt::BackingOff(until));
    }

    fn turn(&mut self, request: RequestId, to: Attempt) {
        let asked = self.attempts.values_mut().find(|a| **a == Attempt::Asked(request));
        asked.into_iter().for_each(|attempt| *attempt = to);
    }

    /// How many of the node's requests it takes up.
    pub(super) fn active(&self) -> usize {
        let counts = |a: &&Attempt| matches!(a, Attempt::Asked(_) | Attempt::BackingOff(_));
        self.attempts.values().filter(counts).count()
    }

    /// Moves on past what is over, and into the next round.
    pub(super) fn settle(&mut self, now: Instant) {
        for attempt in self.attempts.values_mut() {
            if matches!(attempt, Attempt::BackingOff(until) if *until <= now) {
                *attempt = Attempt::Failed;
            }
        }
        while let Some(attempt) = self.attempts.get(&self.first) {
            match attempt {
                Attempt::Asked(_) | Attempt::BackingOff(_) => return,
                Attempt::Arrived => {}
                Attempt::Failed => self.failed.extend(self.round.get(self.first)),
            }
            self.attempts.remove(&self.first);
            self.first += 1;
        }
        if self.first >= self.round.len() {
            (self.round, self.first) = (std::mem::take(&mut self.failed), 0);
        }
    }

    /// When a part's backoff is over.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let until = |attempt: &Attempt| match attempt {
            Attempt::BackingOff(until) => Some(*until),
            _ => None,
        };
        self.attempts.values().filter_map(until).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn window(parts: u32) -> Window {
        Window::new((0..parts).map(PartIndex).collect())
    }

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    /// Asks for all that may be asked for, by requests named for their parts.
    fn fill(window: &mut Window) -> Vec<u32> {
        let mut asked = Vec::new();
        while let Some(part) = window.next() {
            window.ask(RequestId(part.0.into()));
            asked.push(part.0);
        }
        asked
    }

    #[test]
    fn nothing_is_asked_for_past_the_window_of_the_oldest() {
        let mut window = window(20);
        assert_eq!(fill(&mut window), [0, 1, 2, 3, 4, 5]);
        for request in 1..6 {
            window.arrived(RequestId(request));
            window.settle(at(0));
            assert_eq!(window.next(), None, "the oldest still hangs");
        }
        assert_eq!(window.active(), 1);
        window.arrived(RequestId(0));
        window.settle(at(0));
        assert_eq!(fill(&mut window), [6, 7, 8, 9, 10, 11]);
    }

    #[test]
    fn what_failed_keeps_its_place_for_a_while_and_comes_again_in_the_next_round() {
        let mut window = window(8);
        fill(&mut window);
        window.failed(RequestId(0), at(1));
        (1..6).for_each(|request| window.arrived(RequestId(request)));
        window.settle(at(0));
        assert_eq!((window.next(), window.active(), window.next_due()), (None, 1, Some(at(1))));
        window.settle(at(1));
        assert_eq!(fill(&mut window), [6, 7]);
        window.arrived(RequestId(6));
        window.settle(at(1));
        assert_eq!(window.next(), None, "the round is not over");
        window.arrived(RequestId(7));
        window.settle(at(1));
        assert_eq!(fill(&mut window), [0]);
        assert!(!window.is_done());
        window.arrived(RequestId(0));
        window.settle(at(1));
        assert!(window.is_done());
    }

    #[test]
    fn a_part_that_has_come_does_not_fail_with_its_request() {
        let mut window = window(1);
        fill(&mut window);
        window.arrived(RequestId(0));
        window.failed(RequestId(0), at(9));
        window.settle(at(0));
        assert!(window.is_done());
    }
}
