use ketch_trie::{Outline, OutlineFault, StateReader};
use ketch_types::{KeyRange, StateRoot};

use super::{assert_agrees, built, checked, entries_of, nodes_of, payload_of, state_of, writes_of};
use crate::reference::{Model, Refusal, vectors};

#[test]
fn every_state_of_the_vectors_has_its_root_outline_and_parts() {
    for case in vectors().states {
        let state = state_of(&case.entries);
        let model = Model::new(&case.entries);
        let payload = payload_of(&state, &KeyRange::ALL);
        assert_eq!(*blake3::hash(&payload).as_bytes(), case.payload_digest, "{}", case.name);
        assert_eq!(built(&case.entries), (state.top(), nodes_of(&state)), "{}", case.name);
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
        assert_eq!(built(&entries_of(&state)), (state.top(), nodes_of(&state)), "{}", case.name);
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
