use ketch_types::{Epoch, Height, PartSet, ShardId, StateRoot};
use serde::{Deserialize, Serialize};

use crate::fault::{RuleError, WireFault};
use crate::limits::PART_COUNT_MAX;
use crate::{proto, scan};

/// Which parts of a shard's state at an epoch's start a node holds.
///
/// *Shape:* over at most [`PART_COUNT_MAX`] parts, as every set is that serde reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    shard: ShardId,
    epoch: Epoch,
    root: StateRoot,
    cut: u32,
    held: PartSet,
}

/// The chunks of a shard whose outputs a node has, from one height to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Heights")]
pub struct Following {
    shard: ShardId,
    first: Height,
    last: Height,
}

impl Holding {
    /// The parts `held` of the state of `shard` at the start of `epoch`, cut at `cut`.
    ///
    /// *Errors:* [`RuleError::PartCount`].
    pub fn new(
        shard: ShardId,
        epoch: Epoch,
        root: StateRoot,
        cut: u32,
        held: PartSet,
    ) -> Result<Self, RuleError> {
        check_part_count(held.count())?;
        Ok(Self { shard, epoch, root, cut, held })
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The epoch at whose start the state is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The root of the state.
    pub fn root(&self) -> StateRoot {
        self.root
    }

    /// The size down to which the state's nodes are opened. *Units:* bytes.
    pub fn cut(&self) -> u32 {
        self.cut
    }

    /// The parts that are held, of all that the state has.
    pub fn held(&self) -> &PartSet {
        &self.held
    }

    /// Whether this says that nothing is held any more.
    pub fn is_withdrawal(&self) -> bool {
        self.held.is_empty()
    }
}

impl Following {
    /// The outputs of the chunks of `shard` from `first` to `last`.
    ///
    /// *Errors:* [`RuleError::Heights`].
    pub fn new(shard: ShardId, first: Height, last: Height) -> Result<Self, RuleError> {
        if first <= last {
            Ok(Self { shard, first, last })
        } else {
            Err(RuleError::Heights { first, last })
        }
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The first height.
    pub fn first(&self) -> Height {
        self.first
    }

    /// The last height, not below the first.
    pub fn last(&self) -> Height {
        self.last
    }
}

/// A [`Following`] as it is written, before its heights are checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heights {
    shard: ShardId,
    first: Height,
    last: Height,
}

impl TryFrom<Heights> for Following {
    type Error = RuleError;

    fn try_from(written: Heights) -> Result<Self, RuleError> {
        Self::new(written.shard, written.first, written.last)
    }
}

/// Refuses more parts than any manifest has that is spoken of.
pub(crate) fn check_part_count(count: u32) -> Result<(), RuleError> {
    if count <= PART_COUNT_MAX { Ok(()) } else { Err(RuleError::PartCount(count)) }
}

/// The set that a message's fields say. The count is checked first, so the bitmap is bounded by it.
pub(crate) fn part_set(bitmap: &[u8], count: u32) -> Result<PartSet, WireFault> {
    check_part_count(count)?;
    Ok(PartSet::decode(bitmap, count)?)
}

impl From<&Holding> for proto::Holding {
    fn from(holding: &Holding) -> Self {
        Self {
            shard: holding.shard.0,
            epoch: holding.epoch.0,
            root: holding.root.as_bytes().to_vec(),
            cut: holding.cut,
            part_count: holding.held.count(),
            held: holding.held.encode(),
        }
    }
}

impl TryFrom<proto::Holding> for Holding {
    type Error = WireFault;

    fn try_from(message: proto::Holding) -> Result<Self, WireFault> {
        Ok(Self {
            shard: ShardId(message.shard),
            epoch: Epoch(message.epoch),
            root: StateRoot(scan::hash(&message.root)?),
            cut: message.cut,
            held: part_set(&message.held, message.part_count)?,
        })
    }
}

impl From<&Following> for proto::Following {
    fn from(following: &Following) -> Self {
        Self {
            shard: following.shard.0,
            first_height: following.first.0,
            last_height: following.last.0,
        }
    }
}

impl TryFrom<proto::Following> for Following {
    type Error = WireFault;

    fn try_from(message: proto::Following) -> Result<Self, WireFault> {
        let (first, last) = (Height(message.first_height), Height(message.last_height));
        Ok(Self::new(ShardId(message.shard), first, last)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(part_count: u32, held: &PartSet) -> proto::Holding {
        let root = vec![7; 32];
        proto::Holding { shard: 1, epoch: 2, root, cut: 4, part_count, held: held.encode() }
    }

    #[test]
    fn a_holding_is_over_no_more_parts_than_the_limit() {
        let holding = |count| {
            let root = StateRoot::new([7; 32]);
            Holding::new(ShardId(1), Epoch(2), root, 4, PartSet::empty(count))
        };
        assert!(holding(PART_COUNT_MAX).is_ok());
        let refused = RuleError::PartCount(PART_COUNT_MAX + 1);
        assert_eq!(holding(PART_COUNT_MAX + 1), Err(refused));
        let message = message(PART_COUNT_MAX + 1, &PartSet::empty(1));
        assert_eq!(Holding::try_from(message), Err(refused.into()));
    }

    #[test]
    fn a_holding_needs_a_whole_root_and_a_bitmap() {
        assert!(Holding::try_from(message(9, &PartSet::full(9))).is_ok());
        for length in [0, 31, 33] {
            let root = vec![7; length];
            let wrong = proto::Holding { root, ..message(9, &PartSet::full(9)) };
            assert_eq!(Holding::try_from(wrong), Err(WireFault::HashBytes(length)));
        }
        let absent = proto::Holding { held: Vec::new(), ..message(9, &PartSet::empty(9)) };
        assert!(matches!(Holding::try_from(absent), Err(WireFault::PartSet(_))));
        let beyond = message(8, &PartSet::full(9));
        assert!(matches!(Holding::try_from(beyond), Err(WireFault::PartSet(_))));
    }

    #[test]
    fn what_is_read_of_a_text_keeps_the_rules() {
        let root = "07".repeat(32);
        let text = |held: &str| {
            let held = format!(r#""cut":4,"held":"{held}"}}"#);
            format!(r#"{{"shard":1,"epoch":2,"root":"{root}",{held}"#)
        };
        let holding = Holding::try_from(message(9, &PartSet::full(9))).unwrap();
        assert_eq!(serde_json::to_string(&holding).unwrap(), text("0-8/9"));
        assert_eq!(serde_json::from_str::<Holding>(&text("0-8/9")).unwrap(), holding);
        assert!(serde_json::from_str::<Holding>(&text("/1048576")).is_ok());
        assert!(serde_json::from_str::<Holding>(&text("/1048577")).is_err());
        let following = |last| {
            let text = format!(r#"{{"shard":1,"first":6,"last":{last}}}"#);
            serde_json::from_str::<Following>(&text)
        };
        assert!(following(6).is_ok() && following(5).is_err());
    }

    #[test]
    fn heights_that_end_before_they_begin_are_refused() {
        let following = |first, last| Following::new(ShardId(1), Height(first), Height(last));
        assert!(following(5, 5).is_ok());
        let refused = RuleError::Heights { first: Height(6), last: Height(5) };
        assert_eq!(following(6, 5), Err(refused));
        let message = proto::Following { shard: 1, first_height: 6, last_height: 5 };
        assert_eq!(Following::try_from(message), Err(refused.into()));
    }
}
