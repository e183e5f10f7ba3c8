//! What the DHT takes from strangers, and what they can do to a search.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ketch_types::{Epoch, PeerId, ShardId};
use libp2p::{Multiaddr, Stream};
use tokio::time::Instant;

use super::bytes::{bytes, fields, number, with_varint_length};
use super::raw::{ALL, Raw, hear, within_patience};
use super::{KAD, is_undisturbed};
use crate::net::node::{Node, config};

/// How long a search takes at most.
const SEARCH: Duration = Duration::from_secs(2);

const PUT_VALUE: u64 = 0;
const GET_VALUE: u64 = 1;
const ADD_PROVIDER: u64 = 2;
const GET_PROVIDERS: u64 = 3;
const FIND_NODE: u64 = 4;

const KNOWN: (ShardId, Epoch) = (ShardId(7), Epoch(5));
const UNKNOWN: (ShardId, Epoch) = (ShardId(7), Epoch(6));

/// A message of the DHT: its type, the key, and more fields.
fn message(kind: u64, key: &[u8], more: &[u8]) -> Vec<u8> {
    with_varint_length(&[number(1, kind), bytes(2, key), more.to_vec()].concat())
}

fn provider_key((shard, epoch): (ShardId, Epoch)) -> [u8; 32] {
    let context = blake3::hash(b"ketch.v1.providers");
    let named = [&[7; 32][..], &shard.0.to_le_bytes(), &epoch.0.to_le_bytes()].concat();
    *blake3::keyed_hash(context.as_bytes(), &named).as_bytes()
}

/// That this peer provides `key` at these addresses.
fn provider(key: &[u8], peer: &[u8], addresses: &[Multiaddr]) -> Vec<u8> {
    let addresses = addresses.iter().flat_map(|address| bytes(2, address.as_ref()));
    let peer = [bytes(1, peer), addresses.collect()].concat();
    message(ADD_PROVIDER, key, &bytes(9, &peer))
}

async fn say(stream: &mut Stream, message: &[u8]) {
    stream.write_all(message).await.unwrap();
    stream.flush().await.unwrap();
}

/// The next message's fields.
async fn reply(stream: &mut Stream) -> Vec<(u64, Vec<u8>)> {
    let read = async {
        let (mut length, mut shift) = (0, 0);
        loop {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            length |= usize::from(byte[0] & 127) << shift;
            shift += 7;
            if byte[0] < 128 {
                break;
            }
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message).await.unwrap();
        fields(&message)
    };
    within_patience(read).await
}

/// Enters a provider, and waits until that is done: the next message on the stream is answered.
async fn add_provider(raw: &Raw, key: &[u8], peer: &[u8], addresses: &[Multiaddr]) {
    let mut stream = raw.open(KAD).await;
    say(&mut stream, &provider(key, peer, addresses)).await;
    say(&mut stream, &message(FIND_NODE, key, &[])).await;
    reply(&mut stream).await;
}

/// Asks for peers near `key`, and waits for the answer.
async fn find(raw: &Raw, key: &[u8]) {
    let mut stream = raw.open(KAD).await;
    say(&mut stream, &message(FIND_NODE, key, &[])).await;
    reply(&mut stream).await;
}

/// Enters the peer itself.
async fn enter(raw: &Raw, key: &[u8], addresses: &[Multiaddr]) {
    add_provider(raw, key, raw.peer.as_bytes(), addresses).await;
}

/// Who provides `key`, and where.
async fn providers(raw: &Raw, key: &[u8]) -> Vec<(PeerId, Vec<Multiaddr>)> {
    let mut stream = raw.open(KAD).await;
    say(&mut stream, &message(GET_PROVIDERS, key, &[])).await;
    let providers = reply(&mut stream).await.into_iter().filter(|(field, _)| *field == 9);
    providers.map(|(_, provider)| peer_and_addresses(&provider)).collect()
}

fn peer_and_addresses(provider: &[u8]) -> (PeerId, Vec<Multiaddr>) {
    let fields = fields(provider);
    let of = |number| {
        fields.iter().filter(move |(field, _)| *field == number).map(|(_, bytes)| bytes.clone())
    };
    let peer = PeerId::new(&of(1).next().unwrap()).unwrap();
    (peer, of(2).map(|address| Multiaddr::try_from(address).unwrap()).collect())
}

/// A node that is in the DHT and knows of one epoch.
async fn server() -> Node {
    let server = Node::start(1).await;
    server.network.set_epochs(BTreeSet::from([KNOWN]));
    server
}

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_providers_that_are_asked_for_by_hand_are_those_that_are_entered() {
    let mut server = server().await;
    server.network.provide(KNOWN.0, KNOWN.1);
    let raw = Raw::beside(100, &mut server).await;
    let other = Raw::beside(101, &mut server).await;
    let lan = [address("/ip4/127.0.0.1/tcp/7600")];
    enter(&raw, &provider_key(KNOWN), &lan).await;
    let found = providers(&other, &provider_key(KNOWN)).await;
    let peers: BTreeSet<_> = found.iter().map(|(peer, _)| peer).collect();
    assert_eq!(peers, BTreeSet::from([&raw.peer, &server.peer]), "{found:?}");
    let (_, addresses) = found.iter().find(|(peer, _)| *peer == raw.peer).unwrap();
    let whole = format!("/ip4/127.0.0.1/tcp/7600/p2p/{}", raw.keypair.public().to_peer_id());
    assert_eq!(addresses, &[address(&whole)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_not_stored() {
    let mut server = server().await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let raw = Raw::beside(100, &mut server).await;
    for key in [&b"key"[..], &provider_key(KNOWN), server.peer.clone().as_bytes()] {
        let mut stream = raw.open(KAD).await;
        let record = bytes(3, &[bytes(1, key), bytes(2, b"value")].concat());
        say(&mut stream, &message(PUT_VALUE, key, &record)).await;
        // Whether that is answered is not said. A stream that is opened afterwards is read later.
        find(&raw, key).await;
        let other = Raw::beside(101, &mut server).await;
        let mut stream = other.open(KAD).await;
        say(&mut stream, &message(GET_VALUE, key, &[])).await;
        let found = reply(&mut stream).await;
        assert!(!found.iter().any(|(field, _)| *field == 3), "{found:?}");
        let peer = other.peer.clone();
        drop(other);
        server.disconnected(&peer).await;
    }
    is_undisturbed(&mut server, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_of_what_does_not_exist_are_not_told() {
    let mut server = server().await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let raw = Raw::beside(100, &mut server).await;
    let other = Raw::beside(101, &mut server).await;
    let lan = [address("/ip4/127.0.0.1/tcp/7600")];
    for key in [&provider_key(UNKNOWN)[..], b"key", b"", &[7; 4_000]] {
        enter(&raw, key, &lan).await;
        assert_eq!(providers(&other, key).await, vec![]);
    }
    // Nor are they once the epoch is over.
    enter(&raw, &provider_key(KNOWN), &lan).await;
    assert_eq!(providers(&other, &provider_key(KNOWN)).await.len(), 1);
    server.network.set_epochs(BTreeSet::from([UNKNOWN]));
    is_undisturbed(&mut server, &honest).await;
    assert_eq!(providers(&other, &provider_key(KNOWN)).await, vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_enters_itself_alone() {
    let mut server = server().await;
    let raw = Raw::beside(100, &mut server).await;
    let other = Raw::beside(101, &mut server).await;
    let lan = [address("/ip4/127.0.0.1/tcp/7600")];
    for peer in [server.peer.as_bytes(), Raw::new(102, &[]).peer.as_bytes()] {
        add_provider(&raw, &provider_key(KNOWN), peer, &lan).await;
    }
    // What is no peer at all ends the stream.
    for peer in [&b"junk"[..], b""] {
        let mut stream = raw.open(KAD).await;
        say(&mut stream, &provider(&provider_key(KNOWN), peer, &lan)).await;
        assert_eq!(hear(&mut stream).await.bytes, b"");
    }
    assert_eq!(providers(&other, &provider_key(KNOWN)).await, vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_providers_does_not_displace_the_node_itself() {
    let mut server = server().await;
    server.network.provide(KNOWN.0, KNOWN.1);
    let honest = Node::beside(2, &mut [&mut server]).await;
    let lan = [address("/ip4/127.0.0.1/tcp/7600")];
    let mut flood = Vec::new();
    for number in 100..200 {
        let raw = Raw::beside(number, &mut server).await;
        enter(&raw, &provider_key(KNOWN), &lan).await;
        flood.push(raw);
    }
    let other = Raw::beside(99, &mut server).await;
    let found = providers(&other, &provider_key(KNOWN)).await;
    assert!(found.iter().any(|(peer, _)| *peer == server.peer), "{found:?}");
    assert!(found.len() <= 20, "{found:?}");
    is_undisturbed(&mut server, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_a_provider_is_cut_down() {
    let mut server = server().await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let raw = Raw::beside(100, &mut server).await;
    let many: Vec<_> =
        (1..=100).map(|port| address(&format!("/ip4/127.0.0.1/tcp/{port}"))).collect();
    enter(&raw, &provider_key(KNOWN), &many).await;
    let other = Raw::beside(101, &mut server).await;
    let found = providers(&other, &provider_key(KNOWN)).await;
    let [(peer, addresses)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(*peer, raw.peer);
    assert!((1..=4).contains(&addresses.len()), "{addresses:?}");
    is_undisturbed(&mut server, &honest).await;
}

/// Somewhere that takes connections and says nothing.
fn black_hole() -> (std::net::TcpListener, Multiaddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, address(&format!("/ip4/127.0.0.1/tcp/{port}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn providers_that_are_nowhere_do_not_hold_up_a_search() {
    let mut server = server().await;
    server.network.provide(KNOWN.0, KNOWN.1);
    let (_listener, hole) = black_hole();
    for (number, addresses) in [
        (100, vec![address("/ip4/127.0.0.1/tcp/1")]),
        (101, vec![hole.clone()]),
        (102, vec![hole]),
        (103, vec![]),
    ] {
        let raw = Raw::beside(number, &mut server).await;
        let key = provider_key(KNOWN);
        enter(&raw, &key, &addresses).await;
        let peer = raw.peer.clone();
        drop(raw);
        server.disconnected(&peer).await;
    }
    let mut short = config();
    short.contacts = vec![server.contact()];
    short.timeouts.search = SEARCH;
    let mut seeker = Node::with(3, short).await;
    seeker.network.set_epochs(BTreeSet::from([KNOWN]));
    seeker.connected(&server.peer).await;
    assert_eq!(found_at_last(&seeker).await, vec![server.peer.clone()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_of_the_dht_that_answers_nothing_or_junk_does_not_hold_up_a_search() {
    let server = server().await;
    server.network.provide(KNOWN.0, KNOWN.1);
    let mut speaks = ALL.to_vec();
    speaks.push(KAD);
    let mut silent = Raw::new(100, &speaks);
    let mut short = config();
    short.contacts = vec![server.contact(), contact(&mut silent).await];
    short.timeouts.search = SEARCH;
    let seeker = Node::with(3, short).await;
    seeker.network.set_epochs(BTreeSet::from([KNOWN]));
    silent.dialed().await;
    // Junk on the first stream, nothing on all others.
    let junk = async {
        let mut stream = silent.accepted(KAD).await;
        let _ = stream.write_all(&[0xff; 99]).await;
        let _ = stream.flush().await;
        stream
    };
    let (found, _stream) = tokio::join!(found_at_last(&seeker), junk);
    assert_eq!(found, vec![server.peer.clone()]);
}

/// Searches until somebody is found: a peer is in the routing table a moment after its connection.
async fn found_at_last(seeker: &Node) -> Vec<PeerId> {
    let searching = async {
        loop {
            let begun = Instant::now();
            let found = seeker.network.search(KNOWN.0, KNOWN.1).await;
            assert!(begun.elapsed() < 2 * SEARCH, "{:?}", begun.elapsed());
            if !found.is_empty() {
                return found;
            }
        }
    };
    within_patience(searching).await
}

async fn contact(raw: &mut Raw) -> ketch_net::Contact {
    let address = raw.listen().await.to_string();
    let addresses = vec![ketch_net::parse_address(&address).unwrap()];
    ketch_net::Contact { peer: raw.peer.clone(), addresses }
}
