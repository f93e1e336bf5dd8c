//! Spans, exported by OTLP to an OpenTelemetry collector.

mod client;
mod environment;
#[cfg(any(feature = "http", feature = "server"))]
mod propagation;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::error::{Error, Result};
use client::Client;
use environment::Environment;

#[cfg(feature = "server")]
pub(crate) use propagation::continue_trace;
#[cfg(feature = "http")]
pub(crate) use propagation::pass_trace_on;

/// The name of the service if the environment has none.
const SERVICE: &str = "langgraph-redis";

/// Whether spans of this process are exported.
static IS_EXPORTING: AtomicBool = AtomicBool::new(false);

/// Exports the spans of this process by OTLP (`http/protobuf`) to an OpenTelemetry collector.
/// Clones share their queue.
///
/// A thread of its own exports what has ended, in batches: a call waits for no export, and fails
/// with none. What cannot be sent is tried again for as long as `OTEL_EXPORTER_OTLP_TIMEOUT`, and
/// then dropped, as are spans beyond the queue (2,048); both are logged. A span has the fields of
/// the [`tracing`] span and nothing that was logged in it.
///
/// ```no_run
/// use std::time::Duration;
///
/// use langgraph_checkpoint_redis::SpanExport;
/// use tracing_subscriber::layer::SubscriberExt;
/// use tracing_subscriber::util::SubscriberInitExt;
///
/// # async fn run() -> langgraph_checkpoint_redis::Result<()> {
/// // OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 OTEL_SERVICE_NAME=my-agent
/// let export = SpanExport::from_env()?;
/// let spans = export.as_ref().map(SpanExport::layer);
/// tracing_subscriber::registry().with(spans).init();
/// // …
/// if let Some(export) = export {
///     export.flush(Duration::from_secs(5)).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SpanExport {
    provider: SdkTracerProvider,
}

impl SpanExport {
    /// The export that the standard variables of OpenTelemetry ask for; `None` unless
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` is set, or if
    /// `OTEL_SDK_DISABLED` is `true` or `OTEL_TRACES_EXPORTER` is `none`.
    ///
    /// Headers, timeouts, the sampler, the limits of batches, the name of the service and its
    /// attributes are those of the environment, too (`OTEL_EXPORTER_OTLP_HEADERS`,
    /// `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`).
    ///
    /// # Errors
    /// [`Error::Config`] if a variable asks for what is not there, such as another protocol. The
    /// error does not contain the value.
    pub fn from_env() -> Result<Option<Self>> {
        let Some(environment) = Environment::read(|name| std::env::var(name).ok())? else {
            return Ok(None);
        };
        let client = Client::new(&environment)?;
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .build()
            // Its words may contain a URL with a password.
            .map_err(|_| Error::Config {
                key: environment.variable.to_owned(),
                reason: "no exporter can be made with it and the other variables of OTLP"
                    .to_owned(),
                source: None,
            })?;
        let mut resource = Resource::builder();
        if !environment.names_service {
            resource = resource.with_service_name(SERVICE);
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Some(Self { provider }))
    }

    /// A layer for a `tracing` subscriber, which exports the spans that it is given.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        IS_EXPORTING.store(true, Ordering::Relaxed);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("langgraph_checkpoint_redis"))
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            // Events are for the log: they may name keys and servers.
            .with_filter(filter_fn(|metadata: &Metadata<'_>| metadata.is_span()))
    }

    /// Exports what has ended and is not exported yet, for at most `limit`.
    ///
    /// # Errors
    /// [`Error::Timeout`] if it took longer, and [`Error::Unavailable`] if the collector did not
    /// take it.
    pub async fn flush(&self, limit: Duration) -> Result<()> {
        let provider = self.provider.clone();
        let flushed = tokio::task::spawn_blocking(move || provider.force_flush());
        match tokio::time::timeout(limit, flushed).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(Error::Unavailable {
                reason: "the collector of spans did not take them".to_owned(),
                source: Some(error.into()),
            }),
            Ok(Err(error)) => Err(Error::Unavailable {
                reason: "the export of spans has ended".to_owned(),
                source: Some(error.into()),
            }),
            Err(_) => Err(Error::Timeout {
                operation: "flush",
                limit,
                source: None,
            }),
        }
    }
}

fn is_exporting() -> bool {
    IS_EXPORTING.load(Ordering::Relaxed)
}

/// Names a span for the collector. Such fields are in no log unless spans are exported.
pub(crate) fn name(span: &Span, name: &str, kind: &str) {
    if is_exporting() {
        span.record("otel.name", name);
        span.record("otel.kind", kind);
    }
}

/// Marks a span as that of a failure.
pub(crate) fn fail(span: &Span, kind: Option<&'static str>) {
    if is_exporting() {
        span.record("otel.status_code", "ERROR");
        if let Some(kind) = kind {
            span.set_attribute("error.type", kind);
        }
    }
}

/// Adds an attribute to a span.
#[cfg(feature = "server")]
pub(crate) fn set(span: &Span, name: &'static str, value: impl Into<opentelemetry::Value>) {
    if is_exporting() {
        span.set_attribute(name, value);
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use opentelemetry::trace::TraceContextExt;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tracing::Instrument;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::{CheckpointConfig, CheckpointSaver, HttpSaver};

    #[tokio::test]
    async fn a_client_of_the_service_passes_its_trace_on() {
        let export = SpanExport {
            provider: SdkTracerProvider::default(),
        };
        let subscriber = tracing_subscriber::registry().with(export.layer());
        let _default = tracing::subscriber::set_default(subscriber);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let saver = HttpSaver::builder(format!("http://{address}"));
        let saver = saver.build().unwrap();
        let span = tracing::info_span!("agent");
        let context = span.context().span().span_context().clone();
        assert!(context.is_valid());
        let config = CheckpointConfig::new("t").unwrap();
        let call = saver.get_tuple(&config).instrument(span);
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4_096];
            let length = stream.read(&mut head).await.unwrap();
            String::from_utf8_lossy(&head[..length]).into_owned()
        };
        let (_, head) = tokio::join!(call, answer);
        let (trace, id) = (context.trace_id(), context.span_id());
        let expected = format!("traceparent: 00-{trace}-{id}-01\r\n");
        assert!(head.contains(&expected), "{head}");
    }
}
