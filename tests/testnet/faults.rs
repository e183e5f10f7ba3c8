//! What goes wrong with single nodes, and what does not go wrong with the others.

use nix::sys::signal::{Signal, kill};

use super::run::{Testnet, assert_good, until};

const SMALL: [&str; 6] = ["--state-size", "4MiB", "--epoch-blocks", "40", "--epochs", "1"];

#[test]
fn a_validator_that_is_killed_in_the_middle_and_started_again_is_in_time() {
    let limited = [&SMALL[..], &["--download-limit", "1MiB"]].concat();
    let testnet = Testnet::start(&limited);
    testnet.until_logged("validator-2", "phase=Downloading");
    let before = testnet.process("validator-2");
    kill(before, Signal::SIGKILL).unwrap();
    until(|| (testnet.process("validator-2") != before).then_some(()));
    let outcome = testnet.outcome();
    assert_good(&outcome);
    // Chunks with puts and deletes were made meanwhile, and replayed.
    let own = outcome.0.rows.iter().find(|row| row.validator == "validator-2").unwrap();
    assert!(own.replayed > 0, "{own:?}");
}

#[test]
fn a_validator_that_is_stopped_does_not_stop_the_rest() {
    let testnet = Testnet::start(&SMALL);
    testnet.until_logged("validator-3", "phase=Downloading");
    let stopped = testnet.process("validator-3");
    kill(stopped, Signal::SIGSTOP).unwrap();
    let (outcome, success) = testnet.outcome();
    assert!(!success);
    for row in &outcome.rows {
        assert!(row.in_time || row.validator == "validator-3", "{row:?}");
    }
    assert!(outcome.rows.iter().any(|row| row.validator == "validator-3"));
    assert!(outcome.unclean.is_empty(), "it was let go at the end");
}

#[test]
fn who_cannot_make_it_is_told_so_before_the_boundary_and_the_run_fails() {
    // Not even one part comes before the boundary.
    let slow = ["--download-limit", "96KiB", "--state-size", "16MiB", "--epoch-blocks", "60"];
    let testnet = Testnet::start(&[&slow[..], &["--epochs", "1"]].concat());
    testnet.until_logged("validator-1", "verdict=AtRisk");
    testnet.until_logged("validator-1", "verdict=Impossible");
    let log = testnet.log("validator-1");
    assert!(!log.contains("late"), "it was told too late");
    testnet.until_logged("validator-1", "late");
    let (outcome, success) = testnet.outcome();
    assert!(!success);
    assert!(outcome.rows.iter().all(|row| !row.in_time));
}

#[test]
fn an_interrupted_testnet_leaves_no_process_behind() {
    let testnet = Testnet::start(&SMALL);
    let names = ["sequencer", "validator-1", "validator-4", "part-server-1"];
    let processes = names.map(|name| testnet.process(name));
    testnet.until_logged("validator-1", "phase=");
    kill(testnet.id(), Signal::SIGINT).unwrap();
    until(|| {
        // Its own are reaped by it, or by the system once it is gone.
        processes.iter().all(|process| kill(*process, None).is_err()).then_some(())
    });
}

#[test]
fn a_testnet_in_which_nothing_is_taken_is_refused() {
    for arguments in [&["--epochs", "0"][..], &["--validators", "1"], &["--state-size", "0"]] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_ketch"))
            .arg("testnet")
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("ketch: "), "{said}");
    }
}
