//! Connections: who is connected, for how long, and who is not let in.

use std::time::Duration;

use ketch_net::{AnswerError, Contact, Network, NetworkConfig, NetworkEvent, Question, StartError};
use ketch_types::ChainId;
use ketch_wire::{Refusal, Request, Response};

use super::node::{Node, PATIENCE, config, key};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_ends_hear_of_a_connection_and_of_its_end() {
    let mut server = Node::start(1).await;
    let client = Node::beside(2, &mut [&mut server]).await;
    let peer = client.peer.clone();
    drop(client);
    server.disconnected(&peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_that_comes_back_is_connected_again() {
    let server = Node::start(1).await;
    let contact = server.contact();
    let mut again = config();
    again.listen = contact.addresses.clone();
    let mut with_contact = config();
    with_contact.contacts = vec![contact.clone()];
    let mut client = Node::with(2, with_contact).await;
    client.connected(&contact.peer).await;
    drop(server);
    client.disconnected(&contact.peer).await;
    let _server = restarted(1, again).await;
    client.connected(&contact.peer).await;
}

/// A node on a port that another has just left; the system may need a moment.
async fn restarted(number: u8, config: NetworkConfig) -> Node {
    let started = async {
        loop {
            match Node::try_with(number, config.clone()).await {
                Ok(node) => return node,
                Err(StartError::Listen { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, started).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_banned_is_cut_off_and_not_let_in_until_the_ban_is_over() {
    is_kept_out(&config(), Duration::from_secs(2)).await;
}

/// Between two nodes of this configuration, a ban cuts off and keeps out for so long.
pub(super) async fn is_kept_out(config: &NetworkConfig, lasting: Duration) {
    let mut server = Node::with(1, config.clone()).await;
    let mut dials = config.clone();
    dials.contacts = vec![server.contact()];
    let mut client = Node::with(2, dials).await;
    client.connected(&server.peer).await;
    server.connected(&client.peer).await;
    server.network.ban(&client.peer, lasting);
    let banned = tokio::time::Instant::now();
    client.disconnected(&server.peer).await;
    server.disconnected(&client.peer).await;
    // The contact is dialed again and again meanwhile.
    server.connected(&client.peer).await;
    assert!(banned.elapsed() >= lasting);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_connected_is_not_asked() {
    let client = Node::start(1).await;
    let nobody = key(9).peer().clone();
    let refused = client.network.ask(&nobody, &Request::Head).await;
    assert_eq!(refused, Err(AnswerError::NotConnected));
    let contact = Contact { peer: nobody, addresses: vec![] };
    assert!(!client.network.connect(contact).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_connected_to_by_its_address_and_once() {
    let mut server = Node::start(1).await;
    let client = Node::start(2).await;
    assert!(client.network.connect(server.contact()).await);
    assert!(client.network.connect(server.contact()).await);
    server.connected(&client.peer).await;
    let connections = server.so_far();
    assert!(!connections.iter().any(|event| matches!(event, NetworkEvent::Connected(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_not_connected_to_under_anothers_name() {
    let server = Node::start(1).await;
    let mut client = Node::start(2).await;
    let impostor = Contact { peer: key(9).peer().clone(), ..server.contact() };
    assert!(!client.network.connect(impostor.clone()).await);
    // The other side may have taken the connection for one for a moment; this one never did.
    assert!(!client.so_far().iter().any(|event| matches!(event, NetworkEvent::Connected(_))));
    let asked = client.network.ask(&impostor.peer, &Request::Head).await;
    assert_eq!(asked, Err(AnswerError::NotConnected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_of_another_chain_is_sent_away() {
    let mut server = Node::start(1).await;
    let mut other = config();
    other.chain = ChainId::new([8; 32]);
    let mut client = Node::with(2, other).await;
    assert!(client.network.connect(server.contact()).await);
    client.disconnected(&server.peer).await;
    server.disconnected(&client.peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_node_lets_nobody_in() {
    let mut full = config();
    full.connections_max = 1;
    let mut server = Node::with(1, full).await;
    let _first = Node::beside(2, &mut [&mut server]).await;
    let second = Node::start(3).await;
    // The connection may be there for a moment on the dialing side, which then asks in vain.
    if second.network.connect(server.contact()).await {
        let answer = second.network.ask(&server.peer, &Request::Head).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    let events = server.so_far();
    assert!(!events.iter().any(|event| matches!(event, NetworkEvent::Connected(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_refused_with_its_address() {
    is_refused_a_taken_port(config()).await;
}

/// A second node on the port of one of this configuration does not start, and names the address.
pub(super) async fn is_refused_a_taken_port(config: NetworkConfig) {
    let server = Node::with(1, config.clone()).await;
    let mut taken = config;
    taken.listen = server.network.listening().to_vec();
    let refused = Network::start(taken, &key(2)).await.err().unwrap();
    let address = ketch_net::address_text(&server.network.listening()[0]).unwrap();
    assert!(refused.to_string().contains(&address), "{refused}");
}

/// How many questions a peer is asked at the same time.
const ASKED_AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_a_peer_for_too_much_at_once_waits_for_its_turn_and_holds_up_nobody() {
    let mut server = Node::start(1).await;
    let client = Node::beside(2, &mut [&mut server]).await;
    let ask = |from: &Node| {
        let (network, peer) = (from.network.clone(), server.peer.clone());
        tokio::spawn(async move { network.ask(&peer, &Request::Head).await })
    };
    let asking: Vec<_> = (0..=ASKED_AT_ONCE).map(|_| ask(&client)).collect();
    let other = Node::start(3).await;
    assert!(other.network.connect(server.contact()).await);
    let others = ask(&other);
    let mut questions = Vec::new();
    for _ in 0..=ASKED_AT_ONCE {
        let (who, Question::Control(Request::Head, reply)) = server.asked().await else {
            panic!("something else was asked");
        };
        questions.push((who, reply));
    }
    // As many of the one as it may ask, and the other's, which did not wait behind the last.
    assert!(questions.iter().any(|(who, _)| *who == other.peer));
    for (_, reply) in questions {
        reply.refuse(Refusal::NotHeld).await.unwrap();
    }
    let (who, Question::Control(Request::Head, reply)) = server.asked().await else {
        panic!("something else was asked");
    };
    assert_eq!(who, client.peer);
    reply.refuse(Refusal::NotHeld).await.unwrap();
    for asked in asking.into_iter().chain([others]) {
        assert_eq!(asked.await.unwrap(), Ok(Response::Refusal(Refusal::NotHeld)));
    }
}
