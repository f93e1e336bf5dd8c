//! A connection that is replaced whenever it is lost.
//!
//! Routers forget connections, and then drop what is sent over them without a word. So where a reply
//! is overdue, a second connection is made: if the server answers on that one, the first is dead, and
//! the second takes its place. The other connections to the server are likely to be dead, too.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Fuse, FusedFuture};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::address::Endpoint;
use super::backoff::Backoff;
use super::connection::Connection;
use super::connector::{Connector, NewConnection};
use super::task::{Changes, Task};
use crate::redis::error::RedisError;

/// How long a reply may be overdue before the server is asked on another connection.
const OVERDUE: Duration = Duration::from_secs(1);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What the connections to one server share.
#[derive(Debug)]
pub(super) struct Siblings {
    /// Tells that one of them was found dead.
    dead: Arc<Changes>,
    /// Held while the server is asked on another connection: one is enough for all.
    asking: Semaphore,
}

impl Siblings {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            dead: Changes::new(),
            asking: Semaphore::new(1),
        })
    }
}

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
        siblings: &Arc<Siblings>,
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
            Arc::clone(siblings),
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
    siblings: Arc<Siblings>,
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
        let (reason, replacement) = until_closed(new, &endpoint, &connector, &siblings).await;
        tracing::warn!(server, reason, "a connection was lost; it is made again");
        state.losses.fetch_add(1, Ordering::SeqCst);
        state.set_problem(RedisError::lost(reason));
        state.set(None);
        changes.notify();
        if replacement.is_some() {
            first = replacement;
            continue;
        }
        // A connection that is lost soon after it was made counts as a failed attempt.
        if since.elapsed() > Duration::from_secs(1) {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Waits until a connection is closed, discarded, silent or dead, and returns why, and a connection
/// that takes its place if one is made already.
async fn until_closed(
    mut new: NewConnection,
    endpoint: &Endpoint,
    connector: &Connector,
    siblings: &Siblings,
) -> (String, Option<NewConnection>) {
    let max_silence = connector.max_silence;
    let connection = Arc::clone(&new.connection);
    let credentials = new.credentials.take();
    let server = endpoint.to_string();
    let mut refreshing = pin!(connector.refresh_credentials(&server, &connection, credentials));
    let mut asking = pin!(Fuse::terminated());
    let mut dead = siblings.dead.subscribe();
    let mut replacement = None;
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
            Some(answers) = &mut asking => {
                if connection.unexplained_silence() > Some(OVERDUE) {
                    replacement = Some(answers);
                    siblings.dead.notify();
                    break format!("no reply within {OVERDUE:?}, while the server answers on another connection");
                }
            }
            _ = dead.changed() => {
                if !is_alive(&connection) {
                    break "nothing was received of late, and another connection to the server is dead".to_owned();
                }
            }
            () = tokio::time::sleep(LOOK) => {
                if connection.silence().is_some_and(|silence| silence > max_silence) {
                    break format!("it has not replied for {max_silence:?}");
                }
                if connection.unexplained_silence() > Some(OVERDUE) && asking.is_terminated() {
                    asking.set(ask(endpoint, connector, siblings).fuse());
                }
            }
        }
    };
    new.closed.send_replace(true);
    (reason, replacement)
}

/// Whether a connection has been heard of lately, or has reasons for its silence.
fn is_alive(connection: &Connection) -> bool {
    let is_explained = connection.silence().is_some() && connection.unexplained_silence().is_none();
    is_explained
        || connection
            .last_received()
            .is_some_and(|last| last < OVERDUE)
}

/// A new connection to a server, if it answers on that, and nobody else asks it.
async fn ask(
    endpoint: &Endpoint,
    connector: &Connector,
    siblings: &Siblings,
) -> Option<NewConnection> {
    let _asking = siblings.asking.try_acquire().ok()?;
    let answers = connector.connect_to_idle(endpoint);
    tokio::time::timeout(OVERDUE, answers).await.ok()?.ok()
}
