//! The accept loop: connection limits, slow clients and graceful shutdown.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;

use super::lingering_close::LingeringStream;
use super::options::ServerOptions;
use super::state::AppState;
use super::{routes, telemetry};
use crate::blobs::BlobStore;
use crate::error::{Error, Result};

/// Serves a saver over HTTP until `shutdown` resolves, then completes the requests in flight (for
/// at most [`drain_timeout`](ServerOptions::drain_timeout)) and closes the saver.
///
/// Call [`setup`](crate::CheckpointSaver::setup) before, which creates the indexes.
///
/// # Errors
/// [`Error::Config`] if the options are not valid or the address cannot be bound.
pub async fn serve(
    saver: impl BlobStore,
    options: ServerOptions,
    shutdown: impl Future,
) -> Result<()> {
    options.check()?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| Error::Config {
            key: "listen".to_owned(),
            reason: format!("cannot listen on {}", options.listen),
            source: Some(error.into()),
        })?;
    serve_on(listener, saver, options, shutdown).await
}

/// As [`serve`], on a listener of the caller's, whose address takes the place of
/// [`listen`](ServerOptions::listen).
///
/// # Errors
/// As [`serve`].
pub async fn serve_on(
    listener: TcpListener,
    saver: impl BlobStore,
    mut options: ServerOptions,
    shutdown: impl Future,
) -> Result<()> {
    options.listen = listener.local_addr().map_err(|error| Error::Config {
        key: "listen".to_owned(),
        reason: "the listener has no address".to_owned(),
        source: Some(error.into()),
    })?;
    let state = AppState::new(Arc::new(saver), &options)?;
    let router = routes::over(&state);
    tracing::info!(listen = %options.listen, "the service is ready");
    let graceful = GracefulShutdown::new();
    // The tasks end when the service is dropped.
    let mut tasks = JoinSet::new();
    let connections = Arc::new(Semaphore::new(
        options.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    let mut upkeep = tokio::time::interval(Duration::from_secs(5));
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            _ = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match Arc::clone(&connections).try_acquire_owned() {
                    Ok(permit) => connect(&mut tasks, stream, permit, &router, &options, &graceful),
                    Err(_) => {
                        metrics::counter!(
                            "langgraph_http_rejected_total", "what" => "connection"
                        )
                        .increment(1);
                    }
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
    state.drain();
    drop(listener);
    tracing::info!("the service is shutting down");
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
    Ok(())
}

fn connect(
    tasks: &mut JoinSet<()>,
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    router: &Router,
    options: &ServerOptions,
    graceful: &GracefulShutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was closed before it was served");
        return;
    }
    let mut stream = TimeoutStream::new(stream);
    // A client that does not read its response holds a permit. Reads have limits of their own.
    stream.set_write_timeout(Some(options.write_timeout));
    let (stream, monitor) = LingeringStream::new(Box::pin(stream), options);
    let router = TowerToHyperService::new(router.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_headers(64)
        .max_buf_size(64 * 1024)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| router.call(monitor.monitor(request))),
        );
    let connection = graceful.watch(connection);
    let connected = OpenConnection::new(permit);
    tasks.spawn(async move {
        let _connected = connected;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
    });
}

/// Counts a connection until it is dropped.
struct OpenConnection {
    _permit: OwnedSemaphorePermit,
}

impl OpenConnection {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!("langgraph_http_connections").increment(1.0);
        Self { _permit: permit }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        metrics::gauge!("langgraph_http_connections").decrement(1.0);
    }
}
