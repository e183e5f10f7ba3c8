use std::fmt;

use prost::Message;

use crate::fault::{List, RuleError, TooLong, WireFault};
use crate::limits::GOSSIP_BYTES_MAX;
use crate::response::{FIELDS_BYTES_MAX, field_bytes};
use crate::{proto, scan};

/// An encoded object of the ledger, which this crate carries and does not read.
#[derive(Clone, PartialEq, Eq)]
pub struct LedgerBytes(pub Vec<u8>);

/// The newest block that a node knows, with its quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// A signed ledger info.
    pub signed_ledger_info: LedgerBytes,
    /// The block that it is of.
    pub block: LedgerBytes,
}

/// Signed ledger infos that end an epoch and those after it, in order; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochEnds {
    signed_ledger_infos: Vec<LedgerBytes>,
}

/// What a node needs to trust a waypoint's successors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waypoint {
    /// The signed ledger info whose hash the waypoint is.
    pub signed_ledger_info: LedgerBytes,
    /// The info of the epoch that begins after it.
    pub next_epoch_info: LedgerBytes,
}

/// Proofs of shards' chunks at one height, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proofs {
    signed_ledger_info: LedgerBytes,
    chunk_proofs: Vec<LedgerBytes>,
}

impl Head {
    /// The head as a gossip message.
    ///
    /// *Errors:* [`TooLong`], which the end of an epoch with very many validators or shards can be.
    /// Such a head is not gossiped: whoever misses it asks for the head or for the epoch's end.
    pub fn encode_gossip(&self) -> Result<Vec<u8>, TooLong> {
        let message = proto::Head::from(self);
        TooLong::check(message.encoded_len(), GOSSIP_BYTES_MAX)?;
        Ok(message.encode_to_vec())
    }

    /// The head that a gossip message holds.
    ///
    /// *Errors:* see [`WireFault`].
    pub fn decode_gossip(bytes: &[u8]) -> Result<Self, WireFault> {
        Ok(scan::decode::<proto::Head>(bytes, GOSSIP_BYTES_MAX, &[])?.into())
    }
}

impl EpochEnds {
    /// These ends, in order.
    ///
    /// *Errors:* [`RuleError::NoItem`] and [`RuleError::TooManyItems`].
    pub fn new(signed_ledger_infos: Vec<LedgerBytes>) -> Result<Self, RuleError> {
        List::EpochEnds.check_some(signed_ledger_infos.len())?;
        Ok(Self { signed_ledger_infos })
    }

    /// As many of these ends, from the first on, as fit one response; none if there is none, or the
    /// first does not fit, which no end that decodes is too long for.
    pub fn fitting(signed_ledger_infos: impl IntoIterator<Item = LedgerBytes>) -> Option<Self> {
        let mut left = FIELDS_BYTES_MAX;
        let fits = |object: &LedgerBytes| {
            left.checked_sub(field_bytes(object.0.len())).map(|rest| left = rest).is_some()
        };
        let some = signed_ledger_infos.into_iter().take(List::EpochEnds.items_max());
        Self::new(some.take_while(fits).collect()).ok()
    }

    /// The signed ledger infos.
    pub fn signed_ledger_infos(&self) -> &[LedgerBytes] {
        &self.signed_ledger_infos
    }
}

impl Proofs {
    /// The proofs under one signed ledger info.
    ///
    /// *Errors:* [`RuleError::TooManyItems`].
    pub fn new(
        signed_ledger_info: LedgerBytes,
        chunk_proofs: Vec<LedgerBytes>,
    ) -> Result<Self, RuleError> {
        List::ChunkProofs.check(chunk_proofs.len())?;
        Ok(Self { signed_ledger_info, chunk_proofs })
    }

    /// The signed ledger info of exactly the height that was asked for.
    pub fn signed_ledger_info(&self) -> &LedgerBytes {
        &self.signed_ledger_info
    }

    /// One proof for each shard, in the order in which they were asked for.
    pub fn chunk_proofs(&self) -> &[LedgerBytes] {
        &self.chunk_proofs
    }
}

impl fmt::Debug for LedgerBytes {
    /// Says how many bytes there are: they may be millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerBytes({} bytes)", self.0.len())
    }
}

impl From<&Head> for proto::Head {
    fn from(head: &Head) -> Self {
        let signed_ledger_info = head.signed_ledger_info.0.clone();
        Self { signed_ledger_info, block: head.block.0.clone() }
    }
}

impl From<proto::Head> for Head {
    fn from(message: proto::Head) -> Self {
        let signed_ledger_info = LedgerBytes(message.signed_ledger_info);
        Self { signed_ledger_info, block: LedgerBytes(message.block) }
    }
}

impl From<proto::Waypoint> for Waypoint {
    fn from(message: proto::Waypoint) -> Self {
        let signed_ledger_info = LedgerBytes(message.signed_ledger_info);
        Self { signed_ledger_info, next_epoch_info: LedgerBytes(message.next_epoch_info) }
    }
}

impl From<&Waypoint> for proto::Waypoint {
    fn from(waypoint: &Waypoint) -> Self {
        let signed_ledger_info = waypoint.signed_ledger_info.0.clone();
        Self { signed_ledger_info, next_epoch_info: waypoint.next_epoch_info.0.clone() }
    }
}

impl From<&EpochEnds> for proto::EpochEnds {
    fn from(ends: &EpochEnds) -> Self {
        Self { signed_ledger_infos: bytes_of(&ends.signed_ledger_infos) }
    }
}

impl TryFrom<proto::EpochEnds> for EpochEnds {
    type Error = WireFault;

    fn try_from(message: proto::EpochEnds) -> Result<Self, WireFault> {
        Ok(Self::new(objects(message.signed_ledger_infos))?)
    }
}

impl From<&Proofs> for proto::Proofs {
    fn from(proofs: &Proofs) -> Self {
        let signed_ledger_info = proofs.signed_ledger_info.0.clone();
        Self { signed_ledger_info, chunk_proofs: bytes_of(&proofs.chunk_proofs) }
    }
}

impl TryFrom<proto::Proofs> for Proofs {
    type Error = WireFault;

    fn try_from(message: proto::Proofs) -> Result<Self, WireFault> {
        let signed_ledger_info = LedgerBytes(message.signed_ledger_info);
        Ok(Self::new(signed_ledger_info, objects(message.chunk_proofs))?)
    }
}

fn objects(all: Vec<Vec<u8>>) -> Vec<LedgerBytes> {
    all.into_iter().map(LedgerBytes).collect()
}

fn bytes_of(objects: &[LedgerBytes]) -> Vec<Vec<u8>> {
    objects.iter().map(|object| object.0.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::RESPONSE_BYTES_MAX;
    use crate::response::Response;

    fn object(byte: u8, length: usize) -> LedgerBytes {
        LedgerBytes(vec![byte; length])
    }

    #[test]
    fn epoch_ends_are_as_many_as_fit_a_response() {
        let mib = |count| vec![object(1, 1 << 20); count];
        let ends = EpochEnds::fitting(mib(9)).unwrap();
        assert_eq!(ends.signed_ledger_infos().len(), 7);
        assert!(Response::EpochEnds(ends).encode().is_ok());
        let full = EpochEnds::fitting([object(1, FIELDS_BYTES_MAX - 5)]).unwrap();
        assert_eq!(full.signed_ledger_infos().len(), 1);
        assert!(Response::EpochEnds(full).encode().is_ok());
        let many = EpochEnds::fitting(vec![object(1, 1); 99]).unwrap();
        assert_eq!(many.signed_ledger_infos().len(), 64);
        assert_eq!(EpochEnds::fitting([object(1, RESPONSE_BYTES_MAX)]), None);
        assert_eq!(EpochEnds::fitting([]), None);
        assert_eq!(EpochEnds::new(vec![]), Err(RuleError::NoItem(List::EpochEnds)));
    }

    #[test]
    fn a_head_is_gossiped_within_the_limit_of_gossip() {
        let head = |length| Head { signed_ledger_info: object(8, length), block: object(9, 88) };
        let bytes = head(300).encode_gossip().unwrap();
        assert_eq!(Head::decode_gossip(&bytes), Ok(head(300)));
        assert!(head(GOSSIP_BYTES_MAX).encode_gossip().is_err());
        let bytes = vec![0; GOSSIP_BYTES_MAX + 1];
        assert!(matches!(Head::decode_gossip(&bytes), Err(WireFault::TooLong(_))));
    }
}
