//! Peers that break every rule, and what must come of it: they, and nobody else.

mod answers;
mod bytes;
mod connections;
mod dht;
mod gossip;
mod quic;
mod raw;
mod requests;
mod streams;

use ketch_net::{NetworkEvent, PeerFault, Question};
use ketch_wire::{Refusal, Request, Response};

use self::raw::Raw;
use super::node::Node;

// The names of the chain of these tests, as `docs/protocol.md` has them.
macro_rules! name {
    ($what:literal) => {
        concat!("/ketch/1/0707070707070707070707070707070707070707070707070707070707070707/", $what)
    };
}

const CONTROL: &str = name!("control");
const OUTLINE: &str = name!("outline");
const PARTS: &str = name!("parts");
const OUTPUTS: &str = name!("outputs");
const KAD: &str = name!("kad");
const HEADS: &str = name!("heads");
const HELD: &str = name!("held");
const MESHSUB: &str = "/meshsub/1.1.0";

/// What a node tells its driver, as text.
fn text(event: &NetworkEvent) -> String {
    match event {
        NetworkEvent::Connected(peer) => format!("{peer} is connected"),
        NetworkEvent::Disconnected(peer) => format!("{peer} is disconnected"),
        NetworkEvent::Asked { peer, question } => {
            format!("{peer} asks {}", question_text(question))
        }
        NetworkEvent::HeadGossiped { .. } => "a head".into(),
        NetworkEvent::Announced { author, announcement, .. } => {
            format!("{author} announces {announcement:?}")
        }
        NetworkEvent::Misbehaved { peer, fault } => format!("{peer} misbehaves: {fault:?}"),
    }
}

fn question_text(question: &Question) -> String {
    match question {
        Question::Control(request, _) => format!("{request:?}"),
        Question::Outline(request, _) => format!("{request:?}"),
        Question::Parts(request, _) => format!("{request:?}"),
        Question::Outputs(request, _) => format!("{request:?}"),
    }
}

/// What happens at `node` until an honest peer has asked it something, and is answered.
async fn until_asked_by(node: &mut Node, honest: &Node) -> Vec<String> {
    let (network, peer) = (honest.network.clone(), node.peer.clone());
    let answer = tokio::spawn(async move { network.ask(&peer, &Request::Head).await });
    let mut before = Vec::new();
    loop {
        match node.until(Some).await {
            NetworkEvent::Asked { peer, question: Question::Control(Request::Head, reply) }
                if peer == honest.peer =>
            {
                reply.refuse(Refusal::NotHeld).await.unwrap();
                break;
            }
            event => before.push(text(&event)),
        }
    }
    assert_eq!(answer.await.unwrap(), Ok(Response::Refusal(Refusal::NotHeld)));
    before
}

/// Nothing has happened at `node` that its driver has not seen, and an honest peer is answered.
async fn is_undisturbed(node: &mut Node, honest: &Node) {
    assert_eq!(until_asked_by(node, honest).await, Vec::<String>::new());
}

/// `raw` is banned from `node` for a fault of this kind, and only that.
async fn is_banned(
    raw: &mut Raw,
    node: &mut Node,
    honest: &Node,
    is_it: impl Fn(&PeerFault) -> bool,
) {
    let mut fault = None;
    loop {
        match node.until(Some).await {
            NetworkEvent::Misbehaved { peer, fault: found } if peer == raw.peer => {
                assert!(fault.is_none(), "a fault is told twice");
                fault = Some(found);
            }
            NetworkEvent::Disconnected(peer) if peer == raw.peer => break,
            event => panic!("{}", text(&event)),
        }
    }
    let fault = fault.expect("the peer is disconnected without any fault");
    assert!(is_it(&fault), "{fault:?}");
    raw.cut_off().await;
    // Who it is is known only once the connection is there.
    if raw.dial(node).await {
        raw.cut_off().await;
    }
    is_undisturbed(node, honest).await;
}
