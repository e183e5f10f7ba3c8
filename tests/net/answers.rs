//! Questions and their answers, over all four protocols.

use std::time::Duration;

use ketch_net::{
    AnswerError, AnswerWriter, OutputsOpening, OutputsStep, PartsStep, PartsStream, Question,
    SendError,
};
use ketch_trie::PackedPart;
use ketch_types::{Epoch, Height, PartSet, ShardId};
use ketch_wire::{
    End, EpochEnds, EpochEndsRequest, FrameHeader, FrameKind, Head, LedgerBytes, OutlineEnd,
    OutlineRequest, OutputsEnd, OutputsRequest, PartsAnswer, PartsEnd, PartsRequest, Refusal,
    Request, Response, Summary, SummaryRequest, outline_frames, part_frame_header, wanted_bytes,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::node::{Node, PATIENCE, config};
use super::state::{CUT, State};

/// A client that is connected to a server.
async fn pair() -> (Node, Node) {
    let mut server = Node::start(1).await;
    let client = Node::beside(2, &mut [&mut server]).await;
    (server, client)
}

fn ask(
    client: &Node,
    server: &Node,
    request: Request,
) -> JoinHandle<Result<Response, AnswerError>> {
    let (network, peer) = (client.network.clone(), server.peer.clone());
    tokio::spawn(async move { network.ask(&peer, &request).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_control_request_is_asked_as_it_is_and_answered_as_it_is() {
    let (mut server, client) = pair().await;
    let summary = Request::Summary(SummaryRequest::new(vec![ShardId(3), ShardId(9)]).unwrap());
    let ends = Request::EpochEnds(EpochEndsRequest::new(Epoch(4), 2).unwrap());
    let bytes = |byte| LedgerBytes(vec![byte; 100_000]);
    let head = Head { signed_ledger_info: bytes(1), block: bytes(2) };
    let answers = [
        (summary, Response::Summary(Summary::fitting(vec![], vec![]))),
        (Request::Head, Response::Head(head)),
        (ends, Response::EpochEnds(EpochEnds::new(vec![bytes(3), bytes(4)]).unwrap())),
        (Request::Head, Response::Refusal(Refusal::NotHeld)),
    ];
    for (request, response) in answers {
        let asked = ask(&client, &server, request.clone());
        let (peer, Question::Control(heard, reply)) = server.asked().await else {
            panic!("something else was asked");
        };
        assert_eq!((peer, heard), (client.peer.clone(), request));
        reply.send(&response).await.unwrap();
        assert_eq!(asked.await.unwrap(), Ok(response));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_dropped_is_closed() {
    let (mut server, client) = pair().await;
    let asked = ask(&client, &server, Request::Head);
    drop(server.asked().await);
    assert_eq!(asked.await.unwrap(), Err(AnswerError::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_asked_and_goes_away_has_not_answered() {
    let (mut server, client) = pair().await;
    let asked = ask(&client, &server, Request::Head);
    let question = server.asked().await;
    drop(server);
    assert_eq!(asked.await.unwrap(), Err(AnswerError::Closed));
    drop(question);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outline_is_checked_as_it_comes() {
    let (mut server, client) = pair().await;
    let state = State::of_entries(3_000);
    let request = OutlineRequest { root: state.manifest.root(), cut: CUT };
    let (network, peer) = (client.network.clone(), server.peer.clone());
    let outline = tokio::spawn(async move {
        let mut stream = network.outline(&peer, &request).await?;
        loop {
            if let Some(end) = stream.next().await? {
                return Ok::<_, AnswerError>(end);
            }
        }
    });
    let (_, Question::Outline(heard, mut answer)) = server.asked().await else {
        panic!("something else was asked");
    };
    assert_eq!(heard, request);
    for frame in outline_frames(state.manifest.outline()) {
        answer.send(&frame).await.unwrap();
    }
    answer.send(&End { refusal: None }.frame()).await.unwrap();
    answer.finish().await.unwrap();
    let complete = OutlineEnd::Complete(state.manifest.outline().clone());
    assert_eq!(outline.await.unwrap(), Ok(complete));
}

async fn send_part(
    answer: &mut AnswerWriter,
    index: ketch_types::PartIndex,
    part: &PackedPart,
) -> Result<(), SendError> {
    answer.send(&part_frame_header(index, part)?).await?;
    answer.send(&part.bytes).await
}

/// Asks for parts of a state; the stream, and the server's side of it.
pub(super) async fn parts(
    client: &Node,
    server: &mut Node,
    state: &State,
    wanted: &PartSet,
) -> (PartsStream, AnswerWriter) {
    let request = PartsRequest::new(state.manifest.root(), CUT, wanted.clone(), 1 << 30).unwrap();
    let sizes = wanted_bytes(&state.manifest, wanted);
    let reading = PartsAnswer::new(wanted.clone(), &sizes).unwrap();
    let stream = client.network.parts(&server.peer, &request, reading).await.unwrap();
    let (peer, Question::Parts(heard, answer)) = server.asked().await else {
        panic!("something else was asked");
    };
    assert_eq!((peer, heard), (client.peer.clone(), request));
    (stream, answer)
}

/// Sends every part that is wanted, the last one first, and the end.
pub(super) async fn serve(mut answer: AnswerWriter, state: &State, wanted: &PartSet) {
    let mut order: Vec<_> = wanted.iter().collect();
    order.reverse();
    for index in order {
        send_part(&mut answer, index, &state.packed(index)).await.unwrap();
    }
    answer.send(&PartsEnd::Sent { held: wanted.clone() }.frame()).await.unwrap();
    answer.finish().await.unwrap();
}

/// Reads parts up to the end, and verifies them.
pub(super) async fn take(stream: &mut PartsStream, state: &State) -> (PartSet, PartsEnd) {
    let mut taken = PartSet::empty(state.manifest.part_count());
    loop {
        match stream.next().await.unwrap() {
            PartsStep::Progress(..) => {}
            PartsStep::Part(frame, bytes) => {
                let part_bytes = state.manifest.part(frame.index).unwrap().bytes();
                let packed = PackedPart { packing: frame.packing, bytes };
                let payload = packed.unpack(part_bytes as usize).unwrap();
                state.manifest.verify(frame.index, payload).unwrap();
                assert!(taken.insert(frame.index));
            }
            PartsStep::End(end) => return (taken, end),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_come_in_any_order_and_give_the_state() {
    let (mut server, client) = pair().await;
    let state = State::of_entries(3_000);
    let wanted = PartSet::full(state.manifest.part_count());
    assert!(wanted.len() > 10);
    let (mut stream, answer) = parts(&client, &mut server, &state, &wanted).await;
    let (taken, ()) = tokio::join!(take(&mut stream, &state), serve(answer, &state, &wanted));
    assert_eq!(taken, (wanted.clone(), PartsEnd::Sent { held: wanted }));
    assert_eq!(stream.next().await, Err(AnswerError::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_reading_an_answer_ends_it() {
    let (mut server, client) = pair().await;
    let state = State::of_entries(3_000);
    let wanted = PartSet::full(state.manifest.part_count());
    let (stream, mut answer) = parts(&client, &mut server, &state, &wanted).await;
    drop(stream);
    let part = state.packed(ketch_types::PartIndex(0));
    let ended = loop {
        if let Err(error) = send_part(&mut answer, ketch_types::PartIndex(0), &part).await {
            break error;
        }
    };
    assert_eq!(ended, SendError::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_has_nothing_to_send_yet_hears_that_nobody_waits() {
    let (mut server, client) = pair().await;
    let state = State::of_entries(3_000);
    let wanted = PartSet::full(state.manifest.part_count());
    let (stream, mut answer) = parts(&client, &mut server, &state, &wanted).await;
    let waits = Duration::from_millis(50);
    assert!(tokio::time::timeout(waits, answer.unwanted()).await.is_err());
    drop(stream);
    tokio::time::timeout(PATIENCE, answer.unwanted()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_follow_the_range_once_it_is_verified() {
    let (mut server, client) = pair().await;
    let (shard, after) = (ShardId(7), Height(3));
    let request = OutputsRequest { shard, after, budget_bytes: 1 << 20, newest_epoch: Epoch(1) };
    let (network, peer) = (client.network.clone(), server.peer.clone());
    let opening = tokio::spawn(async move { network.outputs(&peer, &request).await });
    let (_, Question::Outputs(heard, mut answer)) = server.asked().await else {
        panic!("something else was asked");
    };
    assert_eq!(heard, request);
    let frame =
        |kind, body: &[u8]| [&FrameHeader::new(kind, body.len()).unwrap().encode(), body].concat();
    let served = async {
        answer.send(&frame(FrameKind::Range, b"a range")).await.unwrap();
        answer.send(&frame(FrameKind::Outputs, &[7; 14])).await.unwrap();
        answer.send(&frame(FrameKind::Outputs, &vec![8; 600_004])).await.unwrap();
        answer.send(&End { refusal: Some(Refusal::NotHeld) }.frame()).await.unwrap();
        answer.finish().await.unwrap();
    };
    let read = async {
        let Ok(OutputsOpening::Range(range)) = opening.await.unwrap() else {
            panic!("there is a range");
        };
        assert_eq!(range.range(), b"a range");
        let mut outputs = range.verified(vec![10, 600_000, 5]);
        let mut steps = Vec::new();
        loop {
            let step = outputs.next().await.unwrap();
            let is_end = matches!(step, OutputsStep::End(_));
            if step != OutputsStep::Progress {
                steps.push(step);
            }
            if is_end {
                return steps;
            }
        }
    };
    let ((), steps) = tokio::join!(served, read);
    let end = OutputsStep::End(OutputsEnd::Refused(Refusal::NotHeld));
    let first = OutputsStep::Outputs(0, vec![7; 14]);
    assert_eq!(steps, [first, OutputsStep::Outputs(1, vec![8; 600_004]), end]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_keep_to_the_limits_both_ways() {
    let state = State::of_entries(3_000);
    let wanted = PartSet::full(state.manifest.part_count());
    let bytes: usize = wanted.iter().map(|part| state.packed(part).bytes.len()).sum();
    let limit = Some(bytes as u64);
    for (upload, download) in [(limit, None), (None, limit)] {
        let mut limited = config();
        (limited.upload_limit, limited.download_limit) = (upload, download);
        let mut server = Node::with(1, limited.clone()).await;
        limited.contacts = vec![server.contact()];
        let mut client = Node::with(2, limited).await;
        client.connected(&server.peer).await;
        let (mut stream, answer) = parts(&client, &mut server, &state, &wanted).await;
        let begun = Instant::now();
        let (taken, ()) = tokio::join!(take(&mut stream, &state), serve(answer, &state, &wanted));
        assert_eq!(taken.0, wanted);
        // A bucket that is full at first, and what is under way in buffers, come on top.
        assert!(begun.elapsed() > Duration::from_millis(400), "{:?}", begun.elapsed());
    }
}
