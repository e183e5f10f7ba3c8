//! What peers ask for.

use std::collections::{BTreeMap, BTreeSet};

use ketch_coordinator::{Ask, Peer, PeerQuery};
use ketch_types::{PartIndex, PartSet};

use super::{Kept, Rule, holds};

/// Every question of a peer that the driver has not closed.
#[derive(Debug, Default)]
pub(super) struct Answers {
    open: BTreeMap<Ask, Open>,
    /// The handle after those that were given out.
    next: u64,
}

#[derive(Debug)]
struct Open {
    peer: Peer,
    /// Parts that were asked for and were not handed to the driver.
    left: PartSet,
    sending: BTreeSet<PartIndex>,
    /// Whether nothing more may be said to it: it has its end, or its peer is gone.
    is_over: bool,
}

impl Answers {
    pub(super) fn asked(&mut self, ask: Ask, peer: Peer, query: &PeerQuery) -> Kept {
        let is_new = ask.0 >= self.next;
        self.next = self.next.max(ask.0.saturating_add(1));
        let left = match query {
            PeerQuery::Parts(request) => request.wanted().clone(),
            _ => PartSet::empty(0),
        };
        self.open.insert(ask, Open { peer, left, sending: BTreeSet::new(), is_over: false });
        holds(is_new, Rule::AskNotNew)
    }

    /// The last of an answer, or all of it.
    pub(super) fn answered(&mut self, ask: Ask) -> Kept {
        let open = self.open.get_mut(&ask).ok_or(Rule::AnsweredNotOpen)?;
        let was_over = std::mem::replace(&mut open.is_over, true);
        holds(!was_over, Rule::AnsweredNotOpen)
    }

    pub(super) fn sends(&mut self, ask: Ask, part: PartIndex) -> Kept {
        let open = self.open.get_mut(&ask).ok_or(Rule::AnsweredNotOpen)?;
        open.sending.insert(part);
        let is_wanted = holds(open.left.remove(part), Rule::PartNotWanted);
        holds(!open.is_over, Rule::AnsweredNotOpen).and(is_wanted)
    }

    pub(super) fn sent(&mut self, ask: Ask, part: PartIndex) -> Kept {
        let open = self.open.get_mut(&ask).ok_or(Rule::AskNotOpen)?;
        holds(open.sending.remove(&part), Rule::PartNotBeingSent)
    }

    pub(super) fn closed(&mut self, ask: Ask) -> Kept {
        holds(self.open.remove(&ask).is_some(), Rule::AskNotOpen)
    }

    /// What a peer asked for that is gone is not to be answered; the driver closes it yet.
    pub(super) fn disconnected(&mut self, peer: Peer) {
        let of_peer = self.open.values_mut().filter(|open| open.peer == peer);
        of_peer.for_each(|open| open.is_over = true);
    }
}
