//! Heads and announcements, judged before they are passed on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ketch_net::{Delivery, Judgement, NetworkEvent};
use ketch_types::{Epoch, PartSet, PeerId, ShardId, StateRoot};
use ketch_wire::{Announcement, Head, Holding, LedgerBytes};

use super::node::Node;

/// Three nodes in a line: the first and the last do not know each other.
async fn line() -> (Node, Node, Node) {
    let mut first = Node::start(1).await;
    let mut middle = Node::beside(2, &mut [&mut first]).await;
    let last = Node::beside(3, &mut [&mut middle]).await;
    (first, middle, last)
}

fn head(number: u8) -> Head {
    Head { signed_ledger_info: LedgerBytes(vec![number; 99]), block: LedgerBytes(vec![9]) }
}

fn announcement(sequence: u64) -> Announcement {
    let held = PartSet::full(9);
    let holding =
        Holding::new(ShardId(21), Epoch(2), StateRoot::new([4; 32]), 4 << 20, held).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let expires_at_ms = (now + Duration::from_secs(600)).as_millis() as u64;
    Announcement { holding, sequence, expires_at_ms }
}

fn gossiped(event: NetworkEvent) -> Option<(Head, Delivery)> {
    match event {
        NetworkEvent::HeadGossiped { head, delivery } => Some((head, delivery)),
        _ => None,
    }
}

fn announced(event: NetworkEvent) -> Option<(PeerId, Announcement, Delivery)> {
    match event {
        NetworkEvent::Announced { author, announcement, delivery } => {
            Some((author, announcement, delivery))
        }
        _ => None,
    }
}

/// Publishes heads from number `from` on until one arrives: who subscribes is known after a moment,
/// and nothing is published twice.
async fn publish_until_heard(from: &Node, to: &mut Node) -> (Head, Delivery) {
    for number in 0.. {
        from.network.publish_head(&head(number)).unwrap();
        let heard = tokio::time::timeout(Duration::from_millis(200), to.until(gossiped)).await;
        if let Ok(heard) = heard {
            return heard;
        }
    }
    unreachable!("255 heads were not heard");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_is_passed_on_once_it_is_accepted() {
    let (first, mut middle, mut last) = line().await;
    let (_, delivery) = publish_until_heard(&first, &mut middle).await;
    middle.network.judge(delivery, Judgement::Ignore);
    // Accepted ones may need a moment to find the way to the last.
    for number in 100..=255 {
        first.network.publish_head(&head(number)).unwrap();
        let (heard, delivery) = middle.until(gossiped).await;
        middle.network.judge(delivery, Judgement::Accept);
        let passed = tokio::time::timeout(Duration::from_millis(200), last.until(gossiped)).await;
        if let Ok((passed, _)) = passed {
            // The first that came is one that was accepted, not the one that was ignored.
            assert!(passed == heard || passed.signed_ledger_info.0[0] >= 100);
            return;
        }
    }
    panic!("no head was passed on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_delivers_what_is_rejected_is_banned() {
    let (first, mut middle, last) = line().await;
    let (_, delivery) = publish_until_heard(&first, &mut middle).await;
    middle.network.judge(delivery, Judgement::Reject);
    let banned = middle
        .until(|event| match event {
            NetworkEvent::Misbehaved { peer, .. } => Some(peer),
            _ => None,
        })
        .await;
    assert_eq!(banned, first.peer);
    middle.disconnected(&first.peer).await;
    let others = middle.so_far();
    assert!(!others.iter().any(|event| matches!(event, NetworkEvent::Disconnected(_))));
    drop(last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_is_its_authors_wherever_it_comes_from() {
    let (first, mut middle, mut last) = line().await;
    for sequence in 0..100 {
        first.network.announce(&announcement(sequence));
        let heard = tokio::time::timeout(Duration::from_millis(200), middle.until(announced)).await;
        let Ok((author, heard, delivery)) = heard else { continue };
        assert_eq!((author, heard.holding), (first.peer.clone(), announcement(0).holding));
        middle.network.judge(delivery, Judgement::Accept);
        let passed = tokio::time::timeout(Duration::from_millis(200), last.until(announced)).await;
        if let Ok((author, passed, _)) = passed {
            assert_eq!((author, passed.holding), (first.peer, announcement(0).holding));
            return;
        }
    }
    panic!("no announcement was passed on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_announcement_that_has_expired_is_not_heard() {
    let mut first = Node::start(1).await;
    let mut second = Node::beside(2, &mut [&mut first]).await;
    let (_, delivery) = publish_until_heard(&first, &mut second).await;
    second.network.judge(delivery, Judgement::Accept);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let in_two_hours = (now + Duration::from_secs(7_200)).as_millis() as u64;
    for expires_at_ms in [0, in_two_hours] {
        first.network.announce(&Announcement { expires_at_ms, ..announcement(1) });
    }
    first.network.announce(&announcement(2));
    let (_, heard, _) = second.until(announced).await;
    assert_eq!(heard.sequence, 2);
    let others = second.so_far();
    assert!(!others.iter().any(|event| matches!(event, NetworkEvent::Disconnected(_))));
}
