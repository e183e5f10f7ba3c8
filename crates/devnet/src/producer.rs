use std::collections::BTreeMap;

use ketch_ledger::{
    Block, BlockError, ChunkHeader, ChunkHeaderError, Chunks, ConsensusSigner, EpochEnd, EpochInfo,
    EpochInfoError, Genesis, GenesisError, LedgerInfo, Outputs, SignedLedgerInfo,
    TransactionsCommit, Validator,
};
use ketch_types::{Address, Epoch, Height, PeerId, ShardId, ShardLayout, StateRoot};
use thiserror::Error;

use crate::assignment::Assignment;

/// A dev validator: its key is the devnet's own, and so held by whoever produces blocks.
#[derive(Debug)]
pub struct DevValidator {
    /// What it signs with.
    pub signer: ConsensusSigner,
    /// Its name on the network.
    pub peer: PeerId,
    /// Where it listens; none where ports are chosen by the system.
    pub addresses: Vec<Address>,
}

impl DevValidator {
    /// The key of a dev validator, from the chain's seed and its place among them.
    pub fn signer(seed: u64, place: u32) -> ConsensusSigner {
        let mut bytes = *b"ketch dev validator             ";
        let (_, numbers) = bytes.split_at_mut(20);
        let (of_seed, of_place) = numbers.split_at_mut(8);
        of_seed.copy_from_slice(&seed.to_le_bytes());
        of_place.copy_from_slice(&place.to_le_bytes());
        ConsensusSigner::from_seed(&bytes)
    }
}

/// What is the same in all epochs of a devnet.
#[derive(Debug)]
pub struct DevChain {
    /// Its name.
    pub name: String,
    /// When it begins. *Units:* milliseconds since 1970.
    pub time_ms: u64,
    /// Its shards.
    pub layout: ShardLayout,
    /// The length of its epochs. *Units:* blocks.
    pub epoch_blocks: u64,
    /// Who tracks what.
    pub assignment: Assignment,
    /// All validators, in the assignment's order; each has the same power.
    pub validators: Vec<DevValidator>,
}

/// One shard's chunk, executed.
#[derive(Clone, Debug)]
pub struct Executed<'a> {
    /// The shard.
    pub shard: ShardId,
    /// What the chunk wrote.
    pub outputs: &'a Outputs,
    /// The root of the state that came of it.
    pub state_after: StateRoot,
}

/// A block, and what leads from it to the states.
#[derive(Clone, Debug)]
pub struct Produced {
    /// The block.
    pub block: Block,
    /// Its ledger info, signed by every validator.
    pub signed: SignedLedgerInfo,
    /// The headers of the chunks that the block brought.
    pub headers: Vec<ChunkHeader>,
}

/// Why a block cannot be produced.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProduceError {
    /// A chunk of a shard that is not in the layout, or a second one of the same shard.
    #[error("shard {0} has no place for this chunk")]
    Shard(ShardId),
    /// A chunk's header is refused.
    #[error(transparent)]
    ChunkHeader(#[from] ChunkHeaderError),
    /// No further block can be.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// The next epoch's info is refused.
    #[error(transparent)]
    EpochInfo(#[from] EpochInfoError),
    /// The genesis is refused.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

impl DevChain {
    /// What is fixed about an epoch.
    ///
    /// *Errors:* see [`EpochInfoError`].
    pub fn epoch_info(&self, epoch: Epoch) -> Result<EpochInfo, EpochInfoError> {
        let first = epoch.0.saturating_mul(self.epoch_blocks).saturating_add(1);
        let member = |(place, validator): (usize, &DevValidator)| Validator {
            key: validator.signer.key(),
            power: 1,
            peer: validator.peer.clone(),
            addresses: validator.addresses.clone(),
            tracked: self.assignment.tracked(place, epoch),
        };
        let members = self.validators.iter().enumerate().map(member).collect();
        EpochInfo::new(epoch, Height(first), self.epoch_blocks, self.layout.clone(), members)
    }

    /// The genesis, with the shards' roots in layout order.
    ///
    /// *Errors:* [`ProduceError::EpochInfo`], [`ProduceError::Genesis`].
    pub fn genesis(&self, state_roots: Vec<StateRoot>) -> Result<Genesis, ProduceError> {
        let epochs = [self.epoch_info(Epoch(0))?, self.epoch_info(Epoch(1))?];
        Ok(Genesis::new(&self.name, self.time_ms, epochs, state_roots)?)
    }
}

/// Stands in for consensus: makes one block after another, and signs it for everybody.
#[derive(Debug)]
pub struct Producer {
    chain: DevChain,
    genesis: Genesis,
    /// The newest block.
    block: Block,
    /// Every shard's newest chunk header.
    headers: BTreeMap<ShardId, ChunkHeader>,
}

impl Producer {
    /// A producer of the chain that begins with these states.
    ///
    /// *Errors:* see [`DevChain::genesis`].
    pub fn new(chain: DevChain, state_roots: Vec<StateRoot>) -> Result<Self, ProduceError> {
        let genesis = chain.genesis(state_roots)?;
        let headers = genesis.chunk_headers().map(|header| (header.shard(), header)).collect();
        let block = genesis.block();
        Ok(Self { chain, genesis, block, headers })
    }

    /// Where the chain begins.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The newest block.
    pub fn block(&self) -> &Block {
        &self.block
    }

    /// The newest chunk header of every shard, in layout order, as the newest block commits to them.
    pub fn chunks(&self) -> Chunks {
        newest(&self.chain.layout, &self.headers)
    }

    /// The first height of an epoch.
    pub fn first_height(&self, epoch: Epoch) -> Height {
        Height(epoch.0.saturating_mul(self.chain.epoch_blocks).saturating_add(1))
    }

    /// The newest chunk header of every shard, in layout order.
    pub fn headers(&self) -> impl Iterator<Item = &ChunkHeader> {
        self.chain.layout.shards().iter().filter_map(|shard| self.headers.get(shard))
    }

    /// A shard's newest chunk header.
    pub fn header(&self, shard: ShardId) -> Option<&ChunkHeader> {
        self.headers.get(&shard)
    }

    /// The next block, at `time_ms`, with these chunks; nothing changes if it is refused.
    ///
    /// *Errors:* see [`ProduceError`].
    pub fn produce(
        &mut self,
        time_ms: u64,
        executed: &[Executed<'_>],
    ) -> Result<Produced, ProduceError> {
        let height = self.block.height().next();
        let epoch = Epoch((height.0.saturating_sub(1)) / self.chain.epoch_blocks.max(1));
        let mut headers = self.headers.clone();
        let mut new = Vec::with_capacity(executed.len());
        for Executed { shard, outputs, state_after } in executed {
            let before = headers.get(shard).filter(|header| header.height() < height);
            let before = before.ok_or(ProduceError::Shard(*shard))?;
            let (transactions, outputs) = (TransactionsCommit::EMPTY, outputs.commit());
            let header = before.next(height, *state_after, transactions, outputs)?;
            headers.insert(*shard, header.clone());
            new.push(header);
        }
        let chunks_root = newest(&self.chain.layout, &headers).root();
        let block = self.block.next(epoch, time_ms, chunks_root)?;
        let signed = self.sign(&block, epoch)?;
        (self.block, self.headers) = (block.clone(), headers);
        Ok(Produced { block, signed, headers: new })
    }

    fn sign(&self, block: &Block, epoch: Epoch) -> Result<SignedLedgerInfo, ProduceError> {
        let ends = self.chain.epoch_info(epoch)?.last_height() == block.height();
        let end = if ends {
            let next = self.chain.epoch_info(epoch.next())?.hash();
            Some(EpochEnd { next, info: self.chain.epoch_info(epoch.next().next())? })
        } else {
            None
        };
        let ledger_info = LedgerInfo::new(self.genesis.chain_id(), block, end);
        let signers = (0..).zip(self.chain.validators.iter().map(|validator| &validator.signer));
        Ok(SignedLedgerInfo::sign(ledger_info, signers))
    }
}

fn newest(layout: &ShardLayout, headers: &BTreeMap<ShardId, ChunkHeader>) -> Chunks {
    let of = |shard: &ShardId| Some((*shard, headers.get(shard)?.hash()));
    Chunks::new(layout.shards().iter().filter_map(of))
}

#[cfg(test)]
mod tests {
    use ketch_ledger::{ChunkProof, TrustPath};

    use super::*;

    const BLOCKS: u64 = 5;

    fn shards() -> Vec<ShardId> {
        [9, 2, 30, 4].map(ShardId).to_vec()
    }

    fn chain(seed: u64) -> DevChain {
        let boundaries = [0x40, 0x80, 0xc0].map(|byte| vec![byte]).to_vec();
        let layout = ShardLayout::new(shards(), boundaries, 4 << 20).unwrap();
        let validator = |place: u32| DevValidator {
            signer: DevValidator::signer(seed, place),
            peer: PeerId::new(&[7, u8::try_from(place).unwrap()]).unwrap(),
            addresses: vec![],
        };
        DevChain {
            name: "dev".to_owned(),
            time_ms: 1_000,
            assignment: Assignment::new(layout.shards(), 4).unwrap(),
            layout,
            epoch_blocks: BLOCKS,
            validators: (0..4).map(validator).collect(),
        }
    }

    fn root(height: u64, shard: ShardId) -> StateRoot {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&height.to_le_bytes());
        bytes[8..12].copy_from_slice(&shard.0.to_le_bytes());
        StateRoot::new(bytes)
    }

    fn producer() -> Producer {
        let roots = shards().into_iter().map(|shard| root(0, shard)).collect();
        Producer::new(chain(1), roots).unwrap()
    }

    fn outputs(height: u64) -> Outputs {
        Outputs::new([(&height.to_be_bytes()[..], Some(&b"value"[..]))]).unwrap()
    }

    /// Every shard but one has a chunk at each height; that one only at even heights.
    fn produce(producer: &mut Producer) -> Produced {
        let height = producer.block().height().0 + 1;
        let outputs = outputs(height);
        let has_chunk = |shard: &ShardId| shard.0 != 30 || height.is_multiple_of(2);
        let executed =
            |shard| Executed { shard, outputs: &outputs, state_after: root(height, shard) };
        let executed: Vec<_> = shards().into_iter().filter(has_chunk).map(executed).collect();
        producer.produce(1_000 + height, &executed).unwrap()
    }

    #[test]
    fn every_block_is_believed_and_every_epoch_named_two_before_it_begins() {
        let mut producer = producer();
        let mut trust = TrustPath::from_genesis(producer.genesis());
        for height in 1..=4 * BLOCKS {
            let produced = produce(&mut producer);
            let verified = trust.verify(produced.signed).unwrap();
            verified.check_block(&produced.block).unwrap();
            let epoch = (height - 1) / BLOCKS;
            assert_eq!(produced.block.epoch(), Epoch(epoch));
            if height.is_multiple_of(BLOCKS) {
                trust.advance(&verified).unwrap();
                let far = trust.epoch(Epoch(epoch + 2)).unwrap();
                assert_eq!(far.first_height(), Height((epoch + 2) * BLOCKS + 1));
            }
        }
    }

    #[test]
    fn from_every_block_each_shards_newest_root_is_proven_chunk_or_not() {
        let mut producer = producer();
        let mut trust = TrustPath::from_genesis(producer.genesis());
        for height in 1..=2 * BLOCKS {
            let verified = trust.verify(produce(&mut producer).signed).unwrap();
            for shard in shards() {
                let header = producer.header(shard).unwrap().clone();
                let proof = ChunkProof::new(&producer.chunks(), header).unwrap();
                let idle = shard.0 == 30 && !height.is_multiple_of(2);
                let expected = root(if idle { height - 1 } else { height }, shard);
                assert_eq!(proof.verify(&verified, shard).unwrap().state_after(), expected);
            }
            if height.is_multiple_of(BLOCKS) {
                trust.advance(&verified).unwrap();
            }
        }
    }

    #[test]
    fn a_chunk_without_a_place_changes_nothing() {
        let mut producer = producer();
        produce(&mut producer);
        let (before, outputs) = (producer.block().clone(), outputs(2));
        let executed = |shard| Executed { shard, outputs: &outputs, state_after: root(2, shard) };
        let twice = [executed(ShardId(9)), executed(ShardId(9))];
        for (executed, shard) in [(&twice[..], 9), (&[executed(ShardId(77))][..], 77)] {
            let refused = producer.produce(2, executed).unwrap_err();
            assert_eq!(refused, ProduceError::Shard(ShardId(shard)));
            assert_eq!(*producer.block(), before);
        }
        assert_eq!(produce(&mut producer).block.height(), Height(2));
    }

    #[test]
    fn keys_of_dev_validators_differ_by_seed_and_place() {
        let key = |seed, place| *DevValidator::signer(seed, place).key().as_bytes();
        assert_eq!(key(1, 2), key(1, 2));
        assert_ne!(key(1, 2), key(1, 3));
        assert_ne!(key(1, 2), key(2, 2));
    }
}
