use ketch_net::address_text;
use ketch_node::{LogFormat, NodeConfig, Role, ServedShards};
use ketch_types::ShardId;

use super::{DEVNET, load, part_server, sequencer, validator};

fn upload_limit(variables: &[(&str, &str)], flags: &[&str]) -> u64 {
    let content = validator("[network]\nupload_limit = \"1MiB\"\n");
    load(&content, variables, flags).unwrap().network.upload_limit.unwrap().get()
}

#[test]
fn a_flag_goes_over_a_variable_and_a_variable_over_the_file() {
    let variable = [("KETCH_NETWORK_UPLOAD_LIMIT", "2MiB")];
    assert_eq!(upload_limit(&[], &[]), 1 << 20);
    assert_eq!(upload_limit(&variable, &[]), 2 << 20);
    assert_eq!(upload_limit(&variable, &["network.upload_limit=3MiB"]), 3 << 20);
    assert_eq!(upload_limit(&[], &["network.upload_limit=3MiB"]), 3 << 20);
}

#[test]
fn of_several_flags_for_a_key_the_last_one_wins() {
    let flags = ["network.upload_limit=3MiB", "log.filter=warn", "network.upload_limit=4194304"];
    assert_eq!(upload_limit(&[], &flags), 4 << 20);
}

#[test]
fn what_no_source_says_keeps_its_value() {
    let content = validator("[network]\nupload_limit = 5\nconnections_max = 6\n");
    let config = load(&content, &[("KETCH_NETWORK_PROVIDE_DHT", "false")], &[]).unwrap();
    assert_eq!(config.network.upload_limit.unwrap().get(), 5);
    assert_eq!(config.network.connections_max.get(), 6);
    assert!(!config.network.provide_dht);
    assert_eq!(config.network.download_limit, None);
}

#[test]
fn every_kind_of_value_is_said_by_a_variable() {
    let waypoint = "ab".repeat(32);
    let variables = [
        ("KETCH_ROLE", "part-server"),
        ("KETCH_PART_SERVER_SHARDS", "[3, 1]"),
        ("KETCH_NETWORK_LISTEN", "[\"/ip4/127.0.0.1/tcp/0\", \"/ip6/::1/tcp/0\"]"),
        ("KETCH_HTTP_LISTEN", "127.0.0.1:0"),
        ("KETCH_CHAIN_WAYPOINT", waypoint.as_str()),
        ("KETCH_NODE_WORKERS", "3"),
        ("KETCH_LOG_FORMAT", "\"json\""),
        ("HOME", "/somewhere"),
        ("KETCHUP", "red"),
    ];
    let config = load(&validator(""), &variables, &[]).unwrap();
    let shards = ServedShards::Listed([ShardId(1), ShardId(3)].into());
    assert_eq!(config.role, Role::PartServer { shards, devnet: None });
    let listen: Vec<_> = config.network.listen.iter().filter_map(address_text).collect();
    assert_eq!(listen, ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"]);
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.chain.waypoint.unwrap().to_string(), waypoint);
    assert_eq!(config.node.workers.get(), 3);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn a_table_in_a_flag_replaces_the_whole_value() {
    let flags =
        ["devnet.state={ file = \"/genesis.tsv\", format = \"tsv\" }", "http.listen=[::1]:0"];
    let config = load(&sequencer(DEVNET), &[], &flags).unwrap();
    let state = format!("{:?}", config.devnet().unwrap().state);
    assert_eq!(state, "File { path: \"/genesis.tsv\", format: Some(Tsv) }");
    assert_eq!(config.http.listen.to_string(), "[::1]:0");
}

#[test]
fn sections_and_keys_that_the_file_lacks_come_from_elsewhere() {
    let variables =
        [("KETCH_NODE_DATA", "d"), ("KETCH_NODE_KEY", "k"), ("KETCH_ROLE", "validator")];
    let config = load("", &variables, &["chain.genesis=g"]).unwrap();
    assert_eq!(config.role, Role::Validator { devnet: None });
    let same = load(&part_server(""), &variables, &["chain.genesis=g"]).unwrap();
    assert_eq!(same, config);
}

#[test]
fn a_value_that_is_overridden_is_not_looked_at() {
    let content = validator("[log]\nformat = \"xml\"\n");
    let config: NodeConfig = load(&content, &[("KETCH_LOG_FORMAT", "text")], &[]).unwrap();
    assert_eq!(config.log.format, LogFormat::Text);
}
