//! Turning whatever a store holds towards a state.

use std::sync::atomic::{AtomicBool, Ordering};

use ketch_store::StoreError;
use tempfile::TempDir;

use super::*;

/// One step in the life of a store.
#[derive(Clone, Debug)]
enum Step {
    /// The target moves to one of the states; of what is missing, some windows arrive.
    Move { target: usize, windows: usize },
    /// The same, and all windows arrive.
    Reach { target: usize },
    /// The process ends and starts again.
    Reopen,
    /// A window is begun and given up, after which nothing vouches for its range.
    Spoil { target: usize },
    /// The head moves on, if there is one.
    Commit { changes: Vec<Change>, ends_epoch: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let target = 0_usize..4;
    prop_oneof![
        4 => (target.clone(), 0_usize..5).prop_map(|(target, windows)| Step::Move { target, windows }),
        2 => target.clone().prop_map(|target| Step::Reach { target }),
        2 => Just(Step::Reopen),
        2 => target.prop_map(|target| Step::Spoil { target }),
        1 => (changes(8), any::<bool>())
            .prop_map(|(changes, ends_epoch)| Step::Commit { changes, ends_epoch }),
    ]
}

/// A store, the states that it is turned to, and what ought to be in it.
struct Life {
    folder: TempDir,
    store: Option<ShardStore>,
    targets: Vec<Target>,
    dice: Dice,
    epoch: u64,
    /// Of which epochs the start is to be kept, while there is a head.
    starts: BTreeMap<Epoch, Items>,
}

impl Life {
    fn store(&self) -> &ShardStore {
        self.store.as_ref().unwrap()
    }

    fn reconcile(&mut self, target: usize) -> PartSet {
        let (store, target) = (self.store(), &self.targets[target]);
        let expected = really_held(store, target);
        let before = scanned(store);
        let is_head = |head: ketch_store::Head| head.root() == target.manifest.root();
        let stays = store.head().is_some_and(is_head);
        let held = store.reconcile(&target.manifest).unwrap();
        assert_eq!(held, expected, "held are just the parts that are there");
        assert_eq!(store.held(&target.manifest), expected);
        assert!(scanned(store) == before, "reconciling changes no entry");
        assert_eq!(store.head().is_some(), stays);
        if !stays {
            self.starts.clear();
        }
        held
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Move { target, windows } => {
                let missing = self.reconcile(*target).complement();
                for window in self.dice.windows(&missing).iter().take(*windows) {
                    self.targets[*target].apply(self.store(), window).unwrap();
                }
            }
            Step::Reach { target } => self.reach(*target),
            Step::Reopen => {
                self.store = None;
                self.store = Some(open(self.folder.path()));
            }
            Step::Spoil { target } => {
                let target = &self.targets[*target];
                let parts = indices(&(self.dice.roll(4) as u32..5));
                // Refused where there is a head or a part; void if the manifest is shorter.
                let spoiled = self.store().apply(&target.manifest, parts.clone(), []);
                let is_part = target.manifest.part(parts.start).is_some();
                assert_eq!(spoiled.is_err(), is_part, "{spoiled:?}");
                self.store().distrust().unwrap();
                self.starts.clear();
            }
            Step::Commit { changes, ends_epoch } => {
                if self.store().head().is_some() {
                    let mut items = scanned(self.store());
                    commit(self.store(), &change(&mut items, changes), *ends_epoch);
                    assert_holds(self.store(), &items);
                    if *ends_epoch {
                        let epoch = self.store().head().unwrap().epoch;
                        self.starts.insert(epoch, items);
                    }
                }
            }
        }
        self.check_starts();
    }

    fn reach(&mut self, target: usize) {
        let missing = self.reconcile(target).complement();
        let head_epoch = self.store().head().map_or(0, |head| head.epoch.0);
        self.epoch = self.epoch.max(head_epoch) + 1;
        let target = &self.targets[target];
        for window in self.dice.windows(&missing) {
            target.apply(self.store.as_ref().unwrap(), &window).unwrap();
        }
        target.complete(self.store(), self.epoch).unwrap();
        self.starts = [(Epoch(self.epoch), target.items.clone())].into();
        assert_holds(self.store(), &target.items);
    }

    fn check_starts(&self) {
        let kept: Vec<_> = self.starts.keys().copied().collect();
        assert_eq!(self.store().epochs(), kept);
        for (epoch, start) in &self.starts {
            assert_serves(self.store(), *epoch, start);
        }
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn reconciling_finds_just_the_parts_that_are_there_whatever_happened_before(
        first in items(), second in changes(8), third in changes(8), far in items(),
        steps in vec(step(), 1..12), seed in any::<u64>(),
    ) {
        let (mut a, mut b) = (first.clone(), first.clone());
        change(&mut a, &second);
        change(&mut b, &third);
        let folder = TempDir::new().unwrap();
        let mut life = Life {
            store: Some(open(folder.path())),
            folder,
            targets: [first, a, b, far].map(Target::new).into(),
            dice: Dice(seed),
            epoch: 0,
            starts: BTreeMap::new(),
        };
        for step in &steps {
            life.take(step);
        }
        life.reach(1);
        life.take(&Step::Reopen);
        assert_holds(life.store(), &life.targets[1].items);
    }
}

fn ahead_and_behind() -> (TempDir, Items, Target) {
    let old = sample("state", 120);
    let mut new = old.clone();
    for key in old.keys().take(2).chain(old.keys().skip(100).take(1)) {
        new.insert(key.clone(), vec![9; 1_500]);
    }
    (TempDir::new().unwrap(), old, Target::new(new))
}

#[test]
fn from_an_old_version_only_the_changed_parts_are_missing() {
    let (folder, old, target) = ahead_and_behind();
    let store = open(folder.path());
    store.import(&old, CUT).unwrap();
    let expected = really_held(&store, &target);
    let held = store.reconcile(&target.manifest).unwrap();
    assert_eq!(held, expected);
    let missing = held.complement();
    assert!((1..=4).contains(&missing.len()), "{missing:?} of {}", target.count());
    for window in Dice(2).windows(&missing) {
        target.apply(&store, &window).unwrap();
    }
    target.complete(&store, 1).unwrap();
    assert_holds(&store, &target.items);
}

#[test]
fn a_head_that_is_given_up_takes_its_epochs_with_it() {
    let (folder, old, target) = ahead_and_behind();
    let store = open(folder.path());
    store.import(&old, CUT).unwrap();
    let mut items = old.clone();
    for round in 0..3 {
        let writes = change(&mut items, &[Change::PutAt(round, vec![3; 50])]);
        commit(&store, &writes, true);
    }
    assert_eq!(store.epochs(), [0, 1, 2, 3].map(Epoch));
    let check = |store: &ShardStore| {
        assert!(store.head().is_none() && store.epochs().is_empty());
        assert!(matches!(store.view(), Err(StoreError::NoState)));
        for epoch in (0..4).map(Epoch) {
            let gone = |error| matches!(error, StoreError::NotRetained(e) if e == epoch);
            assert!(store.epoch(epoch).is_err_and(gone));
            assert!(store.manifest(epoch).is_err_and(gone));
        }
        assert!(scanned(store) == items, "the entries stay");
    };
    store.reconcile(&target.manifest).unwrap();
    check(&store);
    drop(store);
    check(&open(folder.path()));
}

#[test]
fn reconciling_with_the_head_itself_gives_nothing_up() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 40));
    let store = open(folder.path());
    store.import(&target.items, CUT).unwrap();
    assert!(store.reconcile(&target.manifest).unwrap().is_full());
    assert_holds(&store, &target.items);
    assert_serves(&store, Epoch(0), &target.items);
}

#[test]
fn a_pivot_keeps_what_both_states_have() {
    let base = sample("state", 120);
    let a = Target::new(varied(&base, "a", 30));
    let b = Target::new(varied(&a.items, "b", 40));
    for reopened in [false, true] {
        let folder = TempDir::new().unwrap();
        let mut store = open(folder.path());
        let half = 0..a.count() / 2;
        store.reconcile(&a.manifest).unwrap();
        a.apply(&store, &half).unwrap();
        for target in [&b, &a, &b] {
            if reopened {
                drop(store);
                store = open(folder.path());
            }
            let expected = really_held(&store, target);
            assert!(expected.len() >= half.end / 2, "{expected:?}");
            assert_eq!(store.reconcile(&target.manifest).unwrap(), expected);
        }
        b.reach(&store, 2, &mut Dice(8));
        assert_holds(&store, &b.items);
    }
}

#[test]
fn a_range_that_nothing_vouches_for_is_believed_after_it_was_read() {
    let folder = TempDir::new().unwrap();
    let a = Target::new(sample("state", 60));
    let b = Target::new(varied(&a.items, "b", 1));
    assert_eq!(a.count(), b.count());
    let store = open(folder.path());
    a.apply(&store, &(1..5)).unwrap();
    let parts = |set: PartSet| set.iter().map(|part| part.0).collect::<Vec<_>>();
    assert_eq!(parts(store.held(&a.manifest)), [1, 2, 3, 4]);
    store.distrust().unwrap();
    assert_eq!(parts(store.held(&a.manifest)), [0_u32; 0]);
    drop(store);
    let store = open(folder.path());
    assert_eq!(parts(store.reconcile(&b.manifest).unwrap()), [0_u32; 0]);
    assert_eq!(parts(store.reconcile(&a.manifest).unwrap()), [1, 2, 3, 4]);
    assert_eq!(parts(store.held(&a.manifest)), [1, 2, 3, 4]);
    a.reach(&store, 1, &mut Dice(4));
    assert_holds(&store, &a.items);
}

/// Asserts that what the store says it holds of a target is really there.
fn assert_marks_are_true(store: &ShardStore, target: &Target) {
    let mut marked = store.held(&target.manifest);
    marked.subtract(&really_held(store, target));
    assert!(marked.is_empty(), "marked but not there: {marked:?}");
}

#[test]
fn a_target_that_moves_back_while_windows_are_applied_marks_nothing_false() {
    let folder = TempDir::new().unwrap();
    let first = Target::new(sample("state", 1_500));
    let second = Target::new(varied(&first.items, "second", 2));
    let store = open(folder.path());
    for round in 0..3 {
        first.reach(&store, round, &mut Dice(round));
        // What the head held is unmarked, so that reconciling reads and hashes all of it.
        store.distrust().unwrap();
        let reconciled = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                store.reconcile(&first.manifest).unwrap();
                reconciled.store(true, Ordering::Release);
            });
            let mut windows = (0..second.count()).map(|index| index..index + 1);
            while !reconciled.load(Ordering::Acquire) {
                let Some(window) = windows.next() else { break };
                second.apply(&store, &window).unwrap();
            }
        });
        assert_marks_are_true(&store, &first);
        assert_marks_are_true(&store, &second);
    }
}

#[test]
fn a_state_is_not_given_up_in_the_middle_of_a_chunk() {
    let folder = TempDir::new().unwrap();
    let target = Target::new(sample("state", 60));
    let other = Target::new(varied(&target.items, "other", 3));
    let store = open(folder.path());
    let value = vec![9; 3_000];
    let writes = writes_of(target.items.keys().map(|key| (key, Some(&value))));
    for round in 0..8 {
        target.reach(&store, round, &mut Dice(round));
        let (root, height) = (root_after(&store, &writes), store.head().unwrap().height.next());
        let chunk = Chunk { height, writes: &writes, root, next_epoch_cut: None };
        let committed = std::thread::scope(|scope| {
            let committed = scope.spawn(|| store.commit(chunk));
            scope.spawn(|| store.reconcile(&other.manifest).unwrap());
            committed.join().unwrap()
        });
        // Either the chunk came first, or there was no state any more that it could follow.
        assert!(matches!(committed, Ok(_) | Err(StoreError::NoState)), "{committed:?}");
        assert!(store.head().is_none() && store.epochs().is_empty());
        assert_marks_are_true(&store, &target);
        assert_marks_are_true(&store, &other);
    }
}
