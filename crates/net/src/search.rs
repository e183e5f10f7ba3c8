//! Looking for peers, and connecting to them.

use std::collections::BTreeSet;

use libp2p::kad::{
    GetClosestPeersError, GetClosestPeersOk, GetProvidersOk, QueryId, QueryResult, RecordKey,
};
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::behaviour::Behaviour;
use crate::contact::to_peer;
use crate::limits::SEARCH_DIALS_MAX;

/// Where the peers go that a search has connected to.
pub(crate) type SearchReply = oneshot::Sender<Vec<ketch_types::PeerId>>;

/// All searches under way.
#[derive(Default)]
pub(crate) struct Searches(Vec<Search>);

/// A search, which is over when its query is and whoever it found is connected or out of reach.
struct Search {
    query: Option<QueryId>,
    /// The peer whose addresses the query asks for.
    wanted: Option<PeerId>,
    dialing: BTreeSet<PeerId>,
    connected: BTreeSet<PeerId>,
    ends: Instant,
    reply: SearchReply,
}

impl Searches {
    /// Looks for the providers of a key.
    pub(crate) fn providers(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        key: [u8; 32],
        ends: Instant,
        reply: SearchReply,
    ) {
        let key = RecordKey::from(key.to_vec());
        let query = Some(swarm.behaviour_mut().kad.get_providers(key));
        self.add(Search::new(query, ends, reply));
    }

    /// Connects to a peer, whose addresses are asked of others if none are known.
    pub(crate) fn peer(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        ends: Instant,
        reply: SearchReply,
    ) {
        let mut search = Search::new(None, ends, reply);
        search.dial(swarm, peer, addresses);
        if search.dialing.is_empty() && search.connected.is_empty() {
            search.query = Some(swarm.behaviour_mut().kad.get_closest_peers(peer));
            search.wanted = Some(peer);
        }
        self.add(search);
    }

    /// Takes in what a query of the DHT came to.
    pub(crate) fn progressed(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        query: QueryId,
        result: QueryResult,
        is_last: bool,
    ) {
        let Some(search) = self.0.iter_mut().find(|search| search.query == Some(query)) else {
            return;
        };
        match result {
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { key, providers })) => {
                for peer in providers {
                    let addresses = swarm.behaviour_mut().kad.store_mut().addresses_of(&key, &peer);
                    search.dial(swarm, peer, addresses);
                }
            }
            QueryResult::GetClosestPeers(
                Ok(GetClosestPeersOk { peers, .. })
                | Err(GetClosestPeersError::Timeout { peers, .. }),
            ) => {
                let found = peers.into_iter().find(|found| search.wanted == Some(found.peer_id));
                if let Some(found) = found {
                    search.dial(swarm, found.peer_id, found.addrs);
                }
            }
            _ => {}
        }
        if is_last {
            search.query = None;
        }
        self.finish();
    }

    /// A peer is connected.
    pub(crate) fn connected(&mut self, peer: &PeerId) {
        for search in &mut self.0 {
            let is_wanted = search.wanted == Some(*peer);
            if is_wanted {
                search.query = None;
            }
            if search.dialing.remove(peer) || is_wanted {
                search.connected.insert(*peer);
            }
        }
        self.finish();
    }

    /// A peer cannot be connected to.
    pub(crate) fn failed(&mut self, peer: &PeerId) {
        self.0.iter_mut().for_each(|search| {
            search.dialing.remove(peer);
        });
        self.finish();
    }

    /// Ends those that have taken too long, with what they have found.
    pub(crate) fn expire(&mut self, now: Instant) {
        for search in self.0.iter_mut().filter(|search| search.ends <= now) {
            search.query = None;
            search.dialing.clear();
        }
        self.finish();
    }

    fn add(&mut self, search: Search) {
        self.0.push(search);
        self.finish();
    }

    fn finish(&mut self) {
        let is_over = |search: &mut Search| search.query.is_none() && search.dialing.is_empty();
        for search in self.0.extract_if(.., is_over) {
            // Who asked may have gone.
            let _ = search.reply.send(search.connected.iter().filter_map(to_peer).collect());
        }
    }
}

impl Search {
    fn new(query: Option<QueryId>, ends: Instant, reply: SearchReply) -> Self {
        let (dialing, connected) = Default::default();
        Self { query, wanted: None, dialing, connected, ends, reply }
    }

    /// Dials a peer, unless it is connected, or nothing is known of where it is.
    fn dial(&mut self, swarm: &mut Swarm<Behaviour>, peer: PeerId, addresses: Vec<Multiaddr>) {
        if peer == *swarm.local_peer_id() {
            return;
        }
        if swarm.is_connected(&peer) {
            self.connected.insert(peer);
            return;
        }
        if self.dialing.len() >= SEARCH_DIALS_MAX {
            return;
        }
        let known =
            DialOpts::peer_id(peer).addresses(addresses).extend_addresses_through_behaviour();
        match swarm.dial(known.build()) {
            Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => {
                self.dialing.insert(peer);
            }
            Err(_) => {}
        }
    }
}
