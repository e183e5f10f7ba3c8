//! The configuration of a node and its network key, as `ketch_node` reads them.

mod examples;
mod key_files;
mod paths;
mod precedence;
mod refusals;
mod rules;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use ketch_node::{ConfigError, NodeConfig};

/// What every node needs, and a line for the role in front.
const NEEDED: &str = "
[node]
data = \"data\"
key = \"network.key\"
[chain]
genesis = \"genesis.bin\"
";

/// The least that a devnet is told.
const DEVNET: &str = "
[devnet]
seed = 7
state = { generated = \"64MiB\" }
block_interval = \"500ms\"
";

/// A validator's configuration with `more` at its end.
fn validator(more: &str) -> String {
    format!("role = \"validator\"{NEEDED}{more}")
}

fn sequencer(more: &str) -> String {
    format!("role = \"sequencer\"{NEEDED}{more}")
}

fn part_server(more: &str) -> String {
    format!("role = \"part-server\"{NEEDED}{more}")
}

/// What is configured by the file at `path` under variables and flags.
fn load_file(
    path: &Path,
    variables: &[(&str, &str)],
    flags: &[&str],
) -> Result<NodeConfig, ConfigError> {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    let variables: Vec<(OsString, OsString)> = variables.collect();
    let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    NodeConfig::load(path, variables, &flags)
}

/// What is configured by a file of this content under variables and flags.
fn load(
    content: &str,
    variables: &[(&str, &str)],
    flags: &[&str],
) -> Result<NodeConfig, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    fs::write(&path, content).unwrap();
    load_file(&path, variables, flags)
}

/// What is said of a configuration that must be refused; its file is called `node.toml`.
fn complaint(content: &str, variables: &[(&str, &str)], flags: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    fs::write(&path, content).unwrap();
    let refused = load_file(&path, variables, flags).expect_err(content);
    refused.to_string().replace(path.to_str().unwrap(), "node.toml")
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
