//! Crashes at any moment, and disks that are full.

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;

use ketch_store::StoreError;
use tempfile::TempDir;

use super::child::{Process, large, targets, writes_at};
use super::*;

/// Lets a child run on for a while that differs from time to time.
fn linger(dice: &mut Dice) {
    for _ in 0..dice.roll(20_000) {
        black_box(blake3::hash(black_box(&[0; 64])));
    }
}

/// Starts a child, and kills it some lines later; all that it said.
fn killed(role: &str, folder: &Path, dice: &mut Dice) -> Vec<String> {
    let mut process = Process::start(role, folder);
    let lines = 1 + dice.roll(40);
    let mut said: Vec<_> = (0..lines).map_while(|_| process.hear()).collect();
    assert_eq!(said.len(), lines, "it ended by itself: {said:?}");
    linger(dice);
    said.extend(process.kill());
    said
}

#[test]
fn a_process_killed_while_it_catches_up_loses_nothing_that_it_reported() {
    let folder = TempDir::new().unwrap();
    let targets = targets();
    let mut dice = Dice(11);
    for round in 0..24 {
        let said = killed("windows", folder.path(), &mut dice);
        let store = open(folder.path());
        if store.head().is_some() {
            for epoch in store.epochs() {
                let view = store.epoch(epoch).unwrap();
                for index in 0..view.manifest().part_count() {
                    view.part(PartIndex(index)).unwrap();
                }
            }
        }
        let turn = said.iter().rposition(|line| line.starts_with("target"));
        let at: usize = said[turn.unwrap()]["target ".len()..].parse().unwrap();
        let in_turn = &said[turn.unwrap() + 1..];
        if !in_turn.iter().any(|line| line == "completed") {
            let held = store.reconcile(&targets[at].manifest).unwrap();
            assert_eq!(held, really_held(&store, &targets[at]), "round {round}");
            for line in in_turn.iter().filter_map(|line| line.strip_prefix("applied ")) {
                let (start, end) = line.split_once(' ').unwrap();
                for part in start.parse::<u32>().unwrap()..end.parse().unwrap() {
                    assert!(held.contains(PartIndex(part)), "round {round}: {part} is lost");
                }
            }
        }
        if round % 3 == 2 {
            continue;
        }
        let target = &targets[dice.roll(targets.len())];
        let expected = really_held(&store, target);
        assert_eq!(store.reconcile(&target.manifest).unwrap(), expected, "round {round}");
        target.reach(&store, 1, &mut dice);
        assert_holds(&store, &target.items);
    }
}

#[test]
fn a_process_killed_between_chunks_is_exactly_at_one_of_them() {
    let folder = TempDir::new().unwrap();
    let mut items = sample("genesis", 60);
    open(folder.path()).import(&items, CUT).unwrap();
    let mut starts = BTreeMap::from([(Epoch(0), items.clone())]);
    let mut height = Height(0);
    let mut dice = Dice(12);
    for round in 0..8 {
        let said = killed("chunks", folder.path(), &mut dice);
        let reported = said.last().unwrap()["height ".len()..].parse().unwrap();
        let store = open(folder.path());
        let head = store.head().unwrap();
        let reached = head.height.0;
        assert!((reported..=reported + 1).contains(&reached), "{reported}, not {reached}");
        while height < head.height {
            height = height.next();
            let (_, ends_epoch) = writes_at(&mut items, height);
            if ends_epoch {
                starts.insert(Epoch(height.0 / 5), items.clone());
            }
        }
        assert_eq!(head.epoch, Epoch(height.0 / 5), "round {round}");
        assert_holds(&store, &items);
        assert!(store.epochs().contains(&head.epoch));
        for epoch in store.epochs() {
            assert_serves(&store, epoch, &starts[&epoch]);
        }
    }
}

/// Copies a folder; of the files that end in `.jnl`, only what was written of them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &copied);
        } else if path.extension().is_some_and(|end| end == "jnl") {
            fs::write(&copied, written(&path)).unwrap();
        } else {
            fs::copy(&path, &copied).unwrap();
        }
    }
}

/// What was written of a journal, without the room that was reserved.
fn written(journal: &Path) -> Vec<u8> {
    let mut bytes = fs::read(journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    bytes.truncate(end);
    bytes
}

fn journal_in(folder: &Path) -> PathBuf {
    let journal = |path: &PathBuf| path.extension().is_some_and(|end| end == "jnl");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut journals: Vec<_> = paths.filter(journal).collect();
    assert_eq!(journals.len(), 1, "{journals:?}");
    journals.remove(0)
}

/// The store in `before` as crashes leave it at moments in the time in which `change` writes, if it
/// writes to the journal alone.
fn torn(
    before: &Path,
    room: &Path,
    moments: usize,
    change: impl FnOnce(&ShardStore),
) -> Vec<PathBuf> {
    let after = room.join("after");
    copy(before, &after);
    let store = open(&after);
    change(&store);
    drop(store);
    let (old, new) = (written(&journal_in(before)), written(&journal_in(&after)));
    assert!(new.starts_with(&old) && new.len() > old.len());
    let tear = |moment| {
        let folder = room.join(format!("torn-{moment}"));
        copy(before, &folder);
        let cut = old.len() + (new.len() - old.len()) * moment / moments;
        fs::write(journal_in(&folder), &new[..cut]).unwrap();
        folder
    };
    (0..=moments).map(tear).collect()
}

#[test]
fn a_crash_while_a_state_is_given_up_leaves_it_or_leaves_none_of_its_epochs() {
    let (before, room) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let old = sample("state", 60);
    let mut items = old.clone();
    let store = open(before.path());
    store.import(&old, CUT).unwrap();
    let mut starts = BTreeMap::from([(Epoch(0), old.clone())]);
    for epoch in 1..4_u16 {
        commit(&store, &change(&mut items, &[Change::PutAt(epoch, vec![3; 2_000])]), true);
        starts.insert(Epoch(u64::from(epoch)), items.clone());
    }
    drop(store);
    let target = Target::new(varied(&items, "new", 5));
    let give_up = |store: &ShardStore| drop(store.reconcile(&target.manifest).unwrap());
    let folders = torn(before.path(), room.path(), 40, give_up);
    let mut left = 0;
    for folder in &folders {
        let store = open(folder);
        assert!(scanned(&store) == items);
        if store.head().is_some() {
            assert_holds(&store, &items);
            for (epoch, start) in &starts {
                assert_serves(&store, *epoch, start);
            }
            left += 1;
        }
        let expected = really_held(&store, &target);
        assert_eq!(store.reconcile(&target.manifest).unwrap(), expected);
        target.reach(&store, 9, &mut Dice(3));
        assert_holds(&store, &target.items);
        assert_eq!(store.epochs(), [Epoch(9)], "after a crash at {}", folder.display());
        assert_serves(&store, Epoch(9), &target.items);
        let kept = store.epoch(Epoch(2));
        assert!(matches!(kept, Err(StoreError::NotRetained(Epoch(2)))));
    }
    assert!(left > 0 && left < folders.len(), "{left} of {} before", folders.len());
}

#[test]
fn a_crash_while_a_chunk_is_written_leaves_all_of_it_or_nothing() {
    let (before, room) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let old = sample("state", 60);
    let store = open(before.path());
    store.import(&old, CUT).unwrap();
    commit(&store, &Writes::default(), false);
    drop(store);
    let mut new = old.clone();
    let changes =
        [Change::PutAt(3, vec![3; 9_000]), Change::DeleteAt(9), Change::Put(vec![4], vec![5])];
    let writes = change(&mut new, &changes);
    let folders = torn(before.path(), room.path(), 30, |store| {
        commit(store, &writes, true);
    });
    let mut done = 0;
    for folder in &folders {
        let store = open(folder);
        let is_done = store.head().unwrap().height == Height(2);
        assert_holds(&store, if is_done { &new } else { &old });
        assert_serves(&store, Epoch(0), &old);
        if is_done {
            done += 1;
        } else {
            assert_eq!(store.epochs(), [Epoch(0)]);
            commit(&store, &writes, true);
            assert_holds(&store, &new);
            assert_serves(&store, Epoch(0), &old);
        }
        assert_serves(&store, Epoch(1), &new);
    }
    assert!(done > 0 && done < folders.len(), "{done} of {}", folders.len());
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing_that_was_reported() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()));
    let said = Process::start_limited("fill", folder.path(), 512).end();
    let applied: Vec<_> = said.iter().filter_map(|line| line.strip_prefix("applied ")).collect();
    assert!(applied.len() > 3, "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("failed: ")), "{said:?}");
    assert_eq!(said.last().unwrap(), "stopped");

    let store = open(folder.path());
    let target = large();
    let held = store.reconcile(&target.manifest).unwrap();
    let (_, end) = applied.last().unwrap().split_once(' ').unwrap();
    for part in 0..end.parse().unwrap() {
        assert!(held.contains(PartIndex(part)), "part {part} is lost");
    }
    assert_eq!(held, really_held(&store, &target));
    target.reach(&store, 1, &mut Dice(1));
    assert_holds(&store, &target.items);
}
