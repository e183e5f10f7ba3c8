use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};
use std::thread::{self, JoinHandle};

use ketch_node::{AskError, NodeStatus, NotNode, ask_status};

use super::{Node, ready};

fn ketch_status(address: SocketAddr, more: &[&str]) -> Output {
    let mut ketch = Command::new(env!("CARGO_BIN_EXE_ketch"));
    ketch.args(["status", "--http", &address.to_string()]).args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// An address where somebody answers the first question with `answer`.
fn answers(answer: Vec<u8>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answered = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // All of it, since a connection that is closed before is reset.
        let mut question = Vec::new();
        let mut byte = [0];
        while !question.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
            question.push(byte[0]);
        }
        // Whoever has heard enough goes away.
        let _ = stream.write_all(&answer);
    });
    (address, answered)
}

#[test]
fn a_nodes_status_is_a_table_or_json() {
    let node = Node::start(ready());
    let output = ketch_status(node.address, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for line in [
        "role   validator",
        "peer   12D3KooW",
        "peers  5",
        "SHARD  PHASE        HELD    RATE      ETA   MARGIN  VERDICT  PROVIDERS  LAST ERROR",
        "0      following    100.0%  -         -     -       -        0          -",
        "7      downloading  25.0%   8.0MiB/s  6.0s  11s     on-time  3          a peer stalled",
    ] {
        assert!(table.lines().any(|have| have == line), "{line} is not in\n{table}");
    }
    assert!(table.contains("\nhead   42 ("), "{table}");
    assert!(output.stderr.is_empty());

    let output = ketch_status(node.address, &["-o", "json"]);
    let status: NodeStatus = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status, **node.status.borrow());
    assert_eq!(status, ask_status(node.address).unwrap());
}

#[test]
fn where_nobody_listens_there_is_no_node() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let output = ketch_status(address, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let complaint = text(&output.stderr);
    assert!(
        complaint.starts_with(&format!("ketch: no node answers at {address}: ")),
        "{complaint}"
    );
    assert!(complaint.contains("--http"), "{complaint}");
}

#[test]
fn whatever_else_listens_is_no_node() {
    for (answer, said) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "it has no /v1/status (HTTP 404)"),
        ("HTTP/1.1 200 OK\r\n\r\n<html>", "its status is not understood"),
        ("HTTP/1.1 200 OK\r\n\r\n{\"role\":\"validator\"}", "its status is not understood"),
        ("SSH-2.0-OpenSSH_9.9\r\n", "its answer is no HTTP"),
    ] {
        let (address, answered) = answers(answer.into());
        let output = ketch_status(address, &[]);
        answered.join().unwrap();
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        let start = format!("ketch: what answers at {address} is no Ketch node: {said}");
        assert!(complaint.starts_with(&start), "{complaint}");
    }
    let (address, answered) = answers(Vec::new());
    let output = ketch_status(address, &[]);
    answered.join().unwrap();
    let complaint = text(&output.stderr);
    assert!(complaint.starts_with("ketch: no node answers at "), "{complaint}");
}

#[test]
fn an_answer_without_end_is_left() {
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.resize(20 << 20, b' ');
    let (address, answered) = answers(endless);
    let error = ask_status(address).unwrap_err();
    answered.join().unwrap();
    assert!(matches!(error, AskError::NotNode { reason: NotNode::TooLong, .. }), "{error}");
}

#[test]
fn an_argument_that_is_wrong_is_said_so() {
    for arguments in [["--http", "localhost"], ["-o", "xml"]] {
        let ketch =
            Command::new(env!("CARGO_BIN_EXE_ketch")).arg("status").args(arguments).output();
        assert_eq!(ketch.unwrap().status.code(), Some(2), "{arguments:?}");
    }
}
