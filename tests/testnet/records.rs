//! What all nodes of a chain recorded.

use std::fs;

use super::run::{Testnet, assert_good, until};
use crate::simulation::recorded::{assert_said_again, replayed};

#[test]
fn validators_that_change_shards_say_again_what_they_said() {
    let small = ["--state-size", "2MiB", "--epoch-blocks", "24", "--epochs", "2", "--record"];
    let testnet = Testnet::start(&small);
    let names = ["validator-1", "validator-2", "validator-3", "validator-4", "part-server-1"];
    // The testnet's folder goes with it.
    let kept = tempfile::tempdir_in(testnet.folder().parent().unwrap()).unwrap();
    for name in names {
        let record = testnet.folder().join(name).join("record-1.jsonl");
        until(|| fs::hard_link(&record, kept.path().join(name)).ok());
    }
    assert_good(&testnet.outcome());
    for name in names {
        let replayed = replayed(&kept.path().join(name));
        assert_said_again(&replayed);
        let kinds = |of: &str| replayed.0[of].as_object().unwrap().clone();
        let (told, said) = (kinds("inputs"), kinds("commands"));
        for kind in ["EpochStarted", "HeadAdvanced", "HoldingAnnounced", "AskClosed"] {
            assert!(told.contains_key(kind), "{kind} in {name}: {told:?}");
        }
        for kind in ["Run Replay", "Run Generate", "Request Outputs", "Announce", "Provide"] {
            assert!(said.contains_key(kind), "{kind} in {name}: {said:?}");
        }
        let takes = said.contains_key("Request Parts") && said.contains_key("Run Apply");
        assert_eq!(takes, name.starts_with("validator"), "{name}: {said:?}");
    }
}
