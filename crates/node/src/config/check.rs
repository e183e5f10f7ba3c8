//! From what is written to what a node can run with.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use ketch_net::{Contact, parse_address};
use ketch_types::ShardId;
use toml::Spanned;

use super::NodeConfig;
use super::error::{ConfigError, ConfigProblem};
use super::loopback::LoopbackAddress;
use super::sections::{
    CatchupSection, ChainSection, DevnetSection, DevnetState, HttpSection, LogFormat, LogSection,
    NetworkSection, NodeSection, Role, ServedShards, StoreSection,
};
use super::sources::Sources;
use super::written;
use crate::toml_size::Size;

/// On every interface, since others are to reach the node.
const LISTEN_DEFAULT: &str = "/ip4/0.0.0.0/tcp/7600";
/// A devnet is to show its epochs soon.
const BLOCK_INTERVAL_DEFAULT: Duration = Duration::from_millis(500);
/// Half of the 1,000 peers that Ketch is designed for, and below the usual 1,024 open files.
const CONNECTIONS_MAX_DEFAULT: NonZeroU32 = NonZeroU32::new(500).unwrap();
/// The parts of a shard of 10 GB for two epochs, at the 70 % that lz4 leaves of them.
const PART_CACHE_DEFAULT: NonZeroU64 = NonZeroU64::new(16 << 30).unwrap();
/// The upper levels of a few large shards' trees; as much again as catching up may take.
const BLOCK_CACHE_DEFAULT: NonZeroU64 = NonZeroU64::new(256 << 20).unwrap();
/// Six windows of 32 MiB: more was no faster, and a node is to take half a gibibyte at most.
const MEMORY_DEFAULT: NonZeroU64 = NonZeroU64::new(192 << 20).unwrap();
/// Beside the network's port.
const HTTP_DEFAULT: LoopbackAddress = LoopbackAddress::localhost(7680);
/// What an operator has to know, and nothing that comes with every message: libp2p's DHT tells more
/// of what peers send than they should be able to write into a log.
const FILTER_DEFAULT: &str = "info,fjall=warn,libp2p=warn,lsm_tree=warn";

/// The configuration that `sources` write.
pub(super) fn config(
    sources: &Sources,
    written: written::Config,
) -> Result<NodeConfig, ConfigError> {
    let devnet = written.devnet.map(|devnet| devnet_section(sources, &devnet)).transpose()?;
    let room = |key, size: &Option<_>, default| {
        size.as_ref().map_or(Ok(default), |size| bytes(sources, key, size))
    };
    Ok(NodeConfig {
        role: role(sources, &written.role, written.part_server.as_ref(), devnet)?,
        node: node(sources, &written.node)?,
        chain: chain(sources, &written.chain)?,
        network: network(sources, &written.network)?,
        store: StoreSection {
            part_cache: room("part_cache", &written.store.part_cache, PART_CACHE_DEFAULT)?,
            block_cache: room("block_cache", &written.store.block_cache, BLOCK_CACHE_DEFAULT)?,
        },
        catchup: CatchupSection {
            memory: room("memory", &written.catchup.memory, MEMORY_DEFAULT)?,
        },
        http: HttpSection {
            listen: written
                .http
                .listen
                .map_or(Ok(HTTP_DEFAULT), |address| parse(sources, &address))?,
        },
        log: LogSection {
            filter: written.log.filter.unwrap_or_else(|| FILTER_DEFAULT.to_owned()),
            format: written.log.format.unwrap_or(LogFormat::Text),
        },
    })
}

/// The role, with what no other role has.
fn role(
    sources: &Sources,
    role: &Spanned<written::Role>,
    part_server: Option<&Spanned<written::PartServer>>,
    devnet: Option<DevnetSection>,
) -> Result<Role, ConfigError> {
    match (role.get_ref(), part_server) {
        (written::Role::PartServer, Some(section)) => {
            let shards = shards(sources, &section.get_ref().shards)?;
            Ok(Role::PartServer { shards, devnet })
        }
        (written::Role::PartServer, None) => {
            Err(sources.refuse(role, ConfigProblem::PartServerMissing))
        }
        (_, Some(section)) => Err(sources.refuse(section, ConfigProblem::PartServerUnused)),
        (written::Role::Validator, None) => Ok(Role::Validator { devnet }),
        (written::Role::Sequencer, None) => match devnet {
            Some(devnet) => Ok(Role::Sequencer { devnet }),
            None => Err(sources.refuse(role, ConfigProblem::DevnetMissing)),
        },
    }
}

fn shards(
    sources: &Sources,
    written: &Spanned<written::Shards>,
) -> Result<ServedShards, ConfigError> {
    let written::Shards::Listed(ids) = written.get_ref() else { return Ok(ServedShards::All) };
    let mut shards = BTreeSet::new();
    for id in ids.iter().copied().map(ShardId) {
        if !shards.insert(id) {
            return Err(sources.refuse(written, ConfigProblem::ShardTwice(id)));
        }
    }
    if shards.is_empty() {
        return Err(sources.refuse(written, ConfigProblem::NoShard));
    }
    Ok(ServedShards::Listed(shards))
}

fn node(sources: &Sources, written: &written::Node) -> Result<NodeSection, ConfigError> {
    let workers = written.workers.as_ref();
    let workers = workers.map(|workers| positive(sources, "workers", workers)).transpose()?;
    Ok(NodeSection {
        data: sources.resolve("data", &written.data)?,
        key: sources.resolve("key", &written.key)?,
        workers: workers
            .unwrap_or_else(|| thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
    })
}

fn chain(sources: &Sources, written: &written::Chain) -> Result<ChainSection, ConfigError> {
    let waypoint = written.waypoint.as_ref();
    Ok(ChainSection {
        genesis: sources.resolve("genesis", &written.genesis)?,
        waypoint: waypoint.map(|hash| parse(sources, hash)).transpose()?,
    })
}

fn network(sources: &Sources, written: &written::Network) -> Result<NetworkSection, ConfigError> {
    let connections_max = written.connections_max.as_ref();
    let limit = |key, size: Option<_>| size.map(|size| bytes(sources, key, size)).transpose();
    Ok(NetworkSection {
        listen: match &written.listen {
            Some(addresses) => parse_all(sources, addresses, parse_address)?,
            None => parse_address(LISTEN_DEFAULT).into_iter().collect(),
        },
        external: parse_all(sources, &written.external, parse_address)?,
        peers: parse_all(sources, &written.peers, str::parse::<Contact>)?,
        upload_limit: limit("upload_limit", written.upload_limit.as_ref())?,
        download_limit: limit("download_limit", written.download_limit.as_ref())?,
        connections_max: connections_max.map_or(Ok(CONNECTIONS_MAX_DEFAULT), |count| {
            positive(sources, "connections_max", count)
        })?,
        provide_dht: written.provide_dht.unwrap_or(true),
    })
}

fn devnet_section(
    sources: &Sources,
    written: &written::Devnet,
) -> Result<DevnetSection, ConfigError> {
    let block_interval = match &written.block_interval {
        Some(text) => interval(sources, text)?,
        None => BLOCK_INTERVAL_DEFAULT,
    };
    Ok(DevnetSection {
        seed: written.seed,
        state: state(sources, &written.state)?,
        block_interval,
        wait_for: written.wait_for,
    })
}

fn interval(sources: &Sources, text: &Spanned<String>) -> Result<Duration, ConfigError> {
    let interval: humantime::Duration = parse(sources, text)?;
    let interval = Duration::from(interval);
    if interval.is_zero() {
        return Err(sources.refuse(text, ConfigProblem::Zero("block_interval")));
    }
    Ok(interval)
}

fn state(sources: &Sources, written: &Spanned<written::State>) -> Result<DevnetState, ConfigError> {
    let written::State { generated, file, format } = written.get_ref();
    match (generated, file, format) {
        (Some(_), None, Some(_)) => Err(sources.refuse(written, ConfigProblem::FormatUnused)),
        (Some(size), None, None) => {
            Ok(DevnetState::Generated { shard_bytes: bytes(sources, "generated", size)? })
        }
        (None, Some(path), format) => {
            Ok(DevnetState::File { path: sources.resolve("file", path)?, format: *format })
        }
        _ => Err(sources.refuse(written, ConfigProblem::StateSource)),
    }
}

/// The value that a text stands for.
fn parse<T: FromStr>(sources: &Sources, text: &Spanned<String>) -> Result<T, ConfigError>
where
    ConfigProblem: From<T::Err>,
{
    text.get_ref().parse().map_err(|error: T::Err| sources.refuse(text, error))
}

fn parse_all<T, E>(
    sources: &Sources,
    texts: &[Spanned<String>],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, ConfigError>
where
    ConfigProblem: From<E>,
{
    let one =
        |text: &Spanned<String>| parse(text.get_ref()).map_err(|error| sources.refuse(text, error));
    texts.iter().map(one).collect()
}

/// The size that is written for `key`, in bytes.
fn bytes(
    sources: &Sources,
    key: &'static str,
    size: &Spanned<Size>,
) -> Result<NonZeroU64, ConfigError> {
    positive(sources, key, &Spanned::new(size.span(), size.get_ref().0.0))
}

/// The number of `key`, which is not zero.
fn positive<T: Copy, N: TryFrom<T>>(
    sources: &Sources,
    key: &'static str,
    number: &Spanned<T>,
) -> Result<N, ConfigError> {
    N::try_from(*number.get_ref()).map_err(|_| sources.refuse(number, ConfigProblem::Zero(key)))
}
