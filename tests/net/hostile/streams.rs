//! Answers of outlines, parts and outputs that break the protocol, or do not end.

mod outlines;
mod outputs;
mod parts;

use futures::io::AsyncWriteExt as _;
use ketch_net::{AnswerError, NetworkConfig};
use ketch_types::{Epoch, Height, ShardId, StateRoot};
use ketch_wire::{
    OutlineRequest, OutputsRequest, PartsAnswer, PartsRequest, Refusal, Request, Response,
};
use libp2p::Stream;

use self::parts::wanted;
use super::bytes::{bytes, number, with_length};
use super::raw::Raw;
use super::{CONTROL, MESHSUB, is_undisturbed};
use crate::net::node::Node;
use crate::net::state::CUT;

/// What happens to a stream once the answer is sent.
#[derive(Clone, Copy)]
enum Then {
    /// It stays open.
    Waits,
    /// Its sender closes its side.
    Closes,
    /// Its sender cuts it off.
    Resets,
}

/// Sends an answer on the stream that is asked on; what is returned keeps it open.
async fn answer(raw: &mut Raw, name: &'static str, answer: &[u8], then: Then) -> Option<Stream> {
    let (_, mut stream) = raw.asked(name).await;
    // Who has seen enough does not take the rest.
    let _ = stream.write_all(answer).await;
    let _ = stream.flush().await;
    match then {
        Then::Waits => return Some(stream),
        Then::Closes => stream.close().await.unwrap(),
        Then::Resets => {}
    }
    None
}

/// A node that asks, an honest one, and the one that is asked.
async fn three(asker: NetworkConfig) -> (Node, Node, Raw) {
    let mut asker = Node::with(1, asker).await;
    let honest = Node::beside(2, &mut [&mut asker]).await;
    let raw = Raw::beside(100, &mut asker).await;
    (asker, honest, raw)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_control_alone_has_no_streams() {
    let mut asker = Node::start(1).await;
    let honest = Node::beside(2, &mut [&mut asker]).await;
    let mut raw = Raw::new(100, &[CONTROL, MESHSUB]);
    raw.connect(&mut asker).await;
    let outline = OutlineRequest { root: StateRoot::new([7; 32]), cut: CUT };
    let refused = asker.network.outline(&raw.peer, &outline).await.err();
    assert_eq!(refused, Some(AnswerError::Unsupported));
    let (shard, after, newest_epoch) = (ShardId(7), Height(9), Epoch(3));
    let outputs = OutputsRequest { shard, after, budget_bytes: 1, newest_epoch };
    let refused = asker.network.outputs(&raw.peer, &outputs).await.err();
    assert_eq!(refused, Some(AnswerError::Unsupported));
    let parts = PartsRequest::new(StateRoot::new([7; 32]), CUT, wanted(), 1).unwrap();
    let expected = PartsAnswer::new(wanted(), &[100, 50]).unwrap();
    let refused = asker.network.parts(&raw.peer, &parts, expected).await.err();
    assert_eq!(refused, Some(AnswerError::Unsupported));
    let peer = raw.peer.clone();
    let asking = asker.network.ask(&peer, &Request::Head);
    let not_held = with_length(&bytes(1, &number(1, 1)));
    let (answer, _sender) =
        tokio::join!(asking, answer(&mut raw, CONTROL, &not_held, Then::Closes));
    assert_eq!(answer, Ok(Response::Refusal(Refusal::NotHeld)));
    is_undisturbed(&mut asker, &honest).await;
}
