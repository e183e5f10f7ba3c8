//! What is asked of peers.

use std::collections::BTreeMap;

use ketch_coordinator::{Peer, Query, RequestEnd, RequestId};
use ketch_types::{Height, PartIndex, PartSet, ShardId, StateRoot};

use super::{Kept, Rule, holds};

/// Peers that are asked for one part at once.
const ASKED_OF_MAX: u8 = 2;

/// A state of a shard.
pub(super) type State = (ShardId, StateRoot);

/// Every request that is open.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<RequestId, Open>,
    /// The id after those that were given out.
    next: u64,
    /// Of each part, of how many peers it is asked.
    asked_of: BTreeMap<State, Vec<u8>>,
}

#[derive(Debug)]
struct Open {
    peer: Peer,
    asked: Asked,
}

/// What was asked for, as far as its end is about it.
#[derive(Debug)]
enum Asked {
    Summary,
    Outline {
        root: StateRoot,
        cut: u32,
    },
    /// Parts that are still to come; none once it is cancelled.
    Parts(State, PartSet),
    Outputs {
        after: Height,
    },
}

impl Open {
    fn new(peer: Peer, query: &Query) -> Self {
        let asked = match query {
            Query::Summary(_) => Asked::Summary,
            Query::Outline { root, cut, .. } => Asked::Outline { root: *root, cut: *cut },
            Query::Parts { shard, root, wanted } => Asked::Parts((*shard, *root), wanted.clone()),
            Query::Outputs { after, .. } => Asked::Outputs { after: *after },
        };
        Self { peer, asked }
    }

    fn state(&self) -> Option<State> {
        match self.asked {
            Asked::Parts(state, _) => Some(state),
            _ => None,
        }
    }
}

impl Requests {
    pub(super) fn opened(&mut self, id: RequestId, peer: Peer, query: &Query) -> Kept {
        let is_new = id.0 >= self.next;
        self.next = self.next.max(id.0.saturating_add(1));
        let open = Open::new(peer, query);
        let most = self.count(&open, |asked_of| asked_of.saturating_add(1));
        self.open.insert(id, open);
        holds(is_new, Rule::RequestNotNew).and(holds(most <= ASKED_OF_MAX, Rule::AskedTooOften))
    }

    /// Counts anew, for each part that a request awaits, of how many peers it is asked; the most.
    fn count(&mut self, open: &Open, change: impl Fn(u8) -> u8) -> u8 {
        let Asked::Parts(state, awaited) = &open.asked else { return 0 };
        let asked_of = self.asked_of.entry(*state).or_default();
        let mut most = 0;
        for part in awaited.iter() {
            let part = usize::try_from(part.0).unwrap_or(usize::MAX);
            if asked_of.len() <= part {
                asked_of.resize(part + 1, 0);
            }
            if let Some(count) = asked_of.get_mut(part) {
                *count = change(*count);
                most = most.max(*count);
            }
        }
        most
    }

    pub(super) fn progressed(&self, id: RequestId) -> Kept {
        holds(self.open.contains_key(&id), Rule::RequestNotOpen)
    }

    /// A part came; of which state.
    pub(super) fn verified(&mut self, id: RequestId, part: PartIndex) -> Result<State, Rule> {
        let open = self.open.get_mut(&id).ok_or(Rule::RequestNotOpen)?;
        let Asked::Parts(state, awaited) = &mut open.asked else {
            return Err(Rule::PartNotAwaited);
        };
        holds(awaited.remove(part), Rule::PartNotAwaited)?;
        let state = *state;
        let place = usize::try_from(part.0).unwrap_or(usize::MAX);
        let asked_of = self.asked_of.get_mut(&state).and_then(|counts| counts.get_mut(place));
        asked_of.into_iter().for_each(|count| *count = count.saturating_sub(1));
        Ok(state)
    }

    pub(super) fn ended(&mut self, id: RequestId, end: &RequestEnd) -> Kept {
        let open = self.close(id).ok_or(Rule::RequestNotOpen)?;
        let fits = match (&open.asked, end) {
            (_, RequestEnd::Refused(_) | RequestEnd::Failed(_) | RequestEnd::Faulty(_))
            | (Asked::Summary, RequestEnd::Summary(_)) => true,
            (Asked::Outline { root, cut }, RequestEnd::Manifest(sizes)) => {
                sizes.root() == *root && sizes.cut() == *cut
            }
            (Asked::Parts(_, awaited), RequestEnd::Parts { held, .. }) => {
                held.count() == awaited.count()
            }
            (Asked::Outputs { after }, RequestEnd::Outputs { through, .. }) => through >= after,
            _ => false,
        };
        holds(fits, Rule::EndUnlikeRequest)
    }

    pub(super) fn cancelled(&mut self, id: RequestId) -> Kept {
        holds(self.awaits_nothing(id), Rule::CancelledNotOpen)
    }

    /// A request is open until the driver says that it is over, and awaits nothing any more; whether it
    /// is open.
    fn awaits_nothing(&mut self, id: RequestId) -> bool {
        let Some(mut open) = self.close(id) else { return false };
        if let Asked::Parts(_, awaited) = &mut open.asked {
            *awaited = PartSet::empty(awaited.count());
        }
        self.open.insert(id, open);
        true
    }

    pub(super) fn disconnected(&mut self, peer: Peer) {
        for id in self.of_peer(peer) {
            self.close(id);
        }
    }

    /// Nothing is awaited any more of a peer that is banned: its connection is being closed.
    pub(super) fn banned(&mut self, peer: Peer) {
        for id in self.of_peer(peer) {
            self.awaits_nothing(id);
        }
    }

    fn of_peer(&self, peer: Peer) -> Vec<RequestId> {
        let of_peer = self.open.iter().filter(|(_, open)| open.peer == peer);
        of_peer.map(|(id, _)| *id).collect()
    }

    fn close(&mut self, id: RequestId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        self.count(&open, |asked_of| asked_of.saturating_sub(1));
        let state = open.state().filter(|_| open.is_last_of_its_state(&self.open));
        state.into_iter().for_each(|state| drop(self.asked_of.remove(&state)));
        Some(open)
    }
}

impl Open {
    fn is_last_of_its_state(&self, others: &BTreeMap<RequestId, Open>) -> bool {
        others.values().all(|other| other.state() != self.state())
    }
}
