//! Keys: who may come in, and which threads each reaches.

use serde_json::{Value, json};

use crate::refusals::endpoints;
use crate::support::server::Server;
use crate::support::service::{CONFINED, SECRET, Service, answer, client, options};
use langgraph_checkpoint_redis::server::{Authentication, ServerOptions};
use langgraph_checkpoint_redis::{CheckpointSaver, ThreadId, TtlPolicy};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

#[tokio::test]
async fn without_a_key_nothing_is_answered_but_401() {
    let service = Service::start().await;
    let key = HeaderName::from_static("x-agent-api-key");
    let mut paths: Vec<_> = endpoints().into_iter().map(|(path, _)| path).collect();
    paths.push("/v1/setup");
    for path in paths {
        for (name, value) in [
            (None, ""),
            (Some(&AUTHORIZATION), "Bearer wrong"),
            (Some(&AUTHORIZATION), "Bearer "),
            (Some(&AUTHORIZATION), "Bearer"),
            (Some(&AUTHORIZATION), SECRET),
            (Some(&AUTHORIZATION), "Basic dGVzdHM6"),
            (Some(&key), "wrong"),
            (Some(&key), ""),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(name) = name {
                headers.insert(name, HeaderValue::from_static(value));
            }
            // Not even a body that is no JSON is looked at.
            let request = client().post(service.url(path)).headers(headers).body("{");
            let answer = answer(request).await;
            assert_eq!(answer.status, 401, "{path} {value}: {answer:?}");
            assert_eq!(answer.json(), json!({"detail": "Unauthorized"}));
        }
    }
    let metrics = answer(client().get(service.url("/metrics"))).await;
    assert_eq!(metrics.status, 401);
}

#[tokio::test]
async fn a_key_is_taken_from_either_header() {
    let service = Service::start().await;
    let body = r#"{"thread_id":"t"}"#;
    for headers in [
        vec![("x-agent-api-key", SECRET.to_owned())],
        vec![("authorization", format!("Bearer {SECRET}"))],
        vec![("authorization", format!("bearer {SECRET}"))],
        vec![
            ("x-agent-api-key", SECRET.to_owned()),
            ("authorization", "Bearer of another service".to_owned()),
        ],
    ] {
        let mut request = client().post(service.url("/checkpoints/get-tuple"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .header("content-type", "application/json")
            .body(body);
        assert_eq!(answer(request).await.status, 200);
    }
}

fn with_thread(body: &Value, thread: &str) -> Value {
    let text = body.to_string();
    serde_json::from_str(&text.replace("\"t\"", &json!(thread).to_string())).unwrap()
}

#[tokio::test]
async fn a_confined_key_finds_no_thread_outside_its_prefix() {
    let service = Service::start().await;
    let stored = json!({"config": {"thread_id": "theirs"}, "checkpoint": {"id": "1"}, "metadata": {"run_id": "r"}});
    service.ok("/v1/put", stored).await;
    let before = service
        .ok("/v1/get-tuple", json!({"config": {"thread_id": "theirs"}}))
        .await;
    for (path, body) in endpoints() {
        for thread in ["theirs", "nobody's", "mine", "MINE/1"] {
            if !body.to_string().contains("\"t\"") || path == "/v1/threads" {
                continue;
            }
            let answer = service
                .post_as(CONFINED, path, with_thread(&body, thread))
                .await;
            assert_eq!(answer.status, 404, "{path} {thread}: {answer:?}");
            let response = json!({"message": "there is no such thread", "code": 404, "data": null});
            assert_eq!(answer.json(), response);
        }
        let body = with_thread(&body, "mine/1")
            .to_string()
            .replace("\"u\"", "\"mine/2\"");
        let answer = service
            .post_as(CONFINED, path, serde_json::from_str(&body).unwrap())
            .await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    }
    // A copy must not come from outside, nor go there; one thread outside spoils all.
    for (path, body) in [
        (
            "/v1/copy-thread",
            json!({"source": "theirs", "target": "mine/3"}),
        ),
        (
            "/v1/copy-thread",
            json!({"source": "mine/1", "target": "theirs"}),
        ),
        (
            "/v1/prune",
            json!({"thread_ids": ["mine/1", "theirs"], "strategy": "delete"}),
        ),
    ] {
        let answer = service.post_as(CONFINED, path, body).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
    }
    let after = service
        .ok("/v1/get-tuple", json!({"config": {"thread_id": "theirs"}}))
        .await;
    assert_eq!(after, before);
}

fn items(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.is_empty());
    let mut lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.pop(), Some(json!({"end": true})));
    lines
        .into_iter()
        .map(|mut line| line["item"].take())
        .collect()
}

#[tokio::test]
async fn a_confined_key_lists_and_deletes_only_within_its_prefix() {
    let service = Service::start().await;
    for thread in ["a", "mine/1", "mine/2", "z"] {
        let config = json!({"thread_id": thread});
        let body =
            json!({"config": config, "checkpoint": {"id": "1"}, "metadata": {"run_id": "r"}});
        service.ok("/v1/put", body).await;
    }
    let threads = async |secret: &str, prefix: &str| {
        let answer = service
            .post_as(secret, "/v1/threads", json!({"prefix": prefix}))
            .await;
        let mut found: Vec<_> = items(&answer.text)
            .iter()
            .map(|one| one["thread_id"].as_str().unwrap().to_owned())
            .collect();
        found.sort();
        found
    };
    assert_eq!(threads(CONFINED, "").await, ["mine/1", "mine/2"]);
    assert_eq!(threads(CONFINED, "mine/2").await, ["mine/2"]);
    assert_eq!(threads(CONFINED, "a").await, [""; 0]);
    assert_eq!(threads(SECRET, "").await, ["a", "mine/1", "mine/2", "z"]);
    for (limit, prefix, expected) in [
        (None, "", 2),
        (Some(1), "", 1),
        (None, "mi", 2),
        (None, "mine/2", 1),
        (None, "a", 0),
        (None, "z", 0),
    ] {
        let body = json!({"limit": limit, "prefix": prefix});
        let answer = service.post_as(CONFINED, "/v1/list", body).await;
        let found = items(&answer.text);
        assert_eq!(found.len(), expected);
        assert!(found.iter().all(|one| {
            one["config"]["thread_id"]
                .as_str()
                .unwrap()
                .starts_with("mine/")
        }));
    }
    let delete = async |secret: &str, body: Value| {
        let answer = service.post_as(secret, "/v1/delete-for-runs", body).await;
        assert_eq!(answer.status, 204);
        threads(SECRET, "").await
    };
    for prefix in ["a", "mine/3", "z"] {
        let left = delete(CONFINED, json!({"run_ids": ["r"], "prefix": prefix})).await;
        assert_eq!(left, ["a", "mine/1", "mine/2", "z"], "{prefix}");
    }
    let left = delete(CONFINED, json!({"run_ids": ["r"], "prefix": "mine/2"})).await;
    assert_eq!(left, ["a", "mine/1", "z"]);
    let left = delete(CONFINED, json!({"run_ids": ["r"]})).await;
    assert_eq!(left, ["a", "z"]);
    let left = delete(SECRET, json!({"run_ids": ["r"], "prefix": "z"})).await;
    assert_eq!(left, ["a"]);
}

#[tokio::test]
async fn a_list_of_a_thread_of_another_prefix_is_empty() {
    let service = Service::in_memory().await;
    let mine = json!({"config": {"thread_id": "mine/1"}, "checkpoint": {"id": "1"}});
    service.ok("/v1/put", mine).await;
    for (prefix, expected) in [("", 1), ("mi", 1), ("mine/1", 1), ("mine/11", 0), ("a", 0)] {
        let body = json!({"config": {"thread_id": "mine/1"}, "prefix": prefix});
        let answer = service.post_as(CONFINED, "/v1/list", body).await;
        assert_eq!(items(&answer.text).len(), expected, "{prefix:?}");
    }
}

#[tokio::test]
async fn a_confined_key_has_no_document_of_others_read() {
    let mut server = Server::start().await;
    let service = Service::over(server.saver().await, options()).await;
    for number in 0..40 {
        let config = json!({"thread_id": format!("theirs/{number}")});
        let body = json!({"config": config, "checkpoint": {"id": "1"}});
        service.ok("/v1/put", body).await;
    }
    let mine = json!({"config": {"thread_id": "mine/1"}, "checkpoint": {"id": "1"}});
    service.ok("/v1/put", mine).await;
    server.run(&["CONFIG", "RESETSTAT"]).await;
    let answer = service.post_as(CONFINED, "/v1/list", json!({})).await;
    assert_eq!(items(&answer.text).len(), 1, "{answer:?}");
    let read = server.calls_of("json.get").await;
    assert!(read <= 1, "{read} documents were read");
    for number in 0..40 {
        let config = json!({"thread_id": format!("theirs/{number}"), "run_id": "r"});
        let body = json!({"config": config, "checkpoint": {"id": "2"}});
        service.ok("/v1/put", body).await;
    }
    server.run(&["CONFIG", "RESETSTAT"]).await;
    let runs = json!({"run_ids": ["r"]});
    let answer = service.post_as(CONFINED, "/v1/delete-for-runs", runs).await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(server.calls_of("json.get").await, 0);
}

#[tokio::test]
async fn metrics_are_not_for_a_confined_key() {
    let service = Service::start().await;
    let request = client().get(service.url("/metrics")).bearer_auth(CONFINED);
    assert_eq!(answer(request).await.status, 403);
}

#[tokio::test]
async fn without_keys_only_a_loopback_name_is_answered() {
    let service = Service::with(
        ServerOptions::new(Authentication::Off),
        TtlPolicy::default(),
    )
    .await;
    let ask = async |host: Option<&str>| {
        let mut request = client().post(service.url("/v1/pin"));
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.header("content-type", "application/json");
        answer(request.body(r#"{"thread_id":"t"}"#)).await
    };
    assert_eq!(ask(None).await.status, 200);
    assert_eq!(ask(Some("localhost:1")).await.status, 200);
    let refused = ask(Some("rebound.example")).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["code"]),
        (403, &json!(403))
    );
    assert!(
        !service
            .saver
            .pin(&ThreadId::new("t").unwrap())
            .await
            .unwrap()
    );
}
