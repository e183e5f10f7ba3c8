//! Which of the proofs that came for a shard's chunks are kept.

use std::collections::BTreeMap;

use ketch_ledger::CHUNK_RANGE_MAX;
use ketch_types::{Epoch, Height};

/// How far apart proofs are kept at least, but for those at the ends of epochs: half of what a range
/// may span, so that one ends within reach wherever a range begins.
const SPACING: u64 = CHUNK_RANGE_MAX as u64 / 2;

/// A ledger info under which a shard's header is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The height of the header, which is stored or will be.
    pub(super) header: Height,
    /// The ledger info's epoch.
    pub(super) epoch: Epoch,
    /// Whether the ledger info ends it.
    pub(super) is_end: bool,
}

/// The proofs that are kept for a shard, by the height of the ledger info.
///
/// *Shape:* from where the shard begins to the first, and from each to the next, there are at most
/// [`CHUNK_RANGE_MAX`] headers. Each came with a range that began at a stored header below the one
/// before it, and a range has no more; and one is left out only between two that are closer together
/// than that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(pub(super) BTreeMap<Height, Mark>);

impl Marks {
    /// The marks with this one, without those that are not needed any more, where chunks are stored
    /// after the height `begin` and up to the height `newest`.
    pub(super) fn with(&self, at: Height, mark: Mark, begin: Height, newest: Height) -> Self {
        let mut marks = self.0.clone();
        marks.entry(at).or_insert(mark);
        let all: Vec<_> = marks.iter().map(|(at, mark)| (*at, *mark)).collect();
        let mut before = begin;
        for ((at, mark), (next_at, next)) in all.iter().zip(all.iter().skip(1)) {
            let is_near = next_at.0.saturating_sub(before.0) <= SPACING;
            // The newest proof of what is stored is needed until the next one is of that too.
            let is_newest = mark.header <= newest && next.header > newest;
            if is_near && !mark.is_end && !is_newest {
                marks.remove(at);
            } else {
                before = *at;
            }
        }
        Self(marks)
    }

    /// The marks above the height `after`, of epochs up to `newest_epoch`, whose headers are not above
    /// `reach`; in rising order.
    pub(super) fn usable(
        &self,
        after: Height,
        newest_epoch: Epoch,
        reach: Height,
    ) -> impl Iterator<Item = (Height, Mark)> {
        let above = self.0.range(after.next()..).map(|(at, mark)| (*at, *mark));
        above.filter(move |(at, mark)| {
            *at > after && mark.epoch <= newest_epoch && mark.header <= reach
        })
    }

    /// Those of these marks that the others lack.
    pub(super) fn not_in(&self, others: &Self) -> Vec<Height> {
        self.0.keys().filter(|at| !others.0.contains_key(at)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mark at each height in turn, of a shard with a chunk at every height, all of them stored.
    fn marks(heights: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut marks = Marks::default();
        for at in heights {
            let (is_end, epoch) = (at % 10_000 == 0, Epoch(at / 10_000));
            let mark = Mark { header: Height(at), epoch, is_end };
            let newest = marks.0.keys().map(|at| at.0).fold(at, u64::max);
            marks = marks.with(Height(at), mark, Height(0), Height(newest));
        }
        marks.0.into_keys().map(|at| at.0).collect()
    }

    #[test]
    fn of_a_mark_at_every_height_few_are_kept_and_none_is_out_of_reach() {
        for last in [1, 2_048, 2_049, 9_999, 20_001, 50_000] {
            let kept = marks(1..=last);
            assert_eq!(kept.last(), Some(&last), "the newest is always kept");
            let before = std::iter::once(&0).chain(&kept);
            assert!(kept.iter().zip(before).all(|(at, before)| at - before <= 2_048));
            assert!(kept.len() as u64 <= 2 + last / 1_024, "{kept:?}");
            let ends = (10_000..=last).step_by(10_000);
            assert!(ends.into_iter().all(|end| kept.contains(&end)));
        }
    }

    #[test]
    fn what_came_far_apart_is_kept() {
        assert_eq!(marks([4_096, 8_192, 12_288]), [4_096, 8_192, 12_288]);
        assert_eq!(marks([4_096, 4_097, 4_098, 4_099]), [4_096, 4_099]);
    }

    #[test]
    fn the_newest_usable_mark_stays_until_the_next_is_usable() {
        let mark = |at| Mark { header: Height(at), epoch: Epoch(0), is_end: false };
        let marks = Marks::default().with(Height(5), mark(5), Height(0), Height(5));
        let marks = marks.with(Height(9), mark(9), Height(0), Height(7));
        let reach = |marks: &Marks, reach| {
            marks.usable(Height(0), Epoch(0), Height(reach)).last().map(|(at, _)| at.0)
        };
        assert_eq!(reach(&marks, 7), Some(5));
        let marks = marks.with(Height(9), mark(9), Height(0), Height(9));
        assert_eq!((reach(&marks, 9), marks.0.len()), (Some(9), 1));
    }

    #[test]
    fn a_late_mark_in_the_middle_is_not_kept_beside_the_newest() {
        assert_eq!(marks([5, 9, 7]), [9]);
    }
}
