use ketch_trie::{BUCKET_BYTES, Manifest, Outline, Prefix};
use ketch_types::PartIndex;

use super::{built, checked, nodes_of, part_range, payload_of, state_of, writes_of};
use crate::reference::Entries as Items;

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
    let deep = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
        let mut state = state_of(&items);
        let outline = Outline::of_state(&state, BUCKET_BYTES as u32).unwrap();
        let deepest = nodes_of(&state).keys().map(Prefix::bits).max();
        let received =
            checked(state.root(), outline.cut(), &outline.opening(), outline.records(), 1 << 16);
        assert_eq!(received, Ok(outline));
        let manifest = Manifest::new(Outline::of_state(&state, 4 << 20).unwrap()).unwrap();
        for index in 0..manifest.part_count() {
            let payload = payload_of(&state, &part_range(&manifest, index));
            manifest.verify(PartIndex(index), payload).unwrap();
        }
        let key = vec![0xff; 2_047];
        let committed = state.commit(&writes_of([(&key, Some(&vec![2; 9]))])).unwrap();
        let mut changed = items.clone();
        changed.insert(key, vec![2; 9]);
        assert_eq!(committed.top, built(&changed).0);
        (deepest, committed.cost)
    });
    let (deepest, cost) = deep.unwrap().join().unwrap();
    assert!(deepest > Some(18_000), "{deepest:?}");
    assert!(cost.nodes_touched > 30_000 && cost.bytes_hashed > 20_000_000, "{cost:?}");
}

#[test]
fn a_commit_touches_only_the_path_to_what_is_written() {
    let items: Items = (0..20_000_u32)
        .map(|i| (blake3::hash(&i.to_le_bytes()).as_bytes().to_vec(), vec![0; 96]))
        .collect();
    let mut state = state_of(&items);
    let inner_nodes = nodes_of(&state).len() as u64;
    let key = items.keys().nth(777).unwrap();
    let cost = state.commit(&writes_of([(key, Some(&vec![1; 96]))])).unwrap().cost;
    assert!(inner_nodes > 150, "{inner_nodes}");
    assert!(cost.nodes_touched <= 2 * 16, "{cost:?} of {inner_nodes} inner nodes");
    assert!(cost.bytes_hashed <= 3 * BUCKET_BYTES, "{cost:?}");
}
