//! Peers by hand over QUIC, and by which transport a node reaches who has both.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use ketch_net::{Contact, NetworkConfig, parse_address};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use tokio::time::timeout;

use super::raw::{QUIC, Raw, TCP};
use super::requests::{has_all_slots, says_nothing};
use super::{CONTROL, OUTLINE, is_undisturbed};
use crate::net::node::{Node, config};
use crate::net::quic::quic_config;

/// Streams of one connection that its dialer may have open at once.
const STREAMS_MAX: usize = 128;

fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::QuicV1)
}

/// The address at which `raw` sees a node that is told these of it.
async fn reached_by(raw: &mut Raw, addresses: &[Multiaddr], config: NetworkConfig) -> Multiaddr {
    let node = Node::with(1, config).await;
    let parsed = addresses.iter().map(|address| parse_address(&address.to_string()).unwrap());
    let contact = Contact { peer: raw.peer.clone(), addresses: parsed.collect() };
    assert!(node.network.connect(contact).await);
    raw.dialed().await;
    raw.remote_address.clone().unwrap()
}

/// An address of TCP that leads to another, a third of a second away: QUIC would long be there.
fn behind_a_delay(address: &Multiaddr) -> Multiaddr {
    let Some(Protocol::Tcp(port)) = address.iter().nth(1) else {
        panic!("{address} is not of TCP");
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = of_tcp(&listener);
    thread::spawn(move || {
        let (near, _) = listener.accept().unwrap();
        thread::sleep(Duration::from_millis(333));
        let far = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        let (mut back, mut forth) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        // Each ends with the connection, however that ends.
        thread::spawn(move || std::io::copy(&mut &far, &mut back));
        let _ = std::io::copy(&mut &near, &mut forth);
    });
    here
}

fn of_tcp(listener: &TcpListener) -> Multiaddr {
    let port = listener.local_addr().unwrap().port();
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_both_is_reached_by_tcp() {
    let mut raw = Raw::new(100, &[CONTROL]);
    let addresses = [raw.listen_on(QUIC).await, behind_a_delay(&raw.listen_on(TCP).await)];
    let mut patient = config();
    // A tenth of it is how far TCP is ahead: much longer than anything on a busy machine.
    patient.timeouts.connect = Duration::from_secs(100);
    let seen = reached_by(&mut raw, &addresses, patient).await;
    assert!(!is_quic(&seen), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_over_tcp_is_reached_by_quic() {
    let mut raw = Raw::new(100, &[CONTROL]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = [of_tcp(&silent), raw.listen_on(QUIC).await];
    let seen = reached_by(&mut raw, &addresses, config()).await;
    assert!(is_quic(&seen), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_streams_over_quic_and_says_nothing_loses_them() {
    says_nothing(quic_config()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_too_many_streams_over_quic_opens_no_more() {
    let mut server = Node::with(1, quic_config()).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let mut raw = Raw::beside(100, &mut server).await;
    assert!(is_quic(raw.remote_address.as_ref().unwrap()));
    let mut streams = Vec::new();
    let waiting = loop {
        let mut opening = tokio::spawn(raw.opening(OUTLINE));
        match timeout(Duration::from_secs(2), &mut opening).await {
            Ok(opened) => streams.push(opened.unwrap().unwrap()),
            // Those of ping and identify count too.
            Err(_) if streams.len() >= STREAMS_MAX - 8 => break opening,
            // The machine is busy.
            Err(_) => streams.push(opening.await.unwrap().unwrap()),
        }
        assert!(streams.len() <= STREAMS_MAX);
    };
    is_undisturbed(&mut server, &honest).await;
    assert!(!waiting.is_finished());
    drop(streams);
    waiting.await.unwrap().unwrap();
    has_all_slots(&mut raw, &mut server).await;
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
}
