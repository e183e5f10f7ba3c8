//! Gossip that nobody passes on, and who is blamed for it.

mod passing_on;

use std::time::{Duration, SystemTime};

use futures::io::AsyncWriteExt as _;
use ketch_net::{Delivery, Judgement, NetworkEvent, PeerFault};
use ketch_types::{Epoch, PartSet, PeerId, ShardId, StateRoot};
use ketch_wire::{Announcement, Holding};
use libp2p::Stream;
use libp2p::identity::Keypair;
use tokio::time::timeout;

use super::bytes::{bytes, with_varint_length};
use super::raw::{Raw, keypair, within_patience};
use super::{HEADS, HELD, MESHSUB, is_banned, is_undisturbed, text};
use crate::net::node::{Node, key};

const HOUR: Duration = Duration::from_secs(3_600);
const GOSSIP_BYTES_MAX: usize = 262_144;

/// What is wrong with a message beside its data.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signed {
    Well,
    NotAtAll,
    Badly,
    WithoutAuthor,
    WithoutSequence,
}

/// A gossip message, as gossipsub sends it.
fn message(author: &Keypair, sequence: u64, topic: &str, data: &[u8], signed: Signed) -> Vec<u8> {
    let from = bytes(1, &author.public().to_peer_id().to_bytes());
    let mut fields = bytes(2, data);
    if !matches!(signed, Signed::NotAtAll | Signed::WithoutAuthor) {
        fields.splice(0..0, from);
    }
    if !matches!(signed, Signed::NotAtAll | Signed::WithoutSequence) {
        fields.extend(bytes(3, &sequence.to_be_bytes()));
    }
    fields.extend(bytes(4, topic.as_bytes()));
    let mut signature = author.sign(&[b"libp2p-pubsub:", &fields[..]].concat()).unwrap();
    if signed == Signed::Badly {
        signature[9] ^= 1;
    }
    if signed != Signed::NotAtAll {
        fields.extend(bytes(5, &signature));
    }
    with_varint_length(&bytes(2, &fields))
}

async fn deliver(stream: &mut Stream, message: &[u8]) {
    let sending = async {
        stream.write_all(message).await?;
        stream.flush().await
    };
    within_patience(sending).await.unwrap();
}

fn held_topic(bucket: u32) -> String {
    format!("{HELD}/{bucket}")
}

/// That all of a shard's parts are held, for so long.
fn announcement(shard: u32, lasting: Duration) -> Announcement {
    let root = StateRoot::new([7; 32]);
    let holding = Holding::new(ShardId(shard), Epoch(5), root, 1, PartSet::full(9)).unwrap();
    let expires = SystemTime::UNIX_EPOCH.elapsed().unwrap() + lasting;
    Announcement { holding, sequence: 1, expires_at_ms: expires.as_millis() as u64 }
}

/// Who announces what next, at a node where nothing else happens.
async fn announced(node: &mut Node) -> (PeerId, Announcement, Delivery) {
    announced_where(node, |_| true).await
}

/// The same, of announcements of this kind.
async fn announced_where(
    node: &mut Node,
    is_it: impl Fn(&Announcement) -> bool,
) -> (PeerId, Announcement, Delivery) {
    node.until(|event| match event {
        NetworkEvent::Announced { author, announcement, delivery } => {
            is_it(&announcement).then_some((author, announcement, delivery))
        }
        event => panic!("{}", text(&event)),
    })
    .await
}

/// A node, an honest one beside it, and a hostile one.
async fn three() -> (Node, Node, Raw) {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let raw = Raw::beside(100, &mut server).await;
    (server, honest, raw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_delivers_what_nobody_passes_on_is_banned_whoever_its_author_is() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let longer = |by: usize| bytes(1, &vec![7; GOSSIP_BYTES_MAX - 4 + by]);
    assert_eq!(longer(1).len(), GOSSIP_BYTES_MAX + 1);
    let cases = [
        (HEADS.into(), vec![0xff; 9]),
        (held_topic(1), vec![0xff; 9]),
        (held_topic(1), vec![]),
        (HEADS.into(), longer(1)),
        (HEADS.into(), longer(256)),
        (held_topic(2), announcement(1, HOUR / 2).encode()),
        (HEADS.into(), announcement(1, HOUR / 2).encode()),
    ];
    for (number, (topic, data)) in (100..).zip(cases) {
        let mut raw = Raw::beside(number, &mut server).await;
        let author = if number % 2 == 0 { raw.keypair.clone() } else { keypair(99) };
        let mut stream = raw.open(MESHSUB).await;
        deliver(&mut stream, &message(&author, number.into(), &topic, &data, Signed::Well)).await;
        is_banned(&mut raw, &mut server, &honest, |fault| *fault == PeerFault::Gossip).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_signed_is_not_taken() {
    let (mut server, honest, raw) = three().await;
    let mut stream = raw.open(MESHSUB).await;
    let cases = [Signed::NotAtAll, Signed::Badly, Signed::WithoutAuthor, Signed::WithoutSequence];
    for signed in cases {
        let data = announcement(1, HOUR / 2).encode();
        deliver(&mut stream, &message(&raw.keypair, 1, &held_topic(1), &data, signed)).await;
    }
    let other = Raw::beside(101, &mut server).await;
    let good = announcement(1, HOUR / 2);
    let well = message(&raw.keypair, 2, &held_topic(1), &good.encode(), Signed::Well);
    deliver(&mut other.open(MESHSUB).await, &well).await;
    let (author, found, _) = announced(&mut server).await;
    assert_eq!((author, found), (raw.peer.clone(), good));
    is_undisturbed(&mut server, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_far_too_long_is_not_read() {
    let (mut server, honest, raw) = three().await;
    let mut stream = raw.open(MESHSUB).await;
    let data = bytes(1, &vec![7; 4 << 20]);
    let message = message(&raw.keypair, 1, HEADS, &data, Signed::Well);
    let delivering = tokio::spawn(async move { stream.write_all(&message).await });
    is_undisturbed(&mut server, &honest).await;
    let delivered = timeout(Duration::from_secs(1), delivering).await;
    assert!(!matches!(delivered, Ok(Ok(Ok(())))), "all of it was taken");
    is_undisturbed(&mut server, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_or_expires_too_far_ahead_is_ignored() {
    let (mut server, honest, mut raw) = three().await;
    let mut stream = raw.open(MESHSUB).await;
    let mut long_ago = announcement(1, HOUR);
    long_ago.expires_at_ms = 1;
    let mut never = announcement(1, HOUR);
    never.expires_at_ms = u64::MAX;
    let good = announcement(1, HOUR / 2);
    let all = [long_ago, announcement(1, 2 * HOUR), never, good.clone()];
    for (sequence, announcement) in (1..).zip(&all) {
        let data = announcement.encode();
        let message = message(&raw.keypair, sequence, &held_topic(1), &data, Signed::Well);
        deliver(&mut stream, &message).await;
    }
    let (author, found, _) = announced(&mut server).await;
    assert_eq!((author, found), (raw.peer.clone(), good));
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_other_topics_are_nobodys_affair() {
    let (mut server, honest, mut raw) = three().await;
    let mut stream = raw.open(MESHSUB).await;
    let other_chain = HEADS.replace("07", "08");
    let other_version = HEADS.replace("/1/", "/2/");
    let topics =
        ["foreign", "", &other_chain, &other_version, &held_topic(16), HELD, &held_topic(u32::MAX)];
    for (sequence, topic) in (1..).zip(topics) {
        let data = announcement(0, HOUR / 2).encode();
        let message = message(&raw.keypair, sequence, topic, &data, Signed::Well);
        deliver(&mut stream, &message).await;
    }
    let good = announcement(1, HOUR / 2);
    let last = message(&raw.keypair, 99, &held_topic(1), &good.encode(), Signed::Well);
    deliver(&mut stream, &last).await;
    assert_eq!(announced(&mut server).await.1, good);
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_announcement_of_another_author_is_that_authors() {
    let (mut server, honest, mut raw) = three().await;
    let mut stream = raw.open(MESHSUB).await;
    let same = announcement(1, HOUR / 2);
    // The sequence numbers of gossip are the authors' own: all may be the same, too.
    for (number, sequence) in [(100, 1), (99, 1), (98, 2)] {
        let message =
            message(&keypair(number), sequence, &held_topic(1), &same.encode(), Signed::Well);
        deliver(&mut stream, &message).await;
        let (author, found, delivery) = announced(&mut server).await;
        assert_eq!((&author, &found), (key(number).peer(), &same));
        server.network.judge(delivery, Judgement::Ignore);
    }
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_banned_peer_wrote_is_not_taken_and_its_bearer_is_not_blamed() {
    let (mut server, honest, mut raw) = three().await;
    let mut stream = raw.open(MESHSUB).await;
    deliver(&mut stream, &message(&raw.keypair, 1, HEADS, &[0xff; 9], Signed::Well)).await;
    is_banned(&mut raw, &mut server, &honest, |fault| *fault == PeerFault::Gossip).await;
    let mut bearer = Raw::beside(101, &mut server).await;
    let mut stream = bearer.open(MESHSUB).await;
    let good = announcement(1, HOUR / 2);
    for (sequence, author) in [(2, &raw.keypair), (3, &bearer.keypair)] {
        let data = good.encode();
        let message = message(author, sequence, &held_topic(1), &data, Signed::Well);
        deliver(&mut stream, &message).await;
    }
    let (author, found, _) = announced(&mut server).await;
    assert_eq!((author, found), (bearer.peer.clone(), good));
    is_undisturbed(&mut server, &honest).await;
    assert!(!bearer.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_gossip_that_are_none_disturb_nobody() {
    let (mut server, honest, mut raw) = three().await;
    let cases = [
        vec![0xff; 64],
        with_varint_length(&[0xff; 64]),
        with_varint_length(&bytes(1, &[0xff; 64])),
        // A thousand subscriptions, and a thousand messages that are asked for.
        with_varint_length(&subscriptions(1_000)),
        with_varint_length(&bytes(3, &bytes(2, &bytes(1, &[7; 32]).repeat(400)))),
    ];
    for case in cases {
        let mut stream = raw.open(MESHSUB).await;
        // The stream may be cut off before all of it is taken.
        let _ = within_patience(stream.write_all(&case)).await;
        let _ = within_patience(stream.flush()).await;
        is_undisturbed(&mut server, &honest).await;
    }
    assert!(!raw.is_cut_off());
}

/// That so many topics are subscribed to.
fn subscriptions(count: usize) -> Vec<u8> {
    let topic = |number| [super::bytes::number(1, 1), bytes(2, format!("{number}").as_bytes())];
    (0..count).flat_map(|number| bytes(1, &topic(number).concat())).collect()
}
