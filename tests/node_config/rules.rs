use std::time::Duration;

use ketch_node::{ConfigProblem, DevnetState, GenesisFormat, Role, ServedShards};
use ketch_types::ShardId;

use super::{DEVNET, complaint, load, part_server, sequencer, validator};

#[test]
fn a_part_server_says_what_it_serves_and_nobody_else_does() {
    let config = load(&part_server("[part_server]\nshards = \"all\"\n"), &[], &[]).unwrap();
    assert_eq!(config.role, Role::PartServer { shards: ServedShards::All, devnet: None });
    let config = load(&part_server("[part_server]\nshards = [7, 2]\n"), &[], &[]).unwrap();
    let shards = ServedShards::Listed([ShardId(2), ShardId(7)].into());
    assert_eq!(config.role, Role::PartServer { shards, devnet: None });

    let said = complaint(&part_server(""), &[], &[]);
    assert!(said.starts_with("node.toml:1:8: a part server needs the section"), "{said}");
    let section = "\n[part_server]\nshards = \"all\"\n";
    for content in [validator(section), sequencer(&format!("{section}{DEVNET}"))] {
        let said = complaint(&content, &[], &[]);
        assert_eq!(
            said,
            "node.toml:8:1: the section [part_server] is for the role part-server alone"
        );
    }
    let said = complaint(&validator(""), &[("KETCH_PART_SERVER_SHARDS", "all")], &[]);
    assert!(said.starts_with("KETCH_PART_SERVER_SHARDS: the section"), "{said}");
}

#[test]
fn a_list_of_shards_names_each_once_and_at_least_one() {
    let said = complaint(&part_server("[part_server]\nshards = []\n"), &[], &[]);
    assert_eq!(said, "node.toml:8:10: `shards` lists no shard");
    let said = complaint(&part_server("[part_server]\nshards = [1, 2, 1]\n"), &[], &[]);
    assert_eq!(said, "node.toml:8:10: shard 1 is listed twice");
}

#[test]
fn a_sequencer_needs_its_chain_and_others_may_know_it() {
    let said = complaint(&sequencer(""), &[], &[]);
    assert!(said.starts_with("node.toml:1:8: a sequencer needs the section [devnet]"), "{said}");
    let said = complaint(&validator(""), &[("KETCH_ROLE", "sequencer")], &[]);
    assert!(said.starts_with("KETCH_ROLE: a sequencer needs"), "{said}");

    let config = load(&sequencer(DEVNET), &[], &[]).unwrap();
    let devnet = config.devnet().unwrap();
    assert_eq!((devnet.seed, devnet.wait_for), (7, None));
    assert_eq!(devnet.block_interval, Duration::from_millis(500));
    let shard_bytes = (64 << 20).try_into().unwrap();
    assert_eq!(devnet.state, DevnetState::Generated { shard_bytes });
    let same = load(&validator(DEVNET), &[], &[]).unwrap();
    assert_eq!(same.devnet(), Some(devnet));
    assert_eq!(load(&validator(""), &[], &[]).unwrap().devnet(), None);
}

#[test]
fn a_devnet_begins_in_exactly_one_way() {
    let with = |state: &str| sequencer(&DEVNET.replace("{ generated = \"64MiB\" }", state));
    let file = load(&with("{ file = \"/g.json\", format = \"chain\" }"), &[], &[]).unwrap();
    let format = Some(GenesisFormat::Chain);
    assert_eq!(file.devnet().unwrap().state, DevnetState::File { path: "/g.json".into(), format });
    let file = load(&with("{ file = \"/g.json\" }"), &[], &[]).unwrap();
    let state = DevnetState::File { path: "/g.json".into(), format: None };
    assert_eq!(file.devnet().unwrap().state, state);

    for state in ["{}", "{ generated = 1, file = \"x\" }", "{ format = \"tsv\" }"] {
        let said = complaint(&with(state), &[], &[]);
        assert!(said.starts_with("node.toml:10:9: `state` is either"), "{said}");
    }
    let said = complaint(&with("{ generated = 1, format = \"tsv\" }"), &[], &[]);
    assert!(said.starts_with("node.toml:10:9: `format` says"), "{said}");
}

#[test]
fn a_limit_or_a_count_of_nothing_is_refused() {
    let cases = [
        ("node.workers", "workers"),
        ("network.upload_limit", "upload_limit"),
        ("network.download_limit", "download_limit"),
        ("network.connections_max", "connections_max"),
        ("store.part_cache", "part_cache"),
        ("store.block_cache", "block_cache"),
        ("catchup.memory", "memory"),
        ("devnet.block_interval", "block_interval"),
        ("devnet.state", "generated"),
    ];
    for (name, key) in cases {
        let value = match key {
            "block_interval" => "0s",
            "generated" => "{ generated = \"0KiB\" }",
            _ => "0",
        };
        let said = complaint(&sequencer(DEVNET), &[], &[&format!("{name}={value}")]);
        assert_eq!(said, format!("--set {name}: `{key}` is 0 and must be more"));
    }
    let said = complaint(&validator("[catchup]\nmemory = \"0MiB\"\n"), &[], &[]);
    assert_eq!(said, "node.toml:8:10: `memory` is 0 and must be more");
}

#[test]
fn the_http_server_is_on_loopback_or_nowhere() {
    let refused = load(&validator("[http]\nlisten = \"0.0.0.0:7680\"\n"), &[], &[]).unwrap_err();
    assert!(matches!(refused.problem, ConfigProblem::Loopback(_)));
    assert!(refused.to_string().contains(":8:10: 0.0.0.0:7680 is not on loopback: "), "{refused}");
}
