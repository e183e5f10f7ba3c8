use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use ketch_net::Contact;
use ketch_types::{Address, Hash, ShardId};
use serde::Deserialize;

use super::loopback::LoopbackAddress;
use crate::genesis::GenesisFormat;

/// What a node is there for, with what only that role reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Tracks the shards that the chain assigns to it, and takes the next ones.
    Validator {
        /// Its genesis state's origin, where that is made and not fetched.
        devnet: Option<DevnetSection>,
    },
    /// Holds shards for others, without a validator's key.
    PartServer {
        /// Which shards.
        shards: ServedShards,
        /// Its genesis state's origin, where that is made and not fetched.
        devnet: Option<DevnetSection>,
    },
    /// Stands in for consensus in a devnet.
    Sequencer {
        /// The chain that it executes.
        devnet: DevnetSection,
    },
}

/// What a part server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServedShards {
    /// Every shard of the layout.
    All,
    /// These, of which there is at least one.
    Listed(BTreeSet<ShardId>),
}

/// `[node]`: what is this node's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSection {
    /// The folder of everything that the node stores.
    pub data: PathBuf,
    /// The file of its network key.
    pub key: PathBuf,
    /// How many threads hash and write; as many as the machine runs at once, if none is said.
    pub workers: NonZeroUsize,
}

/// `[chain]`: what the node trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSection {
    /// The file of the encoded genesis.
    pub genesis: PathBuf,
    /// A later epoch that is trusted as the genesis is.
    pub waypoint: Option<Hash>,
}

/// `[network]`: how the node meets others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSection {
    /// Where it listens.
    pub listen: Vec<Address>,
    /// Where others reach it, if that is not where it listens.
    pub external: Vec<Address>,
    /// Peers that it knows from the start.
    pub peers: Vec<Contact>,
    /// How much it sends. *Units:* bytes per second.
    pub upload_limit: Option<NonZeroU64>,
    /// How much it receives. *Units:* bytes per second.
    pub download_limit: Option<NonZeroU64>,
    /// How many connections it keeps.
    pub connections_max: NonZeroU32,
    /// Whether it answers others' questions to the DHT.
    pub provide_dht: bool,
}

/// `[store]`: how much room there is for what can be made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSection {
    /// The parts that lie ready on disk. *Units:* bytes.
    pub part_cache: NonZeroU64,
    /// The blocks of all databases that are kept in memory, together. *Units:* bytes.
    pub block_cache: NonZeroU64,
}

/// `[catchup]`: what taking a shard may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatchupSection {
    /// Verified parts that wait to be applied. *Units:* bytes.
    pub memory: NonZeroU64,
}

/// `[http]`: status and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSection {
    /// Where the server listens.
    pub listen: LoopbackAddress,
}

/// `[devnet]`: the reference chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DevnetSection {
    /// What all of the chain's choices come from.
    pub seed: u64,
    /// What it begins with.
    pub state: DevnetState,
    /// The time from a block to the next, which is not zero.
    pub block_interval: Duration,
    /// How many peers are to be connected before the first block; as many as there are validators,
    /// if none is said.
    pub wait_for: Option<u32>,
}

/// What a reference chain begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DevnetState {
    /// Entries made from the seed.
    Generated {
        /// How much in each shard. *Units:* bytes.
        shard_bytes: NonZeroU64,
    },
    /// The entries of a genesis file.
    File {
        /// The file.
        path: PathBuf,
        /// Its format; by default what its name and content say.
        format: Option<GenesisFormat>,
    },
}

/// `[log]`: what the node tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSection {
    /// Which events, as tracing's filters say it.
    pub filter: String,
    /// How they are written.
    pub format: LogFormat,
}

/// How an event is written to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}
