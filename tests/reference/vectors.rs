//! The specification's vectors, decoded.

use std::collections::BTreeMap;
use std::fs;

use serde::de::{Deserialize, Deserializer, Error};

use super::{Commit, Entries, ModelPart, Refusal};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");

/// The one state that the vectors describe in words, for its four mebibytes of zeros.
const LARGEST_ENTRY: &str = "key 0x07 x 2048 -> 4194304 zero bytes; key 0x08 -> empty";

/// All vectors.
pub(crate) struct Vectors {
    /// States with their outlines and parts.
    pub(crate) states: Vec<StateCase>,
    /// Writes with the roots before and after.
    pub(crate) writes: Vec<WriteCase>,
    /// Outlines that must be refused.
    pub(crate) refused: Vec<RefusedCase>,
}

/// A state with its outlines.
pub(crate) struct StateCase {
    /// What the state shows.
    pub(crate) name: String,
    /// Its entries.
    pub(crate) entries: Entries,
    /// The plain BLAKE3 digest of the encodings of all its entries, in key order.
    pub(crate) payload_digest: [u8; 32],
    /// Its outlines, one for each cut.
    pub(crate) outlines: Vec<OutlineCase>,
}

/// The outline of a state at one cut, with its parts.
#[derive(serde::Deserialize)]
pub(crate) struct OutlineCase {
    /// The cut.
    pub(crate) cut: u64,
    /// The state root.
    #[serde(deserialize_with = "bytes")]
    pub(crate) root: [u8; 32],
    /// The commit of the top node.
    #[serde(deserialize_with = "bytes")]
    pub(crate) opening: Vec<u8>,
    /// The records of the opened nodes.
    #[serde(deserialize_with = "bytes")]
    pub(crate) records: Vec<u8>,
    /// The frontier.
    #[serde(deserialize_with = "commits")]
    pub(crate) nodes: Vec<Commit>,
    /// The parts.
    pub(crate) parts: Vec<ModelPart>,
}

/// Writes to a state with the roots before and after.
pub(crate) struct WriteCase {
    /// What the writes show.
    pub(crate) name: String,
    /// The entries before.
    pub(crate) before: Entries,
    /// The root before.
    pub(crate) root: [u8; 32],
    /// The values put, and none for the keys deleted.
    pub(crate) writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The root after.
    pub(crate) root_after: [u8; 32],
}

impl WriteCase {
    /// The entries after the writes.
    pub(crate) fn after(&self) -> Entries {
        let mut after = self.before.clone();
        for (key, value) in &self.writes {
            match value {
                Some(value) => after.insert(key.clone(), value.clone()),
                None => after.remove(key),
            };
        }
        after
    }
}

/// An outline that must be refused.
#[derive(serde::Deserialize)]
pub(crate) struct RefusedCase {
    /// The state whose outline was spoilt.
    pub(crate) state: String,
    /// What was spoilt.
    pub(crate) name: String,
    /// The cut.
    pub(crate) cut: u64,
    /// The root that the outline is checked against.
    #[serde(deserialize_with = "bytes")]
    pub(crate) root: [u8; 32],
    /// The opening.
    #[serde(deserialize_with = "bytes")]
    pub(crate) opening: Vec<u8>,
    /// The records.
    #[serde(deserialize_with = "bytes")]
    pub(crate) records: Vec<u8>,
    /// Why it must be refused.
    pub(crate) refused: Refusal,
}

#[derive(serde::Deserialize)]
struct Document {
    states: Vec<StateRow>,
    writes: Vec<WriteRow>,
    refused_outlines: Vec<RefusedCase>,
}

#[derive(serde::Deserialize)]
struct StateRow {
    name: String,
    entries: usize,
    #[serde(deserialize_with = "bytes")]
    payload_digest: [u8; 32],
    outlines: Vec<OutlineCase>,
    items: Option<Vec<Item>>,
    items_file: Option<String>,
    made_of: Option<String>,
}

#[derive(serde::Deserialize)]
struct WriteRow {
    name: String,
    items: Vec<Item>,
    #[serde(deserialize_with = "bytes")]
    root: [u8; 32],
    writes: Vec<Item>,
    #[serde(deserialize_with = "bytes")]
    root_after: [u8; 32],
}

#[derive(serde::Deserialize)]
struct Item {
    #[serde(deserialize_with = "bytes")]
    key: Vec<u8>,
    value: Option<Value>,
}

#[derive(serde::Deserialize)]
struct Value(#[serde(deserialize_with = "bytes")] Vec<u8>);

#[derive(serde::Deserialize)]
struct NodeRow {
    #[serde(deserialize_with = "bytes")]
    hash: [u8; 32],
    entries: u64,
    bytes: u64,
}

/// Reads all vectors.
pub(crate) fn vectors() -> Vectors {
    let document: Document = serde_json::from_str(&text("vectors.json")).expect("the vectors");
    Vectors {
        states: document.states.into_iter().map(state_case).collect(),
        writes: document.writes.into_iter().map(write_case).collect(),
        refused: document.refused_outlines,
    }
}

fn state_case(row: StateRow) -> StateCase {
    let StateRow { name, payload_digest, outlines, .. } = row;
    let entries = match (row.items, row.items_file, row.made_of) {
        (Some(items), None, None) => entries(items),
        (None, Some(file), None) => entries(items_of(&file)),
        (None, None, Some(made_of)) => largest_entry(&made_of),
        _ => panic!("{name}: the entries are given in one way"),
    };
    assert_eq!(entries.len(), row.entries, "{name}: count of entries");
    StateCase { name, entries, payload_digest, outlines }
}

fn write_case(row: WriteRow) -> WriteCase {
    let writes =
        row.writes.into_iter().map(|item| (item.key, item.value.map(|Value(value)| value)));
    WriteCase {
        name: row.name,
        before: entries(row.items),
        root: row.root,
        writes: writes.collect(),
        root_after: row.root_after,
    }
}

fn entries(items: Vec<Item>) -> Entries {
    items.into_iter().map(|item| (item.key, item.value.expect("an entry has a value").0)).collect()
}

fn items_of(file: &str) -> Vec<Item> {
    text(file).lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
}

fn largest_entry(made_of: &str) -> Entries {
    assert_eq!(made_of, LARGEST_ENTRY, "the only state described in words");
    BTreeMap::from([(vec![0x07; 2048], vec![0; 4_194_304]), (vec![0x08], vec![])])
}

fn text(file: &str) -> String {
    fs::read_to_string(format!("{FOLDER}/{file}")).expect("a file of the vectors")
}

/// Decodes a string of hex digits.
pub(crate) fn bytes<'de, D: Deserializer<'de>, T: TryFrom<Vec<u8>>>(
    input: D,
) -> Result<T, D::Error> {
    let decoded = hex::decode(String::deserialize(input)?).map_err(D::Error::custom)?;
    T::try_from(decoded).map_err(|_| D::Error::custom("the wrong number of bytes"))
}

fn commits<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<Commit>, D::Error> {
    let nodes = Vec::<NodeRow>::deserialize(input)?;
    Ok(nodes.into_iter().map(|node| (node.hash, node.entries, node.bytes)).collect())
}
