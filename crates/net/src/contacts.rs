use std::collections::BTreeMap;
use std::time::Duration;

use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::time::Instant;

use crate::behaviour::Behaviour;
use crate::contact::{Contact, of_address, of_peer};

/// How many times longer than at first a contact that stays lost is left alone at most.
const PATIENCE_MAX: u32 = 12;

/// Peers that are always to be connected to: dialed whenever they are not, ever more patiently.
pub(crate) struct Contacts {
    redial: Duration,
    all: BTreeMap<PeerId, Kept>,
}

struct Kept {
    addresses: Vec<Multiaddr>,
    dial_at: Instant,
    /// How many times in a row it was dialed.
    dialed: u32,
}

impl Contacts {
    pub(crate) fn new(contacts: Vec<Contact>, redial: Duration, now: Instant) -> Self {
        let mut kept = Self { redial, all: BTreeMap::new() };
        kept.set(contacts, now);
        kept
    }

    /// Keeps these instead of those before. What libp2p has no name for is left out.
    pub(crate) fn set(&mut self, contacts: Vec<Contact>, now: Instant) {
        let mut before = std::mem::take(&mut self.all);
        for contact in contacts {
            let Some(peer) = of_peer(&contact.peer) else {
                continue;
            };
            let addresses = contact.addresses.iter().filter_map(of_address).collect();
            let (dial_at, dialed) =
                before.remove(&peer).map_or((now, 0), |kept| (kept.dial_at, kept.dialed));
            self.all.insert(peer, Kept { addresses, dial_at, dialed });
        }
    }

    /// A contact that is lost again is dialed soon.
    pub(crate) fn connected(&mut self, peer: &PeerId) {
        if let Some(kept) = self.all.get_mut(peer) {
            kept.dialed = 0;
        }
    }

    pub(crate) fn dial(&mut self, swarm: &mut Swarm<Behaviour>, now: Instant) {
        let local = *swarm.local_peer_id();
        for (peer, kept) in self.all.iter_mut().filter(|(peer, _)| **peer != local) {
            if kept.dial_at > now || swarm.is_connected(peer) {
                continue;
            }
            kept.dialed = kept.dialed.saturating_add(1);
            kept.dial_at = now + self.redial * kept.dialed.min(PATIENCE_MAX);
            let opts = DialOpts::peer_id(*peer)
                .addresses(kept.addresses.clone())
                .extend_addresses_through_behaviour();
            // It is tried again: nobody waits for this attempt.
            let _ = swarm.dial(opts.build());
        }
    }
}
