use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;
use ketch_types::{Address, Epoch, PeerId, ShardId};
use ketch_wire::{
    Announcement, Head, OutlineAnswer, OutlineRequest, OutputsRequest, PartsAnswer, PartsRequest,
    Request, Response, TooLong, control_response_bytes, stream_request,
};
use libp2p::Stream;
use tokio::sync::{mpsc, oneshot};

use crate::actor::{Actor, Command};
use crate::config::NetworkConfig;
use crate::contact::{Contact, of_peer};
use crate::error::{AnswerError, AnswerFault, SendError, StartError};
use crate::event::{Delivery, Judgement, NetworkEvent};
use crate::node_key::NodeKey;
use crate::outline_stream::OutlineStream;
use crate::outputs_stream::OutputsOpening;
use crate::parts_stream::PartsStream;
use crate::protocol::Protocol;
use crate::reader::{Line, Reader};
use crate::writer::{within_stall, write};

/// A node's place in the network. When the last clone is dropped, the node leaves.
#[derive(Clone)]
pub struct Network {
    commands: mpsc::UnboundedSender<Command>,
    line: Arc<Line>,
    listening: Arc<[Address]>,
}

/// What happens on the network. It must be read on: where nobody does, peers find us busy, gossip is
/// not passed on, and in the end the network stands still.
pub struct NetworkEvents(mpsc::Receiver<NetworkEvent>);

impl NetworkEvents {
    /// The next event; none once the node has left the network.
    pub async fn next(&mut self) -> Option<NetworkEvent> {
        self.0.recv().await
    }
}

impl Network {
    /// Takes part in the network of a chain; must be called on a tokio runtime.
    ///
    /// *Errors:* see [`StartError`].
    pub async fn start(
        config: NetworkConfig,
        key: &NodeKey,
    ) -> Result<(Self, NetworkEvents), StartError> {
        let started = Actor::start(config, key).await?;
        let (line, listening) = (started.line, started.listening);
        let network = Self { commands: started.commands, line, listening };
        Ok((network, NetworkEvents(started.events)))
    }

    /// Where this node listens.
    pub fn listening(&self) -> &[Address] {
        &self.listening
    }

    /// Asks a peer for something small.
    ///
    /// *Errors:* see [`AnswerError`].
    pub async fn ask(&self, peer: &PeerId, request: &Request) -> Result<Response, AnswerError> {
        let mut reader = self.request(peer, Protocol::Control, &request.encode()).await?;
        let bytes = control_response_bytes(reader.exact().await?)?;
        let response = Response::decode(&reader.message(bytes).await?)?;
        if response.answers(request) {
            Ok(response)
        } else {
            Err(AnswerFault::OtherResponse.into())
        }
    }

    /// Asks a peer for an outline.
    ///
    /// *Errors:* see [`AnswerError`].
    pub async fn outline(
        &self,
        peer: &PeerId,
        request: &OutlineRequest,
    ) -> Result<OutlineStream, AnswerError> {
        let reader = self.request(peer, Protocol::Outline, &request.encode()).await?;
        Ok(OutlineStream::new(reader, OutlineAnswer::new(request.root, request.cut)))
    }

    /// Asks a peer for parts; `answer` knows which, and their sizes.
    ///
    /// *Errors:* see [`AnswerError`].
    pub async fn parts(
        &self,
        peer: &PeerId,
        request: &PartsRequest,
        answer: PartsAnswer,
    ) -> Result<PartsStream, AnswerError> {
        let reader = self.request(peer, Protocol::Parts, &request.encode()).await?;
        Ok(PartsStream::new(reader, answer))
    }

    /// Asks a peer for outputs.
    ///
    /// *Errors:* see [`AnswerError`].
    pub async fn outputs(
        &self,
        peer: &PeerId,
        request: &OutputsRequest,
    ) -> Result<OutputsOpening, AnswerError> {
        let reader = self.request(peer, Protocol::Outputs, &request.encode()).await?;
        OutputsOpening::read(reader).await
    }

    /// Connects to a peer, if it is not connected; whether it is then. Where no address is known,
    /// others are asked for one.
    pub async fn connect(&self, contact: Contact) -> bool {
        let (reply, found) = oneshot::channel();
        self.command(Command::Connect(contact, reply));
        found.await.is_ok_and(|found| !found.is_empty())
    }

    /// Looks for holders of a shard's state at an epoch's start, and connects to them: who is
    /// connected then, of those that were found.
    pub async fn search(&self, shard: ShardId, epoch: Epoch) -> Vec<PeerId> {
        let (reply, found) = oneshot::channel();
        self.command(Command::Search(shard, epoch, reply));
        found.await.unwrap_or_default()
    }

    /// The peers that are always to be connected to, in place of those before.
    pub fn set_contacts(&self, contacts: Vec<Contact>) {
        self.command(Command::SetContacts(contacts));
    }

    /// The shards and epochs that exist, of which holders are entered in the DHT; all others are
    /// refused, and forgotten.
    pub fn set_epochs(&self, known: BTreeSet<(ShardId, Epoch)>) {
        self.command(Command::SetEpochs(known));
    }

    /// Enters this node as a holder, until it [stops](Self::stop_providing) or the epoch is over.
    pub fn provide(&self, shard: ShardId, epoch: Epoch) {
        self.command(Command::Provide(shard, epoch));
    }

    /// Enters this node as a holder no more.
    pub fn stop_providing(&self, shard: ShardId, epoch: Epoch) {
        self.command(Command::StopProviding(shard, epoch));
    }

    /// Gossips a head.
    ///
    /// *Errors:* [`TooLong`], where the end of an epoch does not fit: it is asked for instead.
    pub fn publish_head(&self, head: &Head) -> Result<(), TooLong> {
        self.command(Command::PublishHead(head.encode_gossip()?));
        Ok(())
    }

    /// Announces what this node holds. Who is connected later does not hear of it, but asks.
    pub fn announce(&self, announcement: &Announcement) {
        let shard = announcement.holding.shard();
        self.command(Command::Announce(shard, announcement.encode()));
    }

    /// Says what becomes of a gossip message.
    pub fn judge(&self, delivery: Delivery, judgement: Judgement) {
        self.command(Command::Judge(delivery, judgement));
    }

    /// Cuts a peer off, and refuses its connections for a while.
    pub fn ban(&self, peer: &PeerId, lasting: Duration) {
        if let Some(peer) = of_peer(peer) {
            self.command(Command::Ban(peer, lasting));
        }
    }

    /// Leaves the network, and waits until all connections are closed, as far as peers take part in it:
    /// whoever is not told believes in the node for as long as it may be silent.
    pub async fn leave(&self) {
        let (reply, left) = oneshot::channel();
        self.command(Command::Leave(reply));
        // An error says that it is done.
        let _ = left.await;
    }

    /// Opens a stream and sends a request on it.
    async fn request(
        &self,
        peer: &PeerId,
        protocol: Protocol,
        message: &[u8],
    ) -> Result<Reader, AnswerError> {
        let peer = of_peer(peer).ok_or(AnswerError::NotConnected)?;
        let (reply, room) = oneshot::channel();
        self.command(Command::Room(peer, reply));
        // Dropped unanswered when there is no connection.
        let room = room.await.map_err(|_| AnswerError::NotConnected)?;
        let slot = room.acquire_owned().await.map_err(|_| AnswerError::Closed)?;
        let mut stream = self.open(peer, protocol).await?;
        self.send(&mut stream, &stream_request(message)?).await.map_err(|error| match error {
            SendError::Stalled => AnswerError::TimedOut,
            SendError::Closed | SendError::TooLong(_) => AnswerError::Closed,
        })?;
        Ok(Reader::of_answer(stream, Arc::clone(&self.line), protocol, Some(slot)))
    }

    async fn open(&self, peer: libp2p::PeerId, protocol: Protocol) -> Result<Stream, AnswerError> {
        let (reply, opened) = oneshot::channel();
        self.command(Command::Open(peer, protocol, reply));
        // Dropped unanswered when the connection is closed.
        Ok(opened.await.unwrap_or(Err(crate::streams::OpenError::Closed))?)
    }

    async fn send(&self, stream: &mut Stream, request: &[u8]) -> Result<(), SendError> {
        write(stream, request, &self.line).await?;
        // Our side stays open: a multiplexer tells the peer of an answer that is not wanted any more
        // only where neither side is closed.
        within_stall(&self.line, stream.flush()).await
    }

    fn command(&self, command: Command) {
        // The actor outlives every handle, unless the runtime is shut down; then nothing matters.
        let _ = self.commands.send(command);
    }
}
