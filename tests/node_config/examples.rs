use std::collections::BTreeSet;
use std::fs;

use ketch_node::{NodeConfig, Role};

use super::{DEVNET, complaint, load, load_file, project, sequencer, validator};

const EXAMPLES: [&str; 3] = ["validator", "part-server", "sequencer"];

fn text(example: &str) -> String {
    fs::read_to_string(project(&format!("config/{example}.toml"))).unwrap()
}

/// The example with what it shows as not set, `#key = value`, set.
fn all_set(example: &str) -> String {
    let text = text(example);
    let lines = text.lines().map(|line| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => key,
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Every `section.key` that a configuration has.
fn keys(content: &str) -> BTreeSet<String> {
    let table: toml::Table = content.parse().unwrap();
    let of_section = |(name, value): (String, toml::Value)| match value {
        toml::Value::Table(section) => section.keys().map(|key| format!("{name}.{key}")).collect(),
        _ => vec![name],
    };
    table.into_iter().flat_map(of_section).collect()
}

/// What is known where an unknown key was refused.
fn known(complaint: &str) -> Vec<String> {
    let (_, expected) = complaint.split_once(", expected ").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every `section.key` that exists.
fn existing() -> BTreeSet<String> {
    let sections = known(&complaint(&format!("unheard_of = 1\n{}", sequencer(DEVNET)), &[], &[]));
    let of_section = |section: String| {
        if section == "role" {
            return vec![section];
        }
        let flag = format!("{section}.unheard_of=1");
        let keys = known(&complaint(&sequencer(DEVNET), &[], &[&flag]));
        keys.into_iter().map(|key| format!("{section}.{key}")).collect()
    };
    sections.into_iter().flat_map(of_section).collect()
}

#[test]
fn every_example_is_read_with_its_role() {
    for example in EXAMPLES {
        let config = load_file(&project(&format!("config/{example}.toml")), &[], &[]).unwrap();
        let role = match config.role {
            Role::Validator { .. } => "validator",
            Role::PartServer { .. } => "part-server",
            Role::Sequencer { .. } => "sequencer",
        };
        assert_eq!(role, example);
    }
    let files = fs::read_dir(project("config")).unwrap();
    assert_eq!(files.count(), EXAMPLES.len() + 1, "beside a page, an example is not tested");
}

#[test]
fn every_key_in_an_example_exists_even_those_that_are_not_set() {
    for example in EXAMPLES {
        load(&all_set(example), &[], &[]).unwrap();
        assert!(keys(&all_set(example)).is_subset(&existing()), "{example}");
    }
}

#[test]
fn every_key_that_exists_is_in_an_example() {
    let shown: BTreeSet<_> = EXAMPLES.iter().flat_map(|example| keys(&all_set(example))).collect();
    assert_eq!(shown, existing());
    assert_eq!(shown.len(), 24, "{shown:?}");
}

#[test]
fn every_key_of_an_example_has_a_comment_above_it() {
    for example in EXAMPLES {
        let text = text(example);
        let is_key =
            |line: &str| line.trim_start_matches('#').starts_with(|c: char| c.is_ascii_lowercase());
        for (above, line) in text.lines().zip(text.lines().skip(1)) {
            let said = !is_key(line) || above.starts_with("# ");
            assert!(said, "{example}: {line}");
        }
    }
}

#[test]
fn every_key_that_exists_has_a_variable() {
    for key in existing() {
        let variable = format!("KETCH_{}", key.replace('.', "_").to_uppercase());
        // A table with a key that nothing knows: refused as a value, wherever it is put.
        let said = complaint(&sequencer(DEVNET), &[(&variable, "{ unheard_of = [[]] }")], &[]);
        assert!(said.starts_with(&format!("{variable}: ")), "{said}");
        assert!(!said.contains("names no key") && !said.contains(&format!("`{key}`")), "{said}");
    }
}

#[test]
fn what_examples_show_as_defaults_are_the_defaults() {
    let bare: NodeConfig = load(&validator(""), &[], &[]).unwrap();
    for example in EXAMPLES {
        let shown = load_file(&project(&format!("config/{example}.toml")), &[], &[]).unwrap();
        assert_eq!(shown.network, bare.network, "{example}");
        assert_eq!(shown.store, bare.store, "{example}");
        assert_eq!(shown.catchup, bare.catchup, "{example}");
        assert_eq!(shown.http, bare.http, "{example}");
        assert_eq!(shown.log, bare.log, "{example}");
        assert_eq!(shown.node.workers, bare.node.workers, "{example}");
        assert_eq!(shown.chain.waypoint, bare.chain.waypoint, "{example}");
    }
    assert_eq!(bare.store.part_cache.get(), 16 << 30);
    assert_eq!(bare.store.block_cache.get(), 256 << 20);
    assert_eq!(bare.catchup.memory.get(), 192 << 20);
    assert_eq!(bare.network.connections_max.get(), 500);
    assert_eq!(bare.http.listen.to_string(), "127.0.0.1:7680");
}
