//! Outputs before their range, in another size, too many, or not at all.

use std::time::Duration;

use ketch_net::{AnswerError, OutputsOpening, OutputsStep, OutputsStream};
use ketch_types::{Epoch, Height, ShardId};
use ketch_wire::{OutputsEnd, OutputsRequest, Refusal};

use super::super::bytes::{
    CHUNK_OUTPUTS, END, OUTLINE_BYTES, PART_RAW, RANGE, frame, number, part,
};
use super::super::raw::{Raw, within_patience};
use super::super::{OUTPUTS, is_undisturbed};
use super::{Then, answer, three};
use crate::net::node::{Node, config};

/// What an answer of outputs comes to, whose range is of these chunks: how many outputs come.
async fn outputs_read(
    asker: &Node,
    raw: &mut Raw,
    chunks: &[u64],
    sent: &[u8],
    then: Then,
) -> (usize, Result<OutputsEnd, AnswerError>) {
    let (shard, after, newest_epoch) = (ShardId(7), Height(9), Epoch(3));
    let request = OutputsRequest { shard, after, budget_bytes: 1, newest_epoch };
    let peer = raw.peer.clone();
    // The opening comes once the range is there.
    let asking = within_patience(asker.network.outputs(&peer, &request));
    let (opening, _sender) = tokio::join!(asking, answer(raw, OUTPUTS, sent, then));
    match opening {
        Ok(OutputsOpening::Refused(refusal)) => (0, Ok(OutputsEnd::Refused(refusal))),
        Ok(OutputsOpening::Range(range)) => {
            assert_eq!(range.range(), b"range");
            within_patience(outputs_to_end(range.verified(chunks.to_vec()))).await
        }
        Err(error) => (0, Err(error)),
    }
}

async fn outputs_to_end(mut stream: OutputsStream) -> (usize, Result<OutputsEnd, AnswerError>) {
    let mut read = 0;
    loop {
        match stream.next().await {
            Ok(OutputsStep::Progress) => {}
            Ok(OutputsStep::Outputs(chunk, _)) => {
                assert_eq!(chunk, read);
                read += 1;
            }
            Ok(OutputsStep::End(end)) => return (read, Ok(end)),
            Err(error) => return (read, Err(error)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_frames_that_break_the_protocol_are_faults() {
    let (mut asker, honest, mut raw) = three(config()).await;
    let range = frame(RANGE, b"range");
    let after_range = |frames: &[u8]| [&range[..], frames].concat();
    let first = frame(CHUNK_OUTPUTS, &[1; 14]);
    let header = |kind: u8, length: u32| [&[kind][..], &length.to_le_bytes()].concat();
    let cases = [
        // In place of a range.
        (0, first.clone()),
        (0, header(RANGE, 8_388_609)),
        (0, header(RANGE, u32::MAX)),
        (0, frame(END, b"")),
        (0, frame(END, &[0xff; 3])),
        (0, header(END, 147_457)),
        (0, part(PART_RAW, 0, &[1; 10])),
        (0, frame(OUTLINE_BYTES, b"body")),
        (0, frame(6, b"body")),
        // After it: two chunks, of 10 and 20 bytes of outputs.
        (0, after_range(&range)),
        (0, after_range(&frame(END, b""))),
        (0, after_range(&frame(CHUNK_OUTPUTS, &[1; 13]))),
        (0, after_range(&frame(CHUNK_OUTPUTS, &[1; 24]))),
        (0, after_range(&header(CHUNK_OUTPUTS, u32::MAX))),
        (0, after_range(&part(PART_RAW, 0, &[1; 10]))),
        (0, after_range(&frame(END, &number(3, 4)))),
        (1, after_range(&[first.clone(), first.clone()].concat())),
        (1, after_range(&[first.clone(), range.clone()].concat())),
        (2, after_range(&[&first[..], &frame(CHUNK_OUTPUTS, &[1; 24]), &first].concat())),
    ];
    for (outputs, sent) in cases {
        let (read, end) = outputs_read(&asker, &mut raw, &[10, 20], &sent, Then::Waits).await;
        assert_eq!(read, outputs, "{sent:?}");
        assert!(matches!(end, Err(AnswerError::Fault(_))), "{sent:?}: {end:?}");
    }
    let (read, end) = outputs_read(&asker, &mut raw, &[], &after_range(&first), Then::Waits).await;
    assert!(matches!((read, &end), (0, Err(AnswerError::Fault(_)))), "{end:?}");
    is_undisturbed(&mut asker, &honest).await;
    assert!(!raw.is_cut_off(), "whoever asked is to judge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_may_end_after_the_first_and_a_range_without_chunks_alone() {
    let (mut asker, honest, mut raw) = three(config()).await;
    let range = frame(RANGE, b"range");
    let some = [&range[..], &frame(CHUNK_OUTPUTS, &[1; 14]), &frame(END, b"")].concat();
    let read = outputs_read(&asker, &mut raw, &[10, 20], &some, Then::Closes).await;
    assert_eq!(read, (1, Ok(OutputsEnd::Sent)));
    let none = [&range[..], &frame(END, b"")].concat();
    let read = outputs_read(&asker, &mut raw, &[], &none, Then::Closes).await;
    assert_eq!(read, (0, Ok(OutputsEnd::Sent)));
    let refused = (0, Ok(OutputsEnd::Refused(Refusal::NotHeld)));
    for sent in [frame(END, &number(1, 1)), [range, frame(END, &number(1, 1))].concat()] {
        let read = outputs_read(&asker, &mut raw, &[10], &sent, Then::Closes).await;
        assert_eq!(read, refused);
    }
    is_undisturbed(&mut asker, &honest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_that_stop_or_are_broken_off_are_no_fault() {
    let mut short = config();
    short.timeouts.stall = Duration::from_millis(200);
    short.timeouts.first_byte = Duration::from_millis(900);
    let (mut asker, honest, mut raw) = three(short).await;
    let sent = [frame(RANGE, b"range"), frame(CHUNK_OUTPUTS, &[1; 14])].concat();
    for (length, outputs) in [(0, 0), (3, 0), (8, 0), (10, 0), (12, 0), (20, 0), (sent.len(), 1)] {
        for (then, error) in [
            (Then::Waits, AnswerError::TimedOut),
            (Then::Closes, AnswerError::Closed),
            (Then::Resets, AnswerError::Closed),
        ] {
            let read = outputs_read(&asker, &mut raw, &[10, 20], &sent[..length], then).await;
            assert_eq!(read, (outputs, Err(error)), "{length}");
        }
    }
    is_undisturbed(&mut asker, &honest).await;
    assert!(!raw.is_cut_off());
}
