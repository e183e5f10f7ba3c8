//! Finding holders through the DHT, and connecting to them.

use std::collections::BTreeSet;

use ketch_net::{Contact, NetworkEvent};
use ketch_types::{Epoch, ShardId};

use super::node::{Node, PATIENCE, config, key};

pub(super) const SHARD: ShardId = ShardId(5);
pub(super) const EPOCH: Epoch = Epoch(3);

pub(super) fn know(nodes: &[&Node]) {
    for node in nodes {
        node.network.set_epochs(BTreeSet::from([(SHARD, EPOCH), (SHARD, Epoch(4))]));
    }
}

/// Searches until somebody is found: a record takes a moment to be entered.
pub(super) async fn found(node: &Node, shard: ShardId, epoch: Epoch) -> Vec<ketch_types::PeerId> {
    let search = async {
        loop {
            let found = node.network.search(shard, epoch).await;
            if !found.is_empty() {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("nobody is found")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_is_found_through_others_and_connected() {
    let mut meeting = Node::start(1).await;
    let holder = Node::beside(2, &mut [&mut meeting]).await;
    let mut seeker = Node::beside(3, &mut [&mut meeting]).await;
    know(&[&meeting, &holder, &seeker]);
    holder.network.provide(SHARD, EPOCH);
    assert_eq!(found(&seeker, SHARD, EPOCH).await, std::slice::from_ref(&holder.peer));
    seeker.connected(&holder.peer).await;
    assert!(seeker.network.search(SHARD, Epoch(4)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_provides_before_it_knows_anybody_is_found_once_it_does() {
    let holder = Node::start(2).await;
    know(&[&holder]);
    holder.network.provide(SHARD, EPOCH);
    let mut meeting = Node::start(1).await;
    know(&[&meeting]);
    assert!(holder.network.connect(meeting.contact()).await);
    meeting.connected(&holder.peer).await;
    let seeker = Node::beside(3, &mut [&mut meeting]).await;
    know(&[&seeker]);
    assert_eq!(found(&seeker, SHARD, EPOCH).await, std::slice::from_ref(&holder.peer));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_provided_any_more_and_what_nobody_knows_is_not_found() {
    let mut meeting = Node::start(1).await;
    let holder = Node::beside(2, &mut [&mut meeting]).await;
    let seeker = Node::beside(3, &mut [&mut meeting]).await;
    know(&[&meeting, &holder, &seeker]);
    holder.network.provide(SHARD, EPOCH);
    // An epoch that the others do not know is told to nobody.
    let later = BTreeSet::from([(SHARD, EPOCH), (SHARD, Epoch(4)), (SHARD, Epoch(9))]);
    holder.network.set_epochs(later);
    holder.network.provide(SHARD, Epoch(9));
    found(&seeker, SHARD, EPOCH).await;
    // Whoever is told forgets what is of an epoch that is over.
    for node in [&meeting, &holder, &seeker] {
        node.network.set_epochs(BTreeSet::from([(SHARD, Epoch(4))]));
    }
    for epoch in [EPOCH, Epoch(9)] {
        assert!(meeting.network.search(SHARD, epoch).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_whose_address_is_not_known_is_asked_for() {
    let mut meeting = Node::start(1).await;
    let announcer = Node::beside(2, &mut [&mut meeting]).await;
    let mut seeker = Node::beside(3, &mut [&mut meeting]).await;
    let contact = Contact { peer: announcer.peer.clone(), addresses: vec![] };
    let connect = async { while !seeker.network.connect(contact.clone()).await {} };
    tokio::time::timeout(PATIENCE, connect).await.unwrap();
    seeker.connected(&announcer.peer).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_ends_though_holders_are_out_of_reach() {
    let mut meeting = Node::start(1).await;
    let mut unreachable = config();
    // A port that nobody listens on: the system gave it, and took it back.
    unreachable.external = Node::start(9).await.network.listening().to_vec();
    unreachable.contacts = vec![meeting.contact()];
    let mut holder = Node::with(2, unreachable).await;
    holder.connected(&meeting.peer).await;
    know(&[&meeting, &holder]);
    holder.network.provide(SHARD, EPOCH);
    assert_eq!(found(&meeting, SHARD, EPOCH).await, std::slice::from_ref(&holder.peer));
    let peer = key(2).peer().clone();
    drop(holder);
    meeting.disconnected(&peer).await;
    let seeker = Node::beside(3, &mut [&mut meeting]).await;
    know(&[&seeker]);
    assert!(seeker.network.search(SHARD, EPOCH).await.is_empty());
    let connected = meeting.so_far();
    assert!(!connected.iter().any(|event| matches!(event, NetworkEvent::Disconnected(_))));
}
