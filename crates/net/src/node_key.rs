use std::fmt;

use ketch_types::PeerId;
use libp2p::identity::Keypair;
use thiserror::Error;

use crate::contact::to_peer;

/// What a node proves its name on the network with: an Ed25519 key.
#[derive(Clone)]
pub struct NodeKey {
    keypair: Keypair,
    peer: PeerId,
}

/// Bytes are no secret key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the bytes are not an Ed25519 secret key")]
pub struct NodeKeyError;

impl NodeKey {
    /// The key of 32 secret bytes, which are wiped.
    ///
    /// *Errors:* [`NodeKeyError`]; none of today's libraries refuses any bytes.
    pub fn from_secret(secret: &mut [u8; 32]) -> Result<Self, NodeKeyError> {
        let keypair = Keypair::ed25519_from_bytes(secret).map_err(|_| NodeKeyError)?;
        let peer = to_peer(&keypair.public().to_peer_id()).ok_or(NodeKeyError)?;
        Ok(Self { keypair, peer })
    }

    /// The node's name on the network.
    pub fn peer(&self) -> &PeerId {
        &self.peer
    }

    pub(crate) fn keypair(&self) -> &Keypair {
        &self.keypair
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.keypair.public().to_peer_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_wiped_and_never_shown() {
        let mut secret = [7; 32];
        let key = NodeKey::from_secret(&mut secret).unwrap();
        assert_eq!(secret, [0; 32]);
        assert_eq!(format!("{key:?}"), format!("NodeKey({})", key.keypair.public().to_peer_id()));
        assert_eq!(key.peer(), NodeKey::from_secret(&mut [7; 32]).unwrap().peer());
        assert_ne!(key.peer(), NodeKey::from_secret(&mut [8; 32]).unwrap().peer());
    }
}
