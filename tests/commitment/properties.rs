use std::collections::BTreeMap;

use ketch_trie::{Manifest, MemoryState, Outline, OutlineFault, StateReader, equal_parts};
use ketch_types::{KeyRange, PartIndex, PartSet};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::{
    assert_agrees, built, checked, entries_of, nodes_of, part_range, payload_of, state_of,
    writes_of,
};
use crate::reference::{Entries as Items, Model};

/// Keys that share long prefixes, are prefixes of one another, and end at every kind of bit.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0_u8), Just(1), Just(0x40), Just(0x80), Just(0xff), any::<u8>()];
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

pub(super) fn items() -> impl Strategy<Value = Items> {
    btree_map(key(), value(), 0..60)
}

pub(super) fn changes() -> impl Strategy<Value = BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
    btree_map(key(), proptest::option::weighted(0.6, value()), 0..40)
}

/// Deletes of keys that are there, which random keys seldom are.
pub(super) fn some_deletes(items: &Items, every: usize) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    items.keys().step_by(every.max(1)).map(|key| (key.clone(), None)).collect()
}

const CUTS: [u32; 4] = [1_000, 16_384, 40_000, 65_536];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

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

#[test]
fn nodes_outside_the_intact_ranges_are_not_believed() {
    let items: Items = (0..250_u8).map(|i| (vec![i], vec![i; 2_000])).collect();
    let state = state_of(&items);
    let manifest = Manifest::new(Outline::of_state(&state, 65_536).unwrap()).unwrap();
    assert!(manifest.part_count() > 4);
    let second = part_range(&manifest, 1);
    let found = equal_parts(&manifest, &state, std::slice::from_ref(&second)).unwrap();
    assert!(found.contains(PartIndex(1)) && !found.contains(PartIndex(3)), "{found:?}");
    assert!(equal_parts(&manifest, &state, &[]).unwrap().is_empty());
}
