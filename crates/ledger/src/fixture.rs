//! A small chain for the tests: three shards, three validators of powers 1, 2 and 3, epochs of ten
//! blocks, and in every epoch the validators in another order.

use std::fmt;

use ketch_types::{
    Address, ChainId, ChunkHeaderHash, Epoch, Height, OutputsRoot, PeerId, ShardId, ShardLayout,
    StateRoot,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::block::Block;
use crate::chunk_header::ChunkHeader;
use crate::chunks::Chunks;
use crate::consensus_key::ConsensusSigner;
use crate::encoding::{Codec, DecodeError};
use crate::epoch_info::EpochInfo;
use crate::genesis::Genesis;
use crate::ledger_info::{EpochEnd, LedgerInfo, SignedLedgerInfo};
use crate::list_commit::{OutputsCommit, TransactionsCommit};
use crate::trust_path::TrustPath;
use crate::validator::Validator;

const LENGTH: u64 = 10;
const HEIGHTS: u64 = 45;

pub(crate) struct Chain {
    pub(crate) id: ChainId,
    pub(crate) genesis: Genesis,
    /// In the order of epoch 0.
    pub(crate) signers: Vec<ConsensusSigner>,
    blocks: Vec<Block>,
    newest: Vec<Vec<ChunkHeader>>,
}

impl Chain {
    pub(crate) fn new() -> Self {
        let roots = (1..=3).map(|byte| StateRoot::new([byte; 32])).collect();
        let epochs = [epoch_info(0), epoch_info(1)];
        let genesis = Genesis::new("fixture", 1_700_000_000_000, epochs, roots).unwrap();
        let mut chain = Self {
            id: genesis.chain_id(),
            signers: (0..3).map(signer).collect(),
            blocks: vec![genesis.block()],
            newest: vec![genesis.chunk_headers().collect()],
            genesis,
        };
        (1..=HEIGHTS).for_each(|height| chain.add_block(height));
        chain
    }

    /// At every height another shard has no chunk.
    fn add_block(&mut self, height: u64) {
        let mut newest = self.newest.last().unwrap().clone();
        for (place, header) in (0..).zip(&mut newest) {
            if height % 3 != place {
                *header = header_after(header, height);
            }
        }
        self.newest.push(newest);
        let root = self.chunks(height).root();
        let before = self.blocks.last().unwrap();
        let epoch = Epoch((height - 1) / LENGTH);
        self.blocks.push(before.next(epoch, before.time_ms() + 1_000, root).unwrap());
    }

    pub(crate) fn trust(&self) -> TrustPath {
        TrustPath::from_genesis(&self.genesis)
    }

    pub(crate) fn ledger_info(&self, height: u64) -> LedgerInfo {
        let block = &self.blocks[usize::try_from(height).unwrap()];
        let epoch = block.epoch().0;
        let end = height
            .is_multiple_of(LENGTH)
            .then(|| EpochEnd { next: epoch_info(epoch + 1).hash(), info: epoch_info(epoch + 2) });
        LedgerInfo::new(self.id, block, end)
    }

    /// The ledger info at `height`, signed by all.
    pub(crate) fn signed(&self, height: u64) -> SignedLedgerInfo {
        self.signed_by(height, &[0, 1, 2])
    }

    pub(crate) fn signed_by(&self, height: u64, positions: &[u32]) -> SignedLedgerInfo {
        self.sign(self.ledger_info(height), positions)
    }

    /// Signs as the members of the ledger info's own epoch, if it has one here.
    pub(crate) fn sign(&self, info: LedgerInfo, positions: &[u32]) -> SignedLedgerInfo {
        let first = usize::try_from(info.epoch.0 % 3).unwrap();
        let signer = |at: &u32| (*at, &self.signers[(first + *at as usize) % 3]);
        SignedLedgerInfo::sign(info, positions.iter().map(signer))
    }

    /// Signs as the members of another epoch.
    pub(crate) fn sign_as_in_epoch(&self, epoch: usize, info: LedgerInfo) -> SignedLedgerInfo {
        let signer = |at: u32| (at, &self.signers[(epoch + at as usize) % 3]);
        SignedLedgerInfo::sign(info, (0..3).map(signer))
    }

    pub(crate) fn chunks(&self, height: u64) -> Chunks {
        let newest = &self.newest[usize::try_from(height).unwrap()];
        Chunks::new(newest.iter().map(|header| (header.shard(), header.hash())))
    }

    pub(crate) fn newest(&self, height: u64, shard: ShardId) -> &ChunkHeader {
        let newest = &self.newest[usize::try_from(height).unwrap()];
        newest.iter().find(|header| header.shard() == shard).unwrap()
    }

    /// The shard's headers above `from`, up to `to`.
    pub(crate) fn headers_between(&self, from: u64, to: u64, shard: ShardId) -> Vec<ChunkHeader> {
        let newest = (from + 1..=to).map(|height| (height, self.newest(height, shard)));
        let made = newest.filter(|(height, header)| header.height() == Height(*height));
        made.map(|(_, header)| header.clone()).collect()
    }
}

/// A header that follows `before` at `height`.
pub(crate) fn header_after(before: &ChunkHeader, height: u64) -> ChunkHeader {
    let low = u8::try_from(height % 256).unwrap();
    let root = OutputsRoot::new([low; 32]);
    let outputs = OutputsCommit { root, count: 2, bytes: height + 9 };
    let transactions = TransactionsCommit::of([height.to_le_bytes()]).unwrap();
    let mut after = *ChunkHeaderHash::as_bytes(&before.hash());
    after[0] = low;
    before.next(Height(height), StateRoot::new(after), transactions, outputs).unwrap()
}

pub(crate) fn layout() -> ShardLayout {
    let shards = [10, 1, 7].map(ShardId).to_vec();
    ShardLayout::new(shards, vec![b"g".to_vec(), b"p".to_vec()], 4 << 20).unwrap()
}

pub(crate) fn signer(number: u8) -> ConsensusSigner {
    ConsensusSigner::from_seed(&[number + 1; 32])
}

pub(crate) fn validator(number: u8) -> Validator {
    let mut tracked = layout().shards().to_vec();
    tracked.sort_unstable();
    tracked.remove(usize::from(number % 3));
    let address = |last: u8| Address::new(&[b'a', number, last]).unwrap();
    Validator {
        key: signer(number).key(),
        power: u64::from(number) + 1,
        peer: PeerId::new(&[b'p', number]).unwrap(),
        addresses: (0..number % 3).map(address).collect(),
        tracked,
    }
}

/// The info of any epoch of the chain.
pub(crate) fn epoch_info(epoch: u64) -> EpochInfo {
    let first = u8::try_from(epoch % 3).unwrap();
    let mut validators: Vec<_> = (0..3).map(|at| validator((first + at) % 3)).collect();
    for (power, validator) in (1..).zip(&mut validators) {
        validator.power = power;
    }
    let first_height = Height(epoch * LENGTH + 1);
    EpochInfo::new(Epoch(epoch), first_height, LENGTH, layout(), validators).unwrap()
}

pub(crate) fn arbitrary_epoch_info() -> impl Strategy<Value = EpochInfo> {
    let layout = (1_u32..5, 64_u64 << 10..64 << 20).prop_map(|(shards, part_bytes)| {
        let ids = (0..shards).rev().map(|id| ShardId(id * 1_000)).collect();
        let boundaries = (1..shards).map(|at| at.to_be_bytes().to_vec()).collect();
        ShardLayout::new(ids, boundaries, part_bytes).unwrap()
    });
    let member = (1_u64..1 << 60, vec(vec(any::<u8>(), 1..9), 0..3), any::<u8>());
    let heights = (any::<u64>(), 1_u64..1 << 60, 1_u64..1 << 60);
    (heights, layout, vec(member, 1..4)).prop_map(|((epoch, first, length), layout, set)| {
        let validators = (0..).zip(set).map(|(number, (power, addresses, tracked))| Validator {
            power,
            addresses: addresses.iter().map(|bytes| Address::new(bytes).unwrap()).collect(),
            tracked: (0..8)
                .filter(|bit| tracked >> bit & 1 == 1)
                .map(|bit| ShardId(bit * 1_000))
                .filter(|shard| layout.shards().contains(shard))
                .collect(),
            ..validator(number)
        });
        let validators = validators.collect();
        EpochInfo::new(Epoch(epoch), Height(first), length, layout.clone(), validators).unwrap()
    })
}

/// Checks that an object survives its encoding, and that no beginning or continuation of that is
/// one.
pub(crate) fn only_decodes_whole<T: Codec + PartialEq + fmt::Debug>(object: &T) {
    let mut bytes = object.to_bytes();
    assert_eq!(T::from_bytes(&bytes).as_ref(), Ok(object));
    for cut in 0..bytes.len() {
        assert_eq!(T::from_bytes(&bytes[..cut]), Err(DecodeError::Truncated), "cut at {cut}");
    }
    bytes.push(0);
    assert_eq!(T::from_bytes(&bytes), Err(DecodeError::Trailing(1)));
}

/// The bytes with one bit changed, for every bit.
pub(crate) fn every_bit_flipped(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut other = bytes.to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        other
    })
}
