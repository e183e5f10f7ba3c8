use ketch_types::{BlockHash, ChainId, ChunksRoot, Epoch, EpochInfoHash, Height, LedgerInfoHash};

use crate::block::Block;
use crate::consensus_key::{ConsensusSigner, Signature};
use crate::domain::{K_LEDGER, keyed};
use crate::encoding::{Codec, DecodeError, ListField, Reader, write_list, write_option};
use crate::epoch_info::EpochInfo;

/// What a ledger info is of. Its encoding begins with it, and so does that of all that begins with a
/// ledger info: a peer's bytes can be refused for it before any key or signature in them is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerPlace {
    /// The chain that it is about.
    pub chain: ChainId,
    /// The epoch whose set signs it.
    pub epoch: Epoch,
    /// The height of the block.
    pub height: Height,
}

/// What validators sign: a block, its shards' chunks and, at an epoch's end, the epochs to come.
///
/// Nothing is believed of one that is not a [`VerifiedLedgerInfo`].
///
/// [`VerifiedLedgerInfo`]: crate::VerifiedLedgerInfo
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerInfo {
    /// The chain that it is about.
    pub chain: ChainId,
    /// The epoch whose set signs it.
    pub epoch: Epoch,
    /// The height of the block.
    pub height: Height,
    /// The hash of the block.
    pub block: BlockHash,
    /// The block's root over the shards' newest chunk headers.
    pub chunks_root: ChunksRoot,
    /// The epochs to come, if the block is its epoch's last.
    pub epoch_end: Option<EpochEnd>,
}

/// What the last ledger info of an epoch says of the epochs to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The hash of the next epoch's info.
    pub next: EpochInfoHash,
    /// The info of the epoch after the next.
    pub info: EpochInfo,
}

/// A ledger info with signatures that may or may not be good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedLedgerInfo {
    /// What is signed.
    pub ledger_info: LedgerInfo,
    /// The signatures, in the order of their validators' positions.
    pub signatures: Vec<(u32, Signature)>,
}

impl LedgerPlace {
    /// The place of the ledger info that these bytes begin with: those of a ledger info, of a signed
    /// one or of a chunk range. What follows its 48 bytes is not looked at.
    ///
    /// *Errors:* [`DecodeError::Truncated`].
    pub fn peek(encoded: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(encoded))
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let chain = ChainId::new(reader.array()?);
        Ok(Self { chain, epoch: Epoch(reader.u64()?), height: Height(reader.u64()?) })
    }
}

impl LedgerInfo {
    /// The ledger info of `block`.
    pub fn new(chain: ChainId, block: &Block, epoch_end: Option<EpochEnd>) -> Self {
        let (epoch, height) = (block.epoch(), block.height());
        let chunks_root = block.chunks_root();
        Self { chain, epoch, height, block: block.hash(), chunks_root, epoch_end }
    }

    /// What the ledger info is of.
    pub fn place(&self) -> LedgerPlace {
        LedgerPlace { chain: self.chain, epoch: self.epoch, height: self.height }
    }

    /// The ledger info that all of `bytes` encode.
    ///
    /// *Errors:* see [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes(bytes)
    }

    /// The ledger info's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }

    /// The ledger info's hash; of one that ends an epoch, it is a waypoint.
    pub fn hash(&self) -> LedgerInfoHash {
        LedgerInfoHash::new(keyed(&K_LEDGER, &self.to_bytes()))
    }
}

impl SignedLedgerInfo {
    /// The ledger info with a signature of each of these members of its epoch's set, who are named
    /// by their positions, in rising order.
    pub fn sign<'a>(
        ledger_info: LedgerInfo,
        signers: impl IntoIterator<Item = (u32, &'a ConsensusSigner)>,
    ) -> Self {
        let sign = |(at, signer): (u32, &ConsensusSigner)| (at, signer.sign(&ledger_info));
        let signatures = signers.into_iter().map(sign).collect();
        Self { ledger_info, signatures }
    }

    /// The signed ledger info that all of `bytes` encode.
    ///
    /// *Errors:* see [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes(bytes)
    }

    /// The one encoding of exactly these signatures.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

impl Codec for LedgerInfo {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.chain.as_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.height.0.to_le_bytes());
        out.extend_from_slice(self.block.as_bytes());
        out.extend_from_slice(self.chunks_root.as_bytes());
        write_option(out, self.epoch_end.as_ref(), |out, end| {
            out.extend_from_slice(end.next.as_bytes());
            end.info.write(out);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let LedgerPlace { chain, epoch, height } = LedgerPlace::read(reader)?;
        Ok(Self {
            chain,
            epoch,
            height,
            block: BlockHash::new(reader.array()?),
            chunks_root: ChunksRoot::new(reader.array()?),
            epoch_end: reader.option(|reader| {
                let next = EpochInfoHash::new(reader.array()?);
                Ok(EpochEnd { next, info: EpochInfo::read(reader)? })
            })?,
        })
    }
}

impl Codec for SignedLedgerInfo {
    fn write(&self, out: &mut Vec<u8>) {
        self.ledger_info.write(out);
        write_list(out, &self.signatures, |out, (validator, signature)| {
            out.extend_from_slice(&validator.to_le_bytes());
            out.extend_from_slice(&signature.0);
        });
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            ledger_info: LedgerInfo::read(reader)?,
            signatures: reader.list(ListField::Signatures, |reader| {
                Ok((reader.u32()?, Signature(reader.array()?)))
            })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Chain, every_bit_flipped, only_decodes_whole};

    #[test]
    fn a_ledger_info_has_one_encoding() {
        let chain = Chain::new();
        for height in [3, 10] {
            only_decodes_whole(&chain.ledger_info(height));
            only_decodes_whole(&chain.signed(height));
        }
        only_decodes_whole(&chain.signed_by(3, &[]));
    }

    #[test]
    fn what_begins_with_a_ledger_info_tells_its_place() {
        let chain = Chain::new();
        let signed = chain.signed(13);
        let place = LedgerPlace { chain: chain.id, epoch: Epoch(1), height: Height(13) };
        assert_eq!(signed.ledger_info.place(), place);
        let garbage = [&signed.encode()[..48], &[0xff; 9]].concat();
        for bytes in [signed.encode(), signed.ledger_info.encode(), garbage] {
            assert_eq!(LedgerPlace::peek(&bytes), Ok(place));
            assert_eq!(LedgerPlace::peek(&bytes[..47]), Err(DecodeError::Truncated));
        }
    }

    #[test]
    fn every_bit_of_a_ledger_info_counts() {
        let info = Chain::new().ledger_info(10);
        for other in every_bit_flipped(&info.encode()) {
            let other = LedgerInfo::decode(&other).map(|info| info.hash());
            assert_ne!(other, Ok(info.hash()));
        }
    }

    #[test]
    fn more_signatures_than_a_set_has_members_are_refused() {
        let mut signed = Chain::new().signed(3);
        let one = signed.signatures[0];
        signed.signatures = vec![one; 1_000];
        assert_eq!(SignedLedgerInfo::decode(&signed.encode()), Ok(signed.clone()));
        signed.signatures.push(one);
        let refused = SignedLedgerInfo::decode(&signed.encode());
        let list = ListField::Signatures;
        assert_eq!(refused, Err(DecodeError::Count { list, count: 1_001 }));
    }
}
