//! `ketch state`: looks into a state, or makes one from a genesis file.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;

use ketch_store::{ShardStore, StoreConfig, StoreError};
use ketch_trie::{
    BuildError, Commit, Manifest, ManifestError, Outline, OutlineNode, Prefix, StateBuilder,
    state_root,
};
use ketch_types::{ByteSize, Height, ShardId};
use serde::Serialize;
use thiserror::Error;

use crate::cli::{CutSource, Import, Source};
use crate::genesis::{GenesisError, read_genesis};
use crate::layout_file::{LayoutFileError, read_layout};

/// Why a state tool did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum StateToolError {
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    #[error(transparent)]
    Layout(#[from] LayoutFileError),
    #[error("{path}: {error}")]
    Store {
        path: PathBuf,
        #[source]
        error: StoreError,
    },
    #[error("{path}: {error}")]
    Build {
        path: PathBuf,
        #[source]
        error: BuildError,
    },
    #[error("{path}: {error}")]
    Manifest {
        path: PathBuf,
        #[source]
        error: ManifestError,
    },
    #[error("a cut of {0} is more than 4GiB less one")]
    Cut(ByteSize),
    #[error("an inner node above the cut is missing")]
    Incomplete,
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// What a root commits to.
#[derive(Serialize)]
struct RootLine {
    root: String,
    entries: u64,
    bytes: u64,
}

/// A node of an outline's frontier.
#[derive(Serialize)]
struct NodeLine {
    hash: String,
    entries: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct PartLine {
    hash: String,
    entries: u64,
    bytes: u64,
    nodes: usize,
    low: String,
}

#[derive(Serialize)]
struct IndexedPartLine {
    index: usize,
    #[serde(flatten)]
    part: PartLine,
}

#[derive(Serialize)]
struct OutlineLine {
    cut: u32,
    root: String,
    opening: String,
    records: String,
    nodes: Vec<NodeLine>,
    parts: Vec<PartLine>,
}

#[derive(Serialize)]
struct ShardLine {
    shard: u32,
    folder: PathBuf,
    #[serde(flatten)]
    root: RootLine,
}

/// `ketch state root`.
pub(crate) fn root(source: &Source) -> Result<(), StateToolError> {
    let (top, _) = hash(source, u64::MAX)?;
    print_line(&root_line(top.as_ref()))
}

/// `ketch state outline`.
pub(crate) fn outline(source: &CutSource) -> Result<(), StateToolError> {
    let manifest = manifest(source)?;
    let outline = manifest.outline();
    let mut nodes = Vec::new();
    let mut walk = outline.walk();
    while let Some(node) = walk.next() {
        if let OutlineNode::Frontier { commit: Commit { hash, entries, bytes }, .. } = node {
            nodes.push(NodeLine { hash: hash.to_string(), entries, bytes });
        }
    }
    print_line(&OutlineLine {
        cut: outline.cut(),
        root: outline.root().to_string(),
        opening: hex::encode(outline.opening()),
        records: hex::encode(outline.records()),
        nodes,
        parts: part_lines(&manifest).collect(),
    })
}

/// `ketch state parts`.
pub(crate) fn parts(source: &CutSource) -> Result<(), StateToolError> {
    let manifest = manifest(source)?;
    part_lines(&manifest)
        .enumerate()
        .try_for_each(|(index, part)| print_line(&IndexedPartLine { index, part }))
}

/// `ketch state import`.
pub(crate) fn import(import: &Import) -> Result<(), StateToolError> {
    let layout = read_layout(&import.layout)?;
    let entries = read_genesis(&import.file, import.format)?;
    let mut shards: BTreeMap<ShardId, Vec<EntryRef<'_>>> = BTreeMap::new();
    for (key, value) in &entries {
        shards.entry(layout.shard_of(key)).or_default().push((key, value));
    }
    for shard in layout.shards() {
        let folder = import.to.join(format!("shard-{shard}"));
        let failed = |error| StateToolError::Store { path: folder.clone(), error };
        let store = ShardStore::open(&folder, StoreConfig::default()).map_err(failed)?.store;
        let entries = shards.remove(shard).unwrap_or_default();
        let top = import_shard(&store, &entries, layout.part_bytes()).map_err(failed)?;
        print_line(&ShardLine { shard: shard.0, root: root_line(top.as_ref()), folder })?;
    }
    Ok(())
}

/// Fills a store, unless an earlier import has filled it with the same state; its top node.
fn import_shard(
    store: &ShardStore,
    entries: &[EntryRef<'_>],
    cut: u32,
) -> Result<Option<Commit>, StoreError> {
    let imported = store.import(entries.iter().copied(), cut);
    let Err(StoreError::NotEmpty) = imported else { return imported.map(|head| head.top) };
    let mut builder = StateBuilder::new(|_, _| {});
    let built = entries.iter().try_for_each(|(key, value)| builder.push(key, value));
    let top = builder.finish();
    let genesis = store.head().filter(|head| head.height == Height(0));
    let same = built.is_ok() && genesis.is_some_and(|head| head.top == top);
    if same { Ok(top) } else { Err(StoreError::NotEmpty) }
}

fn root_line(top: Option<&Commit>) -> RootLine {
    RootLine {
        root: state_root(top).to_string(),
        entries: top.map_or(0, |top| top.entries),
        bytes: top.map_or(0, |top| top.bytes),
    }
}

fn part_lines(manifest: &Manifest) -> impl Iterator<Item = PartLine> {
    manifest.parts().iter().map(|part| PartLine {
        hash: part.hash().to_string(),
        entries: part.entries(),
        bytes: part.bytes(),
        nodes: part.node_count(),
        low: hex::encode(part.low()),
    })
}

fn manifest(source: &CutSource) -> Result<Manifest, StateToolError> {
    let cut = u32::try_from(source.cut.0).map_err(|_| StateToolError::Cut(source.cut))?;
    let (top, nodes) = hash(&source.source, u64::from(cut))?;
    let path = source.source.path.clone();
    // A builder hands out every inner node of its state, so none is missing.
    let outline = Outline::of_nodes(top, cut, &nodes).ok_or(StateToolError::Incomplete)?;
    Manifest::new(outline).map_err(|error| StateToolError::Manifest { path, error })
}

type EntryRef<'a> = (&'a [u8], &'a [u8]);

/// Inner nodes by their place.
type Nodes = BTreeMap<Prefix, ketch_trie::Children>;

/// The top node of the source's entries, all hashed afresh, and its nodes of more than `cut` bytes.
fn hash(source: &Source, cut: u64) -> Result<(Option<Commit>, Nodes), StateToolError> {
    let path = &source.path;
    let mut nodes = Nodes::new();
    let mut builder = StateBuilder::new(|prefix, children: ketch_trie::Children| {
        if children.left.bytes.saturating_add(children.right.bytes) > cut {
            nodes.insert(prefix, children);
        }
    });
    let refused = |error| StateToolError::Build { path: path.clone(), error };
    if path.is_dir() {
        let mut built = Ok(());
        let in_store = |error| StateToolError::Store { path: path.clone(), error };
        let store = ShardStore::open_existing(path, StoreConfig::default()).map_err(in_store)?;
        let scan = store.scan(|key, value| {
            if built.is_ok() {
                built = builder.push(key, value);
            }
        });
        scan.map_err(in_store)?;
        built.map_err(refused)?;
    } else {
        for (key, value) in read_genesis(path, source.format)? {
            builder.push(&key, &value).map_err(refused)?;
        }
    }
    let top = builder.finish();
    Ok((top, nodes))
}

fn print_line(line: &impl Serialize) -> Result<(), StateToolError> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}
