//! The command line of Ketch, and everything of it that touches the world.
//!
//! `ketch node` is a node in its role: a driver around the coordinator, with the shards' stores, the
//! ledger's own database (the book), the network and the operator's view. `ketch testnet` runs a chain
//! of them, `ketch status` asks one how it stands, and `ketch state` looks into states.
//!
//! What is *not* here: any rule of the commitment (`ketch-trie`), of what is trusted (`ketch-ledger`)
//! or of the store (`ketch-store`), and no decision of catching up or serving (`ketch-coordinator`).

mod book;
mod cli;
mod clock;
mod config;
mod devnet_genesis;
mod driver;
mod figure;
mod follower;
mod genesis;
mod http;
mod key_file;
mod layout_file;
mod logging;
mod metrics;
mod node;
mod node_error;
mod progress;
mod recorder;
mod sequencer;
mod shards;
mod sim;
mod state_tool;
mod status;
mod status_tool;
mod table;
mod terminal;
mod testnet;
mod toml_file;
mod toml_size;

pub use book::{
    Book, BookError, ChainHead, ChunksAfter, Damage, EndTaken, EpochStartRecord, HeadTaken,
    OutputsServed, PeerFault, StoredChunk, TakeError,
};
pub use cli::run;
pub use config::{
    CatchupSection, ChainSection, ConfigError, ConfigProblem, DevnetSection, DevnetState,
    HttpSection, LogFormat, LogSection, LoopbackAddress, LoopbackError, NetworkSection, NodeConfig,
    NodeSection, Origin, Role, ServedShards, StoreSection,
};
pub use genesis::{GenesisError, GenesisFormat, GenesisProblem, read_genesis};
pub use http::{AskError, HttpError, HttpServer, NotNode, ask_status};
pub use key_file::{
    KeyFileError, KeyFileProblem, NetworkKey, create_network_key, read_network_key,
};
pub use layout_file::{LayoutFileError, read_layout};
pub use logging::{LogError, install_log};
pub use metrics::{Metrics, MetricsError};
pub use progress::show_progress;
pub use status::{HeadStatus, NodeStatus, ShardReport, Taken};
pub use terminal::Terminal;
pub use toml_file::{FilePlace, TomlFileError, read_toml};
