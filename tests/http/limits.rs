//! Limits: large bodies, slow clients, too many at once, and an end that waits.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::json;

use crate::support::server::Server;
use crate::support::service::{CONFINED, Raw, Service, answer, options};
use langgraph_checkpoint_redis::{RedisSaver, TtlPolicy};
use redis_modules::Standalone;

#[tokio::test]
async fn a_huge_body_is_refused_with_413_with_and_without_a_length() {
    let mut options = options();
    options.max_body_bytes = 100_000;
    let service = Service::with(options, TtlPolicy::default()).await;
    let mut raw = Raw::connect(service.address).await;
    raw.send_head("/checkpoints/put", 10_000_000_000).await;
    let response = raw.read_some().await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");

    // In chunks, without a length in the head.
    let piece = || Ok::<_, std::io::Error>(vec![b' '; 10_000]);
    let body = reqwest::Body::wrap_stream(stream::iter((0..11).map(move |_| piece())));
    let request = service.request("/checkpoints/put").body(body);
    let response = answer(request.header("content-type", "application/json")).await;
    assert_eq!(
        (response.status.as_u16(), &response.json()["code"]),
        (413, &json!(413))
    );
    service
        .ok("/checkpoints/get-tuple", json!({"thread_id": "t"}))
        .await;
}

#[tokio::test]
async fn an_answer_in_lines_that_takes_long_to_find_anything_is_not_cut_off() {
    let mut server = Server::start().await;
    let mut options = options();
    options.request_timeout = Duration::from_millis(400);
    let service = Service::over(server.saver().await, options).await;
    let stored = json!({"config": {"thread_id": "mine/1"}, "checkpoint": {"id": "1"}});
    service.ok("/v1/put", stored).await;
    for path in ["/v1/list", "/v1/threads"] {
        server.run(&["CLIENT", "PAUSE", "1500", "ALL"]).await;
        let response = service.post_as(CONFINED, path, json!({})).await;
        assert_eq!(response.status, 200, "{path}: {response:?}");
        let lines: Vec<_> = response.text.lines().collect();
        assert_eq!(
            lines[0], "",
            "nothing was said while it was quiet: {lines:?}"
        );
        assert!(lines[lines.len() - 2].contains("mine/1"), "{lines:?}");
        assert_eq!(lines[lines.len() - 1], r#"{"end":true}"#);
    }
}

#[tokio::test]
async fn more_names_than_one_request_may_hold_are_refused_before_anything_is_done() {
    let service = Service::start().await;
    let names: Vec<_> = (0..10_001).map(|number| format!("t{number}")).collect();
    for (path, field, body) in [
        (
            "/v1/prune",
            "thread_ids",
            json!({"thread_ids": names, "strategy": "keep_latest"}),
        ),
        ("/v1/delete-for-runs", "run_ids", json!({"run_ids": names})),
        (
            "/v1/delta-channel-history",
            "channels",
            json!({"config": {"thread_id": "t"}, "channels": names}),
        ),
    ] {
        let response = service.post(path, body).await;
        assert_eq!(response.status, 422, "{path}: {response:?}");
        let message = response.json()["message"].as_str().unwrap().to_owned();
        for says in [field, "10001", "10000"] {
            assert!(message.contains(says), "{message}");
        }
    }
}

#[tokio::test]
async fn a_client_that_is_slow_with_the_head_is_left() {
    let mut options = options();
    options.header_timeout = Duration::from_millis(300);
    let service = Service::with(options, TtlPolicy::default()).await;
    let mut silent = Raw::connect(service.address).await;
    let mut slow = Raw::connect(service.address).await;
    slow.send("POST /v1/put HTTP/1.1\r\nhost: loc").await;
    for raw in [&mut silent, &mut slow] {
        let response = raw.read_to_end().await;
        assert!(!response.starts_with("HTTP/1.1 5"), "{response}");
    }
}

#[tokio::test]
async fn a_client_that_is_slow_with_the_body_is_answered_408() {
    let mut options = options();
    options.body_timeout = Duration::from_millis(300);
    let service = Service::with(options, TtlPolicy::default()).await;
    let mut raw = Raw::connect(service.address).await;
    raw.send_head("/checkpoints/get-tuple", 17).await;
    raw.send(r#"{"thread_i"#).await;
    let response = raw.read_some().await;
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_failure_of_the_service() {
    let service = Service::start().await;
    let mut raw = Raw::connect(service.address).await;
    raw.send_head("/checkpoints/get-tuple", 17).await;
    raw.send("{").await;
    drop(raw);
    let mut raw = Raw::connect(service.address).await;
    raw.send("GET / HTTP/9.9\r\n\r\n").await;
    let response = raw.read_to_end().await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    service
        .ok("/checkpoints/get-tuple", json!({"thread_id": "t"}))
        .await;
}

#[tokio::test]
async fn a_client_that_leaves_its_answer_unread_gives_its_turn_back() {
    let mut options = options();
    options.max_in_flight = 1;
    options.key_limits.max_in_flight = Some(400);
    options.write_timeout = Duration::from_millis(300);
    let service = Service::with(options, TtlPolicy::default()).await;
    for position in 0..8 {
        let id = format!("{position}");
        let checkpoint = json!({"id": id, "text": "x".repeat(4_000_000)});
        let body = json!({"thread_id": "t", "checkpoint_id": id, "checkpoint": checkpoint});
        service.ok("/checkpoints/put", body).await;
    }
    let body = r#"{"config":{"thread_id":"t"}}"#;
    let mut unread = Raw::connect(service.address).await;
    unread.send_head("/v1/list", body.len()).await;
    unread.send(body).await;
    let begun = unread.read_some().await;
    assert!(begun.starts_with("HTTP/1.1 200 "), "{begun}");
    // Until the service leaves that client there is no turn; afterwards there is.
    until_served(&service).await;
}

/// A thread whose checkpoints are more than the buffers of a connection hold.
pub(crate) async fn large_thread(service: &Service, checkpoints: usize) {
    for position in 0..checkpoints {
        let id = format!("{position:03}");
        let checkpoint = json!({"id": id, "text": "x".repeat(500_000)});
        let body = json!({"thread_id": "t", "checkpoint_id": id, "checkpoint": checkpoint});
        service.ok("/checkpoints/put", body).await;
    }
}

/// A connection whose answer has begun, and of which no more is read.
async fn begun(service: &Service, path: &str, body: &str) -> Raw {
    let mut unread = Raw::connect(service.address).await;
    unread.send_head(path, body.len()).await;
    unread.send(body).await;
    let begun = unread.read_some().await;
    assert!(begun.starts_with("HTTP/1.1 200 "), "{begun}");
    unread
}

#[tokio::test]
async fn a_long_list_is_read_as_it_is_sent() {
    let mut server = Server::start().await;
    let service = Service::over(server.saver().await, options()).await;
    large_thread(&service, 130).await;
    server.run(&["CONFIG", "RESETSTAT"]).await;
    let body = r#"{"thread_id":"t","limit":1000}"#;
    let unread = begun(&service, "/checkpoints/list", body).await;
    let read = server.calls_of("json.get").await;
    assert!(
        read < 130,
        "{read} documents were read for a client that reads none"
    );
    drop(unread);
    let body = json!({"thread_id": "t", "limit": 1000});
    let listed = service.ok("/checkpoints/list", body).await;
    let ids: Vec<_> = listed.as_array().unwrap().iter().collect();
    assert_eq!(ids.len(), 130);
    assert_eq!(ids[129]["checkpoint"]["id"], "000");
}

#[tokio::test]
async fn a_list_that_fails_in_its_midst_is_known_to_be_broken() {
    let mut server = Server::start().await;
    let service = Service::over(server.saver().await, options()).await;
    large_thread(&service, 40).await;
    let document = "checkpoint:t:__empty__:001";
    server.run(&["SET", document, "x"]).await;
    let request = service.request("/checkpoints/list");
    let request = request.header("content-type", "application/json");
    let response = request.body(r#"{"thread_id":"t"}"#).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let read = response.bytes().await;
    assert!(read.is_err(), "a part passed for the complete response");
    // What fails at once is response.
    let body = json!({"thread_id": "t", "before_checkpoint_id": "002"});
    let response = service.post("/checkpoints/list", body).await;
    assert_eq!(response.status, 500, "{response:?}");
}

#[tokio::test]
async fn a_checkpoint_with_many_blobs_is_read_as_it_is_sent() {
    let mut server = Server::start().await;
    let service = Service::over(server.saver().await, options()).await;
    let channels: Vec<_> = (0..140).map(|number| format!("c{number:03}")).collect();
    for some in channels.chunks(20) {
        let blob = |channel| json!({"channel": channel, "version": "1", "type": "b", "blob": "A".repeat(400_000)});
        let versions: serde_json::Map<_, _> = channels
            .iter()
            .map(|channel| (channel.clone(), json!("1")))
            .collect();
        let body = json!({
            "thread_id": "t", "checkpoint_id": "1",
            "checkpoint": {"id": "1", "channel_versions": versions},
            "blobs": some.iter().map(blob).collect::<Vec<_>>(),
        });
        service.ok("/checkpoints/put", body).await;
    }
    server.run(&["CONFIG", "RESETSTAT"]).await;
    let body = r#"{"thread_id":"t"}"#;
    let unread = begun(&service, "/checkpoints/get-tuple", body).await;
    let read = server.calls_of("json.get").await;
    assert!(
        read < 140,
        "{read} blobs were read for a client that reads none"
    );
    drop(unread);
    let write = json!({"task_id": "a", "idx": 0, "channel": "c", "type": "b", "blob": "AAAA"});
    let writes = json!({"thread_id": "t", "checkpoint_id": "1", "writes": [write]});
    service.ok("/checkpoints/put-writes", writes).await;
    let tuple = service
        .ok("/checkpoints/get-tuple", json!({"thread_id": "t"}))
        .await;
    let found: Vec<_> = tuple["blobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|blob| blob["channel"].as_str().unwrap())
        .collect();
    assert_eq!(found, channels);
    assert_eq!(tuple["pending_writes"][0]["task_id"], "a");
    // The checkpoint goes while its answer is sent: what was sent is not a complete response.
    let request = service.request("/checkpoints/get-tuple");
    let request = request.header("content-type", "application/json");
    let response = request.body(body).send().await.unwrap();
    server.run(&["DEL", "checkpoint:t:__empty__:1"]).await;
    assert!(
        response.bytes().await.is_err(),
        "a part passed for the complete response"
    );
}

async fn until_served(service: &Service) {
    for _ in 0..300 {
        let response = service
            .post("/v1/get-tuple", json!({"config": {"thread_id": "none"}}))
            .await;
        match response.status.as_u16() {
            200 => return,
            503 => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => panic!("{response:?}"),
        }
    }
    panic!("it was never served");
}

#[tokio::test]
async fn one_request_too_many_is_answered_503_at_once_and_the_next_is_served() {
    let mut server = Server::start().await;
    let mut options = options();
    options.max_in_flight = 1;
    options.key_limits.max_in_flight = Some(400);
    let service = Service::over(server.saver().await, options).await;
    let body = r#"{"thread_id":"t","checkpoint_id":"1","checkpoint":{"id":"1"}}"#;
    server.run(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let mut first = Raw::connect(service.address).await;
    first.begin("/checkpoints/put", body.len()).await;
    first.send(body).await;
    until_in_flight(&service).await;
    let refused = service
        .post("/checkpoints/get-tuple", json!({"thread_id": "t"}))
        .await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.json()["code"], 503);
    assert_eq!(service.get("/healthz").await.status, 200);
    let metrics = service.get("/metrics").await;
    assert!(
        metrics.text.contains("langgraph_http_rejected_total"),
        "{}",
        metrics.text
    );
    server.run(&["CLIENT", "UNPAUSE"]).await;
    let response = first.read_some().await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    until_served(&service).await;
}

/// Waits until the service serves a request.
async fn until_in_flight(service: &Service) {
    for _ in 0..300 {
        let metrics = service.get("/metrics").await.text;
        if metrics.contains("langgraph_http_requests_in_flight 1") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no request was served");
}

#[tokio::test]
async fn a_load_of_many_callers_is_served_or_asked_to_retry() {
    let mut options = options();
    options.max_in_flight = 8;
    options.key_limits.max_in_flight = Some(400);
    let service = Service::with(options, TtlPolicy::default()).await;
    let served = stream::iter(0..400)
        .map(|number| {
            let id = format!("{number:04}");
            let body = json!({"thread_id": "t", "checkpoint_id": id, "checkpoint": {"id": id}});
            service.post("/checkpoints/put", body)
        })
        .buffer_unordered(64)
        .fold(0, async |served, response| match response.status.as_u16() {
            200 => served + 1,
            503 => served,
            _ => panic!("{response:?}"),
        })
        .await;
    assert!(served >= 8, "{served}");
    let listed = json!({"thread_id": "t", "limit": 1000});
    let listed = service.ok("/checkpoints/list", listed).await;
    assert_eq!(listed.as_array().unwrap().len(), served);
}

#[tokio::test]
async fn a_connection_too_many_is_closed() {
    let mut options = options();
    options.max_connections = 1;
    let service = Service::with(options, TtlPolicy::default()).await;
    let first = Raw::connect(service.address).await;
    let mut second = Raw::connect(service.address).await;
    assert_eq!(second.read_to_end().await, "");
    drop(first);
    for _ in 0..300 {
        let mut next = Raw::connect(service.address).await;
        next.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await;
        if next.read_to_end().await.starts_with("HTTP/1.1 200 ") {
            return;
        }
    }
    panic!("no other connection was served");
}

#[tokio::test]
async fn the_end_waits_for_what_was_begun() {
    let service = Service::start().await;
    let (address, saver) = (service.address, service.saver.clone());
    let body = r#"{"thread_id":"t","checkpoint_id":"1","checkpoint":{"id":"1"}}"#;
    let mut begun = Raw::connect(address).await;
    // Until the service has the head, the connection counts as idle.
    begun.begin("/checkpoints/put", body.len()).await;
    begun.send(&body[..5]).await;
    let running = service.begin_to_stop();
    while let Ok(connected) = tokio::net::TcpStream::connect(address).await {
        drop(connected);
        tokio::task::yield_now().await;
    }
    assert!(!running.is_finished());
    begun.send(&body[5..]).await;
    let response = begun.read_to_end().await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    running.await.unwrap().unwrap();
    // The saver is closed with the service.
    let config = langgraph_checkpoint_redis::CheckpointConfig::new("t").unwrap();
    let closed = langgraph_checkpoint_redis::CheckpointSaver::get_tuple(&saver, &config).await;
    assert!(closed.is_err());
}

#[tokio::test]
async fn a_store_that_is_gone_is_answered_503_without_a_word_of_where_it_was() {
    let redis = Standalone::start().unwrap();
    let port = redis.port().to_string();
    let server = Server::over(redis).await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .command_timeout(Duration::from_millis(500))
        .build()
        .await
        .unwrap();
    let service = Service::over(saver, options()).await;
    assert_eq!(service.get("/readyz").await.status, 200);
    drop(server);
    for body in [
        json!({"thread_id": "t"}),
        json!({"thread_id": "t", "checkpoint_id": "1"}),
    ] {
        let response = service.post("/checkpoints/get-tuple", body).await;
        assert!(
            matches!(response.status.as_u16(), 503 | 504),
            "{response:?}"
        );
        assert!(
            !response.text.contains(&port) && !response.text.contains("127.0.0.1"),
            "{response:?}"
        );
        let response = response.json();
        assert_eq!(response["data"], serde_json::Value::Null);
    }
    let response = service.post("/v1/pin", json!({"thread_id": "t"})).await;
    assert!(
        matches!(response.status.as_u16(), 503 | 504),
        "{response:?}"
    );
    assert!(!response.text.contains(&port), "{response:?}");
    assert_eq!(service.get("/readyz").await.status, 503);
    assert_eq!(service.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn what_still_goes_on_when_the_time_to_end_is_over_is_cut_off() {
    let mut options = options();
    options.drain_timeout = Duration::from_millis(300);
    options.body_timeout = Duration::from_secs(600);
    let service = Service::with(options, TtlPolicy::default()).await;
    let mut slow = Raw::connect(service.address).await;
    // Until the service has the head, the connection counts as idle.
    slow.begin("/checkpoints/get-tuple", 17).await;
    slow.send("{").await;
    let running = service.begin_to_stop();
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
    ended.expect("the service goes on").unwrap().unwrap();
    assert_eq!(slow.read_to_end().await, "");
}
