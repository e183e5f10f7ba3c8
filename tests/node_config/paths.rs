use std::fs;
use std::path::{Path, PathBuf};

use ketch_node::{DevnetState, NodeConfig};

use super::{DEVNET, load_file, sequencer};

/// A configuration in a folder of its own.
fn config(content: &str, variables: &[(&str, &str)], flags: &[&str]) -> (PathBuf, NodeConfig) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.toml");
    fs::write(&path, content).unwrap();
    (folder.path().to_owned(), load_file(&path, variables, flags).unwrap())
}

fn state_file(config: &NodeConfig) -> &Path {
    match &config.devnet().unwrap().state {
        DevnetState::File { path, .. } => path,
        DevnetState::Generated { .. } => panic!("the state is in a file"),
    }
}

#[test]
fn a_path_in_the_file_is_relative_to_the_files_folder() {
    let devnet = DEVNET.replace("generated = \"64MiB\"", "file = \"../state.tsv\"");
    let (folder, config) = config(&sequencer(&devnet), &[], &[]);
    assert_eq!(config.node.data, folder.join("data"));
    assert_eq!(config.node.key, folder.join("network.key"));
    assert_eq!(config.chain.genesis, folder.join("genesis.bin"));
    assert_eq!(state_file(&config), folder.join("../state.tsv"));
}

#[test]
fn a_path_from_elsewhere_is_relative_to_the_working_directory() {
    let variables = [("KETCH_NODE_DATA", "elsewhere"), ("KETCH_NODE_KEY", "a/b.key")];
    let flags = ["chain.genesis=g.bin", "devnet.state={ file = \"state.tsv\" }"];
    let (folder, config) = config(&sequencer(DEVNET), &variables, &flags);
    assert_eq!(config.node.data, Path::new("elsewhere"));
    assert_eq!(config.node.key, Path::new("a/b.key"));
    assert_eq!(config.chain.genesis, Path::new("g.bin"));
    assert_eq!(state_file(&config), Path::new("state.tsv"));
    assert!(!config.node.data.starts_with(folder));
}

#[test]
fn an_absolute_path_is_left_as_it_is() {
    let content = sequencer(DEVNET).replace("\"data\"", "\"/var/lib/ketch\"");
    let (_, config) = config(&content, &[("KETCH_NODE_KEY", "/etc/ketch/network.key")], &[]);
    assert_eq!(config.node.data, Path::new("/var/lib/ketch"));
    assert_eq!(config.node.key, Path::new("/etc/ketch/network.key"));
}
