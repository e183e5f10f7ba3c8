//! Who is served at all.

use ketch_coordinator::{Ask, PeerClass, PeerQuery};
use ketch_wire::PartsRequest;

use super::*;

const PARTS: u32 = 8;

/// Holds the start of epoch 3, and serves so many at once, some of them only validators.
fn server(asks_max: usize, asks_for_validators: usize, asks_per_peer: usize) -> Script {
    let limits = Config { asks_max, asks_for_validators, asks_per_peer, ..Config::default() };
    let mut script = Script::new(limits);
    script.epoch(3, 100, &[S], &[S]);
    script.head(350);
    script.open(Some(350), vec![(Epoch(3), sizes(S, 3, PARTS))]);
    script
}

fn connect(script: &mut Script, peer: u32, class: PeerClass) {
    script.tell(Input::PeerConnected { peer: Peer(peer), class, affinity: 0 });
}

/// Whether the peer is served; it is told to come again otherwise.
fn is_served(script: &mut Script, ask: u64, peer: u32) -> bool {
    let all = PartSet::full(PARTS);
    let request = PartsRequest::new(root(S, 3), PART, all, u64::MAX).unwrap();
    let query = PeerQuery::Parts(request);
    script.tell(Input::Asked { ask: Ask(ask), peer: Peer(peer), query });
    let busy = script.commands.iter().any(|command| match command {
        Command::End { ask: of, refusal: Some(Refusal::Busy { retry_after }), .. } => {
            of.0 == ask && *retry_after > Duration::ZERO
        }
        _ => false,
    });
    !busy
}

#[test]
fn no_more_are_served_at_once_than_allowed_and_another_once_one_is_done() {
    let mut script = server(3, 0, 9);
    for peer in 1..=4 {
        connect(&mut script, peer, PeerClass::Validator);
        assert_eq!(is_served(&mut script, u64::from(peer), peer), peer <= 3);
    }
    script.tell(Input::AskClosed { ask: Ask(2) });
    assert!(is_served(&mut script, 9, 4));
}

#[test]
fn one_peer_does_not_take_the_place_of_all() {
    let mut script = server(9, 0, 2);
    (1..=2).for_each(|peer| connect(&mut script, peer, PeerClass::Validator));
    let served: Vec<_> = (1..=3).map(|ask| is_served(&mut script, ask, 1)).collect();
    assert_eq!(served, [true, true, false]);
    assert!(is_served(&mut script, 4, 2));
}

#[test]
fn some_places_are_kept_for_validators() {
    let mut script = server(4, 2, 9);
    connect(&mut script, 1, PeerClass::Other);
    connect(&mut script, 2, PeerClass::Validator);
    let served: Vec<_> = (1..=3).map(|ask| is_served(&mut script, ask, 1)).collect();
    assert_eq!(served, [true, true, false]);
    assert!(is_served(&mut script, 4, 2) && is_served(&mut script, 5, 2));
    assert!(!is_served(&mut script, 6, 2));
}

#[test]
fn whoever_leaves_gives_his_places_up() {
    let mut script = server(2, 0, 9);
    (1..=2).for_each(|peer| connect(&mut script, peer, PeerClass::Validator));
    assert!(is_served(&mut script, 1, 1) && is_served(&mut script, 2, 1));
    assert!(!is_served(&mut script, 3, 2));
    script.tell(Input::PeerDisconnected { peer: Peer(1) });
    assert!(is_served(&mut script, 4, 2));
}
