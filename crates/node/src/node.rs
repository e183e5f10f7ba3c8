//! `ketch node`: a node in its role, from its configuration to its end.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::Coordinator;
use ketch_devnet::{Assignment, DevChain, DevValidator, Producer, Workload};
use ketch_ledger::Genesis;
use ketch_net::{Contact, Network, NetworkConfig, NetworkEvents, NodeKey, address_text, peer_text};
use ketch_sim::RecordStart;
use ketch_store::{PartCache, ShardStore, StoreConfig};
use ketch_types::{Epoch, LedgerInfoHash, ShardId};
use serde::Serialize;
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use zeroize::Zeroizing;

use crate::book::Book;
use crate::clock::Clock;
use crate::config::{DevnetSection, NodeConfig, Role, ServedShards};
use crate::devnet_genesis::{DevnetGenesis, DevnetGenesisError};
use crate::driver::{Driver, FollowerEnds, Report, Shared};
use crate::follower::{Follower, Tracks};
use crate::http::HttpServer;
use crate::key_file::read_network_key;
use crate::logging::install_log;
use crate::metrics::Metrics;
use crate::node_error::NodeError;
use crate::progress::show_progress;
use crate::recorder::{RecordFile, Recorder};
use crate::sequencer::{self, Executing, Executor, Sequencer};
use crate::shards::{Shards, shard_folder};
use crate::status::NodeStatus;
use crate::terminal::Terminal;

/// Heads that wait for the follower; where there is no room, newer ones will come.
const HEADS_MAX: usize = 64;

/// How much less than others the background is given.
#[cfg(target_os = "linux")]
const BACKGROUND_NICE: i32 = 10;

/// Background threads beyond those that the processor can run: they wait for the disk.
const BACKGROUND_WAITING: usize = 6;

/// How long answers that are being given may take to end once the node is told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// How long work on disks may take to end then.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// What all roles begin with.
struct Base {
    config: NodeConfig,
    genesis: Genesis,
    key: NodeKey,
    book: Arc<Book>,
    store: StoreConfig,
    metrics: Metrics,
    terminal: Terminal,
    background: Handle,
}

/// What a node says on standard output once it takes part.
#[derive(Serialize)]
struct Ready<'a> {
    peer: &'a str,
    addresses: &'a [String],
    http: String,
}

/// Runs a node until it is told to stop; what its coordinator is told and says is written to the file
/// `record`, if there is to be one.
///
/// *Errors:* see [`NodeError`].
pub(crate) fn run(config: NodeConfig, record: Option<&Path>) -> Result<(), NodeError> {
    if let (Role::Sequencer { .. }, Some(_)) = (&config.role, record) {
        return Err(NodeError::NothingToRecord);
    }
    let record = record.map(RecordFile::create).transpose()?;
    let workers = config.node.workers.get();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.max(2))
        .enable_all()
        .build()
        .map_err(NodeError::Runtime)?;
    let background = background(workers)?;
    let in_background = background.handle().clone();
    let ended = runtime.block_on(async {
        let terminal = Terminal::of_stderr(config.log.format);
        install_log(&config.log, &terminal)?;
        let base = Base::new(config, Metrics::install()?, terminal, in_background)?;
        match base.config.role.clone() {
            Role::Sequencer { devnet } => base.sequence(&devnet).await,
            Role::Validator { devnet } => {
                let tracks = Tracks::Assigned(base.key.peer().clone());
                base.follow(tracks, devnet.as_ref(), record).await
            }
            Role::PartServer { shards, devnet } => {
                let tracks = match shards {
                    ServedShards::All => Tracks::All,
                    ServedShards::Listed(shards) => Tracks::Listed(shards),
                };
                base.follow(tracks, devnet.as_ref(), record).await
            }
        }
    });
    background.shutdown_timeout(SHUTDOWN);
    runtime.shutdown_timeout(SHUTDOWN);
    ended
}

/// Threads for the work that may take its time: parts that are made, verified and applied. They give
/// way to whatever else wants the processor, first of all to the chain.
fn background(workers: usize) -> Result<Runtime, NodeError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(workers.max(2) + BACKGROUND_WAITING)
        .thread_name("ketch-background")
        .on_thread_start(|| {
            // Of a thread's own on Linux alone; elsewhere it would be the whole process'.
            #[cfg(target_os = "linux")]
            if let Err(error) = rustix::process::nice(BACKGROUND_NICE) {
                tracing::debug!(%error, "the background is as busy as the foreground");
            }
        })
        .build()
        .map_err(NodeError::Runtime)
}

impl Base {
    fn new(
        config: NodeConfig,
        metrics: Metrics,
        terminal: Terminal,
        background: Handle,
    ) -> Result<Self, NodeError> {
        let key = read_network_key(&config.node.key)?;
        let key = NodeKey::from_secret(&mut Zeroizing::new(*key.secret_bytes()))?;
        let path = &config.chain.genesis;
        let bytes = fs::read(path).map_err(NodeError::file(path))?;
        let genesis = Genesis::decode(&bytes)
            .map_err(|error| NodeError::Genesis { path: path.clone(), error })?;
        let data = &config.node.data;
        fs::create_dir_all(data).map_err(NodeError::file(data))?;
        let waypoint = config.chain.waypoint.map(LedgerInfoHash);
        let book = Arc::new(Book::open(&data.join("ledger"), &genesis, waypoint)?);
        // One share for each shard of this epoch, the next and the last, and for the book.
        let shares = genesis.epochs().iter().flat_map(|info| info.layout().shards()).count() as u64;
        let block_cache_bytes = config.store.block_cache.get() / shares.clamp(4, 64);
        let store = StoreConfig { block_cache_bytes, ..StoreConfig::default() };
        Ok(Self { config, genesis, key, book, store, metrics, terminal, background })
    }

    fn shards_folder(&self) -> PathBuf {
        shards_folder(&self.config.node.data)
    }

    /// Whether the chain has not gone on since its first epoch, as far as is known here.
    fn is_at_genesis(&self) -> bool {
        self.book.next_end() == Epoch(0)
    }

    /// The states that the chain begins with.
    fn genesis_states(&self, devnet: &DevnetSection) -> Result<DevnetGenesis, DevnetGenesisError> {
        let layout = self.genesis.epochs()[0].layout().clone();
        DevnetGenesis::new(devnet.seed, &devnet.state, layout)
    }

    async fn network(&self) -> Result<(Network, NetworkEvents), NodeError> {
        let section = &self.config.network;
        let mut network = NetworkConfig::new(self.genesis.chain_id());
        network.listen = section.listen.clone();
        network.external = section.external.clone();
        network.contacts = section.peers.clone();
        network.upload_limit = section.upload_limit.map(Into::into);
        network.download_limit = section.download_limit.map(Into::into);
        network.connections_max = section.connections_max.get();
        network.serves_dht = section.provide_dht;
        Ok(Network::start(network, &self.key).await?)
    }

    /// What of the node's status does not change.
    fn status(&self, role: &str, network: &Network) -> NodeStatus {
        let peer = peer_text(self.key.peer()).unwrap_or_default();
        let named = |address: String| format!("{address}/p2p/{peer}");
        let addresses = network.listening().iter().filter_map(address_text).map(named).collect();
        let chain = self.genesis.chain_id().to_string();
        NodeStatus { role: role.to_owned(), peer, addresses, chain, ..NodeStatus::default() }
    }

    /// Makes the states that the shards begin with, where they are not there.
    fn make_genesis(
        &self,
        states: &DevnetGenesis,
        shards: &[ShardId],
    ) -> Result<(), DevnetGenesisError> {
        let layout = self.genesis.epochs()[0].layout();
        let folder = self.shards_folder();
        let roots = layout.shards().iter().zip(self.genesis.state_roots());
        for (shard, expected) in roots.filter(|(shard, _)| shards.contains(shard)) {
            let made = states.make(*shard, &folder, self.store)?;
            if let Some(made) = made.filter(|made| made != expected) {
                let (shard, expected) = (*shard, *expected);
                return Err(DevnetGenesisError::OtherRoot { shard, made, expected });
            }
        }
        Ok(())
    }

    /// A validator or a part server.
    async fn follow(
        self,
        tracks: Tracks,
        devnet: Option<&DevnetSection>,
        record: Option<RecordFile>,
    ) -> Result<(), NodeError> {
        // Once the chain has gone on, what is not there is fetched.
        if let Some(devnet) = devnet.filter(|_| self.is_at_genesis()) {
            let shards = tracks.in_epoch(&self.genesis.epochs()[0]);
            self.make_genesis(&self.genesis_states(devnet)?, &shards)?;
        }
        let role = if matches!(tracks, Tracks::Assigned(_)) { "validator" } else { "part-server" };
        let data = &self.config.node.data;
        let cache = PartCache::open(&data.join("parts"), self.config.store.part_cache.get())?;
        let shards = Shards::new(self.shards_folder(), self.store, cache, Arc::clone(&self.book));
        let (network, events) = self.network().await?;
        let fixed = self.status(role, &network);
        let (status, statuses) = watch::channel(Arc::new(fixed.clone()));
        let (told_sender, told) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            network: network.clone(),
            shards,
            book: Arc::clone(&self.book),
            told: told_sender.clone(),
            cores: Semaphore::new(self.config.node.workers.get()),
            background: self.background.clone(),
        });
        let (heads, from_driver) = mpsc::channel(HEADS_MAX);
        let (connected, peers) = watch::channel(Vec::new());
        let contacts: Vec<Contact> = self.config.network.peers.clone();
        let follower = Follower::new(
            network.clone(),
            Arc::clone(&self.book),
            told_sender,
            tracks,
            contacts,
            from_driver,
            peers,
        );
        tokio::spawn(follower.run());
        let clock = Clock::new();
        let config = ketch_coordinator::Config {
            memory_bytes: self.config.catchup.memory.get(),
            ..ketch_coordinator::Config::default()
        };
        let (seed, now) = (seed_of(&self.key), clock.now());
        let begin = |file| Recorder::start(file, RecordStart::new(config.clone(), seed, now));
        let recorder = record.map(begin).transpose()?;
        let coordinator = Coordinator::new(config, seed, now);
        let ends = FollowerEnds { heads, connected };
        let report = Report::new(fixed.clone(), status);
        let driver = Driver::new(coordinator, recorder, clock, shared, told, ends, report);
        let (stop, stopping) = watch::channel(false);
        let driver = tokio::spawn(driver.run(events, stopping, DRAIN));
        self.ready(&fixed, &statuses).await?;
        stopped().await?;
        stop.send_replace(true);
        let ended = driver.await.map_err(|_| NodeError::Panicked);
        network.leave().await;
        ended
    }

    /// The sequencer.
    async fn sequence(self, devnet: &DevnetSection) -> Result<(), NodeError> {
        let info = &self.genesis.epochs()[0];
        let states = self.genesis_states(devnet)?;
        if self.is_at_genesis() {
            self.make_genesis(&states, info.layout().shards())?;
        }
        let producer = Producer::new(self.chain(devnet)?, self.genesis.state_roots().to_vec())?;
        if producer.genesis().chain_id() != self.genesis.chain_id() {
            return Err(NodeError::OtherSeed);
        }
        if self.book.head().is_some() {
            return Err(NodeError::SequencerResumes);
        }
        for header in self.genesis.chunk_headers() {
            self.book.begin(header)?;
        }
        let executor = self.executor(devnet, &states)?;
        let (network, events) = self.network().await?;
        let fixed = self.status("sequencer", &network);
        let (status, statuses) = watch::channel(Arc::new(fixed.clone()));
        let (connected, peers) = watch::channel(0);
        let served = sequencer::serve(network.clone(), Arc::clone(&self.book), events, connected);
        tokio::spawn(served);
        self.ready(&fixed, &statuses).await?;
        let sequencer = Sequencer {
            network: network.clone(),
            book: Arc::clone(&self.book),
            producer,
            executor,
            block_interval: devnet.block_interval,
            status,
            fixed,
        };
        let wait_for = devnet.wait_for.map_or(info.validators().len(), |peers| peers as usize);
        let ended = tokio::select! {
            ended = sequencer.run(wait_for, peers) => ended.map_err(NodeError::from),
            stopped = stopped() => stopped,
        };
        network.leave().await;
        ended
    }

    /// The chain that the genesis describes, with the keys of its dev validators.
    fn chain(&self, devnet: &DevnetSection) -> Result<DevChain, NodeError> {
        let info = &self.genesis.epochs()[0];
        let validator = |(place, validator): (u32, &ketch_ledger::Validator)| DevValidator {
            signer: DevValidator::signer(devnet.seed, place),
            peer: validator.peer.clone(),
            addresses: validator.addresses.clone(),
        };
        let validators: Vec<_> = (0..).zip(info.validators()).map(validator).collect();
        Ok(DevChain {
            name: self.genesis.name().to_owned(),
            time_ms: self.genesis.time_ms(),
            layout: info.layout().clone(),
            epoch_blocks: info.length(),
            assignment: Assignment::new(info.layout().shards(), validators.len())?,
            validators,
        })
    }

    fn executor(
        &self,
        devnet: &DevnetSection,
        states: &DevnetGenesis,
    ) -> Result<Executor, NodeError> {
        let info = &self.genesis.epochs()[0];
        let layout = info.layout();
        let folder = self.shards_folder();
        let executing = |shard: &ShardId| -> Result<Executing, NodeError> {
            let (shard, sample) = (*shard, states.sample(*shard)?);
            let range = layout.range_of(shard).ok_or(DevnetGenesisError::NoShard(shard))?;
            let workload = Workload::new(devnet.seed, shard, range, sample, info.length());
            let opened = ShardStore::open(&shard_folder(&folder, shard), self.store);
            let store = opened.map_err(|error| DevnetGenesisError::Store { shard, error })?.store;
            Ok(Executing { shard, store, workload })
        };
        let shards = layout.shards().iter().map(executing).collect::<Result<_, _>>()?;
        let workers = self.config.node.workers;
        Ok(Executor::new(shards, info.length(), layout.part_bytes(), workers))
    }

    /// Opens the operator's view, and says on standard output that the node takes part.
    async fn ready(
        &self,
        fixed: &NodeStatus,
        statuses: &watch::Receiver<Arc<NodeStatus>>,
    ) -> Result<(), NodeError> {
        let server = HttpServer::bind(self.config.http.listen).await?;
        let http = server.address().to_string();
        let stops = {
            let mut statuses = statuses.clone();
            // Ends with the node: then nobody publishes how it stands any more.
            async move { while statuses.changed().await.is_ok() {} }
        };
        tokio::spawn(server.run(statuses.clone(), self.metrics.clone(), stops));
        tokio::spawn(show_progress(self.terminal.clone(), statuses.clone()));
        let ready = Ready { peer: &fixed.peer, addresses: &fixed.addresses, http };
        say(&ready).map_err(NodeError::Output)
    }
}

fn say(ready: &Ready<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, ready)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Until the process is told to stop.
async fn stopped() -> Result<(), NodeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(NodeError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(NodeError::Runtime)?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to stop"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
    }
    Ok(())
}

/// The coordinator's chances: different on every node, the same after a restart.
fn seed_of(key: &NodeKey) -> u64 {
    let hash = blake3::hash(key.peer().as_bytes());
    hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Where below a node's folder its shards' databases are.
pub(crate) fn shards_folder(data: &Path) -> PathBuf {
    data.join("shards")
}
