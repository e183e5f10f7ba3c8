use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use ketch_node::{ConfigProblem, NodeConfig, Origin};

use super::{DEVNET, complaint, part_server, sequencer, validator};

/// The line of a section's first key at the end of a configuration for a role.
const SECTION_LINE: usize = 8;

#[test]
fn an_unknown_key_is_refused_with_file_line_and_column_in_every_section() {
    let cases = [
        ("role = \"validator\"\nroel = 1\n".to_owned(), "2:1: unknown field `roel`"),
        (validator("[nodes]\ndata = \"x\"\n"), "7:2: unknown field `nodes`"),
        (validator("").replace("key =", "  keys ="), "4:3: unknown field `keys`"),
        (validator("way = 1\n"), "7:1: unknown field `way`"),
        (validator("[network]\nlisten = []\n listens = []\n"), "9:2: unknown field `listens`"),
        (validator("[store]\npart_cash = 1\n"), "8:1: unknown field `part_cash`"),
        (validator("[catchup]\n\n\tmem = 1\n"), "9:2: unknown field `mem`"),
        (validator("[http]\nport = 1\n"), "8:1: unknown field `port`"),
        (part_server("[part_server]\nshard = 1\n"), "8:1: unknown field `shard`"),
        (sequencer(&format!("{DEVNET}seeds = 1\n")), "12:1: unknown field `seeds`"),
        (
            sequencer(&DEVNET.replace("{ generated", "{ generate")),
            "10:11: unknown field `generate`",
        ),
        (validator("[log]\nfilter = \"ä\"\nlevel = 1\n"), "9:1: unknown field `level`"),
    ];
    for (content, reason) in cases {
        let said = complaint(&content, &[], &[]);
        let place = format!("node.toml:{reason}");
        assert!(said.starts_with(&place), "{content}: {said}");
    }
}

#[test]
fn a_key_that_is_not_known_is_answered_with_those_that_are() {
    let said = complaint(&validator("[store]\npart_cash = 1\n"), &[], &[]);
    let known = "unknown field `part_cash`, expected `part_cache` or `block_cache`";
    assert_eq!(said, format!("node.toml:{SECTION_LINE}:1: {known}"));
}

#[test]
fn a_key_that_is_needed_is_missed() {
    let cases = [
        ("", "node.toml:1:1: missing field `role`"),
        ("role = \"validator\"\n", "node.toml:1:1: missing field `node`"),
        ("role = \"validator\"\n\n[node]\ndata = \"d\"\n", "node.toml:3:1: missing field `key`"),
        ("role = \"validator\"\n[chain]\n[node]\ndata = \"d\"\n", "node.toml:2:1: missing field"),
    ];
    for (content, reason) in cases {
        let said = complaint(content, &[], &[]);
        assert!(said.starts_with(reason), "{content}: {said}");
    }
}

#[test]
fn a_wrong_value_is_refused_with_its_place_and_what_was_expected() {
    let cases = [
        ("role = \"valdator\"\n".to_owned(), "1:8: unknown variant `valdator`, expected one of"),
        (validator("[network]\nlisten = \"/ip4/0.0.0.0\"\n"), "8:10: invalid type: string"),
        (validator("[network]\nlisten = [\n  \"0.0.0.0:1\",\n]\n"), "9:3: \"0.0.0.0:1\" is not"),
        (validator("[network]\npeers = [\"/ip4/1.2.3.4\"]\n"), "8:10: /ip4/1.2.3.4 does not"),
        (validator("[network]\nupload_limit = \"8MB\"\n"), "8:16: `8MB` is not a whole number"),
        (validator("[network]\nupload_limit = -8\n"), "8:16: invalid value: integer `-8`, exp"),
        (validator("[network]\nprovide_dht = \"yes\"\n"), "8:15: invalid type: string \"yes\""),
        (validator("[http]\nlisten = \"7680\"\n"), "8:10: `7680` is not an address and port"),
        (validator("[log]\nformat = \"xml\"\n"), "8:10: unknown variant `xml`, expected `text`"),
        (validator("waypoint = \"abc\"\n"), "7:12: a hash has 64 hexadecimal digits"),
        (part_server("[part_server]\nshards = \"some\"\n"), "8:10: invalid value: string \"some\""),
        (part_server("[part_server]\nshards = [0, -1]\n"), "8:14: invalid value: integer `-1`"),
        (sequencer(&DEVNET.replace("500ms", "500")), "11:18: time unit needed"),
        (sequencer(&DEVNET.replace("seed = 7", "seed = 7.0")), "9:8: invalid type: floating point"),
        (validator("[network\n"), "7:9: "),
        (validator("[node]\ndata = \"again\"\n"), "7:2: "),
        ("role = \"validator\"\nhttp = [\"127.0.0.1:1\"]\n".to_owned(), "2:8: `http` is a section"),
    ];
    for (content, reason) in cases {
        let said = complaint(&content, &[], &[]);
        assert!(said.starts_with(&format!("node.toml:{reason}")), "{content}: {said}");
    }
}

#[test]
fn a_variable_that_begins_like_ours_and_names_no_key_is_refused_with_its_name() {
    let none = "names no key of the configuration";
    let cases = [
        ("KETCH_NETWORK_UPLOAD", "unknown field `upload`, expected one of `listen`, "),
        ("KETCH_HTTP_PORT", "unknown field `port`, expected `listen`"),
        ("KETCH_UPLOAD_LIMIT", none),
        ("KETCH_", none),
        ("KETCH_network_upload_limit", none),
        ("KETCH_NETWORK", "`network` is a section and not a key"),
    ];
    for (name, reason) in cases {
        let said = complaint(&validator(""), &[(name, "1")], &[]);
        assert!(said.starts_with(&format!("{name}: {reason}")), "{said}");
    }
}

#[test]
fn of_several_wrong_variables_the_same_one_is_told_whatever_their_order() {
    let mut variables = [("KETCH_B", "1"), ("KETCH_A", "1"), ("KETCH_C", "1")];
    for _ in 0..variables.len() {
        variables.rotate_left(1);
        assert!(complaint(&validator(""), &variables, &[]).starts_with("KETCH_A: "));
    }
}

#[test]
fn a_flag_that_names_no_key_is_refused_with_its_name() {
    let cases = [
        ("network.upload=1", "--set network.upload: unknown field `upload`, expected one of"),
        ("devnet.state.generated=1", "--set devnet.state.generated: unknown field"),
        ("net.upload_limit=1", "--set net.upload_limit: names no key of the configuration"),
        ("network=1", "--set network: `network` is a section and not a key"),
        ("upload_limit=1", "--set upload_limit: names no key of the configuration"),
        ("network.upload_limit", "--set network.upload_limit: a setting is written as section.key"),
        ("", "--set : a setting is written as section.key=value"),
    ];
    for (flag, reason) in cases {
        let said = complaint(&sequencer(DEVNET), &[], &[flag]);
        assert!(said.starts_with(reason), "{flag}: {said}");
    }
}

#[test]
fn a_wrong_value_names_its_variable_or_flag_and_what_was_expected() {
    let cases = [
        ("NETWORK_UPLOAD_LIMIT", "network.upload_limit", "fast", "bytes, KiB, MiB or GiB"),
        ("NETWORK_UPLOAD_LIMIT", "network.upload_limit", "", "bytes, KiB, MiB or GiB"),
        ("NETWORK_UPLOAD_LIMIT", "network.upload_limit", "0", "`upload_limit` is 0"),
        ("NETWORK_CONNECTIONS_MAX", "network.connections_max", "-1", "expected u32"),
        ("NETWORK_LISTEN", "network.listen", "/ip4/1.2.3.4", "expected a sequence"),
        ("NETWORK_LISTEN", "network.listen", "[\"x\"]", "\"x\" is not an address such as"),
        ("NETWORK_LISTEN", "network.listen", "[\"/a\", 7]", "integer `7`, expected a string"),
        ("HTTP_LISTEN", "http.listen", "0.0.0.0:1", "0.0.0.0:1 is not on loopback"),
        ("ROLE", "role", "chief", "expected one of `validator`, `part-server`, `sequencer`"),
        ("NODE_DATA", "node.data", "", "`data` is an empty path"),
        ("DEVNET_STATE", "devnet.state", "{ generate = 1 }", "unknown field `generate`"),
        ("DEVNET_BLOCK_INTERVAL", "devnet.block_interval", "fast", "like \"500ms\" or \"2s\""),
    ];
    for (variable, flag, value, expected) in cases {
        let variable = format!("KETCH_{variable}");
        let said = complaint(&sequencer(DEVNET), &[(&variable, value)], &[]);
        assert!(said.starts_with(&format!("{variable}: ")) && said.contains(expected), "{said}");
        let set = format!("{flag}={value}");
        let said = complaint(&sequencer(DEVNET), &[], &[&set]);
        assert!(said.starts_with(&format!("--set {flag}: ")) && said.contains(expected), "{said}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    std::fs::write(&path, validator("")).unwrap();
    let load = |name: &[u8], value: &[u8]| {
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        NodeConfig::load(&path, [(text(name), text(value))], &[])
    };
    let refused = load(b"KETCH_NODE_DATA", b"/\xff").unwrap_err();
    assert_eq!(refused.origin, Origin::Variable("KETCH_NODE_DATA".into()));
    assert!(matches!(refused.problem, ConfigProblem::NotUnicode));
    let refused = load(b"KETCH_NODE_\xff", b"1").unwrap_err();
    assert_eq!(refused.origin, Origin::Variable("KETCH_NODE_\u{fffd}".into()));
    assert!(load(b"\xffKETCH_NODE_DATA", b"\xff").is_ok(), "others' variables are no matter");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let path = tempfile::tempdir().unwrap().path().join("none.toml");
    let refused = NodeConfig::load(&path, [], &[]).unwrap_err();
    assert_eq!(refused.origin, Origin::File(path));
    assert!(matches!(refused.problem, ConfigProblem::Read(_)));
}
