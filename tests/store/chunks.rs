//! Chunks, the epochs' starts that they leave readable, and readers beside the writer.

use std::sync::atomic::{AtomicBool, Ordering};

use ketch_store::StoreError;
use tempfile::TempDir;

use super::*;

/// What happens after a chunk.
#[derive(Clone, Debug)]
enum After {
    Nothing,
    Reopen,
    /// The starts before the current epoch, less some, are dropped.
    Drop(u64),
}

fn after() -> impl Strategy<Value = After> {
    prop_oneof![
        4 => Just(After::Nothing),
        1 => Just(After::Reopen),
        1 => (0_u64..3).prop_map(After::Drop),
    ]
}

fn assert_serves_all(store: &ShardStore, starts: &BTreeMap<Epoch, Items>) {
    let kept: Vec<_> = starts.keys().copied().collect();
    assert_eq!(store.epochs(), kept);
    for (epoch, start) in starts {
        assert_serves(store, *epoch, start);
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn every_kept_start_stays_readable_while_the_head_moves_on(
        genesis in items(),
        steps in vec((changes(10), prop::bool::weighted(0.4), after()), 1..12),
    ) {
        let folder = TempDir::new().unwrap();
        let mut store = open(folder.path());
        store.import(&genesis, CUT).unwrap();
        let mut starts = BTreeMap::from([(Epoch(0), genesis.clone())]);
        let mut items = genesis;
        for (height, (changes, ends_epoch, after)) in (1..).zip(&steps) {
            commit(&store, &change(&mut items, changes), *ends_epoch);
            let head = store.head().unwrap();
            prop_assert_eq!(head.height, Height(height));
            if *ends_epoch {
                prop_assert!(starts.insert(head.epoch, items.clone()).is_none());
            }
            match after {
                After::Nothing => {}
                After::Reopen => {
                    drop(store);
                    store = open(folder.path());
                    prop_assert_eq!(store.head(), Some(head));
                }
                After::Drop(less) => {
                    let first = Epoch(head.epoch.0.saturating_sub(*less));
                    store.drop_epochs_before(first).unwrap();
                    starts = starts.split_off(&first);
                }
            }
            assert_holds(&store, &items);
            assert_serves_all(&store, &starts);
        }
        drop(store);
        let store = open(folder.path());
        assert_holds(&store, &items);
        assert_serves_all(&store, &starts);
    }
}

/// A store after a few chunks over two epochs, its entries, and the starts that it keeps.
fn after_two_epochs(folder: &Path) -> (ShardStore, Items, BTreeMap<Epoch, Items>) {
    let mut items = sample("genesis", 40);
    let store = open(folder);
    store.import(&items, CUT).unwrap();
    let mut starts = BTreeMap::from([(Epoch(0), items.clone())]);
    for height in 1..5_u16 {
        let changes = [Change::PutAt(height, vec![1; 3_000]), Change::DeleteAt(2 * height)];
        commit(&store, &change(&mut items, &changes), height % 2 == 0);
        if height % 2 == 0 {
            starts.insert(store.head().unwrap().epoch, items.clone());
        }
    }
    (store, items, starts)
}

#[test]
fn a_chunk_under_another_root_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let (mut store, items, starts) = after_two_epochs(folder.path());
    let head = store.head().unwrap();
    let mut after = items.clone();
    let changes =
        [Change::PutAt(3, vec![8; 20_000]), Change::Put(vec![1, 2], vec![3]), Change::DeleteAt(5)];
    let writes = change(&mut after, &changes);
    for next_epoch_cut in [None, Some(CUT)] {
        for root in [StateRoot::new([7; 32]), head.root()] {
            let chunk = Chunk { height: head.height.next(), writes: &writes, root, next_epoch_cut };
            match store.commit(chunk).unwrap_err() {
                StoreError::RootMismatch { height, expected, got } => {
                    assert_eq!((height, expected), (head.height.next(), root));
                    assert_eq!(*got.as_bytes(), Model::new(&after).root());
                }
                error => panic!("{error}"),
            }
            assert_eq!(store.head(), Some(head));
            assert_holds(&store, &items);
            assert_serves_all(&store, &starts);
        }
        drop(store);
        store = open(folder.path());
        assert_eq!(store.head(), Some(head));
        assert_holds(&store, &items);
    }
    // Had a refused chunk left a history, the true one would be taken for a second write.
    commit(&store, &writes, false);
    assert_holds(&store, &after);
    assert_serves_all(&store, &starts);
}

#[test]
fn a_chunk_that_does_not_follow_the_head_is_refused() {
    let folder = TempDir::new().unwrap();
    let (store, items, starts) = after_two_epochs(folder.path());
    let head = store.head().unwrap();
    let writes = writes_of([(&vec![1, 2], Some(&vec![3]))]);
    let root = root_after(&store, &writes);
    for height in [0, head.height.0 - 1, head.height.0, head.height.0 + 2, u64::MAX] {
        let height = Height(height);
        let chunk = Chunk { height, writes: &writes, root, next_epoch_cut: None };
        let refused = store.commit(chunk).unwrap_err();
        let gap = matches!(refused, StoreError::HeightGap { head: h, got } if h == head.height && got == height);
        assert!(gap, "{refused}");
    }
    assert_eq!(store.head(), Some(head));
    assert_holds(&store, &items);
    assert_serves_all(&store, &starts);
}

#[test]
fn a_chunk_without_a_complete_state_is_refused() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 20));
    let store = open(folder.path());
    let refused = |store: &ShardStore| {
        let writes = Writes::default();
        let root = target.manifest.root();
        let chunk = Chunk { height: Height(1), writes: &writes, root, next_epoch_cut: None };
        matches!(store.commit(chunk), Err(StoreError::NoState))
    };
    assert!(refused(&store), "empty");
    target.apply(&store, &(0..target.count())).unwrap();
    assert!(refused(&store), "all parts, but not completed");
    assert!(scanned(&store) == target.items && store.head().is_none());
}

#[test]
fn a_chunk_without_writes_moves_the_head_alone() {
    let folder = TempDir::new().unwrap();
    let (store, items, mut starts) = after_two_epochs(folder.path());
    let before = store.head().unwrap();
    commit(&store, &Writes::default(), false);
    let head = store.head().unwrap();
    assert_eq!((head.height, head.root()), (before.height.next(), before.root()));
    assert_eq!(head.epoch, before.epoch);
    commit(&store, &Writes::default(), true);
    starts.insert(before.epoch.next(), items.clone());
    assert_eq!(store.head().unwrap().epoch, before.epoch.next());
    drop(store);
    let store = open(folder.path());
    assert_holds(&store, &items);
    assert_serves_all(&store, &starts);
}

#[test]
fn chunks_may_empty_the_state_and_fill_it_again() {
    let folder = TempDir::new().unwrap();
    let items = sample("genesis", 30);
    let store = open(folder.path());
    store.import(&items, CUT).unwrap();
    commit(&store, &writes_of(items.keys().map(|key| (key, None))), true);
    assert_holds(&store, &Items::new());
    let other = sample("other", 30);
    commit(&store, &writes_of(other.iter().map(|(key, value)| (key, Some(value)))), true);
    assert_holds(&store, &other);
    let starts = [items, Items::new(), other];
    assert_serves_all(&store, &(0..).map(Epoch).zip(starts).collect());
}

#[test]
fn starts_that_are_dropped_or_not_yet_there_are_not_retained() {
    let folder = TempDir::new().unwrap();
    let (store, _, mut starts) = after_two_epochs(folder.path());
    store.drop_epochs_before(Epoch(1)).unwrap();
    starts.remove(&Epoch(0));
    assert_serves_all(&store, &starts);
    for epoch in [0, 3, 99].map(Epoch) {
        let gone = |error| matches!(error, StoreError::NotRetained(e) if e == epoch);
        assert!(store.manifest(epoch).is_err_and(gone));
        assert!(store.epoch(epoch).is_err_and(gone));
    }
    drop(store);
    assert_serves_all(&open(folder.path()), &starts);
}

#[test]
fn a_start_that_somebody_reads_is_readable_after_it_was_dropped() {
    let folder = TempDir::new().unwrap();
    let (store, mut items, starts) = after_two_epochs(folder.path());
    let view = store.epoch(Epoch(0)).unwrap();
    store.drop_epochs_before(Epoch(2)).unwrap();
    for round in 0..4 {
        commit(&store, &change(&mut items, &[Change::PutAt(round, vec![6; 900])]), round == 1);
    }
    let target = Target::new(starts[&Epoch(0)].clone());
    assert_eq!(view.manifest().root(), target.manifest.root());
    for index in 0..target.count() {
        assert!(view.part(PartIndex(index)).unwrap().payload() == target.payload(index));
    }
}

#[test]
fn a_history_dropped_in_its_own_epoch_is_begun_anew() {
    let folder = TempDir::new().unwrap();
    let (mut store, mut items, _) = after_two_epochs(folder.path());
    commit(&store, &change(&mut items, &[Change::PutAt(3, vec![1; 99])]), false);
    store.drop_epochs_before(Epoch(9)).unwrap();
    assert!(store.epochs().is_empty());
    let mut starts = BTreeMap::new();
    for round in 0..4_u8 {
        let changes = [Change::PutAt(3, vec![round; 99]), Change::DeleteAt(5)];
        commit(&store, &change(&mut items, &changes), round % 2 == 0);
        if round % 2 == 0 {
            starts.insert(store.head().unwrap().epoch, items.clone());
        }
        drop(store);
        store = open(folder.path());
        assert_holds(&store, &items);
        assert_serves_all(&store, &starts);
    }
}

#[test]
fn an_epoch_that_is_counted_again_after_the_state_was_given_up_has_its_own_history() {
    let folder = TempDir::new().unwrap();
    let (mut store, mut items, _) = after_two_epochs(folder.path());
    commit(
        &store,
        &change(&mut items, &[Change::PutAt(3, vec![1; 99]), Change::DeleteAt(7)]),
        false,
    );
    // The same epochs as before, of another history of the chain.
    let target = Target::new(varied(&sample("genesis", 40), "other", 2));
    target.reach(&store, 1, &mut Dice(1));
    let mut items = target.items.clone();
    let mut starts = BTreeMap::from([(Epoch(1), items.clone())]);
    for height in 0..6_u16 {
        let changes = [Change::PutAt(3, vec![4; 77]), Change::DeleteAt(7 + height)];
        commit(&store, &change(&mut items, &changes), height % 3 == 2);
        if height % 3 == 2 {
            starts.insert(store.head().unwrap().epoch, items.clone());
        }
        assert_serves_all(&store, &starts);
        drop(store);
        store = open(folder.path());
        assert_holds(&store, &items);
        assert_serves_all(&store, &starts);
    }
}

#[test]
fn a_start_is_read_by_many_while_the_head_moves_on() {
    let folder = TempDir::new().unwrap();
    let mut items = sample("genesis", 80);
    let store = open(folder.path());
    store.import(&items, CUT).unwrap();
    let start = Target::new(items.clone());
    let done = AtomicBool::new(false);
    let read = |from: u32| {
        let mut parts = 0;
        while !done.load(Ordering::Acquire) || parts < start.count() {
            let index = (from + parts) % start.count();
            let part = store.epoch(Epoch(0)).unwrap().part(PartIndex(index));
            assert!(part.unwrap().payload() == start.payload(index), "part {index}");
            parts += 1;
        }
        parts
    };
    let parts: u32 = std::thread::scope(|scope| {
        let readers = [0, 7].map(|from| scope.spawn(move || read(from)));
        for round in 0..150_u16 {
            let changes = [
                Change::PutAt(round * 7, vec![round as u8; 2_000]),
                Change::DeleteAt(round * 13),
                Change::Put(noise(&format!("new {round}"), 3), vec![2; 4_000]),
            ];
            commit(&store, &change(&mut items, &changes), round % 40 == 39);
        }
        done.store(true, Ordering::Release);
        readers.map(|reader| reader.join().unwrap()).iter().sum()
    });
    assert!(parts > 2 * start.count(), "only {parts} parts were read");
    assert_holds(&store, &items);
}
