//! Bad input: a mistake of the caller is reported to the caller, and is never a failure of the
//! service.

use serde_json::{Value, json};

use crate::support::server::Server;
use crate::support::service::{Service, answer, options};
use langgraph_checkpoint_redis::{RedisSaver, TtlPolicy};

/// Every endpoint that takes a body, with the least that it takes.
pub(crate) fn endpoints() -> Vec<(&'static str, Value)> {
    let config = json!({"thread_id": "t"});
    let of_checkpoint = json!({"thread_id": "t", "checkpoint_id": "1"});
    vec![
        ("/checkpoints/get-tuple", json!({"thread_id": "t"})),
        (
            "/checkpoints/put",
            json!({"thread_id": "t", "checkpoint_id": "1", "checkpoint": {}}),
        ),
        (
            "/checkpoints/put-writes",
            json!({"thread_id": "t", "checkpoint_id": "1", "writes": []}),
        ),
        ("/checkpoints/list", json!({"thread_id": "t"})),
        ("/checkpoints/delete-thread", json!({"thread_id": "t"})),
        (
            "/v1/put",
            json!({"config": config, "checkpoint": {"id": "1"}}),
        ),
        (
            "/v1/put-writes",
            json!({"config": of_checkpoint, "writes": [], "task_id": "a"}),
        ),
        ("/v1/get-tuple", json!({"config": config})),
        ("/v1/list", json!({"config": config})),
        ("/v1/delete-thread", json!({"thread_id": "t"})),
        ("/v1/delete-for-runs", json!({"run_ids": ["r"]})),
        ("/v1/copy-thread", json!({"source": "t", "target": "u"})),
        (
            "/v1/prune",
            json!({"thread_ids": ["t"], "strategy": "keep_latest"}),
        ),
        (
            "/v1/delta-channel-history",
            json!({"config": config, "channels": ["c"]}),
        ),
        ("/v1/threads", json!({"prefix": "t"})),
        ("/v1/touch", json!({"thread_id": "t"})),
        ("/v1/pin", json!({"thread_id": "t"})),
        ("/v1/unpin", json!({"thread_id": "t"})),
    ]
}

#[tokio::test]
async fn every_endpoint_takes_the_least_that_it_needs() {
    let service = Service::start().await;
    for (path, body) in endpoints() {
        let answer = service.post(path, body).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_what_the_endpoint_takes_is_answered_422() {
    let service = Service::start().await;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_in_place = format!(r#"{{"thread_id":{deep},"config":{deep},"prefix":{deep}}}"#);
    for (path, good) in endpoints() {
        let cut = good.to_string();
        for body in [
            "",
            "{",
            "null",
            "[]",
            "7",
            "\"text\"",
            "\u{0}",
            "{\"thread_id\": NaN, \"config\": NaN, \"prefix\": NaN, \"run_ids\": NaN}",
            &cut[..cut.len() - 1],
            &format!("{cut} and more"),
            &deep,
            &deep_in_place,
        ] {
            let request = service.request(path);
            let request = request
                .header("content-type", "application/json")
                .body(body.to_owned());
            let answer = answer(request).await;
            let shown: String = body.chars().take(60).collect();
            assert_eq!(answer.status, 422, "{path} {shown}: {answer:?}");
            let response = answer.json();
            assert_eq!(response["status_code"], 10422, "{path} {shown}: {response}");
            assert_eq!(response["data"], Value::Null);
            assert!(
                response["message"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            );
        }
    }
}

#[tokio::test]
async fn a_field_of_the_wrong_type_or_missing_is_answered_422() {
    let service = Service::start().await;
    for (path, good) in endpoints() {
        for field in good.as_object().unwrap().keys() {
            let mut bodies = Vec::new();
            for wrong in [
                json!(7),
                json!([{}]),
                json!({"a": 1}),
                json!(true),
                json!("\u{0}x\u{1}"),
            ] {
                let mut body = good.clone();
                body[field] = wrong;
                bodies.push(body);
            }
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(field);
            bodies.push(body);
            for body in bodies {
                let answer = service.post(path, body.clone()).await;
                // Some are what another value of the field may be.
                let is_fine = answer.status.is_success() || answer.status == 422;
                assert!(is_fine, "{path} {body}: {answer:?}");
                if answer.status == 422 {
                    assert_eq!(answer.json()["status_code"], 10422);
                }
            }
        }
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_is_answered_422_and_nothing_is_stored() {
    let (mut server, service) = own_service().await;
    for bad in [
        json!({"thread_id": "", "checkpoint_id": "1", "checkpoint": {}}),
        json!({"thread_id": "bad", "checkpoint_id": "", "checkpoint": {}}),
        json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": []}),
        json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": {}, "metadata": []}),
        json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": {}, "metadata": "x"}),
        json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": {}, "metadata": null}),
        json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": {}, "checkpoint_ns": "__empty__"}),
        json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": {}, "checkpoint_ns": "a\u{0}"}),
        json!({"thread_id": "x".repeat(70_000), "checkpoint_id": "1", "checkpoint": {}}),
        json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": {}, "blobs": [{"channel": "c"}]}),
        json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": {},
               "blobs": [{"channel": "c", "version": "1", "type": "json", "blob": "not base64!"}]}),
        json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": {},
               "blobs": [{"channel": "c", "version": "1", "type": "json", "blob": "AAB"}]}),
    ] {
        let answer = service.post("/checkpoints/put", bad.clone()).await;
        assert_eq!(answer.status, 422, "{bad}: {answer:?}");
    }
    for bad in [
        json!({"task_id": "a", "idx": 0, "channel": "c", "type": "json", "blob": null}),
        json!({"task_id": "a", "idx": 0, "channel": "c", "type": "json", "blob": "%"}),
        json!({"task_id": "a", "idx": 1.5, "channel": "c", "type": "json", "blob": ""}),
        json!({"task_id": "a", "idx": 9_223_372_036_854_775_808_u64, "channel": "c", "blob": ""}),
        json!({"task_id": "", "idx": 0, "channel": "c", "type": "json", "blob": ""}),
        json!({"idx": 0, "channel": "c", "type": "json", "blob": ""}),
    ] {
        let body = json!({"thread_id": "bad", "checkpoint_id": "1", "writes": [bad.clone()]});
        let answer = service.post("/checkpoints/put-writes", body).await;
        assert_eq!(answer.status, 422, "{bad}: {answer:?}");
    }
    for limit in [json!(0), json!(1001), json!(-1), json!("10"), json!(1e40)] {
        let body = json!({"thread_id": "t", "limit": limit});
        let answer = service.post("/checkpoints/list", body).await;
        assert_eq!(answer.status, 422, "{limit}: {answer:?}");
    }
    let many: Vec<_> = (0..10_001)
        .map(|idx| json!({"task_id": "a", "idx": idx, "channel": "c", "blob": ""}))
        .collect();
    let body = json!({"thread_id": "bad", "checkpoint_id": "1", "writes": many});
    assert_eq!(
        service.post("/checkpoints/put-writes", body).await.status,
        422
    );
    let keys = server.keys().await;
    assert!(keys.iter().all(|key| !key.contains("bad")), "{keys:?}");
}

#[tokio::test]
async fn a_name_that_is_too_long_is_answered_422_and_nothing_is_stored() {
    let (mut server, service) = own_service().await;
    let long = |length: usize| format!("bad{}", "é".repeat(length - 3));
    let put = |change: &dyn Fn(&mut Value)| {
        let mut body = json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": {},
            "blobs": [{"channel": "c", "version": "1", "type": "b", "blob": ""}]});
        change(&mut body);
        ("/checkpoints/put", body)
    };
    let write = |change: &dyn Fn(&mut Value)| {
        let mut body = json!({"thread_id": "bad", "checkpoint_id": "1",
            "writes": [{"task_id": "a", "idx": 0, "channel": "c", "type": "b", "blob": ""}]});
        change(&mut body);
        ("/checkpoints/put-writes", body)
    };
    let requests = |length: usize, path: usize| {
        vec![
            put(&|body| body["thread_id"] = long(length).into()),
            put(&|body| body["checkpoint_ns"] = long(path).into()),
            put(&|body| body["checkpoint_id"] = long(length).into()),
            put(&|body| body["parent_checkpoint_id"] = long(length).into()),
            put(&|body| body["blobs"][0]["channel"] = long(length).into()),
            put(&|body| body["blobs"][0]["version"] = long(length).into()),
            put(&|body| body["blobs"][0]["type"] = long(length).into()),
            write(&|body| body["thread_id"] = long(length).into()),
            write(&|body| body["checkpoint_ns"] = long(path).into()),
            write(&|body| body["checkpoint_id"] = long(length).into()),
            write(&|body| body["writes"][0]["task_id"] = long(length).into()),
            write(&|body| body["writes"][0]["channel"] = long(length).into()),
            write(&|body| body["writes"][0]["type"] = long(length).into()),
            write(&|body| body["writes"][0]["task_path"] = long(path).into()),
        ]
    };
    for (path, body) in requests(1_025, 4_097) {
        let response = service.post(path, body).await;
        assert_eq!(response.status, 422, "{path}: {response:?}");
        assert!(response.text.len() < 500, "{response:?}");
    }
    let keys = server.keys().await;
    assert!(keys.iter().all(|key| !key.contains("bad")), "{keys:?}");
    for (path, body) in requests(1_024, 4_096) {
        let response = service.post(path, body).await;
        assert!(response.status.is_success(), "{path}: {response:?}");
    }
}

#[tokio::test]
async fn what_was_stored_under_a_long_name_is_read_listed_and_deleted() {
    let service = Service::start().await;
    let (thread, namespace) = ("t".repeat(20_000), "n".repeat(5_000));
    let id = "1".repeat(2_000);
    let config = json!({"thread_id": thread, "checkpoint_ns": namespace});
    let body = json!({"config": config, "checkpoint": {"id": id}});
    service.ok("/v1/put", body).await;
    let named = json!({"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": id});
    let found = service.ok("/checkpoints/get-tuple", named.clone()).await;
    assert_eq!(found["checkpoint_id"], id);
    let before = json!({"thread_id": thread, "checkpoint_ns": namespace,
        "before_checkpoint_id": format!("{id}1")});
    let listed = service.ok("/checkpoints/list", before).await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let all = json!({"thread_id": thread});
    service.ok("/checkpoints/delete-thread", all).await;
    let found = service.ok("/checkpoints/get-tuple", named).await;
    assert_eq!(found, Value::Null);
    let too_long = json!({"thread_id": "t", "checkpoint_id": "1".repeat(65_537)});
    let response = service.post("/checkpoints/get-tuple", too_long).await;
    assert_eq!(response.status, 422, "{response:?}");
}

#[tokio::test]
async fn long_names_times_many_writes_are_answered_422() {
    let service = Service::start().await;
    let writes: Vec<_> = (0..2_000)
        .map(|number| json!({"channel": format!("c{number}"), "value": {"type": "b", "blob": ""}}))
        .collect();
    let config = json!({"thread_id": "t".repeat(60_000), "checkpoint_id": "1"});
    let body = json!({"config": config, "writes": writes, "task_id": "a"});
    let response = service.post("/v1/put-writes", body).await;
    assert_eq!(response.status, 422, "{response:?}");
    assert_eq!(response.json()["data"]["field"], "writes");
}

#[tokio::test]
async fn an_integer_may_have_a_point_and_a_nought_and_no_more() {
    let service = Service::start().await;
    let write = |idx: &str| {
        format!(
            r#"{{"thread_id":"t","checkpoint_id":"1",
                "writes":[{{"task_id":"a","idx":{idx},"channel":"c","blob":""}}]}}"#
        )
    };
    let prune = |strategy: &str| format!(r#"{{"thread_ids":["t"],"strategy":{strategy}}}"#);
    for (path, body, status) in [
        ("/checkpoints/put-writes", write("5.0"), 204),
        (
            "/checkpoints/put-writes",
            write("-9223372036854775808"),
            204,
        ),
        ("/checkpoints/put-writes", write("9223372036854775808"), 422),
        ("/checkpoints/put-writes", write("5.5"), 422),
        ("/checkpoints/put-writes", write("9007199254740994.0"), 422),
        (
            "/checkpoints/list",
            r#"{"thread_id":"t","limit":5.0}"#.to_owned(),
            200,
        ),
        (
            "/checkpoints/list",
            r#"{"thread_id":"t","limit":0.0}"#.to_owned(),
            422,
        ),
        (
            "/v1/list",
            r#"{"config":{"thread_id":"t"},"limit":5.0}"#.to_owned(),
            200,
        ),
        (
            "/v1/list",
            r#"{"limit":9223372036854775808}"#.to_owned(),
            422,
        ),
        ("/v1/list", r#"{"limit":-1}"#.to_owned(), 422),
        ("/v1/prune", prune(r#"{"keep_last":2.0}"#), 200),
        ("/v1/prune", prune(r#"{"keep_last":0}"#), 422),
        ("/v1/prune", prune(r#"{"younger_than_ms":1e3}"#), 200),
    ] {
        let request = service
            .request(path)
            .header("content-type", "application/json");
        let response = answer(request.body(body.clone())).await;
        assert_eq!(response.status, status, "{path} {body}: {response:?}");
    }
}

#[tokio::test]
async fn a_list_in_the_place_of_an_object_or_an_option_that_is_none_is_answered_422() {
    let service = Service::start().await;
    for (path, body) in [
        ("/v1/get-tuple", json!({"config": ["bad"]})),
        (
            "/v1/put",
            json!({"config": ["bad"], "checkpoint": {"id": "1"}}),
        ),
        (
            "/v1/put",
            json!({"config": {"thread_id": "bad"}, "checkpoint": {}}),
        ),
        (
            "/v1/put",
            json!({"config": {"thread_id": "bad"}, "checkpoint": {"id": "1"}, "ttl": {"for_ms": 0}}),
        ),
        (
            "/v1/put",
            json!({"config": {"thread_id": "bad"}, "checkpoint": {"id": "1"}, "ttl": {"for_ms": u64::MAX}}),
        ),
        (
            "/v1/put-writes",
            json!({"config": {"thread_id": "bad"}, "writes": [], "task_id": "a"}),
        ),
        (
            "/v1/put-writes",
            json!({"config": {"thread_id": "bad", "checkpoint_id": "1"}, "task_id": "a",
                                  "writes": [{"channel": "c", "value": {"type": "json", "blob": "%"}}]}),
        ),
        (
            "/v1/prune",
            json!({"thread_ids": ["bad"], "strategy": {"keep_last": 0}}),
        ),
        (
            "/v1/prune",
            json!({"thread_ids": ["bad"], "strategy": "all"}),
        ),
        ("/v1/list", json!({"filter": [1]})),
        (
            "/checkpoints/put",
            json!({"thread_id": "bad", "checkpoint_id": "1", "checkpoint": {},
                                    "blobs": [["c", "1", "json", "AAAA"]]}),
        ),
        (
            "/checkpoints/put-writes",
            json!({"thread_id": "bad", "checkpoint_id": "1",
                                           "writes": [["a", 0, "c", "json", "", ""]]}),
        ),
    ] {
        let answer = service.post(path, body.clone()).await;
        assert_eq!(answer.status, 422, "{path} {body}: {answer:?}");
    }
    let itself = json!({"source": "bad", "target": "bad"});
    let answer = service.post("/v1/copy-thread", itself).await;
    assert_eq!(answer.status, 409, "{answer:?}");
    assert_eq!(answer.json()["data"]["kind"], "invalid_input");
}

#[tokio::test]
async fn a_lone_surrogate_is_answered_422_where_text_is_needed() {
    let service = Service::start().await;
    for body in [
        r#"{"thread_id":"\ud800","checkpoint_id":"1","checkpoint":{}}"#,
        r#"{"thread_id":"t","checkpoint_id":"1","checkpoint":{"\ud800":1}}"#,
        r#"{"thread_id":"t","checkpoint_id":"1","checkpoint":{},"metadata":{"\ud800":1}}"#,
    ] {
        let request = service.request("/checkpoints/put");
        let request = request
            .header("content-type", "application/json")
            .body(body);
        let answer = answer(request).await;
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
    }
    // In a value it is kept.
    let body = r#"{"thread_id":"t","checkpoint_id":"1","checkpoint":{"id":"1","x":"\ud800"}}"#;
    let request = service.request("/checkpoints/put");
    let request = request
        .header("content-type", "application/json")
        .body(body);
    assert_eq!(answer(request).await.status, 200);
    let read = service
        .post("/checkpoints/get-tuple", json!({"thread_id": "t"}))
        .await;
    assert!(read.text.contains(r#""x":"\ud800""#), "{read:?}");
}

#[tokio::test]
async fn a_body_without_the_json_content_type_is_refused_with_415() {
    let service = Service::start().await;
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("json"),
    ] {
        let mut request = service
            .request("/checkpoints/get-tuple")
            .body(r#"{"thread_id":"t"}"#);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let answer = answer(request).await;
        assert_eq!(answer.status, 415, "{kind:?}: {answer:?}");
        assert_eq!(answer.json()["code"], 415);
    }
    let request = service
        .request("/checkpoints/get-tuple")
        .body(r#"{"thread_id":"t"}"#);
    let request = request.header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(answer(request).await.status, 200);
}

#[tokio::test]
async fn an_unknown_endpoint_is_answered_404_and_a_wrong_method_405() {
    let service = Service::start().await;
    for path in [
        "/",
        "/checkpoints",
        "/checkpoints/none",
        "/v2/put",
        "/checkpoints/put/",
        "/%ff",
    ] {
        let answer = service.post(path, json!({})).await;
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        let response = json!({"message": "there is no such endpoint", "code": 404, "data": null});
        assert_eq!(answer.json(), response);
    }
    for (path, _) in endpoints() {
        let answer = service.get(path).await;
        assert_eq!(answer.status, 405, "{path}: {answer:?}");
        assert_eq!(answer.json()["code"], 405);
    }
}

async fn own_service() -> (Server, Service) {
    let server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .ttl(TtlPolicy::default())
        .max_document_bytes(100_000)
        .build()
        .await
        .unwrap();
    let service = Service::over(saver, options()).await;
    (server, service)
}

#[tokio::test]
async fn what_is_too_large_to_store_is_answered_413_and_not_stored() {
    let (mut server, service) = own_service().await;
    let large = "x".repeat(200_000);
    let blob =
        json!([{"channel": "c", "version": "1", "type": "json", "blob": "A".repeat(200_000)}]);
    for body in [
        json!({"thread_id": "t", "checkpoint_id": "1", "checkpoint": {"id": "1", "text": large}}),
        json!({"thread_id": "t", "checkpoint_id": "1", "checkpoint": {"id": "1"}, "blobs": blob}),
    ] {
        let answer = service.post("/checkpoints/put", body).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        let response = answer.json();
        assert_eq!(
            (&response["code"], &response["data"]),
            (&json!(413), &Value::Null)
        );
    }
    let keys = server.keys().await;
    assert!(
        keys.iter().all(|key| !key.starts_with("checkpoint:")),
        "{keys:?}"
    );
}

#[tokio::test]
async fn what_fails_inside_is_answered_without_a_word_of_what_it_was() {
    let (mut server, service) = own_service().await;
    server
        .run(&["SET", "checkpoint:secret-thread:__empty__:1", "x"])
        .await;
    let body = json!({"thread_id": "secret-thread", "checkpoint_id": "1", "checkpoint": {}});
    let answer = service.post("/checkpoints/put", body).await;
    assert_eq!(answer.status, 500, "{answer:?}");
    let response = json!({"message": "the request failed", "code": 500, "data": null});
    assert_eq!(answer.json(), response);
    let config = json!({"thread_id": "secret-thread"});
    let body = json!({"config": config, "checkpoint": {"id": "1"}});
    let answer = service.post("/v1/put", body).await;
    let response =
        json!({"message": "the request failed", "code": 500, "data": {"kind": "wrong_type"}});
    assert_eq!(answer.json(), response);
}
