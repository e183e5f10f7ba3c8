//! A libp2p peer of the test's own, which keeps to no rule: it speaks by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ketch_types::PeerId;
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Stream, StreamProtocol, Swarm, SwarmBuilder};
use libp2p::{identify, noise, ping, tcp, yamux};
use libp2p_stream::{Control, OpenStreamError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{CONTROL, MESHSUB, OUTLINE, OUTPUTS, PARTS};
use crate::net::node::{Node, PATIENCE, key};

/// A port of loopback that the system chooses.
pub(super) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(super) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// What a peer that can be asked for everything, and listens to gossip, speaks.
pub(super) const ALL: [&str; 5] = [CONTROL, OUTLINE, PARTS, OUTPUTS, MESHSUB];

/// A hostile peer, until it is dropped. It takes what is sent to it and answers nothing by itself,
/// but for ping and identify.
pub(super) struct Raw {
    pub(super) peer: PeerId,
    pub(super) keypair: Keypair,
    pub(super) address: Option<Multiaddr>,
    control: Control,
    dials: UnboundedSender<Multiaddr>,
    contacts: UnboundedReceiver<Contact>,
    accepted: BTreeMap<&'static str, UnboundedReceiver<Stream>>,
    remote: Option<libp2p::PeerId>,
    /// The other end's address, as it is seen from here.
    pub(super) remote_address: Option<Multiaddr>,
    swarm: AbortHandle,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    streams: libp2p_stream::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// What a raw peer sees of the one that it is connected to.
#[derive(Debug)]
enum Contact {
    Listening(Multiaddr),
    Opened(libp2p::PeerId, Multiaddr),
    Failed,
    /// A connection is closed, and there are others.
    OneClosed,
    Closed,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.swarm.abort();
    }
}

impl Raw {
    /// A peer with the key of this number, that says to speak these protocols.
    pub(super) fn new(number: u8, speaks: &[&'static str]) -> Self {
        let keypair = keypair(number);
        let mut swarm = swarm(keypair.clone());
        let mut control = swarm.behaviour().streams.new_control();
        let accepted = speaks.iter().map(|name| (*name, accept(&mut control, name))).collect();
        let (dials, mut to_dial) = unbounded_channel::<Multiaddr>();
        let (to_test, contacts) = unbounded_channel();
        let running = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = swarm.select_next_some() => {
                        if let Some(contact) = contact(event) {
                            // The test may have seen enough.
                            let _ = to_test.send(contact);
                        }
                    }
                    Some(address) = to_dial.recv() => {
                        // Port 0 is not dialed, but listened on.
                        if [TCP, QUIC].contains(&address.to_string().as_str()) {
                            swarm.listen_on(address).unwrap();
                        } else {
                            swarm.dial(address).unwrap();
                        }
                    }
                }
            }
        });
        let peer = key(number).peer().clone();
        Self {
            peer,
            keypair,
            address: None,
            control,
            dials,
            contacts,
            accepted,
            remote: None,
            remote_address: None,
            swarm: running.abort_handle(),
        }
    }

    /// A peer that speaks everything, connected to `node`.
    pub(super) async fn beside(number: u8, node: &mut Node) -> Self {
        let mut raw = Self::new(number, &ALL);
        raw.connect(node).await;
        raw
    }

    /// Connects to `node`, which takes note of it.
    pub(super) async fn connect(&mut self, node: &mut Node) {
        assert!(self.dial(node).await, "the node is not reached");
        node.connected(&self.peer).await;
    }

    /// Whether a connection to `node` comes about.
    pub(super) async fn dial(&mut self, node: &Node) -> bool {
        let address = ketch_net::address_text(&node.network.listening()[0]).unwrap();
        self.dials.send(address.parse().unwrap()).unwrap();
        match self.contact().await {
            Contact::Opened(remote, address) => self.is_connected(remote, address),
            Contact::Failed => return false,
            other => panic!("{other:?}"),
        }
        true
    }

    /// Waits for an address to listen on.
    pub(super) async fn listen(&mut self) -> Multiaddr {
        self.listen_on(TCP).await
    }

    /// The same, over [`TCP`] or over [`QUIC`].
    pub(super) async fn listen_on(&mut self, anywhere: &str) -> Multiaddr {
        self.dials.send(anywhere.parse().unwrap()).unwrap();
        let Contact::Listening(address) = self.contact().await else {
            panic!("something else than listening");
        };
        self.address = Some(address.clone());
        address
    }

    /// Waits for the other end to have connected.
    pub(super) async fn dialed(&mut self) {
        let Contact::Opened(remote, address) = self.contact().await else {
            panic!("something else than a connection");
        };
        self.is_connected(remote, address);
    }

    fn is_connected(&mut self, remote: libp2p::PeerId, address: Multiaddr) {
        (self.remote, self.remote_address) = (Some(remote), Some(address));
    }

    /// Waits for the end of one of several connections.
    pub(super) async fn is_refused_another(&mut self) {
        let contact = self.contact().await;
        assert!(matches!(contact, Contact::OneClosed), "{contact:?}");
    }

    /// Waits for the connection's end.
    pub(super) async fn cut_off(&mut self) {
        let contact = self.contact().await;
        assert!(matches!(contact, Contact::Closed), "{contact:?}");
    }

    /// Whether the connection was cut off so far.
    pub(super) fn is_cut_off(&mut self) -> bool {
        self.contacts.try_recv().is_ok()
    }

    async fn contact(&mut self) -> Contact {
        within_patience(self.contacts.recv()).await.unwrap()
    }

    /// A new stream of this protocol.
    pub(super) async fn open(&self, name: &'static str) -> Stream {
        self.opening(name).await.unwrap()
    }

    /// The same, which may fail, and which may go on beside others.
    pub(super) fn opening(
        &self,
        name: &'static str,
    ) -> impl Future<Output = Result<Stream, OpenStreamError>> + Send + 'static {
        let (mut control, remote) = (self.control.clone(), self.remote.unwrap());
        async move { within_patience(control.open_stream(remote, StreamProtocol::new(name))).await }
    }

    /// Opens a stream, says these bytes, and hears the answer.
    pub(super) async fn say(&self, name: &'static str, bytes: &[u8]) -> Heard {
        let mut stream = self.open(name).await;
        // Who is refused by the first bytes may not get rid of the last.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        hear(&mut stream).await
    }

    /// The next stream that the other opens, with the request's message.
    pub(super) async fn asked(&mut self, name: &'static str) -> (Vec<u8>, Stream) {
        let mut stream = self.accepted(name).await;
        let reading = async {
            let mut length = [0; 4];
            stream.read_exact(&mut length).await?;
            let mut message = vec![0; u32::from_le_bytes(length) as usize];
            stream.read_exact(&mut message).await?;
            Ok::<_, std::io::Error>(message)
        };
        (within_patience(reading).await.unwrap(), stream)
    }

    /// The next stream that the other opens, of which nothing is read.
    pub(super) async fn accepted(&mut self, name: &'static str) -> Stream {
        let accepted = self.accepted.get_mut(name).expect("the protocol is not spoken");
        within_patience(accepted.recv()).await.unwrap()
    }
}

/// What came on a stream until it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    /// Whether the other closed its side, and did not cut the stream off.
    pub(super) closed: bool,
}

/// Reads a stream to its end.
pub(super) async fn hear(stream: &mut Stream) -> Heard {
    let mut bytes = Vec::new();
    let closed = within_patience(stream.read_to_end(&mut bytes)).await.is_ok();
    Heard { bytes, closed }
}

pub(super) async fn within_patience<F: Future>(what: F) -> F::Output {
    timeout(PATIENCE, what).await.expect("what must happen has not")
}

/// libp2p's form of the key of the node with this number.
pub(super) fn keypair(number: u8) -> Keypair {
    Keypair::ed25519_from_bytes([number; 32]).unwrap()
}

fn swarm(keypair: Keypair) -> Swarm<Behaviour> {
    let behaviour = |key: &Keypair| Behaviour {
        streams: libp2p_stream::Behaviour::new(),
        identify: identify::Behaviour::new(identify::Config::new("raw/1".into(), key.public())),
        ping: ping::Behaviour::default(),
    };
    SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_quic()
        .with_behaviour(behaviour)
        .unwrap()
        // Whether a connection is kept is the node's affair.
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3_600)))
        .build()
}

/// Keeps all streams of a protocol: the library drops those that are not taken at once.
fn accept(control: &mut Control, name: &'static str) -> UnboundedReceiver<Stream> {
    let mut incoming = control.accept(StreamProtocol::new(name)).unwrap();
    let (to_test, accepted) = unbounded_channel();
    // Ends with the swarm.
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            let _ = to_test.send(stream);
        }
    });
    accepted
}

fn contact(event: SwarmEvent<BehaviourEvent>) -> Option<Contact> {
    match event {
        SwarmEvent::NewListenAddr { address, .. } => Some(Contact::Listening(address)),
        SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
            Some(Contact::Opened(peer_id, endpoint.get_remote_address().clone()))
        }
        SwarmEvent::OutgoingConnectionError { .. } => Some(Contact::Failed),
        SwarmEvent::ConnectionClosed { num_established: 0, .. } => Some(Contact::Closed),
        SwarmEvent::ConnectionClosed { .. } => Some(Contact::OneClosed),
        _ => None,
    }
}
