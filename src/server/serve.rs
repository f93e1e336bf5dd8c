//! The accept loop: connection limits, slow clients and graceful shutdown.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

use super::connections::{self, Connections};
use super::lingering_close::LingeringStream;
use super::listen::{Listener, Peer, Stream};
use super::options::{Authentication, ServerOptions};
use super::state::AppState;
use super::tls::Tls;
use super::watched_files::WatchedFiles;
use super::{routes, telemetry};
use crate::blobs::BlobStore;
use crate::error::{Error, Result};

/// Serves a saver over HTTP until `shutdown` resolves. From then on `/readyz` reports 503; after
/// [`shutdown_delay`](ServerOptions::shutdown_delay) the service accepts no more connections,
/// completes the requests in flight (for at most [`drain_timeout`](ServerOptions::drain_timeout))
/// and closes the saver.
///
/// Call [`setup`](crate::CheckpointSaver::setup) before, which creates the indexes.
///
/// # Errors
/// [`Error::Config`] if the options are not valid, the address cannot be bound, or a file cannot be
/// read.
pub async fn serve(
    saver: impl BlobStore,
    options: ServerOptions,
    shutdown: impl Future,
) -> Result<()> {
    options.check()?;
    let listener = Listener::bind(&options).await?;
    serve_on(listener, saver, options, shutdown).await
}

/// As [`serve`], on a listener of the caller's, whose address takes the place of
/// [`listen`](ServerOptions::listen).
///
/// # Errors
/// As [`serve`].
pub async fn serve_on(
    listener: impl Into<Listener>,
    saver: impl BlobStore,
    mut options: ServerOptions,
    shutdown: impl Future,
) -> Result<()> {
    let listener = listener.into();
    options.listen = listener.address().map_err(|error| Error::Config {
        key: "listen".to_owned(),
        reason: "the listener has no address".to_owned(),
        source: Some(error.into()),
    })?;
    let state = AppState::new(Arc::new(saver), &options)?;
    // The tasks end when the service is dropped.
    let mut tasks = JoinSet::new();
    let tls = encryption(&mut tasks, &options)?;
    if let Authentication::KeyFile(file) = &options.authentication {
        tasks.spawn(file.clone().follow(options.handle.clone()));
    }
    let (closing, closed) = watch::channel(false);
    let serving = Serving {
        router: routes::over(&state),
        tls,
        closing: closed,
        options: options.clone(),
    };
    tracing::info!(listen = %options.listen, "the service is ready");
    options.handle.set_ready();
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(&options);
    let health_only = Serving {
        router: connections::health_only(&state),
        ..serving.clone()
    };
    let mut upkeep = tokio::time::interval(Duration::from_secs(5));
    let mut shutdown = pin!(async {
        shutdown.await;
        state.drain();
        tracing::info!("the service is shutting down");
        options.handle.delay(options.shutdown_delay).await;
    });
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => if let Some(admitted) = connections.admit(peer.ip()) {
                    let mut serving = if admitted.is_health_only() { &health_only } else { &serving }.clone();
                    serving.options.header_timeout = admitted.header_timeout(&options);
                    let served = serving.serve(stream, peer, graceful.watcher());
                    tasks.spawn(async move {
                        let _admitted = admitted;
                        served.await;
                    });
                },
                Err(error) => {
                    // Most often too many open files: wait until some are closed.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            // Completed tasks are dropped.
            Some(_) = tasks.join_next() => {}
            _ = upkeep.tick() => {
                if let Some(collector) = telemetry::collector() {
                    collector.run_upkeep();
                }
            }
        }
    }
    drop(listener);
    // Whoever has not even finished the handshake of TLS is not waited for.
    closing.send_replace(true);
    if tokio::time::timeout(options.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        let left = state.in_flight();
        tracing::warn!(
            left,
            connections = tasks.len(),
            "the drain timeout has elapsed; the remaining requests were aborted"
        );
    }
    tasks.shutdown().await;
    state.saver.get_ref().close().await;
    #[cfg(feature = "otlp")]
    telemetry::flush().await;
    Ok(())
}

/// How connections are encrypted, whose files are followed from here on.
fn encryption(tasks: &mut JoinSet<()>, options: &ServerOptions) -> Result<Option<Arc<Tls>>> {
    let Some(files) = &options.tls else {
        return Ok(None);
    };
    let watched = WatchedFiles::new("files of TLS", files.paths());
    let tls = Arc::new(Tls::read(files)?);
    let read = Arc::clone(&tls);
    tasks.spawn(watched.follow(options.handle.clone(), move || read.read_again()));
    Ok(Some(tls))
}

/// What connections are served with.
#[derive(Clone)]
struct Serving {
    router: Router,
    tls: Option<Arc<Tls>>,
    /// True from the end of listening on.
    closing: watch::Receiver<bool>,
    options: ServerOptions,
}

impl Serving {
    /// Serves a connection to its end.
    async fn serve(self, stream: Stream, peer: Peer, watcher: Watcher) {
        match stream {
            Stream::Tcp(stream) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "a connection was closed before it was served");
                    return;
                }
                let stream = self.limit_writes(stream);
                match self.tls.clone() {
                    None => self.answer(stream, peer, watcher).await,
                    Some(tls) => {
                        if let Some(stream) = self.shake_hands(&tls, stream).await {
                            self.answer(stream, peer, watcher).await;
                        }
                    }
                }
            }
            #[cfg(unix)]
            Stream::Unix(stream) => self.answer(self.limit_writes(stream), peer, watcher).await,
        }
    }

    /// A client that does not read its response holds a permit. Reads have limits of their own.
    fn limit_writes<S: AsyncRead + AsyncWrite>(
        &self,
        stream: S,
    ) -> std::pin::Pin<Box<TimeoutStream<S>>> {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.options.write_timeout));
        Box::pin(stream)
    }

    /// Makes the handshake of TLS, for which a client has as long as for the head of a request.
    async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        tls: &Tls,
        stream: S,
    ) -> Option<impl AsyncRead + AsyncWrite + Unpin + use<S>> {
        let mut closing = self.closing.clone();
        let handshake = tls.acceptor().accept(stream);
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.options.header_timeout, handshake) => shaken,
            _ = closing.wait_for(|closing| *closing) => return None,
        };
        let refused = match shaken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        metrics::counter!("langgraph_http_rejected_total", "what" => "handshake").increment(1);
        tracing::debug!(error = refused, "a handshake of TLS failed");
        None
    }

    async fn answer<S>(&self, stream: S, peer: Peer, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, monitor) = LingeringStream::new(stream, &self.options);
        let router = TowerToHyperService::new(self.router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_headers(64)
            .max_buf_size(64 * 1024)
            .serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| {
                    let mut request = monitor.monitor(request);
                    request.extensions_mut().insert(peer);
                    router.call(request)
                }),
            );
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection broke");
        }
    }
}
