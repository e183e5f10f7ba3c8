//! What nodes in their roles serve, and when they do not start.

use ketch_net::{Contact, PartsStep};
use ketch_types::{PartSet, PeerId, ShardId};
use ketch_wire::{
    OutlineEnd, OutlineRequest, PartsAnswer, PartsEnd, PartsRequest, Refusal, Request, Response,
    SummaryRequest, wanted_bytes,
};

use super::{Chain, PART_BYTES, entries};
use crate::net::node::{Node, config};
use crate::still_chain::{Process, SEED, SHARD};

/// A peer of the test's own that is connected to a node.
async fn beside(chain: &Chain, node: &Process) -> (Node, PeerId) {
    let (address, peer) = node.address.rsplit_once("/p2p/").unwrap();
    let peer: libp2p::PeerId = peer.parse().unwrap();
    let peer = PeerId::new(&peer.to_bytes()).unwrap();
    let addresses = vec![ketch_net::parse_address(address).unwrap()];
    let mut config = config();
    config.chain = chain.genesis.chain_id();
    config.contacts = vec![Contact { peer: peer.clone(), addresses }];
    let mut asking = Node::with(60, config).await;
    asking.connected(&peer).await;
    (asking, peer)
}

fn all_parts(chain: &Chain) -> (PartsRequest, PartsAnswer) {
    let wanted = PartSet::full(chain.manifest.part_count());
    let sizes = wanted_bytes(&chain.manifest, &wanted);
    let answer = PartsAnswer::new(wanted.clone(), &sizes).unwrap();
    let request = PartsRequest::new(chain.root, PART_BYTES, wanted, sizes.iter().sum());
    (request.unwrap(), answer)
}

/// The shards of which a node says that it holds something.
async fn held(asking: &Node, peer: &PeerId, shards: Vec<ShardId>) -> Vec<ShardId> {
    let request = Request::Summary(SummaryRequest::new(shards).unwrap());
    match asking.network.ask(peer, &request).await {
        Ok(Response::Summary(summary)) => {
            summary.holdings().iter().map(ketch_wire::Holding::shard).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_server_serves_the_shards_that_are_listed_and_no_others() {
    let chain = Chain::new("");
    let server = chain.holder.start(&[]);
    server.completed();
    let (asking, peer) = beside(&chain, &server).await;
    let both = vec![SHARD, ShardId(1)];
    assert_eq!(held(&asking, &peer, both).await, [SHARD]);
    let http = server.http.parse().unwrap();
    let status = tokio::task::spawn_blocking(move || ketch_node::ask_status(http));
    let status = status.await.unwrap().unwrap();
    assert_eq!(status.shards.iter().map(|shard| shard.shard).collect::<Vec<_>>(), [SHARD.0]);
    server.stop();
}

/// Takes all parts, and does something when the first is there; how many came, and the end.
async fn take_all(
    chain: &Chain,
    asking: &Node,
    peer: &PeerId,
    at_first: impl Fn(),
) -> (u32, PartsEnd) {
    let (request, answer) = all_parts(chain);
    let mut stream = asking.network.parts(peer, &request, answer).await.unwrap();
    let mut parts = 0;
    loop {
        match stream.next().await.unwrap() {
            PartsStep::Progress(..) => {}
            PartsStep::Part(..) => {
                if parts == 0 {
                    at_first();
                }
                parts += 1;
            }
            PartsStep::End(end) => return (parts, end),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_to_stop_ends_the_answer_that_it_is_giving() {
    let chain = Chain::new("upload_limit = \"2MiB\"");
    let server = chain.holder.start(&[]);
    server.completed();
    let (asking, peer) = beside(&chain, &server).await;
    // After this all parts are ready, and the line alone takes time.
    take_all(&chain, &asking, &peer, || {}).await;
    let (parts, end) = take_all(&chain, &asking, &peer, || server.terminate()).await;
    assert_eq!(parts, chain.manifest.part_count());
    assert!(matches!(end, PartsEnd::Sent { .. }), "{end:?}");
    assert!(server.ended().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequencer_serves_neither_parts_nor_outlines() {
    let chain = Chain::new("");
    let sequencer = chain.still.member(9, "role = \"sequencer\"\n", "", &devnet(&chain, entries()));
    let sequencer = sequencer.start(&[]);
    let (asking, peer) = beside(&chain, &sequencer).await;
    let (request, answer) = all_parts(&chain);
    let mut stream = asking.network.parts(&peer, &request, answer).await.unwrap();
    let refused = PartsEnd::Refused { refusal: Refusal::NotHeld, held: None };
    assert_eq!(stream.next().await.unwrap(), PartsStep::End(refused));
    let request = OutlineRequest { root: chain.root, cut: PART_BYTES };
    let mut stream = asking.network.outline(&peer, &request).await.unwrap();
    assert_eq!(stream.next().await.unwrap(), Some(OutlineEnd::Refused(Refusal::NotHeld)));
    sequencer.stop();
}

#[test]
fn a_node_whose_first_state_is_not_the_genesis_does_not_start() {
    let chain = Chain::new("");
    let role = "role = \"part-server\"\n[part_server]\nshards = [0]\n";
    let less = devnet(&chain, entries().skip(1));
    let node = chain.still.member(9, role, "", &less);
    let output = node.command(&[]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(log.contains("but the chain's genesis says"), "{log}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let chain = Chain::new("");
    let first = chain.holder.start(&[]);
    first.completed();
    let output = chain.holder.command(&[]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(log.contains("another process"), "{log}");
    first.stop();
}

/// The section of a devnet that begins with these entries.
fn devnet(chain: &Chain, entries: impl Iterator<Item = ([u8; 4], Vec<u8>)>) -> String {
    let lines = entries.map(|(key, value)| {
        format!("{{\"key\":\"{}\",\"value\":\"{}\"}}\n", hex::encode(key), hex::encode(value))
    });
    let path = chain.holder.shard().with_file_name("genesis.jsonl");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    format!(
        "[devnet]\nseed = {SEED}\nstate = {{ file = {:?} }}\nblock_interval = \"1s\"\nwait_for = 9\n",
        path.to_str().unwrap()
    )
}
