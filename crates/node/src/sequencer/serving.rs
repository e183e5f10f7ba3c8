//! What a sequencer serves: heads, ledger data and outputs, never parts.

use std::sync::Arc;

use ketch_net::{
    AnswerWriter, ControlReply, Judgement, Network, NetworkEvent, NetworkEvents, Question,
    SendError,
};
use ketch_wire::{End, Following, OutputsRequest, PartsEnd, Refusal, Request, Response, Summary};
use tokio::sync::watch;

use crate::book::Book;
use crate::driver::{ledger_answer, send_outputs};

/// Serves until the network is left; how many peers are connected goes to `connected`.
pub(crate) async fn serve(
    network: Network,
    book: Arc<Book>,
    mut events: NetworkEvents,
    connected: watch::Sender<usize>,
) {
    while let Some(event) = events.next().await {
        match event {
            NetworkEvent::Connected(_) => connected.send_modify(|count| *count += 1),
            NetworkEvent::Disconnected(_) => {
                connected.send_modify(|count| *count = count.saturating_sub(1));
            }
            NetworkEvent::Asked { question, .. } => {
                let book = Arc::clone(&book);
                tokio::spawn(async move {
                    if let Err(error) = answer(book, question).await {
                        tracing::debug!(%error, "an answer was cut off");
                    }
                });
            }
            // It makes the heads; announcements are of no use to it, and others pass them on.
            NetworkEvent::HeadGossiped { delivery, .. }
            | NetworkEvent::Announced { delivery, .. } => {
                network.judge(delivery, Judgement::Ignore);
            }
            NetworkEvent::Misbehaved { peer, fault } => {
                tracing::warn!(peer = ketch_net::peer_text(&peer), ?fault, "a peer is banned");
            }
        }
    }
}

async fn answer(book: Arc<Book>, question: Question) -> Result<(), SendError> {
    match question {
        Question::Control(request, reply) => control(book, request, reply).await,
        Question::Outputs(request, writer) => outputs(book, request, writer).await,
        Question::Outline(_, writer) => {
            end(writer, &End { refusal: Some(Refusal::NotHeld) }.frame()).await
        }
        Question::Parts(_, writer) => {
            let refusal = Refusal::NotHeld;
            end(writer, &PartsEnd::Refused { refusal, held: None }.frame()).await
        }
    }
}

async fn control(book: Arc<Book>, request: Request, reply: ControlReply) -> Result<(), SendError> {
    let response = match request {
        Request::Summary(asked) => {
            let head = book.head().map(|head| head.height());
            let following = asked.shards().iter().filter_map(|shard| {
                Following::new(*shard, book.outputs_after(*shard)?.next(), head?).ok()
            });
            Response::Summary(Summary::fitting(vec![], following.collect()))
        }
        request => ledger_answer(&book, request).await,
    };
    reply.send(&response).await
}

async fn outputs(
    book: Arc<Book>,
    request: OutputsRequest,
    mut writer: AnswerWriter,
) -> Result<(), SendError> {
    send_outputs(&book, &request, &mut writer).await?;
    writer.finish().await
}

async fn end(mut writer: AnswerWriter, frame: &[u8]) -> Result<(), SendError> {
    writer.send(frame).await?;
    writer.finish().await
}
