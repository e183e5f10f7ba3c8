use ketch_types::{Epoch, PartSet, ShardId, StateRoot};
use ketch_wire::Holding;

/// One shard's state at one epoch's start, cut into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StateKey {
    pub(crate) shard: ShardId,
    pub(crate) epoch: Epoch,
    pub(crate) root: StateRoot,
    /// *Units:* bytes.
    pub(crate) cut: u32,
}

impl StateKey {
    /// Some parts of the state, as they are told; none if it has more parts than can be told of.
    pub(crate) fn holding(&self, held: PartSet) -> Option<Holding> {
        Holding::new(self.shard, self.epoch, self.root, self.cut, held).ok()
    }
}
