//! Outlines that are wrong, too long, or do not end.

use std::time::Duration;

use futures::io::AsyncWriteExt as _;
use ketch_net::{AnswerError, OutlineStream};
use ketch_trie::Outline;
use ketch_wire::{OutlineEnd, OutlineRequest, Refusal};

use super::super::bytes::{
    CHUNK_OUTPUTS, END, OUTLINE_BYTES, PART_RAW, RANGE, frame, number, part,
};
use super::super::raw::{Raw, within_patience};
use super::super::{OUTLINE, is_undisturbed};
use super::{Then, answer, three};
use crate::net::node::{Node, config};
use crate::net::state::{CUT, State};

fn outline() -> Outline {
    State::of_entries(400).manifest.outline().clone()
}

/// The outline's opening and records.
fn outline_bytes(outline: &Outline) -> Vec<u8> {
    [&outline.opening()[..], outline.records()].concat()
}

async fn outline_read(
    asker: &Node,
    raw: &mut Raw,
    sent: &[u8],
    then: Then,
) -> Result<OutlineEnd, AnswerError> {
    let request = OutlineRequest { root: outline().root(), cut: CUT };
    let peer = raw.peer.clone();
    let asking = asker.network.outline(&peer, &request);
    let (stream, _sender) = tokio::join!(asking, answer(raw, OUTLINE, sent, then));
    within_patience(outline_to_end(stream.unwrap())).await
}

async fn outline_to_end(mut stream: OutlineStream) -> Result<OutlineEnd, AnswerError> {
    loop {
        if let Some(end) = stream.next().await? {
            return Ok(end);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outlines_that_break_the_protocol_are_faults() {
    let (mut asker, honest, mut raw) = three(config()).await;
    let all = outline_bytes(&outline());
    let changed = |at: usize| {
        let mut bytes = all.clone();
        bytes[at] ^= 1;
        frame(OUTLINE_BYTES, &bytes)
    };
    let whole = frame(OUTLINE_BYTES, &all);
    let cases = [
        changed(0),
        changed(all.len() - 1),
        changed(all.len() / 2),
        frame(OUTLINE_BYTES, b""),
        [&[OUTLINE_BYTES][..], &65_537_u32.to_le_bytes()].concat(),
        [&[OUTLINE_BYTES][..], &[0xff; 4]].concat(),
        frame(OUTLINE_BYTES, &[&all[..], &[0]].concat()),
        [whole.clone(), whole].concat(),
        frame(END, b""),
        [frame(OUTLINE_BYTES, &all[..all.len() - 1]), frame(END, b"")].concat(),
        frame(END, &number(3, 4)),
        frame(END, &[0xff; 3]),
        frame(6, b"body"),
        part(PART_RAW, 0, &[1; 100]),
        frame(RANGE, b"body"),
        frame(CHUNK_OUTPUTS, b"body"),
    ];
    for sent in cases {
        let end = outline_read(&asker, &mut raw, &sent, Then::Waits).await;
        assert!(matches!(end, Err(AnswerError::Fault(_))), "{sent:?}: {end:?}");
    }
    is_undisturbed(&mut asker, &honest).await;
    assert!(!raw.is_cut_off(), "whoever asked is to judge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_without_end_are_refused_at_the_first_that_is_too_much() {
    let (mut asker, honest, mut raw) = three(config()).await;
    let all = outline_bytes(&outline());
    let request = OutlineRequest { root: outline().root(), cut: CUT };
    let peer = raw.peer.clone();
    let (stream, asked) = tokio::join!(asker.network.outline(&peer, &request), raw.asked(OUTLINE));
    let (_, mut sender) = asked;
    let endless = tokio::spawn(async move {
        let frame = frame(OUTLINE_BYTES, &all);
        // Until it is cut off.
        while sender.write_all(&frame).await.is_ok() {}
    });
    let end = within_patience(outline_to_end(stream.unwrap())).await;
    assert!(matches!(end, Err(AnswerError::Fault(_))), "{end:?}");
    within_patience(endless).await.unwrap();
    is_undisturbed(&mut asker, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outline_is_taken_in_any_pieces_and_whatever_reason_follows_it() {
    let (mut asker, honest, mut raw) = three(config()).await;
    let all = outline_bytes(&outline());
    let bytewise: Vec<u8> = all.iter().flat_map(|byte| frame(OUTLINE_BYTES, &[*byte])).collect();
    for end in [frame(END, b""), frame(END, &number(1, 1))] {
        let sent = [&bytewise[..], &end].concat();
        let read = outline_read(&asker, &mut raw, &sent, Then::Closes).await;
        assert_eq!(read, Ok(OutlineEnd::Complete(outline())));
    }
    let some = frame(OUTLINE_BYTES, &all[..all.len() - 1]);
    let refused = Ok(OutlineEnd::Refused(Refusal::NotHeld));
    for sent in [frame(END, &number(1, 1)), [some.clone(), frame(END, &number(1, 1))].concat()] {
        assert_eq!(outline_read(&asker, &mut raw, &sent, Then::Closes).await, refused);
    }
    for then in [Then::Closes, Then::Resets] {
        let read = outline_read(&asker, &mut raw, &some, then).await;
        assert_eq!(read, Err(AnswerError::Closed));
    }
    is_undisturbed(&mut asker, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outline_that_stops_is_waited_for_and_nobody_is_blamed() {
    let mut short = config();
    short.timeouts.stall = Duration::from_millis(200);
    short.timeouts.first_byte = Duration::from_millis(900);
    let (mut asker, honest, mut raw) = three(short).await;
    let whole = frame(OUTLINE_BYTES, &outline_bytes(&outline()));
    for sent in [&whole[..0], &whole[..3], &whole[..50], &whole[..]] {
        let read = outline_read(&asker, &mut raw, sent, Then::Waits).await;
        assert_eq!(read, Err(AnswerError::TimedOut), "{}", sent.len());
    }
    is_undisturbed(&mut asker, &honest).await;
    assert!(!raw.is_cut_off());
}
