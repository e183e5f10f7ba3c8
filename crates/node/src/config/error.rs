use std::fmt;
use std::io;
use std::path::PathBuf;

use ketch_net::ContactError;
use ketch_types::{HashError, ShardId};
use thiserror::Error;

use super::loopback::LoopbackError;
use crate::toml_file::FilePlace;

/// Why a configuration was refused.
#[derive(Debug, Error)]
#[error("{origin}: {problem}")]
pub struct ConfigError {
    /// Who said what is wrong.
    pub origin: Origin,
    /// What is wrong.
    #[source]
    pub problem: ConfigProblem,
}

/// Where a part of a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file as a whole.
    File(PathBuf),
    /// A place in the configuration file.
    Place(FilePlace),
    /// An environment variable.
    Variable(String),
    /// The name in a `--set name=value`.
    Flag(String),
}

/// What can be wrong with a configuration.
#[derive(Debug, Error)]
pub enum ConfigProblem {
    /// The file could not be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// No TOML, an unknown key, a key that is missing, or a value of the wrong type.
    #[error("{0}")]
    Text(String),
    /// The value of an environment variable is not text.
    #[error("the value is not UTF-8")]
    NotUnicode,
    /// A variable or a flag that looks like a key's, but no section has such a name.
    #[error("names no key of the configuration")]
    NoKey,
    /// A flag without `=`.
    #[error("a setting is written as section.key=value")]
    NoValue,
    /// Something else stands where a section should.
    #[error("`{0}` is a section and not a key")]
    NotSection(&'static str),
    /// A path is empty.
    #[error("`{0}` is an empty path")]
    EmptyPath(&'static str),
    /// A limit or a count of nothing.
    #[error("`{0}` is 0 and must be more")]
    Zero(&'static str),
    /// An address is none.
    #[error("{0}")]
    Address(#[from] ContactError),
    /// The HTTP server would not be where it has to be.
    #[error("{0}")]
    Loopback(#[from] LoopbackError),
    /// The waypoint is no hash.
    #[error("{0}")]
    Waypoint(#[from] HashError),
    /// A duration is none.
    #[error("{0}: a duration is written like \"500ms\" or \"2s\"")]
    Duration(#[from] humantime::DurationError),
    /// A part server has to know what it serves.
    #[error("a part server needs the section [part_server], which says what it serves")]
    PartServerMissing,
    /// What only a part server reads.
    #[error("the section [part_server] is for the role part-server alone")]
    PartServerUnused,
    /// A part server of nothing.
    #[error("`shards` lists no shard")]
    NoShard,
    /// A shard is listed twice.
    #[error("shard {0} is listed twice")]
    ShardTwice(ShardId),
    /// A sequencer executes the reference chain and has to know it.
    #[error("a sequencer needs the section [devnet], whose chain it executes")]
    DevnetMissing,
    /// The first state is made in exactly one way.
    #[error("`state` is either {{ generated = SIZE }} or {{ file = PATH }}")]
    StateSource,
    /// A generated state has no file whose format could be said.
    #[error("`format` says the format of `file`, which is not there")]
    FormatUnused,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Place(place) => write!(f, "{place}"),
            Self::Variable(name) => write!(f, "{name}"),
            Self::Flag(name) => write!(f, "--set {name}"),
        }
    }
}
