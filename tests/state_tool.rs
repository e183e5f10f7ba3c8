//! `ketch state` as its users run it: the real binary on real files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::reference::{Entries, Model, vectors};

fn ketch(arguments: &[&str]) -> Output {
    let ketch = Command::new(env!("CARGO_BIN_EXE_ketch")).args(arguments).output();
    ketch.expect("the binary of this package")
}

/// The JSON objects that a command prints, one a line.
fn printed(arguments: &[&str]) -> Vec<Value> {
    let output = ketch(arguments);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a command that must fail complains of.
fn complaint(arguments: &[&str]) -> String {
    let output = ketch(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(output.stdout.is_empty(), "{arguments:?} printed something all the same");
    String::from_utf8(output.stderr).unwrap()
}

fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn json_lines(entries: &Entries) -> String {
    let line = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        format!("{}\n", json!({"key": hex::encode(key), "value": hex::encode(value)}))
    };
    entries.iter().rev().map(line).collect()
}

fn root_of(entries: &Entries) -> Value {
    let model = Model::new(entries);
    let bytes: usize = entries.iter().map(|(key, value)| 6 + key.len() + value.len()).sum();
    json!({"root": hex::encode(model.root()), "entries": entries.len(), "bytes": bytes})
}

fn parts_of(model: &Model, cut: u64) -> Vec<Value> {
    let part = |part: &crate::reference::ModelPart| {
        json!({
            "hash": hex::encode(part.hash),
            "entries": part.entries,
            "bytes": part.bytes,
            "nodes": part.nodes,
            "low": hex::encode(&part.low),
        })
    };
    model.parts(cut).iter().map(part).collect()
}

#[test]
fn root_outline_and_parts_print_what_the_reference_model_says() {
    let folder = tempfile::tempdir().unwrap();
    for case in vectors().states.iter().filter(|case| case.entries.len() < 1_000) {
        let path = file(&folder, "state.jsonl", json_lines(&case.entries));
        let model = Model::new(&case.entries);
        assert_eq!(printed(&["state", "root", &path]), [root_of(&case.entries)], "{}", case.name);
        for outline in &case.outlines {
            let cut = outline.cut.to_string();
            let parts = parts_of(&model, outline.cut);
            let node = |(hash, entries, bytes): &([u8; 32], u64, u64)| json!({"hash": hex::encode(hash), "entries": entries, "bytes": bytes});
            let expected = json!({
                "cut": outline.cut,
                "root": hex::encode(outline.root),
                "opening": hex::encode(&outline.opening),
                "records": hex::encode(&outline.records),
                "nodes": outline.nodes.iter().map(node).collect::<Vec<_>>(),
                "parts": parts,
            });
            let found = printed(&["state", "outline", &path, "--cut", &cut]);
            assert_eq!(found, [expected], "{}", case.name);
            let indexed = parts.into_iter().enumerate().map(|(index, mut part)| {
                part["index"] = json!(index);
                part
            });
            let found = printed(&["state", "parts", &path, "--cut", &cut]);
            assert_eq!(found, indexed.collect::<Vec<_>>(), "{}", case.name);
        }
    }
}

#[test]
fn the_same_entries_in_every_format_have_the_same_root() {
    let folder = tempfile::tempdir().unwrap();
    let entries: Entries =
        [(b"key".to_vec(), b"a\tb".to_vec()), (b"k".to_vec(), Vec::new())].into();
    let expected = vec![root_of(&entries)];
    let lines = file(&folder, "a.jsonl", json_lines(&entries));
    assert_eq!(printed(&["state", "root", &lines]), expected);
    let tabs = file(&folder, "a.tsv", "key\ta\tb\nk\t\n");
    assert_eq!(printed(&["state", "root", &tabs]), expected);
    let named = file(&folder, "a.txt", "key\ta\tb\nk\t");
    assert_eq!(printed(&["state", "root", &named, "--format", "tsv"]), expected);
    let repeated = file(&folder, "b.tsv", "key\tfirst\nk\t\nkey\ta\tb\n");
    assert_eq!(printed(&["state", "root", &repeated]), expected, "the last value of a key holds");
}

#[test]
fn a_near_record_of_each_kind_becomes_its_entry() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        &folder,
        "near.json",
        r#"{"protocol_version": 1, "records": [
            {"Account": {"account_id": "a.near", "account": {"b": 2, "a": {"z": null, "y": "ü\n"}}}},
            {"AccessKey": {"account_id": "a.near", "public_key": "ed25519:x", "access_key": {"nonce": 0}}},
            {"Contract": {"account_id": "a.near", "code": "AGFzbQ=="}},
            {"Data": {"account_id": "a.near", "data_key": "U1RBVEU=", "value": ""}}
        ]}"#,
    );
    let entries: Entries = [
        (b"a.near\0\0".to_vec(), r#"{"a":{"y":"ü\n","z":null},"b":2}"#.into()),
        (b"a.near\0\x01ed25519:x".to_vec(), br#"{"nonce":0}"#.to_vec()),
        (b"a.near\0\x02".to_vec(), b"\0asm".to_vec()),
        (b"a.near\0\x03STATE".to_vec(), Vec::new()),
    ]
    .into();
    assert_eq!(printed(&["state", "root", &path]), [root_of(&entries)]);
}

#[test]
fn an_ethereum_account_becomes_balance_code_and_storage() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(
        &folder,
        "ethereum.json",
        r#"{"nonce": "0x42", "alloc": {
            "0x00000000000000000000000000000000000000aA": {"balance": "258", "nonce": "0x7",
                "code": "0x6001", "storage": {"0x1": "0xff"}},
            "00000000000000000000000000000000000000bb": {"balance": "0x1"}
        }}"#,
    );
    let address = |last: u8| [vec![0; 19], vec![last]].concat();
    let word = |number: u16| [vec![0; 30], number.to_be_bytes().to_vec()].concat();
    let nonce = |number: u8| [vec![0; 7], vec![number]].concat();
    let entries: Entries = [
        ([address(0xaa), vec![0]].concat(), [word(258), nonce(7)].concat()),
        ([address(0xaa), vec![1]].concat(), vec![0x60, 0x01]),
        ([address(0xaa), vec![2], word(1)].concat(), word(0xff)),
        ([address(0xbb), vec![0]].concat(), [word(1), nonce(0)].concat()),
    ]
    .into();
    assert_eq!(printed(&["state", "root", &path]), [root_of(&entries)]);
}

#[test]
fn bad_files_are_refused_with_file_line_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let address = "00".repeat(20);
    let account = |body: &str| format!("{{\"alloc\": {{\"{address}\": {body}}}}}");
    let near = |body: &str| format!("{{\"records\": [{body}]}}");
    let cases = [
        ("cut.json", "{\"records\": [".to_owned(), "cut.json:1:13: EOF"),
        (
            "cut.jsonl",
            "{\"key\":\"00\",\"value\":\"\"}\n{\"key\":\"0".to_owned(),
            "cut.jsonl:2:9: EOF",
        ),
        ("null.jsonl", "{\"key\":\"00\",\"value\":null}".to_owned(), "null.jsonl:1:"),
        ("more.jsonl", "{\"key\":\"00\",\"value\":\"\",\"x\":1}".to_owned(), "unknown field `x`"),
        ("odd.jsonl", "\n{\"key\":\"0\",\"value\":\"\"}".to_owned(), "odd.jsonl:2: key: Odd"),
        ("empty.jsonl", "{\"key\":\"\",\"value\":\"\"}".to_owned(), "empty key"),
        (
            "long.jsonl",
            format!("{{\"key\":\"{}\",\"value\":\"\"}}", "ab".repeat(2_049)),
            "2049 bytes",
        ),
        ("no-tab.tsv", "a\tb\nc".to_owned(), "no-tab.tsv:2: the line has no tab"),
        ("no-key.tsv", "\tb".to_owned(), "no-key.tsv:1: an entry has an empty key"),
        ("other.json", "{\"accounts\": []}".to_owned(), "neither `records` nor `alloc`"),
        ("kind.json", near("{\"Delayed\": {}}"), "unknown variant `Delayed`"),
        (
            "float.json",
            near("{\"Account\": {\"account_id\": \"a\", \"account\": 1.5}}"),
            "not whole",
        ),
        (
            "base64.json",
            near("{\"Contract\": {\"account_id\": \"a\", \"code\": \"%\"}}"),
            "a: Invalid",
        ),
        ("wei.json", account("{\"balance\": \"1e18\"}"), "`1e18` is not a whole number"),
        (
            "nonce.json",
            account("{\"balance\": \"1\", \"nonce\": \"0x1ffffffffffffffff\"}"),
            "64 bits",
        ),
        ("short.json", "{\"alloc\": {\"0xab\": {\"balance\": \"1\"}}}".to_owned(), "20 bytes"),
        ("what.bin", String::new(), "the name does not say the format"),
    ];
    for (name, content, reason) in cases {
        let path = file(&folder, name, content);
        let said = complaint(&["state", "root", &path]);
        assert!(said.contains(reason) && said.contains(name), "{name}: {said}");
    }
    let missing = folder.path().join("missing.jsonl");
    assert!(complaint(&["state", "root", missing.to_str().unwrap()]).contains("missing.jsonl: "));
    let fine = file(&folder, "fine.tsv", "a\tb");
    for cut in ["4GB", "-1", "1.5MiB", "99999999999999999999"] {
        assert!(!ketch(&["state", "parts", &fine, "--cut", cut]).status.success(), "{cut}");
    }
    assert!(complaint(&["state", "parts", &fine, "--cut", "4GiB"]).contains("cut of 4GiB"));
}

#[test]
fn an_imported_shard_is_hashed_afresh_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let entries: Entries =
        (0..=255_u8).map(|byte| (vec![byte, 7], vec![byte; usize::from(byte) * 4])).collect();
    let genesis = file(&folder, "genesis.jsonl", json_lines(&entries));
    let layout = project("shards/quartet.toml");
    let to = folder.path().join("imported");
    let import = ["state", "import", &genesis, "--layout", &layout, "--to", to.to_str().unwrap()];
    let shards = printed(&import);
    assert_eq!(shards.len(), 4);
    for (position, shard) in shards.iter().enumerate() {
        let range = position as u8 * 64..=position as u8 * 64 + 63;
        let own = entries.iter().filter(|(key, _)| range.contains(&key[0]));
        let own: Entries = own.map(|(key, value)| (key.clone(), value.clone())).collect();
        let shard_folder = shard["folder"].as_str().unwrap();
        assert_eq!(shard["shard"], json!(position));
        assert_eq!(printed(&["state", "root", shard_folder]), [root_of(&own)]);
        assert_eq!(shard["root"], root_of(&own)["root"]);
        let parts: Vec<_> = printed(&["state", "parts", shard_folder, "--cut", "16384"]);
        assert_eq!(parts.len(), Model::new(&own).parts(16_384).len());
    }
    assert_eq!(printed(&import), shards, "what is imported already is left as it is");
    let other = file(&folder, "other.tsv", "a\tb");
    let import = ["state", "import", &other, "--layout", &layout, "--to", to.to_str().unwrap()];
    let said = String::from_utf8(ketch(&import).stderr).unwrap();
    assert!(said.contains("the store is not empty"), "an import never adds to a state: {said}");
}

#[test]
fn a_folder_without_a_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert!(complaint(&["state", "root", path]).contains("no shard's database"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_bad_layout_is_refused_with_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let genesis = file(&folder, "genesis.tsv", "a\tb");
    let cases = [
        ("shards = [1]\nboundarys = []\n", ":2:1: unknown field `boundarys`"),
        ("shards = [1, 2]\nboundaries = [\n  { hax = \"40\" },\n]\n", ":3:3: "),
        ("shards = [1, 2]\nboundaries = [{ hex = \"4\" }]\n", ":2:15: Odd number of digits"),
        ("shards = [1, -2]\n", ":1:14: "),
        ("shards = [1]\npart_bytes = \"4 Mb\"\n", ":2:14: "),
        ("shards = [1]\npart_bytes = 1\n", "part_bytes is 1, not within"),
        ("shards = [1, 1]\nboundaries = [\"m\"]\n", "shard id 1 is given twice"),
        ("shards = [1, 2]\n", "2 shards need 1 boundaries, not 0"),
        ("shards = [1, 2, 3]\nboundaries = [\"m\", \"m\"]\n", "boundary 1 is not above"),
        ("shards = ", ":1:10: "),
    ];
    for (content, reason) in cases {
        let layout = file(&folder, "layout.toml", content);
        let to = folder.path().join("to");
        let import =
            ["state", "import", &genesis, "--layout", &layout, "--to", to.to_str().unwrap()];
        let said = complaint(&import);
        assert!(said.contains(reason) && said.contains("layout.toml"), "{content}: {said}");
        assert!(!to.exists(), "{content}: something was made all the same");
    }
}

#[test]
fn every_layout_of_the_project_is_read() {
    let mut counts = Vec::new();
    for name in ["hundred", "near-mainnet", "quartet"] {
        let path = PathBuf::from(project(&format!("shards/{name}.toml")));
        counts.push(ketch_node::read_layout(&path).unwrap().shards().len());
    }
    assert_eq!(counts, [100, 9, 4]);
    let files = fs::read_dir(project("shards")).unwrap().count();
    assert_eq!(files, counts.len(), "a layout is not tested");
}

fn project(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}

/// A published genesis file beside the project; without it the test says so and passes.
fn real_data(name: &str) -> Option<String> {
    let path = project(&format!("../shared/data/{name}"));
    let there = Path::new(&path).is_file();
    if !there {
        eprintln!("SKIPPED: {name} is not beside the project");
    }
    there.then_some(path)
}

/// Roots as the specification's independent script computes them.
const NEAR_ROOT: &str = "fd35202cc6da76d132232046def6f8c8a4624b30036025bde02cacae4819a3bc";
const ETHEREUM_ROOT: &str = "64b9aa762d2f4fcee82e7a5ddae88aa28456bfec85c28dc75b8381deda889655";

#[test]
fn near_mainnets_genesis_has_its_root_and_leaves_two_shards_empty() {
    let Some(genesis) = real_data("near-mainnet-genesis.json") else {
        return;
    };
    let root = json!({"root": NEAR_ROOT, "entries": 64, "bytes": 231_446});
    assert_eq!(printed(&["state", "root", &genesis]), [root]);
    let parts = printed(&["state", "parts", &genesis, "--cut", "16KiB"]);
    assert_eq!(parts.len(), 5);

    let folder = tempfile::tempdir().unwrap();
    let layout = project("shards/near-mainnet.toml");
    let to = folder.path().to_str().unwrap();
    let shards = printed(&["state", "import", &genesis, "--layout", &layout, "--to", to]);
    let ids: Vec<_> = shards.iter().map(|shard| shard["shard"].as_u64().unwrap()).collect();
    assert_eq!(ids, [10, 11, 1, 8, 9, 6, 7, 4, 5]);
    let empty: Vec<_> =
        shards.iter().filter(|shard| shard["entries"] == 0).map(|s| s["shard"].clone()).collect();
    assert_eq!(empty, [json!(1), json!(6)]);
    let entries: u64 = shards.iter().map(|shard| shard["entries"].as_u64().unwrap()).sum();
    assert_eq!(entries, 64);
}

#[test]
fn ethereum_mainnets_genesis_has_its_root() {
    let Some(genesis) = real_data("ethereum-mainnet-genesis.json") else {
        return;
    };
    let root = json!({"root": ETHEREUM_ROOT, "entries": 8_893, "bytes": 595_831});
    assert_eq!(printed(&["state", "root", &genesis]), [root]);
    assert_eq!(printed(&["state", "parts", &genesis, "--cut", "64KiB"]).len(), 16);
}
