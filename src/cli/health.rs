//! `health`: asks a service that runs whether it is ready.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::failure::{Failure, Outcome};
use super::output::Output;
use super::serve::listen_address;
use super::text::printable;
use crate::error::Source;
use crate::server::ListenAddress;

/// The longest answer that is read, in bytes.
const MAX_BYTES: usize = 16_384;

/// Ask a running service whether it is ready, as the health check of a container
///
/// Exits with code 5 if it is not, or cannot be reached.
#[derive(Args)]
pub(crate) struct Health {
    /// The address that the service listens on, ADDRESS:PORT, NAME:PORT or unix:PATH
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        value_parser = listen_address
    )]
    address: ListenAddress,
    /// Ask over TLS: the certificate of the service is signed by one of these authorities (PEM)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The name in that certificate
    #[arg(
        long,
        value_name = "NAME",
        default_value = "localhost",
        requires = "ca"
    )]
    name: String,
    /// The time limit
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = crate::redis::duration)]
    timeout: Duration,
}

impl Health {
    pub(crate) fn run(self, json: bool) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::File(format!("cannot start the runtime: {error}")))?;
        let answer = runtime
            .block_on(async { tokio::time::timeout(self.timeout, self.ask()).await })
            .map_err(|_| self.unavailable("it did not answer in time"))?;
        let (status, text) = answer.map_err(|error| self.unavailable(&error.to_string()))?;
        if status != StatusCode::OK {
            return Err(self.unavailable(&format!("it answers {status}: {}", reason(&text))));
        }
        let mut output = Output::new(json);
        if output.is_json() {
            output.json(&json!({ "ready": true, "answer": text }))?;
        } else {
            output.line(printable(&text))?;
        }
        output.flush()
    }

    /// The status and the text of `GET /readyz`.
    async fn ask(&self) -> Result<(StatusCode, String), Source> {
        match (&self.address, &self.ca) {
            (ListenAddress::Tcp(address), None) => {
                ask_on(TcpStream::connect(address).await?, &address.to_string()).await
            }
            (ListenAddress::Tcp(address), Some(ca)) => {
                let connector = TlsConnector::from(Arc::new(trusting(ca)?));
                let name = ServerName::try_from(self.name.clone())?;
                let stream = TcpStream::connect(address).await?;
                let stream = connector.connect(name, stream).await?;
                // Its own name may be one that a service without keys does not answer to.
                ask_on(stream, "localhost").await
            }
            #[cfg(unix)]
            (ListenAddress::Unix(path), _) => {
                ask_on(tokio::net::UnixStream::connect(path).await?, "localhost").await
            }
            #[cfg(not(unix))]
            (ListenAddress::Unix(_), _) => Err("this system has no Unix sockets".into()),
        }
    }

    fn unavailable(&self, why: &str) -> Failure {
        Failure::Unavailable(format!(
            "the service at {} is not ready: {why}",
            self.address
        ))
    }
}

/// The message of an error response, or the response itself.
fn reason(text: &str) -> String {
    let body = serde_json::from_str::<Value>(text).unwrap_or_default();
    printable(body["message"].as_str().unwrap_or(text)).into_owned()
}

/// TLS that trusts the authorities of a file, and no others.
fn trusting(ca: &Path) -> Result<ClientConfig, Source> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

async fn ask_on<S>(stream: S, host: &str) -> Result<(StatusCode, String), Source>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/readyz")
        .header(HOST, host)
        .body(Empty::<Bytes>::new())?;
    let answered = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BYTES)
            .collect()
            .await?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok((status, text))
    };
    tokio::pin!(answered);
    tokio::select! {
        answered = &mut answered => answered,
        // The connection ends before the answer is taken only if it breaks.
        ended = connection => {
            ended?;
            answered.await
        }
    }
}
