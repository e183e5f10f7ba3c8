//! Databases that do not open, and folders that are in use.

use std::fs;
use std::path::PathBuf;

use ketch_store::{OPENINGS_MAX, Opened, StoreError};
use tempfile::TempDir;

use super::child::Process;
use super::*;

fn try_open(folder: &Path) -> Result<Opened, StoreError> {
    ShardStore::open(folder, StoreConfig::default())
}

fn is_locked(opened: &Result<Opened, StoreError>) -> bool {
    matches!(opened, Err(StoreError::Locked))
}

/// Overwrites the files right in a folder, so that what is there is no database any more.
fn ruin(folder: &Path) {
    let entries = fs::read_dir(folder).unwrap();
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    for file in files {
        fs::write(file, noise("garbage", 3_000)).unwrap();
    }
}

/// What lies beside the folder.
fn siblings(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.parent().unwrap()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path != folder).collect()
}

#[test]
fn a_database_that_never_opens_is_moved_aside_and_begun_anew() {
    let room = TempDir::new().unwrap();
    let folder = room.path().join("shard");
    open(&folder).import(sample("state", 20), CUT).unwrap();
    ruin(&folder);
    for attempt in 0..OPENINGS_MAX {
        let refused = try_open(&folder);
        assert!(refused.is_err(), "opened at attempt {attempt}");
        assert!(!is_locked(&refused));
    }
    let opened = try_open(&folder).unwrap();
    let aside = opened.moved_aside.unwrap();
    assert_eq!(siblings(&folder), std::slice::from_ref(&aside), "and no count is left");
    assert!(fs::read_dir(&aside).unwrap().count() > 0, "nothing is deleted");
    assert!(opened.store.head().is_none() && scanned(&opened.store).is_empty());
    let target = Target::new(sample("state", 20));
    target.reach(&opened.store, 1, &mut Dice(1));
    drop(opened.store);
    assert_holds(&open(&folder), &target.items);

    ruin(&folder);
    for _ in 0..OPENINGS_MAX {
        assert!(try_open(&folder).is_err());
    }
    let second = try_open(&folder).unwrap().moved_aside.unwrap();
    assert!(second != aside && aside.exists() && second.exists());
}

#[test]
fn openings_that_succeed_begin_the_count_anew() {
    let room = TempDir::new().unwrap();
    let folder = room.path().join("shard");
    let target = Target::new(sample("state", 20));
    target.reach(&open(&folder), 1, &mut Dice(1));
    let version = folder.join("version");
    let good = fs::read(&version).unwrap();
    for _ in 0..3 {
        fs::write(&version, b"garbage").unwrap();
        for _ in 1..OPENINGS_MAX {
            assert!(try_open(&folder).is_err());
        }
        fs::write(&version, &good).unwrap();
        assert_holds(&open(&folder), &target.items);
        assert!(siblings(&folder).is_empty());
    }
}

#[test]
fn a_folder_that_is_in_use_is_never_counted_out() {
    let room = TempDir::new().unwrap();
    let folder = room.path().join("shard");
    let target = Target::new(sample("state", 20));
    let store = open(&folder);
    for _ in 0..3 * OPENINGS_MAX {
        assert!(is_locked(&try_open(&folder)));
    }
    assert!(siblings(&folder).is_empty());
    target.reach(&store, 1, &mut Dice(1));
    drop(store);
    assert_holds(&open(&folder), &target.items);
}

#[test]
fn a_failure_to_open_is_still_counted_after_the_folder_was_in_use() {
    let room = TempDir::new().unwrap();
    let folder = room.path().join("shard");
    drop(open(&folder));
    let version = folder.join("version");
    let good = fs::read(&version).unwrap();
    fs::write(&version, b"garbage").unwrap();
    assert!(try_open(&folder).is_err());
    fs::write(&version, &good).unwrap();
    let lock = fs::OpenOptions::new().write(true).open(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    for _ in 0..OPENINGS_MAX {
        assert!(is_locked(&try_open(&folder)));
    }
    drop(lock);
    fs::write(&version, b"garbage").unwrap();
    for _ in 1..OPENINGS_MAX {
        assert!(try_open(&folder).is_err());
    }
    assert!(try_open(&folder).unwrap().moved_aside.is_some());
}

#[test]
fn a_folder_that_is_in_use_is_not_moved_aside_whatever_the_count() {
    let room = TempDir::new().unwrap();
    let folder = room.path().join("shard");
    let store = open(&folder);
    // As openings leave it that were killed before they found the folder in use.
    fs::write(room.path().join("shard.opening"), format!("{OPENINGS_MAX}\n")).unwrap();
    assert!(is_locked(&try_open(&folder)), "a database in use was moved aside");
    store.import(sample("state", 20), CUT).unwrap();
    drop(store);
    assert!(folder.exists());
}

#[test]
fn a_second_process_is_locked_out_until_the_first_has_ended() {
    let room = TempDir::new().unwrap();
    let folder = room.path().join("shard");
    let target = Target::new(sample("state", 20));
    target.reach(&open(&folder), 1, &mut Dice(1));
    let mut process = Process::start("hold", &folder);
    assert_eq!(process.hear().as_deref(), Some("open"));
    for _ in 0..2 * OPENINGS_MAX {
        assert!(is_locked(&try_open(&folder)));
    }
    process.kill();
    assert_holds(&open(&folder), &target.items);
}

#[test]
fn a_database_whose_making_was_cut_short_is_made_by_the_next_opening() {
    let room = TempDir::new().unwrap();
    let folder = room.path().join("shard");
    // A file of a new database is larger than this.
    let said = Process::start_limited("fill", &folder, 512).end();
    assert!(said[0].starts_with("not opened: "), "{said:?}");
    let store = try_open(&folder).unwrap().store;
    assert!(store.head().is_none() && scanned(&store).is_empty());
}

#[test]
fn a_folder_may_be_named_with_a_trailing_slash_or_through_a_link() {
    let room = TempDir::new().unwrap();
    let slash = room.path().join("shard/");
    open(&slash).import(sample("state", 9), CUT).unwrap();
    let link = room.path().join("link");
    std::os::unix::fs::symlink(room.path().join("shard"), &link).unwrap();
    assert_eq!(scanned(&open(&link)), sample("state", 9));
    let listed = fs::read_dir(room.path()).unwrap().count();
    assert_eq!(listed, 2, "something was left beside the shard");
}

#[test]
fn a_folder_of_other_files_is_refused_and_stays_where_it_is() {
    let room = TempDir::new().unwrap();
    let folder = room.path().join("shard");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("thesis.txt"), "years of work").unwrap();
    for _ in 0..2 * OPENINGS_MAX {
        assert!(matches!(try_open(&folder), Err(StoreError::File { .. })));
    }
    assert!(folder.join("thesis.txt").is_file());
}
