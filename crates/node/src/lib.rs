//! The command line of Ketch, and everything of it that touches the world.
//!
//! So far the state tools, `ketch state root | outline | parts | import`, and what a node is told
//! when it starts: its configuration and its network key.
//!
//! What is *not* here: any rule of the commitment (`ketch-trie`) or of the store (`ketch-store`).

mod cli;
mod config;
mod genesis;
mod key_file;
mod layout_file;
mod state_tool;
mod toml_file;
mod toml_size;

pub use cli::run;
pub use config::{
    AddressError, AddressText, CatchupSection, ChainSection, ConfigError, ConfigProblem,
    DevnetSection, DevnetState, HttpSection, LogFormat, LogSection, LoopbackAddress, LoopbackError,
    NetworkSection, NodeConfig, NodeSection, Origin, PeerAddressText, Role, ServedShards,
    StoreSection,
};
pub use genesis::{GenesisError, GenesisFormat, GenesisProblem, read_genesis};
pub use key_file::{
    KeyFileError, KeyFileProblem, NetworkKey, create_network_key, read_network_key,
};
pub use layout_file::{LayoutFileError, read_layout};
pub use toml_file::{FilePlace, TomlFileError, read_toml};
