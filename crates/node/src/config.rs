//! The configuration of a node: a file, environment variables over it, flags over those.

mod check;
mod error;
mod loopback;
mod sections;
mod setting;
mod sources;
mod written;

use std::ffi::OsString;
use std::path::Path;

pub use error::{ConfigError, ConfigProblem, Origin};
pub use loopback::{LoopbackAddress, LoopbackError};
pub use sections::{
    CatchupSection, ChainSection, DevnetSection, DevnetState, HttpSection, LogFormat, LogSection,
    NetworkSection, NodeSection, Role, ServedShards, StoreSection,
};

use sources::Sources;

/// All that a node is told when it starts: one field for each section of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// `role`, with `[part_server]` and `[devnet]`.
    pub role: Role,
    /// `[node]`.
    pub node: NodeSection,
    /// `[chain]`.
    pub chain: ChainSection,
    /// `[network]`.
    pub network: NetworkSection,
    /// `[store]`.
    pub store: StoreSection,
    /// `[catchup]`.
    pub catchup: CatchupSection,
    /// `[http]`.
    pub http: HttpSection,
    /// `[log]`.
    pub log: LogSection,
}

impl NodeConfig {
    /// The configuration of the TOML file at `path`, over it the variables of `environment` that
    /// begin with `KETCH_` (`KETCH_NETWORK_UPLOAD_LIMIT`), and over those `settings`, each
    /// `section.key=value`, of which a later one wins.
    ///
    /// A value outside of the file is TOML, or else a bare text. A relative path is relative to the
    /// file's folder if it stands in the file, and to the working directory if not. A value that
    /// another one overrides is not looked at.
    ///
    /// *Errors:* see [`ConfigError`]; it says file, line and column, or the variable, or the flag.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        settings: &[String],
    ) -> Result<Self, ConfigError> {
        let sources = Sources::read(path, setting::settings(environment, settings)?)?;
        check::config(&sources, sources.parse()?)
    }

    /// The reference chain, if the node knows it.
    pub fn devnet(&self) -> Option<&DevnetSection> {
        match &self.role {
            Role::Validator { devnet } | Role::PartServer { devnet, .. } => devnet.as_ref(),
            Role::Sequencer { devnet } => Some(devnet),
        }
    }
}
