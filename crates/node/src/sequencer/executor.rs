use std::num::NonZeroUsize;

use ketch_devnet::Workload;
use ketch_ledger::Outputs;
use ketch_store::ShardStore;
use ketch_types::{Epoch, Height, ShardId, StateRoot};

use super::SequencerError;

/// Executes the workload of every shard.
pub(crate) struct Executor {
    shards: Vec<Executing>,
    epoch_blocks: u64,
    part_bytes: u32,
    workers: NonZeroUsize,
}

/// A shard that is executed.
pub(crate) struct Executing {
    pub(crate) shard: ShardId,
    pub(crate) store: ShardStore,
    pub(crate) workload: Workload,
}

/// What one height did to one shard.
pub(super) struct ExecutedChunk {
    pub(super) shard: ShardId,
    /// What it wrote; nothing means that there is no chunk.
    pub(super) outputs: Outputs,
    pub(super) state_after: StateRoot,
}

impl Executor {
    /// An executor on so many threads, of epochs of so many blocks and parts of so many bytes.
    pub(crate) fn new(
        shards: Vec<Executing>,
        epoch_blocks: u64,
        part_bytes: u32,
        workers: NonZeroUsize,
    ) -> Self {
        Self { shards, epoch_blocks, part_bytes, workers }
    }

    /// Executes one height of all shards.
    ///
    /// *Errors:* [`SequencerError::Store`], [`SequencerError::Outputs`].
    pub(super) fn execute(&self, height: Height) -> Result<Vec<ExecutedChunk>, SequencerError> {
        let a_thread = self.shards.len().div_ceil(self.workers.get()).max(1);
        std::thread::scope(|scope| {
            let execute = |some: &[Executing]| -> Result<Vec<_>, _> {
                some.iter().map(|shard| self.execute_shard(shard, height)).collect()
            };
            let threads: Vec<_> = self
                .shards
                .chunks(a_thread)
                .map(|some| scope.spawn(move || execute(some)))
                .collect();
            let mut executed = Vec::with_capacity(self.shards.len());
            for thread in threads {
                executed.extend(thread.join().map_err(|_| SequencerError::Panicked)??);
            }
            Ok(executed)
        })
    }

    fn execute_shard(
        &self,
        Executing { shard, store, workload }: &Executing,
        height: Height,
    ) -> Result<ExecutedChunk, SequencerError> {
        let shard = *shard;
        let writes = workload.writes(height);
        let outputs = Outputs::new(writes.iter()).map_err(|_| SequencerError::Outputs(shard))?;
        let ends_epoch = height.0.is_multiple_of(self.epoch_blocks);
        let executed = store.execute(&writes, ends_epoch.then_some(self.part_bytes));
        let state_after = executed.map_err(|error| SequencerError::Store { shard, error })?;
        Ok(ExecutedChunk { shard, outputs, state_after })
    }

    /// Forgets the starts of epochs before this one.
    pub(super) fn drop_before(&self, epoch: Epoch) -> Result<(), SequencerError> {
        self.shards.iter().try_for_each(|Executing { shard, store, .. }| {
            let dropped = store.drop_epochs_before(epoch);
            dropped.map_err(|error| SequencerError::Store { shard: *shard, error })
        })
    }
}
