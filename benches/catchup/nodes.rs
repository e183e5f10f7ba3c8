//! Nodes as processes of their own, on a chain that stands still at its genesis.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ketch_devnet::{Assignment, DevChain, DevValidator};
use ketch_net::NodeKey;
use ketch_node::{NetworkKey, create_network_key};
use ketch_types::{ShardId, ShardLayout, StateRoot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::measure::Usage;
use crate::state::PART_BYTES;

/// The shard that holds the whole state.
pub(crate) const SHARD: ShardId = ShardId(0);
/// A shard without entries: a chain has two at least, so that there is something to take.
const EMPTY: ShardId = ShardId(1);
const SEED: u64 = 1;
/// How long a node may take for one step before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(600);

/// A chain, and the folder of its nodes.
pub(crate) struct BenchChain {
    folder: TempDir,
}

/// A node's folder.
pub(crate) struct Member {
    folder: PathBuf,
}

/// A node's process. It is killed when this is dropped.
pub(crate) struct Node {
    child: Child,
    log: Receiver<(Instant, String)>,
    pub(crate) started: Instant,
    /// Where others reach it.
    pub(crate) address: String,
    pub(crate) http: String,
}

/// The layout of the chain: every key that a state has is in its first shard.
pub(crate) fn layout() -> ShardLayout {
    let boundary = vec![0xff; 64];
    ShardLayout::new(vec![SHARD, EMPTY], vec![boundary], u64::from(PART_BYTES)).expect("a layout")
}

fn secret(number: u8) -> [u8; 32] {
    *blake3::hash(&[number]).as_bytes()
}

impl BenchChain {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// Writes the genesis of a chain that begins with the state of this root.
    pub(crate) fn begin_with(&self, root: StateRoot) {
        let layout = layout();
        // They hold no shard here: their keys make the chain's first epochs complete.
        let validator = |place: u8| DevValidator {
            signer: DevValidator::signer(SEED, u32::from(place)),
            peer: NodeKey::from_secret(&mut secret(place)).expect("a key").peer().clone(),
            addresses: Vec::new(),
        };
        let chain = DevChain {
            name: "ketch-bench".to_owned(),
            time_ms: 0,
            epoch_blocks: 1 << 30,
            assignment: Assignment::new(layout.shards(), 2).expect("two shards for two"),
            validators: [100, 101].map(validator).into(),
            layout,
        };
        let genesis = chain.genesis(vec![root, StateRoot::EMPTY]).expect("a genesis");
        fs::write(self.folder.path().join("genesis.bin"), genesis.encode()).expect("written");
    }

    /// A part server's folder; `limits` are lines of its section `[network]`.
    pub(crate) fn member(&self, number: u8, limits: &str) -> Member {
        let folder = self.folder.path().join(format!("node-{number}"));
        fs::create_dir_all(folder.join("data")).expect("a folder");
        let key = NetworkKey::new(secret(number));
        create_network_key(&folder.join("network.key"), &key).expect("a new key file");
        let text = format!(
            "role = \"part-server\"\n\
             [part_server]\nshards = [0]\n\
             [node]\ndata = \"data\"\nkey = \"network.key\"\n\
             [chain]\ngenesis = \"../genesis.bin\"\n\
             [network]\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n{limits}\n\
             [http]\nlisten = \"127.0.0.1:0\"\n"
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

    /// Deletes what the node has stored.
    pub(crate) fn remove(self) {
        fs::remove_dir_all(self.folder).expect("our own folder");
    }

    /// Starts the node; the clock runs from here, so that its start counts as well.
    pub(crate) fn start(&self, peers: &[&str]) -> Node {
        let peers: Vec<_> = peers.iter().map(|peer| format!("\"{peer}\"")).collect();
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ketch"))
            .args(["node", "--config"])
            .arg(self.folder.join("node.toml"))
            .args(["--set", &format!("network.peers=[{}]", peers.join(","))])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the node's process");
        let log = lines(child.stderr.take().expect("piped"));
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut ready).expect("readable");
        let Ok(ready) = serde_json::from_str::<serde_json::Value>(&ready) else {
            let log: Vec<_> = log.try_iter().map(|(_, line)| line).collect();
            panic!("the node does not take part: {}", log.join("\n"));
        };
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        let (address, http) = (text(&ready["addresses"][0]), text(&ready["http"]));
        Node { child, log, started, address, http }
    }
}

/// Reads a node's log as it comes, so that the node never waits for its reader.
fn lines(of: impl std::io::Read + Send + 'static) -> Receiver<(Instant, String)> {
    let (to_bench, log) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(of).lines().map_while(Result::ok) {
            // The benchmark may have seen enough; the pipe is emptied all the same.
            let _ = to_bench.send((Instant::now(), line));
        }
    });
    log
}

impl Node {
    /// The moment at which the node logs that it has the whole state, which is durable by then.
    pub(crate) fn completed(&self) -> Instant {
        loop {
            let (at, line) = self.log.recv_timeout(PATIENCE).expect("the node goes on");
            if line.contains("phase=Replaying") {
                return at;
            }
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage::of_process(self.child.id())
    }

    /// Tells the node to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), Signal::SIGTERM).expect("our own child");
        assert!(self.child.wait().expect("our own child").success(), "the node ends as it should");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Neither matters where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
