//! Epoch ends, and where trust in them begins.

use std::sync::Arc;

use fjall::OwnedWriteBatch;
use ketch_ledger::{
    Advance, EpochInfo, Genesis, LedgerFault, LedgerInfo, LedgerPlace, SignedLedgerInfo, TrustPath,
    VerifiedLedgerInfo, WaypointError,
};
use ketch_types::{Epoch, LedgerInfoHash};
use ketch_wire::{EpochEnds, EpochEndsRequest, Waypoint};

use super::disk::Disk;
use super::error::{BookError, Damage, PeerFault, TakeError};
use super::record::{
    WAYPOINT_PREFIX, end_key, hash_key, last_number, pair, split_pair, waypoint_key,
};
use super::{Book, Known};

/// What became of an epoch's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndTaken {
    /// It is the next one, and was stored.
    New(Epoch),
    /// The end of that epoch is stored already.
    Known,
    /// It is believed, but the end of this epoch comes first.
    Ahead(Epoch),
}

/// What is trusted, and why.
#[derive(Clone)]
pub(super) struct Trusted {
    pub(super) path: Arc<TrustPath>,
    /// The first epoch above where the path begins whose end is not stored.
    pub(super) next_end: Epoch,
    /// The waypoint where the path begins; none if that is genesis.
    pub(super) base: Option<Arc<VerifiedLedgerInfo>>,
    /// The waypoint that was given and has not come yet.
    wanted: Option<LedgerInfoHash>,
}

impl Trusted {
    pub(super) fn load(
        disk: &Disk,
        genesis: &Genesis,
        waypoint: Option<LedgerInfoHash>,
    ) -> Result<Self, BookError> {
        let mut wanted = waypoint;
        let path = Arc::new(TrustPath::from_genesis(genesis));
        let mut trusted = Self { path, next_end: Epoch(0), base: None, wanted: None };
        for record in disk.meta.prefix(WAYPOINT_PREFIX) {
            let malformed = || disk.malformed("waypoint");
            let (ledger_info, next) = read_waypoint(&record.value()?).ok_or_else(malformed)?;
            let hash = ledger_info.hash();
            wanted = wanted.filter(|wanted| *wanted != hash);
            let begun = TrustPath::from_waypoint(genesis.chain_id(), hash, ledger_info, next);
            trusted = trusted.begin_at(begun.map_err(|_| malformed())?);
        }
        while let Some(end) = disk.record(end_key(trusted.next_end))? {
            let malformed = |_| disk.malformed("epoch end");
            let signed = SignedLedgerInfo::decode(&end).map_err(malformed)?;
            let epoch = trusted.next_end;
            let verified = trusted.path.verify_end_of(epoch, signed);
            let advanced = verified.and_then(|verified| Ok(trusted.advance(&verified)?));
            trusted = advanced.map_err(|refusal| disk.damaged(Damage::End(epoch, refusal)))?;
        }
        if let Some(hash) = wanted
            && disk.record(hash_key(&hash))?.is_none()
        {
            trusted.wanted = Some(hash);
        }
        Ok(trusted)
    }

    /// The same, after the end of the next epoch.
    fn advance(&self, end: &VerifiedLedgerInfo) -> Result<Self, LedgerFault> {
        let mut path = TrustPath::clone(&self.path);
        match path.advance(end)? {
            Advance::Added(_) => {
                Ok(Self { path: Arc::new(path), next_end: self.next_end.next(), ..self.clone() })
            }
            // The epochs held end two after the last end, so the next one always adds one.
            Advance::Nothing | Advance::Ahead(_) => Err(LedgerFault::NextEpoch),
        }
    }

    /// The same, from a waypoint on, where that is newer than what is known.
    fn begin_at(self, (path, verified): (TrustPath, VerifiedLedgerInfo)) -> Self {
        if newest(&path) <= newest(&self.path) {
            return self;
        }
        let next_end = verified.ledger_info().epoch.next();
        Self { path: Arc::new(path), next_end, base: Some(Arc::new(verified)), ..self }
    }

    /// Refuses what is not to be believed before the waypoint has come.
    pub(super) fn check_begun(&self, epoch: Epoch) -> Result<(), TakeError> {
        self.wanted.map_or(Ok(()), |_| Err(TakeError::UnknownEpoch(epoch)))
    }
}

impl Book {
    /// The waypoint to ask peers for, if one was given that is not known here.
    pub fn wanted_waypoint(&self) -> Option<LedgerInfoHash> {
        self.known().trusted.wanted
    }

    /// The first epoch whose end is not known here: the one to ask for.
    pub fn next_end(&self) -> Epoch {
        self.known().trusted.next_end
    }

    /// Begins to trust at the waypoint that is wanted, with what a peer answered. Where none is
    /// wanted, nothing is done.
    ///
    /// *Errors:* [`BookError::Waypoint`] and [`BookError::OtherWaypoint`] where the waypoint itself
    /// is wrong.
    pub fn take_waypoint(&self, answer: &Waypoint) -> Result<(), TakeError> {
        let _writing = self.writing();
        let trusted = self.known().trusted.clone();
        let Some(wanted) = trusted.wanted else { return Ok(()) };
        let ledger_info = SignedLedgerInfo::decode(&answer.signed_ledger_info.0)?.ledger_info;
        let next = EpochInfo::decode(&answer.next_epoch_info.0)?;
        let record = pair(&ledger_info.encode(), &next.encode());
        let begun = TrustPath::from_waypoint(self.chain(), wanted, ledger_info, next);
        let begun = begun.map_err(waypoint_error)?;
        let epoch = begun.1.ledger_info().epoch;
        self.check_waypoint(epoch, &trusted.path, &begun.0)?;
        let mut batch = self.disk.batch()?;
        batch.insert(&self.disk.meta, waypoint_key(epoch), record);
        self.disk.commit_synced(batch)?;
        self.known_mut().trusted = Trusted { wanted: None, ..trusted.begin_at(begun) };
        Ok(())
    }

    /// Refuses a waypoint at the end of `epoch` where another end of it, or another info of an epoch
    /// after it, is known.
    fn check_waypoint(
        &self,
        epoch: Epoch,
        known: &TrustPath,
        begun: &TrustPath,
    ) -> Result<(), BookError> {
        let differs = |info: &Arc<EpochInfo>| known.epoch(info.epoch()).is_some_and(|k| k != info);
        if begun.epochs().iter().any(differs) || self.disk.record(end_key(epoch))?.is_some() {
            return Err(BookError::OtherWaypoint { epoch, folder: self.disk.folder() });
        }
        Ok(())
    }

    /// Takes the ledger info that ends an epoch. Doing so again changes nothing.
    ///
    /// *Errors:* [`PeerFault`] unless its place among the epochs, its quorum and its signatures are as
    /// they must be.
    pub fn take_end(&self, signed: SignedLedgerInfo) -> Result<EndTaken, TakeError> {
        let _writing = self.writing();
        let trusted = self.known().trusted.clone();
        let epoch = signed.ledger_info.epoch;
        trusted.check_begun(epoch)?;
        if self.is_end(&signed.ledger_info)? {
            return Ok(EndTaken::Known);
        }
        let verified = trusted.path.verify_end_of(epoch, signed)?;
        if epoch > trusted.next_end {
            return Ok(EndTaken::Ahead(trusted.next_end));
        }
        if epoch < trusted.next_end {
            return Ok(EndTaken::Known);
        }
        let advanced = trusted.advance(&verified)?;
        let mut batch = self.disk.batch()?;
        self.put_end(&mut batch, &verified);
        self.disk.commit_synced(batch)?;
        self.known_mut().trusted = advanced;
        Ok(EndTaken::New(epoch))
    }

    /// Takes a peer's answer to a request for epochs' ends; the next end to ask for.
    ///
    /// *Errors:* [`PeerFault`], by the protocol's rules of that answer; what came before it was taken.
    pub fn take_ends(
        &self,
        asked: &EpochEndsRequest,
        answer: &EpochEnds,
    ) -> Result<Epoch, TakeError> {
        let ends = answer.signed_ledger_infos();
        let (expected, got) = (asked.count() as usize, ends.len());
        if got > expected {
            return Err(PeerFault::Items { expected, got }.into());
        }
        for (epoch, end) in epochs_from(asked.epoch()).zip(ends) {
            let place = LedgerPlace::peek(&end.0)?;
            if place.epoch != epoch {
                return Err(LedgerFault::NotAsked.into());
            }
            // What is known already may be of an epoch that nothing can be checked of any more.
            if epoch >= self.next_end() {
                self.trust().may_verify(&place)?;
                self.take_end(SignedLedgerInfo::decode(&end.0)?)?;
            }
        }
        Ok(self.next_end())
    }

    /// Whether this is the end of its epoch that is stored.
    fn is_end(&self, ledger_info: &LedgerInfo) -> Result<bool, BookError> {
        let epoch = self.disk.record(hash_key(&ledger_info.hash()))?;
        Ok(epoch.and_then(|epoch| last_number(&epoch)) == Some(ledger_info.epoch.0))
    }

    /// Puts the end of the next epoch; how trust advances with it.
    pub(super) fn put_next_end(
        &self,
        batch: &mut OwnedWriteBatch,
        end: &VerifiedLedgerInfo,
    ) -> Result<Trusted, LedgerFault> {
        let advanced = self.known().trusted.advance(end)?;
        self.put_end(batch, end);
        Ok(advanced)
    }

    fn put_end(&self, batch: &mut OwnedWriteBatch, end: &VerifiedLedgerInfo) {
        if let Some(signed) = end.signed() {
            let (epoch, hash) = (signed.ledger_info.epoch, signed.ledger_info.hash());
            batch.insert(&self.disk.meta, end_key(epoch), signed.encode());
            batch.insert(&self.disk.meta, hash_key(&hash), epoch.0.to_be_bytes());
        }
    }

    /// The end of an epoch as it was signed, encoded, if it is stored.
    pub(super) fn end_bytes(&self, epoch: Epoch) -> Result<Option<Vec<u8>>, BookError> {
        Ok(self.disk.record(end_key(epoch))?.map(|end| end.to_vec()))
    }

    /// The end of an epoch as it was signed, if it is stored.
    pub(super) fn end(&self, epoch: Epoch) -> Result<Option<SignedLedgerInfo>, BookError> {
        let end = self.end_bytes(epoch)?.map(|end| SignedLedgerInfo::decode(&end));
        end.transpose().map_err(|_| self.disk.malformed("epoch end"))
    }
}

impl Known {
    /// Whether the end of this epoch is the next to be stored.
    pub(super) fn lacks_end(&self, ledger_info: &LedgerInfo) -> bool {
        ledger_info.epoch_end.is_some() && ledger_info.epoch == self.trusted.next_end
    }
}

/// An epoch and those after it.
pub(super) fn epochs_from(first: Epoch) -> impl Iterator<Item = Epoch> {
    (first.0..=u64::MAX).map(Epoch)
}

/// A waypoint's ledger info and the next epoch's info.
pub(super) fn read_waypoint(record: &[u8]) -> Option<(LedgerInfo, EpochInfo)> {
    let (ledger_info, next) = split_pair(record)?;
    Some((LedgerInfo::decode(ledger_info).ok()?, EpochInfo::decode(next).ok()?))
}

/// Whose fault it is that no trust begins at a waypoint.
fn waypoint_error(error: WaypointError) -> TakeError {
    match error {
        WaypointError::Hash | WaypointError::NextHash => PeerFault::Waypoint(error).into(),
        WaypointError::Chain | WaypointError::NoEpochEnd | WaypointError::Epochs => {
            BookError::Waypoint(error).into()
        }
    }
}

fn newest(path: &TrustPath) -> Option<Epoch> {
    path.epochs().last().map(|info| info.epoch())
}
