//! A copy of the project whose sources can be changed, with a target folder of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::Change;
use super::sources::files;

/// What is ours is built quickly, and again and again; what is not, once.
const PROFILE: [&str; 4] = [
    "profile.release.incremental=true",
    "profile.release.codegen-units=256",
    "profile.release.opt-level=0",
    "profile.release.package.'*'.opt-level=1",
];

/// The copy.
pub(super) struct Tree {
    sources: PathBuf,
    target: PathBuf,
    output: PathBuf,
}

/// Files of the copy that are changed until this is dropped, as they were.
pub(super) struct Changed(BTreeMap<PathBuf, String>);

/// What came of some tests.
pub(super) struct Ran {
    /// All others failed, hang, or ended the process.
    pub(super) passed: BTreeSet<String>,
    pub(super) elapsed: Duration,
}

/// Tests that run, as leader of a group of processes: those that they start end with them.
struct Running(Child);

impl Tree {
    /// Copies all files of the project that git tracks. What is the same stays as it is, so that only
    /// what differs is built again.
    pub(super) fn copied(project: &Path) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("controls");
        let sources = folder.join("tree");
        fs::create_dir_all(&sources).unwrap();
        let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(project).output();
        let listed = String::from_utf8(listed.expect("git").stdout).unwrap();
        let tracked: BTreeSet<_> = listed.split_terminator('\0').map(PathBuf::from).collect();
        assert!(tracked.contains(Path::new("Cargo.toml")), "git lists no project");
        for file in files(&sources) {
            if !tracked.contains(file.strip_prefix(&sources).unwrap()) {
                fs::remove_file(file).unwrap();
            }
        }
        for file in tracked.iter().filter(|file| project.join(file).exists()) {
            let (bytes, copy) = (fs::read(project.join(file)).unwrap(), sources.join(file));
            if !fs::read(&copy).is_ok_and(|old| old == bytes) {
                fs::create_dir_all(copy.parent().unwrap()).unwrap();
                fs::write(copy, bytes).unwrap();
            }
        }
        Self { sources, target: folder.join("target"), output: folder.join("output") }
    }

    /// Makes changes, each in the one place where it applies.
    pub(super) fn change(&self, changes: &[Change]) -> Changed {
        let files = changes.iter().map(|change| self.sources.join(&change.file));
        let changed =
            Changed(files.map(|of| (of.clone(), fs::read_to_string(of).unwrap())).collect());
        for Change { file, from, to } in changes {
            let file = self.sources.join(file);
            let before = fs::read_to_string(&file).unwrap();
            fs::write(file, before.replacen(from, to, 1)).unwrap();
        }
        changed
    }

    /// Builds the tests; the program that runs them.
    pub(super) fn build(&self) -> Result<PathBuf, String> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["test", "--release", "--test", "tests", "--no-run", "--message-format=json"])
            .current_dir(&self.sources)
            .env("CARGO_TARGET_DIR", &self.target)
            .args(PROFILE.iter().flat_map(|setting| ["--config", setting]))
            .output()
            .expect("cargo");
        let messages = String::from_utf8_lossy(&output.stdout);
        let messages = messages.lines().filter_map(|line| serde_json::from_str(line).ok());
        let messages: Vec<serde_json::Value> = messages.collect();
        if !output.status.success() {
            let errors = messages.iter().filter(|of| of["message"]["level"] == "error");
            let errors: Vec<_> = errors.map(|of| of["message"]["rendered"].to_string()).collect();
            return Err(format!("it does not compile: {}", errors.join("\n")));
        }
        let program = messages.iter().find(|of| of["target"]["name"] == "tests");
        let program = program.and_then(|of| of["executable"].as_str());
        program.map(PathBuf::from).ok_or_else(|| "nothing was built".to_owned())
    }

    /// Runs some tests at once, for as long as is given.
    pub(super) fn run(&self, program: &Path, tests: &[&str], patience: Duration) -> Ran {
        let begun = Instant::now();
        let output = File::create(&self.output).unwrap();
        let mut command = Command::new(program);
        command
            .arg("--exact")
            .arg(format!("--test-threads={}", tests.len()))
            .args(tests)
            .current_dir(&self.sources)
            // A node takes what begins so for its configuration.
            .env_remove("KETCH_CONTROLS")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .process_group(0);
        let mut running = Running(command.spawn().unwrap());
        while !running.is_over() && begun.elapsed() < patience {
            thread::sleep(Duration::from_millis(50));
        }
        drop(running);
        let printed = fs::read(&self.output).unwrap();
        let printed = String::from_utf8_lossy(&printed);
        let passed = tests.iter().filter(|test| printed.contains(&format!("test {test} ... ok\n")));
        Ran { passed: passed.map(|test| (*test).to_owned()).collect(), elapsed: begun.elapsed() }
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        for (file, before) in &self.0 {
            fs::write(file, before).expect("a file of our own");
        }
    }
}

impl Running {
    fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that nobody is left.
        let _ = killpg(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}
