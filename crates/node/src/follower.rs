//! Follows the chain: heads, the ends of epochs, and the states that epochs begin with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use ketch_coordinator::{EpochStart, Turn};
use ketch_ledger::{EpochInfo, Validator};
use ketch_net::{Contact, Delivery, Judgement, Network, peer_text};
use ketch_types::{Epoch, PeerId, ShardId};
use ketch_wire::limits::EPOCH_ENDS_MAX;
use ketch_wire::{EpochEndsRequest, Head, Request, Response};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};

use crate::book::{Book, HeadTaken, TakeError};
use crate::driver::{ChainNews, Told, blocking};

/// How long without a new head until somebody is asked for one.
const HEAD_PATIENCE: Duration = Duration::from_secs(1);

/// How long one peer may take to answer a question about the chain.
const ASK_PATIENCE: Duration = Duration::from_secs(1);

/// How long after one peer the next is asked, and how many are.
const ASK_INTERVAL: Duration = Duration::from_millis(100);
const ASKED_MAX: u32 = 8;

/// How long whoever lies about the chain is banned.
const BAN: Duration = Duration::from_secs(3_600);

/// Which shards a node is there for.
#[derive(Clone, Debug)]
pub(crate) enum Tracks {
    /// Those that the chain assigns to this validator.
    Assigned(PeerId),
    /// Every shard.
    All,
    /// These.
    Listed(BTreeSet<ShardId>),
}

/// The task that follows the chain.
pub(crate) struct Follower {
    network: Network,
    book: Arc<Book>,
    told: mpsc::UnboundedSender<Told>,
    tracks: Tracks,
    /// Peers that the operator knows.
    contacts: Vec<Contact>,
    heads: mpsc::Receiver<(Head, Delivery)>,
    peers: watch::Receiver<Vec<PeerId>>,
    /// The newest epoch whose start was told.
    told_epoch: Option<Epoch>,
    head_at: Instant,
    /// Whose turn it is to be asked.
    turn: usize,
}

/// Why what a peer said of the chain did not help.
enum Unhelpful {
    /// Whoever gave it lies.
    Lie,
    /// Nobody is to blame: the info of its epoch is not known here.
    UnknownEpoch,
    /// The error is ours.
    Ours,
}

impl Tracks {
    /// The shards that are to be tracked in an epoch.
    pub(crate) fn in_epoch(&self, info: &EpochInfo) -> Vec<ShardId> {
        let all = info.layout().shards();
        match self {
            Tracks::All => all.to_vec(),
            Tracks::Listed(shards) => {
                all.iter().copied().filter(|shard| shards.contains(shard)).collect()
            }
            Tracks::Assigned(me) => info.tracked_by(me).to_vec(),
        }
    }

    /// Of the shards that are to be taken for the next epoch, which of those who must take it this node
    /// is: the assignment tells everybody the same.
    fn turns(&self, info: &EpochInfo, next: &EpochInfo) -> BTreeMap<ShardId, Turn> {
        let Tracks::Assigned(me) = self else { return BTreeMap::new() };
        let turn = |shard: ShardId| {
            let takes = |v: &&Validator| {
                v.tracked.contains(&shard) && !info.tracked_by(&v.peer).contains(&shard)
            };
            let takers: Vec<_> = next.validators().iter().filter(takes).collect();
            let place = takers.iter().position(|taker| taker.peer == *me)?;
            let turn = Turn::new(u32::try_from(place).ok()?, u32::try_from(takers.len()).ok()?)?;
            Some((shard, turn))
        };
        next.tracked_by(me).iter().filter_map(|shard| turn(*shard)).collect()
    }
}

impl Follower {
    pub(crate) fn new(
        network: Network,
        book: Arc<Book>,
        told: mpsc::UnboundedSender<Told>,
        tracks: Tracks,
        contacts: Vec<Contact>,
        heads: mpsc::Receiver<(Head, Delivery)>,
        peers: watch::Receiver<Vec<PeerId>>,
    ) -> Self {
        let head_at = Instant::now();
        Self {
            network,
            book,
            told,
            tracks,
            contacts,
            heads,
            peers,
            told_epoch: None,
            head_at,
            turn: 0,
        }
    }

    /// Runs until nobody gives heads any more.
    pub(crate) async fn run(mut self) {
        let mut ticks = tokio::time::interval(HEAD_PATIENCE / 2);
        self.tell_epochs().await;
        loop {
            tokio::select! {
                head = self.heads.recv() => match head {
                    Some((head, delivery)) => self.gossiped(head, delivery).await,
                    None => return,
                },
                _ = ticks.tick() => {
                    if self.head_at.elapsed() > HEAD_PATIENCE {
                        self.ask_for_head().await;
                    }
                }
            }
            self.tell_epochs().await;
        }
    }

    async fn gossiped(&mut self, head: Head, delivery: Delivery) {
        let judgement = match self.take_head(head).await {
            Ok(true) => Judgement::Accept,
            Err(Unhelpful::Lie) => Judgement::Reject,
            Err(Unhelpful::UnknownEpoch) => {
                self.ask_for_ends().await;
                Judgement::Ignore
            }
            Ok(false) | Err(Unhelpful::Ours) => Judgement::Ignore,
        };
        self.network.judge(delivery, judgement);
    }

    /// Takes in a head; whether it is newer than those before.
    async fn take_head(&mut self, head: Head) -> Result<bool, Unhelpful> {
        match self.take(move |book| book.take_head_message(&head)).await? {
            HeadTaken::New(head) => {
                self.head_at = Instant::now();
                let (height, time_ms) = (head.height(), head.block.time_ms());
                self.tell(ChainNews::Head { height, time_ms });
                Ok(true)
            }
            HeadTaken::NotNewer => Ok(false),
        }
    }

    async fn ask_for_head(&mut self) {
        // The next one is asked after as long again.
        self.head_at = Instant::now();
        let asked = self.ask_around(&Request::Head).await;
        let Some((peer, Response::Head(head))) = asked else { return };
        match self.take_head(head).await {
            Err(Unhelpful::Lie) => self.ban(&peer),
            Err(Unhelpful::UnknownEpoch) => self.ask_for_ends().await,
            Ok(_) | Err(Unhelpful::Ours) => {}
        }
    }

    /// Learns the ends of epochs that were missed, after the waypoint where one is wanted.
    async fn ask_for_ends(&mut self) {
        if let Some(waypoint) = self.book.wanted_waypoint() {
            let asked = self.ask_around(&Request::Waypoint(waypoint)).await;
            let Some((peer, Response::Waypoint(answer))) = asked else { return };
            if let Err(Unhelpful::Lie) = self.take(move |book| book.take_waypoint(&answer)).await {
                self.ban(&peer);
            }
            return;
        }
        let Ok(request) = EpochEndsRequest::new(self.book.next_end(), EPOCH_ENDS_MAX) else {
            return;
        };
        let asked = self.ask_around(&Request::EpochEnds(request)).await;
        let Some((peer, Response::EpochEnds(ends))) = asked else { return };
        if let Err(Unhelpful::Lie) = self.take(move |book| book.take_ends(&request, &ends)).await {
            self.ban(&peer);
        }
    }

    /// Has the book take something, on a thread that may block.
    async fn take<T: Send + 'static>(
        &self,
        take: impl FnOnce(&Book) -> Result<T, TakeError> + Send + 'static,
    ) -> Result<T, Unhelpful> {
        let book = Arc::clone(&self.book);
        match blocking(move || take(&book)).await {
            Some(taken) => taken.map_err(|error| match error {
                TakeError::UnknownEpoch(_) => Unhelpful::UnknownEpoch,
                TakeError::Fault(fault) => {
                    tracing::debug!(%fault, "a lie about the chain");
                    Unhelpful::Lie
                }
                TakeError::Book(error) => {
                    tracing::error!(%error, "the book did not take it");
                    Unhelpful::Ours
                }
            }),
            None => Err(Unhelpful::Ours),
        }
    }

    /// Tells the newest epoch that has begun, once the states that it begins with are known.
    async fn tell_epochs(&mut self) {
        let newest = self.book.next_end();
        if self.told_epoch.is_some_and(|told| told >= newest) {
            return;
        }
        // After a restart the epoch before it is of use too: its parts are served.
        let first = self.told_epoch.map_or(newest.0.saturating_sub(1), |told| told.0 + 1);
        for epoch in (first.max(newest.0.saturating_sub(1))..=newest.0).map(Epoch) {
            if self.book.start(epoch).is_none()
                && epoch == newest
                && !self.ask_for_start(epoch).await
            {
                return;
            }
            if self.tell_epoch(epoch) {
                self.told_epoch = Some(epoch);
            }
        }
    }

    fn tell_epoch(&self, epoch: Epoch) -> bool {
        let trust = self.book.trust();
        let (Some(info), Some(next)) = (trust.epoch(epoch), trust.epoch(epoch.next())) else {
            return false;
        };
        let Some(begins) = self.book.start(epoch) else { return false };
        let (tracked, tracked_next) = (self.tracks.in_epoch(info), self.tracks.in_epoch(next));
        let start = EpochStart {
            epoch,
            first_height: info.first_height(),
            length: info.length(),
            cut: info.layout().part_bytes(),
            tracked,
            tracked_next,
            roots: begins.roots(),
            turns: self.tracks.turns(info, next),
        };
        self.keep_contacts(&start, [info, next]);
        let validators = info.validators().iter().chain(next.validators());
        let validators = validators.map(|validator| validator.peer.clone()).collect();
        self.tell(ChainNews::Epoch { start, validators });
        true
    }

    /// Keeps connections to those that track what this node tracks or will track.
    fn keep_contacts(&self, start: &EpochStart, infos: [&Arc<EpochInfo>; 2]) {
        let ours: BTreeSet<_> = start.tracked.iter().chain(&start.tracked_next).collect();
        let validators = infos.into_iter().flat_map(|info| info.validators());
        let shares = validators.filter(|v| v.tracked.iter().any(|shard| ours.contains(shard)));
        let known =
            shares.map(|v| Contact { peer: v.peer.clone(), addresses: v.addresses.clone() });
        self.network.set_contacts(known.chain(self.contacts.iter().cloned()).collect());
    }

    /// Learns the roots that an epoch begins with, from whoever knows them first.
    async fn ask_for_start(&mut self, epoch: Epoch) -> bool {
        let Some(request) = self.book.start_request(epoch) else { return false };
        let asked = self.ask_around(&Request::Proofs(request)).await;
        let Some((peer, Response::Proofs(proofs))) = asked else { return false };
        let taken = self.take(move |book| book.take_proofs(epoch, &proofs)).await;
        if let Err(Unhelpful::Lie) = taken {
            self.ban(&peer);
        }
        taken.is_ok()
    }

    /// Asks one peer after the other, each a little later than the one before it and none of them
    /// for long: who is silent holds nobody up. The first answer that is no refusal.
    async fn ask_around(&mut self, request: &Request) -> Option<(PeerId, Response)> {
        self.turn = self.turn.wrapping_add(1);
        let mut peers = self.peers.borrow().clone();
        let first = self.turn.checked_rem(peers.len())?;
        peers.rotate_left(first);
        let network = &self.network;
        let ask = |(place, peer): (u32, PeerId)| async move {
            tokio::time::sleep(ASK_INTERVAL * place).await;
            let asked = timeout(ASK_PATIENCE, network.ask(&peer, request)).await;
            asked.ok()?.ok().map(|response| (peer, response))
        };
        let mut asked: FuturesUnordered<_> = (0..ASKED_MAX).zip(peers).map(ask).collect();
        while let Some(answer) = asked.next().await {
            match answer {
                None | Some((_, Response::Refusal(_))) => {}
                answer => return answer,
            }
        }
        None
    }

    fn ban(&self, peer: &PeerId) {
        tracing::warn!(peer = peer_text(peer), "a peer lies about the chain");
        self.network.ban(peer, BAN);
    }

    fn tell(&self, news: ChainNews) {
        // Without a driver there is nothing to be told.
        let _ = self.told.send(Told::Chain(news));
    }
}
