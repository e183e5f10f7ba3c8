//! What a node tells over HTTP, asked over real sockets, and `ketch status` as its users run it.

mod bounds;
mod routes;
mod status_tool;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ketch_node::{
    HeadStatus, HttpServer, LoopbackAddress, Metrics, NodeStatus, ShardReport, Taken,
};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Longer than any answer takes, so that a test that would wait for ever fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// Outlives every test, as the upkeep of the metrics needs, which are there once in a process.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let _inside = RUNTIME.enter();
    Metrics::install().unwrap()
});

/// A server with a status of the test's own.
struct Node {
    address: SocketAddr,
    status: watch::Sender<Arc<NodeStatus>>,
    stop: Option<oneshot::Sender<()>>,
    stopped: JoinHandle<()>,
}

/// What a server answered.
struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Node {
    fn start(status: NodeStatus) -> Self {
        let metrics = METRICS.clone();
        let server = RUNTIME.block_on(HttpServer::bind(LoopbackAddress::localhost(0))).unwrap();
        let address = server.address();
        let (status, watched) = watch::channel(Arc::new(status));
        let (stop, stopping) = oneshot::channel::<()>();
        let stopped = RUNTIME.spawn(server.run(watched, metrics, async {
            let _ = stopping.await;
        }));
        Self { address, status, stop: Some(stop), stopped }
    }

    fn tell(&self, status: NodeStatus) {
        self.status.send_replace(Arc::new(status));
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        let mut stream = self.connect();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: ketch\r\n\r\n").unwrap();
        Answer::of(&rest(stream))
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path)
    }

    fn stop(&mut self) {
        drop(self.stop.take());
        RUNTIME.block_on(&mut self.stopped).unwrap();
    }
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
        let code = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { code, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }
}

/// All that comes until the connection ends.
fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A validator that follows what it must and takes another shard.
fn ready() -> NodeStatus {
    let following = ShardReport {
        shard: 0,
        phase: "following".into(),
        is_tracked: true,
        root: Some("ab".repeat(32)),
        applied_height: Some(41),
        ..ShardReport::default()
    };
    let taking = ShardReport {
        shard: 7,
        phase: "downloading".into(),
        epoch: Some(2),
        parts_held: 4,
        parts: 16,
        bytes_held: 16 << 20,
        bytes: 64 << 20,
        bytes_per_second: 8 << 20,
        eta_seconds: Some(6.0),
        margin_seconds: Some(11.5),
        verdict: Some("on-time".into()),
        providers: 3,
        last_error: Some("a peer stalled".into()),
        ..ShardReport::default()
    };
    NodeStatus {
        role: "validator".into(),
        peer: "12D3KooW".into(),
        addresses: vec!["/ip4/127.0.0.1/tcp/7600/p2p/12D3KooW".into()],
        chain: "cd".repeat(32),
        epoch: Some(2),
        head: Some(HeadStatus { height: 42, time_ms: now_ms() }),
        peers: 5,
        shards: vec![following, taking],
        taken: vec![Taken { epoch: 1, seconds: 5.5, in_time: Some(true), ..Taken::default() }],
        ..NodeStatus::default()
    }
}
