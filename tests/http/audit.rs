//! The audit log: who changed what, and how it ended.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, Once};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::support::server::Server;
use crate::support::service::{CONFINED, Raw, SECRET, Service, answer, client, options};
use langgraph_checkpoint_redis::MemorySaver;

type Fields = HashMap<&'static str, String>;

/// The audit lines of this process; tests know theirs by the ids of their requests.
static LINES: Mutex<Vec<Fields>> = Mutex::new(Vec::new());

struct Recorder;

struct Recorded(Fields);

impl Visit for Recorded {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() == "langgraph_checkpoint_redis::audit" {
            let mut fields = Recorded(Fields::new());
            event.record(&mut fields);
            LINES.lock().unwrap().push(fields.0);
        }
    }
}

fn record() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::registry().with(Recorder).init());
}

/// The lines of a request so far.
fn lines_of(request: &str) -> Vec<Fields> {
    let lines = LINES.lock().unwrap();
    let lines = lines.iter().filter(|line| line["request_id"] == request);
    lines.cloned().collect()
}

/// The only line of a request, once it is written.
async fn line_of(request: &str) -> Fields {
    let found = async {
        loop {
            if let [line] = &lines_of(request)[..] {
                return line.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), found).await;
    found.unwrap_or_else(|_| panic!("{request}: {:?}", lines_of(request)))
}

/// Posts a body with a request id of its own, which it gives back with the status.
async fn send<S>(service: &Service<S>, secret: &str, path: &str, body: &Value) -> (String, u16) {
    let id = crate::support::random_prefix();
    let request = client()
        .post(service.url(path))
        .bearer_auth(secret)
        .header("content-type", "application/json")
        .header("x-request-id", &id)
        .header("x-forwarded-for", "203.0.113.9")
        .body(body.to_string());
    (id, answer(request).await.status.as_u16())
}

/// A thread as the log shows it: `printf %s THREAD | sha256sum | cut -c -16`.
const MINE: &str = "aa12e04dfe44bb1b";

#[tokio::test]
async fn every_change_has_a_line_that_says_who_did_what() {
    record();
    let service = Service::start().await;
    let config = json!({"thread_id": "mine/1", "checkpoint_ns": "n"});
    let at = json!({"thread_id": "mine/1", "checkpoint_ns": "n", "checkpoint_id": "2"});
    let thread = json!({"thread_id": "mine/1"});
    for (path, body, operation, checkpoint) in [
        (
            "/checkpoints/put",
            json!({"thread_id": "mine/1", "checkpoint_ns": "n", "checkpoint_id": "1",
                   "checkpoint": {"id": "1"}}),
            "put",
            Some("1"),
        ),
        (
            "/checkpoints/put-writes",
            json!({"thread_id": "mine/1", "checkpoint_ns": "n", "checkpoint_id": "1",
                   "writes": []}),
            "put_writes",
            Some("1"),
        ),
        (
            "/v1/put",
            json!({"config": config, "checkpoint": {"id": "2"}}),
            "put",
            Some("2"),
        ),
        (
            "/v1/put-writes",
            json!({"config": at, "writes": [], "task_id": "a"}),
            "put_writes",
            Some("2"),
        ),
        ("/v1/pin", thread.clone(), "pin", None),
        ("/v1/unpin", thread.clone(), "unpin", None),
        ("/v1/touch", thread.clone(), "touch", None),
        (
            "/v1/prune",
            json!({"thread_ids": ["mine/1"], "strategy": "keep_latest"}),
            "prune",
            None,
        ),
        ("/v1/delete-thread", thread.clone(), "delete_thread", None),
        ("/checkpoints/delete-thread", thread, "delete_thread", None),
    ] {
        let (id, status) = send(&service, CONFINED, path, &body).await;
        assert!(status < 300, "{path}: {status}");
        let line = line_of(&id).await;
        for (field, expected) in [
            ("operation", operation),
            ("route", path),
            ("key", "team"),
            ("thread", MINE),
            ("outcome", "ok"),
            ("status", &status.to_string()),
        ] {
            assert_eq!(line[field], expected, "{path}: {line:?}");
        }
        assert_eq!(line.get("checkpoint").map(String::as_str), checkpoint);
        let namespace = line.get("checkpoint_ns").map(String::as_str);
        assert_eq!(namespace, checkpoint.map(|_| "n"), "{line:?}");
        // What a header says of the address is not believed.
        assert!(line["peer"].starts_with("127.0.0.1:"), "{line:?}");
        assert!(!line.contains_key("kind"), "{line:?}");
    }
    let (id, _) = send(&service, SECRET, "/v1/setup", &Value::Null).await;
    let line = line_of(&id).await;
    assert_eq!((&*line["operation"], &*line["key"]), ("setup", "tests"));
}

#[tokio::test]
async fn a_call_on_several_threads_or_runs_has_a_line_for_each() {
    record();
    let service = Service::start().await;
    let body = json!({"thread_ids": ["mine/1", "mine/2"], "strategy": "keep_latest"});
    let (id, _) = send(&service, SECRET, "/v1/prune", &body).await;
    let threads: Vec<_> = lines_of(&id)
        .iter()
        .map(|line| line["thread"].clone())
        .collect();
    assert_eq!(threads, [MINE, "83030f0b9053fb21"]);
    let body = json!({"run_ids": ["one", "two\n{}"]});
    let (id, _) = send(&service, SECRET, "/v1/delete-for-runs", &body).await;
    let runs: Vec<_> = lines_of(&id)
        .iter()
        .map(|line| line["run"].clone())
        .collect();
    assert_eq!(runs, ["one", "two\n{}"]);
    let stored = json!({"config": {"thread_id": "mine/1"}, "checkpoint": {"id": "1"}});
    service.ok("/v1/put", stored).await;
    let body = json!({"source": "mine/1", "target": "mine/2"});
    let (id, _) = send(&service, SECRET, "/v1/copy-thread", &body).await;
    let line = line_of(&id).await;
    assert_eq!(line["source"], MINE);
    assert_eq!(line["thread"], "83030f0b9053fb21");
}

#[tokio::test]
async fn what_was_refused_has_a_line_and_what_only_reads_has_none() {
    record();
    let service = Service::start().await;
    let theirs = json!({"thread_id": "theirs"});
    let stale = json!({"config": {"thread_id": "mine/1"}, "checkpoint": {"id": "1"},
                       "expected_parent": {"is": "0"}});
    let delete = "/v1/delete-thread";
    for (secret, path, body, expected, key, kind) in [
        ("unknown", delete, &theirs, 401, None, None),
        (CONFINED, delete, &theirs, 404, Some("team"), None),
        (SECRET, delete, &json!({}), 422, Some("tests"), None),
        (
            SECRET,
            "/v1/put",
            &stale,
            409,
            Some("tests"),
            Some("conflict"),
        ),
    ] {
        let (id, status) = send(&service, secret, path, body).await;
        assert_eq!(status, expected);
        let line = line_of(&id).await;
        assert_eq!(line["outcome"], "refused", "{line:?}");
        assert_eq!(line.get("key").map(String::as_str), key, "{line:?}");
        assert_eq!(line.get("kind").map(String::as_str), kind, "{line:?}");
        // Who asked for a thread out of reach is known, too.
        assert_eq!(line.contains_key("thread"), matches!(status, 404 | 409));
    }
    let read = json!({"config": {"thread_id": "mine/1"}});
    let (id, status) = send(&service, SECRET, "/v1/get-tuple", &read).await;
    assert_eq!((status, lines_of(&id).len()), (200, 0));
    let (id, status) = send(&service, SECRET, "/v1/made-up", &read).await;
    assert_eq!((status, lines_of(&id).len()), (404, 0));
}

#[tokio::test]
async fn threads_are_shown_where_the_log_shows_them() {
    record();
    let mut options = options();
    options.shows_threads = true;
    let service = Service::over(MemorySaver::new(), options).await;
    let hostile = "mine/\n{\"outcome\":\"ok\"}";
    let body = json!({"thread_id": hostile});
    let (id, _) = send(&service, SECRET, "/v1/pin", &body).await;
    assert_eq!(line_of(&id).await["thread"], hostile);
}

#[tokio::test]
async fn a_change_that_the_store_could_not_make_has_failed() {
    record();
    let mut server = Server::start().await;
    let service = Service::over(server.saver().await, options()).await;
    server.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let body = json!({"config": {"thread_id": "mine/1"}, "checkpoint": {"id": "1"}});
    let (id, status) = send(&service, SECRET, "/v1/put", &body).await;
    let line = line_of(&id).await;
    assert_eq!(status, 503);
    assert_eq!(line["outcome"], "failed", "{line:?}");
    assert_eq!(line["kind"], "out_of_memory", "{line:?}");
    assert_eq!(line["thread"], MINE);
}

#[tokio::test]
async fn a_change_that_nobody_waits_for_is_abandoned() {
    record();
    let mut server = Server::start().await;
    let mut options = options();
    options.request_timeout = Duration::from_millis(500);
    let service = Service::over(server.saver().await, options.clone()).await;
    options.request_timeout = Duration::from_secs(60);
    let patient = Service::over(server.saver().await, options).await;
    server.run(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let body = json!({"config": {"thread_id": "mine/1"}, "checkpoint": {"id": "1"}});
    let (id, status) = send(&service, SECRET, "/v1/put", &body).await;
    assert_eq!(status, 504);
    let line = line_of(&id).await;
    assert_eq!(line["outcome"], "abandoned", "{line:?}");
    assert_eq!(line["kind"], "request_timeout", "{line:?}");
    assert_eq!(line["checkpoint"], "1", "{line:?}");

    let id = crate::support::random_prefix();
    let text = body.to_string();
    let mut raw = Raw::connect(patient.address).await;
    // All of the request arrives before its end does.
    raw.send(&format!(
        "POST /v1/put HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {SECRET}\r\n\
         content-type: application/json\r\nx-request-id: {id}\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    ))
    .await;
    drop(raw);
    let line = line_of(&id).await;
    assert_eq!(line["outcome"], "abandoned", "{line:?}");
    assert_eq!(line["kind"], "disconnected", "{line:?}");
    assert_eq!(line["key"], "tests", "{line:?}");
    server.run(&["CLIENT", "UNPAUSE"]).await;
    let metrics = service.get("/metrics").await.text;
    for reason in ["request_timeout", "disconnected"] {
        let series =
            format!(r#"langgraph_http_abandoned_total{{route="/v1/put",reason="{reason}"}}"#);
        assert!(metrics.contains(&series), "{metrics}");
    }
}

#[tokio::test]
async fn an_error_in_the_last_line_has_the_request_id_and_is_counted() {
    record();
    let mut server = Server::start().await;
    let mut options = options();
    options.request_timeout = Duration::from_millis(800);
    let service = Service::over(server.saver().await, options).await;
    let stored = json!({"config": {"thread_id": "mine/1"}, "checkpoint": {"id": "1"}});
    service.ok("/v1/put", stored).await;
    server.run(&["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    let id = crate::support::random_prefix();
    let body = json!({"source": "mine/1", "target": "mine/2"});
    let request = service
        .request("/v1/copy-thread")
        .header("content-type", "application/json")
        .header("x-request-id", &id)
        .body(body.to_string());
    // It begins with an empty line, while the copy waits.
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(lines_of(&id).len(), 0, "it goes on");
    server.run(&["CONFIG", "SET", "maxmemory", "1"]).await;
    server.run(&["CLIENT", "UNPAUSE"]).await;
    let mut text = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.unwrap());
    }
    let text = String::from_utf8(text).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["kind"], "out_of_memory", "{text}");
    assert_eq!(last["error"]["request_id"], *id, "{text}");
    let line = line_of(&id).await;
    assert_eq!(line["outcome"], "failed", "{line:?}");
    assert_eq!(line["kind"], "out_of_memory", "{line:?}");
    let metrics = service.get("/metrics").await.text;
    let series = r#"langgraph_http_errors_total{route="/v1/copy-thread",kind="out_of_memory"}"#;
    assert!(metrics.contains(series), "{metrics}");
}
