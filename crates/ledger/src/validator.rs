use ketch_types::{Address, PeerId, ShardId};

use crate::consensus_key::ConsensusKey;
use crate::encoding::{BytesField, Codec, DecodeError, ListField, Reader, write_bytes, write_list};

/// The most validators of an epoch: ten times the largest network that Ketch is designed for.
pub const VALIDATORS_MAX: usize = 1_000;

/// The most addresses of a validator: two transports on IPv4, IPv6, a name and a relay.
pub const ADDRESSES_MAX: usize = 8;

/// One member of an epoch's set. What it may hold is checked by the [`EpochInfo`] around it.
///
/// [`EpochInfo`]: crate::EpochInfo
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validator {
    /// What its signatures are checked under.
    pub key: ConsensusKey,
    /// Its share of the vote; at least 1.
    pub power: u64,
    /// The network's name of it.
    pub peer: PeerId,
    /// Where it listens, at most [`ADDRESSES_MAX`]; none where peers are matched when they identify
    /// themselves.
    pub addresses: Vec<Address>,
    /// The shards that it tracks, strictly rising.
    pub tracked: Vec<ShardId>,
}

impl Codec for Validator {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key.as_bytes());
        out.extend_from_slice(&self.power.to_le_bytes());
        write_bytes(out, self.peer.as_bytes());
        write_list(out, &self.addresses, |out, address| write_bytes(out, address.as_bytes()));
        write_list(out, &self.tracked, |out, shard| out.extend_from_slice(&shard.0.to_le_bytes()));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: ConsensusKey::new(&reader.array()?)?,
            power: reader.u64()?,
            peer: PeerId::new(reader.bytes(BytesField::PeerId)?)?,
            addresses: reader.list(ListField::Addresses, |reader| {
                Ok(Address::new(reader.bytes(BytesField::Address)?)?)
            })?,
            tracked: reader.list(ListField::TrackedShards, |reader| reader.u32().map(ShardId))?,
        })
    }
}
