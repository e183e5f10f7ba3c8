//! A testnet that a test runs, and what came of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tempfile::TempDir;

/// What `ketch testnet -o json` prints.
#[derive(Debug, Deserialize)]
pub(super) struct Outcome {
    pub(super) rows: Vec<Row>,
    pub(super) states: Vec<State>,
    pub(super) unclean: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) epoch: u64,
    pub(super) validator: String,
    pub(super) shard: u32,
    pub(super) bytes: u64,
    pub(super) bytes_from_trackers: u64,
    pub(super) bytes_from_part_servers: u64,
    pub(super) bytes_from_catching_up: u64,
    pub(super) replayed: u64,
    pub(super) in_time: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct State {
    pub(super) node: String,
    pub(super) shard: u32,
    pub(super) is_signed: bool,
}

/// A testnet that runs.
pub(super) struct Testnet {
    folder: TempDir,
    child: Child,
    _alone: MutexGuard<'static, ()>,
}

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(300);

static ALONE: Mutex<()> = Mutex::new(());

impl Testnet {
    pub(super) fn start(arguments: &[&str]) -> Self {
        // A test that failed has stopped its testnet all the same.
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ketch"))
            .args(["testnet", "-o", "json", "--keep"])
            .arg(folder.path())
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self { folder, child, _alone: alone }
    }

    /// What came of it, and whether it says that all is well. With it the folder is gone.
    pub(super) fn outcome(mut self) -> (Outcome, bool) {
        let stdout = self.child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || std::io::read_to_string(stdout).unwrap());
        let status = self.child.wait().unwrap();
        let text = reader.join().unwrap();
        let outcome = serde_json::from_str(&text);
        (outcome.unwrap_or_else(|error| panic!("{error}: {text:?}")), status.success())
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// The process of a node.
    pub(super) fn process(&self, name: &str) -> Pid {
        let path = self.folder.path().join(name).join("pid");
        let text = until(|| fs::read_to_string(&path).ok().filter(|text| !text.is_empty()));
        Pid::from_raw(text.parse().unwrap())
    }

    pub(super) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.log_path(name)).unwrap_or_default()
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).join("node.log")
    }

    /// Waits until a node's log says something.
    pub(super) fn until_logged(&self, name: &str, what: &str) {
        until(|| self.log(name).contains(what).then_some(()));
    }
}

/// Waits for something that another process does, which nothing tells.
pub(super) fn until<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = what() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "what must happen has not");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Testnet {
    fn drop(&mut self) {
        // It ends its nodes; one that has ended already does not mind.
        let _ = kill(self.id(), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Everything was taken in time, and is on disk as it was signed.
pub(super) fn assert_good((outcome, success): &(Outcome, bool)) {
    assert!(*success, "{outcome:#?}");
    assert!(outcome.rows.iter().all(|row| row.in_time));
    assert!(outcome.states.iter().all(|state| state.is_signed));
    assert!(outcome.unclean.is_empty());
    for row in &outcome.rows {
        let from = row.bytes_from_trackers + row.bytes_from_part_servers;
        assert_eq!(row.bytes, from + row.bytes_from_catching_up, "{row:?}");
    }
}
