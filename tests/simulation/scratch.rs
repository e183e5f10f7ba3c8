use super::*;

#[test]
fn a_taker_gets_its_shard_in_time() {
    let setup =
        Setup { seed: 1, chain: chain(), nodes: vec![taker(), tracker(), tracker(), sequencer()] };
    let mut world = World::new(setup).unwrap();
    println!("bytes {}", world.chain().state_bytes(S, ketch_types::Epoch(0)));
    world.run_until(seconds(55));
    world.check_states();
    for (at, node, event) in &world.ledger().events {
        println!("{:?} {node} {event:?}", at.since_origin());
    }
    println!("{:?}", world.ledger().breaches);
    println!("{:?} {:?}", world.status(0, S), world.status(0, OLD));
    assert!(world.ledger().breaches.is_empty());
    assert!(world.holds_truth(0, S));
}
