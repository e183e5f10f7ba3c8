use ketch_types::{Epoch, Hash, ShardLayout};
use thiserror::Error;

use crate::chunk_header::ChunkHeader;
use crate::chunk_proof::{self, ChunkProof, ChunkProofFault, read_siblings, write_siblings};
use crate::chunks::Chunks;
use crate::encoding::{Codec, DecodeError, ListField, Reader, write_list};
use crate::ledger_info::SignedLedgerInfo;
use crate::trust_path::TrustPath;
use crate::verified_ledger_info::{LedgerFault, LedgerRefusal, VerifiedLedgerInfo};

/// The most headers of a [`ChunkRange`]: 784 KiB of them, more than an hour of one-second blocks.
pub const CHUNK_RANGE_MAX: usize = 4_096;

/// The way from a trusted chunk header to its shard's newest at a later height, with one quorum for
/// all of it. Without headers it proves that the trusted one is still the newest there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    ledger_info: SignedLedgerInfo,
    siblings: Vec<Hash>,
    headers: Vec<ChunkHeader>,
}

/// The headers of a range that led from a trusted one to a verified ledger info.
///
/// *Shape:* only [`ChunkRange::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VerifiedRange {
    /// The ledger info under which the last header is the shard's newest.
    pub ledger_info: VerifiedLedgerInfo,
    /// The shard's headers after the trusted one, without a gap; none if nothing is newer.
    pub headers: Vec<ChunkHeader>,
    /// What proves the last header, or the trusted one if there is none, under the ledger info; with
    /// it the headers can be passed on, see [`ChunkRange::of_proof`].
    pub proof: ChunkProof,
}

/// Why a range is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RangeRefusal {
    /// The info of its ledger info's epoch is not known here. That is nobody's fault.
    #[error("the range's ledger info is of epoch {0}, whose info is not known")]
    UnknownEpoch(Epoch),
    /// Whoever sent it lies.
    #[error(transparent)]
    Fault(#[from] RangeFault),
}

/// What is wrong with a range; its ledger info is checked first, then its newest header, then the
/// links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RangeFault {
    /// The ledger info is refused.
    #[error(transparent)]
    Ledger(#[from] LedgerFault),
    /// The last header, or the trusted one if there is none, is not the shard's newest under the
    /// ledger info.
    #[error(transparent)]
    Proof(#[from] ChunkProofFault),
    /// The header at this position does not follow the one before it.
    #[error("header {0} of the range does not follow the one before it")]
    Link(usize),
}

/// Why no range can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RangeError {
    /// A range has at most [`CHUNK_RANGE_MAX`] headers.
    #[error("a chunk range has at most {CHUNK_RANGE_MAX} headers, not {0}")]
    HeaderCount(usize),
    /// The last header is not its shard's newest at the ledger info's height.
    #[error("the last header of the range is not its shard's newest")]
    NotNewest,
    /// The header at this position does not follow the one before it.
    #[error("header {0} of the range does not follow the one before it")]
    Link(usize),
}

impl From<LedgerRefusal> for RangeRefusal {
    fn from(refusal: LedgerRefusal) -> Self {
        match refusal {
            LedgerRefusal::UnknownEpoch(epoch) => Self::UnknownEpoch(epoch),
            LedgerRefusal::Fault(fault) => Self::Fault(fault.into()),
        }
    }
}

impl ChunkRange {
    /// The range of the `headers` after the header `after`. The last of them, or `after` if there is
    /// none, is its shard's newest among the `chunks` of the ledger info.
    ///
    /// *Errors:* see [`RangeError`].
    pub fn new(
        ledger_info: SignedLedgerInfo,
        chunks: &Chunks,
        after: &ChunkHeader,
        headers: Vec<ChunkHeader>,
    ) -> Result<Self, RangeError> {
        check_count(&headers)?;
        let last = headers.last().unwrap_or(after);
        let siblings = Some(chunks)
            .filter(|chunks| chunks.root() == ledger_info.ledger_info.chunks_root)
            .and_then(|chunks| chunks.prove(last.shard(), last.hash()))
            .ok_or(RangeError::NotNewest)?;
        check_links(after, &headers)?;
        Ok(Self { ledger_info, siblings, headers })
    }

    /// The same, by whoever knows the newest header of this shard alone: `proof` is that of the last
    /// header, or of `after` if there is none, and `layout` that of the ledger info's epoch.
    ///
    /// *Errors:* see [`RangeError`].
    pub fn of_proof(
        ledger_info: SignedLedgerInfo,
        layout: &ShardLayout,
        proof: ChunkProof,
        after: &ChunkHeader,
        headers: Vec<ChunkHeader>,
    ) -> Result<Self, RangeError> {
        check_count(&headers)?;
        let last = headers.last().unwrap_or(after);
        if proof.header() != last || !proof.leads_to(&ledger_info.ledger_info, layout) {
            return Err(RangeError::NotNewest);
        }
        check_links(after, &headers)?;
        Ok(Self { ledger_info, siblings: proof.into_siblings(), headers })
    }

    /// The headers that follow the trusted header `after`, up to the range's ledger info.
    ///
    /// *Errors:* see [`RangeRefusal`].
    pub fn verify(
        self,
        trust: &TrustPath,
        after: &ChunkHeader,
    ) -> Result<VerifiedRange, RangeRefusal> {
        let Self { ledger_info, siblings, headers } = self;
        let ledger_info = trust.verify(ledger_info)?;
        let last = headers.last().unwrap_or(after);
        chunk_proof::check(&ledger_info, after.shard(), last, &siblings)
            .map_err(RangeFault::Proof)?;
        if let Some(at) = broken_link(after, &headers) {
            return Err(RangeFault::Link(at).into());
        }
        let proof = ChunkProof::of_parts(last.clone(), siblings);
        Ok(VerifiedRange { ledger_info, headers, proof })
    }

    /// The range that all of `bytes` encode.
    ///
    /// *Errors:* see [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::from_bytes(bytes)
    }

    /// The range's one encoding.
    pub fn encode(&self) -> Vec<u8> {
        self.to_bytes()
    }
}

impl Codec for ChunkRange {
    fn write(&self, out: &mut Vec<u8>) {
        self.ledger_info.write(out);
        write_siblings(out, &self.siblings);
        write_list(out, &self.headers, |out, header| header.write(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let ledger_info = SignedLedgerInfo::read(reader)?;
        let siblings = read_siblings(reader)?;
        let headers = reader.list(ListField::Headers, ChunkHeader::read)?;
        Ok(Self { ledger_info, siblings, headers })
    }
}

fn check_count(headers: &[ChunkHeader]) -> Result<(), RangeError> {
    if headers.len() > CHUNK_RANGE_MAX {
        return Err(RangeError::HeaderCount(headers.len()));
    }
    Ok(())
}

fn check_links(after: &ChunkHeader, headers: &[ChunkHeader]) -> Result<(), RangeError> {
    broken_link(after, headers).map_or(Ok(()), |at| Err(RangeError::Link(at)))
}

/// The place of the first header that does not follow the one before it.
fn broken_link(after: &ChunkHeader, headers: &[ChunkHeader]) -> Option<usize> {
    let before = std::iter::once(after).chain(headers);
    headers.iter().zip(before).position(|(header, before)| !header.follows(before))
}

#[cfg(test)]
mod tests {
    use ketch_types::{Height, ShardId, StateRoot};

    use super::*;
    use crate::fixture::{Chain, every_bit_flipped, header_after, layout, only_decodes_whole};

    const SHARD: ShardId = ShardId(7);

    /// The range after `from`, up to the ledger info at `to`.
    fn range(chain: &Chain, from: u64, to: u64, shard: ShardId) -> ChunkRange {
        let headers = chain.headers_between(from, to, shard);
        let after = chain.newest(from, shard);
        ChunkRange::new(chain.signed(to), &chain.chunks(to), after, headers).unwrap()
    }

    #[test]
    fn a_range_leads_from_any_trusted_header_to_any_later_one() {
        let chain = Chain::new();
        for shard in layout().shards() {
            for (from, to) in [(0, 5), (4, 9), (0, 20), (9, 12)] {
                let verified = range(&chain, from, to, *shard)
                    .verify(&chain.trust(), chain.newest(from, *shard))
                    .unwrap();
                assert_eq!(verified.headers, chain.headers_between(from, to, *shard));
                assert_eq!(verified.headers.last(), Some(chain.newest(to, *shard)));
                assert_eq!(verified.ledger_info.ledger_info().height, Height(to));
            }
        }
    }

    #[test]
    fn a_range_without_headers_proves_that_nothing_is_newer() {
        // At height 6 shard 10 has no chunk, and at height 8 shard 7 has none.
        let chain = Chain::new();
        for (from, to, shard) in [(5, 6, ShardId(10)), (7, 8, SHARD), (7, 7, SHARD)] {
            let (empty, after) = (range(&chain, from, to, shard), chain.newest(from, shard));
            let verified = empty.verify(&chain.trust(), after).unwrap();
            assert_eq!(verified.headers, []);
            assert_eq!(verified.ledger_info.ledger_info().height, Height(to));
        }
        let empty = range(&chain, 7, 8, SHARD);
        let proof = Err(RangeFault::Proof(ChunkProofFault::Proof).into());
        assert_eq!(empty.clone().verify(&chain.trust(), chain.newest(6, SHARD)), proof);
        let later = chain.newest(9, SHARD);
        let height = RangeFault::Proof(ChunkProofFault::Height(later.height()));
        assert_eq!(empty.verify(&chain.trust(), later), Err(height.into()));
        let mut stripped = range(&chain, 4, 9, SHARD);
        stripped.headers.clear();
        assert_eq!(stripped.verify(&chain.trust(), chain.newest(4, SHARD)), proof);
    }

    #[test]
    fn a_range_that_skips_or_leaves_the_chain_is_refused() {
        let chain = Chain::new();
        let after = chain.newest(0, SHARD);
        let good = range(&chain, 0, 9, SHARD);
        assert!(good.headers.len() >= 3);
        let changed = |change: fn(&mut Vec<ChunkHeader>)| {
            let mut range = good.clone();
            change(&mut range.headers);
            range.verify(&chain.trust(), after).unwrap_err()
        };
        let link = |at| RangeRefusal::Fault(RangeFault::Link(at));
        assert_eq!(changed(|headers| _ = headers.remove(1)), link(1));
        assert_eq!(changed(|headers| _ = headers.remove(0)), link(0));
        assert_eq!(changed(|headers| headers.swap(0, 1)), link(0));
        assert_eq!(changed(|headers| headers.insert(1, headers[0].clone())), link(1));
        assert_eq!(changed(|headers| headers[0] = header_after(&headers[0], 3)), link(0));
        let elsewhere = ChunkHeader::genesis(SHARD, StateRoot::new([9; 32]));
        let refused = good.verify(&chain.trust(), &elsewhere);
        assert_eq!(refused, Err(link(0)));
    }

    #[test]
    fn a_range_is_refused_by_its_ledger_info_before_its_proof_and_by_that_before_its_links() {
        let chain = Chain::new();
        let good = range(&chain, 0, 9, SHARD);
        let verify = |range: &ChunkRange, shard| {
            let verified = range.clone().verify(&chain.trust(), chain.newest(0, ShardId(shard)));
            verified.unwrap_err()
        };
        let mut bad = good.clone();
        bad.headers.swap(0, 1);
        assert_eq!(verify(&bad, 7), RangeFault::Link(0).into());
        let shard = RangeFault::Proof(ChunkProofFault::Shard(ShardId(1)));
        assert_eq!(verify(&bad, 1), shard.into());
        bad.headers.pop();
        assert_eq!(verify(&bad, 7), RangeFault::Proof(ChunkProofFault::Proof).into());
        bad.ledger_info.ledger_info.epoch = Epoch(9);
        bad.ledger_info.ledger_info.epoch = Epoch(9);
        assert_eq!(verify(&bad, 7), RangeRefusal::UnknownEpoch(Epoch(9)));
        bad.ledger_info = chain.signed_by(9, &[]);
        let quorum = LedgerFault::Quorum { signed: 0, total: 6 };
        assert_eq!(verify(&bad, 7), RangeFault::Ledger(quorum).into());
    }

    #[test]
    fn a_range_is_not_made_of_too_much_a_gap_or_what_is_not_the_newest() {
        let chain = Chain::new();
        let after = chain.newest(0, SHARD);
        let new = |to, headers| {
            ChunkRange::new(chain.signed(9), &chain.chunks(to), after, headers).map(|_| ())
        };
        let many = vec![chain.newest(9, SHARD).clone(); CHUNK_RANGE_MAX + 1];
        assert_eq!(new(9, many), Err(RangeError::HeaderCount(CHUNK_RANGE_MAX + 1)));
        let mut headers = chain.headers_between(0, 9, SHARD);
        assert_eq!(new(9, headers.clone()), Ok(()));
        headers.remove(2);
        assert_eq!(new(9, headers), Err(RangeError::Link(2)));
        assert_eq!(new(9, vec![]), Err(RangeError::NotNewest));
        let old = vec![chain.newest(3, SHARD).clone()];
        assert_eq!(new(9, old.clone()), Err(RangeError::NotNewest));
        assert_eq!(new(3, old), Err(RangeError::NotNewest));
    }

    #[test]
    fn who_verified_a_range_can_pass_it_on_in_pieces_and_without_headers() {
        let chain = Chain::new();
        let layout = layout();
        for shard in layout.shards() {
            for (from, to) in [(0, 20), (4, 9), (9, 12), (7, 8)] {
                let sent = range(&chain, from, to, *shard);
                let after = chain.newest(from, *shard);
                let verified = sent.clone().verify(&chain.trust(), after).unwrap();
                let again = |after, headers| {
                    let signed = verified.ledger_info.signed().unwrap().clone();
                    ChunkRange::of_proof(signed, &layout, verified.proof.clone(), after, headers)
                };
                assert_eq!(again(after, verified.headers.clone()), Ok(sent));
                let last = chain.newest(to, *shard);
                assert!(again(last, vec![]).unwrap().verify(&chain.trust(), last).is_ok());
                if let [first, rest @ ..] = &verified.headers[..] {
                    let rest = again(first, rest.to_vec()).unwrap();
                    assert!(rest.verify(&chain.trust(), first).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_range_is_not_made_of_a_proof_of_something_else() {
        let chain = Chain::new();
        let after = chain.newest(0, SHARD);
        let proof =
            |to| ChunkProof::new(&chain.chunks(to), chain.newest(to, SHARD).clone()).unwrap();
        let new = |to, proof, headers| {
            let signed = chain.signed(to);
            ChunkRange::of_proof(signed, &layout(), proof, after, headers).map(|_| ())
        };
        let headers = chain.headers_between(0, 9, SHARD);
        assert_eq!(new(9, proof(9), headers.clone()), Ok(()));
        assert_eq!(new(10, proof(9), headers.clone()), Err(RangeError::NotNewest));
        assert_eq!(new(9, proof(10), headers.clone()), Err(RangeError::NotNewest));
        assert_eq!(new(9, proof(9), vec![]), Err(RangeError::NotNewest));
        let mut gap = headers;
        gap.remove(1);
        assert_eq!(new(9, proof(9), gap), Err(RangeError::Link(1)));
        let many = vec![chain.newest(9, SHARD).clone(); CHUNK_RANGE_MAX + 1];
        assert_eq!(new(9, proof(9), many), Err(RangeError::HeaderCount(CHUNK_RANGE_MAX + 1)));
    }

    #[test]
    fn a_range_has_one_encoding_and_at_most_4096_headers() {
        let chain = Chain::new();
        let mut range = range(&chain, 0, 9, SHARD);
        only_decodes_whole(&range);
        range.headers.resize(CHUNK_RANGE_MAX, range.headers[0].clone());
        assert_eq!(ChunkRange::decode(&range.encode()), Ok(range.clone()));
        range.headers.push(range.headers[0].clone());
        let refused = DecodeError::Count { list: ListField::Headers, count: 4_097 };
        assert_eq!(ChunkRange::decode(&range.encode()), Err(refused));
        range.headers.clear();
        only_decodes_whole(&range);
    }

    #[test]
    fn a_range_with_any_bit_changed_is_refused() {
        let chain = Chain::new();
        let (trust, after) = (chain.trust(), chain.newest(0, SHARD));
        for other in every_bit_flipped(&range(&chain, 0, 9, SHARD).encode()) {
            if let Ok(other) = ChunkRange::decode(&other) {
                assert!(other.verify(&trust, after).is_err());
            }
        }
    }
}
