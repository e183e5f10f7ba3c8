//! The task that owns the swarm.

mod swarm_events;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use ketch_types::{Address, Epoch, ShardId};
use libp2p::gossipsub::{MessageAcceptance, PublishError, TopicHash};
use libp2p::{PeerId, Swarm};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::bans::Bans;
use crate::behaviour::{Behaviour, swarm};
use crate::config::{NetworkConfig, Timeouts};
use crate::contact::{Contact, of_address, of_peer, to_peer};
use crate::contacts::Contacts;
use crate::dht::Publications;
use crate::error::StartError;
use crate::event::{Delivery, Judgement, NetworkEvent, PeerFault};
use crate::gossip::Topics;
use crate::inbound::{Inbound, slots};
use crate::limits::{ANSWERS_MAX, EVENTS_MAX, LEAVE_MAX, TICK};
use crate::listen::{Listening, listen};
use crate::node_key::NodeKey;
use crate::protocol::{Protocol, Protocols};
use crate::rates::Rates;
use crate::reader::Line;
use crate::search::{SearchReply, Searches};
use crate::streams::{Arrived, OpenReply};

/// What the actor is to do.
pub(crate) enum Command {
    Room(PeerId, oneshot::Sender<Arc<Semaphore>>),
    Open(PeerId, Protocol, OpenReply),
    Connect(Contact, SearchReply),
    Search(ShardId, Epoch, SearchReply),
    SetContacts(Vec<Contact>),
    SetEpochs(BTreeSet<(ShardId, Epoch)>),
    Provide(ShardId, Epoch),
    StopProviding(ShardId, Epoch),
    PublishHead(Vec<u8>),
    Announce(ShardId, Vec<u8>),
    Judge(Delivery, Judgement),
    Ban(PeerId, Duration),
    Misbehaved(PeerId, PeerFault),
    /// Leave the network; the sender is dropped when that is done.
    Leave(oneshot::Sender<()>),
}

/// An actor that runs, and the ends of its channels.
pub(crate) struct Started {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) events: mpsc::Receiver<NetworkEvent>,
    pub(crate) line: Arc<Line>,
    pub(crate) listening: Arc<[Address]>,
}

/// The room for streams of one peer.
pub(super) struct Room {
    pub(super) answers: Arc<Semaphore>,
    pub(super) asks: Arc<Semaphore>,
}

pub(crate) struct Actor {
    pub(super) swarm: Swarm<Behaviour>,
    commands: mpsc::UnboundedReceiver<Command>,
    /// For what is found out beside the actor; weak, so that the last handle's end ends the actor.
    to_self: mpsc::WeakUnboundedSender<Command>,
    pub(super) events: mpsc::Sender<NetworkEvent>,
    line: Arc<Line>,
    pub(super) protocols: Protocols,
    pub(super) topics: Topics,
    pub(super) publications: Publications,
    pub(super) searches: Searches,
    pub(super) contacts: Contacts,
    bans: Bans,
    answers: Arc<Semaphore>,
    /// Who is connected.
    pub(super) connected: BTreeMap<PeerId, Room>,
    pub(super) listening: Listening,
}

impl Actor {
    /// Listens, and runs until the last sender of commands is dropped.
    pub(crate) async fn start(config: NetworkConfig, key: &NodeKey) -> Result<Started, StartError> {
        let protocols = Protocols::of_chain(&config.chain);
        let topics = Topics::of_chain(config.chain);
        let mut swarm = swarm(&config, key.keypair(), &protocols, &topics)?;
        let listening = listen(&mut swarm, &config).await?;
        let (to_self, commands) = mpsc::unbounded_channel();
        let (events, to_driver) = mpsc::channel(EVENTS_MAX);
        let rates = Rates::new(config.upload_limit, config.download_limit);
        let line = Arc::new(Line { rates, timeouts: config.timeouts.clone() });
        let now = Instant::now();
        let actor = Self {
            commands,
            to_self: to_self.downgrade(),
            events,
            line: Arc::clone(&line),
            protocols,
            topics,
            publications: Publications::new(config.chain, config.timeouts.provider_ttl, now),
            searches: Searches::default(),
            contacts: Contacts::new(config.contacts, config.timeouts.redial, now),
            bans: Bans::default(),
            answers: Arc::new(Semaphore::new(ANSWERS_MAX)),
            connected: BTreeMap::new(),
            listening,
            swarm,
        };
        let listening = actor.listening.addresses();
        tokio::spawn(actor.run());
        Ok(Started { commands: to_self, events: to_driver, line, listening })
    }

    async fn run(mut self) {
        let mut ticks = tokio::time::interval(TICK);
        // Dropped when all is closed, which tells whoever waits for it.
        let _left = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.swarm_event(event).await,
                command = self.commands.recv() => match command {
                    Some(Command::Leave(reply)) => break Some(reply),
                    Some(command) => self.command(command).await,
                    None => break None,
                },
                _ = ticks.tick() => self.tick(Instant::now()),
            }
        };
        self.leave().await;
    }

    /// Closes all connections: streams that the driver still holds would keep those of QUIC open, and
    /// of one that is not closed a peer hears nothing for as long as it may be silent.
    async fn leave(&mut self) {
        let connected: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            // Refused only for a peer that has gone meanwhile.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        // Whoever does not take it is left all the same.
        let _ = tokio::time::timeout(LEAVE_MAX, closed).await;
    }

    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.line.timeouts
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Room(peer, reply) => {
                if let Some(room) = self.connected.get(&peer) {
                    // Whoever asked may have gone.
                    let _ = reply.send(Arc::clone(&room.asks));
                }
            }
            Command::Open(peer, protocol, reply) => {
                self.swarm.behaviour_mut().streams.open(peer, protocol, reply);
            }
            Command::Connect(contact, reply) => self.connect(&contact, reply),
            Command::Search(shard, epoch, reply) => {
                let key = self.publications.key(shard, epoch);
                let ends = Instant::now() + self.timeouts().search;
                self.searches.providers(&mut self.swarm, key, ends, reply);
            }
            Command::SetContacts(contacts) => self.contacts.set(contacts, Instant::now()),
            Command::SetEpochs(known) => {
                let kad = &mut self.swarm.behaviour_mut().kad;
                self.publications.set_keys(kad, &known);
            }
            Command::Provide(shard, epoch) => {
                self.publications.provide(shard, epoch);
                self.publish(Instant::now());
            }
            Command::StopProviding(shard, epoch) => {
                let kad = &mut self.swarm.behaviour_mut().kad;
                self.publications.stop_providing(kad, shard, epoch);
            }
            Command::PublishHead(head) => self.gossip(self.topics.heads(), head),
            Command::Announce(shard, announcement) => {
                self.gossip(self.topics.held(shard), announcement);
            }
            Command::Judge(delivery, judgement) => self.judge(&delivery, judgement).await,
            Command::Ban(peer, lasting) => self.ban(peer, lasting),
            Command::Misbehaved(peer, fault) => self.misbehaved(peer, fault).await,
            // Ends the loop that takes commands.
            Command::Leave(_) => {}
        }
    }

    fn tick(&mut self, now: Instant) {
        for peer in self.bans.end(now) {
            self.unban(peer);
        }
        self.contacts.dial(&mut self.swarm, now);
        self.searches.expire(now);
        self.publish(now);
    }

    fn connect(&mut self, contact: &Contact, reply: SearchReply) {
        // A peer that libp2p has no name for is connected to nobody: the reply is dropped.
        if let Some(peer) = of_peer(&contact.peer) {
            let addresses = contact.addresses.iter().filter_map(of_address).collect();
            let ends = Instant::now() + self.timeouts().search;
            self.searches.peer(&mut self.swarm, peer, addresses, ends, reply);
        }
    }

    fn publish(&mut self, now: Instant) {
        let kad = &mut self.swarm.behaviour_mut().kad;
        let peers = kad.kbuckets().map(|bucket| bucket.num_entries()).sum();
        self.publications.publish(kad, peers, now);
    }

    fn gossip(&mut self, topic: TopicHash, data: Vec<u8>) {
        match self.swarm.behaviour_mut().gossip.publish(topic, data) {
            Ok(_) | Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            // A hint is lost; what counts is asked for.
            Err(error) => tracing::debug!(%error, "gossip was not published"),
        }
    }

    pub(super) async fn judge(&mut self, delivery: &Delivery, judgement: Judgement) {
        let Delivery { message, from } = delivery;
        let acceptance = match judgement {
            Judgement::Accept => MessageAcceptance::Accept,
            Judgement::Ignore => MessageAcceptance::Ignore,
            Judgement::Reject => MessageAcceptance::Reject,
        };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(message, from, acceptance);
        if judgement == Judgement::Reject {
            self.misbehaved(*from, PeerFault::Gossip).await;
        }
    }

    async fn misbehaved(&mut self, peer: PeerId, fault: PeerFault) {
        self.ban(peer, self.timeouts().ban);
        if let Some(peer) = to_peer(&peer) {
            self.tell(NetworkEvent::Misbehaved { peer, fault }).await;
        }
    }

    fn ban(&mut self, peer: PeerId, lasting: Duration) {
        metrics::counter!("ketch_net_bans_count").increment(1);
        if let Some(first) = self.bans.ban(peer, Instant::now() + lasting) {
            self.unban(first);
        }
        let behaviour = self.swarm.behaviour_mut();
        behaviour.banned.block_peer(peer);
        behaviour.gossip.blacklist_peer(&peer);
        behaviour.kad.remove_peer(&peer);
    }

    fn unban(&mut self, peer: PeerId) {
        let behaviour = self.swarm.behaviour_mut();
        behaviour.banned.unblock_peer(peer);
        behaviour.gossip.remove_blacklisted_peer(&peer);
    }

    /// Answers a stream that a peer opened, beside the actor.
    pub(super) fn receive(&self, Arrived { peer: from, protocol, stream }: Arrived) {
        let Some((of_peer, peer)) = self.connected.get(&from).zip(to_peer(&from)) else {
            return;
        };
        let slots = slots(&self.answers, &of_peer.answers);
        let (line, events) = (Arc::clone(&self.line), self.events.clone());
        let inbound = Inbound { peer, protocol, line, events };
        let to_self = self.to_self.clone();
        tokio::spawn(async move {
            if let Some(fault) = inbound.receive(stream, slots).await
                && let Some(actor) = to_self.upgrade()
            {
                // The actor may have ended; then nobody is banned any more.
                let _ = actor.send(Command::Misbehaved(from, PeerFault::Request(fault)));
            }
        });
    }

    /// Tells the driver, waiting for it: these facts must not be lost.
    pub(super) async fn tell(&mut self, event: NetworkEvent) {
        // Without a driver nobody is told, and the handles are about to go too.
        let _ = self.events.send(event).await;
    }
}
