use ketch_trie::{
    BuildError, Commit, Entries, EntryError, Manifest, MemoryState, Outline, OutlineChecker,
    OutlineFault, PartFault, StateBuilder, StateReader, state_root,
};
use ketch_types::{KeyRange, PartIndex};

use super::{checked, part_range, payload_of, state_of};
use crate::reference::Entries as Items;

/// Under a hash that fits: what the counts, the order and the limits of a payload must say by
/// themselves is made the content of a bucket whose hash a dishonest root names.
fn manifest_of_payload(payload: &[u8], entries: u64) -> Manifest {
    let key = *blake3::hash(b"ketch.v1.bucket").as_bytes();
    let hash = *blake3::keyed_hash(&key, payload).as_bytes();
    let top =
        Commit { hash: ketch_types::NodeHash::new(hash), entries, bytes: payload.len() as u64 };
    let checker = OutlineChecker::new(&state_root(Some(&top)), 65_536, &top.encode()).unwrap();
    Manifest::new(checker.finish().unwrap()).unwrap()
}

fn raw_entry(key: &[u8], value: &[u8]) -> Vec<u8> {
    let lengths = [&(key.len() as u16).to_le_bytes()[..], &(value.len() as u32).to_le_bytes()];
    [&lengths.concat(), key, value].concat()
}

#[test]
fn entries_that_break_the_rules_are_refused_even_under_a_matching_hash() {
    let (a, b) = (raw_entry(b"a", b"1"), raw_entry(b"b", b"2"));
    let long = raw_entry(&[b'k'; 2_049], b"");
    let cases: [(&str, Vec<u8>, u64, PartFault); 7] = [
        ("unsorted", [&b[..], &a].concat(), 2, PartFault::Order),
        ("duplicate", [&a[..], &a].concat(), 2, PartFault::Order),
        ("empty key", raw_entry(b"", b"1"), 1, PartFault::Entry(EntryError::EmptyKey)),
        ("long key", long, 1, PartFault::Entry(EntryError::KeyTooLong(2_049))),
        ("too few", a.clone(), 2, PartFault::Count(2)),
        ("too many", [&a[..], &b].concat(), 1, PartFault::Count(1)),
        ("cut", a[..a.len() - 1].to_vec(), 1, PartFault::Entry(EntryError::Truncated)),
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
    let fault =
        manifest_of_payload(&payload, 1).verify(PartIndex(0), payload.to_vec()).unwrap_err();
    assert_eq!(fault, PartFault::Entry(EntryError::ValueTooLong(u32::MAX as usize)));
}

#[test]
fn a_part_in_the_place_of_another_is_refused() {
    let items: Items = (0..60_u8).map(|i| (vec![i * 4, 1], vec![i; 3_000])).collect();
    let state = state_of(&items);
    let manifest = Manifest::new(Outline::of_state(&state, 65_536).unwrap()).unwrap();
    assert!(manifest.part_count() >= 3);
    let payload = |index| payload_of(&state, &part_range(&manifest, index));
    for wrong in 1..manifest.part_count() {
        assert!(manifest.verify(PartIndex(0), payload(wrong)).is_err());
    }
    let beyond = PartIndex(manifest.part_count());
    assert_eq!(manifest.verify(beyond, payload(0)), Err(PartFault::Index(beyond)));
    let longer = [payload(0), raw_entry(b"x", b"")].concat();
    assert!(matches!(manifest.verify(PartIndex(0), longer), Err(PartFault::Bytes { .. })));
    // The same nodes under the same hashes, but one part's keys are another's.
    let fault = manifest.verify(PartIndex(1), payload(0)).unwrap_err();
    assert!(matches!(fault, PartFault::Range | PartFault::Bytes { .. }), "{fault}");
}

#[test]
fn an_opening_without_entries_is_refused_unless_the_state_is_empty() {
    let empty = MemoryState::default();
    assert!(checked(empty.root(), 65_536, &[0; 48], &[], 1).is_ok());
    assert_eq!(checked(empty.root(), 65_536, &[0; 48], &[0], 1), Err(OutlineFault::Trailing));
    let bare = Commit { hash: ketch_types::NodeHash::new([1; 32]), entries: 0, bytes: 9 };
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
    let child =
        |(entries, bytes)| Commit { hash: ketch_types::NodeHash::new([3; 32]), entries, bytes };
    let left = child(left);
    let right = child((total.0.wrapping_sub(left.entries), total.1.wrapping_sub(left.bytes)));
    let key = *blake3::hash(b"ketch.v1.inner").as_bytes();
    let body = [&bits.to_le_bytes()[..], prefix, &left.encode(), &right.encode()].concat();
    let hash = ketch_types::NodeHash::new(*blake3::keyed_hash(&key, &body).as_bytes());
    let top = Commit { hash, entries: total.0, bytes: total.1 };
    let record = [&bits.to_le_bytes()[..], prefix, &left.encode(), right.hash.as_bytes()].concat();
    checked(state_root(Some(&top)), 1 << 20, &top.encode(), &record, 9)
}

#[test]
fn records_that_break_the_rules_are_refused_even_under_a_matching_hash() {
    let mib = 1 << 20;
    let fine = record_under_matching_hash(1, &[0x80], (1, mib), (2, 2 * mib));
    assert!(fine.is_ok(), "{fine:?}");
    for (name, bits, prefix, left, total, fault) in [
        ("marker bit zero", 1, vec![0], (1, mib), (2, 2 * mib), OutlineFault::Prefix),
        (
            "more bits than any key has",
            18_433,
            vec![0x80; 2_305],
            (1, mib),
            (2, 2 * mib),
            OutlineFault::Prefix,
        ),
        ("padding set", 1, vec![0x81], (1, mib), (2, 2 * mib), OutlineFault::Prefix),
        ("second marker zero", 10, vec![0x80, 0], (1, mib), (2, 2 * mib), OutlineFault::Prefix),
        ("no entry on the left", 1, vec![0x80], (0, mib), (2, 2 * mib), OutlineFault::Counts),
        ("no entry on the right", 1, vec![0x80], (2, mib), (2, 2 * mib), OutlineFault::Counts),
        ("six bytes on the left", 1, vec![0x80], (1, 6), (2, 2 * mib), OutlineFault::Counts),
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
    assert_eq!(builder.push(b"", b"2"), Err(BuildError::Entry(EntryError::EmptyKey)));
    builder.push(b"c", b"2").unwrap();
    let items = [(b"b".to_vec(), b"1".to_vec()), (b"c".to_vec(), b"2".to_vec())].into();
    assert_eq!(builder.finish(), state_of(&items).top());
}

#[test]
fn a_payload_is_read_back_entry_by_entry() {
    let items: Items = (0..9_u8).map(|i| (vec![i + 1; 3], vec![i; i as usize])).collect();
    let payload = payload_of(&state_of(&items), &KeyRange::ALL);
    let read: Items = Entries::new(&payload)
        .map(|e| e.map(|e| (e.key.to_vec(), e.value.to_vec())).unwrap())
        .collect();
    assert_eq!(read, items);
}
