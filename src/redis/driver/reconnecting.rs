//! A connection that is replaced whenever it is lost.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::address::Endpoint;
use super::backoff::Backoff;
use super::connection::Connection;
use super::connector::{Connector, NewConnection};
use super::task::{Changes, Task};
use crate::redis::error::RedisError;

/// A connection to a server, made again whenever it is lost.
#[derive(Debug)]
pub(super) struct ReconnectingConnection {
    state: Arc<State>,
    /// `None` for a client of the caller's, which reconnects by itself.
    task: Option<Task>,
}

#[derive(Debug, Default)]
struct State {
    current: RwLock<Option<Arc<Connection>>>,
    problem: Mutex<Option<RedisError>>,
    losses: AtomicU64,
}

impl ReconnectingConnection {
    /// Keeps a connection to a server. Without `first` it is made in the background.
    pub(super) fn start(
        endpoint: &Endpoint,
        connector: &Arc<Connector>,
        changes: &Arc<Changes>,
        first: Option<NewConnection>,
    ) -> Self {
        let state = Arc::new(State::default());
        // In place before this returns, so that the first call finds it.
        state.set(first.as_ref().map(|first| Arc::clone(&first.connection)));
        let work = keep_connected(
            Arc::clone(&state),
            endpoint.clone(),
            Arc::clone(connector),
            Arc::clone(changes),
            first,
        );
        Self {
            state,
            task: Some(Task::start(work)),
        }
    }

    /// A client of the caller's.
    pub(super) fn external(connection: Connection) -> Self {
        let state = Arc::new(State::default());
        state.set(Some(Arc::new(connection)));
        Self { state, task: None }
    }

    /// The connection, if there is one at the moment.
    pub(super) fn current(&self) -> Option<Arc<Connection>> {
        let current = self.state.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why there is none.
    pub(super) fn problem(&self) -> Option<RedisError> {
        let problem = self.state.problem.lock();
        problem.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often the connection was lost.
    pub(super) fn losses(&self) -> u64 {
        self.state.losses.load(Ordering::SeqCst)
    }

    /// Closes the connection, which is not made again.
    pub(super) fn stop(&self) {
        if let Some(task) = &self.task {
            task.stop();
            self.state.set(None);
        }
    }
}

impl State {
    fn set(&self, connection: Option<Arc<Connection>>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    fn set_problem(&self, problem: RedisError) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
    }
}

async fn keep_connected(
    state: Arc<State>,
    endpoint: Endpoint,
    connector: Arc<Connector>,
    changes: Arc<Changes>,
    mut first: Option<NewConnection>,
) {
    let server = endpoint.to_string();
    let mut backoff = Backoff::connecting();
    loop {
        let new = match first.take() {
            Some(new) => new,
            None => match connector.connect(&endpoint).await {
                Ok(new) => {
                    tracing::debug!(server, "connected");
                    new
                }
                Err(error) => {
                    tracing::debug!(server, %error, "no connection");
                    state.set_problem(error);
                    changes.notify();
                    tokio::time::sleep(backoff.next()).await;
                    continue;
                }
            },
        };
        let since = Instant::now();
        state.set(Some(Arc::clone(&new.connection)));
        changes.notify();
        let reason = until_closed(new, &server, &connector).await;
        tracing::warn!(server, reason, "a connection was lost; it is made again");
        state.losses.fetch_add(1, Ordering::SeqCst);
        state.set_problem(RedisError::lost(reason));
        state.set(None);
        changes.notify();
        // A connection that is lost soon after it was made counts as a failed attempt.
        if since.elapsed() > Duration::from_secs(1) {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Waits until a connection is closed, discarded or silent, and returns why.
async fn until_closed(mut new: NewConnection, server: &str, connector: &Connector) -> String {
    let max_silence = connector.max_silence;
    let connection = Arc::clone(&new.connection);
    let credentials = new.credentials.take();
    let mut refreshing = pin!(connector.refresh_credentials(server, &connection, credentials));
    let reason = loop {
        tokio::select! {
            () = &mut refreshing => break "its credentials are not refreshed".to_owned(),
            error = new.task.closed() => {
                break error.map_or_else(
                    || "it was closed".to_owned(),
                    |error| error.message().to_owned(),
                );
            }
            () = connection.is_discarded() => {
                break "the server is no longer the primary".to_owned();
            }
            () = tokio::time::sleep(max_silence / 4) => {
                if connection.silence().is_some_and(|silence| silence > max_silence) {
                    break format!("it has not replied for {max_silence:?}");
                }
            }
        }
    };
    new.closed.send_replace(true);
    reason
}
