use std::collections::BTreeMap;
use std::ops::Bound;

use ketch_types::{KeyRange, StateRoot};

/// Which ranges of keys hold what some root commits to, entries and inner nodes both.
///
/// *Shape:* disjoint ranges, by their low ends. What no mark covers is not known: it may be empty,
/// or half written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    marks: BTreeMap<Vec<u8>, Mark>,
}

/// From its low end up to `high`, the store holds the state of `root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) root: StateRoot,
    pub(crate) high: Option<Vec<u8>>,
}

/// A mark to write, or to remove where there is none, by its low end.
pub(crate) type MarkChange = (Vec<u8>, Option<Mark>);

impl Marks {
    pub(crate) fn new(marks: BTreeMap<Vec<u8>, Mark>) -> Self {
        Self { marks }
    }

    /// Takes `range` out of all marks; the changes that this makes.
    pub(crate) fn clear(&mut self, range: &KeyRange) -> Vec<MarkChange> {
        let before_end = range.high.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let overlapping: Vec<_> = self
            .marks
            .range::<[u8], _>((Bound::Unbounded, before_end))
            .rev()
            .take_while(|(_, mark)| mark.high.as_ref().is_none_or(|high| *high > range.low))
            .map(|(low, mark)| (low.clone(), mark.clone()))
            .collect();
        let mut changes = Vec::new();
        for (low, mark) in overlapping {
            let before = (low < range.low).then(|| {
                let mark = Mark { root: mark.root, high: Some(range.low.clone()) };
                (low.clone(), mark)
            });
            let ends_behind = range
                .high
                .as_ref()
                .filter(|high| mark.high.as_ref().is_none_or(|mark_high| mark_high > *high));
            let behind = ends_behind.map(|high| (high.clone(), mark));
            changes.push((low, None));
            changes.extend(before.into_iter().chain(behind).map(|(low, mark)| (low, Some(mark))));
        }
        self.apply(&changes);
        changes
    }

    /// Marks `range` as holding what `root` commits to; the changes that this makes.
    pub(crate) fn set(&mut self, range: &KeyRange, root: StateRoot) -> Vec<MarkChange> {
        let mut changes = self.clear(range);
        let mark = Mark { root, high: range.high.clone() };
        let set = (range.low.clone(), Some(mark));
        self.apply(std::slice::from_ref(&set));
        changes.push(set);
        changes
    }

    /// Removes all marks; the changes that this makes.
    pub(crate) fn clear_all(&mut self) -> Vec<MarkChange> {
        std::mem::take(&mut self.marks).into_keys().map(|low| (low, None)).collect()
    }

    /// The ranges that hold what `root` commits to, neighbours joined.
    pub(crate) fn ranges_of(&self, root: StateRoot) -> Vec<KeyRange> {
        let ranges = self.joined();
        ranges.into_iter().filter(|(of, _)| *of == root).map(|(_, range)| range).collect()
    }

    /// The ranges that hold what some root commits to, neighbours of one root joined.
    pub(crate) fn ranges(&self) -> Vec<KeyRange> {
        self.joined().into_iter().map(|(_, range)| range).collect()
    }

    fn joined(&self) -> Vec<(StateRoot, KeyRange)> {
        let mut joined: Vec<(StateRoot, KeyRange)> = Vec::new();
        for (low, mark) in &self.marks {
            match joined.last_mut() {
                Some((root, range)) if *root == mark.root && range.high.as_ref() == Some(low) => {
                    range.high.clone_from(&mark.high);
                }
                _ => {
                    let range = KeyRange { low: low.clone(), high: mark.high.clone() };
                    joined.push((mark.root, range));
                }
            }
        }
        joined
    }

    fn apply(&mut self, changes: &[MarkChange]) {
        for (low, mark) in changes {
            match mark {
                Some(mark) => self.marks.insert(low.clone(), mark.clone()),
                None => self.marks.remove(low),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(low: u8, high: u8) -> KeyRange {
        let end = (high < 40).then(|| vec![high]);
        KeyRange { low: if low == 0 { Vec::new() } else { vec![low] }, high: end }
    }

    proptest! {
        /// Against a model that holds a root for each of 40 keys.
        #[test]
        fn marks_hold_for_each_key_the_root_that_was_set_last(
            steps in proptest::collection::vec((0_u8..40, 1_u8..=40, proptest::option::of(0_u8..3)), 1..20),
        ) {
            let mut marks = Marks::default();
            let mut written = BTreeMap::new();
            let mut model = [None; 40];
            for (a, b, root) in steps {
                let (low, high) = (a.min(b - 1), (a + 1).max(b));
                let root = root.map(|byte| StateRoot::new([byte; 32]));
                let changes = match root {
                    Some(root) => marks.set(&range(low, high), root),
                    None => marks.clear(&range(low, high)),
                };
                for (low, mark) in changes {
                    match mark {
                        Some(mark) => written.insert(low, mark),
                        None => written.remove(&low),
                    };
                }
                model[usize::from(low)..usize::from(high)].fill(root);
            }
            prop_assert_eq!(&Marks::new(written), &marks, "the changes lead to the same marks");
            for byte in 0..3 {
                let root = StateRoot::new([byte; 32]);
                let ranges = marks.ranges_of(root);
                for key in 0..40_u8 {
                    let held = ranges.iter().any(|range| range.contains(&[key]));
                    prop_assert_eq!(held, model[usize::from(key)] == Some(root));
                    prop_assert_eq!(KeyRange::any_covers(&ranges, &range(key, key + 1)), held);
                }
            }
        }
    }
}
