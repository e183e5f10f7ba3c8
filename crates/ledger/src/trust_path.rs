use std::sync::Arc;

use ketch_types::{ChainId, Epoch, LedgerInfoHash};
use thiserror::Error;

use crate::epoch_info::EpochInfo;
use crate::genesis::Genesis;
use crate::ledger_info::{LedgerInfo, SignedLedgerInfo};
use crate::verified_ledger_info::{LedgerFault, VerifiedLedgerInfo, check_epoch_end};

/// How many epochs a node holds the infos of: the next, the one at hand, and the two before it,
/// whose starts may still be served and whose ledger infos may still arrive late.
pub const EPOCHS_KEPT: usize = 4;

/// What a node believes in: the chain, and the validator sets of its newest epochs.
///
/// *Shape:* it begins at genesis or at a waypoint, with the infos of two epochs; every epoch end
/// that is verified may add the next. The epochs held follow one another without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustPath {
    chain: ChainId,
    epochs: Vec<Arc<EpochInfo>>,
}

/// Why no trust path begins at a waypoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WaypointError {
    /// The ledger info is not the one that the waypoint is the hash of.
    #[error("the ledger info does not have the waypoint's hash")]
    Hash,
    /// The ledger info is about another chain.
    #[error("the waypoint is of another chain")]
    Chain,
    /// The ledger info does not end an epoch.
    #[error("the waypoint does not end an epoch")]
    NoEpochEnd,
    /// The info is not the one that the epoch end names.
    #[error("the epoch info is not the one that the waypoint names")]
    NextHash,
    /// The next epoch, or the one after it, does not follow.
    #[error("the epochs that the waypoint names do not follow it")]
    Epochs,
}

/// What an epoch end did to a trust path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advance {
    /// The info of this epoch was added.
    Added(Epoch),
    /// The ledger info ends no epoch, or what it adds is known or was known already.
    Nothing,
    /// The info of this epoch cannot be added before those of the epochs below it.
    Ahead(Epoch),
}

impl TrustPath {
    /// The path that begins with a chain.
    pub fn from_genesis(genesis: &Genesis) -> Self {
        let epochs = genesis.epochs().iter().cloned().map(Arc::new).collect();
        Self { chain: genesis.chain_id(), epochs }
    }

    /// The path that begins at an epoch's end, from its ledger info and the info of the epoch that
    /// begins there.
    ///
    /// *Errors:* see [`WaypointError`].
    pub fn from_waypoint(
        chain: ChainId,
        waypoint: LedgerInfoHash,
        ledger_info: LedgerInfo,
        next: EpochInfo,
    ) -> Result<Self, WaypointError> {
        if ledger_info.hash() != waypoint {
            return Err(WaypointError::Hash);
        }
        if ledger_info.chain != chain {
            return Err(WaypointError::Chain);
        }
        let (epoch, height) = (ledger_info.epoch, ledger_info.height);
        let end = ledger_info.epoch_end.ok_or(WaypointError::NoEpochEnd)?;
        if next.hash() != end.next {
            return Err(WaypointError::NextHash);
        }
        if epoch.0.checked_add(1) != Some(next.epoch().0)
            || height.0.checked_add(1) != Some(next.first_height().0)
            || !follows(&end.info, &next)
        {
            return Err(WaypointError::Epochs);
        }
        Ok(Self { chain, epochs: vec![Arc::new(next), Arc::new(end.info)] })
    }

    /// The chain that this is about.
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// The info of an epoch, if it is held.
    pub fn epoch(&self, epoch: Epoch) -> Option<&Arc<EpochInfo>> {
        self.epochs.iter().find(|info| info.epoch() == epoch)
    }

    /// The infos that are held, in the order of their epochs.
    pub fn epochs(&self) -> &[Arc<EpochInfo>] {
        &self.epochs
    }

    /// Checks a ledger info against the chain and the set of its epoch.
    ///
    /// *Errors:* see [`LedgerFault`].
    pub fn verify(&self, signed: SignedLedgerInfo) -> Result<VerifiedLedgerInfo, LedgerFault> {
        let LedgerInfo { chain, epoch, .. } = signed.ledger_info;
        if chain != self.chain {
            return Err(LedgerFault::Chain);
        }
        let epoch_info = self.epoch(epoch).ok_or(LedgerFault::Epoch(epoch))?;
        VerifiedLedgerInfo::new(signed, epoch_info, self.next_of(epoch))
    }

    /// Adds what a verified epoch end says of the epochs to come. Doing so again changes nothing.
    ///
    /// *Errors:* [`LedgerFault::Chain`] if another chain's path verified it, and
    /// [`LedgerFault::NextEpoch`] if it was verified before the next epoch was known, which it does
    /// not fit.
    pub fn advance(&mut self, verified: &VerifiedLedgerInfo) -> Result<Advance, LedgerFault> {
        let ledger_info = verified.ledger_info();
        if ledger_info.chain != self.chain {
            return Err(LedgerFault::Chain);
        }
        let newest = self.epochs.last().map_or(Epoch(0), |newest| newest.epoch());
        let Some(end) = ledger_info.epoch_end.as_ref().filter(|end| end.info.epoch() > newest)
        else {
            return Ok(Advance::Nothing);
        };
        let epoch = end.info.epoch();
        if epoch > newest.next() {
            return Ok(Advance::Ahead(epoch));
        }
        check_epoch_end(end, verified.epoch_info(), self.next_of(ledger_info.epoch))?;
        self.epochs.push(Arc::new(end.info.clone()));
        self.epochs.drain(..self.epochs.len().saturating_sub(EPOCHS_KEPT));
        Ok(Advance::Added(epoch))
    }

    /// The info of the epoch after this one, if it is held.
    fn next_of(&self, epoch: Epoch) -> Option<&EpochInfo> {
        epoch.0.checked_add(1).and_then(|next| self.epoch(Epoch(next))).map(Arc::as_ref)
    }
}

/// Whether an epoch begins where the one before it ends, with the same shards.
fn follows(info: &EpochInfo, before: &EpochInfo) -> bool {
    before.epoch().0.checked_add(1) == Some(info.epoch().0)
        && info.first_height() == before.next_first_height()
        && info.layout() == before.layout()
}

#[cfg(test)]
mod tests {
    use ketch_types::{Height, ShardLayout};

    use super::*;
    use crate::fixture::{Chain, epoch_info};
    use crate::ledger_info::EpochEnd;

    /// Walks a path over the epoch ends at these heights.
    fn walk(chain: &Chain, path: &mut TrustPath, heights: impl IntoIterator<Item = u64>) {
        for height in heights {
            let verified = path.verify(chain.signed(height)).unwrap();
            let added = Epoch(height / 10 + 1);
            assert_eq!(path.advance(&verified), Ok(Advance::Added(added)));
        }
    }

    fn waypoint(chain: &Chain, height: u64) -> TrustPath {
        let info = chain.ledger_info(height);
        let next = epoch_info(height / 10);
        TrustPath::from_waypoint(chain.id, info.hash(), info, next).unwrap()
    }

    #[test]
    fn a_path_from_genesis_follows_the_epoch_ends() {
        let chain = Chain::new();
        let mut path = chain.trust();
        walk(&chain, &mut path, [10, 20, 30]);
        assert!(path.verify(chain.signed(37)).is_ok());
        let held: Vec<_> = path.epochs().iter().map(|info| info.epoch().0).collect();
        assert_eq!(held, [1, 2, 3, 4], "the newest {EPOCHS_KEPT}");
        assert_eq!(path.verify(chain.signed(5)), Err(LedgerFault::Epoch(Epoch(0))));
        assert_eq!(path.epoch(Epoch(3)).map(|info| info.hash()), Some(epoch_info(3).hash()));
    }

    #[test]
    fn a_path_from_a_waypoint_comes_to_believe_what_one_from_genesis_believes() {
        let chain = Chain::new();
        let mut long = chain.trust();
        walk(&chain, &mut long, [10, 20, 30, 40]);
        let mut short = waypoint(&chain, 20);
        assert_eq!(short.epochs().len(), 2);
        assert_eq!(short.verify(chain.signed(20)), Err(LedgerFault::Epoch(Epoch(1))));
        walk(&chain, &mut short, [30, 40]);
        assert_eq!(short, long);
        assert_eq!(short.verify(chain.signed(44)), long.verify(chain.signed(44)));
    }

    #[test]
    fn an_epoch_end_is_taken_in_once() {
        let chain = Chain::new();
        let mut path = chain.trust();
        let verified = path.verify(chain.signed(10)).unwrap();
        walk(&chain, &mut path, [10]);
        let before = path.clone();
        assert_eq!(path.advance(&verified), Ok(Advance::Nothing));
        let no_end = path.verify(chain.signed(11)).unwrap();
        assert_eq!(path.advance(&no_end), Ok(Advance::Nothing));
        assert_eq!(path, before);
        walk(&chain, &mut path, [20, 30, 40]);
        let before = path.clone();
        assert_eq!(path.advance(&verified), Ok(Advance::Nothing));
        assert_eq!(path, before);
    }

    #[test]
    fn an_epoch_is_not_added_over_a_gap() {
        let chain = Chain::new();
        let mut path = chain.trust();
        let later = path.verify(chain.signed(20)).unwrap();
        assert_eq!(path.advance(&later), Ok(Advance::Ahead(Epoch(3))));
        assert_eq!(path, chain.trust());
        walk(&chain, &mut path, [10]);
        assert_eq!(path.advance(&later), Ok(Advance::Added(Epoch(3))));
    }

    #[test]
    fn an_epoch_end_that_was_verified_early_is_checked_against_what_is_known_now() {
        let chain = Chain::new();
        let mut path = chain.trust();
        let mut info = chain.ledger_info(20);
        info.epoch_end.as_mut().unwrap().next = epoch_info(4).hash();
        let early = path.verify(chain.sign(info, &[0, 1, 2])).unwrap();
        walk(&chain, &mut path, [10]);
        assert_eq!(path.advance(&early), Err(LedgerFault::NextEpoch));
        let other_chain = TrustPath { chain: ChainId::new([1; 32]), ..chain.trust() };
        assert_eq!(other_chain.clone().advance(&early), Err(LedgerFault::Chain));
    }

    #[test]
    fn a_waypoint_that_does_not_hold_together_is_refused() {
        let chain = Chain::new();
        let begin = |info: LedgerInfo, next| {
            TrustPath::from_waypoint(chain.id, info.hash(), info, next).unwrap_err()
        };
        let (good, next) = (chain.ledger_info(20), epoch_info(2));
        let other = chain.ledger_info(10).hash();
        let refused = TrustPath::from_waypoint(chain.id, other, good.clone(), next.clone());
        assert_eq!(refused, Err(WaypointError::Hash));
        let chained = LedgerInfo { chain: ChainId::new([1; 32]), ..good.clone() };
        assert_eq!(begin(chained, next.clone()), WaypointError::Chain);
        assert_eq!(begin(chain.ledger_info(19), next.clone()), WaypointError::NoEpochEnd);
        assert_eq!(begin(good.clone(), epoch_info(3)), WaypointError::NextHash);
        let epoch = LedgerInfo { epoch: Epoch(2), ..good.clone() };
        let last = LedgerInfo { epoch: Epoch(u64::MAX), ..good.clone() };
        let height = LedgerInfo { height: Height(19), ..good.clone() };
        let after = |epoch, first, part_bytes| {
            let layout = next.layout();
            let (shards, boundaries) = (layout.shards().to_vec(), layout.boundaries().to_vec());
            let layout = ShardLayout::new(shards, boundaries, part_bytes).unwrap();
            let validators = next.validators().to_vec();
            let info = EpochInfo::new(Epoch(epoch), Height(first), 10, layout, validators).unwrap();
            let epoch_end = Some(EpochEnd { next: next.hash(), info });
            LedgerInfo { epoch_end, ..good.clone() }
        };
        let (number, gap) = (after(4, 31, 4 << 20), after(3, 32, 4 << 20));
        let layout = after(3, 31, 2 << 20);
        for info in [epoch, last, height, number, gap, layout] {
            assert_eq!(begin(info, next.clone()), WaypointError::Epochs);
        }
        let fits = after(3, 31, 4 << 20);
        assert!(TrustPath::from_waypoint(chain.id, fits.hash(), fits, next).is_ok());
    }
}
