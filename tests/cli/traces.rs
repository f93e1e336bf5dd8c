//! Spans of the service, as a collector of OpenTelemetry receives them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::command::Cli;
use crate::serve::{Serving, write_keys};
use crate::support::collector::Collector;
use crate::support::service::{SECRET, answer, client};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Starts the service with a file of keys and the variables of OpenTelemetry.
fn start(cli: &Cli, arguments: &[&str], environment: &[(&str, &str)]) -> Serving {
    let keys = write_keys(cli);
    Serving::run(
        cli,
        &[&["--api-keys", &keys], arguments].concat(),
        environment,
    )
}

/// Posts a body with a `traceparent` and a request id, and gives the status.
async fn send(serving: &Serving, path: &str, body: &str, parent: &str, id: &str) -> u16 {
    let request = client()
        .post(format!("http://{}{path}", serving.address))
        .bearer_auth(SECRET)
        .header("content-type", "application/json")
        .header("traceparent", parent)
        .header("x-request-id", id)
        .body(body.to_owned());
    answer(request).await.status.as_u16()
}

#[tokio::test]
async fn a_request_is_a_span_of_its_callers_trace() {
    let collector = Collector::start().await;
    let cli = Cli::new();
    let serving = start(
        &cli,
        // The spans of a quiet log are exported as well.
        &[
            "--log",
            "warn,langgraph_checkpoint_redis::server::serve=info",
        ],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=collector"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ],
    );
    let value = "a value that is nobody's business";
    let put = json!({
        "config": {"thread_id": "personal@example.com"},
        "checkpoint": {"id": "1", "channel_values": {"text": value}},
    });
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let status = send(&serving, "/v1/put", &put.to_string(), &parent, "r-1").await;
    assert_eq!(status, 200);
    let request = collector.span(|span| span.name == "POST /v1/put").await;
    assert_eq!((&*request.trace, &*request.parent), (TRACE, PARENT));
    assert_eq!(request.kind, 2, "it is a server's: {request:?}");
    assert_eq!(request.service, "langgraph-redis");
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/put"),
        ("http.response.status_code", "200"),
        ("key", "tests"),
        ("request_id", "r-1"),
    ] {
        assert_eq!(request.attributes[name], value, "{request:?}");
    }
    let call = collector.span(|span| span.parent == request.id).await;
    assert_eq!((&*call.name, &*call.trace), ("put", TRACE));
    assert_eq!(call.attributes["operation"], "put", "{call:?}");
    assert!(!call.is_error && !request.is_error && call.events == 0);

    // Headers that are not valid start a trace of their own, and so do callers without one.
    for (number, parent) in [
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "ff-xyz",
        "",
        &"0".repeat(4_000),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("own-{number}");
        send(&serving, "/v1/touch", r#"{"thread_id":"t"}"#, parent, &id).await;
        let span = collector.span(|span| span.attributes.get("request_id") == Some(&id));
        let span = span.await;
        assert_eq!((&*span.parent, span.trace.len()), ("", 32), "{span:?}");
        assert_ne!(span.trace, TRACE);
    }
    // A caller that does not sample is not exported.
    let quiet = format!("00-{TRACE}-{PARENT}-00");
    send(
        &serving,
        "/v1/touch",
        r#"{"thread_id":"t"}"#,
        &quiet,
        "unsampled",
    )
    .await;

    // What is refused is no error of the service; what fails is one, with its kind.
    let stale = json!({"config": {"thread_id": "personal@example.com"},
                       "checkpoint": {"id": "2"}, "expected_parent": "none"});
    let status = send(&serving, "/v1/put", &stale.to_string(), &parent, "r-2").await;
    assert_eq!(status, 409);
    let refused = |id: &'static str| {
        move |span: &crate::support::collector::Received| {
            span.attributes
                .get("request_id")
                .is_some_and(|one| one == id)
        }
    };
    let span = collector.span(refused("r-2")).await;
    assert!(!span.is_error, "{span:?}");
    let call = collector.span(|call| call.parent == span.id).await;
    assert!(call.is_error, "{call:?}");
    assert_eq!(call.attributes["error.type"], "conflict", "{call:?}");

    let text = collector.text();
    assert!(text.contains(r#""authorization": "collector""#), "{text}");
    assert!(!text.contains("unsampled"), "{text}");
    for secret in [SECRET, value, "personal@example.com"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[tokio::test]
async fn what_is_left_is_exported_at_the_end() {
    let collector = Collector::start().await;
    let cli = Cli::new();
    let serving = start(
        &cli,
        &[],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("OTEL_SERVICE_NAME", "checkpoints"),
            ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
        ],
    );
    serving.get("/healthz").await;
    assert_eq!(collector.spans().len(), 0);
    serving.terminate();
    // It waits for the collector, so the test must not block.
    let code = tokio::task::spawn_blocking(move || serving.code()).await;
    assert_eq!(code.unwrap(), Some(0));
    let span = collector.span(|span| span.name == "GET /healthz").await;
    assert_eq!(span.service, "checkpoints");
}

#[tokio::test]
async fn a_collector_that_is_away_costs_no_request() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let endpoint = format!("http://user:hidden@{gone}");
    let cli = Cli::new();
    let serving = start(
        &cli,
        &[],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2"),
        ],
    );
    for _ in 0..100 {
        assert_eq!(serving.get("/healthz").await.status, 200);
    }
    // The log says that spans are lost, without the password of the collector.
    loop {
        let line = serving.log.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(!line.contains("hidden"), "{line}");
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["target"] == "opentelemetry_sdk" {
            break;
        }
    }
    serving.terminate();
    let code = tokio::task::spawn_blocking(move || serving.code()).await;
    assert_eq!(code.unwrap(), Some(0));
}

#[test]
fn an_export_that_cannot_be_is_refused_before_the_service_starts() {
    let cli = Cli::without_server();
    let output = cli.run_with(
        &["serve", "--no-authentication"],
        &[
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "http://hidden@localhost:4317",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ],
    );
    assert_eq!(output.code, 2, "{output:?}");
    let error = &output.stderr;
    assert!(error.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{error}");
    assert!(
        error.contains("http/protobuf") && !error.contains("hidden"),
        "{error}"
    );
}
