//! Threads by their status, size and expiry.

use serde_json::{Value, json};

use crate::support::service::{CONFINED, SECRET, Service};
use crate::support::states;

/// The threads of an answer; all of it must have come.
async fn listed(service: &Service, secret: &str, body: Value) -> Vec<Value> {
    let answer = service.post_as(secret, "/v1/threads", body).await;
    let mut lines: Vec<Value> = answer
        .text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.pop(), Some(json!({"end": true})), "{}", answer.text);
    lines.iter_mut().map(|line| line["item"].take()).collect()
}

fn ids(threads: &[Value]) -> Vec<&str> {
    let mut ids: Vec<_> = threads
        .iter()
        .map(|thread| thread["thread_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids
}

async fn recorded(service: &Service, prefix: &str) {
    for name in [
        "finished",
        "interrupt",
        "error_and_interrupt",
        "handled_error",
    ] {
        states::store(&service.saver, name, &format!("{prefix}{name}")).await;
    }
}

#[tokio::test]
async fn threads_that_wait_or_failed_are_listed_with_their_status() {
    let service = Service::start().await;
    recorded(&service, "").await;
    let waiting = listed(&service, SECRET, json!({"waiting": true})).await;
    assert_eq!(ids(&waiting), ["error_and_interrupt", "interrupt"]);
    let interrupt = waiting.iter().find(|one| one["thread_id"] == "interrupt");
    let interrupt = interrupt.unwrap();
    assert_eq!(interrupt["status"], "interrupted");
    assert_eq!(
        (&interrupt["waiting"], &interrupt["failed"]),
        (&json!(true), &json!(false))
    );
    let failed = listed(&service, SECRET, json!({"failed": true})).await;
    assert_eq!(ids(&failed), ["error_and_interrupt"]);
    assert_eq!(failed[0]["status"], "error");
    let all = listed(&service, SECRET, json!({"status": true})).await;
    assert_eq!(all.len(), 4);
    assert!(all.iter().all(|one| one["status"].is_string()), "{all:?}");
}

#[tokio::test]
async fn a_confined_key_learns_no_status_of_other_threads() {
    let service = Service::start().await;
    recorded(&service, "").await;
    recorded(&service, "mine/").await;
    let body = json!({"waiting": true, "bytes": true, "sort": "size", "limit": 10});
    let mine = listed(&service, CONFINED, body).await;
    assert_eq!(ids(&mine), ["mine/error_and_interrupt", "mine/interrupt"]);
    let other = json!({"prefix": "interrupt", "waiting": true});
    assert!(listed(&service, CONFINED, other).await.is_empty());
}

#[tokio::test]
async fn threads_come_in_the_order_that_is_asked_for() {
    let service = Service::start().await;
    for (thread, length) in [("a", 10), ("b", 30_000), ("c", 5_000)] {
        let checkpoint = json!({"id": "1", "channel_values": {"text": "x".repeat(length)}});
        let ttl = match thread {
            "a" => json!({"for_ms": 9_000_000}),
            "b" => json!({"for_ms": 1_000_000}),
            _ => json!("forever"),
        };
        let config = json!({"thread_id": thread});
        let body = json!({"config": config, "checkpoint": checkpoint, "ttl": ttl});
        service.ok("/v1/put", body).await;
    }
    for (sort, expected) in [
        ("size", ["b", "c", "a"]),
        ("expiry", ["b", "a", "c"]),
        ("checkpoints", ["a", "b", "c"]),
        ("newest", ["c", "b", "a"]),
    ] {
        let body = json!({"sort": sort});
        let found = listed(&service, SECRET, body).await;
        let found: Vec<_> = found.iter().map(|one| one["thread_id"].clone()).collect();
        assert_eq!(found, expected, "{sort}");
        let body = json!({"sort": sort, "limit": 1});
        let first = listed(&service, SECRET, body).await;
        assert_eq!(first.len(), 1, "{sort}");
        assert_eq!(first[0]["thread_id"], expected[0], "{sort}");
        assert_eq!(first[0].get("bytes").is_some(), sort == "size");
    }
}

#[tokio::test]
async fn without_options_threads_are_told_as_before() {
    let service = Service::start().await;
    recorded(&service, "").await;
    let plain = listed(&service, SECRET, json!({"prefix": "int"})).await;
    let names: Vec<_> = plain[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["checkpoints", "newest", "thread_id", "ttl_ms"]);
}

#[tokio::test]
async fn an_order_or_a_limit_that_cannot_be_had_is_refused() {
    let service = Service::start().await;
    for body in [
        json!({"sort": "biggest"}),
        json!({"sort": "size", "limit": 10_001}),
        json!({"limit": -1}),
        json!({"waiting": "yes"}),
    ] {
        let answer = service.post("/v1/threads", body.clone()).await;
        assert_eq!(answer.status.as_u16(), 422, "{body}: {}", answer.text);
    }
}
