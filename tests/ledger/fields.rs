//! Objects as the vectors show them: read from the crate's, and made into the crate's.

use ketch_ledger::{
    Block, ChunkHeader, ConsensusKey, EpochEnd, EpochInfo, Genesis, LedgerInfo, Outputs, Signature,
    SignedLedgerInfo, Validator,
};
use ketch_types::{
    Address, BlockHash, ChainId, ChunksRoot, Epoch, EpochInfoHash, Height, PeerId, ShardId,
    ShardLayout, StateRoot,
};
use serde::Deserialize;

use super::vectors::{Bytes, Bytes32, Bytes64, Hex};

/// An epoch info.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EpochInfoFields {
    epoch: u64,
    first_height: u64,
    length: u64,
    layout: LayoutFields,
    validators: Vec<ValidatorFields>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayoutFields {
    shards: Vec<u32>,
    boundaries: Vec<Bytes>,
    part_bytes: u32,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValidatorFields {
    key: Bytes32,
    power: u64,
    peer_id: Bytes,
    addresses: Vec<Bytes>,
    shards: Vec<u32>,
}

impl EpochInfoFields {
    pub(super) fn of(info: &EpochInfo) -> Self {
        let layout = info.layout();
        Self {
            epoch: info.epoch().0,
            first_height: info.first_height().0,
            length: info.length(),
            layout: LayoutFields {
                shards: layout.shards().iter().map(|shard| shard.0).collect(),
                boundaries: layout.boundaries().iter().cloned().map(Hex).collect(),
                part_bytes: layout.part_bytes(),
            },
            validators: info.validators().iter().map(ValidatorFields::of).collect(),
        }
    }

    pub(super) fn build(&self) -> EpochInfo {
        let shards = self.layout.shards.iter().copied().map(ShardId).collect();
        let boundaries = self.layout.boundaries.iter().map(|key| key.0.clone()).collect();
        let layout = ShardLayout::new(shards, boundaries, self.layout.part_bytes.into()).unwrap();
        let validators = self.validators.iter().map(ValidatorFields::build).collect();
        let (epoch, first_height) = (Epoch(self.epoch), Height(self.first_height));
        EpochInfo::new(epoch, first_height, self.length, layout, validators).unwrap()
    }
}

impl ValidatorFields {
    fn of(validator: &Validator) -> Self {
        let addresses = validator.addresses.iter().map(|address| Hex(address.as_bytes().to_vec()));
        Self {
            key: Hex(*validator.key.as_bytes()),
            power: validator.power,
            peer_id: Hex(validator.peer.as_bytes().to_vec()),
            addresses: addresses.collect(),
            shards: validator.tracked.iter().map(|shard| shard.0).collect(),
        }
    }

    fn build(&self) -> Validator {
        let addresses = self.addresses.iter().map(|address| Address::new(&address.0).unwrap());
        Validator {
            key: ConsensusKey::new(&self.key.0).unwrap(),
            power: self.power,
            peer: PeerId::new(&self.peer_id.0).unwrap(),
            addresses: addresses.collect(),
            tracked: self.shards.iter().copied().map(ShardId).collect(),
        }
    }
}

/// A chunk header, which only follows from others.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChunkHeaderFields {
    shard: u32,
    height: u64,
    previous: Bytes32,
    state_before: Bytes32,
    state_after: Bytes32,
    transactions_root: Bytes32,
    transactions: u32,
    transactions_bytes: u64,
    outputs_root: Bytes32,
    outputs: u32,
    outputs_bytes: u64,
}

impl ChunkHeaderFields {
    pub(super) fn of(header: &ChunkHeader) -> Self {
        let (transactions, outputs) = (header.transactions(), header.outputs());
        Self {
            shard: header.shard().0,
            height: header.height().0,
            previous: Hex(*header.previous().as_bytes()),
            state_before: Hex(*header.state_before().as_bytes()),
            state_after: Hex(*header.state_after().as_bytes()),
            transactions_root: Hex(*transactions.root.as_bytes()),
            transactions: transactions.count,
            transactions_bytes: transactions.bytes,
            outputs_root: Hex(*outputs.root.as_bytes()),
            outputs: outputs.count,
            outputs_bytes: outputs.bytes,
        }
    }
}

/// A chunk's outputs.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputsFields {
    outputs: Vec<OutputFields>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputFields {
    key: Bytes,
    value: Option<Bytes>,
}

impl OutputsFields {
    pub(super) fn of(outputs: &Outputs) -> Self {
        let output = |(key, value): (&[u8], Option<&[u8]>)| OutputFields {
            key: Hex(key.to_vec()),
            value: value.map(|value| Hex(value.to_vec())),
        };
        Self { outputs: outputs.iter().map(output).collect() }
    }

    pub(super) fn build(&self) -> Outputs {
        let writes = self.outputs.iter();
        let writes = writes.map(|o| (o.key.as_ref(), o.value.as_ref().map(AsRef::as_ref)));
        Outputs::new(writes).unwrap()
    }
}

/// A block, which only follows from others.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockFields {
    height: u64,
    epoch: u64,
    time: u64,
    previous: Bytes32,
    chunks_root: Bytes32,
}

impl BlockFields {
    pub(super) fn of(block: &Block) -> Self {
        Self {
            height: block.height().0,
            epoch: block.epoch().0,
            time: block.time_ms(),
            previous: Hex(*block.previous().as_bytes()),
            chunks_root: Hex(*block.chunks_root().as_bytes()),
        }
    }
}

/// A genesis.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GenesisFields {
    name: String,
    time: u64,
    epoch_0: EpochInfoFields,
    epoch_1: EpochInfoFields,
    state_roots: Vec<Bytes32>,
}

impl GenesisFields {
    pub(super) fn of(genesis: &Genesis) -> Self {
        let [zero, one] = genesis.epochs();
        Self {
            name: genesis.name().to_owned(),
            time: genesis.time_ms(),
            epoch_0: EpochInfoFields::of(zero),
            epoch_1: EpochInfoFields::of(one),
            state_roots: genesis.state_roots().iter().map(|root| Hex(*root.as_bytes())).collect(),
        }
    }

    pub(super) fn build(&self) -> Genesis {
        let epochs = [self.epoch_0.build(), self.epoch_1.build()];
        let roots = self.state_roots.iter().map(|root| StateRoot::new(root.0)).collect();
        Genesis::new(&self.name, self.time, epochs, roots).unwrap()
    }
}

/// A ledger info.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LedgerInfoFields {
    chain_id: Bytes32,
    epoch: u64,
    height: u64,
    block_hash: Bytes32,
    chunks_root: Bytes32,
    epoch_end: Option<EpochEndFields>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochEndFields {
    next: Bytes32,
    info: EpochInfoFields,
}

impl LedgerInfoFields {
    pub(super) fn of(info: &LedgerInfo) -> Self {
        let epoch_end = info.epoch_end.as_ref().map(|end| EpochEndFields {
            next: Hex(*end.next.as_bytes()),
            info: EpochInfoFields::of(&end.info),
        });
        Self {
            chain_id: Hex(*info.chain.as_bytes()),
            epoch: info.epoch.0,
            height: info.height.0,
            block_hash: Hex(*info.block.as_bytes()),
            chunks_root: Hex(*info.chunks_root.as_bytes()),
            epoch_end,
        }
    }

    pub(super) fn build(&self) -> LedgerInfo {
        let epoch_end = self
            .epoch_end
            .as_ref()
            .map(|end| EpochEnd { next: EpochInfoHash::new(end.next.0), info: end.info.build() });
        LedgerInfo {
            chain: ChainId::new(self.chain_id.0),
            epoch: Epoch(self.epoch),
            height: Height(self.height),
            block: BlockHash::new(self.block_hash.0),
            chunks_root: ChunksRoot::new(self.chunks_root.0),
            epoch_end,
        }
    }
}

/// A signed ledger info.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedFields {
    ledger_info: LedgerInfoFields,
    signatures: Vec<SignatureFields>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureFields {
    validator: u32,
    signature: Bytes64,
}

impl SignedFields {
    pub(super) fn of(signed: &SignedLedgerInfo) -> Self {
        let signature = |(validator, signature): &(u32, Signature)| SignatureFields {
            validator: *validator,
            signature: Hex(signature.0),
        };
        Self {
            ledger_info: LedgerInfoFields::of(&signed.ledger_info),
            signatures: signed.signatures.iter().map(signature).collect(),
        }
    }

    pub(super) fn build(&self) -> SignedLedgerInfo {
        let signatures = self.signatures.iter();
        SignedLedgerInfo {
            ledger_info: self.ledger_info.build(),
            signatures: signatures.map(|s| (s.validator, Signature(s.signature.0))).collect(),
        }
    }
}

/// A chunk proof, whose siblings are seen in its encoding alone.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChunkProofFields {
    pub(super) header: ChunkHeaderFields,
    pub(super) siblings: Vec<Bytes32>,
}

/// A chunk range, whose parts are seen in its encoding alone.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChunkRangeFields {
    pub(super) signed: SignedFields,
    pub(super) siblings: Vec<Bytes32>,
    pub(super) headers: Vec<ChunkHeaderFields>,
}
