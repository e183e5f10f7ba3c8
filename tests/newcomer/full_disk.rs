//! A newcomer whose disk is full, and has room again.

use super::Chain;

#[test]
fn a_full_disk_is_said_and_the_state_is_taken_once_there_is_room() {
    let chain = Chain::new("");
    let holder = chain.holder.start(&[]);
    let newcomer = chain.still.part_server(2, "");
    // Databases are made while there is room.
    let made = newcomer.start(&[]);
    made.until_logged("phase=Locating");
    made.stop();
    // Less than the state, so that it cannot be stored.
    let full = newcomer.start_limited(&[&holder.address], 2_048);
    let (_, before) = full.until_logged("DiskFull");
    assert!(!before.iter().any(|line| line.contains("banned")), "{before:?}");
    full.stop();
    let taking = newcomer.start(&[&holder.address]);
    taking.completed();
    taking.stop();
    holder.stop();
    assert_eq!(Chain::stored_root(&newcomer), chain.root.to_string());
}
