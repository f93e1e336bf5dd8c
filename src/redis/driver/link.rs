//! One connection that is kept: when it ends, another is made, for ever.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::error::{Error as FredError, ErrorKind};
use fred::prelude::{Builder, ClientLike};
use fred::types::ConnectHandle;
use fred::types::config::{Config, ServerConfig};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::flight::{Live, lost, readable};
use super::multiplexed::{self, Multiplexed};
use super::{Command, Reply};
use crate::redis::credentials::{self, Credentials, CredentialsProvider};
use crate::redis::error::NO_CREDENTIALS;

/// How a connection is made, but for the server.
#[derive(Clone)]
pub(super) struct Dialer {
    /// Credentials, database and TLS. It shows them in its `Debug`.
    pub(super) config: Config,
    /// What the server calls the connections.
    pub(super) name: Option<Bytes>,
    /// Who gives the credentials, if they are not those of the config.
    pub(super) credentials: Option<Arc<dyn CredentialsProvider>>,
    /// How long making a connection may take.
    pub(super) limit: Duration,
    /// How long a connection may owe answers without giving any.
    pub(super) silence: Duration,
    /// Whether only a primary will do.
    pub(super) primary_only: bool,
}

/// A connection just made.
pub(super) struct Connection {
    pub(super) live: Arc<Live>,
    router: Router,
    ended: watch::Sender<bool>,
    /// What it was introduced with, where a provider gave that.
    given: Option<Credentials>,
}

/// A client that listens to a server.
pub(super) struct Listener {
    pub(super) client: Client,
    router: Router,
}

/// The task that drives a connection; the connection ends with it.
struct Router(ConnectHandle);

impl Drop for Router {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Dialer")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    /// Connects to a server.
    pub(super) async fn dial(&self, server: ServerConfig) -> Result<Connection, FredError> {
        let connected = async {
            let given = self.given().await?;
            let (connection, task) =
                Multiplexed::open(&self.config, &server, self.limit * 3 / 4).await?;
            let mut router = Router(task);
            let (ended, has_ended) = watch::channel(false);
            let introduced = async {
                connection
                    .introduce(&self.config, given.as_ref(), self.name.as_ref())
                    .await?;
                let live = Arc::new(Live::new(connection, has_ended));
                if self.primary_only {
                    check_role(&live).await?;
                }
                Ok::<_, FredError>(live)
            };
            match introduced.await {
                Ok(live) => Ok(Connection {
                    live,
                    router,
                    ended,
                    given,
                }),
                // The task knows why.
                Err(error) if *error.kind() == ErrorKind::IO => match (&mut router.0).await {
                    Ok(Err(reason)) => Err(reason),
                    _ => Err(error),
                },
                Err(error) => Err(error),
            }
        };
        self.in_time(connected).await
    }

    /// Connects to a server that is to be listened to.
    pub(super) async fn listen(&self, server: ServerConfig) -> Result<Listener, FredError> {
        let config = Config {
            server,
            fail_fast: true,
            ..self.config.clone()
        };
        let mut builder = Builder::from_config(config);
        builder.with_connection_config(|connection| {
            connection.connection_timeout = self.limit;
            connection.internal_command_timeout = self.limit;
            // Without a policy a connection that is lost ends its client.
            connection.max_command_attempts = 1;
            connection.auto_client_setname = false;
        });
        let client = builder.build()?;
        let mut router = Router(client.connect());
        self.in_time(wait_until_connected(&client, &mut router))
            .await
            .map_err(readable)?;
        Ok(Listener { client, router })
    }

    /// The credentials that are good now, where a provider gives them.
    async fn given(&self) -> Result<Option<Credentials>, FredError> {
        let Some(provider) = &self.credentials else {
            return Ok(None);
        };
        let given = provider.credentials().await;
        given
            .map(Some)
            .map_err(|error| FredError::new(ErrorKind::Auth, format!("{NO_CREDENTIALS}{error}")))
    }

    /// Sends a connection that lives the credentials that are good by then, again and again.
    async fn keep_known(&self, server: &str, live: &Live, given: Option<Credentials>) {
        let Some(mut given) = given else {
            return std::future::pending().await;
        };
        let mut wait = given.ask_again();
        loop {
            tokio::time::sleep(wait).await;
            match self.in_time(self.renewed(live, &given)).await {
                Ok(newer) => {
                    wait = newer.ask_again();
                    given = newer;
                }
                Err(error) => {
                    tracing::warn!(
                        server,
                        %error,
                        "a connection goes on with the credentials that it has; others are asked for again"
                    );
                    wait = (given.ask_again() / 4).max(credentials::AT_LEAST);
                }
            }
        }
    }

    async fn renewed(&self, live: &Live, before: &Credentials) -> Result<Credentials, FredError> {
        let given = self.given().await?;
        // There was a provider before, and it is the same.
        let given = given.unwrap_or_else(|| before.clone());
        if !given.are(before) {
            let auth = multiplexed::auth(given.username(), given.password());
            let answer = live.run(&[&auth]).await?.into_iter().next();
            answer.unwrap_or_else(|| Err(lost("the connection was closed")))?;
        }
        Ok(given)
    }

    async fn in_time<T>(
        &self,
        connected: impl Future<Output = Result<T, FredError>>,
    ) -> Result<T, FredError> {
        match tokio::time::timeout(self.limit, connected).await {
            Ok(connected) => connected,
            Err(_) => Err(lost(format!("no answer within {:?}", self.limit))),
        }
    }
}

async fn wait_until_connected(client: &Client, router: &mut Router) -> Result<(), FredError> {
    while !client.is_connected() {
        tokio::select! {
            connected = client.wait_for_connect() => return connected,
            ended = &mut router.0 => {
                return match ended {
                    Ok(Err(error)) => Err(error),
                    _ => Err(lost("the connection was closed")),
                };
            }
            // It may have been made between the question and the wait for it.
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    Ok(())
}

/// Refuses a server that is no primary. One that does not let this user ask is taken as it is.
async fn check_role(live: &Live) -> Result<(), FredError> {
    let role = Command::new("ROLE");
    let reply = live.run(&[&role]).await?.into_iter().next();
    match reply {
        Some(Ok(reply)) if is_primary(&reply) => Ok(()),
        Some(Ok(_)) => Err(FredError::new(
            ErrorKind::Unknown,
            "READONLY the server is a replica, which takes no writes: connect to its primary, or through Sentinel",
        )),
        Some(Err(error)) if error.details().starts_with("LOADING") => Err(error),
        Some(Err(error)) => {
            tracing::debug!(%error, "the role of the server is not known");
            Ok(())
        }
        None => Err(lost("the connection was closed")),
    }
}

/// Whether an answer to ROLE is a primary's.
pub(super) fn is_primary(reply: &Reply) -> bool {
    match reply {
        Reply::Array(parts) => parts.first().and_then(Reply::as_str) == Some("master"),
        _ => false,
    }
}

impl Connection {
    /// Waits until the connection ends, or is given up, and says why.
    async fn wait_until_it_ends(mut self, server: &str, dialer: &Dialer) -> String {
        let silence = dialer.silence;
        let live = Arc::clone(&self.live);
        let mut known = pin!(dialer.keep_known(server, &live, self.given.take()));
        let reason = loop {
            tokio::select! {
                () = &mut known => break "nobody knows its credentials".to_owned(),
                ended = &mut self.router.0 => {
                    break match ended {
                        Ok(Err(error)) => error.details().to_owned(),
                        _ => "it was closed".to_owned(),
                    };
                }
                () = self.live.is_given_up() => {
                    break "the server is not what it was".to_owned();
                }
                () = tokio::time::sleep(silence / 4) => {
                    if self.live.silence().is_some_and(|owed| owed > silence) {
                        break format!("it has not answered for {silence:?}");
                    }
                }
            }
        };
        self.ended.send_replace(true);
        reason
    }
}

impl Listener {
    /// Waits until the connection ends.
    pub(super) async fn wait_until_closed(&mut self) {
        let _ = (&mut self.router.0).await;
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
pub(super) struct Task(JoinHandle<()>);

impl Task {
    pub(super) fn start(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    pub(super) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells those who wait for a connection that it is worth another look.
#[derive(Debug)]
pub(super) struct Changes(watch::Sender<()>);

impl Changes {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(())))
    }

    pub(super) fn tell(&self) {
        self.0.send_replace(());
    }

    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

/// A connection that is kept.
#[derive(Debug)]
pub(super) struct Link {
    state: Arc<State>,
    /// `None` for a connection of somebody else's.
    task: Option<Task>,
}

#[derive(Debug)]
struct State {
    live: RwLock<Option<Arc<Live>>>,
    problem: Mutex<Option<FredError>>,
    losses: AtomicU64,
}

impl Link {
    /// Keeps a connection to a server; without one yet, it is made in the background.
    pub(super) fn keep(
        server: &ServerConfig,
        dialer: &Arc<Dialer>,
        changes: &Arc<Changes>,
        connection: Option<Connection>,
    ) -> Self {
        let state = Arc::new(State {
            live: RwLock::new(
                connection
                    .as_ref()
                    .map(|connection| Arc::clone(&connection.live)),
            ),
            problem: Mutex::default(),
            losses: AtomicU64::new(0),
        });
        let work = keep(
            Arc::clone(&state),
            server.clone(),
            Arc::clone(dialer),
            Arc::clone(changes),
            connection,
        );
        Self {
            state,
            task: Some(Task::start(work)),
        }
    }

    /// A client that somebody else keeps.
    pub(super) fn given(live: Live) -> Self {
        Self {
            state: Arc::new(State {
                live: RwLock::new(Some(Arc::new(live))),
                problem: Mutex::default(),
                losses: AtomicU64::new(0),
            }),
            task: None,
        }
    }

    /// The connection, if there is one.
    pub(super) fn live(&self) -> Option<Arc<Live>> {
        self.state.live()
    }

    /// Why there is none.
    pub(super) fn problem(&self) -> Option<FredError> {
        let problem = &self.state.problem;
        problem
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How often the connection was lost.
    pub(super) fn losses(&self) -> u64 {
        self.state.losses.load(Ordering::SeqCst)
    }

    /// Ends the connection, for good.
    pub(super) fn stop(&self) {
        if let Some(task) = &self.task {
            task.stop();
            self.state.set(None);
        }
    }
}

impl State {
    fn live(&self) -> Option<Arc<Live>> {
        self.live
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, live: Option<Arc<Live>>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
    }

    fn set_problem(&self, problem: Option<FredError>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

async fn keep(
    state: Arc<State>,
    server: ServerConfig,
    dialer: Arc<Dialer>,
    changes: Arc<Changes>,
    mut connection: Option<Connection>,
) {
    let name = super::node::name_of(&server);
    let mut backoff = Backoff::connecting();
    loop {
        let made = match connection.take() {
            Some(made) => made,
            None => match dialer.dial(server.clone()).await {
                Ok(made) => {
                    tracing::debug!(server = name, "connected");
                    made
                }
                Err(error) => {
                    tracing::debug!(server = name, %error, "no connection");
                    state.set_problem(Some(error));
                    changes.tell();
                    tokio::time::sleep(backoff.next()).await;
                    continue;
                }
            },
        };
        let since = Instant::now();
        state.set(Some(Arc::clone(&made.live)));
        changes.tell();
        let reason = made.wait_until_it_ends(&name, &dialer).await;
        tracing::warn!(
            server = name,
            reason,
            "a connection was lost; another is made"
        );
        state.losses.fetch_add(1, Ordering::SeqCst);
        state.set_problem(Some(lost(reason)));
        state.set(None);
        changes.tell();
        // One that is lost again at once must not be made again at once.
        if since.elapsed() > Duration::from_secs(1) {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next()).await;
    }
}
