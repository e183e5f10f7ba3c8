//! Chains on which every validator takes its shards in time.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ketch_store::{ShardStore, StoreConfig};

use super::run::{Testnet, assert_good, until};

/// Epochs that are long enough for a busy machine.
const SMALL: [&str; 4] = ["--state-size", "2MiB", "--epoch-blocks", "24"];

fn small(arguments: &[&'static str]) -> Vec<&'static str> {
    [&SMALL, arguments].concat()
}

#[test]
fn validators_that_change_shards_every_epoch_are_all_in_time() {
    let testnet = Testnet::start(&small(&["--epochs", "2"]));
    testnet.until_logged("validator-1", "caught up");
    // A shard that is to be taken was not there before.
    let genesis = |name: &str| testnet.folder().join(name).join("data/shards/shard-3").exists();
    assert!(!genesis("validator-1"));
    let outcome = testnet.outcome();
    assert_good(&outcome);
    let outcome = outcome.0;
    assert_eq!(outcome.rows.len(), 8);
    assert!(outcome.rows.iter().all(|row| row.bytes > 1 << 20));
    let taken: BTreeSet<_> = outcome.rows.iter().map(|row| (row.epoch, row.shard)).collect();
    assert_eq!(taken.len(), 8);
    let names: BTreeSet<_> =
        outcome.states.iter().map(|state| (&state.node, state.shard)).collect();
    // Four validators with a shard each and one to come, and a server with all four.
    assert!(names.len() >= 8, "{names:?}");
}

#[test]
fn a_false_state_on_a_disk_fails_the_run() {
    // Slow blocks: there are seconds between the epoch's first one and the end.
    let blocks = ["--epochs", "1", "--epoch-blocks", "12", "--block-interval", "1500ms"];
    let testnet = Testnet::start(&[&["--state-size", "2MiB"], &blocks[..]].concat());
    let taken = testnet.folder().join("validator-1/data/shards/shard-1");
    until(|| taken.exists().then_some(()));
    let other = taken.with_file_name("other");
    let store = ShardStore::open(&other, StoreConfig::default()).unwrap().store;
    store.import([(b"key", b"false")], 1 << 20).unwrap();
    drop(store);
    testnet.until_logged("validator-1", "in time");
    // The node has other files open; what is in their place now is hashed at the end.
    fs::rename(&taken, taken.with_file_name("true")).unwrap();
    until(|| {
        // The node may begin a file there.
        let _ = fs::remove_dir_all(&taken);
        fs::rename(&other, &taken).ok()
    });
    let (outcome, success) = testnet.outcome();
    assert!(!success);
    assert!(outcome.rows.iter().all(|row| row.in_time));
    let unsigned = outcome.states.iter().filter(|state| !state.is_signed);
    let unsigned: Vec<_> = unsigned.map(|state| (state.node.as_str(), state.shard)).collect();
    assert_eq!(unsigned, [("validator-1", 1)]);
}

#[test]
fn without_part_servers_one_tracker_is_enough() {
    let outcome = Testnet::start(&small(&["--epochs", "1", "--part-servers", "0"])).outcome();
    assert_good(&outcome);
    assert!(outcome.0.rows.iter().all(|row| row.bytes_from_part_servers == 0));
}

#[test]
fn those_that_take_the_same_shard_have_some_of_it_from_each_other() {
    let arguments = ["--validators", "8", "--epochs", "1", "--part-servers", "0"];
    // Eight windows, each of which is announced once it is applied.
    let limited = ["--upload-limit", "2MiB", "--state-size", "32MiB", "--epoch-blocks", "100"];
    let outcome = Testnet::start(&[&arguments[..], &limited].concat()).outcome();
    assert_good(&outcome);
    let from_others: Vec<_> = outcome.0.rows.iter().map(|row| row.bytes_from_catching_up).collect();
    assert_eq!(from_others.len(), 8);
    // One of them may be held up by the machine until the other has nothing more to ask for.
    assert!(from_others.iter().filter(|bytes| **bytes > 0).count() >= 6, "{from_others:?}");
}

#[test]
fn a_hundred_shards_are_taken_too() {
    let arguments = ["--layout", "shards/hundred.toml", "--state-size", "256KiB", "--epochs", "1"];
    let outcome = Testnet::start(&arguments).outcome();
    assert_good(&outcome);
    assert!(outcome.0.rows.len() >= 4);
}

#[test]
fn published_genesis_files_are_where_a_chain_can_begin() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    for (file, layout) in [("ethereum", "quartet"), ("near", "near-mainnet")] {
        let files = fs::read_dir(&data).into_iter().flatten().flatten();
        let mut paths = files.map(|entry| entry.path());
        let of_chain = |path: &std::path::PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.contains(file) && name.ends_with(".json")
        };
        let Some(path) = paths.find(of_chain) else {
            eprintln!("SKIPPED: no {file} genesis in {}", data.display());
            continue;
        };
        let layout = format!("shards/{layout}.toml");
        let path = path.to_str().unwrap().to_owned();
        let arguments =
            ["--genesis", &path, "--layout", &layout, "--epochs", "1", "--epoch-blocks", "24"];
        assert_good(&Testnet::start(&arguments).outcome());
    }
}
