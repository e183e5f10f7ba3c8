//! A node on loopback, as tests drive it.

use std::time::Duration;

use ketch_net::{Contact, Network, NetworkConfig, NetworkEvent, NodeKey, StartError};
use ketch_types::{ChainId, PeerId};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a test waits for what must happen: many times what it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const CHAIN: ChainId = ChainId::new([7; 32]);

/// A node that takes part, all of whose events are kept until the test asks for them.
pub(crate) struct Node {
    pub(crate) network: Network,
    pub(crate) peer: PeerId,
    events: mpsc::UnboundedReceiver<NetworkEvent>,
}

/// The key of the node with this number.
pub(crate) fn key(number: u8) -> NodeKey {
    NodeKey::from_secret(&mut [number; 32]).unwrap()
}

/// A node on loopback, with a port chosen by the system.
pub(crate) fn config() -> NetworkConfig {
    let mut config = NetworkConfig::new(CHAIN);
    config.listen = vec![ketch_net::parse_address("/ip4/127.0.0.1/tcp/0").unwrap()];
    config.timeouts.gossip_heartbeat = Duration::from_millis(100);
    config.timeouts.redial = Duration::from_millis(100);
    config
}

impl Node {
    pub(crate) async fn start(number: u8) -> Self {
        Self::with(number, config()).await
    }

    pub(crate) async fn with(number: u8, config: NetworkConfig) -> Self {
        Self::try_with(number, config).await.unwrap()
    }

    pub(crate) async fn try_with(number: u8, config: NetworkConfig) -> Result<Self, StartError> {
        let key = key(number);
        let (network, mut from_network) = Network::start(config, &key).await?;
        let (to_test, events) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(event) = from_network.next().await {
                // The test may have seen enough.
                let _ = to_test.send(event);
            }
        });
        Ok(Self { network, peer: key.peer().clone(), events })
    }

    /// A node that is to be connected to these others, and is.
    pub(crate) async fn beside(number: u8, others: &mut [&mut Node]) -> Self {
        let mut config = config();
        config.contacts = others.iter().map(|other| other.contact()).collect();
        let mut node = Self::with(number, config).await;
        for other in others {
            node.connected(&other.peer).await;
            other.connected(&node.peer).await;
        }
        node
    }

    pub(crate) fn contact(&self) -> Contact {
        Contact { peer: self.peer.clone(), addresses: self.network.listening().to_vec() }
    }

    /// The first event from now on of which `pick` makes something; those before it are dropped.
    pub(crate) async fn until<T>(&mut self, mut pick: impl FnMut(NetworkEvent) -> Option<T>) -> T {
        let picked = async {
            loop {
                let event = self.events.recv().await.expect("the node has left the network");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        timeout(PATIENCE, picked).await.expect("what must happen has not")
    }

    /// What happens next, whenever that is.
    pub(crate) async fn next(&mut self) -> NetworkEvent {
        self.events.recv().await.expect("the node has left the network")
    }

    /// What has happened so far.
    pub(crate) fn so_far(&mut self) -> Vec<NetworkEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    pub(crate) async fn connected(&mut self, to: &PeerId) {
        self.until(|event| {
            matches!(event, NetworkEvent::Connected(peer) if peer == *to).then_some(())
        })
        .await;
    }

    pub(crate) async fn disconnected(&mut self, from: &PeerId) {
        let is_it = |event| matches!(event, NetworkEvent::Disconnected(peer) if peer == *from);
        self.until(|event| is_it(event).then_some(())).await;
    }

    /// The next question of a peer.
    pub(crate) async fn asked(&mut self) -> (PeerId, ketch_net::Question) {
        self.until(|event| match event {
            NetworkEvent::Asked { peer, question } => Some((peer, question)),
            _ => None,
        })
        .await
    }
}
