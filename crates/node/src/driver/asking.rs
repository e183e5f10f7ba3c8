//! Questions to peers, each a task of its own.

use std::sync::Arc;
use std::time::Instant;

use ketch_coordinator::{Failure, Fault, Input, Peer, Query, RequestEnd, RequestId};
use ketch_ledger::Outputs;
use ketch_net::{AnswerError, AnswerFault, OutputsOpening, OutputsStep, OutputsStream, PartsStep};
use ketch_trie::{Manifest, PackedPart, VerifiedPart};
use ketch_types::{Epoch, Height, PartIndex, PartSet, PeerId, ShardId, StateRoot};
use ketch_wire::{
    FrameFault, OutlineEnd, OutlineRequest, OutputsRequest, PartFrame, PartsAnswer, PartsEnd,
    PartsRequest, Refusal, Request, Response, SummaryRequest, wanted_bytes,
};
use tokio::task::JoinHandle;

use super::flow::Flow;
use super::{Brought, Driver, Outgoing, Shared, Told};
use crate::book::TakeError;

impl Driver {
    pub(super) fn ask(&mut self, request: RequestId, peer: Peer, query: Query) {
        let Some(id) = self.peers.id(peer).cloned() else {
            let end = RequestEnd::Failed(Failure::Disconnected);
            return self.tell(Input::RequestEnded { request, end });
        };
        tracing::debug!(%request, %peer, ?query, "asking");
        let parts_of = match &query {
            Query::Parts { shard, root, .. } => Some((*shard, *root)),
            _ => None,
        };
        let asking = Asking { shared: Arc::clone(&self.shared), request, peer: id };
        let task = tokio::spawn(asking.run(query)).abort_handle();
        self.requests.insert(request, Outgoing { peer, parts_of, task });
    }

    pub(super) fn cancel(&mut self, request: RequestId) {
        if let Some(outgoing) = self.requests.remove(&request) {
            outgoing.task.abort();
            let end = RequestEnd::Failed(Failure::Cancelled);
            self.tell(Input::RequestEnded { request, end });
        }
    }

    /// Takes in what a request brought, unless it was closed meanwhile.
    pub(super) fn request_brought(&mut self, request: RequestId, brought: Brought) {
        let Some(outgoing) = self.requests.get(&request) else { return };
        match brought {
            Brought::Progress(bytes) => self.tell(Input::RequestProgressed { request, bytes }),
            Brought::Part(part) => {
                let (index, state) = (part.index(), outgoing.parts_of);
                if let Some(state) = state {
                    let is_validator = self.peers.is_validator(outgoing.peer);
                    let bytes = part.payload().len();
                    self.report.part(state, outgoing.peer, is_validator, bytes);
                    // A second copy is dropped.
                    self.arrived.entry(state).or_default().entry(index).or_insert(*part);
                }
                self.tell(Input::PartVerified { request, part: index });
            }
            Brought::End(end) => {
                tracing::debug!(%request, ?end, "answered");
                self.report.request_ended(outgoing.peer, outgoing.parts_of, &end);
                self.requests.remove(&request);
                self.tell(Input::RequestEnded { request, end });
            }
        }
    }
}

/// A question that is being asked.
struct Asking {
    shared: Arc<Shared>,
    request: RequestId,
    peer: PeerId,
}

/// How a question ends, if not as it should.
type Ends = Result<RequestEnd, RequestEnd>;

impl Asking {
    async fn run(self, query: Query) {
        let end = match query {
            Query::Summary(shards) => self.summary(shards).await,
            Query::Outline { shard, root, cut } => self.outline(shard, root, cut).await,
            Query::Parts { shard, root, wanted } => self.parts(shard, root, wanted).await,
            Query::Outputs { shard, after, budget_bytes } => {
                self.outputs(shard, after, budget_bytes).await
            }
        };
        self.brought(Brought::End(end.unwrap_or_else(|end| end)));
    }

    fn brought(&self, brought: Brought) {
        // Without a driver there is nothing to be told.
        let _ = self.shared.told.send(Told::Request(self.request, brought));
    }

    async fn summary(&self, shards: Vec<ShardId>) -> Ends {
        let own = |_| RequestEnd::Refused(Refusal::Invalid);
        let request = Request::Summary(SummaryRequest::new(shards).map_err(own)?);
        match self.shared.network.ask(&self.peer, &request).await.map_err(ended)? {
            Response::Summary(summary) => Ok(RequestEnd::Summary(summary)),
            Response::Refusal(refusal) => Ok(RequestEnd::Refused(refusal)),
            _ => Err(RequestEnd::Faulty(Fault::Message)),
        }
    }

    async fn outline(&self, shard: ShardId, root: StateRoot, cut: u32) -> Ends {
        let request = OutlineRequest { root, cut };
        let mut stream = self.shared.network.outline(&self.peer, &request).await.map_err(ended)?;
        loop {
            match stream.next().await.map_err(ended)? {
                None => self.brought(Brought::Progress(0)),
                Some(OutlineEnd::Refused(refusal)) => return Ok(RequestEnd::Refused(refusal)),
                Some(OutlineEnd::Complete(outline)) => {
                    let manifest = Manifest::new(outline);
                    let manifest = manifest.map_err(|_| RequestEnd::Faulty(Fault::Outline))?;
                    let sizes = crate::shards::sizes_of(&manifest);
                    self.shared.shards.fetched(shard, Arc::new(manifest));
                    return Ok(RequestEnd::Manifest(sizes));
                }
            }
        }
    }

    async fn parts(&self, shard: ShardId, root: StateRoot, wanted: PartSet) -> Ends {
        let own = || RequestEnd::Failed(Failure::Cancelled);
        let shared = Arc::clone(&self.shared);
        let manifest = blocking(move || shared.shards.manifest(shard, root)).await.flatten();
        let manifest = manifest.ok_or_else(own)?;
        let sizes = wanted_bytes(&manifest, &wanted);
        let budget = sizes.iter().sum();
        let answer = PartsAnswer::new(wanted.clone(), &sizes).map_err(|_| own())?;
        let cut = manifest.outline().cut();
        let request = PartsRequest::new(root, cut, wanted, budget).map_err(|_| own())?;
        let network = &self.shared.network;
        let mut stream = network.parts(&self.peer, &request, answer).await.map_err(ended)?;
        // One part is verified while the next is read.
        let mut verifying = None;
        let mut flow = Flow::default();
        loop {
            match stream.next().await.map_err(ended)? {
                PartsStep::Progress(frame, read) => {
                    let bytes = manifest.part(frame.index).map_or(0, ketch_trie::Part::bytes);
                    let fresh = flow.came(Instant::now(), (frame, read), bytes);
                    fresh.into_iter().for_each(|fresh| self.brought(Brought::Progress(fresh)));
                }
                PartsStep::Part(frame, bytes) => {
                    self.verified(verifying.take()).await?;
                    verifying = Some((frame.index, self.verify(&manifest, frame, bytes)));
                }
                PartsStep::End(end) => {
                    self.verified(verifying.take()).await?;
                    return Ok(match end {
                        PartsEnd::Sent { held } => RequestEnd::Parts { held, refusal: None },
                        PartsEnd::Refused { refusal, held: Some(held) } => {
                            RequestEnd::Parts { held, refusal: Some(refusal) }
                        }
                        PartsEnd::Refused { refusal, held: None } => RequestEnd::Refused(refusal),
                    });
                }
            }
        }
    }

    fn verify(&self, manifest: &Arc<Manifest>, frame: PartFrame, bytes: Vec<u8>) -> Verifying {
        let (shared, manifest) = (Arc::clone(&self.shared), Arc::clone(manifest));
        tokio::spawn(async move {
            let _core = shared.cores.acquire().await.ok()?;
            let verify = move || verified(&manifest, frame, bytes);
            shared.background.spawn_blocking(verify).await.ok().flatten()
        })
    }

    /// Hands over a part once it is verified.
    async fn verified(&self, verifying: Option<(PartIndex, Verifying)>) -> Result<(), RequestEnd> {
        let Some((index, verifying)) = verifying else { return Ok(()) };
        match verifying.await.ok().flatten() {
            Some(part) => self.brought(Brought::Part(Box::new(part))),
            None => return Err(RequestEnd::Faulty(Fault::Part(index))),
        }
        Ok(())
    }

    async fn outputs(&self, shard: ShardId, after: Height, budget_bytes: u64) -> Ends {
        let trust = self.shared.book.trust();
        let newest_epoch = trust.epochs().last().map_or(Epoch(0), |info| info.epoch());
        let request = OutputsRequest { shard, after, budget_bytes, newest_epoch };
        let opening = self.shared.network.outputs(&self.peer, &request).await.map_err(ended)?;
        let stream = match opening {
            OutputsOpening::Refused(refusal) => return Ok(RequestEnd::Refused(refusal)),
            OutputsOpening::Range(stream) => stream,
        };
        let (book, range) = (Arc::clone(&self.shared.book), stream.range().to_vec());
        let range = blocking(move || book.check_range(&request, &range)).await;
        let range = range.ok_or(RequestEnd::Failed(Failure::Cancelled))?.map_err(not_taken)?;
        let lengths = range.headers.iter().map(|header| header.outputs().bytes).collect();
        let mut stream = stream.verified(lengths);
        let mut outputs = Vec::new();
        while let Some((chunk, body)) = self.next_outputs(&mut stream).await? {
            let faulty = RequestEnd::Faulty(Fault::Outputs);
            let header = range.headers.get(chunk).ok_or_else(|| faulty.clone())?;
            outputs.push(Outputs::verify(body, header).map_err(|_| faulty)?);
        }
        let bytes = outputs.iter().map(Outputs::bytes).sum();
        let book = Arc::clone(&self.shared.book);
        let taken = blocking(move || book.take_range(&range, 0, &outputs)).await;
        let through = taken.ok_or(RequestEnd::Failed(Failure::Cancelled))?;
        Ok(RequestEnd::Outputs { through: through.map_err(|e| not_taken(e.into()))?, bytes })
    }

    /// The next chunk's outputs; none at the end, whatever its reason.
    async fn next_outputs(
        &self,
        stream: &mut OutputsStream,
    ) -> Result<Option<(usize, Vec<u8>)>, RequestEnd> {
        loop {
            match stream.next().await.map_err(ended)? {
                OutputsStep::Progress => self.brought(Brought::Progress(0)),
                OutputsStep::Outputs(chunk, body) => return Ok(Some((chunk, body))),
                OutputsStep::End(_) => return Ok(None),
            }
        }
    }
}

type Verifying = JoinHandle<Option<VerifiedPart>>;

fn verified(manifest: &Manifest, frame: PartFrame, bytes: Vec<u8>) -> Option<VerifiedPart> {
    let part_bytes = usize::try_from(manifest.part(frame.index)?.bytes()).ok()?;
    let packed = PackedPart { packing: frame.packing, bytes };
    manifest.verify(frame.index, packed.unpack(part_bytes).ok()?).ok()
}

/// Work on a thread that may block; nothing if it panicked, which is an error of ours.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// How a request ends that has no answer.
fn ended(error: AnswerError) -> RequestEnd {
    match error {
        AnswerError::NotConnected | AnswerError::Closed => {
            RequestEnd::Failed(Failure::Disconnected)
        }
        AnswerError::TimedOut => RequestEnd::Failed(Failure::TimedOut),
        AnswerError::Unsupported => RequestEnd::Refused(Refusal::Unsupported),
        AnswerError::Fault(AnswerFault::Frame(fault)) => RequestEnd::Faulty(match fault {
            FrameFault::NotAsked(part)
            | FrameFault::SentTwice(part)
            | FrameFault::PartBytes { part, .. } => Fault::Part(part),
            FrameFault::Outline(_) => Fault::Outline,
            _ => Fault::Message,
        }),
        AnswerError::Fault(_) => RequestEnd::Faulty(Fault::Message),
    }
}

/// What it means that the book does not take an answer.
fn not_taken(error: TakeError) -> RequestEnd {
    match error {
        TakeError::Fault(fault) => {
            tracing::debug!(%fault, "a lie about outputs");
            RequestEnd::Faulty(Fault::Outputs)
        }
        // Dropped here meanwhile, or an error of ours: another time.
        TakeError::UnknownEpoch(_) | TakeError::Book(_) => {
            tracing::debug!(%error, "outputs were not taken");
            RequestEnd::Failed(Failure::Cancelled)
        }
    }
}
