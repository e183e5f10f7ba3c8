//! Disks that give back other bytes than were written.

use std::fs;
use std::path::PathBuf;

use ketch_store::StoreError;
use tempfile::TempDir;

use super::*;

fn files_in(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_in(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The largest table, which holds entries.
fn table_of_entries(folder: &Path) -> PathBuf {
    let mut files = Vec::new();
    files_in(folder, &mut files);
    files.retain(|path| path.parent().is_some_and(|folder| folder.ends_with("tables")));
    let bytes = |path: &PathBuf| fs::metadata(path).unwrap().len();
    files.into_iter().max_by_key(bytes).unwrap()
}

fn is_damage(error: &StoreError) -> bool {
    let damaged = matches!(error, StoreError::Damaged(_) | StoreError::DamagedPart { .. });
    damaged || matches!(error, StoreError::Database(_))
}

#[test]
fn a_flipped_byte_among_the_entries_is_noticed_and_never_served() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 60));
    let store = open(folder.path());
    target.apply(&store, &(0..target.count())).unwrap();
    target.complete(&store, 0).unwrap();
    drop(store);
    let table = table_of_entries(folder.path());
    let good = fs::read(&table).unwrap();
    assert!(good.len() > 100_000, "{} bytes", good.len());
    for place in (0..24).map(|at| at * (good.len() - 30_000) / 24 + 77) {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        fs::write(&table, bad).unwrap();
        let store = open(folder.path());
        let view = store.epoch(Epoch(0)).unwrap();
        let mut noticed = 0;
        for index in 0..target.count() {
            match view.part(PartIndex(index)) {
                Ok(part) => assert!(part.payload() == target.payload(index), "part {index}"),
                Err(error) => {
                    assert!(is_damage(&error), "{error:?}");
                    noticed += 1;
                }
            }
        }
        assert!((1..=3).contains(&noticed), "{noticed} parts for a flip at {place}");
        drop(view);
        drop(store);
    }
    fs::write(&table, good).unwrap();
    assert_holds(&open(folder.path()), &target.items);
}

#[test]
fn a_chunk_is_not_committed_onto_damaged_entries() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 60));
    let store = open(folder.path());
    target.apply(&store, &(0..target.count())).unwrap();
    target.complete(&store, 0).unwrap();
    // A write into every bucket.
    let writes = writes_of(target.items.keys().map(|key| (key, None)));
    let root = root_after(&store, &writes);
    drop(store);
    let table = table_of_entries(folder.path());
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&table, bytes).unwrap();
    let store = open(folder.path());
    let head = store.head();
    let chunk = Chunk { height: Height(1), writes: &writes, root, next_epoch_cut: None };
    let error = store.commit(chunk).unwrap_err();
    assert!(is_damage(&error), "{error:?}");
    assert_eq!(store.head(), head);
}

#[test]
fn a_damaged_state_that_is_distrusted_is_read_again_and_fetched_where_it_must_be() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("shard");
    let target = Target::new(sample("state", 60));
    let store = open(&database);
    target.apply(&store, &(0..target.count())).unwrap();
    target.complete(&store, 0).unwrap();
    drop(store);
    let table = table_of_entries(&database);
    let mut bytes = fs::read(&table).unwrap();
    bytes[40_077] ^= 4;
    fs::write(&table, bytes).unwrap();

    let store = open(&database);
    assert!(store.reconcile(&target.manifest).unwrap().is_full(), "a head is believed");
    store.distrust().unwrap();
    assert!(store.head().is_none() && store.epochs().is_empty());
    let held = store.reconcile(&target.manifest).unwrap();
    let missing = held.complement().len();
    assert!((1..=2).contains(&missing), "{missing} of {} parts are missing", target.count());

    // The block does not even read, so it cannot be written over either: the state is begun anew.
    assert!(matches!(ShardStore::set_aside(&database), Err(StoreError::Locked)));
    drop(store);
    let aside = ShardStore::set_aside(&database).unwrap().unwrap();
    assert!(aside.is_dir() && !database.exists());
    let store = open(&database);
    target.reach(&store, 0, &mut Dice(5));
    assert_holds(&store, &target.items);
}

#[test]
fn distrust_of_a_sound_state_costs_reading_it_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 60));
    let store = open(folder.path());
    target.reach(&store, 3, &mut Dice(2));
    store.distrust().unwrap();
    assert!(store.held(&target.manifest).is_empty());
    assert!(store.reconcile(&target.manifest).unwrap().is_full());
    target.complete(&store, 3).unwrap();
    assert_holds(&store, &target.items);
}

/// The folders of the store's keyspaces, without the database's own first one.
fn keyspaces_in(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder.join("keyspaces")).unwrap();
    let mut found: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(found.len() >= 4, "{found:?}");
    found.split_off(1)
}

#[test]
fn a_window_that_fails_anywhere_is_not_taken_for_applied() {
    let old = Target::new(sample("state", 60));
    let target = Target::new(varied(&old.items, "new", 1));
    let mut failed = 0;
    // Whichever keyspace cannot write its tables: the entries', the inner nodes', the marks'.
    for keyspace in 0..3 {
        let folder = TempDir::new().unwrap();
        let store = open(folder.path());
        old.reach(&store, 0, &mut Dice(1));
        assert!(store.reconcile(&target.manifest).unwrap().is_empty());
        let tables = keyspaces_in(folder.path())[keyspace].join("tables");
        let away = folder.path().join("away");
        fs::rename(&tables, &away).unwrap();
        let applied = target.apply(&store, &(0..target.count()));
        if applied.is_err() {
            failed += 1;
            assert!(matches!(store.sync(), Err(StoreError::Stopped)), "it goes on writing");
        }
        drop(store);
        fs::rename(&away, &tables).unwrap();
        let store = open(folder.path());
        let mut vouched_for = store.held(&old.manifest);
        vouched_for.subtract(&really_held(&store, &old));
        assert!(vouched_for.is_empty(), "overwritten, and still vouched for: {vouched_for:?}");
        target.reach(&store, 1, &mut Dice(1));
        assert_holds(&store, &target.items);
    }
    assert!(failed >= 2, "{failed} failures");
}
