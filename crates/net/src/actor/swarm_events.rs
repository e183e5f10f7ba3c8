//! What the swarm tells its actor.

use std::sync::Arc;

use libp2p::core::ConnectedPoint;
use libp2p::gossipsub::{self, Message, MessageId};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, identify, kad, ping};
use tokio::sync::Semaphore;

use super::{Actor, Room};
use crate::behaviour::BehaviourEvent;
use crate::contact::{is_loopback, is_reachable, kept, to_peer};
use crate::event::{Delivery, Judgement, NetworkEvent};
use crate::gossip::Gossiped;
use crate::limits::{ADDRESSES_PER_PEER_MAX, ANSWERS_PER_PEER_MAX, ASKS_PER_PEER_MAX};
use crate::protocol::Protocol;

impl Actor {
    pub(super) async fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event).await,
            SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                self.established(peer_id, &endpoint).await;
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                if let Some(room) = self.connected.remove(&peer_id) {
                    // Who waits to ask it waits in vain.
                    room.asks.close();
                }
                self.count_connected();
                if let Some(peer) = to_peer(&peer_id) {
                    self.tell(NetworkEvent::Disconnected(peer)).await;
                }
            }
            // A second dial of who is being dialed says nothing of the first.
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. }
                if !matches!(error, DialError::DialPeerConditionFalse(_))
                    && !self.swarm.is_connected(&peer) =>
            {
                tracing::debug!(%peer, %error, "not connected");
                self.searches.failed(&peer);
            }
            event => self.listener_event(event),
        }
    }

    fn listener_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                self.listening.advertise(&mut self.swarm, &address);
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.swarm.remove_external_address(&address);
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener has an error");
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                tracing::error!(?addresses, ?reason, "a listener is closed");
            }
            _ => {}
        }
    }

    async fn established(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        self.searches.connected(&peer);
        self.contacts.connected(&peer);
        if self.connected.contains_key(&peer) {
            return;
        }
        let answers = Arc::new(Semaphore::new(ANSWERS_PER_PEER_MAX));
        let asks = Arc::new(Semaphore::new(ASKS_PER_PEER_MAX));
        self.connected.insert(peer, Room { answers, asks });
        self.count_connected();
        tracing::debug!(%peer, address = %endpoint.get_remote_address(), "connected");
        if let Some(peer) = to_peer(&peer) {
            self.tell(NetworkEvent::Connected(peer)).await;
        }
    }

    async fn behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Streams(arrived) => self.receive(arrived),
            BehaviourEvent::Kad(event) => self.kad_event(event),
            BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }) => self.gossip_message(propagation_source, message_id, &message).await,
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.identified(peer_id, info);
            }
            BehaviourEvent::Ping(ping::Event {
                connection,
                result: Err(ping::Failure::Timeout),
                ..
            }) => {
                self.swarm.close_connection(connection);
            }
            _ => {}
        }
    }

    fn kad_event(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                if step.last && self.publications.ended(id) {
                    return;
                }
                self.searches.progressed(&mut self.swarm, id, result, step.last);
            }
            kad::Event::RoutingUpdated { is_new_peer: true, .. } => {
                self.publications.table_changed();
            }
            _ => {}
        }
    }

    async fn gossip_message(&mut self, from: PeerId, id: MessageId, message: &Message) {
        let delivery = Delivery { message: id, from };
        let event = match self.topics.read(message) {
            Gossiped::Head(head) => NetworkEvent::HeadGossiped { head, delivery: delivery.clone() },
            Gossiped::Announcement(announcement) => {
                // Unsigned messages do not come through: the mode is strict.
                let Some(author) = message.source.as_ref().and_then(to_peer) else {
                    return self.judge(&delivery, Judgement::Reject).await;
                };
                let delivery = delivery.clone();
                NetworkEvent::Announced { author, announcement, delivery }
            }
            Gossiped::Rejected => return self.judge(&delivery, Judgement::Reject).await,
            Gossiped::Ignored => return self.judge(&delivery, Judgement::Ignore).await,
        };
        if self.events.try_send(event).is_err() {
            // The driver is behind: hints can be lost, and are not passed on unjudged.
            self.judge(&delivery, Judgement::Ignore).await;
        }
    }

    /// Enters a peer's addresses in the routing table; who does not speak our protocol is sent away.
    fn identified(&mut self, peer: PeerId, info: identify::Info) {
        let speaks_ours = |protocol| {
            self.protocols.named(protocol).iter().all(|ours| info.protocols.contains(&ours.name))
        };
        if !speaks_ours(Protocol::Control) {
            // It may be gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
            return;
        }
        let kad = &mut self.swarm.behaviour_mut().kad;
        if !kad.protocol_names().iter().any(|name| info.protocols.contains(name)) {
            return;
        }
        let on_loopback = is_loopback(&info.observed_addr);
        let is_useful =
            |address: &Multiaddr| is_reachable(address) && (on_loopback || !is_loopback(address));
        let useful = info.listen_addrs.into_iter().filter(is_useful);
        for address in kept(useful, ADDRESSES_PER_PEER_MAX) {
            kad.add_address(&peer, address);
        }
    }

    fn count_connected(&self) {
        // At most the configured number of connections, far below what a float holds exactly.
        let connected = u32::try_from(self.connected.len()).unwrap_or(u32::MAX);
        metrics::gauge!("ketch_net_connected_peers").set(f64::from(connected));
    }
}
