//! Answers to control requests that break the protocol, or do not come.

use std::time::Duration;

use futures::io::AsyncWriteExt as _;
use ketch_net::{AnswerError, AnswerFault};
use ketch_types::{Epoch, Height, LedgerInfoHash, ShardId};
use ketch_wire::{EpochEndsRequest, ProofsRequest, Request, Response, SummaryRequest};
use libp2p::Stream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::bytes::{bytes, number, with_length};
use super::raw::Raw;
use super::{CONTROL, is_undisturbed};
use crate::net::node::{Node, config};

type Answer = Result<Response, AnswerError>;

fn ask(asker: &Node, raw: &Raw, request: &Request) -> JoinHandle<Answer> {
    let (network, peer, request) = (asker.network.clone(), raw.peer.clone(), request.clone());
    tokio::spawn(async move { network.ask(&peer, &request).await })
}

/// What comes of a request that is answered with these bytes, on a stream that stays open.
async fn answered(asker: &Node, raw: &mut Raw, request: &Request, answer: &[u8]) -> Answer {
    let asking = ask(asker, raw, request);
    let (asked, mut stream) = raw.asked(CONTROL).await;
    assert_eq!(asked, request.encode());
    write(&mut stream, answer).await;
    asking.await.unwrap()
}

/// Sends what is still taken.
async fn write(stream: &mut Stream, answer: &[u8]) {
    let _ = stream.write_all(answer).await;
    let _ = stream.flush().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_breaks_the_protocol_is_a_fault_as_soon_as_it_is_seen() {
    let mut asker = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut asker]).await;
    let mut raw = Raw::beside(100, &mut asker).await;
    let summary = Request::Summary(SummaryRequest::new(vec![ShardId(7)]).unwrap());
    let ends = |count| Request::EpochEnds(EpochEndsRequest::new(Epoch(7), count).unwrap());
    let shards = vec![ShardId(7), ShardId(8)];
    let proofs = Request::Proofs(ProofsRequest::new(Height(7), shards).unwrap());
    let waypoint = Request::Waypoint(LedgerInfoHash::new([7; 32]));
    let refusal = |fields: &[(u64, u64)]| -> Vec<u8> {
        bytes(
            1,
            &fields.iter().flat_map(|(field, value)| number(*field, *value)).collect::<Vec<_>>(),
        )
    };
    let objects = |count, field| bytes(field, b"object").repeat(count);
    let cases = [
        // What cannot be decoded.
        (Request::Head, vec![0xff; 3]),
        (Request::Head, vec![]),
        (Request::Head, bytes(15, b"later")),
        (Request::Head, refusal(&[])),
        (Request::Head, refusal(&[(1, 6)])),
        (Request::Head, refusal(&[(1, 3), (2, 60_001)])),
        (Request::Head, refusal(&[(1, 1), (2, 1)])),
        (ends(64), bytes(4, &objects(65, 1))),
        (ends(64), bytes(4, &[])),
        (proofs.clone(), bytes(6, &objects(1_001, 2))),
        (summary.clone(), bytes(2, &bytes(1, &bytes(3, &[7; 31])))),
        (summary.clone(), bytes(2, &bytes(2, &[number(2, 9), number(3, 8)].concat()))),
        (summary.clone(), bytes(2, &bytes(2, &[]).repeat(65))),
        // What answers another request.
        (Request::Head, bytes(2, &[])),
        (summary, bytes(3, &[])),
        (waypoint, bytes(3, &[])),
        (ends(2), bytes(4, &objects(3, 1))),
        (proofs.clone(), bytes(6, &objects(1, 2))),
        (proofs, bytes(6, &objects(3, 2))),
    ];
    for (request, message) in cases {
        let answer = answered(&asker, &mut raw, &request, &with_length(&message)).await;
        let is_fault = matches!(answer, Err(AnswerError::Fault(_)));
        assert!(is_fault, "{request:?}, {message:?}: {answer:?}");
    }
    is_undisturbed(&mut asker, &honest).await;
    assert!(!raw.is_cut_off(), "whoever asked is to judge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_is_announced_as_too_long_is_a_fault_and_not_waited_for() {
    let mut asker = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut asker]).await;
    let mut raw = Raw::beside(100, &mut asker).await;
    for length in [u32::MAX, 8_388_609] {
        let answer = answered(&asker, &mut raw, &Request::Head, &length.to_le_bytes()).await;
        assert!(matches!(answer, Err(AnswerError::Fault(AnswerFault::Message(_)))), "{answer:?}");
    }
    is_undisturbed(&mut asker, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_is_read_in_any_pieces_and_unknown_fields_are_skipped() {
    let mut asker = Node::start(1).await;
    let mut raw = Raw::beside(100, &mut asker).await;
    let asking = ask(&asker, &raw, &Request::Head);
    let (_, mut stream) = raw.asked(CONTROL).await;
    let head = [bytes(1, b"info"), bytes(9, b"later"), bytes(2, b"block")].concat();
    for byte in with_length(&bytes(3, &head)) {
        write(&mut stream, &[byte]).await;
    }
    let Ok(Response::Head(head)) = asking.await.unwrap() else {
        panic!("another answer");
    };
    let read = (head.signed_ledger_info.0.as_slice(), head.block.0.as_slice());
    assert_eq!(read, (&b"info"[..], &b"block"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_closes_before_its_response_is_whole_is_not_blamed() {
    let mut asker = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut asker]).await;
    let mut raw = Raw::beside(100, &mut asker).await;
    for (answer, reset) in [(0, false), (2, false), (5, false), (0, true), (2, true), (5, true)] {
        let asking = ask(&asker, &raw, &Request::Head);
        let (_, mut stream) = raw.asked(CONTROL).await;
        write(&mut stream, &[9, 0, 0, 0, 8][..answer]).await;
        if !reset {
            stream.close().await.unwrap();
        }
        drop(stream);
        assert_eq!(asking.await.unwrap(), Err(AnswerError::Closed), "{answer} {reset}");
    }
    is_undisturbed(&mut asker, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_leaves_before_its_response_is_not_blamed() {
    let mut asker = Node::start(1).await;
    let mut raw = Raw::beside(100, &mut asker).await;
    let asking = ask(&asker, &raw, &Request::Head);
    let (_, stream) = raw.asked(CONTROL).await;
    let peer = raw.peer.clone();
    drop(raw);
    assert_eq!(asking.await.unwrap(), Err(AnswerError::Closed));
    asker.disconnected(&peer).await;
    drop(stream);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_is_waited_for_as_long_as_it_may_take() {
    let (first_byte, stall) = (Duration::from_millis(900), Duration::from_millis(200));
    let mut short = config();
    (short.timeouts.first_byte, short.timeouts.stall) = (first_byte, stall);
    let mut asker = Node::with(1, short).await;
    let honest = Node::beside(2, &mut [&mut asker]).await;
    let mut raw = Raw::beside(100, &mut asker).await;
    for (answer, wait) in [(0, first_byte), (1, stall), (4, stall), (5, stall)] {
        let begun = Instant::now();
        let asking = ask(&asker, &raw, &Request::Head);
        let (_, mut stream) = raw.asked(CONTROL).await;
        write(&mut stream, &[9, 0, 0, 0, 8][..answer]).await;
        assert_eq!(asking.await.unwrap(), Err(AnswerError::TimedOut), "{answer}");
        assert!(begun.elapsed() >= wait, "{answer}");
    }
    is_undisturbed(&mut asker, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_the_request_does_not_hold_up_its_asker() {
    let mut short = config();
    short.timeouts.first_byte = Duration::from_millis(300);
    let mut asker = Node::with(1, short).await;
    let honest = Node::beside(2, &mut [&mut asker]).await;
    let mut raw = Raw::beside(100, &mut asker).await;
    let asking = ask(&asker, &raw, &Request::Head);
    let stream = raw.accepted(CONTROL).await;
    assert_eq!(asking.await.unwrap(), Err(AnswerError::TimedOut));
    drop(stream);
    is_undisturbed(&mut asker, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_answered_while_a_peer_keeps_its_asker_waiting() {
    let mut asker = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut asker]).await;
    let mut raw = Raw::beside(100, &mut asker).await;
    let asking = ask(&asker, &raw, &Request::Head);
    let (_, mut stream) = raw.asked(CONTROL).await;
    is_undisturbed(&mut asker, &honest).await;
    write(&mut stream, &with_length(&bytes(1, &number(1, 1)))).await;
    assert!(asking.await.unwrap().is_ok());
}
