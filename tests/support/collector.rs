//! A collector of OpenTelemetry's spans, as the exporter sees one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;

/// A span that was received.
#[derive(Debug, Clone)]
pub struct Received {
    pub name: String,
    pub kind: i32,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub is_error: bool,
    pub events: usize,
    pub attributes: BTreeMap<String, String>,
    pub service: String,
}

#[derive(Clone, Default)]
struct Store {
    spans: Arc<Mutex<Vec<Received>>>,
    text: Arc<Mutex<String>>,
}

/// A running collector, which ends with its test.
pub struct Collector {
    pub address: SocketAddr,
    store: Store,
}

impl Collector {
    pub async fn start() -> Self {
        let store = Store::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/v1/traces", post(receive))
            .with_state(store.clone());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self { address, store }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn spans(&self) -> Vec<Received> {
        self.store.spans.lock().unwrap().clone()
    }

    /// All that was received, as text.
    pub fn text(&self) -> String {
        self.store.text.lock().unwrap().clone()
    }

    /// Waits for a span.
    pub async fn span(&self, is_it: impl Fn(&Received) -> bool) -> Received {
        let found = async {
            loop {
                if let Some(span) = self.spans().into_iter().find(&is_it) {
                    return span;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(60), found).await;
        found.unwrap_or_else(|_| panic!("it is not among {:#?}", self.spans()))
    }
}

async fn receive(
    State(store): State<Store>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut text = store.text.lock().unwrap();
    writeln!(text, "{headers:?} {request:?}").unwrap();
    for resource in request.resource_spans {
        let described = resource.resource.unwrap_or_default();
        let described = attributes(described.attributes);
        let spans = resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        for span in spans {
            store.spans.lock().unwrap().push(Received {
                name: span.name,
                kind: span.kind,
                trace: hexadecimal(&span.trace_id),
                id: hexadecimal(&span.span_id),
                parent: hexadecimal(&span.parent_span_id),
                is_error: span.status.is_some_and(|status| status.code == 2),
                events: span.events.len(),
                attributes: attributes(span.attributes),
                service: described["service.name"].clone(),
            });
        }
    }
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    (StatusCode::OK, answer)
}

fn attributes(all: Vec<KeyValue>) -> BTreeMap<String, String> {
    let all = all.into_iter().map(|one| {
        let value = match one.value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        (one.key, value)
    });
    all.collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
