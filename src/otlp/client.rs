//! The HTTP client that spans are sent with.

use std::sync::OnceLock;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::{Builder, Runtime};

use super::environment::Environment;
use crate::error::{Error, Result};

/// The most that is read of a collector's response.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// Sends spans on the thread that exports them, whatever the program's runtime is doing.
#[derive(Debug)]
pub(super) struct Client {
    client: reqwest::Client,
    /// Made, used and dropped by the thread that exports, which belongs to no other runtime.
    runtime: OnceLock<Runtime>,
}

impl Client {
    pub(super) fn new(environment: &Environment) -> Result<Self> {
        let key = environment.variable;
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(crate::https::config(key, environment.is_encrypted, None)?)
            .timeout(environment.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::Config {
                key: key.to_owned(),
                reason: "there is no client for it".to_owned(),
                source: Some(error.without_url().into()),
            })?;
        Ok(Self {
            client,
            runtime: OnceLock::new(),
        })
    }

    fn runtime(&self) -> std::io::Result<&Runtime> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    async fn send(&self, request: Request<Bytes>) -> reqwest::Result<Response<Bytes>> {
        let mut response = self.client.execute(request.try_into()?).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            let room = MAX_RESPONSE_BYTES - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        }
        let mut sent = Response::new(body.into());
        *sent.status_mut() = status;
        *sent.headers_mut() = headers;
        Ok(sent)
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime()?.block_on(self.send(request));
        // The URL may contain a password.
        sent.map_err(|error| error.without_url().into())
    }
}
