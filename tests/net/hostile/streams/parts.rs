//! Parts that were not asked for, come twice, in another size, or not at all.

use std::time::Duration;

use ketch_net::{AnswerError, PartsStep, PartsStream};
use ketch_types::{PartIndex, PartSet, StateRoot};
use ketch_wire::{PartsAnswer, PartsEnd, PartsRequest, Refusal};
use tokio::time::Instant;

use super::super::bytes::{
    CHUNK_OUTPUTS, END, OUTLINE_BYTES, PART_LZ4, PART_RAW, RANGE, bytes, frame, number, part,
};
use super::super::raw::{Raw, within_patience};
use super::super::{PARTS, is_undisturbed};
use super::{Then, answer, three};
use crate::net::node::{Node, config};
use crate::net::state::CUT;

/// Parts 0 and 2 of four, of 100 and 50 bytes.
pub(super) fn wanted() -> PartSet {
    let mut wanted = PartSet::empty(4);
    wanted.insert(PartIndex(0));
    wanted.insert(PartIndex(2));
    wanted
}

/// The parts that come, and what comes in the end.
async fn parts_read(
    asker: &Node,
    raw: &mut Raw,
    sent: &[u8],
    then: Then,
) -> (Vec<u32>, Result<PartsEnd, AnswerError>) {
    let request = PartsRequest::new(StateRoot::new([7; 32]), CUT, wanted(), u64::MAX).unwrap();
    let expected = PartsAnswer::new(wanted(), &[100, 50]).unwrap();
    let peer = raw.peer.clone();
    let asking = asker.network.parts(&peer, &request, expected);
    let (stream, _sender) = tokio::join!(asking, answer(raw, PARTS, sent, then));
    within_patience(parts_to_end(stream.unwrap())).await
}

async fn parts_to_end(mut stream: PartsStream) -> (Vec<u32>, Result<PartsEnd, AnswerError>) {
    let mut parts = Vec::new();
    loop {
        match stream.next().await {
            Ok(PartsStep::Progress(..)) => {}
            Ok(PartsStep::Part(part, _)) => parts.push(part.index.0),
            Ok(PartsStep::End(end)) => return (parts, Ok(end)),
            Err(error) => return (parts, Err(error)),
        }
    }
}

/// An end without a reason, of a server that holds these of four parts.
fn parts_end(held: &[u32]) -> Vec<u8> {
    let mut set = PartSet::empty(4);
    held.iter().for_each(|part| {
        set.insert(PartIndex(*part));
    });
    frame(END, &[number(3, 4), bytes(4, &set.encode())].concat())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_frames_that_break_the_protocol_are_faults() {
    let (mut asker, honest, mut raw) = three(config()).await;
    let (whole, half) = (part(PART_RAW, 0, &[1; 100]), part(PART_RAW, 2, &[1; 50]));
    let header = |kind: u8, length: u32| [&[kind][..], &length.to_le_bytes()].concat();
    let cases = [
        (0, frame(6, b"body")),
        (0, frame(0xff, b"")),
        (0, frame(OUTLINE_BYTES, b"body")),
        (0, frame(RANGE, b"body")),
        (0, frame(CHUNK_OUTPUTS, b"body")),
        (0, part(PART_RAW, 1, &[1; 100])),
        (0, part(PART_RAW, 4, &[1; 100])),
        (0, part(PART_RAW, u32::MAX, &[1; 100])),
        (1, [whole.clone(), whole.clone()].concat()),
        (1, [whole.clone(), part(PART_LZ4, 0, &[1; 99])].concat()),
        (0, header(PART_RAW, 105)),
        (0, header(PART_LZ4, u32::MAX)),
        (0, header(PART_RAW, 3)),
        (0, part(PART_RAW, 0, &[1; 99])),
        (0, part(PART_RAW, 2, &[1; 51])),
        (0, part(PART_LZ4, 0, &[1; 100])),
        (0, part(PART_LZ4, 0, &[])),
        (0, parts_end(&[0])),
        (0, parts_end(&[0, 1, 2, 3])),
        (1, [whole.clone(), frame(END, b"")].concat()),
        (0, frame(END, &[0xff; 3])),
        (0, frame(END, &number(1, 6))),
        (0, frame(END, &number(3, 4))),
        (0, frame(END, &[number(1, 1), number(3, 5)].concat())),
        (0, header(END, 147_457)),
        (2, [&whole[..], &half, &frame(END, &[number(1, 1), number(2, 1)].concat())].concat()),
    ];
    for (parts, sent) in cases {
        let (read, end) = parts_read(&asker, &mut raw, &sent, Then::Waits).await;
        assert_eq!(read.len(), parts, "{sent:?}");
        assert!(matches!(end, Err(AnswerError::Fault(_))), "{sent:?}: {end:?}");
    }
    is_undisturbed(&mut asker, &honest).await;
    assert!(!raw.is_cut_off(), "whoever asked is to judge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_keep_to_the_protocol_are_taken_in_any_order_and_pieces() {
    let (mut asker, honest, mut raw) = three(config()).await;
    let (whole, half) = (part(PART_LZ4, 0, &[1; 99]), part(PART_RAW, 2, &[1; 50]));
    for (sent, read) in [
        ([&half[..], &whole, &parts_end(&[0, 1, 2])].concat(), vec![2, 0]),
        ([&half[..], &parts_end(&[0, 2])].concat(), vec![2]),
        (parts_end(&[1, 3]), vec![]),
        (parts_end(&[]), vec![]),
    ] {
        let (parts, end) = parts_read(&asker, &mut raw, &sent, Then::Closes).await;
        assert_eq!(parts, read);
        assert!(matches!(end, Ok(PartsEnd::Sent { .. })), "{end:?}");
    }
    let refused = frame(END, &number(1, 2));
    let (parts, end) = parts_read(&asker, &mut raw, &refused, Then::Closes).await;
    let not_retained = PartsEnd::Refused { refusal: Refusal::NotRetained, held: None };
    assert_eq!((parts, end), (vec![], Ok(not_retained)));
    is_undisturbed(&mut asker, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_stop_are_waited_for_and_nobody_is_blamed() {
    let (first_byte, stall) = (Duration::from_millis(900), Duration::from_millis(200));
    let mut short = config();
    (short.timeouts.first_byte, short.timeouts.stall) = (first_byte, stall);
    let (mut asker, honest, mut raw) = three(short).await;
    let whole = part(PART_RAW, 0, &[1; 100]);
    let one = [&whole[..], &part(PART_RAW, 2, &[1; 50])[..20]].concat();
    for (sent, parts, wait) in [
        (&whole[..0], 0, first_byte),
        (&whole[..3], 0, stall),
        (&whole[..7], 0, stall),
        (&whole[..60], 0, stall),
        (&whole[..], 1, stall),
        (&one[..], 1, stall),
    ] {
        let begun = Instant::now();
        let (read, end) = parts_read(&asker, &mut raw, sent, Then::Waits).await;
        assert_eq!((read.len(), end), (parts, Err(AnswerError::TimedOut)), "{}", sent.len());
        assert!(begun.elapsed() >= wait, "{}", sent.len());
    }
    is_undisturbed(&mut asker, &honest).await;
    assert!(!raw.is_cut_off());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_are_broken_off_are_no_fault() {
    let (mut asker, honest, mut raw) = three(config()).await;
    let whole = part(PART_RAW, 0, &[1; 100]);
    for (length, parts) in [(0, 0), (3, 0), (7, 0), (60, 0), (109, 1)] {
        for then in [Then::Closes, Then::Resets] {
            let (read, end) = parts_read(&asker, &mut raw, &whole[..length], then).await;
            assert_eq!((read.len(), end), (parts, Err(AnswerError::Closed)), "{length}");
        }
    }
    is_undisturbed(&mut asker, &honest).await;
    assert!(!raw.is_cut_off());
}
