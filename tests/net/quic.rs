//! Nodes over QUIC, which TCP goes before.

use std::time::Duration;

use ketch_net::{AnswerError, Contact, NetworkConfig, Question};
use ketch_types::PartSet;
use ketch_wire::{PartsEnd, Refusal, Request, Response};
use tokio::time::Instant;

use super::answers::{parts, serve, take};
use super::finding::{EPOCH, SHARD, found, know};
use super::node::{Node, config};
use super::peers::{is_kept_out, is_refused_a_taken_port};
use super::state::State;

/// A node on loopback that listens on QUIC alone, at a port chosen by the system.
pub(super) fn quic_config() -> NetworkConfig {
    let mut config = config();
    config.listen = vec![ketch_net::parse_address("/ip4/127.0.0.1/udp/0/quic-v1").unwrap()];
    config
}

/// A node on QUIC alone whose contact is `other`, connected to it.
async fn beside(number: u8, other: &mut Node, mut config: NetworkConfig) -> Node {
    config.contacts = vec![other.contact()];
    let mut node = Node::with(number, config).await;
    node.connected(&other.peer).await;
    other.connected(&node.peer).await;
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_on_quic_alone_find_each_other_and_answer() {
    let mut meeting = Node::with(1, quic_config()).await;
    let mut holder = beside(2, &mut meeting, quic_config()).await;
    let mut seeker = beside(3, &mut meeting, quic_config()).await;
    know(&[&meeting, &holder, &seeker]);
    holder.network.provide(SHARD, EPOCH);
    assert_eq!(found(&seeker, SHARD, EPOCH).await, std::slice::from_ref(&holder.peer));
    seeker.connected(&holder.peer).await;

    let (network, peer) = (seeker.network.clone(), holder.peer.clone());
    let asking = tokio::spawn(async move { network.ask(&peer, &Request::Head).await });
    let (_, Question::Control(Request::Head, reply)) = holder.asked().await else {
        panic!("something else was asked");
    };
    reply.refuse(Refusal::NotHeld).await.unwrap();
    assert_eq!(asking.await.unwrap(), Ok(Response::Refusal(Refusal::NotHeld)));

    let state = State::of_entries(3_000);
    let wanted = PartSet::full(state.manifest.part_count());
    let (mut stream, answer) = parts(&seeker, &mut holder, &state, &wanted).await;
    let (taken, ()) = tokio::join!(take(&mut stream, &state), serve(answer, &state, &wanted));
    assert_eq!(taken, (wanted.clone(), PartsEnd::Sent { held: wanted }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_tcp_is_refused_quic_is_used() {
    let mut server = Node::with(1, quic_config()).await;
    let mut contact = server.contact();
    // A port that nobody listens on: the system gave it, and took it back.
    let closed = Node::start(9).await.network.listening().to_vec();
    contact.addresses.splice(0..0, closed);
    let client = Node::start(2).await;
    assert!(client.network.connect(contact).await);
    server.connected(&client.peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_banned_is_cut_off_and_not_let_in_over_quic_either() {
    is_kept_out(&quic_config(), Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_is_gone_though_its_streams_are_still_held() {
    let mut server = Node::with(1, quic_config()).await;
    let mut client = beside(2, &mut server, quic_config()).await;
    let (network, peer) = (client.network.clone(), server.peer.clone());
    let asking = tokio::spawn(async move { network.ask(&peer, &Request::Head).await });
    let question = server.asked().await;
    let peer = server.peer.clone();
    drop(server);
    assert_eq!(asking.await.unwrap(), Err(AnswerError::Closed));
    client.disconnected(&peer).await;
    drop(question);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_keep_to_the_limits_over_quic() {
    let state = State::of_entries(3_000);
    let wanted = PartSet::full(state.manifest.part_count());
    let bytes: usize = wanted.iter().map(|part| state.packed(part).bytes.len()).sum();
    let limit = Some(bytes as u64);
    for (upload, download) in [(limit, None), (None, limit)] {
        let mut limited = quic_config();
        (limited.upload_limit, limited.download_limit) = (upload, download);
        let mut server = Node::with(1, limited.clone()).await;
        let client = beside(2, &mut server, limited).await;
        let (mut stream, answer) = parts(&client, &mut server, &state, &wanted).await;
        let begun = Instant::now();
        let (taken, ()) = tokio::join!(take(&mut stream, &state), serve(answer, &state, &wanted));
        assert_eq!(taken.0, wanted);
        // A bucket that is full at first, and what is under way in buffers, come on top.
        assert!(begun.elapsed() > Duration::from_millis(400), "{:?}", begun.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_of_quic_that_is_taken_is_refused_with_its_address() {
    is_refused_a_taken_port(quic_config()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_on_both_is_reached_over_either() {
    let mut both = config();
    both.listen.extend(quic_config().listen);
    let mut server = Node::with(1, both).await;
    let contact = server.contact();
    assert_eq!(contact.addresses.len(), 2);
    for (number, address) in (2..).zip(contact.addresses.clone()) {
        let client = Node::start(number).await;
        let addresses = vec![address];
        assert!(client.network.connect(Contact { addresses, ..contact.clone() }).await);
        server.connected(&client.peer).await;
    }
}
