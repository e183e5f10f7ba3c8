//! One node that has a state, and four newcomers that want it at the same time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ketch_types::ByteSize;

use crate::Options;
use crate::measure::Usage;
use crate::seed::Seed;
use crate::state::{BenchState, ENTRY_BYTES, PART_BYTES};
use crate::still_chain::{Process, StillChain};

const NEWCOMERS: u8 = 4;
/// What each node may send in a second: lines, not processors, are what newcomers share.
const UPLOAD: u64 = 32 << 20;

/// How much the seed sends, as a share of the state, packed as it is sent.
pub(crate) fn run(options: &Options) {
    let bytes = options.state_bytes / 4;
    let state = BenchState::new(bytes / ENTRY_BYTES);
    println!("\none seed, {NEWCOMERS} newcomers, {} each, a state of {}", rate(), ByteSize(bytes));
    let mut shares = Vec::new();
    for _ in 0..options.rounds {
        let chain = StillChain::new(PART_BYTES);
        let limits = format!("upload_limit = {UPLOAD}");
        let seed = Seed::new(&chain, &limits, state.entries());
        let server = seed.start();
        let members = (0..NEWCOMERS).map(|number| chain.part_server(2 + number, &limits));
        let members: Vec<_> = members.collect();
        let nodes: Vec<_> = members.iter().map(|node| node.start(&[&server.address])).collect();
        let took: Vec<_> = nodes.iter().map(|node| node.completed().0 - server.started).collect();
        let first = nodes.iter().map(|node| node.started - server.started).min();
        let last = took.iter().max().copied().unwrap_or_default() - first.unwrap_or_default();
        let packed = seed.packed_bytes() as f64;
        let share = sent_bytes(&server) / packed;
        let peak =
            nodes.iter().map(|node| Usage::of_process(node.id()).peak_mib).max().unwrap_or(0);
        let alone = f64::from(NEWCOMERS) * packed / UPLOAD as f64;
        let least = packed / UPLOAD as f64;
        println!(
            "the seed sent {share:.2} of the state; all had it after {:.1} s, {alone:.1} if only the \
             seed sent, {least:.1} at the least; peak memory {peak} MiB",
            last.as_secs_f64(),
        );
        shares.push(share);
        nodes.into_iter().for_each(Process::stop);
        server.stop();
    }
    shares.sort_by(f64::total_cmp);
    let best = shares.first().copied().unwrap_or(0.0);
    println!("the seed's share: {best:.2} best, {:.2} median", shares[shares.len() / 2]);
}

fn rate() -> String {
    format!("{}/s", ByteSize(UPLOAD))
}

/// The bytes of parts that a node has sent, by its own metrics.
fn sent_bytes(node: &Process) -> f64 {
    let mut stream = TcpStream::connect(&node.http).expect("the node's server");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).expect("an answer");
    let sent = metrics.lines().find_map(|line| {
        line.strip_prefix("ketch_net_sent_bytes{protocol=\"parts\"} ")?.parse().ok()
    });
    sent.expect("a node counts what it sends")
}
