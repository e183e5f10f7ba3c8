//! Connections of peers that are of no use, take too much, or take nothing.

use std::time::Duration;

use futures::io::AsyncWriteExt as _;
use ketch_net::{AnswerWriter, NetworkEvent, Question, SendError};
use ketch_wire::{Refusal, Request, Response};
use tokio::time::Instant;

use super::bytes::{bytes, number, with_length};
use super::raw::{ALL, Raw, within_patience};
use super::requests::has_all_slots;
use super::{CONTROL, MESHSUB, OUTLINE, PARTS, is_undisturbed, text, until_asked_by};
use crate::net::node::{Node, config};

const OTHER_VERSION: &str =
    "/ketch/2/0707070707070707070707070707070707070707070707070707070707070707/control";
const OTHER_CHAIN: &str =
    "/ketch/1/0808080808080808080808080808080808080808080808080808080808080808/control";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_none_of_the_protocols_is_sent_away_and_not_blamed() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    for speaks in [&[][..], &[MESHSUB, PARTS], &[OTHER_VERSION], &[OTHER_CHAIN]] {
        let mut raw = Raw::new(100, speaks);
        assert!(raw.dial(&server).await);
        raw.cut_off().await;
        let before = until_asked_by(&mut server, &honest).await;
        let misbehaves = before.iter().any(|event| event.contains("misbehaves"));
        assert!(!misbehaves, "{before:?}");
    }
    // The same peer comes back with software of this chain.
    let mut raw = Raw::new(100, &ALL);
    raw.connect(&mut server).await;
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_nothing_and_is_not_asked_is_disconnected() {
    let idle = Duration::from_millis(700);
    let mut short = config();
    short.timeouts.idle = idle;
    let mut server = Node::with(1, short).await;
    let mut raw = Raw::new(100, &[CONTROL]);
    let begun = Instant::now();
    raw.connect(&mut server).await;
    raw.cut_off().await;
    assert!(begun.elapsed() >= idle, "{:?}", begun.elapsed());
    let next = text(&server.until(Some).await);
    assert_eq!(next, text(&NetworkEvent::Disconnected(raw.peer.clone())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_asked_is_not_idle() {
    let mut short = config();
    short.timeouts.idle = Duration::from_millis(500);
    let mut asker = Node::with(1, short).await;
    let mut raw = Raw::new(100, &[CONTROL]);
    raw.connect(&mut asker).await;
    let (network, peer) = (asker.network.clone(), raw.peer.clone());
    let asking = tokio::spawn(async move { network.ask(&peer, &Request::Head).await });
    let (_, mut stream) = raw.asked(CONTROL).await;
    // The answer takes longer than an idle connection lives.
    let mut idle = Raw::new(101, &[CONTROL]);
    assert!(idle.dial(&asker).await);
    idle.cut_off().await;
    stream.write_all(&with_length(&bytes(1, &number(1, 1)))).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(asking.await.unwrap(), Ok(Response::Refusal(Refusal::NotHeld)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_a_hundred_streams_at_once_keeps_nobody_else_from_an_answer() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let raw = Raw::beside(100, &mut server).await;
    let opening: Vec<_> = (0..100).map(|_| tokio::spawn(raw.opening(OUTLINE))).collect();
    let before = until_asked_by(&mut server, &honest).await;
    assert!(!before.iter().any(|event| event.contains("misbehaves")), "{before:?}");
    let mut streams = Vec::new();
    for opening in opening {
        // Some are refused, or all of them with the connection.
        streams.extend(opening.await.unwrap());
    }
    let before = until_asked_by(&mut server, &honest).await;
    assert!(!before.iter().any(|event| event.contains(&text_of(&honest))), "{before:?}");
    // Whatever became of the connection, the peer is not banned.
    drop((raw, streams));
    let mut again = Raw::new(100, &ALL);
    assert!(again.dial(&server).await);
    has_all_slots(&mut again, &mut server).await;
    is_undisturbed(&mut server, &honest).await;
}

fn text_of(node: &Node) -> String {
    text(&NetworkEvent::Connected(node.peer.clone()))
}

/// Asks for an outline, and reads nothing of the answer; what the driver writes to.
async fn taking_nothing(raw: &mut Raw, server: &mut Node) -> (AnswerWriter, libp2p::Stream) {
    let mut stream = raw.open(OUTLINE).await;
    let request = [bytes(1, &[7; 32]), number(2, 9)].concat();
    stream.write_all(&with_length(&request)).await.unwrap();
    stream.flush().await.unwrap();
    let (peer, Question::Outline(_, writer)) = server.asked().await else {
        panic!("something else was asked");
    };
    assert_eq!(peer, raw.peer);
    (writer, stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_of_its_answer_has_it_cut_off_and_the_slot_is_free_again() {
    let stall = Duration::from_millis(500);
    let mut short = config();
    short.timeouts.stall = stall;
    let mut server = Node::with(1, short).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let mut raw = Raw::beside(100, &mut server).await;
    let mut writing = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..16 {
        let (mut writer, stream) = taking_nothing(&mut raw, &mut server).await;
        streams.push(stream);
        writing.push(tokio::spawn(async move {
            let begun = Instant::now();
            loop {
                if let Err(error) = writer.send(&[7; 65_536]).await {
                    return (error, begun.elapsed());
                }
            }
        }));
    }
    is_undisturbed(&mut server, &honest).await;
    for writing in writing {
        let (error, elapsed) = writing.await.unwrap();
        assert_eq!(error, SendError::Stalled);
        assert!(elapsed >= stall, "{elapsed:?}");
    }
    has_all_slots(&mut raw, &mut server).await;
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
    drop(streams);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_request_is_not_looked_at_and_its_end_says_that_nothing_is_wanted() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let mut raw = Raw::beside(100, &mut server).await;
    let (mut writer, mut stream) = taking_nothing(&mut raw, &mut server).await;
    stream.write_all(&[0xff; 99_999]).await.unwrap();
    stream.flush().await.unwrap();
    let unwanted = tokio::spawn(async move { writer.unwanted().await });
    is_undisturbed(&mut server, &honest).await;
    assert!(!unwanted.is_finished());
    stream.close().await.unwrap();
    within_patience(unwanted).await.unwrap();
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_again_and_again_is_connected_twice_at_most() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let mut raw = Raw::beside(100, &mut server).await;
    assert!(raw.dial(&server).await);
    for _ in 0..8 {
        // Who it is is known only once the connection is there.
        if raw.dial(&server).await {
            raw.is_refused_another().await;
        }
    }
    is_undisturbed(&mut server, &honest).await;
    has_all_slots(&mut raw, &mut server).await;
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_amid_its_answer_is_told_to_its_writer() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let mut raw = Raw::beside(100, &mut server).await;
    let (mut reset, stream) = taking_nothing(&mut raw, &mut server).await;
    drop(stream);
    let (mut left, stream) = taking_nothing(&mut raw, &mut server).await;
    let peer = raw.peer.clone();
    drop((stream, raw));
    server.disconnected(&peer).await;
    for writer in [&mut reset, &mut left] {
        let error = loop {
            if let Err(error) = writer.send(&[7; 65_536]).await {
                break error;
            }
        };
        assert_eq!(error, SendError::Closed);
    }
    is_undisturbed(&mut server, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_asks_too_much_at_once_does_not_lose_its_connection() {
    let mut server = Node::start(1).await;
    let mut client = Node::beside(2, &mut [&mut server]).await;
    let asking: Vec<_> = (0..200)
        .map(|_| {
            let (network, peer) = (client.network.clone(), server.peer.clone());
            tokio::spawn(async move { network.ask(&peer, &Request::Head).await })
        })
        .collect();
    let answering = tokio::spawn(async move {
        loop {
            let (_, Question::Control(_, reply)) = server.asked().await else {
                panic!("something else was asked");
            };
            // Who has been told to come again does not wait.
            let _ = reply.refuse(Refusal::NotHeld).await;
        }
    });
    for asking in asking {
        let answer = asking.await.unwrap();
        let answered = matches!(answer, Ok(Response::Refusal(_)));
        let events: Vec<_> = client.so_far().iter().map(text).collect();
        assert!(answered, "{answer:?} {events:?}");
    }
    answering.abort();
    assert!(client.so_far().is_empty());
}
