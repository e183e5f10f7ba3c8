use ketch_types::{ChainId, Epoch, Height, StateRoot};
use thiserror::Error;

use crate::block::Block;
use crate::chunk_header::ChunkHeader;
use crate::chunks::Chunks;
use crate::domain::{K_GENESIS, keyed};
use crate::encoding::{BytesField, Codec, DecodeError, ListField, Reader, write_bytes, write_list};
use crate::epoch_info::EpochInfo;

/// The longest name of a chain. *Units:* bytes. *Source:* the ledger's bytes, version 1.
pub const NAME_BYTES_MAX: usize = 64;

/// Where a chain begins: its name, its first two epochs, and the state of every shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    name: String,
    time_ms: u64,
    epochs: [EpochInfo; 2],
    state_roots: Vec<StateRoot>,
}

/// Why a genesis is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GenesisError {
    /// A name has 1 to [`NAME_BYTES_MAX`] bytes.
    #[error("a chain's name has {0} bytes, not 1 to {NAME_BYTES_MAX}")]
    Name(usize),
    /// A name is text.
    #[error("a chain's name is not utf-8")]
    NameText,
    /// The epoch infos are of epochs 0 and 1.
    #[error("the epochs of genesis are {0} and {1}, not 0 and 1")]
    Epochs(Epoch, Epoch),
    /// Both epochs have the same layout.
    #[error("the epochs of genesis have different layouts")]
    Layouts,
    /// Epoch 0 begins at height 1, and epoch 1 right after it.
    #[error("epoch {0} does not begin at height {1}")]
    FirstHeight(Epoch, Height),
    /// Every shard has a state at genesis.
    #[error("{roots} state roots for {shards} shards")]
    StateRoots {
        /// How many shards the layout has.
        shards: usize,
        /// How many roots there are.
        roots: usize,
    },
}

impl Genesis {
    /// A genesis, with the shards' roots in layout order.
    ///
    /// *Errors:* see [`GenesisError`].
    pub fn new(
        name: &str,
        time_ms: u64,
        epochs: [EpochInfo; 2],
        state_roots: Vec<StateRoot>,
    ) -> Result<Self, GenesisError> {
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(GenesisError::Name(name.len()));
        }
        check_epochs(&epochs)?;
        let [zero, _] = &epochs;
        let (shards, roots) = (zero.layout().shards().len(), state_roots.len());
        if shards != roots {
            return Err(GenesisError::StateRoots { shards, roots });
        }
        Ok(Self { name: name.to_owned(), time_ms, epochs, state_roots })
    }

    /// The genesis that all of `bytes` encode.
    ///
    /// *Errors:* see [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes(bytes)
    }

    /// The genesis' one encoding.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// The chain's name to machines: the hash of all that is here.
    pub fn chain_id(&self) -> ChainId {
        ChainId::new(keyed(&K_GENESIS, &self.to_bytes()))
    }

    /// The chain's name to people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When the chain began. *Units:* milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The infos of epochs 0 and 1.
    pub fn epochs(&self) -> &[EpochInfo; 2] {
        &self.epochs
    }

    /// The root of every shard's state, in layout order.
    pub fn state_roots(&self) -> &[StateRoot] {
        &self.state_roots
    }

    /// The header at height 0 of every shard, in layout order.
    pub fn chunk_headers(&self) -> impl Iterator<Item = ChunkHeader> {
        let [zero, _] = &self.epochs;
        let roots = zero.layout().shards().iter().zip(&self.state_roots);
        roots.map(|(shard, root)| ChunkHeader::genesis(*shard, *root))
    }

    /// The block at height 0.
    pub fn block(&self) -> Block {
        let newest = self.chunk_headers().map(|header| (header.shard(), header.hash()));
        Block::genesis(self.time_ms, Chunks::new(newest).root())
    }
}

impl Codec for Genesis {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(out, self.name.as_bytes());
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        self.epochs.iter().for_each(|epoch| epoch.write(out));
        write_list(out, &self.state_roots, |out, root| out.extend_from_slice(root.as_bytes()));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = reader.bytes(BytesField::Name)?;
        let name = str::from_utf8(name).map_err(|_| GenesisError::NameText)?;
        let time_ms = reader.u64()?;
        let epochs = [EpochInfo::read(reader)?, EpochInfo::read(reader)?];
        let state_roots =
            reader.list(ListField::StateRoots, |reader| reader.array().map(StateRoot::new))?;
        Ok(Self::new(name, time_ms, epochs, state_roots)?)
    }
}

fn check_epochs([zero, one]: &[EpochInfo; 2]) -> Result<(), GenesisError> {
    if (zero.epoch(), one.epoch()) != (Epoch(0), Epoch(1)) {
        return Err(GenesisError::Epochs(zero.epoch(), one.epoch()));
    }
    if zero.layout() != one.layout() {
        return Err(GenesisError::Layouts);
    }
    for (info, first) in [(zero, Height(1)), (one, zero.next_first_height())] {
        if info.first_height() != first {
            return Err(GenesisError::FirstHeight(info.epoch(), first));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ketch_types::{ShardId, ShardLayout};

    use super::*;
    use crate::fixture::{Chain, epoch_info, every_bit_flipped, layout, only_decodes_whole};

    fn genesis(epochs: [EpochInfo; 2], roots: usize) -> Result<Genesis, GenesisError> {
        Genesis::new("a", 9, epochs, vec![StateRoot::new([1; 32]); roots])
    }

    #[test]
    fn a_genesis_has_one_encoding() {
        only_decodes_whole(&Chain::new().genesis);
    }

    #[test]
    fn every_bit_of_a_genesis_makes_another_chain() {
        let genesis = Chain::new().genesis;
        for other in every_bit_flipped(&genesis.encode()) {
            let other = Genesis::decode(&other).map(|genesis| genesis.chain_id());
            assert_ne!(other, Ok(genesis.chain_id()));
        }
    }

    #[test]
    fn the_block_at_height_0_holds_the_shards_first_headers() {
        let genesis = Chain::new().genesis;
        let headers: Vec<_> = genesis.chunk_headers().collect();
        let shards: Vec<_> = headers.iter().map(ChunkHeader::shard).collect();
        assert_eq!(shards, layout().shards());
        let roots: Vec<_> = headers.iter().map(ChunkHeader::state_after).collect();
        assert_eq!(roots, genesis.state_roots());
        let newest = headers.iter().map(|header| (header.shard(), header.hash()));
        assert_eq!(genesis.block().chunks_root(), Chunks::new(newest).root());
        assert_eq!(genesis.block().time_ms(), genesis.time_ms());
    }

    #[test]
    fn a_name_is_1_to_64_bytes_of_text() {
        let named = |name: &str| {
            let epochs = [epoch_info(0), epoch_info(1)];
            Genesis::new(name, 9, epochs, vec![StateRoot::new([1; 32]); 3]).map(|_| ())
        };
        assert_eq!(named(""), Err(GenesisError::Name(0)));
        assert_eq!(named(&"é".repeat(32)), Ok(()));
        assert_eq!(named(&"x".repeat(65)), Err(GenesisError::Name(65)));
        let mut bytes = genesis([epoch_info(0), epoch_info(1)], 3).unwrap().encode();
        bytes[4] = 0xff;
        let refused = Genesis::decode(&bytes);
        assert_eq!(refused, Err(DecodeError::Genesis(GenesisError::NameText)));
    }

    #[test]
    fn epochs_that_do_not_begin_the_chain_are_refused() {
        let of = |zero, one| genesis([zero, one], 3).map(|_| ());
        let numbers = of(epoch_info(1), epoch_info(2));
        assert_eq!(numbers, Err(GenesisError::Epochs(Epoch(1), Epoch(2))));
        let at = |epoch, first, layout: ShardLayout| {
            let validators = epoch_info(0).validators().to_vec();
            EpochInfo::new(Epoch(epoch), Height(first), 10, layout, validators).unwrap()
        };
        assert_eq!(of(at(0, 1, layout()), at(1, 11, layout())), Ok(()));
        let late = GenesisError::FirstHeight(Epoch(0), Height(1));
        assert_eq!(of(at(0, 2, layout()), at(1, 12, layout())), Err(late));
        let gap = GenesisError::FirstHeight(Epoch(1), Height(11));
        assert_eq!(of(at(0, 1, layout()), at(1, 12, layout())), Err(gap));
        let boundaries = vec![b"g".to_vec(), b"q".to_vec()];
        let shards = [10, 1, 7].map(ShardId).to_vec();
        let other = ShardLayout::new(shards, boundaries, 4 << 20).unwrap();
        assert_eq!(of(epoch_info(0), at(1, 11, other)), Err(GenesisError::Layouts));
    }

    #[test]
    fn every_shard_has_one_state_root() {
        for roots in [2, 4] {
            let refused = genesis([epoch_info(0), epoch_info(1)], roots);
            assert_eq!(refused, Err(GenesisError::StateRoots { shards: 3, roots }));
        }
    }
}
