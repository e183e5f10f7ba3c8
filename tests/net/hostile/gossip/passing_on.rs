//! What is passed on, once it is judged, and how often and how long it may be.

use std::time::Duration;

use ketch_net::{Delivery, Judgement, NetworkEvent, PeerFault};
use ketch_types::ShardId;
use ketch_wire::{Announcement, Head, LedgerBytes};
use libp2p::Stream;
use tokio::time::timeout;

use super::super::bytes::bytes;
use super::super::raw::{Raw, keypair};
use super::super::{HEADS, MESHSUB, is_banned, is_undisturbed, text};
use super::{
    GOSSIP_BYTES_MAX, HOUR, Signed, announced, announced_where, announcement, deliver, held_topic,
    message, three,
};
use crate::net::node::{Node, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_rejected_costs_its_deliverer_the_connection_and_what_is_not_does_not() {
    let (mut server, mut honest, mut raw) = three().await;
    let mut stream = raw.open(MESHSUB).await;
    passes_on(&mut server, &mut honest, &raw, &mut stream).await;
    let author = keypair(99);
    let mut deliveries = Vec::new();
    for shard in 1..=3 {
        let data = announcement(shard, HOUR / 2).encode();
        let message = message(&author, shard.into(), &held_topic(shard), &data, Signed::Well);
        deliver(&mut stream, &message).await;
        let (by, _, delivery) = announced(&mut server).await;
        assert_eq!(&by, key(99).peer());
        deliveries.push(delivery);
    }
    let [ignored, accepted, rejected] = deliveries.try_into().unwrap();
    server.network.judge(ignored, Judgement::Ignore);
    server.network.judge(accepted, Judgement::Accept);
    let (by, passed_on, delivery) = announced_where(&mut honest, is_of_interest).await;
    assert_eq!((&by, passed_on.holding.shard()), (key(99).peer(), ShardId(2)));
    honest.network.judge(delivery, Judgement::Accept);
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
    server.network.judge(rejected, Judgement::Reject);
    is_banned(&mut raw, &mut server, &honest, |fault| *fault == PeerFault::Gossip).await;
    has_heard_nothing(&mut honest);
}

/// Waits until `server` passes on to `honest` what is accepted, on every topic that is used here: who
/// has just come hears of nothing before it is taken into a topic's mesh.
async fn passes_on(server: &mut Node, honest: &mut Node, raw: &Raw, stream: &mut Stream) {
    for shard in (1..=3).map(|topic| FIRST_OF_NO_INTEREST + topic) {
        for sequence in 1.. {
            let mut trial = announcement(shard, HOUR / 2);
            trial.sequence = sequence;
            let (topic, data) = (held_topic(shard % 16), trial.encode());
            deliver(stream, &message(&raw.keypair, sequence, &topic, &data, Signed::Well)).await;
            let (_, _, delivery) = announced(server).await;
            server.network.judge(delivery, Judgement::Accept);
            let heard = announced_where(honest, |found| found.holding.shard() == ShardId(shard));
            if timeout(Duration::from_millis(100), heard).await.is_ok() {
                break;
            }
        }
    }
}

/// Shards from this one on are announced only to see whether anything is passed on.
const FIRST_OF_NO_INTEREST: u32 = 16;

fn is_of_interest(announcement: &Announcement) -> bool {
    announcement.holding.shard() < ShardId(FIRST_OF_NO_INTEREST)
}

/// Nothing has been passed on to `node` that the test has not seen.
fn has_heard_nothing(node: &mut Node) {
    for event in node.so_far() {
        let is_trial = matches!(&event, NetworkEvent::Announced { announcement, .. }
            if !is_of_interest(announcement));
        assert!(is_trial, "{}", text(&event));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_judgement_is_not_passed_on() {
    let (mut server, mut honest, raw) = three().await;
    let mut stream = raw.open(MESHSUB).await;
    passes_on(&mut server, &mut honest, &raw, &mut stream).await;
    for shard in [1, 2] {
        let data = announcement(shard, HOUR / 2).encode();
        let message = message(&raw.keypair, shard.into(), &held_topic(shard), &data, Signed::Well);
        deliver(&mut stream, &message).await;
    }
    let _waits = announced(&mut server).await;
    let (_, _, accepted) = announced(&mut server).await;
    server.network.judge(accepted, Judgement::Accept);
    let (_, passed_on, _) = announced_where(&mut honest, is_of_interest).await;
    assert_eq!(passed_on.holding.shard(), ShardId(2));
    has_heard_nothing(&mut honest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_is_told_once_however_often_it_comes() {
    let (mut server, honest, mut raw) = three().await;
    let mut other = Raw::beside(101, &mut server).await;
    let data = announcement(1, HOUR / 2).encode();
    let message = message(&raw.keypair, 1, &held_topic(1), &data, Signed::Well);
    for raw in [&mut raw, &mut other] {
        let mut stream = raw.open(MESHSUB).await;
        for _ in 0..3 {
            deliver(&mut stream, &message).await;
        }
        // Another message follows on the same stream.
        let last = announcement(2, HOUR / 2).encode();
        let last = super::message(&raw.keypair, 2, &held_topic(2), &last, Signed::Well);
        deliver(&mut stream, &last).await;
    }
    let mut shards = [0; 3];
    for seen in &mut shards {
        *seen = announced(&mut server).await.1.holding.shard().0;
    }
    shards.sort_unstable();
    assert_eq!(shards, [1, 2, 2]);
    is_undisturbed(&mut server, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_messages_are_taken_one_after_the_other() {
    let (mut server, honest, mut raw) = three().await;
    let mut stream = raw.open(MESHSUB).await;
    let mut sent = Vec::new();
    for sequence in 1..=8 {
        let head = bytes(1, &vec![sequence; GOSSIP_BYTES_MAX - 4]);
        assert_eq!(head.len(), GOSSIP_BYTES_MAX);
        sent.extend(message(&raw.keypair, sequence.into(), HEADS, &head, Signed::Well));
    }
    // In one piece, so that the next message's beginning comes with a message's end.
    deliver(&mut stream, &sent).await;
    for sequence in 1..=8 {
        let (head, delivery) = gossiped(&mut server).await;
        assert_eq!(head.signed_ledger_info.0[0], sequence);
        server.network.judge(delivery, Judgement::Ignore);
    }
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_author_of_long_messages_goes_on_being_heard() {
    let mut server = Node::start(1).await;
    let author = Node::beside(2, &mut [&mut server]).await;
    let head = |number: u8, bytes: usize| Head {
        signed_ledger_info: LedgerBytes(vec![number; bytes]),
        block: LedgerBytes(vec![]),
    };
    // Who is not yet known to listen is not published to.
    let mut heard = None;
    while heard.is_none() {
        author.network.publish_head(&head(0, 1)).unwrap();
        heard = timeout(Duration::from_millis(100), gossiped(&mut server)).await.ok();
    }
    for number in 1..=8 {
        author.network.publish_head(&head(number, GOSSIP_BYTES_MAX - 4)).unwrap();
    }
    for number in 1..=8 {
        assert_eq!(gossiped(&mut server).await.0.signed_ledger_info.0[0], number);
    }
}

/// The next head at a node where nothing else happens.
async fn gossiped(node: &mut Node) -> (Head, Delivery) {
    node.until(|event| match event {
        NetworkEvent::HeadGossiped { head, delivery } => Some((head, delivery)),
        event => panic!("{}", text(&event)),
    })
    .await
}
