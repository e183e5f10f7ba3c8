use ketch_node::{HeadStatus, NodeStatus, ShardReport};
use serde_json::Value;

use super::{Node, now_ms, ready};

#[test]
fn every_route_answers_in_its_format() {
    let node = Node::start(ready());
    for (path, code, content_type) in [
        ("/livez", 200, "text/plain; charset=utf-8"),
        ("/readyz", 200, "text/plain; charset=utf-8"),
        ("/readyz?verbose", 200, "text/plain; charset=utf-8"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/v1/status", 200, "application/json"),
        ("/v1/shards/7", 200, "application/json"),
        ("/v1/shards/9", 404, "application/json"),
        ("/v1/shards/99999999999999999999", 404, "application/json"),
        ("/v1/shards/x", 400, "application/json"),
        ("/v1/shards/-1", 400, "application/json"),
        ("/v1/shards/+7", 400, "application/json"),
        ("/v1/shards/7/", 400, "application/json"),
        ("/v1/shards/", 400, "application/json"),
        ("/v1/shards", 404, "application/json"),
        ("/livez/", 404, "application/json"),
        ("/", 404, "application/json"),
        ("/..%2f", 404, "application/json"),
    ] {
        let answer = node.get(path);
        assert_eq!(answer.code, code, "{path}: {}", answer.body);
        let header = format!("content-type: {content_type}");
        assert!(answer.head.lines().any(|line| line == header), "{path}: {}", answer.head);
        if code >= 400 {
            let error: Value = serde_json::from_str(&answer.body).unwrap();
            assert!(!error["error"].as_str().unwrap().is_empty(), "{path}");
        }
    }
    assert_eq!(node.get("/livez").body, "ok\n");
}

#[test]
fn nothing_can_be_changed() {
    let node = Node::start(ready());
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let answer = node.ask(method, "/v1/status");
        assert_eq!(answer.code, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
    }
    let head = node.ask("HEAD", "/v1/status");
    assert_eq!((head.code, head.body.as_str()), (200, ""));
    assert!(head.head.contains("content-length: "), "{}", head.head);
}

#[test]
fn the_status_is_what_the_node_told_last() {
    let node = Node::start(ready());
    let told: NodeStatus = serde_json::from_str(&node.get("/v1/status").body).unwrap();
    assert_eq!(told, **node.status.borrow());
    let shard: ShardReport = serde_json::from_str(&node.get("/v1/shards/7").body).unwrap();
    assert_eq!(shard, told.shards[1]);
    let mut next = ready();
    next.shards.remove(1);
    node.tell(next.clone());
    let told: NodeStatus = serde_json::from_str(&node.get("/v1/status").body).unwrap();
    assert_eq!(told, next);
    assert_eq!(node.get("/v1/shards/7").code, 404);
}

#[test]
fn a_ready_node_says_so_and_an_unready_one_says_why() {
    let node = Node::start(ready());
    assert_eq!(node.get("/readyz").body, "ok\n");
    let all = "head: ok\npeers: ok\nshard 0: ok\nshard 7: ok\n";
    assert_eq!(node.get("/readyz?verbose").body, all);

    let mut must = ready();
    must.shards[1].is_tracked = true;
    node.tell(must);
    let reason = "must be tracked now and is downloading (25.0%); last error: a peer stalled";
    let answer = node.get("/readyz");
    assert_eq!((answer.code, answer.body), (503, format!("shard 7: not ok: {reason}\n")));
    let answer = node.get("/readyz?verbose=1");
    let all = format!("head: ok\npeers: ok\nshard 0: ok\nshard 7: not ok: {reason}\n");
    assert_eq!((answer.code, answer.body), (503, all));

    node.tell(NodeStatus { peers: 0, ..ready() });
    assert_eq!(node.get("/readyz").body, "peers: not ok: no peers are connected\n");
    node.tell(NodeStatus { head: None, ..ready() });
    assert_eq!(node.get("/readyz").body, "head: not ok: no block is known\n");
    let paused = HeadStatus { height: 42, time_ms: now_ms() - 60_000 };
    node.tell(NodeStatus { head: Some(paused), ..ready() });
    let answer = node.get("/readyz");
    assert_eq!(answer.code, 503);
    assert!(answer.body.starts_with("head: not ok: block 42 is 1m0"), "{}", answer.body);
    assert_eq!(node.get("/livez").code, 200, "a node that is not ready lives");
}

#[test]
fn metrics_tell_of_the_shards_that_are_there_now() {
    let node = Node::start(ready());
    let text = node.get("/metrics").body;
    for line in [
        "# TYPE ketch_shard_parts_held_count gauge",
        "ketch_shard_parts_held_count{shard=\"7\"} 4",
        "ketch_shard_phase_state{shard=\"7\",phase=\"downloading\"} 1",
        "ketch_shard_margin_seconds{shard=\"7\"} 11.5",
        "ketch_chain_head_height_blocks 42",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    let mut next = ready();
    next.shards.remove(1);
    node.tell(next);
    let text = node.get("/metrics").body;
    assert!(!text.contains("shard=\"7\"") && text.contains("shard=\"0\""), "{text}");
}
