use std::sync::Arc;

use ketch_types::{ChainId, Epoch, Height, LedgerInfoHash};
use thiserror::Error;

use crate::epoch_info::EpochInfo;
use crate::genesis::Genesis;
use crate::ledger_info::{LedgerInfo, LedgerPlace, SignedLedgerInfo};
use crate::verified_ledger_info::{
    LedgerFault, LedgerRefusal, VerifiedLedgerInfo, check_epoch_end,
};

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

/// Why no trust path begins at a waypoint. [`Hash`](Self::Hash) and [`NextHash`](Self::NextHash) are
/// the fault of whoever sent what the waypoint needs; for all others the waypoint itself is wrong.
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
    /// begins there; and that ledger info, which is verified by the waypoint.
    ///
    /// *Errors:* see [`WaypointError`].
    pub fn from_waypoint(
        chain: ChainId,
        waypoint: LedgerInfoHash,
        ledger_info: LedgerInfo,
        next: EpochInfo,
    ) -> Result<(Self, VerifiedLedgerInfo), WaypointError> {
        if ledger_info.hash() != waypoint {
            return Err(WaypointError::Hash);
        }
        if ledger_info.chain != chain {
            return Err(WaypointError::Chain);
        }
        let (epoch, height) = (ledger_info.epoch, ledger_info.height);
        let end = ledger_info.epoch_end.as_ref().ok_or(WaypointError::NoEpochEnd)?;
        if next.hash() != end.next {
            return Err(WaypointError::NextHash);
        }
        if epoch.0.checked_add(1) != Some(next.epoch().0)
            || height.0.checked_add(1) != Some(next.first_height().0)
            || !follows(&end.info, &next)
        {
            return Err(WaypointError::Epochs);
        }
        let (next, after_next) = (Arc::new(next), Arc::new(end.info.clone()));
        let verified = VerifiedLedgerInfo::of_waypoint(ledger_info, &next);
        Ok((Self { chain, epochs: vec![next, after_next] }, verified))
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

    /// Checks where a ledger info stands, which is done before the rest of it is even decoded: whether
    /// it is of this chain, of an epoch whose info is known, and of a height of that epoch. Whoever
    /// asked for a height or an epoch compares that first.
    ///
    /// *Errors:* [`LedgerRefusal::UnknownEpoch`], [`LedgerFault::Chain`] and [`LedgerFault::Height`].
    pub fn may_verify(&self, place: &LedgerPlace) -> Result<(), LedgerRefusal> {
        self.info_for(place).map(|_| ())
    }

    /// Checks a ledger info against the chain and the set of its epoch.
    ///
    /// *Errors:* see [`LedgerRefusal`].
    pub fn verify(&self, signed: SignedLedgerInfo) -> Result<VerifiedLedgerInfo, LedgerRefusal> {
        let place = signed.ledger_info.place();
        let following = self.following(place.epoch);
        Ok(VerifiedLedgerInfo::new(signed, self.info_for(&place)?, following)?)
    }

    /// The same, of a ledger info that was asked for by its height.
    ///
    /// *Errors:* see [`LedgerRefusal`]; [`LedgerFault::NotAsked`] before all others.
    pub fn verify_at(
        &self,
        height: Height,
        signed: SignedLedgerInfo,
    ) -> Result<VerifiedLedgerInfo, LedgerRefusal> {
        if signed.ledger_info.height != height {
            return Err(LedgerFault::NotAsked.into());
        }
        self.verify(signed)
    }

    /// The same, of a ledger info that was asked for as the end of `epoch`.
    ///
    /// *Errors:* see [`LedgerRefusal`]; [`LedgerFault::NotAsked`] before all others.
    pub fn verify_end_of(
        &self,
        epoch: Epoch,
        signed: SignedLedgerInfo,
    ) -> Result<VerifiedLedgerInfo, LedgerRefusal> {
        if signed.ledger_info.epoch != epoch || signed.ledger_info.epoch_end.is_none() {
            return Err(LedgerFault::NotAsked.into());
        }
        self.verify(signed)
    }

    /// Adds what a verified epoch end says of the epochs to come. Doing so again changes nothing.
    ///
    /// *Errors:* [`LedgerFault::Chain`] if another chain's path verified it, and
    /// [`LedgerFault::NextEpoch`] if it does not fit the infos that are held by now: one of the next
    /// epoch that came later, or another one of the epoch that it tells of.
    pub fn advance(&mut self, verified: &VerifiedLedgerInfo) -> Result<Advance, LedgerFault> {
        let ledger_info = verified.ledger_info();
        if ledger_info.chain != self.chain {
            return Err(LedgerFault::Chain);
        }
        let Some(end) = &ledger_info.epoch_end else {
            return Ok(Advance::Nothing);
        };
        let following = self.following(ledger_info.epoch);
        check_epoch_end(end, ledger_info.epoch, verified.layout(), following)?;
        let newest = self.epochs.last().map_or(Epoch(0), |newest| newest.epoch());
        let epoch = end.info.epoch();
        if epoch <= newest {
            return Ok(Advance::Nothing);
        }
        if epoch > newest.next() {
            return Ok(Advance::Ahead(epoch));
        }
        self.epochs.push(Arc::new(end.info.clone()));
        self.epochs.drain(..self.epochs.len().saturating_sub(EPOCHS_KEPT));
        Ok(Advance::Added(epoch))
    }

    /// The info that a ledger info of this place is checked with.
    fn info_for(&self, place: &LedgerPlace) -> Result<&Arc<EpochInfo>, LedgerRefusal> {
        if place.chain != self.chain {
            return Err(LedgerFault::Chain.into());
        }
        let info = self.epoch(place.epoch).ok_or(LedgerRefusal::UnknownEpoch(place.epoch))?;
        if info.contains(place.height) {
            Ok(info)
        } else {
            Err(LedgerFault::Height(place.height).into())
        }
    }

    /// The infos of the two epochs after this one, so far as they are held.
    fn following(&self, epoch: Epoch) -> [Option<&EpochInfo>; 2] {
        [1, 2].map(|on| self.epoch(Epoch(epoch.0.checked_add(on)?)).map(Arc::as_ref))
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
    use ketch_types::ShardLayout;

    use super::*;
    use crate::chunk_proof::ChunkProof;
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

    fn waypoint(chain: &Chain, height: u64) -> (TrustPath, VerifiedLedgerInfo) {
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
        assert_eq!(path.verify(chain.signed(5)), Err(LedgerRefusal::UnknownEpoch(Epoch(0))));
        assert_eq!(path.epoch(Epoch(3)).map(|info| info.hash()), Some(epoch_info(3).hash()));
    }

    #[test]
    fn a_path_from_a_waypoint_comes_to_believe_what_one_from_genesis_believes() {
        let chain = Chain::new();
        let mut long = chain.trust();
        walk(&chain, &mut long, [10, 20, 30, 40]);
        let (mut short, _) = waypoint(&chain, 20);
        assert_eq!(short.epochs().len(), 2);
        assert_eq!(short.verify(chain.signed(20)), Err(LedgerRefusal::UnknownEpoch(Epoch(1))));
        walk(&chain, &mut short, [30, 40]);
        assert_eq!(short, long);
        assert_eq!(short.verify(chain.signed(44)), long.verify(chain.signed(44)));
    }

    #[test]
    fn a_waypoint_proves_the_roots_of_its_own_height() {
        let chain = Chain::new();
        let (path, verified) = waypoint(&chain, 20);
        assert_eq!(verified.ledger_info(), &chain.ledger_info(20));
        assert_eq!(verified.signed(), None, "nobody has checked its signatures");
        for shard in verified.layout().shards() {
            let header = chain.newest(20, *shard);
            let proof = ChunkProof::new(&chain.chunks(20), header.clone()).unwrap();
            assert_eq!(proof.verify(&verified, *shard).as_ref(), Ok(header));
        }
        let before = path.clone();
        assert_eq!(path.clone().advance(&verified), Ok(Advance::Nothing));
        assert_eq!(path, before);
        let mut from_genesis = chain.trust();
        walk(&chain, &mut from_genesis, [10]);
        assert_eq!(from_genesis.advance(&verified), Ok(Advance::Added(Epoch(3))));
    }

    #[test]
    fn what_was_not_asked_for_is_refused_whether_or_not_its_epoch_is_known() {
        let chain = Chain::new();
        let path = chain.trust();
        let not_asked = Err(LedgerRefusal::Fault(LedgerFault::NotAsked));
        assert!(path.verify_at(Height(13), chain.signed(13)).is_ok());
        for height in [12, 37] {
            assert_eq!(path.verify_at(Height(13), chain.signed(height)), not_asked);
        }
        let unknown = Err(LedgerRefusal::UnknownEpoch(Epoch(3)));
        assert_eq!(path.verify_at(Height(37), chain.signed(37)), unknown);
        assert!(path.verify_end_of(Epoch(1), chain.signed(20)).is_ok());
        for height in [10, 13, 30] {
            assert_eq!(path.verify_end_of(Epoch(1), chain.signed(height)), not_asked);
        }
        assert_eq!(path.verify_end_of(Epoch(3), chain.signed(40)), unknown);
    }

    #[test]
    fn a_place_is_refused_before_anything_else_is_decoded() {
        let chain = Chain::new();
        let path = chain.trust();
        let may = |change: fn(&mut LedgerPlace)| {
            let mut place = chain.ledger_info(13).place();
            change(&mut place);
            path.may_verify(&place)
        };
        assert_eq!(may(|_| ()), Ok(()));
        let chain_id = may(|place| place.chain = ChainId::new([1; 32]));
        assert_eq!(chain_id, Err(LedgerFault::Chain.into()));
        let epoch = may(|place| place.epoch = Epoch(7));
        assert_eq!(epoch, Err(LedgerRefusal::UnknownEpoch(Epoch(7))));
        let height = may(|place| place.height = Height(21));
        assert_eq!(height, Err(LedgerFault::Height(Height(21)).into()));
    }

    #[test]
    fn another_info_of_an_epoch_that_is_held_is_refused() {
        let chain = Chain::new();
        let mut info = chain.ledger_info(10);
        let end = info.epoch_end.as_mut().unwrap();
        let mut validators = end.info.validators().to_vec();
        validators[0].power += 1;
        let layout = end.info.layout().clone();
        end.info = EpochInfo::new(Epoch(2), Height(21), 10, layout, validators).unwrap();
        let other = chain.sign(info, &[0, 1, 2]);
        let mut path = chain.trust();
        let verified = path.verify(other.clone()).unwrap();
        walk(&chain, &mut path, [10]);
        for more in [20, 30] {
            let before = path.clone();
            assert_eq!(path.advance(&verified), Err(LedgerFault::NextEpoch));
            assert_eq!(path.verify(other.clone()), Err(LedgerFault::NextEpoch.into()));
            assert_eq!(path, before);
            if more == 20 {
                walk(&chain, &mut path, [more]);
            }
        }
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
            TrustPath::from_waypoint(chain.id, info.hash(), info, next).map(drop).unwrap_err()
        };
        let (good, next) = (chain.ledger_info(20), epoch_info(2));
        let other = chain.ledger_info(10).hash();
        let refused = TrustPath::from_waypoint(chain.id, other, good.clone(), next.clone());
        assert_eq!(refused.map(drop), Err(WaypointError::Hash));
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
