//! Requests that break the protocol, and requesters that come to nothing.

use std::time::Duration;

use futures::io::AsyncWriteExt as _;
use ketch_net::{NetworkConfig, PeerFault, Question};
use ketch_wire::{Refusal, Request};
use libp2p::Stream;

use super::bytes::{bytes, frame, number, with_length};
use super::raw::{Heard, Raw, hear};
use super::{CONTROL, OUTLINE, OUTPUTS, PARTS, is_banned, is_undisturbed};
use crate::net::node::{Node, config};

const STREAMS: [&str; 4] = [CONTROL, OUTLINE, PARTS, OUTPUTS];
/// Streams of one peer that are answered at once.
const ANSWERS_PER_PEER: usize = 16;

/// A request for parts whose bitmap is this.
fn parts_request(part_count: u64, wanted: &[u8]) -> Vec<u8> {
    let root = bytes(1, &[7; 32]);
    [root, number(2, 1), number(3, part_count), bytes(4, wanted), number(5, 9)].concat()
}

/// Parts 0 to 6 as an array, where runs are shorter.
const NOT_CANONICAL: [u8; 30] = [
    0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 6, 0, 16, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0,
];
/// Parts 0 to 6 as a run.
const CANONICAL: [u8; 15] = [0x3b, 0x30, 0, 0, 1, 0, 0, 6, 0, 1, 0, 0, 0, 6, 0];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_announces_too_long_a_request_is_banned_before_any_of_it_is_read() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let mut number = 100;
    for stream in STREAMS {
        for length in [u32::MAX, 196_609] {
            let mut raw = Raw::beside(number, &mut server).await;
            let heard = raw.say(stream, &length.to_le_bytes()).await;
            assert_eq!(heard.bytes, b"", "{stream} {length}");
            is_banned(&mut raw, &mut server, &honest, is_request).await;
            number += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_what_is_no_request_is_banned_and_nothing_is_asked() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let short_hash = bytes(1, &[7; 31]);
    let cases = [
        (CONTROL, vec![0xff; 3]),
        (CONTROL, bytes(4, &short_hash)),
        (CONTROL, bytes(4, &[])),
        (OUTLINE, vec![0xff; 3]),
        (OUTLINE, short_hash.clone()),
        (OUTLINE, vec![]),
        (PARTS, vec![0xff; 3]),
        (PARTS, vec![]),
        (PARTS, short_hash),
        (PARTS, parts_request(7, &[])),
        (PARTS, parts_request(7, &NOT_CANONICAL)),
        (PARTS, parts_request(6, &CANONICAL)),
        (PARTS, parts_request(7, &[&CANONICAL[..], &[0]].concat())),
        (PARTS, parts_request(7, &CANONICAL[..14])),
        (OUTPUTS, vec![0xff; 3]),
    ];
    for (number, (stream, message)) in (100..).zip(cases) {
        let mut raw = Raw::beside(number, &mut server).await;
        let heard = raw.say(stream, &with_length(&message)).await;
        assert_eq!(heard.bytes, b"", "{stream} {message:?}");
        is_banned(&mut raw, &mut server, &honest, is_request).await;
    }
}

fn is_request(fault: &PeerFault) -> bool {
    matches!(fault, PeerFault::Request(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_only_breaks_a_rule_is_answered_invalid() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let mut raw = Raw::beside(100, &mut server).await;
    let shards = |list: u64, numbers: Vec<u64>| -> Vec<u8> {
        numbers.into_iter().flat_map(|shard| number(list, shard)).collect()
    };
    let invalid = with_length(&bytes(1, &number(1, 5)));
    for message in [
        bytes(1, &[]),
        bytes(1, &shards(1, (0..17).collect())),
        bytes(1, &shards(1, vec![4, 4])),
        bytes(1, &shards(1, vec![5, 4])),
        bytes(3, &number(1, 7)),
        bytes(3, &[number(1, 7), number(2, 65)].concat()),
        bytes(5, &number(1, 7)),
        bytes(5, &[number(1, 7), shards(2, (0..1_001).collect())].concat()),
        bytes(5, &shards(2, vec![1, 0])),
    ] {
        let heard = raw.say(CONTROL, &with_length(&message)).await;
        assert_eq!(heard, Heard { bytes: invalid.clone(), closed: true }, "{message:?}");
    }
    let invalid = frame(0, &number(1, 5));
    let none_wanted = [0x3a, 0x30, 0, 0, 0, 0, 0, 0];
    for message in [parts_request(7, &none_wanted), parts_request((1 << 20) + 1, &CANONICAL)] {
        let heard = raw.say(PARTS, &with_length(&message)).await;
        assert_eq!(heard, Heard { bytes: invalid.clone(), closed: true }, "{message:?}");
    }
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_a_later_software_is_answered_unsupported() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let mut raw = Raw::beside(100, &mut server).await;
    let unsupported = with_length(&bytes(1, &number(1, 4)));
    for message in [vec![], bytes(15, b"later"), number(99, 7)] {
        let heard = raw.say(CONTROL, &with_length(&message)).await;
        assert_eq!(heard, Heard { bytes: unsupported.clone(), closed: true }, "{message:?}");
    }
    is_undisturbed(&mut server, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_streams_and_says_nothing_loses_them_and_has_its_slots_again() {
    says_nothing(config()).await;
}

/// A peer opens streams to a node, and says nothing.
pub(super) async fn says_nothing(mut short: NetworkConfig) {
    short.timeouts.stall = Duration::from_millis(300);
    let mut server = Node::with(1, short).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let mut raw = Raw::beside(100, &mut server).await;
    let mut streams = Vec::new();
    for begun in 0..ANSWERS_PER_PEER {
        let mut stream = raw.open(STREAMS[begun % 4]).await;
        // Nothing, some of the length, or some of the message.
        // On a busy machine it may have lost the stream already.
        let _ = stream.write_all(&[9, 0, 0, 0, 8][..begun % 6]).await;
        let _ = stream.flush().await;
        streams.push(stream);
    }
    for mut stream in streams {
        assert_eq!(hear(&mut stream).await.bytes, b"");
    }
    is_undisturbed(&mut server, &honest).await;
    has_all_slots(&mut raw, &mut server).await;
    is_undisturbed(&mut server, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_closes_amid_its_request_is_not_blamed_and_has_its_slot_again() {
    let mut server = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut server]).await;
    let mut raw = Raw::beside(100, &mut server).await;
    for begun in 0..2 * ANSWERS_PER_PEER {
        let mut stream = raw.open(STREAMS[begun % 4]).await;
        stream.write_all(&[9, 0, 0, 0, 8][..begun % 6]).await.unwrap();
        stream.flush().await.unwrap();
        // Every other is closed in order; the others are reset.
        if begun % 2 == 0 {
            stream.close().await.unwrap();
            assert_eq!(hear(&mut stream).await.bytes, b"");
        }
    }
    is_undisturbed(&mut server, &honest).await;
    has_all_slots(&mut raw, &mut server).await;
    is_undisturbed(&mut server, &honest).await;
}

/// As many questions of `raw` are before the driver at once as one peer may have.
pub(super) async fn has_all_slots(raw: &mut Raw, server: &mut Node) {
    let mut held = Vec::new();
    while held.len() < ANSWERS_PER_PEER {
        held.push(is_asked(raw, server).await);
    }
    for (reply, mut stream) in held {
        reply.refuse(Refusal::NotHeld).await.unwrap();
        let not_held = with_length(&bytes(1, &number(1, 1)));
        assert_eq!(hear(&mut stream).await, Heard { bytes: not_held, closed: true });
    }
}

/// Asks for a head until the driver hears of it: a slot is free a moment after its stream is closed.
async fn is_asked(raw: &mut Raw, server: &mut Node) -> (ketch_net::ControlReply, Stream) {
    loop {
        let mut stream = raw.open(CONTROL).await;
        stream.write_all(&with_length(&bytes(2, &[]))).await.unwrap();
        stream.flush().await.unwrap();
        tokio::select! {
            (peer, question) = server.asked() => {
                let Question::Control(Request::Head, reply) = question else {
                    panic!("something else was asked");
                };
                assert_eq!(peer, raw.peer);
                return (reply, stream);
            }
            heard = hear(&mut stream) => {
                let busy = bytes(1, &[number(1, 3), number(2, 1_000)].concat());
                assert_eq!(heard, Heard { bytes: with_length(&busy), closed: true });
            }
        }
    }
}
