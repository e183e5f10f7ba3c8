//! A node that is new to a chain, as a process: beside honest nodes, which are processes too, and
//! beside holders of the test's own that break every rule.

mod full_disk;
mod liar;
mod lies;
mod roles;

use std::sync::Arc;

use ketch_ledger::Genesis;
use ketch_trie::{Manifest, VerifiedPart};
use ketch_types::{Epoch, PartIndex, StateRoot};

use crate::still_chain::{Member, StillChain};

const PART_BYTES: u32 = 64 << 10;
/// Makes a state of some dozens of parts, and so several windows.
const ENTRIES: u32 = 40_000;

/// A chain that begins with a state, and a node that has it.
pub(crate) struct Chain {
    pub(crate) still: StillChain,
    genesis: Genesis,
    root: StateRoot,
    pub(crate) holder: Member,
    /// What the holder has, for those who lie about it.
    parts: Arc<Vec<VerifiedPart>>,
    pub(crate) manifest: Arc<Manifest>,
}

/// The state's entries, in key order.
fn entries() -> impl Iterator<Item = ([u8; 4], Vec<u8>)> {
    (0..ENTRIES).map(|number| {
        (number.to_be_bytes(), blake3::hash(&number.to_le_bytes()).as_bytes().repeat(3))
    })
}

impl Chain {
    /// `network` are lines of the holder's section `[network]`.
    pub(crate) fn new(network: &str) -> Self {
        let still = StillChain::new(PART_BYTES);
        let holder = still.part_server(1, network);
        let store = holder.store();
        let head = store.import(entries(), PART_BYTES).unwrap();
        let view = store.epoch(Epoch(0)).unwrap();
        let manifest = Arc::clone(view.manifest());
        let parts = (0..manifest.part_count()).map(|part| view.part(PartIndex(part)).unwrap());
        let parts = Arc::new(parts.collect());
        let (root, genesis) = (head.root(), still.begin_with(head.root()));
        Self { still, genesis, root, holder, parts, manifest }
    }

    /// The root of what a node that has ended has stored, hashed afresh by the command.
    fn stored_root(node: &Member) -> String {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ketch"));
        let output = command.args(["state", "root"]).arg(node.shard()).output().unwrap();
        let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        printed["root"].as_str().unwrap().to_owned()
    }
}
