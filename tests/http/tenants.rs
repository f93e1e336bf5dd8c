//! Many tenants: what one key takes is not taken from another, and keys change while all goes on.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use langgraph_checkpoint_redis::TtlPolicy;
use langgraph_checkpoint_redis::server::{
    ApiKeys, Authentication, KeyFile, KeyLimits, ServerOptions, openapi,
};
use serde_json::{Value, json};

use crate::limits::large_thread;
use crate::refusals::endpoints;
use crate::support::service::{Answer, CONFINED, Raw, SECRET, Service, answer, client, options};

const PATH: &str = "/checkpoints/get-tuple";
const BODY: &str = r#"{"thread_id":"mine/1"}"#;

/// Options with the key of `SECRET`, which has options of its own, and that of `CONFINED`.
fn with_key(own: &str) -> ServerOptions {
    let lines = format!(
        "tests:{}[{own}]\nteam:{}:mine/",
        ApiKeys::hash(SECRET),
        ApiKeys::hash(CONFINED)
    );
    ServerOptions::new(Authentication::Keys(ApiKeys::parse(&lines).unwrap()))
}

async fn ask(service: &Service, secret: &str) -> Answer {
    let body = json!({"thread_id": "mine/1"});
    service.post_as(secret, PATH, body).await
}

/// A request whose body does not arrive, and what was answered to its head.
async fn half_sent(service: &Service, secret: &str, length: usize) -> (Raw, String) {
    let mut raw = Raw::connect(service.address).await;
    let answered = raw.begin_as(secret, PATH, length).await;
    (raw, answered)
}

fn waits(answered: &str) -> bool {
    answered.starts_with("HTTP/1.1 100 ")
}

/// Asks until the answer has a status: what a connection took is given back once the service sees
/// that it was closed.
async fn until_answered(service: &Service, secret: &str, status: u16) {
    for _ in 0..600 {
        if ask(service, secret).await.status == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it was never answered {status}");
}

#[tokio::test]
async fn half_sent_requests_of_one_key_cost_another_no_503() {
    let service = Service::with(options(), TtlPolicy::default()).await;
    let begun = join_all((0..256).map(|_| half_sent(&service, SECRET, BODY.len()))).await;
    let waiting = begun.iter().filter(|(_, answered)| waits(answered)).count();
    assert_eq!(waiting, 128, "a key has half of the requests");
    for (_, answered) in &begun {
        let is_refused = answered.starts_with("HTTP/1.1 429 ");
        assert!(waits(answered) || is_refused, "{answered}");
    }
    for _ in 0..10 {
        for other in join_all((0..20).map(|_| ask(&service, CONFINED))).await {
            assert_eq!(other.status, 200, "{other:?}");
        }
    }
    let (mut first, _) = begun
        .into_iter()
        .find(|(_, answered)| waits(answered))
        .unwrap();
    first.send(BODY).await;
    let answered = first.read_some().await;
    assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_takes_no_turn() {
    let mut options = options();
    options.max_in_flight = 1;
    options.key_limits.max_in_flight = Some(10);
    let service = Service::with(options, TtlPolicy::default()).await;
    let mut begun = Vec::new();
    for _ in 0..5 {
        let (raw, answered) = half_sent(&service, SECRET, BODY.len()).await;
        assert!(waits(&answered), "{answered}");
        begun.push(raw);
    }
    assert_eq!(ask(&service, CONFINED).await.status, 200);
    assert_eq!(ask(&service, SECRET).await.status, 200);
    begun[0].send(BODY).await;
    let answered = begun[0].read_some().await;
    assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
}

#[tokio::test]
async fn a_key_at_its_limit_of_requests_is_answered_429_and_others_are_served() {
    let service = Service::with(with_key("max-in-flight=1"), TtlPolicy::default()).await;
    let (raw, answered) = half_sent(&service, SECRET, BODY.len()).await;
    assert!(waits(&answered), "{answered}");
    let refused = ask(&service, SECRET).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.json()["code"], 429);
    assert_eq!(ask(&service, CONFINED).await.status, 200);
    drop(raw);
    until_answered(&service, SECRET, 200).await;
    let metrics = service.get("/metrics").await.text;
    for series in [
        r#"langgraph_http_key_rejected_total{key="tests",reason="in_flight"}"#,
        r#"langgraph_http_key_requests_total{key="team",status="200"}"#,
        r#"langgraph_http_key_requests_in_flight{key="tests"}"#,
    ] {
        assert!(metrics.contains(series), "{series}: {metrics}");
    }
}

#[tokio::test]
async fn a_list_that_is_not_read_counts_to_its_key_until_it_ends() {
    let service = Service::with(with_key("max-in-flight=1"), TtlPolicy::default()).await;
    large_thread(&service, 40).await;
    let body = r#"{"config":{"thread_id":"t"}}"#;
    let mut unread = Raw::connect(service.address).await;
    unread.send_head("/v1/list", body.len()).await;
    unread.send(body).await;
    let begun = unread.read_some().await;
    assert!(begun.starts_with("HTTP/1.1 200 "), "{begun}");
    assert_eq!(ask(&service, SECRET).await.status, 429);
    assert_eq!(ask(&service, CONFINED).await.status, 200);
    drop(unread);
    until_answered(&service, SECRET, 200).await;
}

#[tokio::test]
async fn a_key_beyond_its_rate_is_told_when_to_come_again() {
    let service = Service::with(with_key("rate=1 burst=2"), TtlPolicy::default()).await;
    let answers = join_all((0..40).map(|_| ask(&service, SECRET))).await;
    let refused: Vec<_> = answers.iter().filter(|one| one.status == 429).collect();
    assert!(!refused.is_empty(), "{answers:?}");
    assert!(answers.iter().filter(|one| one.status == 200).count() >= 2);
    for one in refused {
        assert_eq!(one.headers["retry-after"], "1", "{one:?}");
        assert!(one.text.contains("per second"), "{one:?}");
    }
    assert_eq!(ask(&service, CONFINED).await.status, 200);
}

#[tokio::test]
async fn the_bytes_that_a_key_holds_are_bounded_from_the_heads_of_its_requests_on() {
    let service = Service::with(with_key("max-held-bytes=1000"), TtlPolicy::default()).await;
    let (raw, answered) = half_sent(&service, SECRET, 990).await;
    assert!(waits(&answered), "{answered}");
    let refused = ask(&service, SECRET).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.text.contains("bytes"), "{refused:?}");
    // In chunks, without a length in the head.
    let pieces = [BODY[..5].to_owned(), BODY[5..].to_owned()].map(Ok::<_, std::io::Error>);
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    let request = service.request(PATH).body(body);
    let refused = answer(request.header("content-type", "application/json")).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(ask(&service, CONFINED).await.status, 200);
    drop(raw);
    until_answered(&service, SECRET, 200).await;
    // A body that could never be held is not worth another try.
    let (_, answered) = half_sent(&service, SECRET, 1_001).await;
    assert!(answered.starts_with("HTTP/1.1 413 "), "{answered}");
}

#[tokio::test]
async fn the_bytes_that_all_keys_hold_are_bounded() {
    let mut options = options();
    (options.max_body_bytes, options.max_held_bytes) = (1_000, 1_500);
    let service = Service::with(options, TtlPolicy::default()).await;
    let (raw, answered) = half_sent(&service, SECRET, 990).await;
    assert!(waits(&answered), "{answered}");
    let (_, refused) = half_sent(&service, CONFINED, 900).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    assert_eq!(ask(&service, CONFINED).await.status, 200);
    // The largest body of all fits as soon as nothing else is held.
    drop(raw);
    for _ in 0..600 {
        let (_, answered) = half_sent(&service, CONFINED, 1_000).await;
        if waits(&answered) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the bytes were never given back");
}

#[tokio::test]
async fn a_key_may_have_smaller_bodies_than_others() {
    let service = Service::with(with_key("max-body-bytes=100"), TtlPolicy::default()).await;
    let body = || json!({"thread_id": "mine/1", "checkpoint_id": "x".repeat(100)});
    let refused = service.post_as(SECRET, PATH, body()).await;
    assert_eq!(refused.status, 413, "{refused:?}");
    let served = service.post_as(CONFINED, PATH, body()).await;
    assert_eq!(served.status, 200, "{served:?}");
    assert_eq!(ask(&service, SECRET).await.status, 200);
}

#[tokio::test]
async fn a_limit_for_all_keys_gives_way_to_that_of_one() {
    let mut options = with_key("max-body-bytes=1000");
    let mut all = KeyLimits::default();
    all.max_body_bytes = Some(100);
    options.key_limits = all;
    let service = Service::with(options, TtlPolicy::default()).await;
    let body = || json!({"thread_id": "mine/1", "checkpoint_id": "x".repeat(200)});
    let own = service.post_as(SECRET, PATH, body()).await;
    assert_eq!(own.status, 200, "{own:?}");
    let of_all = service.post_as(CONFINED, PATH, body()).await;
    assert_eq!(of_all.status, 413, "{of_all:?}");
}

/// Which scope each endpoint needs.
fn scopes() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("/checkpoints/get-tuple", "read"),
        ("/checkpoints/put", "write"),
        ("/checkpoints/put-writes", "write"),
        ("/checkpoints/list", "read"),
        ("/checkpoints/delete-thread", "admin"),
        ("/v1/setup", "read"),
        ("/v1/put", "write"),
        ("/v1/put-writes", "write"),
        ("/v1/get-tuple", "read"),
        ("/v1/list", "read"),
        ("/v1/delete-thread", "admin"),
        ("/v1/delete-for-runs", "admin"),
        ("/v1/copy-thread", "write"),
        ("/v1/prune", "admin"),
        ("/v1/delta-channel-history", "read"),
        ("/v1/threads", "read"),
        ("/v1/touch", "write"),
        ("/v1/pin", "write"),
        ("/v1/unpin", "write"),
        ("/metrics", "read"),
    ])
}

#[tokio::test]
async fn a_key_does_what_its_scopes_are_for_and_nothing_else() {
    let names = ["read", "write", "admin"];
    let lines = names.map(|name| format!("{name}:{}[scopes={name}]", ApiKeys::hash(name)));
    let all = format!("all:{}", ApiKeys::hash(SECRET));
    let keys = ApiKeys::parse(&[&lines[..], &[all]].concat().join("\n")).unwrap();
    let options = ServerOptions::new(Authentication::Keys(keys));
    let service = Service::with(options, TtlPolicy::default()).await;
    let expected = scopes();
    let mut bodies = endpoints();
    bodies.push(("/v1/setup", Value::Null));
    for (path, body) in bodies {
        for name in names {
            let answer = service.post_as(name, path, body.clone()).await;
            if expected[path] == name {
                assert!(answer.status.is_success(), "{path} {name}: {answer:?}");
            } else {
                assert_eq!(answer.status, 403, "{path} {name}: {answer:?}");
                let says = format!("`{}`", expected[path]);
                assert!(answer.text.contains(&says), "{answer:?}");
            }
        }
    }
    for (name, status) in [("read", 200), ("write", 403), ("admin", 403)] {
        let request = client().get(service.url("/metrics")).bearer_auth(name);
        assert_eq!(answer(request).await.status, status, "{name}");
    }
}

#[test]
fn the_openapi_document_says_which_scope_an_endpoint_needs() {
    let document: Value = serde_json::from_str(&openapi().unwrap()).unwrap();
    let expected = scopes();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let description = operation["description"].as_str().unwrap_or_default();
            let says = expected
                .get(path.as_str())
                .map(|scope| format!("Needs the scope `{scope}`."));
            match says {
                Some(says) => assert!(description.ends_with(&says), "{method} {path}"),
                None => assert!(!description.contains("scope"), "{method} {path}"),
            }
            for status in ["403", "429"] {
                let is_said = operation["responses"].get(status).is_some();
                let is_expected = method == "post" || (path == "/metrics" && status == "403");
                assert_eq!(is_said, is_expected, "{method} {path} {status}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_that_has_expired_is_unknown() {
    for (expires, status) in [("2001-01-01", 401), ("2999-01-01", 200)] {
        let options = with_key(&format!("expires={expires}"));
        let service = Service::with(options, TtlPolicy::default()).await;
        let answer = ask(&service, SECRET).await;
        assert_eq!(answer.status, status, "{expires}: {answer:?}");
        assert_eq!(ask(&service, CONFINED).await.status, 200);
    }
}

fn write(path: &Path, keys: &[(&str, &str)]) {
    let lines = keys
        .iter()
        .map(|(name, secret)| format!("{name}:{}\n", ApiKeys::hash(secret)));
    std::fs::write(path, lines.collect::<String>()).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[tokio::test]
async fn the_requests_of_a_removed_key_end_as_they_would_have_and_new_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    write(&path, &[("old", SECRET)]);
    let file = KeyFile::open(&path).unwrap();
    let options = ServerOptions::new(Authentication::KeyFile(file.clone()));
    let service = Service::with(options, TtlPolicy::default()).await;
    let (mut begun, answered) = half_sent(&service, SECRET, BODY.len()).await;
    assert!(waits(&answered), "{answered}");
    assert_eq!(ask(&service, CONFINED).await.status, 401);
    write(&path, &[("new", CONFINED)]);
    file.reload().unwrap();
    assert_eq!(ask(&service, SECRET).await.status, 401);
    assert_eq!(ask(&service, CONFINED).await.status, 200);
    begun.send(BODY).await;
    let answered = begun.read_some().await;
    assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
}

#[tokio::test]
async fn a_change_of_the_file_is_taken_over_by_itself_unless_it_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    write(&path, &[("old", SECRET)]);
    let file = KeyFile::open(&path).unwrap();
    let options = ServerOptions::new(Authentication::KeyFile(file));
    let service = Service::with(options, TtlPolicy::default()).await;
    write(&path, &[("new", CONFINED), ("", SECRET)]);
    let error = ApiKeys::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    assert_eq!(ask(&service, SECRET).await.status, 200);
    write(&path, &[("new", CONFINED)]);
    until_answered(&service, CONFINED, 200).await;
    assert_eq!(ask(&service, SECRET).await.status, 401);
}

/// What a connection of its own is answered.
async fn answered_alone(service: &Service, path: &str) -> String {
    let mut raw = Raw::connect(service.address).await;
    raw.send(&format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
        .await;
    // It is closed after one request.
    raw.read_to_end().await
}

#[tokio::test]
async fn health_is_answered_when_there_are_too_many_connections() {
    for of_address in [false, true] {
        let mut options = options();
        let limit = if of_address {
            &mut options.max_connections_per_address
        } else {
            &mut options.max_connections
        };
        *limit = 1;
        let service = Service::with(options, TtlPolicy::default()).await;
        let first = Raw::connect(service.address).await;
        for path in ["/healthz", "/readyz"] {
            let answered = answered_alone(&service, path).await;
            assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
        }
        for path in ["/metrics", "/openapi.json", PATH] {
            let answered = answered_alone(&service, path).await;
            assert!(answered.starts_with("HTTP/1.1 503 "), "{answered}");
            assert!(answered.contains("retry-after: 1\r\n"), "{answered}");
        }
        drop(first);
        for _ in 0..600 {
            if ask(&service, SECRET).await.status == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(ask(&service, SECRET).await.status, 200);
    }
}

#[tokio::test]
async fn silent_connections_beyond_the_bound_leave_health_to_be_asked() {
    let mut options = options();
    options.max_connections = 1;
    let service = Service::with(options, TtlPolicy::default()).await;
    let _first = Raw::connect(service.address).await;
    // All that one address gets beyond the bound: the service leaves them after a short time.
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(Raw::connect(service.address).await);
    }
    for _ in 0..600 {
        let answered = answered_alone(&service, "/healthz").await;
        if answered.starts_with("HTTP/1.1 200 ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("health was never answered");
}
