//! The house rules that no compiler keeps: which crate may see which, and what pure crates lack.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every crate that may exist, in order, with the crates of ours that it may import.
const MAY_IMPORT: [(&str, &[&str]); 10] = [
    ("types", &[]),
    ("trie", &["types"]),
    ("wire", &["types", "trie"]),
    ("ledger", &["types"]),
    ("coordinator", &["types", "trie", "wire", "ledger"]),
    ("store", &["types", "trie"]),
    ("net", &["types", "wire"]),
    ("devnet", &["types", "trie", "ledger"]),
    ("sim", &["types", "trie", "wire", "ledger", "coordinator", "devnet"]),
    ("node", &["types", "trie", "wire", "ledger", "coordinator", "store", "net", "devnet", "sim"]),
];

/// Crates without clock, randomness, threads or IO.
const PURE: [&str; 7] = ["types", "trie", "wire", "ledger", "coordinator", "devnet", "sim"];

/// What a pure crate does not name. Hashed maps are absent because their order is random.
const IMPURE_WORDS: [&str; 16] = [
    "std::time::Instant",
    "SystemTime",
    "std::thread",
    "std::fs",
    "std::net",
    "std::io",
    "std::env",
    "std::process",
    "tokio",
    "HashMap",
    "HashSet",
    "RandomState",
    "thread_rng",
    "rand::rng",
    "OsRng",
    "getrandom",
];

/// Dependencies that bring clocks, threads, IO or randomness with them.
const IMPURE_DEPENDENCIES: [&str; 8] =
    ["tokio", "fjall", "libp2p", "rayon", "rand", "getrandom", "tempfile", "nix"];

/// The project's top level, beside dotfiles.
const TOP_LEVEL: [&str; 11] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "config",
    "crates",
    "docs",
    "shards",
    "tests",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn crates() -> Vec<String> {
    let folders = fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<_> =
        folders.map(|folder| folder.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn manifest(of: &str) -> toml::Table {
    let path = root().join("crates").join(of).join("Cargo.toml");
    fs::read_to_string(path).unwrap().parse().unwrap()
}

/// The names in one of a manifest's dependency tables.
fn dependencies(manifest: &toml::Table, table: &str) -> BTreeSet<String> {
    let table = manifest.get(table).and_then(toml::Value::as_table);
    table.into_iter().flat_map(|table| table.keys().cloned()).collect()
}

/// Every Rust file below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files
}

/// What of a source file is not its own tests.
fn product_code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_crate_has_its_place_in_the_house() {
    let known: BTreeSet<_> = MAY_IMPORT.iter().map(|(name, _)| (*name).to_owned()).collect();
    for name in crates() {
        assert!(known.contains(&name), "crates/{name} has no place");
        let package = manifest(&name)["package"]["name"].as_str().unwrap().to_owned();
        assert_eq!(package, format!("ketch-{name}"));
    }
}

#[test]
fn a_crate_imports_only_what_stands_above_it() {
    let may_import: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    for name in crates() {
        let manifest = manifest(&name);
        let mut named = dependencies(&manifest, "dependencies");
        named.extend(dependencies(&manifest, "build-dependencies"));
        for dependency in named.iter().filter_map(|name| name.strip_prefix("ketch-")) {
            let allowed = may_import[name.as_str()].contains(&dependency);
            assert!(allowed, "crates/{name} imports {dependency}");
        }
    }
}

#[test]
fn pure_crates_name_no_clock_thread_randomness_or_io() {
    let mut looked_at = 0;
    for name in crates().into_iter().filter(|name| PURE.contains(&name.as_str())) {
        let named = dependencies(&manifest(&name), "dependencies");
        for dependency in IMPURE_DEPENDENCIES {
            assert!(!named.contains(dependency), "crates/{name} depends on {dependency}");
        }
        for path in sources(&root().join("crates").join(&name).join("src")) {
            let code = product_code(&path);
            for word in IMPURE_WORDS {
                assert!(!code.contains(word), "{} names {word}", path.display());
            }
            looked_at += 1;
        }
    }
    assert!(looked_at > 15, "only {looked_at} files were found");
}

#[test]
fn crates_that_see_bytes_of_others_deny_panics() {
    for name in crates().into_iter().filter(|name| name != "node") {
        let page =
            fs::read_to_string(root().join("crates").join(&name).join("src/lib.rs")).unwrap();
        for lint in ["clippy::unwrap_used", "clippy::expect_used", "clippy::indexing_slicing"] {
            assert!(page.contains(lint), "crates/{name} does not deny {lint}");
        }
    }
}

#[test]
fn no_file_of_a_crate_has_grown_a_second_purpose() {
    for name in crates() {
        for path in sources(&root().join("crates").join(&name).join("src")) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 600, "{} has {lines} lines", path.display());
        }
    }
}

#[test]
fn the_top_level_holds_what_was_agreed_and_nothing_else() {
    let mut found: Vec<_> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    found.sort();
    assert_eq!(found, TOP_LEVEL);
}

#[test]
fn every_decision_stands_in_the_list_of_decisions() {
    let folder = root().join("docs/decisions");
    let list = fs::read_to_string(folder.join("README.md")).unwrap();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name == "README.md" || list.contains(&name), "{name} is not listed");
    }
}
