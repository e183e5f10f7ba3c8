//! Answers to peers' questions: what the coordinator is asked about, each with a task that writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use ketch_coordinator::{Ask, Input, Peer, PeerQuery};
use ketch_net::{AnswerWriter, ControlReply, Question, SendError};
use ketch_types::{PartIndex, PartSet, PeerId, ShardId, StateRoot};
use ketch_wire::{
    End, OutputsRequest, PartsEnd, Refusal, Request, Response, Summary, outline_frames,
    part_frame_header,
};
use tokio::sync::mpsc;

use super::asking::blocking;
use super::{Driver, Shared, Told};
use crate::book::Book;

impl Driver {
    /// A connected peer asks for something.
    pub(super) fn asked(&mut self, id: &PeerId, question: Question) {
        // Dropped, the question is closed: the peer asks another.
        let Some(peer) = self.peers.handle(id).filter(|_| !self.answers.is_closed()) else {
            return;
        };
        let input = match question {
            Question::Control(Request::Summary(request), reply) => {
                let ask = self.answers.open(Answer::Control(reply));
                let query = PeerQuery::Summary(request.shards().to_vec());
                Input::Asked { ask, peer, query }
            }
            Question::Control(request, reply) => return self.answers.of_ledger(request, reply),
            Question::Outline(request, writer) => {
                let query = PeerQuery::Outline { root: request.root, cut: request.cut };
                self.answers.streamed(writer, Stream::Outline, peer, query)
            }
            Question::Parts(request, writer) => {
                self.answers.streamed(writer, Stream::Parts, peer, PeerQuery::Parts(request))
            }
            Question::Outputs(request, writer) => {
                self.answers.streamed(writer, Stream::Outputs, peer, PeerQuery::Outputs(request))
            }
        };
        self.tell(input);
    }
}

/// Answers that are being given.
pub(super) struct Answers {
    shared: Arc<Shared>,
    open: BTreeMap<Ask, Answer>,
    next: u64,
    closed: bool,
}

enum Answer {
    Control(ControlReply),
    /// The task that writes, and what it is to write.
    Stream(mpsc::UnboundedSender<Piece>),
}

/// Which stream an answer is on.
#[derive(Clone, Copy)]
enum Stream {
    Outline,
    Parts,
    Outputs,
}

/// A piece of an answer.
enum Piece {
    Part { shard: ShardId, root: StateRoot, part: PartIndex },
    Outline { shard: ShardId, root: StateRoot },
    Outputs(OutputsRequest),
    End { refusal: Option<Refusal>, held: Option<PartSet> },
}

impl Answers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, open: BTreeMap::new(), next: 0, closed: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes no more questions.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn closed(&mut self, ask: Ask) {
        self.open.remove(&ask);
    }

    pub(super) fn summary(&mut self, ask: Ask, summary: Summary) {
        self.reply(ask, Response::Summary(summary));
    }

    pub(super) fn outline(&mut self, ask: Ask, shard: ShardId, root: StateRoot) {
        self.piece(ask, Piece::Outline { shard, root });
    }

    pub(super) fn outputs(&mut self, ask: Ask, request: OutputsRequest) {
        self.piece(ask, Piece::Outputs(request));
    }

    pub(super) fn part(&mut self, ask: Ask, shard: ShardId, root: StateRoot, part: PartIndex) {
        self.piece(ask, Piece::Part { shard, root, part });
    }

    pub(super) fn end(&mut self, ask: Ask, refusal: Option<Refusal>, held: Option<PartSet>) {
        if let Some(Answer::Control(_)) = self.open.get(&ask) {
            return self.reply(ask, Response::Refusal(refusal.unwrap_or(Refusal::NotHeld)));
        }
        self.piece(ask, Piece::End { refusal, held });
    }

    fn open(&mut self, answer: Answer) -> Ask {
        self.next = self.next.saturating_add(1);
        self.open.insert(Ask(self.next), answer);
        Ask(self.next)
    }

    fn piece(&self, ask: Ask, piece: Piece) {
        if let Some(Answer::Stream(task)) = self.open.get(&ask) {
            // A task that has ended has said so.
            let _ = task.send(piece);
        }
    }

    fn reply(&mut self, ask: Ask, response: Response) {
        let Some(Answer::Control(reply)) = self.open.remove(&ask) else { return };
        let told = self.shared.told.clone();
        tokio::spawn(async move {
            if let Err(error) = reply.send(&response).await {
                tracing::debug!(%error, "a response was not taken");
            }
            // Without a driver there is nothing to be told.
            let _ = told.send(Told::Asked(Input::AskClosed { ask }, Some(ask)));
        });
    }

    /// Answers what is asked of the ledger, about which there is nothing to decide.
    fn of_ledger(&self, request: Request, reply: ControlReply) {
        let book = Arc::clone(&self.shared.book);
        tokio::spawn(async move {
            let response = ledger_answer(&book, request).await;
            if let Err(error) = reply.send(&response).await {
                tracing::debug!(%error, "a response was not taken");
            }
        });
    }

    fn streamed(
        &mut self,
        writer: AnswerWriter,
        stream: Stream,
        peer: Peer,
        query: PeerQuery,
    ) -> Input {
        let (to_task, pieces) = mpsc::unbounded_channel();
        let ask = self.open(Answer::Stream(to_task));
        let writing = Writing { shared: Arc::clone(&self.shared), ask, stream };
        tokio::spawn(writing.run(writer, pieces));
        Input::Asked { ask, peer, query }
    }
}

/// An answer that is being written.
struct Writing {
    shared: Arc<Shared>,
    ask: Ask,
    stream: Stream,
}

impl Writing {
    /// Writes piece after piece, until the end or until nobody wants the rest.
    async fn run(self, mut writer: AnswerWriter, mut pieces: mpsc::UnboundedReceiver<Piece>) {
        let written = loop {
            let piece = tokio::select! {
                piece = pieces.recv() => piece,
                () = writer.unwanted() => None,
            };
            // The driver closes what it has no use for.
            let Some(piece) = piece else { break Ok(()) };
            let is_last = !matches!(piece, Piece::Part { .. });
            let written = self.write(&mut writer, piece).await;
            if written.is_err() || is_last {
                break written;
            }
        };
        match written {
            Ok(()) => {
                // Whether the last bytes are taken is the reader's affair.
                let _ = writer.finish().await;
            }
            Err(error) => tracing::debug!(%error, "an answer was cut off"),
        }
        self.tell(Input::AskClosed { ask: self.ask }, Some(self.ask));
    }

    fn tell(&self, input: Input, closed: Option<Ask>) {
        // Without a driver there is nothing to be told.
        let _ = self.shared.told.send(Told::Asked(input, closed));
    }

    async fn write(&self, writer: &mut AnswerWriter, piece: Piece) -> Result<(), SendError> {
        match piece {
            Piece::Part { shard, root, part } => self.part(writer, shard, root, part).await,
            Piece::Outline { shard, root } => self.outline(writer, shard, root).await,
            Piece::Outputs(request) => send_outputs(&self.shared.book, &request, writer).await,
            Piece::End { refusal, held } => writer.send(&self.end(refusal, held)).await,
        }
    }

    async fn part(
        &self,
        writer: &mut AnswerWriter,
        shard: ShardId,
        root: StateRoot,
        part: PartIndex,
    ) -> Result<(), SendError> {
        let (shared, ask) = (Arc::clone(&self.shared), self.ask);
        let packed = blocking(move || shared.shards.cached(shard, root, part)).await.flatten();
        let Some(packed) = packed else {
            self.tell(Input::PartNotCached { ask, part }, None);
            return Ok(());
        };
        writer.send(&part_frame_header(part, &packed)?).await?;
        writer.send(&packed.bytes).await?;
        self.tell(Input::PartSent { ask, part }, None);
        Ok(())
    }

    async fn outline(
        &self,
        writer: &mut AnswerWriter,
        shard: ShardId,
        root: StateRoot,
    ) -> Result<(), SendError> {
        let shared = Arc::clone(&self.shared);
        let manifest = blocking(move || shared.shards.manifest(shard, root)).await.flatten();
        let Some(manifest) = manifest else {
            return writer.send(&self.end(Some(Refusal::NotHeld), None)).await;
        };
        for frame in outline_frames(manifest.outline()) {
            writer.send(&frame).await?;
        }
        writer.send(&self.end(None, None)).await
    }

    fn end(&self, refusal: Option<Refusal>, held: Option<PartSet>) -> Vec<u8> {
        match (self.stream, refusal, held) {
            (Stream::Outline | Stream::Outputs, refusal, _) => End { refusal }.frame(),
            (Stream::Parts, None, Some(held)) => PartsEnd::Sent { held }.frame(),
            (Stream::Parts, refusal, held) => {
                let refusal = refusal.unwrap_or(Refusal::NotHeld);
                PartsEnd::Refused { refusal, held }.frame()
            }
        }
    }
}

/// What the book answers; an error of ours is answered as not held.
pub(crate) async fn ledger_answer(book: &Arc<Book>, request: Request) -> Response {
    let book = Arc::clone(book);
    match blocking(move || book.answer(&request)).await {
        Some(Ok(response)) => return response,
        Some(Err(error)) => tracing::error!(%error, "a question about the chain is not answered"),
        None => {}
    }
    Response::Refusal(Refusal::NotHeld)
}

/// Streams what the book has of the outputs that are asked for, with the end.
pub(crate) async fn send_outputs(
    book: &Arc<Book>,
    request: &OutputsRequest,
    writer: &mut AnswerWriter,
) -> Result<(), SendError> {
    let (book, OutputsRequest { shard, after, budget_bytes, newest_epoch }) =
        (Arc::clone(book), *request);
    let served =
        blocking(move || book.outputs_answer(shard, after, budget_bytes, newest_epoch)).await;
    let mut served = match served {
        Some(Ok(Ok(served))) => served,
        Some(Ok(Err(refusal))) => {
            return writer.send(&End { refusal: Some(refusal) }.frame()).await;
        }
        // An error of ours: the answer is cut off.
        Some(Err(_)) | None => return Err(SendError::Closed),
    };
    loop {
        let next = blocking(move || {
            let frame = served.next();
            (served, frame)
        });
        match next.await {
            Some((rest, Some(Ok(frame)))) => {
                served = rest;
                writer.send(&frame).await?;
            }
            Some((_, None)) => return Ok(()),
            Some((_, Some(Err(_)))) | None => return Err(SendError::Closed),
        }
    }
}
