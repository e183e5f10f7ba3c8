//! The commitment against the specification's vectors and against the reference model.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ketch_trie::{
    BUCKET_BYTES, BuildError, Children, Commit, Entries, Entry, EntryError, Manifest, MemoryState,
    Outline, OutlineChecker, OutlineFault, PartFault, Prefix, StateBuilder, StateReader, Writes,
    equal_parts, state_root,
};
use ketch_types::{KeyRange, PartIndex, PartSet, StateRoot};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::reference::{Entries as Items, Model, Refusal, vectors};

/// The state of these entries, committed in one batch.
pub(crate) fn state_of(items: &Items) -> MemoryState {
    let mut state = MemoryState::default();
    state
        .commit(&writes_of(items.iter().map(|(k, v)| (k, Some(v)))))
        .unwrap();
    state
}

/// The writes of these keys and values.
pub(crate) fn writes_of<'a>(
    writes: impl IntoIterator<Item = (&'a Vec<u8>, Option<&'a Vec<u8>>)>,
) -> Writes {
    let mut batch = Writes::default();
    for (key, value) in writes {
        match value {
            Some(value) => batch.put(key, value).unwrap(),
            None => batch.delete(key).unwrap(),
        }
    }
    batch
}

/// The top node and all inner nodes of these entries, built in one pass.
fn built(items: &Items) -> (Option<Commit>, BTreeMap<Prefix, Children>) {
    let mut nodes = BTreeMap::new();
    let mut builder = StateBuilder::new(|prefix, children| {
        nodes.insert(prefix, children);
    });
    for (key, value) in items {
        builder.push(key, value).unwrap();
    }
    let top = builder.finish();
    (top, nodes)
}

fn nodes_of(state: &MemoryState) -> BTreeMap<Prefix, Children> {
    state
        .nodes(&Prefix::default())
        .map(Result::unwrap)
        .collect()
}

fn entries_of(state: &MemoryState) -> Items {
    let mut items = Items::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        items.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    };
    state.entries(&KeyRange::ALL, &mut visit).unwrap();
    items
}

fn payload_of(state: &MemoryState, range: &KeyRange) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        Entry { key, value }.encode(&mut payload);
        ControlFlow::Continue(())
    };
    state.entries(range, &mut visit).unwrap();
    payload
}

fn checked(
    root: StateRoot,
    cut: u32,
    opening: &[u8],
    records: &[u8],
    step: usize,
) -> Result<Outline, OutlineFault> {
    let opening = opening.try_into().map_err(|_| OutlineFault::Opening)?;
    let mut checker = OutlineChecker::new(&root, cut, &opening)?;
    for piece in records.chunks(step.max(1)) {
        checker.push(piece)?;
    }
    checker.finish()
}

fn part_range(manifest: &Manifest, index: u32) -> KeyRange {
    manifest
        .range(PartIndex(index)..PartIndex(index + 1))
        .unwrap()
}

/// Asserts that everything that can be asked of the state is what the reference model says.
fn assert_agrees(state: &MemoryState, model: &Model, cut: u32) {
    assert_eq!(*state.root().as_bytes(), model.root());
    let outline = Outline::of_state(state, cut).unwrap();
    assert_eq!(outline.opening().to_vec(), model.opening());
    assert_eq!(outline.records(), model.records(u64::from(cut)));
    let received = checked(
        state.root(),
        cut,
        &model.opening(),
        &model.records(u64::from(cut)),
        7,
    )
    .unwrap();
    assert_eq!(received, outline);

    let manifest = Manifest::new(outline).unwrap();
    let parts = model.parts(u64::from(cut));
    assert_eq!(manifest.parts().len(), parts.len());
    for (i, (part, expected)) in manifest.parts().iter().zip(&parts).enumerate() {
        let found = (
            *part.hash().as_bytes(),
            part.entries(),
            part.bytes(),
            part.node_count(),
        );
        assert_eq!(
            found,
            (
                expected.hash,
                expected.entries,
                expected.bytes,
                expected.nodes
            )
        );
        assert_eq!(part.low(), expected.low);
        let range = part_range(&manifest, i as u32);
        let payload = payload_of(state, &range);
        assert_eq!(payload, model.payload(u64::from(cut), i));
        let verified = manifest.verify(PartIndex(i as u32), payload).unwrap();
        assert_eq!(verified.range(), &range);
    }
}

#[test]
fn every_state_of_the_vectors_has_its_root_outline_and_parts() {
    for case in vectors().states {
        let state = state_of(&case.entries);
        let model = Model::new(&case.entries);
        let payload = payload_of(&state, &KeyRange::ALL);
        assert_eq!(
            *blake3::hash(&payload).as_bytes(),
            case.payload_digest,
            "{}",
            case.name
        );
        assert_eq!(
            built(&case.entries),
            (state.top(), nodes_of(&state)),
            "{}",
            case.name
        );
        for outline in &case.outlines {
            let cut = u32::try_from(outline.cut).unwrap();
            let ours = Outline::of_state(&state, cut).unwrap();
            assert_eq!(*ours.root().as_bytes(), outline.root, "{}", case.name);
            assert_eq!(ours.opening().to_vec(), outline.opening, "{}", case.name);
            assert_eq!(ours.records(), outline.records, "{}", case.name);
            assert_agrees(&state, &model, cut);
        }
    }
}

#[test]
fn every_batch_of_writes_of_the_vectors_leads_to_its_root() {
    for case in vectors().writes {
        let mut state = state_of(&case.before);
        assert_eq!(*state.root().as_bytes(), case.root, "{}", case.name);
        let batch = writes_of(case.writes.iter().map(|(k, v)| (k, v.as_ref())));
        state.commit(&batch).unwrap();
        assert_eq!(*state.root().as_bytes(), case.root_after, "{}", case.name);
        assert_eq!(
            built(&entries_of(&state)),
            (state.top(), nodes_of(&state)),
            "{}",
            case.name
        );
    }
}

#[test]
fn every_outline_that_the_vectors_refuse_is_refused_for_its_reason() {
    for case in vectors().refused {
        for step in [1, 5, usize::MAX] {
            let root = StateRoot::new(case.root);
            let cut = u32::try_from(case.cut).unwrap();
            let fault = checked(root, cut, &case.opening, &case.records, step).unwrap_err();
            let expected = match case.refused {
                Refusal::Opening => OutlineFault::Opening,
                Refusal::Truncated => OutlineFault::Truncated,
                Refusal::Trailing => OutlineFault::Trailing,
                Refusal::Prefix => OutlineFault::Prefix,
                Refusal::Counts => OutlineFault::Counts,
                Refusal::Hash => OutlineFault::Hash,
            };
            assert_eq!(fault, expected, "{}: {}", case.state, case.name);
        }
    }
}

/// Keys that share long prefixes, are prefixes of one another, and end at every kind of bit.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        Just(0_u8),
        Just(1),
        Just(0x40),
        Just(0x80),
        Just(0xff),
        any::<u8>()
    ];
    prop_oneof![
        4 => vec(byte, 1..6),
        1 => (0_usize..40).prop_map(|n| [vec![7; n], vec![9]].concat()),
        1 => (0_u8..8).prop_map(|b| vec![b; 300]),
    ]
}

/// Sizes around everything that decides: nothing, small, a half and a whole bucket, and beyond.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![
        4 => 0_usize..400,
        3 => 2_000_usize..6_000,
        1 => 8_180_usize..8_200,
        1 => 16_360_usize..16_390,
        1 => 30_000_usize..70_000,
    ];
    (size, any::<u8>()).prop_map(|(size, byte)| vec![byte; size])
}

fn items() -> impl Strategy<Value = Items> {
    btree_map(key(), value(), 0..60)
}

fn changes() -> impl Strategy<Value = BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    btree_map(key(), proptest::option::weighted(0.6, value()), 0..40)
}

/// Deletes of keys that are there, which random keys seldom are.
fn some_deletes(items: &Items, every: usize) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    items
        .keys()
        .step_by(every.max(1))
        .map(|key| (key.clone(), None))
        .collect()
}

const CUTS: [u32; 4] = [1_000, 16_384, 40_000, 65_536];

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_state_is_what_the_reference_model_says(items in items(), cut in 0_usize..4) {
        let state = state_of(&items);
        assert_agrees(&state, &Model::new(&items), CUTS[cut]);
        prop_assert_eq!(built(&items), (state.top(), nodes_of(&state)));
        prop_assert_eq!(entries_of(&state), items);
    }

    #[test]
    fn an_incremental_commit_equals_building_from_scratch(
        items in items(), first in changes(), second in changes(), every in 1_usize..6,
    ) {
        let mut state = state_of(&items);
        let mut expected = items.clone();
        for change in [first, some_deletes(&items, every), second] {
            let batch = writes_of(change.iter().map(|(k, v)| (k, v.as_ref())));
            let before: Vec<_> = change.keys().map(|key| expected.get(key).cloned()).collect();
            let committed = state.commit(&batch).unwrap();
            prop_assert_eq!(committed.replaced, before);
            for (key, value) in change {
                match value {
                    Some(value) => expected.insert(key, value),
                    None => expected.remove(&key),
                };
            }
            prop_assert_eq!(*state.root().as_bytes(), Model::new(&expected).root());
            prop_assert_eq!(built(&expected), (state.top(), nodes_of(&state)));
        }
    }

    #[test]
    fn any_order_of_the_same_writes_gives_the_same_root(
        items in items(), order in any::<u64>(), batch in 1_usize..9,
    ) {
        let mut shuffled: Vec<_> = items.iter().collect();
        shuffled.sort_by_key(|(key, _)| *blake3::hash(&[*key, &order.to_le_bytes()[..]].concat()).as_bytes());
        let mut state = MemoryState::default();
        for some in shuffled.chunks(batch) {
            state.commit(&writes_of(some.iter().map(|(k, v)| (*k, Some(*v))))).unwrap();
        }
        prop_assert_eq!(state.root(), state_of(&items).root());
        prop_assert_eq!(nodes_of(&state), built(&items).1);
    }

    #[test]
    fn every_single_bit_change_of_an_outline_is_refused(items in items(), at in any::<u32>(), cut in 0_usize..4) {
        let state = state_of(&items);
        let outline = Outline::of_state(&state, CUTS[cut]).unwrap();
        let mut bytes = [&outline.opening()[..], outline.records()].concat();
        let bit = at as usize % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(checked(state.root(), CUTS[cut], &bytes[..48], &bytes[48..], 100).is_err());
    }

    #[test]
    fn every_single_bit_change_of_a_payload_is_refused(items in items(), at in any::<u32>(), part in any::<u32>()) {
        let state = state_of(&items);
        let manifest = Manifest::new(Outline::of_state(&state, 65_536).unwrap()).unwrap();
        prop_assume!(manifest.part_count() > 0);
        let part = part % manifest.part_count();
        let mut payload = payload_of(&state, &part_range(&manifest, part));
        let bit = at as usize % (payload.len() * 8);
        payload[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(manifest.verify(PartIndex(part), payload).is_err());
    }

    #[test]
    fn an_outline_cut_short_or_followed_by_anything_is_refused(
        items in items(), keep in any::<u32>(), more in vec(any::<u8>(), 1..90),
    ) {
        let state = state_of(&items);
        let outline = Outline::of_state(&state, 16_384).unwrap();
        let (root, opening) = (state.root(), outline.opening());
        let longer = [outline.records(), &more[..]].concat();
        prop_assert_eq!(checked(root, 16_384, &opening, &longer, 64), Err(OutlineFault::Trailing));
        prop_assume!(!outline.records().is_empty());
        let kept = &outline.records()[..keep as usize % outline.records().len()];
        prop_assert_eq!(checked(root, 16_384, &opening, kept, 64), Err(OutlineFault::Truncated));
    }

    #[test]
    fn the_parts_found_equal_are_exactly_those_whose_entries_are_the_same(
        items in items(), change in changes(), every in 1_usize..20, cut in 0_usize..4,
    ) {
        let old = state_of(&items);
        let mut new = state_of(&items);
        new.commit(&writes_of(change.iter().map(|(k, v)| (k, v.as_ref())))).unwrap();
        let deletes = some_deletes(&items, every + 3);
        new.commit(&writes_of(deletes.iter().map(|(k, v)| (k, v.as_ref())))).unwrap();
        let manifest = Manifest::new(Outline::of_state(&new, CUTS[cut]).unwrap()).unwrap();
        let mut expected = PartSet::empty(manifest.part_count());
        for index in 0..manifest.part_count() {
            let range = part_range(&manifest, index);
            if payload_of(&old, &range) == payload_of(&new, &range) {
                expected.insert(PartIndex(index));
            }
        }
        prop_assert_eq!(equal_parts(&manifest, &old, &[KeyRange::ALL]).unwrap(), expected);
    }

    #[test]
    fn the_nodes_of_all_parts_are_all_the_nodes(items in items(), cut in 0_usize..4) {
        let state = state_of(&items);
        let manifest = Manifest::new(Outline::of_state(&state, CUTS[cut]).unwrap()).unwrap();
        let mut nodes = Vec::new();
        for index in (0..manifest.part_count()).map(PartIndex) {
            let range = part_range(&manifest, index.0);
            let part = manifest.verify(index, payload_of(&state, &range)).unwrap();
            let mut of_part = manifest.opened_in(index..PartIndex(index.0 + 1));
            of_part.extend_from_slice(part.nodes());
            of_part.sort_by(|(a, _), (b, _)| a.cmp(b));
            prop_assert!(of_part.iter().all(|(prefix, _)| range.contains(prefix.least_key())));
            nodes.extend(of_part);
        }
        prop_assert_eq!(nodes, nodes_of(&state).into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_records_under_a_true_opening_are_refused(
        items in items(), records in vec(any::<u8>(), 0..400),
    ) {
        let state = state_of(&items);
        let outline = Outline::of_state(&state, 16_384).unwrap();
        prop_assume!(outline.records() != records);
        prop_assert!(checked(state.root(), 16_384, &outline.opening(), &records, 31).is_err());
    }
}

/// Under a hash that fits: what the counts, the order and the limits of a payload must say by
/// themselves is made the content of a bucket whose hash a dishonest root names.
fn manifest_of_payload(payload: &[u8], entries: u64) -> Manifest {
    let key = *blake3::hash(b"ketch.v1.bucket").as_bytes();
    let hash = *blake3::keyed_hash(&key, payload).as_bytes();
    let top = Commit {
        hash: ketch_types::NodeHash::new(hash),
        entries,
        bytes: payload.len() as u64,
    };
    let checker = OutlineChecker::new(&state_root(Some(&top)), 65_536, &top.encode()).unwrap();
    Manifest::new(checker.finish().unwrap()).unwrap()
}

fn raw_entry(key: &[u8], value: &[u8]) -> Vec<u8> {
    let lengths = [
        &(key.len() as u16).to_le_bytes()[..],
        &(value.len() as u32).to_le_bytes(),
    ];
    [&lengths.concat(), key, value].concat()
}

#[test]
fn entries_that_break_the_rules_are_refused_even_under_a_matching_hash() {
    let (a, b) = (raw_entry(b"a", b"1"), raw_entry(b"b", b"2"));
    let long = raw_entry(&[b'k'; 2_049], b"");
    let cases: [(&str, Vec<u8>, u64, PartFault); 7] = [
        ("unsorted", [&b[..], &a].concat(), 2, PartFault::Order),
        ("duplicate", [&a[..], &a].concat(), 2, PartFault::Order),
        (
            "empty key",
            raw_entry(b"", b"1"),
            1,
            PartFault::Entry(EntryError::EmptyKey),
        ),
        (
            "long key",
            long,
            1,
            PartFault::Entry(EntryError::KeyTooLong(2_049)),
        ),
        ("too few", a.clone(), 2, PartFault::Count(2)),
        ("too many", [&a[..], &b].concat(), 1, PartFault::Count(1)),
        (
            "cut",
            a[..a.len() - 1].to_vec(),
            1,
            PartFault::Entry(EntryError::Truncated),
        ),
    ];
    for (name, payload, entries, fault) in cases {
        let manifest = manifest_of_payload(&payload, entries);
        let refused = manifest.verify(PartIndex(0), payload).unwrap_err();
        // A bucket of the claimed count is hashed before what follows it is looked at.
        let hash_first = name == "too many" && refused == PartFault::Hash;
        assert!(refused == fault || hash_first, "{name}: {refused}");
    }
}

#[test]
fn a_value_of_four_gibibytes_is_refused_by_its_length_field() {
    let payload = [1, 0, 0xff, 0xff, 0xff, 0xff, b'k', 0, 0];
    let fault = manifest_of_payload(&payload, 1)
        .verify(PartIndex(0), payload.to_vec())
        .unwrap_err();
    assert_eq!(
        fault,
        PartFault::Entry(EntryError::ValueTooLong(u32::MAX as usize))
    );
}

#[test]
fn a_part_in_the_place_of_another_is_refused() {
    let items: Items = (0..60_u8)
        .map(|i| (vec![i * 4, 1], vec![i; 3_000]))
        .collect();
    let state = state_of(&items);
    let manifest = Manifest::new(Outline::of_state(&state, 65_536).unwrap()).unwrap();
    assert!(manifest.part_count() >= 3);
    let payload = |index| payload_of(&state, &part_range(&manifest, index));
    for wrong in 1..manifest.part_count() {
        assert!(manifest.verify(PartIndex(0), payload(wrong)).is_err());
    }
    let beyond = PartIndex(manifest.part_count());
    assert_eq!(
        manifest.verify(beyond, payload(0)),
        Err(PartFault::Index(beyond))
    );
    let longer = [payload(0), raw_entry(b"x", b"")].concat();
    assert!(matches!(
        manifest.verify(PartIndex(0), longer),
        Err(PartFault::Bytes { .. })
    ));
    // The same nodes under the same hashes, but one part's keys are another's.
    let fault = manifest.verify(PartIndex(1), payload(0)).unwrap_err();
    assert!(
        matches!(fault, PartFault::Range | PartFault::Bytes { .. }),
        "{fault}"
    );
}

#[test]
fn an_opening_without_entries_is_refused_unless_the_state_is_empty() {
    let empty = MemoryState::default();
    assert!(checked(empty.root(), 65_536, &[0; 48], &[], 1).is_ok());
    assert_eq!(
        checked(empty.root(), 65_536, &[0; 48], &[0], 1),
        Err(OutlineFault::Trailing)
    );
    let bare = Commit {
        hash: ketch_types::NodeHash::new([1; 32]),
        entries: 0,
        bytes: 9,
    };
    let refused = checked(state_root(Some(&bare)), 65_536, &bare.encode(), &[], 1);
    assert_eq!(refused, Err(OutlineFault::Opening));
}

/// A dishonest top of two equal halves, and the one record that it commits to, mutated.
fn record_under_matching_hash(
    bits: u16,
    prefix: &[u8],
    left: (u64, u64),
    total: (u64, u64),
) -> Result<Outline, OutlineFault> {
    let child = |(entries, bytes)| Commit {
        hash: ketch_types::NodeHash::new([3; 32]),
        entries,
        bytes,
    };
    let left = child(left);
    let right = child((
        total.0.wrapping_sub(left.entries),
        total.1.wrapping_sub(left.bytes),
    ));
    let key = *blake3::hash(b"ketch.v1.inner").as_bytes();
    let body = [
        &bits.to_le_bytes()[..],
        prefix,
        &left.encode(),
        &right.encode(),
    ]
    .concat();
    let hash = ketch_types::NodeHash::new(*blake3::keyed_hash(&key, &body).as_bytes());
    let top = Commit {
        hash,
        entries: total.0,
        bytes: total.1,
    };
    let record = [
        &bits.to_le_bytes()[..],
        prefix,
        &left.encode(),
        right.hash.as_bytes(),
    ]
    .concat();
    checked(state_root(Some(&top)), 1 << 20, &top.encode(), &record, 9)
}

#[test]
fn records_that_break_the_rules_are_refused_even_under_a_matching_hash() {
    let mib = 1 << 20;
    let fine = record_under_matching_hash(1, &[0x80], (1, mib), (2, 2 * mib));
    assert!(fine.is_ok(), "{fine:?}");
    for (name, bits, prefix, left, total, fault) in [
        (
            "marker bit zero",
            1,
            vec![0],
            (1, mib),
            (2, 2 * mib),
            OutlineFault::Prefix,
        ),
        (
            "padding set",
            1,
            vec![0x81],
            (1, mib),
            (2, 2 * mib),
            OutlineFault::Prefix,
        ),
        (
            "second marker zero",
            10,
            vec![0x80, 0],
            (1, mib),
            (2, 2 * mib),
            OutlineFault::Prefix,
        ),
        (
            "no entry on the left",
            1,
            vec![0x80],
            (0, mib),
            (2, 2 * mib),
            OutlineFault::Counts,
        ),
        (
            "no entry on the right",
            1,
            vec![0x80],
            (2, mib),
            (2, 2 * mib),
            OutlineFault::Counts,
        ),
        (
            "six bytes on the left",
            1,
            vec![0x80],
            (1, 6),
            (2, 2 * mib),
            OutlineFault::Counts,
        ),
        (
            "six bytes on the right",
            1,
            vec![0x80],
            (1, 2 * mib - 6),
            (2, 2 * mib),
            OutlineFault::Counts,
        ),
        (
            "more entries than the parent",
            1,
            vec![0x80],
            (3, mib),
            (2, 2 * mib),
            OutlineFault::Counts,
        ),
        (
            "more bytes than the parent",
            1,
            vec![0x80],
            (1, 3 * mib),
            (2, 2 * mib),
            OutlineFault::Counts,
        ),
        (
            "counts that overflow",
            1,
            vec![0x80],
            (u64::MAX, u64::MAX),
            (2, 2 * mib),
            OutlineFault::Counts,
        ),
    ] {
        let refused = record_under_matching_hash(bits, &prefix, left, total);
        assert_eq!(refused, Err(fault), "{name}");
    }
}

#[test]
fn a_builder_refuses_what_is_not_in_order_and_goes_on() {
    let mut builder = StateBuilder::new(|_, _| {});
    builder.push(b"b", b"1").unwrap();
    assert_eq!(builder.push(b"b", b"2"), Err(BuildError::Order));
    assert_eq!(builder.push(b"a", b"2"), Err(BuildError::Order));
    assert_eq!(
        builder.push(b"", b"2"),
        Err(BuildError::Entry(EntryError::EmptyKey))
    );
    builder.push(b"c", b"2").unwrap();
    let items = [
        (b"b".to_vec(), b"1".to_vec()),
        (b"c".to_vec(), b"2".to_vec()),
    ]
    .into();
    assert_eq!(builder.finish(), state_of(&items).top());
}

/// Keys of which each parts from the next one bit deeper: `depth` levels, the deepest the trie can
/// have when `depth` is 18,431.
fn comb(depth: usize, value_bytes: usize) -> Items {
    let mut items = Items::new();
    for level in 0..depth {
        // The bits of a path that goes right `level` times, then left, or ends where a byte ends.
        let (whole, open) = (level / 9, level % 9);
        let mut key = vec![0xff; whole];
        if open > 0 {
            key.push(!(0x80_u8 >> (open - 1)));
        }
        if !key.is_empty() {
            items.insert(key, vec![1; value_bytes]);
        }
    }
    items
}

#[test]
fn the_deepest_comb_is_built_cut_verified_and_written_to_without_deep_recursion() {
    let items = comb(18_431, 200);
    assert_eq!(items.len(), 18_430);
    // A stack of 256 KiB, where a frame for each of 18,431 levels would not fit.
    let deep = std::thread::Builder::new()
        .stack_size(256 << 10)
        .spawn(move || {
            let mut state = state_of(&items);
            let outline = Outline::of_state(&state, BUCKET_BYTES as u32).unwrap();
            let deepest = nodes_of(&state).keys().map(Prefix::bits).max();
            let received = checked(
                state.root(),
                outline.cut(),
                &outline.opening(),
                outline.records(),
                1 << 16,
            );
            assert_eq!(received, Ok(outline));
            let manifest = Manifest::new(Outline::of_state(&state, 4 << 20).unwrap()).unwrap();
            for index in 0..manifest.part_count() {
                let payload = payload_of(&state, &part_range(&manifest, index));
                manifest.verify(PartIndex(index), payload).unwrap();
            }
            let key = vec![0xff; 2_047];
            let committed = state
                .commit(&writes_of([(&key, Some(&vec![2; 9]))]))
                .unwrap();
            let mut changed = items.clone();
            changed.insert(key, vec![2; 9]);
            assert_eq!(committed.top, built(&changed).0);
            (deepest, committed.cost)
        });
    let (deepest, cost) = deep.unwrap().join().unwrap();
    assert!(deepest > Some(18_000), "{deepest:?}");
    assert!(
        cost.nodes_touched > 30_000 && cost.bytes_hashed > 20_000_000,
        "{cost:?}"
    );
}

/// The work of checking an outline is linear: each record is hashed once.
#[test]
fn a_commit_touches_only_the_path_to_what_is_written() {
    let items: Items = (0..20_000_u32)
        .map(|i| {
            (
                blake3::hash(&i.to_le_bytes()).as_bytes().to_vec(),
                vec![0; 96],
            )
        })
        .collect();
    let mut state = state_of(&items);
    let inner_nodes = nodes_of(&state).len() as u64;
    let key = items.keys().nth(777).unwrap();
    let cost = state
        .commit(&writes_of([(key, Some(&vec![1; 96]))]))
        .unwrap()
        .cost;
    assert!(inner_nodes > 150, "{inner_nodes}");
    assert!(
        cost.nodes_touched <= 2 * 16,
        "{cost:?} of {inner_nodes} inner nodes"
    );
    assert!(cost.bytes_hashed <= 3 * BUCKET_BYTES, "{cost:?}");
}

#[test]
fn nodes_outside_the_intact_ranges_are_not_believed() {
    let items: Items = (0..250_u8).map(|i| (vec![i], vec![i; 2_000])).collect();
    let state = state_of(&items);
    let manifest = Manifest::new(Outline::of_state(&state, 65_536).unwrap()).unwrap();
    assert!(manifest.part_count() > 4);
    let second = part_range(&manifest, 1);
    let found = equal_parts(&manifest, &state, std::slice::from_ref(&second)).unwrap();
    assert!(
        found.contains(PartIndex(1)) && !found.contains(PartIndex(3)),
        "{found:?}"
    );
    assert!(equal_parts(&manifest, &state, &[]).unwrap().is_empty());
}

#[test]
fn a_payload_is_read_back_entry_by_entry() {
    let items: Items = (0..9_u8)
        .map(|i| (vec![i + 1; 3], vec![i; i as usize]))
        .collect();
    let payload = payload_of(&state_of(&items), &KeyRange::ALL);
    let read: Items = Entries::new(&payload)
        .map(|e| e.map(|e| (e.key.to_vec(), e.value.to_vec())).unwrap())
        .collect();
    assert_eq!(read, items);
}
