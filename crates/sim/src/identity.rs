//! Who a node is to others: it has one identity at a time, and may come back under another.

use ketch_coordinator::Peer;

use crate::node::NodeId;
use crate::world::World;

/// The bits of a handle that say which node it is; those above count the identities that it has had.
const NODE_BITS: u32 = 20;
/// Nodes are counted from 0, with so many bits.
const NODE_MASK: u32 = (1 << NODE_BITS) - 1;

/// A node's handle for its peers, under one of its identities.
pub(crate) fn handle(node: NodeId, identity: u32) -> Peer {
    Peer(identity << NODE_BITS | u32::try_from(node).unwrap_or(NODE_MASK) & NODE_MASK)
}

/// The node that a handle is of, under whichever identity.
pub(crate) fn node_of(peer: Peer) -> NodeId {
    (peer.0 & NODE_MASK) as usize
}

impl World {
    /// Who a node is at present.
    pub(crate) fn peer_of(&self, node: NodeId) -> Peer {
        handle(node, self.nodes.get(node).map_or(0, |node| node.identity))
    }

    /// Whether anybody goes by a handle at present.
    pub(crate) fn is_current(&self, peer: Peer) -> bool {
        self.peer_of(node_of(peer)) == peer
    }

    /// A node that is down is somebody else when it comes back: bans and whatever was told of it are of
    /// one who is gone.
    pub(crate) fn rename(&mut self, id: NodeId) {
        let left = self.peer_of(id);
        let was_banned = self.ledger.banned.iter().any(|(_, peer)| *peer == left);
        if let Some(node) = self.nodes.get_mut(id) {
            node.identity += 1;
            self.ledger.fired("new-identity");
        }
        if was_banned {
            self.ledger.fired("new-identity-of-a-banned-peer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_of_its_node_under_every_identity() {
        for (node, identity) in [(0, 0), (7, 0), (7, 1), (999, 4_000)] {
            assert_eq!(node_of(handle(node, identity)), node);
        }
        assert_ne!(handle(7, 1), handle(7, 2));
        assert_eq!(handle(7, 0), Peer(7));
    }
}
