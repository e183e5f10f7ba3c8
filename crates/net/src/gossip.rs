//! Topics, their messages, and how gossipsub is set up for them.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ketch_types::{ChainId, ShardId};
use ketch_wire::limits::GOSSIP_BYTES_MAX;
use ketch_wire::{Announcement, Head, names};
use libp2p::PeerId;
use libp2p::gossipsub::{
    Behaviour, ConfigBuilder, IdentTopic, IdentityTransform, Message, MessageAuthenticity,
    MessageId, PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams, ValidationMode,
    WhitelistSubscriptionFilter,
};
use libp2p::identity::Keypair;

use crate::config::Timeouts;
use crate::error::StartError;
use crate::limits::GOSSIP_QUEUE_MAX;

/// What a message has around its content, its author, key, signature, number and topic, and as much of
/// the next message as is read with its end: gossipsub measures all that it has read, in pieces of
/// 8 KiB, before it decodes. *Units:* bytes.
const ENVELOPE_BYTES_MAX: usize = 16 << 10;

pub(crate) type Gossip = Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// The topics of one chain.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    chain: ChainId,
    heads: TopicHash,
}

/// What a message says, or what becomes of it.
#[derive(Debug)]
pub(crate) enum Gossiped {
    Head(Head),
    Announcement(Announcement),
    /// Nobody passes it on.
    Rejected,
    /// It is not passed on, without any consequence.
    Ignored,
}

impl Topics {
    pub(crate) fn of_chain(chain: ChainId) -> Self {
        let heads = IdentTopic::new(names::heads_topic(&chain)).hash();
        Self { chain, heads }
    }

    pub(crate) fn heads(&self) -> TopicHash {
        self.heads.clone()
    }

    pub(crate) fn held(&self, shard: ShardId) -> TopicHash {
        IdentTopic::new(names::held_topic(&self.chain, shard)).hash()
    }

    /// Reads a message of one of the topics, as far as it can be judged without the chain.
    pub(crate) fn read(&self, message: &Message) -> Gossiped {
        if message.topic == self.heads {
            return Head::decode_gossip(&message.data).map_or(Gossiped::Rejected, Gossiped::Head);
        }
        match Announcement::decode(&message.data) {
            Ok(announcement) if self.held(announcement.holding.shard()) != message.topic => {
                Gossiped::Rejected
            }
            Ok(announcement) if announcement.check_expiry(now_ms()).is_err() => Gossiped::Ignored,
            Ok(announcement) => Gossiped::Announcement(announcement),
            Err(_) => Gossiped::Rejected,
        }
    }

    fn all(&self) -> Vec<String> {
        names::held_topics(&self.chain).chain([names::heads_topic(&self.chain)]).collect()
    }
}

/// Gossip over the topics: signed, judged before it is passed on, scored.
pub(crate) fn gossip(
    topics: &Topics,
    keypair: &Keypair,
    timeouts: &Timeouts,
) -> Result<Gossip, StartError> {
    let refused = |error: &dyn std::fmt::Display| StartError::Setup(error.to_string());
    let heads = topics.heads();
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(move |message| message_id(&heads, message))
        .max_transmit_size(GOSSIP_BYTES_MAX + ENVELOPE_BYTES_MAX)
        .connection_handler_queue_len(GOSSIP_QUEUE_MAX)
        .heartbeat_interval(timeouts.gossip_heartbeat)
        .heartbeat_initial_delay(timeouts.gossip_heartbeat / 2)
        .build()
        .map_err(|error| refused(&error))?;
    let all: Vec<_> = topics.all().into_iter().map(IdentTopic::new).collect();
    let filter = WhitelistSubscriptionFilter(all.iter().map(IdentTopic::hash).collect());
    let authenticity = MessageAuthenticity::Signed(keypair.clone());
    let mut gossip = Gossip::new_with_subscription_filter(authenticity, config, filter)
        .map_err(|error| refused(&error))?;
    let scores = score_params(all.iter().map(IdentTopic::hash));
    gossip
        .with_peer_score(scores, PeerScoreThresholds::default())
        .map_err(|error| refused(&error))?;
    for topic in &all {
        gossip.subscribe(topic).map_err(|error| refused(&error))?;
    }
    Ok(gossip)
}

/// A head is itself, whoever passes it on. An announcement is its author's: with an id of the content
/// alone, whoever signs another's words first would keep the original from being passed on.
fn message_id(heads: &TopicHash, message: &Message) -> MessageId {
    let author = if message.topic == *heads { None } else { message.source };
    let author = author.map(PeerId::to_bytes).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(message.topic.as_str().len() as u64).to_le_bytes());
    hasher.update(message.topic.as_str().as_bytes());
    hasher.update(&(author.len() as u64).to_le_bytes());
    hasher.update(&author);
    hasher.update(&message.data);
    MessageId::from(hasher.finalize().as_bytes().to_vec())
}

/// Invalid messages cost trust. Few messages do not: a topic may be silent for an hour.
fn score_params(topics: impl Iterator<Item = TopicHash>) -> PeerScoreParams {
    let of_topic = TopicScoreParams {
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_weight: 0.01,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -50.0,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: topics.map(|topic| (topic, of_topic.clone())).collect::<HashMap<_, _>>(),
        ip_colocation_factor_whitelist: HashSet::from([
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::LOCALHOST.into(),
        ]),
        ..PeerScoreParams::default()
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
