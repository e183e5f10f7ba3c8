use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use ketch_node::{HttpServer, LoopbackAddress};

use super::{Answer, Node, RUNTIME, ready, rest};

/// A client that has begun to ask and does not go on.
fn slow(node: &Node) -> TcpStream {
    let mut stream = node.connect();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: ke").unwrap();
    stream
}

#[test]
fn a_client_that_never_finishes_its_request_is_left_and_others_are_answered_meanwhile() {
    let node = Node::start(ready());
    let mut slow = slow(&node);
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(node.get("/v1/status").code, 200);
    }
    let fast = begun.elapsed();
    // Ends with the server's patience, and with a reset if it does not read what was said.
    let mut answer = Vec::new();
    if let Err(error) = slow.read_to_end(&mut answer) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(!String::from_utf8_lossy(&answer).contains("200"), "{answer:?}");
    assert!(fast < begun.elapsed(), "the fast client waited for the slow one");
}

#[test]
fn a_client_that_does_not_read_its_answer_holds_nobody_up() {
    let mut status = ready();
    // More than the system keeps for both ends of a connection.
    status.shards[1].last_error = Some("x".repeat(16 << 20));
    let mut node = Node::start(status);
    let mut deaf = node.connect();
    deaf.write_all(b"GET /v1/status HTTP/1.1\r\nhost: ketch\r\n\r\n").unwrap();
    // With its first byte the answer is under way.
    deaf.read_exact(&mut [0]).unwrap();
    for _ in 0..20 {
        assert_eq!(node.get("/livez").code, 200);
    }
    node.stop();
    drop(deaf);
}

#[test]
fn more_slow_clients_than_there_are_places_do_not_keep_a_fast_one_out() {
    let node = Node::start(ready());
    let slow: Vec<_> = (0..100).map(|_| slow(&node)).collect();
    for path in ["/livez", "/v1/status", "/metrics"] {
        assert_eq!(node.get(path).code, 200, "{path}");
    }
    let text = node.get("/metrics").body;
    let dropped =
        text.lines().find(|line| line.starts_with("ketch_http_dropped_connections_count"));
    assert!(dropped.is_some(), "{text}");
    drop(slow);
    assert_eq!(node.get("/livez").code, 200);
}

#[test]
fn a_hundred_clients_at_once_are_all_answered() {
    let node = Node::start(ready());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..100)
            .map(|index| {
                let path = ["/livez", "/readyz", "/metrics", "/v1/status"][index % 4];
                let node = &node;
                scope.spawn(move || node.get(path).code)
            })
            .collect();
        for client in clients {
            assert_eq!(client.join().unwrap(), 200);
        }
    });
}

#[test]
fn a_request_that_is_too_long_is_refused() {
    let node = Node::start(ready());
    let mut stream = node.connect();
    let long = "x".repeat(20 << 10);
    write!(stream, "GET /livez HTTP/1.1\r\nhost: ketch\r\nlong: {long}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // What is not read of the request may reset the connection before the refusal is read.
    match stream.read_to_end(&mut answer) {
        Ok(_) => assert_eq!(Answer::of(&String::from_utf8_lossy(&answer)).code, 431),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    let mut stream = node.connect();
    stream.write_all(b"\x16\x03\x01 not http at all\r\n\r\n").unwrap();
    assert_eq!(Answer::of(&rest(stream)).code, 400);
    assert_eq!(node.get("/livez").code, 200);
}

#[test]
fn a_connection_is_for_one_request() {
    let node = Node::start(ready());
    let mut stream = node.connect();
    let twice = "GET /livez HTTP/1.1\r\nhost: ketch\r\n\r\n".repeat(2);
    stream.write_all(twice.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.matches("HTTP/1.1 200").count() <= 1, "{answer}");
}

#[test]
fn a_stopped_server_gives_its_port_back_although_a_client_is_still_there() {
    let mut node = Node::start(ready());
    assert_eq!(node.get("/livez").code, 200);
    let _slow = slow(&node);
    node.stop();
    let refused = TcpStream::connect(node.address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn an_address_in_use_is_named_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = TcpListener::bind(taken).unwrap();
    let address = LoopbackAddress::localhost(taken.port());
    let Err(error) = RUNTIME.block_on(HttpServer::bind(address)) else { panic!("{taken} is free") };
    assert!(error.to_string().starts_with(&format!("http.listen: {taken}: ")), "{error}");
    drop(holder);
}
