use ketch_types::{Epoch, ShardId};
use thiserror::Error;

/// Who tracks which shards in which epoch: every validator moves one shard on with every epoch.
///
/// *Source:* the devnet's rule of the ledger's specification. With S shards in layout order, V
/// validators and k = ceil(S ÷ V), validator v tracks in epoch E the positions
/// (floor(v·S ÷ V) + E + i) mod S for i below k.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    shards: Vec<ShardId>,
    validators: usize,
}

/// Why an assignment is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AssignmentError {
    /// Somebody must produce blocks.
    #[error("there is no validator")]
    NoValidator,
    /// Whoever tracks all shards has nothing to take.
    #[error("{validators} validators would each track all {shards} shards and never take one")]
    NothingToTake {
        /// How many shards there are.
        shards: usize,
        /// How many validators there are.
        validators: usize,
    },
}

impl Assignment {
    /// The assignment of `shards`, in layout order, to so many validators.
    ///
    /// *Errors:* see [`AssignmentError`].
    pub fn new(shards: &[ShardId], validators: usize) -> Result<Self, AssignmentError> {
        if validators == 0 {
            return Err(AssignmentError::NoValidator);
        }
        let assignment = Self { shards: shards.to_vec(), validators };
        if assignment.each_tracks() >= shards.len() {
            return Err(AssignmentError::NothingToTake { shards: shards.len(), validators });
        }
        Ok(assignment)
    }

    /// How many validators there are.
    pub fn validators(&self) -> usize {
        self.validators
    }

    /// How many shards each validator tracks.
    pub fn each_tracks(&self) -> usize {
        self.shards.len().div_ceil(self.validators)
    }

    /// The shards that a validator tracks in an epoch, by rising id.
    pub fn tracked(&self, validator: usize, epoch: Epoch) -> Vec<ShardId> {
        let count = self.shards.len() as u128;
        let first = validator as u128 * count / self.validators as u128 + u128::from(epoch.0);
        let positions = (0..self.each_tracks()).map(|i| (first + i as u128) % count);
        let shard = |position| self.shards.get(usize::try_from(position).ok()?).copied();
        let mut tracked: Vec<_> = positions.filter_map(shard).collect();
        tracked.sort_unstable();
        tracked
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shards(count: u32) -> Vec<ShardId> {
        (0..count).map(|id| ShardId(id * 3 + 1)).collect()
    }

    #[test]
    fn four_validators_of_four_shards_each_take_the_next_ones_with_every_epoch() {
        let assignment = Assignment::new(&shards(4), 4).unwrap();
        let of_epoch = |epoch| (0..4).map(|v| assignment.tracked(v, Epoch(epoch))[0].0).collect();
        let rows: Vec<Vec<u32>> = (0..5).map(of_epoch).collect();
        assert_eq!(rows[0], [1, 4, 7, 10]);
        assert_eq!(rows[1], [4, 7, 10, 1]);
        assert_eq!(rows[4], rows[0]);
    }

    #[test]
    fn eight_validators_of_four_shards_are_two_to_each() {
        let assignment = Assignment::new(&shards(4), 8).unwrap();
        for shard in shards(4) {
            let takes = |v: &usize| assignment.tracked(*v, Epoch(9)) == [shard];
            assert_eq!((0..8).filter(takes).count(), 2);
        }
    }

    #[test]
    fn an_assignment_in_which_nobody_takes_anything_is_refused() {
        assert_eq!(Assignment::new(&shards(4), 0), Err(AssignmentError::NoValidator));
        for (count, validators) in [(4, 1), (1, 1), (1, 7)] {
            let refused = AssignmentError::NothingToTake { shards: count as usize, validators };
            assert_eq!(Assignment::new(&shards(count), validators), Err(refused));
        }
    }

    proptest! {
        #[test]
        fn every_shard_has_a_tracker_and_every_validator_takes_exactly_one_new_shard(
            count in 2u32..40, validators in 1usize..60, epoch in any::<u64>().prop_map(|e| e >> 1),
        ) {
            let Ok(assignment) = Assignment::new(&shards(count), validators) else { return Ok(()) };
            let mut tracked = Vec::new();
            for validator in 0..validators {
                let now = assignment.tracked(validator, Epoch(epoch));
                let next = assignment.tracked(validator, Epoch(epoch + 1));
                prop_assert_eq!(now.len(), assignment.each_tracks());
                prop_assert!(now.windows(2).all(|two| two[0] < two[1]));
                let new = next.iter().filter(|shard| !now.contains(shard));
                prop_assert_eq!(new.count(), 1);
                tracked.extend(now);
            }
            prop_assert!(shards(count).iter().all(|shard| tracked.contains(shard)));
        }
    }
}
