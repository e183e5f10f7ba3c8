//! What the book answers to control requests.

use ketch_types::{Epoch, LedgerInfoHash};
use ketch_wire::{
    EpochEnds, EpochEndsRequest, Head, LedgerBytes, ProofsRequest, Refusal, Request, Response,
    Waypoint,
};

use super::Book;
use super::error::BookError;
use super::record::{hash_key, last_number, waypoint_key};
use super::trust::{epochs_from, read_waypoint};

impl Book {
    /// The answer to a control request. That to a request for a summary is not the book's:
    /// [`Refusal::Unsupported`].
    ///
    /// *Errors:* see [`BookError`]; the peer is answered that it is not held.
    pub fn answer(&self, request: &Request) -> Result<Response, BookError> {
        match request {
            Request::Head => Ok(self.head_answer()),
            Request::EpochEnds(request) => self.ends_answer(request),
            Request::Waypoint(hash) => self.waypoint_answer(hash),
            Request::Proofs(request) => self.proofs_answer(request),
            Request::Summary(_) | Request::Unknown => Ok(Response::Refusal(Refusal::Unsupported)),
        }
    }

    fn head_answer(&self) -> Response {
        let head = self.head();
        let signed = head.as_ref().and_then(|head| Some((head, head.ledger_info.signed()?)));
        signed.map_or(Response::Refusal(Refusal::NotHeld), |(head, signed)| {
            let signed_ledger_info = LedgerBytes(signed.encode());
            let block = LedgerBytes(head.block.encode());
            Response::Head(Head { signed_ledger_info, block })
        })
    }

    fn ends_answer(&self, request: &EpochEndsRequest) -> Result<Response, BookError> {
        let epochs = epochs_from(request.epoch()).take(request.count() as usize);
        // Each is read when it is needed, and no more than fit.
        let mut failed = None;
        let ends = epochs.map_while(|epoch| match self.end_bytes(epoch) {
            Ok(end) => end.map(LedgerBytes),
            Err(error) => {
                failed = Some(error);
                None
            }
        });
        let ends = EpochEnds::fitting(ends);
        failed.map_or(Ok(()), Err)?;
        Ok(match ends {
            Some(ends) => Response::EpochEnds(ends),
            // Trust began later.
            None if request.epoch() < self.next_end() => Response::Refusal(Refusal::NotRetained),
            None => Response::Refusal(Refusal::NotHeld),
        })
    }

    fn waypoint_answer(&self, hash: &LedgerInfoHash) -> Result<Response, BookError> {
        let not_held = Ok(Response::Refusal(Refusal::NotHeld));
        let epoch = self.disk.record(hash_key(hash))?;
        let Some(epoch) = epoch.and_then(|epoch| last_number(&epoch)).map(Epoch) else {
            return not_held;
        };
        let Some(end) = self.end_bytes(epoch)? else { return not_held };
        let Some(next_epoch_info) = self.info_after(epoch)? else { return not_held };
        let (signed_ledger_info, next_epoch_info) =
            (LedgerBytes(end), LedgerBytes(next_epoch_info));
        Ok(Response::Waypoint(Waypoint { signed_ledger_info, next_epoch_info }))
    }

    /// The info of the epoch after this one, encoded: the end of the one before it holds it.
    fn info_after(&self, epoch: Epoch) -> Result<Option<Vec<u8>>, BookError> {
        let Some(before) = epoch.0.checked_sub(1).map(Epoch) else {
            let [_, one] = self.genesis.epochs();
            return Ok(Some(one.encode()));
        };
        if let Some(end) = self.end(before)? {
            return Ok(end.ledger_info.epoch_end.map(|end| end.info.encode()));
        }
        let waypoint = self.disk.record(waypoint_key(before))?;
        let Some(waypoint) = waypoint else { return Ok(None) };
        let read = read_waypoint(&waypoint).ok_or_else(|| self.disk.malformed("waypoint"))?;
        Ok(read.0.epoch_end.map(|end| end.info.encode()))
    }

    fn proofs_answer(&self, request: &ProofsRequest) -> Result<Response, BookError> {
        let starts = self.known().starts.clone();
        let height = request.height();
        if let Some(start) = starts.values().find(|start| start.height() == height) {
            let proofs = self.proofs(start, request.shards())?;
            return Ok(proofs.map_or(Response::Refusal(Refusal::NotHeld), Response::Proofs));
        }
        // Genesis' start is kept whatever else is dropped, and no ledger info is of its height.
        let mut known = starts.values().map(|start| start.height()).filter(|start| start.0 > 0);
        let is_dropped = known.next().is_some_and(|oldest| height < oldest);
        let refusal = if is_dropped { Refusal::NotRetained } else { Refusal::NotHeld };
        Ok(Response::Refusal(refusal))
    }
}
