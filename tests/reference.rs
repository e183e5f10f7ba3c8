//! A slow, obvious model of the shard state commitment: the oracle of the property tests.
//!
//! It shares no code with the crate. Each [`Mutation`] gets one rule of the specification wrong, and
//! the vectors must notice: vectors that let a mutant live would let the same bug live.

mod coding;
mod model;
mod outline;
mod vectors;

use std::collections::BTreeMap;

use coding::{commit_bytes, keyed, pack, u16le};
pub(crate) use model::{Model, ModelPart};
pub(crate) use outline::{Refusal, check_outline};
pub(crate) use vectors::{OutlineCase, RefusedCase, StateCase, Vectors, WriteCase, vectors};

/// The entries of a shard, in key order.
pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a parent commits to about a node: its hash, entries and bytes.
pub(crate) type Commit = ([u8; 32], u64, u64);

const BUCKET_BYTES: u64 = 16_384;
const COMMIT_BYTES: usize = 48;
const HASH_BYTES: usize = 32;

/// The one rule that a mutant gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// Every rule is kept.
    None,
    /// A set of exactly a bucket's bytes is split.
    BucketLessThan,
    /// A node of exactly the cut is opened.
    CutLessThan,
    /// Neighbours of exactly the cut together stay two parts.
    MergeLessThan,
    /// No zero bit ends a key, so a set whose first key is a prefix of the others cannot split.
    NoTerminator,
    /// Every node of the frontier is a part of its own.
    NoMerging,
    /// A record's padding may hold anything.
    PaddingUnchecked,
    /// A record's counts may be anything, and subtraction wraps.
    CountsUnchecked,
    /// Bytes may follow the last record.
    TrailingAllowed,
    /// An inner node's hash covers its bit count, but only the bits that its parent does not give.
    EdgeInsteadOfPrefix,
}

impl Mutation {
    /// Every mutant that the specification lists.
    pub(crate) const LISTED: [Mutation; 9] = [
        Mutation::BucketLessThan,
        Mutation::CutLessThan,
        Mutation::MergeLessThan,
        Mutation::NoTerminator,
        Mutation::NoMerging,
        Mutation::PaddingUnchecked,
        Mutation::CountsUnchecked,
        Mutation::TrailingAllowed,
        Mutation::EdgeInsteadOfPrefix,
    ];

    fn at_most(self, strict: Mutation, bytes: u64, limit: u64) -> bool {
        bytes < limit || (bytes == limit && self != strict)
    }

    fn is_bucket(self, (_, entries, bytes): &Commit) -> bool {
        *entries == 1 || self.at_most(Mutation::BucketLessThan, *bytes, BUCKET_BYTES)
    }

    fn is_frontier(self, (_, entries, bytes): &Commit, cut: u64) -> bool {
        *entries == 1 || self.at_most(Mutation::CutLessThan, *bytes, cut.max(BUCKET_BYTES))
    }

    fn merges(self, bytes: u64, cut: u64) -> bool {
        self != Mutation::NoMerging && self.at_most(Mutation::MergeLessThan, bytes, cut)
    }

    fn inner_hash(
        self,
        prefix: &[bool],
        known: usize,
        left: &Commit,
        right: &Commit,
    ) -> [u8; HASH_BYTES] {
        let edge_only = self == Mutation::EdgeInsteadOfPrefix;
        let covered = if edge_only { &prefix[known..] } else { prefix };
        let body = [u16le(prefix.len()), pack(covered), commit_bytes(left), commit_bytes(right)];
        keyed("ketch.v1.inner", &body.concat())
    }
}

/// Names the vectors that a mutation disagrees with, each with what it gets wrong.
pub(crate) fn killed_by(mutation: Mutation) -> Vec<String> {
    let vectors: Vectors = vectors();
    let states = vectors.states.iter().flat_map(|case| {
        let model = Model::mutated(&case.entries, mutation);
        let outlines = case.outlines.iter();
        outlines.filter_map(move |outline| outline_killer(&model, case, outline, mutation))
    });
    let writes = vectors.writes.iter().filter_map(|case| write_killer(case, mutation));
    let refused = vectors.refused.iter().filter_map(|case| refused_killer(case, mutation));
    states.chain(writes).chain(refused).collect()
}

fn outline_killer(
    model: &Model,
    state: &StateCase,
    case: &OutlineCase,
    mutation: Mutation,
) -> Option<String> {
    let cut = case.cut;
    let parts = model.parts(cut);
    let payloads: Vec<_> = (0..parts.len()).map(|part| model.payload(cut, part)).collect();
    let sizes: Vec<_> = payloads.iter().map(|payload| payload.len() as u64).collect();
    let digest = blake3::hash(&payloads.concat());
    let checked = check_outline(&case.root, cut, &case.opening, &case.records, mutation);
    let agreements = [
        ("root", model.root() == case.root),
        ("opening", model.opening() == case.opening),
        ("records", model.records(cut) == case.records),
        ("frontier", model.frontier(cut) == case.nodes),
        ("parts", parts == case.parts),
        ("sizes", parts.iter().map(|part| part.bytes).eq(sizes)),
        ("payloads", digest == state.payload_digest),
        ("verdict", checked.as_ref() == Ok(&case.nodes)),
    ];
    killer(&format!("state `{}` at cut {cut}", state.name), &agreements)
}

fn write_killer(case: &WriteCase, mutation: Mutation) -> Option<String> {
    let root = |entries| Model::mutated(entries, mutation).root();
    let agreements = [
        ("root before", root(&case.before) == case.root),
        ("root after", root(&case.after()) == case.root_after),
    ];
    killer(&format!("write `{}`", case.name), &agreements)
}

fn refused_killer(case: &RefusedCase, mutation: Mutation) -> Option<String> {
    let checked = check_outline(&case.root, case.cut, &case.opening, &case.records, mutation);
    let agreements = [("verdict", checked == Err(case.refused))];
    killer(&format!("refused outline `{}` of `{}`", case.name, case.state), &agreements)
}

fn killer(name: &str, agreements: &[(&str, bool)]) -> Option<String> {
    let wrong = agreements.iter().filter(|(_, agrees)| !agrees);
    let wrong: Vec<_> = wrong.map(|(what, _)| *what).collect();
    (!wrong.is_empty()).then(|| format!("{name}: {}", wrong.join(", ")))
}

#[test]
fn reference_agrees_with_every_vector() {
    assert_eq!(killed_by(Mutation::None), Vec::<String>::new());
}

#[test]
fn every_listed_mutant_is_killed_by_a_vector() {
    for mutation in Mutation::LISTED {
        let killers = killed_by(mutation);
        println!("{mutation:?} is killed by {killers:#?}");
        assert!(!killers.is_empty(), "{mutation:?} survives every vector");
    }
}

#[test]
fn reference_stands_the_deepest_comb() {
    let tooth = |depth: usize| ([vec![0; depth], vec![1]].concat(), vec![0; 700]);
    let entries: Entries = (0..2048).map(tooth).collect();
    let model = Model::new(&entries);
    let (root, opening, records) = (model.root(), model.opening(), model.records(0));
    let checked = check_outline(&root, 0, &opening, &records, Mutation::None);
    assert_eq!(checked, Ok(model.frontier(0)));
    assert_eq!(model.parts(0).len(), model.frontier(0).len());
}
