//! The HTTP client of the service.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::{Problem, error_of};
use crate::error::{Error, Result, Source};
use crate::https;
use crate::options::{Progress, ProgressCallback};
use crate::wire::{Line, ProgressLine};

/// A client of this crate's HTTP service, with every promise of
/// [`CheckpointSaver`](crate::CheckpointSaver). Clones share their connections.
///
/// ```no_run
/// use langgraph_checkpoint_redis::{CheckpointSaver, HttpSaver};
///
/// # async fn run() -> langgraph_checkpoint_redis::Result<()> {
/// let saver = HttpSaver::builder("https://checkpoints.example")
///     .api_key(std::env::var("CHECKPOINTS_KEY").unwrap_or_default())
///     .build()?;
/// saver.setup().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HttpSaver(Arc<Service>);

struct Service {
    client: reqwest::Client,
    base: String,
    api_key: Option<SecretString>,
    timeout: Duration,
}

/// Builds an [`HttpSaver`].
#[must_use]
pub struct HttpSaverBuilder {
    url: String,
    api_key: Option<SecretString>,
    timeout: Duration,
    connect_timeout: Duration,
    ca_file: Option<PathBuf>,
    #[cfg(unix)]
    unix_socket: Option<PathBuf>,
}

impl HttpSaver {
    /// A builder for the service at a URL, `http://host:port` or `https://host`, with an optional
    /// path.
    pub fn builder(url: impl Into<String>) -> HttpSaverBuilder {
        HttpSaverBuilder {
            url: url.into(),
            api_key: None,
            timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            ca_file: None,
            #[cfg(unix)]
            unix_socket: None,
        }
    }

    /// Calls an endpoint that responds with one document.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        call: &impl Serialize,
    ) -> Result<T> {
        let response = self.0.send(operation, encode(call)?).await?;
        let body = response.bytes().await;
        let body = body.map_err(|error| self.0.lost(operation, error))?;
        serde_json::from_slice(&body).map_err(|error| self.0.unreadable(error.into()))
    }

    /// Calls an endpoint that responds without a body.
    pub(super) async fn done(&self, operation: &'static str, call: &impl Serialize) -> Result<()> {
        self.0.send(operation, encode(call)?).await?;
        Ok(())
    }

    /// Calls an endpoint that responds in lines.
    pub(super) fn lines<L: Line>(
        &self,
        operation: &'static str,
        call: &impl Serialize,
    ) -> BoxStream<'static, Result<L::Item>> {
        let (service, call) = (Arc::clone(&self.0), encode(call));
        let opened = async move {
            let response = service.send(operation, call?).await?;
            Ok::<_, Error>(Lines::<L>::new(service, operation, response).stream())
        };
        stream::once(opened).try_flatten().boxed()
    }

    /// Calls an endpoint that streams its progress, and reports it.
    pub(super) async fn follow(
        &self,
        operation: &'static str,
        call: &impl Serialize,
        progress: Option<&ProgressCallback>,
        before: Progress,
    ) -> Result<Progress> {
        let mut lines = self.lines::<ProgressLine>(operation, call);
        let mut all = before;
        while let Some(done) = lines.try_next().await? {
            let done = Progress::from(done);
            all.checkpoints = before.checkpoints + done.checkpoints;
            all.writes = before.writes + done.writes;
            if let Some(progress) = progress {
                progress.report(all);
            }
        }
        Ok(all)
    }
}

impl fmt::Debug for HttpSaver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpSaver")
            .field("url", &self.0.base)
            .finish_non_exhaustive()
    }
}

impl HttpSaverBuilder {
    /// The key that the service knows its caller by. Default: none.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(SecretString::from(key.into()));
        self
    }

    /// The time that the service may send nothing. Default: 60 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The time to connect. Default: 5 seconds.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// A PEM file of certificate authorities that are trusted in addition to the system's, for an
    /// `https` URL. Default: the system's only.
    pub fn ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(file.into());
        self
    }

    /// The Unix socket that the service listens on; the host of the URL is then a name only, such
    /// as `http://localhost`. Default: the service is reached over TCP.
    #[cfg(unix)]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.unix_socket = Some(path.into());
        self
    }

    /// Builds the saver, which connects when it is first used.
    ///
    /// Certificates are verified against those of the system (or of `SSL_CERT_FILE`) and of
    /// [`ca_file`](Self::ca_file). Redirects are
    /// not followed, and proxy variables are ignored.
    ///
    /// # Errors
    /// [`Error::Config`] if the URL is not `http` or `https`, or contains a user name or password,
    /// and if a certificate cannot be read.
    pub fn build(self) -> Result<HttpSaver> {
        let refuse = |reason: String| Error::Config {
            key: "url".to_owned(),
            reason,
            source: None,
        };
        let url = Url::parse(&self.url).map_err(|error| Error::Config {
            key: "url".to_owned(),
            reason: "it is no URL".to_owned(),
            source: Some(error.into()),
        })?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(refuse("it is not http://host or https://host".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let reason = "it holds a user name or password; give the key by `api_key`";
            return Err(refuse(reason.to_owned()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("it has a query or a fragment".to_owned()));
        }
        let is_encrypted = url.scheme() == "https";
        if self.ca_file.is_some() && !is_encrypted {
            return Err(Error::Config {
                key: "ca_file".to_owned(),
                reason: "the URL is one without TLS: write https, or leave this out".to_owned(),
                source: None,
            });
        }
        let client = reqwest::Client::builder();
        #[cfg(unix)]
        let client = match self.unix_socket {
            Some(path) => client.unix_socket(path),
            None => client,
        };
        let tls = https::config("url", is_encrypted, self.ca_file.as_deref())?;
        let client = client
            .tls_backend_preconfigured(tls)
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.timeout)
            // Shorter than the idle timeout of the service, so that no closing connection is
            // reused.
            .pool_idle_timeout(Duration::from_secs(15))
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .no_proxy()
            .build()
            .map_err(|error| Error::Config {
                key: "url".to_owned(),
                reason: "there is no client for it".to_owned(),
                source: Some(error.into()),
            })?;
        Ok(HttpSaver(Arc::new(Service {
            client,
            base: url.as_str().trim_end_matches('/').to_owned(),
            api_key: self.api_key,
            timeout: self.timeout,
        })))
    }
}

impl fmt::Debug for HttpSaverBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HttpSaverBuilder")
    }
}

fn encode(call: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(call).map_err(|error| Error::invalid("the call", error.to_string()))
}

impl Service {
    async fn send(&self, operation: &'static str, body: Vec<u8>) -> Result<reqwest::Response> {
        let mut request = self
            .client
            .post(format!("{}/v1/{operation}", self.base))
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key.expose_secret());
        }
        crate::round_trips::made();
        #[cfg(feature = "otlp")]
        let request = {
            let mut headers = reqwest::header::HeaderMap::new();
            crate::otlp::pass_trace_on(&mut headers);
            request.headers(headers)
        };
        let response = request.send().await;
        let response = response.map_err(|error| self.lost(operation, error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let request_id = response.headers().get("x-request-id");
        let request_id = request_id
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned);
        let body = response.bytes().await.unwrap_or_default();
        let problem = Problem {
            operation,
            server: &self.base,
            status: Some(status.as_u16()),
            request_id: request_id.as_deref(),
        };
        Err(problem.read(&body))
    }

    /// A failure of the network as this crate's error.
    fn lost(&self, operation: &'static str, error: reqwest::Error) -> Error {
        if error.is_timeout() && !error.is_connect() {
            return Error::Timeout {
                operation,
                limit: self.timeout,
                source: Some(error.into()),
            };
        }
        Error::Service {
            server: self.base.clone(),
            reason: "the network failed".to_owned(),
            retryable: true,
            source: Some(error.into()),
        }
    }

    /// The error of a response that is not the service's.
    fn unreadable(&self, source: Source) -> Error {
        Error::Service {
            server: self.base.clone(),
            reason: "its response cannot be read".to_owned(),
            retryable: false,
            source: Some(source),
        }
    }
}

/// A response in lines, parsed as it arrives.
struct Lines<L> {
    service: Arc<Service>,
    operation: &'static str,
    chunks: BoxStream<'static, Result<Bytes, reqwest::Error>>,
    buffer: BytesMut,
    /// The length of the part of the buffer that contains no end of a line.
    searched: usize,
    line: std::marker::PhantomData<fn() -> L>,
}

impl<L: Line> Lines<L> {
    fn new(service: Arc<Service>, operation: &'static str, response: reqwest::Response) -> Self {
        Self {
            service,
            operation,
            chunks: response.bytes_stream().boxed(),
            buffer: BytesMut::new(),
            searched: 0,
            line: std::marker::PhantomData,
        }
    }

    fn stream(self) -> BoxStream<'static, Result<L::Item>> {
        stream::try_unfold(self, |mut lines| async move {
            Ok(lines.next().await?.map(|item| (item, lines)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<L::Item>> {
        loop {
            let end = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let line = self.buffer.split_to(self.searched + end);
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                let line: L = serde_json::from_slice(&line)
                    .map_err(|error| self.service.unreadable(error.into()))?;
                return match line.read() {
                    (Some(item), _, _) => Ok(Some(item)),
                    (None, Some(mut fault), _) => {
                        let id = fault.request_id.take();
                        let server = &self.service.base;
                        Err(error_of(self.operation, server, fault, id.as_deref()))
                    }
                    (None, None, true) => Ok(None),
                    (None, None, false) => Err(self.service.unreadable("a line is empty".into())),
                };
            }
            self.searched = self.buffer.len();
            match self.chunks.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(self.service.lost(self.operation, error)),
                None => {
                    return Err(Error::Service {
                        server: self.service.base.clone(),
                        reason: "its response is incomplete".to_owned(),
                        retryable: true,
                        source: None,
                    });
                }
            }
        }
    }
}
