//! Streams between a serving and a reading side, and what becomes of them under an enemy.

use std::collections::BTreeMap;

use ketch_trie::{Manifest, MemoryState, Outline, PackedPart};
use ketch_types::{PartIndex, PartSet};
use ketch_wire::{
    Budget, End, FrameHeader, FrameKind, OutlineEnd, PartFrame, PartsEnd, outline_frames,
    part_frame_header, wanted_bytes,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::reading::{read_outline, read_outputs, read_parts};
use crate::commitment::{payload_of, state_of};

const CUT: u32 = 16_384;

/// A state of a few dozen parts, half of which lz4 makes shorter.
fn state() -> MemoryState {
    let entries = (0..1_000_u32).map(|number| {
        let key = blake3::hash(&number.to_le_bytes()).as_bytes().to_vec();
        let value = if key[0] < 128 { vec![7; 400] } else { random(number, 400) };
        (key, value)
    });
    state_of(&entries.collect::<BTreeMap<_, _>>())
}

fn random(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&[9; 32]).update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn manifest_of(state: &MemoryState) -> Manifest {
    Manifest::new(Outline::of_state(state, CUT).unwrap()).unwrap()
}

/// What a server that holds `held` answers to a request for `wanted`.
fn serve(
    state: &MemoryState,
    wanted: &PartSet,
    held: &PartSet,
    budget_bytes: u64,
) -> (Vec<u8>, usize) {
    let manifest = manifest_of(state);
    let mut budget = Budget::new(budget_bytes);
    let (mut stream, mut sent) = (Vec::new(), 0);
    for part in wanted.iter().filter(|part| held.contains(*part)) {
        let packed = PackedPart::pack(&payload_of(state, &manifest.part_range(part).unwrap()));
        if !budget.admits(manifest.part(part).unwrap().bytes()) {
            break;
        }
        stream.extend(part_frame_header(part, &packed).unwrap());
        stream.extend(packed.bytes);
        sent += 1;
    }
    stream.extend(PartsEnd::Sent { held: held.clone() }.frame());
    (stream, sent)
}

#[test]
fn parts_come_over_a_stream_as_the_manifest_has_them() {
    let state = state();
    let manifest = manifest_of(&state);
    let count = manifest.part_count();
    assert!(count > 20);
    let wanted = PartSet::full(count);
    let mut held = wanted.clone();
    held.remove(PartIndex(3));
    let (stream, sent) = serve(&state, &wanted, &held, u64::MAX);
    let read = read_parts(wanted.clone(), &wanted_bytes(&manifest, &wanted), &stream);
    let read = read.unwrap().unwrap();
    assert_eq!((read.parts.len(), sent), (held.len() as usize, held.len() as usize));
    assert_eq!(
        (read.missing.iter().collect::<Vec<_>>(), read.end.held()),
        (vec![PartIndex(3)], Some(&held))
    );
    let mut packings = Vec::new();
    for (frame, bytes) in read.parts {
        packings.push(frame.packing);
        let packed = PackedPart { packing: frame.packing, bytes };
        let expected_bytes = manifest.part(frame.index).unwrap().bytes() as usize;
        let payload = packed.unpack(expected_bytes).unwrap();
        assert!(manifest.verify(frame.index, payload).is_ok());
    }
    packings.dedup();
    assert!(packings.len() > 1, "parts of both packings were meant to come");
}

#[test]
fn a_small_budget_brings_one_part_and_a_larger_one_some() {
    let state = state();
    let manifest = manifest_of(&state);
    let all = PartSet::full(manifest.part_count());
    let sizes = wanted_bytes(&manifest, &all);
    let mut last = 0;
    for budget_bytes in [0, 1, 40_000, 100_000, u64::MAX] {
        let (stream, sent) = serve(&state, &all, &all, budget_bytes);
        let read = read_parts(all.clone(), &sizes, &stream).unwrap().unwrap();
        assert_eq!((read.parts.len(), read.missing.len()), (sent, all.len() - sent as u32));
        let payload = |(frame, _): &(PartFrame, _)| manifest.part(frame.index).unwrap().bytes();
        let bytes: u64 = read.parts.iter().map(payload).sum();
        assert!(sent == 1 || bytes <= budget_bytes);
        assert!(sent >= last.max(1));
        last = sent;
    }
    assert_eq!(last, all.len() as usize);
}

#[test]
fn a_part_whose_bytes_do_not_arrive_stays_missing() {
    let mut answer = ketch_wire::PartsAnswer::new(PartSet::full(2), &[10, 10]).unwrap();
    let raw = |answer: &mut ketch_wire::PartsAnswer, index: u32| {
        let header = FrameHeader::new(FrameKind::PartRaw, 14).unwrap().encode();
        let ketch_wire::PartsNext::Part(header) = answer.header(header).unwrap() else { panic!() };
        answer.index(header, index.to_le_bytes()).unwrap();
    };
    raw(&mut answer, 1);
    assert_eq!(answer.missing().len(), 2);
    raw(&mut answer, 0);
    assert_eq!(answer.missing().iter().collect::<Vec<_>>(), [PartIndex(0)]);
}

/// A stream of parts, of some raw and some packed bytes, with the sizes that are expected.
fn parts_stream() -> (PartSet, Vec<u64>, Vec<u8>) {
    let wanted = PartSet::full(5);
    let sizes = vec![30, 20, 7, 41, 9];
    let mut stream = Vec::new();
    for (index, packed) in [(3, 40), (1, 20), (4, 1), (0, 30)] {
        let kind =
            if packed % 10 == 0 && packed < 40 { FrameKind::PartRaw } else { FrameKind::PartLz4 };
        stream.extend(FrameHeader::new(kind, packed + 4).unwrap().encode());
        stream.extend(u32::to_le_bytes(index));
        stream.extend(vec![0xee; packed]);
    }
    stream.extend(PartsEnd::Sent { held: PartSet::full(5) }.frame());
    (wanted, sizes, stream)
}

fn tampered(mut stream: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (place, bits) in changes {
        let at = place.index(stream.len());
        stream[at] ^= bits;
    }
    stream
}

fn flips() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    vec((any::<prop::sample::Index>(), 1..=u8::MAX), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_parts_stream_that_was_tampered_with_brings_only_what_was_asked_for(changes in flips()) {
        let (wanted, sizes, stream) = parts_stream();
        prop_assert!(matches!(read_parts(wanted.clone(), &sizes, &stream), Ok(Some(_))));
        let stream = tampered(stream, &changes);
        if let Ok(Some(read)) = read_parts(wanted, &sizes, &stream) {
            let mut indices: Vec<_> = read.parts.iter().map(|(frame, _)| frame.index).collect();
            indices.sort();
            indices.dedup();
            prop_assert_eq!(indices.len(), read.parts.len());
            for (frame, bytes) in read.parts {
                prop_assert!(bytes.len() as u64 <= sizes[frame.index.0 as usize]);
                prop_assert!(!read.missing.contains(frame.index));
            }
        }
    }

    #[test]
    fn an_outline_stream_that_was_tampered_with_never_brings_another_outline(changes in flips()) {
        let state = state_of(&(0..=255_u8).map(|key| (vec![key], vec![key; 400])).collect());
        let outline = Outline::of_state(&state, CUT).unwrap();
        let mut stream: Vec<u8> = outline_frames(&outline).flatten().collect();
        stream.extend(End { refusal: None }.frame());
        let read = |stream: &[u8]| read_outline(outline.root(), CUT, stream);
        for length in 0..stream.len() {
            prop_assert_eq!(read(&stream[..length]), Ok(None));
        }
        if let Ok(Some(OutlineEnd::Complete(read))) = read(&tampered(stream, &changes)) {
            prop_assert_eq!(read, outline);
        }
    }

    #[test]
    fn arbitrary_frames_are_never_read_past_what_is_expected(
        bytes in vec(prop_oneof![0..7_u8, any::<u8>()], 0..80),
    ) {
        let parts = read_parts(PartSet::full(4), &[3, 0, 1, 70], &bytes);
        prop_assert!(parts.ok().flatten().is_none_or(|read| read.parts.len() <= 4));
        let outputs = read_outputs(&[0, 0, 1, 2], &bytes);
        prop_assert!(outputs.ok().flatten().is_none_or(|read| read.outputs.len() <= 4));
        let root = Outline::of_state(&MemoryState::default(), CUT).unwrap().root();
        let _ = read_outline(root, CUT, &bytes);
    }
}
