//! What a testnet consists of: its chain, its nodes, their folders and configurations.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ketch_devnet::{Assignment, DevChain, DevValidator};
use ketch_ledger::Genesis;
use ketch_net::NodeKey;
use ketch_store::StoreConfig;
use ketch_types::{ByteSize, Epoch, ShardId, ShardLayout, StateRoot};
use zeroize::Zeroizing;

use super::error::TestnetError;
use crate::clock::wall_ms;
use crate::config::DevnetState;
use crate::devnet_genesis::DevnetGenesis;
use crate::key_file::{NetworkKey, create_network_key};
use crate::node::shards_folder;

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) layout: ShardLayout,
    pub(crate) validators: u32,
    pub(crate) part_servers: u32,
    pub(crate) epochs: u64,
    pub(crate) epoch_blocks: u64,
    pub(crate) block_interval: Duration,
    pub(crate) state: DevnetState,
    pub(crate) upload_limit: Option<ByteSize>,
    pub(crate) download_limit: Option<ByteSize>,
    pub(crate) records: bool,
    pub(crate) seed: u64,
}

/// A testnet whose folders are made.
pub(crate) struct Plan {
    pub(crate) wanted: Wanted,
    pub(crate) genesis: Genesis,
    pub(crate) assignment: Assignment,
    pub(crate) sequencer: Member,
    pub(crate) validators: Vec<Member>,
    pub(crate) part_servers: Vec<Member>,
}

/// A node of the testnet.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

impl Member {
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    /// The file with the number of its process.
    pub(crate) fn pid(&self) -> PathBuf {
        self.folder.join("pid")
    }

    /// Where its next process records.
    pub(crate) fn next_record(&self) -> PathBuf {
        let mut paths = (1..).map(|number| self.folder.join(format!("record-{number}.jsonl")));
        paths.find(|path| !path.exists()).unwrap_or_default()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
}

impl Plan {
    /// Makes keys, the genesis and all folders of a testnet in `folder`.
    ///
    /// *Errors:* see [`TestnetError`].
    pub(crate) fn make(wanted: Wanted, folder: &Path) -> Result<Self, TestnetError> {
        if wanted.epochs == 0 {
            return Err(TestnetError::NoEpoch);
        }
        let assignment = Assignment::new(wanted.layout.shards(), wanted.validators as usize)?;
        let sequencer = Member::make(folder, "sequencer".to_owned(), wanted.seed, 0)?.0;
        let mut places = 1..;
        let mut members = |kind: &str, count: u32| -> Result<Vec<_>, TestnetError> {
            let named = (1..=count).map(|number| format!("{kind}-{number}"));
            let made = named.zip(places.by_ref());
            made.map(|(name, place)| Member::make(folder, name, wanted.seed, place)).collect()
        };
        let validators = members("validator", wanted.validators)?;
        let part_servers = members("part-server", wanted.part_servers)?;
        let roots = make_states(&wanted, &shards_folder(&sequencer.data()))?;
        let genesis = chain(&wanted, &assignment, &validators)?.genesis(roots)?;
        let genesis_file = folder.join("genesis.bin");
        fs::write(&genesis_file, genesis.encode()).map_err(TestnetError::file(&genesis_file))?;
        let members = |made: Vec<(Member, NodeKey)>| made.into_iter().map(|(m, _)| m).collect();
        let plan = Self {
            genesis,
            assignment,
            sequencer,
            validators: members(validators),
            part_servers: members(part_servers),
            wanted,
        };
        plan.write_configs()?;
        Ok(plan)
    }

    /// All nodes but the sequencer.
    pub(crate) fn followers(&self) -> impl Iterator<Item = &Member> {
        self.validators.iter().chain(&self.part_servers)
    }

    /// The shards that a validator must take in an epoch, to track them from the next one on.
    pub(crate) fn taken_in(&self, validator: usize, epoch: Epoch) -> Vec<ShardId> {
        let before = self.assignment.tracked(validator, epoch);
        let after = self.assignment.tracked(validator, epoch.next());
        after.into_iter().filter(|shard| !before.contains(shard)).collect()
    }

    /// The height at which the run ends: two blocks after the last change of epochs.
    pub(crate) fn last_height(&self) -> u64 {
        self.wanted.epochs.saturating_mul(self.wanted.epoch_blocks).saturating_add(2)
    }

    fn write_configs(&self) -> Result<(), TestnetError> {
        self.write_config(&self.sequencer, "role = \"sequencer\"\n", false)?;
        for validator in &self.validators {
            self.write_config(validator, "role = \"validator\"\n", true)?;
        }
        for server in &self.part_servers {
            let role = "role = \"part-server\"\n[part_server]\nshards = \"all\"\n";
            self.write_config(server, role, true)?;
        }
        Ok(())
    }

    fn write_config(&self, of: &Member, role: &str, is_limited: bool) -> Result<(), TestnetError> {
        let limit = |key: &str, limit: Option<ByteSize>| {
            let limit = limit.filter(|_| is_limited);
            limit.map_or_else(String::new, |limit| format!("{key} = {}\n", limit.0))
        };
        let (upload, download) = (self.wanted.upload_limit, self.wanted.download_limit);
        let text = format!(
            "{role}\
             [node]\ndata = \"data\"\nkey = \"network.key\"\n\
             [chain]\ngenesis = \"../genesis.bin\"\n\
             [network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n{}{}\
             [http]\nlisten = \"127.0.0.1:0\"\n\
             [devnet]\nseed = {}\nstate = {}\nblock_interval = \"{}\"\nwait_for = {}\n",
            limit("upload_limit", upload),
            limit("download_limit", download),
            self.wanted.seed,
            state_text(&self.wanted.state)?,
            humantime::format_duration(self.wanted.block_interval),
            self.validators.len() + self.part_servers.len(),
        );
        fs::write(of.config(), text).map_err(TestnetError::file(&of.config()))
    }
}

impl Member {
    /// Makes the folder of a node, with its key.
    fn make(
        folder: &Path,
        name: String,
        seed: u64,
        place: u32,
    ) -> Result<(Self, NodeKey), TestnetError> {
        let member = Self { folder: folder.join(&name), name };
        let data = member.data();
        fs::create_dir_all(&data).map_err(TestnetError::file(&data))?;
        let named = [seed.to_le_bytes().as_slice(), &place.to_le_bytes()].concat();
        let mut secret = Zeroizing::new(blake3::derive_key("ketch testnet network key", &named));
        create_network_key(&member.folder.join("network.key"), &NetworkKey::new(*secret))?;
        let key = NodeKey::from_secret(&mut secret)?;
        Ok((member, key))
    }
}

/// How a devnet's beginning is written in a configuration; paths in it are absolute.
fn state_text(state: &DevnetState) -> Result<String, TestnetError> {
    Ok(match state {
        DevnetState::Generated { shard_bytes } => format!("{{ generated = {shard_bytes} }}"),
        DevnetState::File { path, .. } => {
            let path = path.canonicalize().map_err(TestnetError::file(path))?;
            let path = toml::Value::String(path.to_string_lossy().into_owned());
            format!("{{ file = {path} }}")
        }
    })
}

/// Makes the states of all shards where the sequencer keeps them, two at a time; their roots in
/// layout order.
fn make_states(wanted: &Wanted, folder: &Path) -> Result<Vec<StateRoot>, TestnetError> {
    let states = DevnetGenesis::new(wanted.seed, &wanted.state, wanted.layout.clone())?;
    let shards = wanted.layout.shards();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let make = |shard: &ShardId| {
        let made = states.make(*shard, folder, StoreConfig::default())?;
        made.ok_or_else(|| TestnetError::NotEmpty(folder.to_owned()))
    };
    std::thread::scope(|scope| {
        let some = shards.chunks(shards.len().div_ceil(threads).max(1));
        let made: Vec<_> = some
            .map(|some| scope.spawn(|| some.iter().map(make).collect::<Result<Vec<_>, _>>()))
            .collect();
        let mut roots = Vec::with_capacity(shards.len());
        for thread in made {
            roots.extend(thread.join().map_err(|_| TestnetError::Panicked)??);
        }
        Ok(roots)
    })
}

fn chain(
    wanted: &Wanted,
    assignment: &Assignment,
    validators: &[(Member, NodeKey)],
) -> Result<DevChain, TestnetError> {
    let validator = |(place, (_, key)): (u32, &(Member, NodeKey))| DevValidator {
        signer: DevValidator::signer(wanted.seed, place),
        peer: key.peer().clone(),
        // Ports are chosen by the system: peers are found through the DHT.
        addresses: Vec::new(),
    };
    Ok(DevChain {
        name: format!("ketch-testnet-{}", wanted.seed),
        time_ms: wall_ms(),
        layout: wanted.layout.clone(),
        epoch_blocks: wanted.epoch_blocks,
        assignment: assignment.clone(),
        validators: (0..).zip(validators).map(validator).collect(),
    })
}
