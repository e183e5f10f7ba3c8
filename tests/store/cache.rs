//! The cache of packed parts.

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use ketch_store::PartCache;
use ketch_types::PartHash;
use tempfile::TempDir;

use super::*;

const PLENTY: u64 = 1 << 30;

fn parts_of(name: &str) -> Vec<VerifiedPart> {
    let target = Target::new(sample(name, 60));
    target.parts(&(0..target.count()))
}

/// The file that holds a part.
fn file_of(folder: &Path, hash: PartHash) -> PathBuf {
    let name = hash.to_string();
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files = folders.map(|folder| folder.join(&name)).filter(|file| file.exists());
    files.next().unwrap()
}

fn read(cache: &PartCache, part: &VerifiedPart) -> Option<Vec<u8>> {
    let packed = cache.read(part.hash()).unwrap()?;
    Some(packed.unpack(part.payload().len()).unwrap())
}

fn holds(cache: &PartCache, part: &VerifiedPart) -> bool {
    let held = read(cache, part);
    assert!(held.as_deref().is_none_or(|held| held == part.payload()));
    held.is_some()
}

#[test]
fn parts_are_read_back_as_they_were_also_after_reopening() {
    let folder = TempDir::new().unwrap();
    let cache = PartCache::open(folder.path(), PLENTY).unwrap();
    assert!(cache.is_empty() && cache.bytes() == 0);
    let soft = Target::new((0..60_u8).map(|at| (vec![at], vec![at; 3_000])).collect());
    let mut parts = parts_of("noise");
    // Some that shrink when they are packed, too.
    parts.extend(soft.parts(&(0..soft.count())));
    for part in &parts {
        assert!(!cache.touch(part.hash(), Epoch(1)) && !holds(&cache, part));
        let packed = cache.insert(part, Epoch(1)).unwrap();
        assert_eq!(cache.read(part.hash()).unwrap(), Some(packed));
        assert!(cache.touch(part.hash(), Epoch(1)) && holds(&cache, part));
    }
    let (len, bytes) = (cache.len(), cache.bytes());
    assert_eq!(len, parts.len());
    let files = parts.iter().map(|part| file_of(folder.path(), part.hash()));
    assert_eq!(bytes, files.map(|file| fs::metadata(file).unwrap().len()).sum::<u64>());
    drop(cache);
    let cache = PartCache::open(folder.path(), PLENTY).unwrap();
    assert_eq!((cache.len(), cache.bytes()), (len, bytes));
    assert!(parts.iter().all(|part| holds(&cache, part)));
}

#[test]
fn a_part_that_was_removed_is_gone() {
    let folder = TempDir::new().unwrap();
    let cache = PartCache::open(folder.path(), PLENTY).unwrap();
    let parts = parts_of("parts");
    for part in &parts[..3] {
        cache.insert(part, Epoch(1)).unwrap();
    }
    cache.remove(parts[1].hash()).unwrap();
    cache.remove(parts[5].hash()).unwrap();
    assert_eq!(cache.len(), 2);
    assert!(!holds(&cache, &parts[1]) && !cache.touch(parts[1].hash(), Epoch(2)));
    assert!(holds(&cache, &parts[0]) && holds(&cache, &parts[2]));
}

#[test]
fn the_oldest_epochs_leave_first_and_the_bound_holds() {
    // Told apart from a wait without end, which is what a lock taken twice would be.
    let (done, waits) = std::sync::mpsc::channel();
    let evicting = std::thread::spawn(move || {
        evict_by_epoch();
        done.send(())
    });
    let waited = waits.recv_timeout(Duration::from_secs(60));
    assert_ne!(waited, Err(RecvTimeoutError::Timeout), "evicting hangs");
    evicting.join().unwrap().unwrap();
}

fn evict_by_epoch() {
    let folder = TempDir::new().unwrap();
    let parts = parts_of("parts");
    let bytes_max = 100_000;
    let cache = PartCache::open(folder.path(), bytes_max).unwrap();
    cache.insert(&parts[0], Epoch(1)).unwrap();
    cache.insert(&parts[1], Epoch(1)).unwrap();
    cache.insert(&parts[2], Epoch(2)).unwrap();
    // The first is of use in a later epoch as well, and what is older does not change that.
    assert!(cache.touch(parts[0].hash(), Epoch(9)) && cache.touch(parts[0].hash(), Epoch(1)));
    let mut left = Vec::new();
    for part in &parts[3..] {
        cache.insert(part, Epoch(3)).unwrap();
        assert!(cache.bytes() <= bytes_max && holds(&cache, part));
        left.extend(
            (1..3)
                .filter(|at| !left.contains(at) && !holds(&cache, &parts[*at]))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(left, [1, 2], "by epoch");
    assert!(holds(&cache, &parts[0]));
    let (len, bytes) = (cache.len(), cache.bytes());
    drop(cache);
    let cache = PartCache::open(folder.path(), bytes_max).unwrap();
    assert_eq!((cache.len(), cache.bytes()), (len, bytes));
    drop(cache);
    let cache = PartCache::open(folder.path(), bytes_max / 2).unwrap();
    assert!(cache.bytes() <= bytes_max / 2 && !cache.is_empty());
}

#[test]
fn a_part_larger_than_the_cache_is_packed_but_not_kept() {
    let folder = TempDir::new().unwrap();
    let cache = PartCache::open(folder.path(), 1_000).unwrap();
    let part = &parts_of("parts")[0];
    let packed = cache.insert(part, Epoch(1)).unwrap();
    assert_eq!(packed.unpack(part.payload().len()).unwrap(), part.payload());
    assert!(cache.is_empty() && !holds(&cache, part));
}

#[test]
fn a_damaged_file_is_not_returned_and_is_removed() {
    let folder = TempDir::new().unwrap();
    let parts = parts_of("parts");
    let cache = PartCache::open(folder.path(), PLENTY).unwrap();
    cache.insert(&parts[1], Epoch(1)).unwrap();
    let flips = [0, 3, 4, 5, 20, 36, 37, 38, 4_000].map(Some);
    for flip in flips.into_iter().chain([None]) {
        cache.insert(&parts[0], Epoch(1)).unwrap();
        let file = file_of(folder.path(), parts[0].hash());
        let mut bytes = fs::read(&file).unwrap();
        match flip {
            Some(at) => bytes[at] ^= 1,
            None => bytes.push(0),
        }
        fs::write(&file, bytes).unwrap();
        assert_eq!(cache.read(parts[0].hash()).unwrap(), None, "{flip:?}");
        assert!(!file.exists() && cache.len() == 1, "{flip:?}");
    }
    for kept in [0, 3, 36, 37, 3_000] {
        cache.insert(&parts[0], Epoch(1)).unwrap();
        let file = file_of(folder.path(), parts[0].hash());
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..kept]).unwrap();
        assert_eq!(cache.read(parts[0].hash()).unwrap(), None, "{kept} bytes");
        assert!(!file.exists() && cache.len() == 1, "{kept} bytes");
    }
    cache.insert(&parts[0], Epoch(1)).unwrap();
    fs::remove_file(file_of(folder.path(), parts[0].hash())).unwrap();
    assert_eq!(cache.read(parts[0].hash()).unwrap(), None);
    assert!(holds(&cache, &parts[1]) && cache.len() == 1);
    cache.insert(&parts[0], Epoch(1)).unwrap();
    assert!(holds(&cache, &parts[0]));
}

#[test]
fn files_that_a_crash_left_half_written_are_removed_and_others_are_not() {
    let folder = TempDir::new().unwrap();
    let parts = parts_of("parts");
    let cache = PartCache::open(folder.path(), PLENTY).unwrap();
    cache.insert(&parts[0], Epoch(1)).unwrap();
    drop(cache);
    let file = file_of(folder.path(), parts[0].hash());
    let partial = file.with_extension("partial");
    let stranger = file.with_file_name("notes");
    fs::write(&partial, b"half").unwrap();
    fs::write(&stranger, b"mine").unwrap();
    let cache = PartCache::open(folder.path(), PLENTY).unwrap();
    assert!(!partial.exists() && stranger.exists());
    assert!(holds(&cache, &parts[0]) && cache.len() == 1);
}

#[test]
fn the_same_part_may_be_inserted_and_read_by_many_at_once() {
    let folder = TempDir::new().unwrap();
    let parts = parts_of("parts");
    let cache = PartCache::open(folder.path(), PLENTY).unwrap();
    for round in 0..40 {
        let barrier = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    barrier.wait();
                    for part in &parts {
                        cache.insert(part, Epoch(round)).unwrap();
                        assert!(holds(&cache, part), "kept, and then not there");
                    }
                });
            }
        });
        assert_eq!(cache.len(), parts.len());
        let files = parts.iter().map(|part| file_of(folder.path(), part.hash()));
        assert_eq!(cache.bytes(), files.map(|file| fs::metadata(file).unwrap().len()).sum::<u64>());
        for part in &parts {
            cache.remove(part.hash()).unwrap();
        }
        assert!(cache.is_empty() && cache.bytes() == 0);
    }
}
