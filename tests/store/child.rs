//! Stores in a process of their own, which can be killed: this binary again, running one test that
//! does nothing unless it is told to by its environment.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use ketch_store::StoreError;

use super::*;
use crate::still_chain::limited;

const ROLE: &str = "KETCH_TEST_ROLE";
const FOLDER: &str = "KETCH_TEST_FOLDER";
/// What begins a line of the child's own, among those of the test harness.
const MARK: &str = "child: ";

/// A running child and the lines that it prints.
pub(super) struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a child in a role, on the store in `folder`.
    pub(super) fn start(role: &str, folder: &Path) -> Self {
        Self::start_by(Command::new(std::env::current_exe().unwrap()), role, folder)
    }

    /// The same under a limit of the size of each file that it writes, in units of 512 bytes.
    pub(super) fn start_limited(role: &str, folder: &Path, blocks: u64) -> Self {
        let whole = Command::new(std::env::current_exe().unwrap());
        Self::start_by(limited(&whole, blocks), role, folder)
    }

    fn start_by(mut command: Command, role: &str, folder: &Path) -> Self {
        let mut child = command
            .args(["--exact", "store::child::child", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that the child says, if it says any more.
    pub(super) fn hear(&mut self) -> Option<String> {
        let lines = self.lines.by_ref().map(Result::unwrap);
        // The harness leaves its own line open before the first of ours.
        let mut said =
            lines.filter_map(|line| line.split_once(MARK).map(|(_, said)| said.to_owned()));
        said.next()
    }

    /// Kills the child; what it had said by then.
    pub(super) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let rest = std::iter::from_fn(|| self.hear()).collect();
        assert!(!self.child.wait().unwrap().success(), "it ended before it was killed");
        rest
    }

    /// Waits for the child to end well; what it said.
    pub(super) fn end(mut self) -> Vec<String> {
        let rest = std::iter::from_fn(|| self.hear()).collect();
        assert!(self.child.wait().unwrap().success());
        rest
    }
}

fn say(said: impl std::fmt::Display) {
    println!("{MARK}{said}");
}

#[test]
fn child() {
    let (Ok(role), Some(folder)) = (std::env::var(ROLE), std::env::var_os(FOLDER)) else {
        return;
    };
    let folder = Path::new(&folder);
    match role.as_str() {
        "hold" => hold(folder),
        "windows" => apply_windows(folder),
        "chunks" => commit_chunks(folder),
        "fill" => fill(folder),
        role => panic!("no role {role}"),
    }
}

/// Holds the store open until it is killed.
fn hold(folder: &Path) {
    let _store = open(folder);
    say("open");
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// The states between which the target moves.
pub(super) fn targets() -> [Target; 3] {
    let base = sample("crash", 90);
    let other = varied(&base, "other", 11);
    let far = varied(&sample("crash", 50), "far", 2);
    [base, other, far].map(Target::new)
}

/// Moves the store from one target to the next, without end.
fn apply_windows(folder: &Path) {
    let store = open(folder);
    let targets = targets();
    let mut dice = Dice(u64::from(std::process::id()));
    for epoch in 1.. {
        let at = dice.roll(targets.len());
        let target = &targets[at];
        say(format_args!("target {at}"));
        let missing = store.reconcile(&target.manifest).unwrap().complement();
        say("reconciled");
        for window in dice.windows(&missing) {
            target.apply(&store, &window).unwrap();
            say(format_args!("applied {} {}", window.start, window.end));
        }
        target.complete(&store, epoch).unwrap();
        say("completed");
        let mut items = target.items.clone();
        for round in 0..3 {
            let changes = [Change::PutAt(round, vec![5; 40])];
            commit(&store, &change(&mut items, &changes), true);
        }
        say("committed");
    }
}

/// The writes of a height, which make an epoch of every fifth.
pub(super) fn writes_at(items: &mut Items, height: Height) -> (Writes, bool) {
    let mut dice = Dice(height.0);
    let mut place = || dice.roll(60_000) as u16;
    let changes = [
        Change::PutAt(place(), noise(&format!("put {height}"), 3_000)),
        Change::PutAt(place(), noise(&format!("put again {height}"), 100)),
        Change::DeleteAt(place()),
        Change::Put(noise(&format!("new {height}"), 4), vec![height.0 as u8; 2_000]),
    ];
    (change(items, &changes), height.0.is_multiple_of(5))
}

/// Commits one chunk after the other, without end.
fn commit_chunks(folder: &Path) {
    let store = open(folder);
    let mut items = scanned(&store);
    loop {
        let head = store.head().unwrap();
        let (writes, ends_epoch) = writes_at(&mut items, head.height.next());
        commit(&store, &writes, ends_epoch);
        say(format_args!("height {}", head.height.next()));
        if ends_epoch && head.epoch.0 % 4 == 3 {
            store.drop_epochs_before(Epoch(head.epoch.0 - 1)).unwrap();
        }
    }
}

/// A state too large for the disk that its test allows.
pub(super) fn large() -> Target {
    Target::new(sample("large", 1_200))
}

/// Applies ever larger windows of a state until a write fails.
fn fill(folder: &Path) {
    let store = match ShardStore::open(folder, StoreConfig::default()) {
        Ok(opened) => opened.store,
        Err(error) => return say(format_args!("not opened: {error}")),
    };
    let target = large();
    store.reconcile(&target.manifest).unwrap();
    let mut start = 0;
    for parts in 1.. {
        let end = target.count().min(start + parts * parts);
        match target.apply(&store, &(start..end)) {
            Ok(()) => say(format_args!("applied {start} {end}")),
            Err(error) => {
                say(format_args!("failed: {error}"));
                break;
            }
        }
        assert!(end < target.count(), "everything fitted");
        start = end;
    }
    // After a failed write nothing more is written.
    let again = target.apply(&store, &(0..1));
    assert!(matches!(again, Err(StoreError::Stopped)), "{again:?}");
    say("stopped");
}
