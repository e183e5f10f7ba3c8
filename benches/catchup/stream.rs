//! Packed parts over the network alone: what a catchup pays before anything is unpacked.

use std::sync::Arc;

use ketch_net::{
    AnswerWriter, Contact, Network, NetworkConfig, NetworkEvent, NodeKey, PartsStep, Question,
    parse_address,
};
use ketch_trie::{Manifest, PackedPart};
use ketch_types::{ChainId, PartIndex, PartSet};
use ketch_wire::{PartsAnswer, PartsEnd, PartsRequest, part_frame_header, wanted_bytes};

use crate::measure::{Sample, sample};

/// Parts that are asked for at once, on two streams at a time: as a catchup does.
const PARTS_A_REQUEST: u32 = 8;

/// Streams all parts from one node to another, both ends in this process.
pub(crate) fn stream_all(manifest: &Arc<Manifest>, packed: &Arc<Vec<PackedPart>>) -> Sample {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let (client, server) = runtime.block_on(async {
        let server = serve(Arc::clone(packed)).await;
        let (client, mut events) = Network::start(config(), &key(2)).await.expect("a node");
        tokio::spawn(async move { while events.next().await.is_some() {} });
        let addresses = server.listening().to_vec();
        let contact = Contact { peer: key(1).peer().clone(), addresses };
        assert!(client.connect(contact).await);
        (client, server)
    });
    let took = sample(|| runtime.block_on(take_all(&client, manifest))).1;
    drop(server);
    runtime.shutdown_background();
    took
}

fn config() -> NetworkConfig {
    let mut config = NetworkConfig::new(ChainId::new([7; 32]));
    config.listen = vec![parse_address("/ip4/127.0.0.1/tcp/0").expect("an address")];
    config
}

fn key(number: u8) -> NodeKey {
    NodeKey::from_secret(&mut [number; 32]).expect("a key")
}

async fn serve(packed: Arc<Vec<PackedPart>>) -> Network {
    let (server, mut events) = Network::start(config(), &key(1)).await.expect("a node");
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let NetworkEvent::Asked { question: Question::Parts(request, writer), .. } = event {
                tokio::spawn(answer(Arc::clone(&packed), request, writer));
            }
        }
    });
    server
}

async fn answer(packed: Arc<Vec<PackedPart>>, request: PartsRequest, mut writer: AnswerWriter) {
    for part in request.wanted().iter() {
        let packed = &packed[part.0 as usize];
        writer.send(&part_frame_header(part, packed).expect("short")).await.expect("sent");
        writer.send(&packed.bytes).await.expect("sent");
    }
    let held = PartSet::full(request.wanted().count());
    writer.send(&PartsEnd::Sent { held }.frame()).await.expect("sent");
    writer.finish().await.expect("sent");
}

async fn take_all(client: &Network, manifest: &Arc<Manifest>) {
    let halves = [0, 1].map(|half| {
        let (client, manifest) = (client.clone(), Arc::clone(manifest));
        tokio::spawn(async move {
            let first = half * PARTS_A_REQUEST;
            for start in (first..manifest.part_count()).step_by(2 * PARTS_A_REQUEST as usize) {
                take(&client, &manifest, start).await;
            }
        })
    });
    for half in halves {
        half.await.expect("all parts come");
    }
}

async fn take(client: &Network, manifest: &Manifest, start: u32) {
    let mut wanted = PartSet::empty(manifest.part_count());
    for part in start..(start + PARTS_A_REQUEST).min(manifest.part_count()) {
        wanted.insert(PartIndex(part));
    }
    let sizes = wanted_bytes(manifest, &wanted);
    let answer = PartsAnswer::new(wanted.clone(), &sizes).expect("a size each");
    let (root, cut) = (manifest.root(), manifest.outline().cut());
    let request = PartsRequest::new(root, cut, wanted, sizes.iter().sum()).expect("some parts");
    let mut stream = client.parts(key(1).peer(), &request, answer).await.expect("connected");
    loop {
        match stream.next().await.expect("an honest answer") {
            PartsStep::Progress(..) => {}
            PartsStep::Part(_, bytes) => drop(std::hint::black_box(bytes)),
            PartsStep::End(_) => return,
        }
    }
}
