use std::sync::Arc;

use ketch_types::{Epoch, Height, ShardLayout};
use thiserror::Error;

use crate::block::Block;
use crate::consensus_key::signed_message;
use crate::epoch_info::EpochInfo;
use crate::ledger_info::{EpochEnd, LedgerInfo, SignedLedgerInfo};

/// A ledger info that a quorum of its epoch's set has signed, or that a waypoint is the hash of.
///
/// *Shape:* only a [`TrustPath`] makes one. It keeps its signatures, so that it can be passed on, and
/// its epoch's layout, so that it can be used when the trust path has gone on.
///
/// [`TrustPath`]: crate::TrustPath
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedLedgerInfo {
    /// Without signatures, if it is a waypoint's: nobody has checked those.
    signed: SignedLedgerInfo,
    /// The info of the ledger info's epoch, or one with the same layout.
    layout_of: Arc<EpochInfo>,
}

/// Why a ledger info is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LedgerRefusal {
    /// The info of its epoch is not known here: too old, or too new. That is nobody's fault.
    #[error("the ledger info is of epoch {0}, whose info is not known")]
    UnknownEpoch(Epoch),
    /// Whoever sent it lies.
    #[error(transparent)]
    Fault(#[from] LedgerFault),
}

/// What is wrong with a ledger info. The checks are made in this order, that of the epoch's info
/// among them after the chain's, and the first that fails says why; no signature is looked at before
/// all others have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LedgerFault {
    /// It is of another height, or not the end of that epoch, than was asked for.
    #[error("the ledger info is not the one that was asked for")]
    NotAsked,
    /// It is about another chain.
    #[error("the ledger info is of another chain")]
    Chain,
    /// Its epoch has no such height.
    #[error("the ledger info is of height {0}, which is not one of its epoch")]
    Height(Height),
    /// It has an epoch end before its epoch's last height, or has none there.
    #[error("the ledger info has an epoch end elsewhere than at the last height")]
    EpochEnd,
    /// Its epoch end does not fit what is known of this epoch and the two after it.
    #[error("the ledger info's epoch end does not fit the epochs that are known")]
    NextEpoch,
    /// A signer's position is not in the set, or not above the one before it.
    #[error("signer {0} is not in the set, or not above the one before it")]
    Signer(u32),
    /// The signers do not have more than two thirds of the power.
    #[error("the signers have {signed} of a power of {total}, not more than two thirds")]
    Quorum {
        /// The signers' power.
        signed: u64,
        /// The set's power.
        total: u64,
    },
    /// A signature does not verify.
    #[error("the signature of validator {0} does not verify")]
    Signature(u32),
    /// The block that came with it is not the one that it is of.
    #[error("the block is not the one that the ledger info is of")]
    Block,
}

impl VerifiedLedgerInfo {
    /// Checks all but the place; `following` are the infos of the two epochs after the ledger info's,
    /// so far as they are known.
    pub(crate) fn new(
        signed: SignedLedgerInfo,
        epoch_info: &Arc<EpochInfo>,
        following: [Option<&EpochInfo>; 2],
    ) -> Result<Self, LedgerFault> {
        let ledger_info = &signed.ledger_info;
        let is_last = ledger_info.height == epoch_info.last_height();
        if ledger_info.epoch_end.is_some() != is_last {
            return Err(LedgerFault::EpochEnd);
        }
        if let Some(end) = &ledger_info.epoch_end {
            check_epoch_end(end, ledger_info.epoch, epoch_info.layout(), following)?;
        }
        check_signers(&signed, epoch_info)?;
        check_signatures(&signed, epoch_info)?;
        Ok(Self { signed, layout_of: Arc::clone(epoch_info) })
    }

    /// The ledger info of a waypoint that was checked. The info of its own epoch is not known, but
    /// the next epoch's has the same layout.
    pub(crate) fn of_waypoint(ledger_info: LedgerInfo, next: &Arc<EpochInfo>) -> Self {
        let signed = SignedLedgerInfo { ledger_info, signatures: Vec::new() };
        Self { signed, layout_of: Arc::clone(next) }
    }

    /// What was signed.
    pub fn ledger_info(&self) -> &LedgerInfo {
        &self.signed.ledger_info
    }

    /// The ledger info with its signatures, to store it or to pass it on; none if it is a waypoint's,
    /// which is believed without them.
    pub fn signed(&self) -> Option<&SignedLedgerInfo> {
        // A quorum has at least one signature.
        Some(&self.signed).filter(|signed| !signed.signatures.is_empty())
    }

    /// The shards of the ledger info's epoch.
    pub fn layout(&self) -> &ShardLayout {
        self.layout_of.layout()
    }

    /// Checks that `block` is the one that the ledger info is of.
    ///
    /// *Errors:* [`LedgerFault::Block`].
    pub fn check_block(&self, block: &Block) -> Result<(), LedgerFault> {
        let LedgerInfo { epoch, height, block: hash, chunks_root, .. } = *self.ledger_info();
        let named = (block.epoch(), block.height(), block.hash(), block.chunks_root());
        if named == (epoch, height, hash, chunks_root) { Ok(()) } else { Err(LedgerFault::Block) }
    }
}

/// Checks that the end of `epoch` fits its layout and the infos of the two epochs after it, so far as
/// they are known.
pub(crate) fn check_epoch_end(
    end: &EpochEnd,
    epoch: Epoch,
    layout: &ShardLayout,
    [next, after_next]: [Option<&EpochInfo>; 2],
) -> Result<(), LedgerFault> {
    let fits_next = |next: &EpochInfo| {
        end.next == next.hash() && end.info.first_height() == next.next_first_height()
    };
    if next.is_none_or(fits_next)
        && Some(end.info.epoch()) == epoch.0.checked_add(2).map(Epoch)
        && end.info.layout() == layout
        && after_next.is_none_or(|known| *known == end.info)
    {
        Ok(())
    } else {
        Err(LedgerFault::NextEpoch)
    }
}

/// Checks that the signers are distinct members of the set with more than two thirds of its power.
fn check_signers(signed: &SignedLedgerInfo, epoch_info: &EpochInfo) -> Result<(), LedgerFault> {
    let mut power = 0_u64;
    let mut lowest = 0_u64;
    for (at, _) in &signed.signatures {
        let validator = epoch_info.validators().get(*at as usize);
        let validator = validator.filter(|_| u64::from(*at) >= lowest);
        // Distinct members' powers sum to at most the set's, which fits.
        power = power.saturating_add(validator.ok_or(LedgerFault::Signer(*at))?.power);
        lowest = u64::from(*at) + 1;
    }
    let total = epoch_info.total_power();
    if u128::from(power) * 3 > u128::from(total) * 2 {
        Ok(())
    } else {
        Err(LedgerFault::Quorum { signed: power, total })
    }
}

/// Checks every signature, those beyond the quorum too.
fn check_signatures(signed: &SignedLedgerInfo, epoch_info: &EpochInfo) -> Result<(), LedgerFault> {
    let message = signed_message(&signed.ledger_info);
    let is_bad = |(at, signature): &&(u32, _)| {
        let validator = epoch_info.validators().get(*at as usize);
        !validator.is_some_and(|validator| validator.key.verifies(&message, signature))
    };
    let bad = signed.signatures.iter().find(is_bad);
    bad.map_or(Ok(()), |(at, _)| Err(LedgerFault::Signature(*at)))
}

#[cfg(test)]
mod tests {
    use ketch_types::{ChainId, EpochInfoHash};

    use super::*;
    use crate::consensus_key::Signature;
    use crate::fixture::{Chain, epoch_info, every_bit_flipped, signer};

    /// The refusal of the ledger info at `height` with a change, signed by all after the change.
    fn refusal(height: u64, change: impl Fn(&mut LedgerInfo)) -> LedgerRefusal {
        let chain = Chain::new();
        let mut info = chain.ledger_info(height);
        change(&mut info);
        let good = chain.sign(info.clone(), &[0, 1, 2]);
        let fault = chain.trust().verify(good).unwrap_err();
        // The refusal is the same when no signature is good: they were never looked at.
        let garbage = vec![(0, Signature([9; 64])), (2, Signature([9; 64]))];
        let garbage = SignedLedgerInfo { ledger_info: info, signatures: garbage };
        assert_eq!(chain.trust().verify(garbage), Err(fault));
        fault
    }

    #[test]
    fn what_a_quorum_has_signed_is_verified() {
        let chain = Chain::new();
        for height in [1, 9, 10, 11, 20] {
            let verified = chain.trust().verify(chain.signed(height)).unwrap();
            assert_eq!(verified.ledger_info(), &chain.ledger_info(height));
            assert_eq!(verified.signed(), Some(&chain.signed(height)));
            assert_eq!(verified.layout(), epoch_info(0).layout());
        }
    }

    #[test]
    fn a_ledger_info_is_of_one_block() {
        let chain = Chain::new();
        let verified = chain.trust().verify(chain.signed(1)).unwrap();
        let genesis = chain.genesis.block();
        let root = chain.ledger_info(1).chunks_root;
        let next = |time_ms| genesis.next(Epoch(0), time_ms, root).unwrap();
        assert_eq!(verified.check_block(&next(genesis.time_ms() + 1_000)), Ok(()));
        for other in [genesis.clone(), next(0)] {
            assert_eq!(verified.check_block(&other), Err(LedgerFault::Block));
        }
        // A quorum that signs a block's hash beside another root does not make it that block.
        let mut info = chain.ledger_info(1);
        info.chunks_root = chain.ledger_info(2).chunks_root;
        let odd = chain.trust().verify(chain.sign(info, &[0, 1, 2])).unwrap();
        let block = next(genesis.time_ms() + 1_000);
        assert_eq!(odd.check_block(&block), Err(LedgerFault::Block));
    }

    #[test]
    fn a_ledger_info_of_another_chain_is_refused_before_any_signature_is_checked() {
        assert_eq!(
            refusal(3, |info| info.chain = ChainId::new([9; 32])),
            LedgerFault::Chain.into()
        );
    }

    #[test]
    fn a_ledger_info_of_an_unknown_epoch_is_refused_before_any_signature_is_checked() {
        assert_eq!(refusal(3, |info| info.epoch = Epoch(2)), LedgerRefusal::UnknownEpoch(Epoch(2)));
        let last = Epoch(u64::MAX);
        assert_eq!(refusal(3, |info| info.epoch = last), LedgerRefusal::UnknownEpoch(last));
    }

    #[test]
    fn a_height_of_another_epoch_is_refused_before_any_signature_is_checked() {
        for height in [0, 11, u64::MAX].map(Height) {
            assert_eq!(refusal(3, |info| info.height = height), LedgerFault::Height(height).into());
        }
        assert_eq!(refusal(3, |info| info.epoch = Epoch(1)), LedgerFault::Height(Height(3)).into());
    }

    #[test]
    fn an_epoch_end_stands_exactly_at_the_last_height() {
        assert_eq!(refusal(10, |info| info.epoch_end = None), LedgerFault::EpochEnd.into());
        let end = Chain::new().ledger_info(10).epoch_end;
        assert_eq!(
            refusal(9, |info| info.epoch_end.clone_from(&end)),
            LedgerFault::EpochEnd.into()
        );
    }

    #[test]
    fn an_epoch_end_names_the_next_epoch_and_holds_the_one_after() {
        let with = |next: EpochInfoHash, info: EpochInfo| {
            refusal(10, |ledger_info| {
                ledger_info.epoch_end = Some(EpochEnd { next, info: info.clone() });
            })
        };
        let (next, after) = (epoch_info(1).hash(), epoch_info(2));
        assert_eq!(with(EpochInfoHash::new([9; 32]), after.clone()), LedgerFault::NextEpoch.into());
        assert_eq!(with(next, epoch_info(3)), LedgerFault::NextEpoch.into());
        let validators = after.validators().to_vec();
        let changed = |epoch, first, layout| {
            EpochInfo::new(Epoch(epoch), Height(first), 10, layout, validators.clone()).unwrap()
        };
        for (epoch, first) in [(3, 21), (2, 22)] {
            let info = changed(epoch, first, after.layout().clone());
            assert_eq!(with(next, info), LedgerFault::NextEpoch.into());
        }
        let shards = after.layout().shards().to_vec();
        let boundaries = after.layout().boundaries().to_vec();
        let layout = ShardLayout::new(shards, boundaries, 1 << 20).unwrap();
        assert_eq!(with(next, changed(2, 21, layout)), LedgerFault::NextEpoch.into());
    }

    #[test]
    fn an_epoch_end_is_checked_as_far_as_the_next_epoch_is_known() {
        // The info of epoch 2 is not known yet, so its hash is taken as it is signed.
        let chain = Chain::new();
        let mut info = chain.ledger_info(20);
        info.epoch_end.as_mut().unwrap().next = EpochInfoHash::new([9; 32]);
        assert!(chain.trust().verify(chain.sign(info.clone(), &[0, 1, 2])).is_ok());
        info.epoch_end.as_mut().unwrap().info = epoch_info(4);
        let refused = chain.trust().verify(chain.sign(info, &[0, 1, 2]));
        assert_eq!(refused, Err(LedgerFault::NextEpoch.into()));
    }

    #[test]
    fn a_signer_twice_out_of_order_or_out_of_the_set_is_refused() {
        let chain = Chain::new();
        let refused = |positions: &[u32]| {
            let mut signed = chain.signed(3);
            signed.signatures = positions.iter().map(|at| (*at, Signature([9; 64]))).collect();
            chain.trust().verify(signed).unwrap_err()
        };
        assert_eq!(refused(&[0, 2, 2]), LedgerFault::Signer(2).into());
        assert_eq!(refused(&[0, 2, 1]), LedgerFault::Signer(1).into());
        assert_eq!(refused(&[1, 2, 3]), LedgerFault::Signer(3).into());
        assert_eq!(refused(&[u32::MAX]), LedgerFault::Signer(u32::MAX).into());
        assert_eq!(refused(&[0, 0]), LedgerFault::Signer(0).into());
    }

    #[test]
    fn a_ledger_info_with_exactly_two_thirds_of_the_power_is_refused() {
        // The powers are 1, 2 and 3.
        let chain = Chain::new();
        let verify = |signers| chain.trust().verify(chain.signed_by(3, signers)).map(|_| ());
        assert_eq!(verify(&[0, 2]), Err(LedgerFault::Quorum { signed: 4, total: 6 }.into()));
        assert_eq!(verify(&[]), Err(LedgerFault::Quorum { signed: 0, total: 6 }.into()));
        assert_eq!(verify(&[1, 2]), Ok(()));
        assert_eq!(verify(&[0, 1, 2]), Ok(()));
    }

    #[test]
    fn a_quorum_is_counted_beyond_64_bits() {
        let third = u64::MAX / 3;
        let quorum = |powers: [u64; 3], signers: &[u32]| {
            let validators = (0..).zip(powers).map(|(i, power)| {
                let validator = crate::fixture::validator(i);
                crate::Validator { power, ..validator }
            });
            let layout = crate::fixture::layout();
            let info = EpochInfo::new(Epoch(0), Height(1), 10, layout, validators.collect());
            let mut signed = Chain::new().signed(3);
            signed.signatures = signers.iter().map(|at| (*at, Signature([9; 64]))).collect();
            check_signers(&signed, &info.unwrap())
        };
        let two = LedgerFault::Quorum { signed: 2 * third, total: u64::MAX };
        assert_eq!(quorum([third; 3], &[0, 1]), Err(two));
        assert_eq!(quorum([third, third + 1, third - 1], &[0, 1]), Ok(()));
    }

    #[test]
    fn a_bad_signature_beyond_the_quorum_is_refused_too() {
        let chain = Chain::new();
        for at in 0..3 {
            let mut signed = chain.signed(3);
            signed.signatures[at].1.0[5] ^= 1;
            let at = u32::try_from(at).unwrap();
            assert_eq!(chain.trust().verify(signed), Err(LedgerFault::Signature(at).into()));
        }
    }

    #[test]
    fn a_signature_by_a_stranger_or_by_another_member_is_refused() {
        let chain = Chain::new();
        let (member, stranger) = (&chain.signers[0], signer(77));
        for other in [member, &stranger] {
            let mut signed = chain.signed(3);
            signed.signatures[1].1 = other.sign(&signed.ledger_info);
            assert_eq!(chain.trust().verify(signed), Err(LedgerFault::Signature(1).into()));
        }
    }

    #[test]
    fn the_set_of_another_epoch_cannot_sign() {
        // Epoch 1 has the members of epoch 0 in another order.
        let chain = Chain::new();
        let mut signed = chain.signed(13);
        signed.signatures = chain.sign_as_in_epoch(0, signed.ledger_info.clone()).signatures;
        assert_eq!(chain.trust().verify(signed), Err(LedgerFault::Signature(0).into()));
    }

    #[test]
    fn a_signed_ledger_info_with_any_bit_changed_is_refused() {
        let chain = Chain::new();
        let trust = chain.trust();
        for height in [3, 10] {
            for other in every_bit_flipped(&chain.signed(height).encode()) {
                if let Ok(other) = SignedLedgerInfo::decode(&other) {
                    assert!(trust.verify(other).is_err());
                }
            }
        }
    }
}
