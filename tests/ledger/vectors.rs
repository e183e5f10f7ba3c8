//! The ledger's vectors, decoded from JSON. A field that no test knows is an error.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/ledger.json");

/// What the vectors write as hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hex<T>(pub(crate) T);

/// Any bytes.
pub(crate) type Bytes = Hex<Vec<u8>>;

/// A hash, a root, a key or a seed.
pub(crate) type Bytes32 = Hex<[u8; 32]>;

/// A signature.
pub(crate) type Bytes64 = Hex<[u8; 64]>;

impl<'de, T: TryFrom<Vec<u8>>> Deserialize<'de> for Hex<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let bytes = hex::decode(String::deserialize(input)?).map_err(D::Error::custom)?;
        T::try_from(bytes).map(Self).map_err(|_| D::Error::custom("the wrong number of bytes"))
    }
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Hex<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// All vectors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vectors {
    /// The keys of the hashes by their labels.
    pub(crate) domains: BTreeMap<String, Bytes32>,
    /// Keys that are and are not consensus keys.
    pub(crate) consensus_keys: Vec<KeyCase>,
    /// Signatures over ledger infos.
    pub(crate) signatures: Vec<SignatureCase>,
    /// Trees of all three kinds.
    pub(crate) trees: Vec<TreeCase>,
    /// Proofs that prove nothing.
    pub(crate) refused_proofs: Vec<RefusedProofCase>,
    /// Lists of transactions.
    pub(crate) transactions: Vec<TransactionsCase>,
    /// Items of zeros, too long to be written out.
    pub(crate) large: Vec<LargeCase>,
    /// Epoch infos at their limits and above.
    pub(crate) wide: Vec<WideCase>,
    /// Objects of every kind.
    pub(crate) objects: Vec<ObjectCase>,
    /// What is no object.
    pub(crate) malformed: Vec<MalformedCase>,
    /// A small chain.
    pub(crate) ledger: Ledger,
}

/// A consensus key, or not one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyCase {
    /// What the key shows.
    pub(crate) name: String,
    /// The key.
    pub(crate) key: Bytes32,
    /// Whether it is one.
    pub(crate) valid: bool,
}

/// A signature over a ledger info.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignatureCase {
    /// What the signature shows.
    pub(crate) name: String,
    /// The signer's key, or what is none.
    pub(crate) key: Bytes32,
    /// The ledger info.
    pub(crate) ledger_info: Bytes,
    /// The signature.
    pub(crate) signature: Bytes64,
    /// Whether it is good.
    pub(crate) valid: bool,
}

/// A tree with its root; of chunk headers at height 0, with their proofs too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TreeCase {
    /// The kind of tree.
    pub(crate) tree: String,
    /// The number of items.
    pub(crate) n: usize,
    /// What the leaves are made of.
    pub(crate) items: Vec<Bytes>,
    /// The root.
    pub(crate) root: Bytes32,
    /// The roots of the states that the headers tell of.
    #[serde(default)]
    pub(crate) state_roots: Vec<Bytes32>,
    /// The siblings of every item.
    #[serde(default)]
    pub(crate) proofs: Vec<Vec<Bytes32>>,
}

/// A proof in a tree of chunk headers that proves nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefusedProofCase {
    /// The kind of tree.
    pub(crate) tree: String,
    /// What is wrong.
    pub(crate) name: String,
    /// The number of items that the verifier knows.
    pub(crate) n: usize,
    /// The place that the verifier knows.
    pub(crate) index: usize,
    /// What the leaf is made of.
    pub(crate) item: Bytes,
    /// The root of the state that the header tells of.
    pub(crate) state_root: Bytes32,
    /// The siblings.
    pub(crate) siblings: Vec<Bytes32>,
    /// The root.
    pub(crate) root: Bytes32,
}

/// A list of transactions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransactionsCase {
    /// What the list shows.
    pub(crate) name: String,
    /// The transactions.
    pub(crate) transactions: Vec<Bytes>,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Their root.
    pub(crate) root: Bytes32,
}

/// A tree of one item: an output of key 0x6b or a transaction, with this many zeros.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LargeCase {
    /// The kind of tree.
    pub(crate) tree: String,
    /// How many zeros.
    pub(crate) zeros: usize,
    /// The bytes of the item.
    pub(crate) bytes: u64,
    /// The root.
    pub(crate) root: Bytes32,
}

/// An epoch info with this many shards and validators, as the script says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WideCase {
    /// The number of shards.
    pub(crate) shards: u32,
    /// The number of validators.
    pub(crate) validators: u32,
    /// The bytes of each boundary.
    pub(crate) boundary_bytes: usize,
    /// Whether such an epoch info may be.
    pub(crate) decodes: bool,
    /// The bytes of its encoding.
    pub(crate) bytes: usize,
    /// The encoding's hash.
    pub(crate) hash: Bytes32,
}

/// An object in its fields and in its encoding.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectCase {
    /// The kind of object.
    pub(crate) kind: String,
    /// What the object shows.
    pub(crate) name: String,
    /// The fields, which differ by kind.
    pub(crate) fields: serde_json::Value,
    /// The encoding.
    pub(crate) encoded: Bytes,
    /// The hash, if the kind has one.
    pub(crate) hash: Option<Bytes32>,
    /// What is signed of a ledger info.
    pub(crate) message: Option<Bytes>,
    /// The root of outputs.
    pub(crate) root: Option<Bytes32>,
    /// The bytes of outputs.
    pub(crate) bytes: Option<u64>,
}

/// Bytes that are no object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MalformedCase {
    /// The kind of object.
    pub(crate) kind: String,
    /// What is wrong.
    pub(crate) name: String,
    /// The bytes.
    pub(crate) encoded: Bytes,
    /// Why they do not decode.
    pub(crate) reason: String,
}

/// A small chain with what is and is not believed of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    /// The genesis.
    pub(crate) genesis: Bytes,
    /// Its hash.
    pub(crate) chain_id: Bytes32,
    /// The secrets of the validators, except where the key is not an ordinary one.
    pub(crate) seeds: Vec<SeedCase>,
    /// The epoch infos.
    pub(crate) epochs: Vec<Bytes>,
    /// The blocks with their chunk headers.
    pub(crate) heights: Vec<HeightCase>,
    /// The ends of the epochs from 0 on, signed.
    pub(crate) advance: Vec<Bytes>,
    /// What is believed.
    pub(crate) accepted: Vec<VerdictCase>,
    /// What is not believed.
    pub(crate) refused: Vec<VerdictCase>,
    /// Where a path may begin, and where not.
    pub(crate) waypoints: Vec<WaypointCase>,
    /// Ends of epoch 1 that are verified before the info of epoch 2 is known.
    pub(crate) early: Vec<EarlyCase>,
}

/// A validator's secret.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeedCase {
    /// The secret, as RFC 8032 has it.
    pub(crate) seed: Bytes32,
    /// The public key.
    pub(crate) key: Bytes32,
}

/// A block with the chunk headers of its height.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HeightCase {
    /// The height.
    pub(crate) height: u64,
    /// The block.
    pub(crate) block: Bytes,
    /// The block's hash.
    pub(crate) hash: Bytes32,
    /// The chunk headers of this height, in layout order.
    pub(crate) chunks: Vec<Bytes>,
}

/// Something signed or proven, and what a node makes of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerdictCase {
    /// The kind of object.
    pub(crate) kind: String,
    /// What it shows.
    pub(crate) name: String,
    /// Why it is refused, if it is.
    pub(crate) refusal: Option<String>,
    /// The epochs whose infos the node holds.
    pub(crate) known: Vec<u64>,
    /// The object.
    pub(crate) encoded: Bytes,
    /// The signed ledger info over a block or a chunk proof.
    pub(crate) signed: Option<Bytes>,
    /// The height that a ledger info was asked for by.
    pub(crate) asked_height: Option<u64>,
    /// The epoch whose end was asked for.
    pub(crate) asked_end: Option<u64>,
    /// The shard that a proof or a range is asked for.
    pub(crate) shard: Option<u32>,
    /// The height at which the trusted header of a range is the shard's newest.
    pub(crate) trusted: Option<usize>,
    /// The hash of an accepted ledger info or block.
    pub(crate) hash: Option<Bytes32>,
    /// The height of the header that a proof or a range leads to.
    pub(crate) height: Option<u64>,
    /// The state root that a proof or a range leads to.
    pub(crate) state_after: Option<Bytes32>,
}

/// A waypoint with what is brought for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaypointCase {
    /// What the waypoint shows.
    pub(crate) name: String,
    /// Whether a path begins there.
    pub(crate) accepted: bool,
    /// Why none does.
    pub(crate) reason: Option<String>,
    /// The hash.
    pub(crate) waypoint: Bytes32,
    /// The ledger info.
    pub(crate) ledger_info: Bytes,
    /// The info of the next epoch.
    pub(crate) next: Bytes,
    /// What the ledger info proves by itself.
    #[serde(default)]
    pub(crate) proofs: Vec<WaypointProof>,
}

/// A chunk proof under a waypoint's own ledger info.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaypointProof {
    /// The shard.
    pub(crate) shard: u32,
    /// The proof.
    pub(crate) encoded: Bytes,
    /// The shard's root at the end of the epoch.
    pub(crate) state_after: Bytes32,
}

/// An end of epoch 1 that stands until the info of epoch 2 is known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EarlyCase {
    /// What it shows.
    pub(crate) name: String,
    /// Why it is refused then, if it is.
    pub(crate) refusal: Option<String>,
    /// The signed ledger info.
    pub(crate) encoded: Bytes,
}

/// Reads all vectors.
pub(crate) fn vectors() -> Vectors {
    serde_json::from_str(&fs::read_to_string(FILE).unwrap()).unwrap()
}
