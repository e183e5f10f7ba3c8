//! A configuration as it is written: every value with its place, nothing checked but its type.

use std::fmt;
use std::path::PathBuf;

use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::sections::LogFormat;
use crate::genesis::GenesisFormat;
use crate::toml_size::Size;

/// The names of the sections, which is all that [`Config`] has beside the role.
pub(super) const SECTIONS: [&str; 9] =
    ["node", "chain", "network", "store", "catchup", "http", "part_server", "devnet", "log"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) role: Spanned<Role>,
    pub(super) node: Node,
    pub(super) chain: Chain,
    #[serde(default)]
    pub(super) network: Network,
    #[serde(default)]
    pub(super) store: Store,
    #[serde(default)]
    pub(super) catchup: Catchup,
    #[serde(default)]
    pub(super) http: Http,
    pub(super) part_server: Option<Spanned<PartServer>>,
    pub(super) devnet: Option<Devnet>,
    #[serde(default)]
    pub(super) log: Log,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    Validator,
    PartServer,
    Sequencer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) data: Spanned<PathBuf>,
    pub(super) key: Spanned<PathBuf>,
    pub(super) workers: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chain {
    pub(super) genesis: Spanned<PathBuf>,
    pub(super) waypoint: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    pub(super) listen: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) external: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) peers: Vec<Spanned<String>>,
    pub(super) upload_limit: Option<Spanned<Size>>,
    pub(super) download_limit: Option<Spanned<Size>>,
    pub(super) connections_max: Option<Spanned<u32>>,
    pub(super) provide_dht: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) part_cache: Option<Spanned<Size>>,
    pub(super) block_cache: Option<Spanned<Size>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catchup {
    pub(super) memory: Option<Spanned<Size>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartServer {
    pub(super) shards: Spanned<Shards>,
}

pub(super) enum Shards {
    All,
    Listed(Vec<u32>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Devnet {
    pub(super) seed: u64,
    pub(super) state: Spanned<State>,
    pub(super) block_interval: Option<Spanned<String>>,
    pub(super) wait_for: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    pub(super) generated: Option<Spanned<Size>>,
    pub(super) file: Option<Spanned<PathBuf>>,
    pub(super) format: Option<GenesisFormat>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) filter: Option<String>,
    pub(super) format: Option<LogFormat>,
}

impl<'de> Deserialize<'de> for Shards {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Ids;
        impl<'de> Visitor<'de> for Ids {
            type Value = Shards;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"all\" or a list of shard ids such as [0, 3]")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Shards, E> {
                match text {
                    "all" => Ok(Shards::All),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shards, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element()? {
                    ids.push(id);
                }
                Ok(Shards::Listed(ids))
            }
        }
        input.deserialize_any(Ids)
    }
}
