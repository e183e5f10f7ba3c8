//! Windows of parts, and the import of a genesis state.

use ketch_store::StoreError;
use ketch_trie::BuildError;
use tempfile::TempDir;

use super::*;

/// Keys that stand before, between and after all keys of `items`.
fn stale_around(items: &Items) -> Items {
    let beside = |key: &Vec<u8>| [key.as_slice(), &[0]].concat();
    let keys = items.keys().step_by(2).map(beside);
    let ends = [vec![0], vec![0, 0], vec![0xff; 9]];
    keys.chain(ends).map(|key| (key, vec![5; 3_000])).collect()
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn windows_in_any_order_make_exactly_the_state_of_an_empty_store(
        items in items(), seed in any::<u64>(),
    ) {
        let folder = TempDir::new().unwrap();
        let target = Target::new(items);
        let store = open(folder.path());
        for window in Dice(seed).windows(&PartSet::full(target.count())) {
            target.apply(&store, &window).unwrap();
            prop_assert!(store.head().is_none() && store.epochs().is_empty());
        }
        target.complete(&store, 3).unwrap();
        assert_holds(&store, &target.items);
        drop(store);
        let store = open(folder.path());
        assert_holds(&store, &target.items);
        assert_serves(&store, Epoch(3), &target.items);
        prop_assert_eq!(store.head().unwrap().height, Height(300));
        prop_assert_eq!(store.epochs(), [Epoch(3)]);
    }

    #[test]
    fn windows_in_any_order_leave_no_stale_key_of_an_old_state(
        items in items(), old_values in changes(12), seed in any::<u64>(),
    ) {
        let folder = TempDir::new().unwrap();
        let mut old = items.clone();
        old.extend(stale_around(&items));
        change(&mut old, &old_values);
        let target = Target::new(items);
        let store = open(folder.path());
        store.import(&old, CUT).unwrap();
        store.reconcile(&target.manifest).unwrap();
        // All parts, those that are held already too: applying one again is harmless.
        for window in Dice(seed).windows(&PartSet::full(target.count())) {
            target.apply(&store, &window).unwrap();
        }
        target.complete(&store, 3).unwrap();
        assert_holds(&store, &target.items);
        drop(store);
        let store = open(folder.path());
        assert_holds(&store, &target.items);
        assert_serves(&store, Epoch(3), &target.items);
        let kept = store.manifest(Epoch(0));
        prop_assert!(matches!(kept, Err(StoreError::NotRetained(Epoch(0)))));
    }
}

#[test]
fn the_empty_state_leaves_no_key_at_all() {
    let folder = TempDir::new().unwrap();
    let empty = Target::new(Items::new());
    let store = open(folder.path());
    store.import(sample("old", 60), CUT).unwrap();
    assert!(store.reconcile(&empty.manifest).unwrap().is_full());
    empty.complete(&store, 4).unwrap();
    assert_holds(&store, &Items::new());
    drop(store);
    let store = open(folder.path());
    assert_holds(&store, &Items::new());
    assert_serves(&store, Epoch(4), &Items::new());
}

#[test]
fn a_state_that_is_complete_may_be_completed_again() {
    for items in [sample("state", 20), Items::new()] {
        let folder = TempDir::new().unwrap();
        let target = Target::new(items);
        let store = open(folder.path());
        target.reach(&store, 4, &mut Dice(1));
        assert!(store.reconcile(&target.manifest).unwrap().is_full());
        let again = target.complete(&store, 4);
        assert!(again.is_ok(), "{} entries: {again:?}", target.items.len());
        assert_holds(&store, &target.items);
    }
}

#[test]
fn a_state_without_all_its_parts_is_not_completed() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 60));
    let store = open(folder.path());
    target.apply(&store, &(2..4)).unwrap();
    let missing = target.count() - 2;
    let refused = target.complete(&store, 1).unwrap_err();
    assert!(matches!(refused, StoreError::Incomplete { missing: m } if m == missing));
    assert!(matches!(store.view(), Err(StoreError::NoState)));
    assert!(store.head().is_none() && store.epochs().is_empty());
}

#[test]
fn a_window_of_the_wrong_parts_is_refused_and_changes_no_entry() {
    let folder = TempDir::new().unwrap();
    let old = sample("state", 60);
    let target = Target::new(varied(&old, "new", 4));
    let other = Target::new(varied(&old, "other", 4));
    let count = target.count();
    assert!(count > 6 && other.count() > 3);
    let store = open(folder.path());
    store.import(&old, CUT).unwrap();
    let held = store.reconcile(&target.manifest).unwrap();

    let parts = |indices: &[u32]| -> Vec<_> { indices.iter().map(|i| target.part(*i)).collect() };
    let with_other = vec![target.part(1), other.part(2), target.part(3)];
    let refused = [
        ("another root", 1..4, with_other),
        ("swapped", 1..3, parts(&[2, 1])),
        ("twice", 1..3, parts(&[1, 1])),
        ("skipped", 1..4, parts(&[1, 3])),
        ("surplus", 1..3, parts(&[1, 2, 3])),
        ("past the end", count - 1..count + 1, parts(&[count - 1])),
        ("missing at the end", 1..4, parts(&[1, 2])),
        ("missing altogether", 1..4, Vec::new()),
    ];
    for (name, window, parts) in refused {
        let error = store.apply(&target.manifest, indices(&window), parts).unwrap_err();
        let missing = name == "past the end" || name.starts_with("missing");
        match error {
            StoreError::MissingPart(_) => assert!(missing, "{name}"),
            StoreError::OtherPart { .. } => assert!(!missing, "{name}"),
            error => panic!("{name}: {error}"),
        }
        assert!(scanned(&store) == old, "{name}: entries changed");
        assert_eq!(store.held(&target.manifest), held, "{name}: what was held is no longer");
    }
    target.reach(&store, 1, &mut Dice(3));
    assert_holds(&store, &target.items);
}

#[test]
fn a_part_of_the_same_root_at_another_cut_is_refused() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 200));
    let coarse = Outline::of_state(&state_of(&target.items), 4 * CUT).unwrap();
    let coarse = Manifest::new(coarse).unwrap();
    let store = open(folder.path());
    for index in 1..coarse.part_count() {
        let payload = payload_in(&target.items, &coarse.part_range(PartIndex(index)).unwrap());
        let part = coarse.verify(PartIndex(index), payload).unwrap();
        let refused = store.apply(&target.manifest, indices(&(index..index + 1)), [part]);
        assert!(matches!(refused, Err(StoreError::OtherPart { .. })), "part {index}");
    }
    assert!(scanned(&store).is_empty() && store.held(&target.manifest).is_empty());
}

#[test]
fn completing_once_more_gives_up_the_starts_of_all_other_epochs() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 20));
    let store = open(folder.path());
    target.reach(&store, 4, &mut Dice(1));
    commit(&store, &Writes::default(), true);
    assert_eq!(store.epochs(), [Epoch(4), Epoch(5)]);
    for epoch in [6, 4] {
        target.complete(&store, epoch).unwrap();
        assert_eq!(store.epochs(), [Epoch(epoch)]);
        assert_holds(&store, &target.items);
        assert_serves(&store, Epoch(epoch), &target.items);
    }
}

#[test]
fn a_window_without_parts_does_nothing() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 30));
    let store = open(folder.path());
    let past = target.count()..target.count() + 3;
    for window in [2..2, past] {
        store.apply(&target.manifest, indices(&window), Vec::new()).unwrap();
    }
    assert!(scanned(&store).is_empty() && store.held(&target.manifest).is_empty());
}

#[test]
fn windows_never_overwrite_a_complete_state() {
    let folder = TempDir::new().unwrap();
    let items = sample("state", 30);
    let target = Target::new(varied(&items, "new", 2));
    let store = open(folder.path());
    store.import(&items, CUT).unwrap();
    let refused = target.apply(&store, &(0..1)).unwrap_err();
    assert!(matches!(refused, StoreError::NotEmpty), "{refused}");
    assert_holds(&store, &items);
}

#[test]
fn disjoint_windows_may_be_applied_at_once() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 150));
    let store = open(folder.path());
    store.import(stale_around(&target.items), CUT).unwrap();
    store.reconcile(&target.manifest).unwrap();
    let windows = Dice(5).windows(&PartSet::full(target.count()));
    std::thread::scope(|scope| {
        for lane in 0..3 {
            let (store, target, windows) = (&store, &target, &windows);
            scope.spawn(move || {
                for window in windows.iter().skip(lane).step_by(3) {
                    target.apply(store, window).unwrap();
                }
            });
        }
    });
    target.complete(&store, 1).unwrap();
    assert_holds(&store, &target.items);
}

#[test]
fn an_imported_state_is_the_start_of_epoch_zero() {
    let folder = TempDir::new().unwrap();
    let items = sample("genesis", 60);
    let store = open(folder.path());
    let head = store.import(&items, CUT).unwrap();
    assert_eq!((head.epoch, head.height), (Epoch(0), Height(0)));
    drop(store);
    let store = open(folder.path());
    assert_holds(&store, &items);
    assert_serves(&store, Epoch(0), &items);
    let again = store.import(&items, CUT).unwrap_err();
    assert!(matches!(again, StoreError::NotEmpty));
}

#[test]
fn an_import_out_of_order_leaves_an_empty_store() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let entries = [(b"a", b"1"), (b"c", b"2"), (b"b", b"3")];
    let refused = store.import(entries, CUT).unwrap_err();
    let at_two = matches!(refused, StoreError::Import { at: 2, error: BuildError::Order });
    assert!(at_two, "{refused}");
    assert!(store.head().is_none() && scanned(&store).is_empty());
    store.import(sample("genesis", 20), CUT).unwrap();
    assert_holds(&store, &sample("genesis", 20));
}

#[test]
fn what_an_import_that_failed_late_has_written_does_no_harm_to_the_next_one() {
    let folder = TempDir::new().unwrap();
    // Each two of these are more than a bucket, so there are about as many inner nodes as entries,
    // more than are gathered before the first are written.
    let entry = |at: u32| (at.to_be_bytes().to_vec(), vec![1_u8; 8_200]);
    let out_of_order = (1..4_500).chain([0]).map(entry);
    let store = open(folder.path());
    let refused = store.import(out_of_order, CUT).unwrap_err();
    assert!(matches!(refused, StoreError::Import { at: 4_499, .. }));
    assert!(store.head().is_none() && scanned(&store).is_empty());
    let items = sample("genesis", 60);
    store.import(&items, CUT).unwrap();
    assert_holds(&store, &items);
}

#[test]
fn windows_over_the_same_keys_never_mix() {
    let folder = TempDir::new().unwrap();
    let first = Target::new(sample("state", 60));
    let second = Target::new(varied(&first.items, "second", 2));
    let store = open(folder.path());
    for _ in 0..10 {
        let applied = std::thread::scope(|scope| {
            let both = [&first, &second].map(|target| {
                let store = &store;
                scope.spawn(move || target.apply(store, &(0..target.count())))
            });
            both.map(|thread| thread.join().unwrap())
        });
        for refused in applied.iter().filter_map(|applied| applied.as_ref().err()) {
            assert!(matches!(refused, StoreError::WindowBusy), "{refused}");
        }
        for target in [&first, &second] {
            let mut marked = store.held(&target.manifest);
            marked.subtract(&really_held(&store, target));
            assert!(marked.is_empty(), "marked but not there: {marked:?}");
        }
    }
}

#[test]
fn an_import_that_failed_over_a_given_up_empty_state_leaves_nothing_to_be_believed() {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    store.import(Items::new(), CUT).unwrap();
    let target = Target::new(sample("state", 6_000));
    store.reconcile(&target.manifest).unwrap();
    let late = target.items.iter().chain(target.items.iter().take(1));
    assert!(matches!(store.import(late, CUT), Err(StoreError::Import { .. })));
    assert!(store.reconcile(&target.manifest).unwrap().is_empty());
}
