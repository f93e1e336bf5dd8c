//! Serving: connections, slow clients, and an end that waits for what was begun.

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

use super::lingering_close::Lingering;
use super::state::AppState;
use super::{ServerOptions, routes, telemetry};
use crate::blobs::BlobStore;
use crate::error::{Error, Result};

/// Serves a saver over HTTP until `shutdown` is ready, then ends the requests that were begun and
/// closes the saver. The indexes are made by [`setup`](crate::CheckpointSaver::setup), which is
/// the caller's to call.
///
/// # Errors
/// [`Error::Config`] if the options cannot be, or if the service cannot listen where they say.
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
            reason: format!("{} cannot be listened on: {error}", options.listen),
        })?;
    serve_on(listener, saver, options, shutdown).await
}

/// Like [`serve`], on a listener of the caller's; its address stands for that of the options.
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
        reason: format!("the listener has no address: {error}"),
    })?;
    let state = AppState::new(Arc::new(saver), &options)?;
    let router = routes::over(&state);
    tracing::info!(listen = %options.listen, "the service is ready");
    let graceful = GracefulShutdown::new();
    // They end with the service, also when it is dropped.
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
                    Ok(place) => connect(&mut tasks, stream, place, &router, &options, &graceful),
                    Err(_) => {
                        metrics::counter!(
                            "langgraph_http_rejected_total", "what" => "connection"
                        )
                        .increment(1);
                    }
                },
                Err(error) => {
                    // Most often too many open files, which only time cures.
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            // What has ended is forgotten.
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
            "requests were still being served when the time was over, and were cut off"
        );
    }
    tasks.shutdown().await;
    state.saver.get_ref().close().await;
    Ok(())
}

fn connect(
    tasks: &mut JoinSet<()>,
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    router: &Router,
    options: &ServerOptions,
    graceful: &GracefulShutdown,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection has gone already");
        return;
    }
    let mut stream = TimeoutStream::new(stream);
    // A client that leaves its answer unread holds a turn. Reading has limits of its own.
    stream.set_write_timeout(Some(options.write_timeout));
    let (stream, watch) = Lingering::new(Box::pin(stream), options);
    let router = TowerToHyperService::new(router.clone());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout)
        .max_headers(64)
        .max_buf_size(64 * 1024)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| router.call(watch.over(request))),
        );
    let connection = graceful.watch(connection);
    let open = Open::new(place);
    tasks.spawn(async move {
        let _open = open;
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
    });
}

/// A connection, counted until it has ended in whatever way.
struct Open {
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn new(place: OwnedSemaphorePermit) -> Self {
        metrics::gauge!("langgraph_http_connections").increment(1.0);
        Self { _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!("langgraph_http_connections").decrement(1.0);
    }
}
