//! The sequencer: stands in for consensus in a devnet, with the dev validators' keys.

mod executor;
mod serving;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ketch_devnet::{Executed, ProduceError, Produced, Producer};
use ketch_ledger::ChunkHeader;
use ketch_net::Network;
use ketch_store::StoreError;
use ketch_types::{Epoch, ShardId};
use ketch_wire::{Head, LedgerBytes};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::book::{Book, BookError, HeadTaken, TakeError};
use crate::clock::wall_ms;
use crate::driver::blocking;
use crate::status::{HeadStatus, NodeStatus};
use executor::ExecutedChunk;
pub(crate) use executor::{Executing, Executor};
pub(crate) use serving::serve;

/// Makes a block each interval, once enough peers are there; then it waits for nobody.
pub(crate) struct Sequencer {
    pub(crate) network: Network,
    pub(crate) book: Arc<Book>,
    pub(crate) producer: Producer,
    pub(crate) executor: Executor,
    pub(crate) block_interval: Duration,
    pub(crate) status: watch::Sender<Arc<NodeStatus>>,
    /// What of its status changes with epochs alone.
    pub(crate) fixed: NodeStatus,
}

/// Why a sequencer stops.
#[derive(Debug, Error)]
pub(crate) enum SequencerError {
    /// A shard's store failed.
    #[error("shard {shard}: {error}")]
    Store {
        /// The shard.
        shard: ShardId,
        /// Why.
        #[source]
        error: StoreError,
    },
    /// The outputs of a chunk are over the ledger's limits: an error of the workload.
    #[error("shard {0} has outputs that no chunk may have")]
    Outputs(ShardId),
    /// A block was refused: an error of ours.
    #[error(transparent)]
    Produce(#[from] ProduceError),
    /// The book failed.
    #[error(transparent)]
    Book(#[from] BookError),
    /// The book refuses a block: an error of ours.
    #[error(transparent)]
    Take(#[from] TakeError),
    /// A block is not newer than the newest.
    #[error("a block is not newer than the newest")]
    NotNewer,
    /// The executing thread panicked.
    #[error("executing a block panicked")]
    Panicked,
}

impl Sequencer {
    /// Waits until `peers_wanted` peers are connected, and then produces blocks for as long as it is
    /// not dropped.
    ///
    /// *Errors:* see [`SequencerError`].
    pub(crate) async fn run(
        mut self,
        peers_wanted: usize,
        mut connected: watch::Receiver<usize>,
    ) -> Result<(), SequencerError> {
        // Ends with an error only when the network is left, and then this does too.
        let _ = connected.wait_for(|count| *count >= peers_wanted).await;
        tracing::info!(peers_wanted, "everybody is here: the chain begins");
        let mut ticks = interval_at(Instant::now() + self.block_interval, self.block_interval);
        // A block that takes longer than the interval delays those after it, which then come as planned.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let head;
            (self, head) =
                blocking(move || self.step()).await.ok_or(SequencerError::Panicked)??;
            self.report(*connected.borrow());
            if self.network.publish_head(&head).is_err() {
                tracing::debug!("the end of an epoch is too long for gossip, and is asked for");
            }
            // After everybody knows of the block: what is old can wait.
            self = blocking(move || self.forget_old()).await.ok_or(SequencerError::Panicked)??;
        }
    }

    fn report(&mut self, peers: usize) {
        let block = self.producer.block();
        let head = HeadStatus { height: block.height().0, time_ms: block.time_ms() };
        let epoch = block.epoch().0;
        self.fixed.epochs_began_ms.entry(epoch).or_insert(head.time_ms);
        let (epoch, head) = (Some(epoch), Some(head));
        let status = NodeStatus { epoch, head, peers, ..self.fixed.clone() };
        self.status.send_replace(Arc::new(status));
    }

    /// Makes the next block; its head.
    fn step(mut self) -> Result<(Self, Head), SequencerError> {
        let height = self.producer.block().height().next();
        let chunks = self.executor.execute(height)?;
        let executed: Vec<_> = chunks
            .iter()
            .filter(|chunk| !chunk.outputs.is_empty())
            .map(|chunk| Executed {
                shard: chunk.shard,
                outputs: &chunk.outputs,
                state_after: chunk.state_after,
            })
            .collect();
        let produced = self.producer.produce(wall_ms(), &executed)?;
        self.keep(&produced, chunks)?;
        let head = Head {
            signed_ledger_info: LedgerBytes(produced.signed.encode()),
            block: LedgerBytes(produced.block.encode()),
        };
        tracing::info!(%height, chunks = produced.headers.len(), "block");
        Ok((self, head))
    }

    /// Has the book take what a block brought, and drops what is of an epoch that nobody asks for.
    fn keep(
        &self,
        produced: &Produced,
        executed: Vec<ExecutedChunk>,
    ) -> Result<(), SequencerError> {
        let mut outputs: BTreeMap<_, _> =
            executed.into_iter().map(|chunk| (chunk.shard, chunk.outputs)).collect();
        let with_outputs =
            |header: &ChunkHeader| Some((header.clone(), outputs.remove(&header.shard())?));
        let made: Vec<_> = produced.headers.iter().filter_map(with_outputs).collect();
        let book = &self.book;
        let head = match book.take_head(produced.signed.clone(), produced.block.clone())? {
            HeadTaken::New(head) => head,
            // Nobody else makes heads.
            HeadTaken::NotNewer => return Err(SequencerError::NotNewer),
        };
        book.take_own(&head.ledger_info, &self.producer.chunks(), &made)?;
        if produced.signed.ledger_info.epoch_end.is_some() {
            let headers = self.producer.headers().cloned().collect();
            book.take_start(&head.ledger_info, headers)?;
        }
        Ok(())
    }

    /// Drops what is of an epoch that nobody asks for any more, once another one has begun.
    fn forget_old(self) -> Result<Self, SequencerError> {
        let begun = self.book.next_end();
        if self.producer.block().height().next() == self.producer.first_height(begun) {
            let kept_from = Epoch(begun.0.saturating_sub(1));
            self.executor.drop_before(kept_from)?;
            self.book.drop_before(kept_from)?;
        }
        Ok(self)
    }
}
