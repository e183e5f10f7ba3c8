//! Nodes as processes of their own, on a chain that stands still at its genesis: for the tests, and
//! for the benchmark, which includes this file.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ketch_devnet::{Assignment, DevChain, DevValidator};
use ketch_ledger::Genesis;
use ketch_net::NodeKey;
use ketch_node::{NetworkKey, create_network_key};
use ketch_store::{ShardStore, StoreConfig};
use ketch_types::{ShardId, ShardLayout, StateRoot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// The shard that holds the whole state.
pub(crate) const SHARD: ShardId = ShardId(0);
/// A shard without entries: a chain has two at least, so that there is something to take.
const EMPTY: ShardId = ShardId(1);
/// What the chain's keys are made of.
pub(crate) const SEED: u64 = 1;
/// How long a node may take for one step.
const PATIENCE: Duration = Duration::from_secs(600);

/// A chain, and the folder of its nodes.
pub(crate) struct StillChain {
    folder: TempDir,
    part_bytes: u32,
}

/// A node's folder.
pub(crate) struct Member {
    folder: PathBuf,
}

/// A node's process. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    log: Receiver<(Instant, String)>,
    pub(crate) started: Instant,
    /// Where others reach it.
    pub(crate) address: String,
    pub(crate) http: String,
}

fn secret(number: u8) -> [u8; 32] {
    *blake3::hash(&[number]).as_bytes()
}

impl StillChain {
    pub(crate) fn new(part_bytes: u32) -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), part_bytes }
    }

    /// The layout of the chain: every key that a state has is in its first shard.
    pub(crate) fn layout(&self) -> ShardLayout {
        let boundary = vec![0xff; 64];
        let part_bytes = u64::from(self.part_bytes);
        ShardLayout::new(vec![SHARD, EMPTY], vec![boundary], part_bytes).expect("a layout")
    }

    /// Writes the genesis of a chain that begins with the state of this root.
    pub(crate) fn begin_with(&self, root: StateRoot) -> Genesis {
        let layout = self.layout();
        // They hold no shard here: their keys make the chain's first epochs complete.
        let validator = |place: u8| DevValidator {
            signer: DevValidator::signer(SEED, u32::from(place)),
            peer: NodeKey::from_secret(&mut secret(100 + place)).expect("a key").peer().clone(),
            addresses: Vec::new(),
        };
        let chain = DevChain {
            name: "still".to_owned(),
            time_ms: 0,
            epoch_blocks: 1 << 30,
            assignment: Assignment::new(layout.shards(), 2).expect("two shards for two"),
            validators: [0, 1].map(validator).into(),
            layout,
        };
        let genesis = chain.genesis(vec![root, StateRoot::EMPTY]).expect("a genesis");
        fs::write(self.folder.path().join("genesis.bin"), genesis.encode()).expect("written");
        genesis
    }

    /// The folder of a part server that serves the first shard; `network` are lines of its section
    /// `[network]`.
    pub(crate) fn part_server(&self, number: u8, network: &str) -> Member {
        self.member(number, "role = \"part-server\"\n[part_server]\nshards = [0]\n", network, "")
    }

    /// The folder of a node, with what its role and the end of its configuration say.
    pub(crate) fn member(&self, number: u8, role: &str, network: &str, end: &str) -> Member {
        let folder = self.folder.path().join(format!("node-{number}"));
        fs::create_dir_all(folder.join("data/shards")).expect("a folder");
        let key = NetworkKey::new(secret(number));
        create_network_key(&folder.join("network.key"), &key).expect("a new key file");
        let text = format!(
            "{role}\
             [node]\ndata = \"data\"\nkey = \"network.key\"\n\
             [chain]\ngenesis = \"../genesis.bin\"\n\
             [network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n{network}\n\
             [http]\nlisten = \"127.0.0.1:0\"\n{end}"
        );
        fs::write(folder.join("node.toml"), text).expect("written");
        Member { folder }
    }
}

impl Member {
    pub(crate) fn shard(&self) -> PathBuf {
        self.folder.join("data/shards/shard-0")
    }

    pub(crate) fn parts(&self) -> PathBuf {
        self.folder.join("data/parts")
    }

    /// The store of the first shard, while no process has it.
    pub(crate) fn store(&self) -> ShardStore {
        ShardStore::open(&self.shard(), StoreConfig::default()).expect("a store").store
    }

    /// Deletes what the node has stored.
    pub(crate) fn remove(self) {
        fs::remove_dir_all(self.folder).expect("our own folder");
    }

    /// The command that runs the node, which knows these peers.
    pub(crate) fn command(&self, peers: &[&str]) -> Command {
        let peers: Vec<_> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ketch"));
        command
            .args(["node", "--config"])
            .arg(self.folder.join("node.toml"))
            .args(["--set", &format!("network.peers=[{}]", peers.join(","))])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the node, and waits until it takes part.
    pub(crate) fn start(&self, peers: &[&str]) -> Process {
        Self::started(self.command(peers))
    }

    /// The same, and the node records to a file.
    pub(crate) fn start_recorded(&self, peers: &[&str], record: &Path) -> Process {
        let mut command = self.command(peers);
        command.arg("--record").arg(record);
        Self::started(command)
    }

    /// The same under a limit of the size of each file that it writes: see [`limited`].
    pub(crate) fn start_limited(&self, peers: &[&str], blocks: u64) -> Process {
        let mut command = limited(&self.command(peers), blocks);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::started(command)
    }

    fn started(mut command: Command) -> Process {
        let started = Instant::now();
        let mut child = command.spawn().expect("the node's process");
        let log = lines(child.stderr.take().expect("piped"));
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut ready).expect("readable");
        let Ok(ready) = serde_json::from_str::<serde_json::Value>(&ready) else {
            let log: Vec<_> = log.iter().map(|(_, line)| line).collect();
            panic!("the node does not take part: {}", log.join("\n"));
        };
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let (address, http) = (text(&ready["addresses"][0]), text(&ready["http"]));
        Process { child, log, started, address, http }
    }
}

/// A command under a limit of the size of each file that it writes, in units of 512 bytes. Without the
/// signal, a write past the limit fails like one on a full disk.
pub(crate) fn limited(whole: &Command, blocks: u64) -> Command {
    let mut shell = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    shell.arg("-c").arg(script).arg(whole.get_program()).args(whole.get_args());
    shell
}

/// Reads a node's log as it comes, so that the node never waits for its reader.
fn lines(of: impl Read + Send + 'static) -> Receiver<(Instant, String)> {
    let (to_owner, log) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(of).lines().map_while(Result::ok) {
            // Its owner may have seen enough; the pipe is emptied all the same.
            let _ = to_owner.send((Instant::now(), line));
        }
    });
    log
}

impl Process {
    /// Waits until the node logs that it has the whole state, which is durable by then: the moment, and
    /// all lines before it.
    pub(crate) fn completed(&self) -> (Instant, Vec<String>) {
        self.until_logged("phase=Replaying")
    }

    /// Waits until the node logs something: the moment, and all lines before it.
    pub(crate) fn until_logged(&self, what: &str) -> (Instant, Vec<String>) {
        let mut before = Vec::new();
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let (at, line) = line.unwrap_or_else(|_| panic!("no {what} in {}", before.join("\n")));
            if line.contains(what) {
                return (at, before);
            }
            before.push(line);
        }
    }

    /// The process' id, with which the system tells what it takes.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells the node to stop.
    pub(crate) fn terminate(&self) {
        let id = i32::try_from(self.id()).expect("a process id");
        kill(Pid::from_raw(id), Signal::SIGTERM).expect("our own child");
    }

    /// Waits until the node has ended.
    pub(crate) fn ended(mut self) -> ExitStatus {
        self.child.wait().expect("our own child")
    }

    /// Tells the node to stop, and waits until it has.
    pub(crate) fn stop(self) {
        self.terminate();
        assert!(self.ended().success(), "the node ends as it should");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Neither matters where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
