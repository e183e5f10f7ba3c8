//! The newest head.

use std::sync::Arc;

use ketch_ledger::{Block, LedgerPlace, LedgerRefusal, SignedLedgerInfo, VerifiedLedgerInfo};
use ketch_types::Height;

use super::Book;
use super::disk::Disk;
use super::error::{BookError, Damage, TakeError};
use super::record::{HEAD_KEY, pair, split_pair};
use super::trust::Trusted;

/// A block under its quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// What was signed.
    pub ledger_info: VerifiedLedgerInfo,
    /// The block.
    pub block: Block,
}

/// What became of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadTaken {
    /// It is the newest one now.
    New(Arc<ChainHead>),
    /// It is of a height that is not above the newest one's.
    NotNewer,
}

impl ChainHead {
    /// The block's height.
    pub fn height(&self) -> Height {
        self.block.height()
    }
}

impl Book {
    /// The newest head that is known.
    pub fn head(&self) -> Option<Arc<ChainHead>> {
        self.known().head.clone()
    }

    /// Takes a head that a peer sent or gossiped. If it ends an epoch whose end is the next one, that
    /// is taken too, and so it is of a head that is not newer.
    ///
    /// *Errors:* [`PeerFault`](super::PeerFault), by the protocol's rules of heads. A head that is not
    /// newer is not verified.
    pub fn take_head(
        &self,
        signed: SignedLedgerInfo,
        block: Block,
    ) -> Result<HeadTaken, TakeError> {
        let trust = self.trust();
        trust.may_verify(&signed.ledger_info.place())?;
        self.known().trusted.check_begun(signed.ledger_info.epoch)?;
        if !self.is_wanted(&signed) {
            return Ok(HeadTaken::NotNewer);
        }
        let ledger_info = trust.verify(signed)?;
        ledger_info.check_block(&block)?;
        self.put_head(ledger_info, block)
    }

    /// The same, of a head as it came.
    ///
    /// *Errors:* as above, and for what does not decode. What is refused for its chain, epoch or
    /// height is not decoded.
    pub fn take_head_message(&self, head: &ketch_wire::Head) -> Result<HeadTaken, TakeError> {
        self.trust().may_verify(&LedgerPlace::peek(&head.signed_ledger_info.0)?)?;
        let signed = SignedLedgerInfo::decode(&head.signed_ledger_info.0)?;
        self.take_head(signed, Block::decode(&head.block.0)?)
    }

    /// Whether a head would change anything.
    fn is_wanted(&self, signed: &SignedLedgerInfo) -> bool {
        let known = self.known();
        let newest = known.head.as_ref().map_or(Height(0), |head| head.height());
        signed.ledger_info.height > newest || known.lacks_end(&signed.ledger_info)
    }

    fn put_head(
        &self,
        ledger_info: VerifiedLedgerInfo,
        block: Block,
    ) -> Result<HeadTaken, TakeError> {
        let _writing = self.writing();
        let (newest, lacks_end) = {
            let known = self.known();
            let newest = known.head.as_ref().map_or(Height(0), |head| head.height());
            (newest, known.lacks_end(ledger_info.ledger_info()))
        };
        let is_new = block.height() > newest;
        let mut batch = self.disk.batch()?;
        if let Some(signed) = ledger_info.signed().filter(|_| is_new) {
            let record = pair(&signed.encode(), &block.encode());
            batch.insert(&self.disk.meta, HEAD_KEY, record);
        }
        if lacks_end {
            let trusted = self.put_next_end(&mut batch, &ledger_info)?;
            self.disk.commit_synced(batch)?;
            self.known_mut().trusted = trusted;
        } else {
            self.disk.commit(batch)?;
        }
        if !is_new {
            return Ok(HeadTaken::NotNewer);
        }
        let head = Arc::new(ChainHead { ledger_info, block });
        self.known_mut().head = Some(Arc::clone(&head));
        Ok(HeadTaken::New(head))
    }
}

/// The head that is stored. One of an epoch that is not known any more is of no use.
pub(super) fn load(disk: &Disk, trusted: &Trusted) -> Result<Option<Arc<ChainHead>>, BookError> {
    let Some(record) = disk.record(HEAD_KEY)? else { return Ok(None) };
    let malformed = || disk.malformed("head");
    let (signed, block) = split_pair(&record).ok_or_else(malformed)?;
    let signed = SignedLedgerInfo::decode(signed).map_err(|_| malformed())?;
    let block = Block::decode(block).map_err(|_| malformed())?;
    let verified = trusted.path.verify(signed);
    let checked = verified.and_then(|verified| {
        verified.check_block(&block)?;
        Ok(verified)
    });
    match checked {
        Ok(ledger_info) => Ok(Some(Arc::new(ChainHead { ledger_info, block }))),
        Err(LedgerRefusal::UnknownEpoch(_)) => Ok(None),
        Err(refusal) => Err(disk.damaged(Damage::Head(refusal))),
    }
}
