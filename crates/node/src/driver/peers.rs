use std::collections::{BTreeMap, BTreeSet};

use ketch_coordinator::{Input, Peer, PeerClass};
use ketch_types::PeerId;

/// Peers that are remembered after they are gone, so that they keep their handle.
const ABSENT_MAX: usize = 4_096;

/// The coordinator's handles of peers.
#[derive(Default)]
pub(super) struct Peers {
    handles: BTreeMap<PeerId, Peer>,
    ids: BTreeMap<Peer, PeerId>,
    connected: BTreeSet<Peer>,
    next: u32,
    /// The validators of this epoch and the next.
    validators: BTreeSet<PeerId>,
}

impl Peers {
    pub(super) fn set_validators(&mut self, validators: Vec<PeerId>) {
        self.validators = validators.into_iter().collect();
    }

    /// A peer is connected: what the coordinator is told of it.
    pub(super) fn connected(&mut self, id: &PeerId) -> Input {
        let peer = *self.handles.entry(id.clone()).or_insert_with(|| {
            self.next = self.next.saturating_add(1);
            Peer(self.next)
        });
        self.connected.insert(peer);
        self.ids.insert(peer, id.clone());
        self.forget_absent();
        let class =
            if self.validators.contains(id) { PeerClass::Validator } else { PeerClass::Other };
        Input::PeerConnected { peer, class, affinity: affinity(id) }
    }

    /// A peer is gone; its handle, if it was here.
    pub(super) fn disconnected(&mut self, id: &PeerId) -> Option<Peer> {
        let peer = self.handles.get(id).copied()?;
        self.connected.remove(&peer).then_some(peer)
    }

    /// The handle of a peer that is connected.
    pub(super) fn handle(&self, id: &PeerId) -> Option<Peer> {
        self.handles.get(id).copied().filter(|peer| self.connected.contains(peer))
    }

    pub(super) fn all_connected(&self) -> Vec<PeerId> {
        self.connected.iter().filter_map(|peer| self.ids.get(peer)).cloned().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.connected.len()
    }

    /// Whether a peer is a validator of this epoch or the next.
    pub(super) fn is_validator(&self, peer: Peer) -> bool {
        self.ids.get(&peer).is_some_and(|id| self.validators.contains(id))
    }

    pub(super) fn id(&self, peer: Peer) -> Option<&PeerId> {
        self.ids.get(&peer)
    }

    /// The oldest handles of those who are gone are given up.
    fn forget_absent(&mut self) {
        let excess = self.ids.len().saturating_sub(self.connected.len() + ABSENT_MAX);
        let absent = self.ids.keys().filter(|peer| !self.connected.contains(peer));
        for peer in absent.take(excess).copied().collect::<Vec<_>>() {
            if let Some(id) = self.ids.remove(&peer) {
                self.handles.remove(&id);
            }
        }
    }
}

/// Bits of a peer's identity, the same for everybody who knows it.
fn affinity(id: &PeerId) -> u64 {
    let hash = blake3::hash(id.as_bytes());
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> PeerId {
        PeerId::new(&number.to_le_bytes()).unwrap()
    }

    fn handle(input: Input) -> Peer {
        match input {
            Input::PeerConnected { peer, .. } => peer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn who_comes_again_has_its_handle_and_nobody_elses() {
        let mut peers = Peers::default();
        let first = handle(peers.connected(&id(1)));
        let second = handle(peers.connected(&id(2)));
        assert_ne!(first, second);
        assert_eq!(peers.disconnected(&id(1)), Some(first));
        assert_eq!(peers.disconnected(&id(1)), None);
        assert_eq!((peers.handle(&id(1)), peers.id(first)), (None, Some(&id(1))));
        assert_eq!(handle(peers.connected(&id(1))), first);
    }

    #[test]
    fn strangers_who_come_and_go_do_not_make_it_grow() {
        let mut peers = Peers::default();
        let stays = handle(peers.connected(&id(0)));
        for number in 1..=5_000 {
            peers.connected(&id(number));
            peers.disconnected(&id(number));
        }
        assert!(peers.ids.len() <= ABSENT_MAX + 2 && peers.handles.len() == peers.ids.len());
        assert_eq!(peers.handle(&id(0)), Some(stays));
        // A handle that was given up is nobody else's.
        assert!(handle(peers.connected(&id(1))).0 > 5_000);
    }
}
