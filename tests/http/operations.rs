//! What runs the service sees: the OpenAPI document, metrics, ids of requests.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::refusals::endpoints;
use crate::support::service::{Service, answer, client};
use langgraph_checkpoint_redis::server::openapi;

#[tokio::test]
async fn the_openapi_document_names_every_route_and_no_other() {
    let service = Service::start().await;
    let served = answer(client().get(service.url("/openapi.json"))).await;
    assert_eq!(served.text, openapi().unwrap());
    let document = served.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    let mut expected: BTreeSet<_> = endpoints().into_iter().map(|(path, _)| path).collect();
    expected.extend(["/v1/setup", "/healthz", "/readyz", "/metrics"]);
    let found: BTreeSet<_> = paths.keys().map(String::as_str).collect();
    assert_eq!(found, expected);
    for (path, methods) in paths {
        for (method, described) in methods.as_object().unwrap() {
            let request =
                client().request(method.to_uppercase().parse().unwrap(), service.url(path));
            let status = answer(request).await.status.as_u16();
            assert!(!matches!(status, 404 | 405), "{method} {path}: {status}");
            assert!(
                described["responses"]
                    .as_object()
                    .is_some_and(|some| !some.is_empty())
            );
        }
    }
    for (path, _) in endpoints() {
        let responses = &document["paths"][path]["post"]["responses"];
        for status in [
            "400", "401", "404", "408", "413", "415", "422", "500", "503", "504",
        ] {
            assert!(responses.get(status).is_some(), "{path} {status}");
        }
    }
    // What is referred to is there.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document["components"]["schemas"].get(name).is_some(),
            "{name}"
        );
    }
    // The least that an endpoint takes has all that its schema asks for, and nothing else: two
    // types of one name would mix their fields up.
    for (path, least) in endpoints() {
        let schema = &document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
            ["schema"];
        let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let schema = &document["components"]["schemas"][name];
        for field in schema["required"].as_array().into_iter().flatten() {
            assert!(
                least.get(field.as_str().unwrap()).is_some(),
                "{path} {field}"
            );
        }
        for field in least.as_object().unwrap().keys() {
            assert!(schema["properties"].get(field).is_some(), "{path} {field}");
        }
    }
    let writes = |name: &str| {
        let schema = &document["components"]["schemas"][name]["properties"]["writes"]["items"];
        let name = schema["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        document["components"]["schemas"][name]["properties"].clone()
    };
    assert!(writes("PutWrites").get("task_id").is_some());
    assert!(writes("PutWritesCall").get("value").is_some());
    for (path, _) in endpoints() {
        let body = &document["paths"][path]["post"]["requestBody"];
        assert!(
            body["content"]["application/json"]["schema"].is_object(),
            "{path}"
        );
    }
}

#[test]
fn the_openapi_document_has_what_generators_need() {
    let document: Value = serde_json::from_str(&openapi().unwrap()).unwrap();
    assert_eq!(document["servers"][0]["url"], "/");
    assert_eq!(document["info"]["license"]["identifier"], "MIT");
    let schemes = document["components"]["securitySchemes"]
        .as_object()
        .unwrap();
    let schemes: BTreeSet<_> = schemes.keys().collect();
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let place = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{place}: {id} is there twice");
            assert!(
                !operation["summary"].as_str().unwrap().is_empty(),
                "{place}"
            );
            for (status, response) in operation["responses"].as_object().unwrap() {
                let description = response["description"].as_str().unwrap();
                assert!(!description.is_empty(), "{place} {status}");
            }
            let security = operation.get("security").unwrap_or(&document["security"]);
            let security = security.as_array().unwrap();
            let named: BTreeSet<_> = security
                .iter()
                .flat_map(|one| one.as_object().unwrap().keys())
                .collect();
            let is_open = matches!(&**path, "/healthz" | "/readyz");
            let expected = if is_open {
                BTreeSet::new()
            } else {
                schemes.clone()
            };
            assert_eq!(named, expected, "{place}");
            let has_401 = operation["responses"].get("401").is_some();
            assert_eq!(has_401, !is_open, "{place}");
        }
    }
    assert!(
        ids.contains("checkpoints_get_tuple") && ids.contains("v1_get_tuple"),
        "{ids:?}"
    );
}

#[tokio::test]
async fn the_metrics_count_requests_calls_errors_and_bytes() {
    let service = Service::start().await;
    let put = json!({"thread_id": "t", "checkpoint_id": "1", "checkpoint": {"id": "1"}});
    service.ok("/checkpoints/put", put).await;
    service
        .ok("/checkpoints/get-tuple", json!({"thread_id": "t"}))
        .await;
    let bad =
        json!({"config": {"thread_id": "t"}, "checkpoint": {"id": "2"}, "expected_parent": "none"});
    assert_eq!(service.post("/v1/put", bad).await.status, 409);
    let metrics = service.get("/metrics").await;
    assert!(
        metrics.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    for expected in [
        r#"langgraph_http_requests_total{route="/checkpoints/put",method="POST",status="200"}"#,
        r#"langgraph_checkpoint_calls_total{operation="get_tuple"}"#,
        r#"langgraph_checkpoint_errors_total{operation="put",kind="conflict"}"#,
        r#"langgraph_checkpoint_duration_seconds_bucket{operation="put",le="0.001"}"#,
        r#"langgraph_checkpoint_bytes_total{operation="put",direction="written"}"#,
        r#"langgraph_checkpoint_round_trips_total{operation="get_tuple"}"#,
        "langgraph_redis_connections 2",
        "langgraph_redis_calls_in_flight ",
        "langgraph_http_requests_in_flight ",
        "langgraph_http_response_bytes_total ",
    ] {
        assert!(
            metrics.text.contains(expected),
            "{expected} is not in {}",
            metrics.text
        );
    }
    // Nothing of a caller's becomes the name of a series.
    service.post("/made/up/by/a/caller", Value::Null).await;
    let metrics = service.get("/metrics").await;
    assert!(!metrics.text.contains("made/up"), "{}", metrics.text);
}

#[tokio::test]
async fn a_request_keeps_the_id_that_it_was_given() {
    let service = Service::start().await;
    let ask = async |id: Option<&str>| {
        let mut request = client().get(service.url("/healthz"));
        if let Some(id) = id {
            request = request.header("x-request-id", id);
        }
        let response = answer(request).await;
        response.headers["x-request-id"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(ask(Some("abc-1")).await, "abc-1");
    let long = "x".repeat(200);
    for id in [None, Some(""), Some("two words"), Some(&long)] {
        assert_eq!(ask(id).await.len(), 36, "{id:?}");
    }
}

#[tokio::test]
async fn a_response_of_known_length_has_a_content_length() {
    let service = Service::start().await;
    let body = json!({"thread_id": "t"});
    let none = service.post("/checkpoints/get-tuple", body.clone()).await;
    assert_eq!(none.headers["content-length"], "4", "{none:?}");
    let listed = service.post("/checkpoints/list", body).await;
    assert_eq!(listed.headers["content-length"], "2", "{listed:?}");
    let health = service.get("/healthz").await;
    assert_eq!(health.headers["content-length"], "2", "{health:?}");
}
