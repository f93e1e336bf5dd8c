//! The driver on fred.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fred::prelude::{Builder, ClientLike, ClusterInterface, Pool, ReconnectPolicy, TcpConfig};
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ReconnectError, Server, ServerConfig, UnresponsiveConfig,
};
use fred::types::{ClusterHash, CustomCommand, Value};
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;

use super::{Command, Node, Reply, tls};
use crate::error::{Error, Result};
use crate::redis::config::Settings;
use crate::redis::error::{Context, classify};
use crate::redis::url::{RedisUrl, Topology};

/// How many calls may be in flight for each connection; more wait for their turn.
const CALLS_PER_CONNECTION: usize = 2_048;

/// What tells of every round trip, at the level `TRACE`.
const FLIGHTS: &str = "langgraph_checkpoint_redis::flights";

/// Runs commands on Redis.
pub(crate) struct Driver {
    pool: Pool,
    calls: Arc<Semaphore>,
    server: String,
    command_timeout: Duration,
    is_cluster: bool,
    owned: bool,
}

impl Driver {
    /// Connects to the server that a URL names.
    pub(crate) async fn connect(url: &RedisUrl, settings: &Settings) -> Result<Self> {
        let mut config = Config {
            server: server_config(url),
            username: url.username.clone(),
            password: url
                .password
                .as_ref()
                .map(|password| password.expose_secret().to_owned()),
            database: url.database,
            fail_fast: true,
            ..Config::default()
        };
        if url.tls {
            tls::turn_on(&mut config)?;
        }
        let mut builder = Builder::from_config(config);
        builder
            .set_policy(reconnect_policy())
            .with_performance_config(|performance| {
                performance.default_command_timeout = settings.command_timeout;
            })
            .with_connection_config(|connection| {
                connection.connection_timeout = settings.connect_timeout;
                connection.internal_command_timeout = settings.connect_timeout;
                // More attempts than redirections: a redirection while a slot moves must not end
                // the client.
                connection.max_command_attempts = 20;
                connection.max_redirections = 5;
                connection.auto_client_setname = false;
                connection.unresponsive = UnresponsiveConfig {
                    max_timeout: Some(Duration::from_secs(3)),
                    interval: Duration::from_secs(1),
                };
                connection.tcp = TcpConfig {
                    nodelay: Some(true),
                    ..TcpConfig::default()
                };
                connection.reconnect_errors = vec![
                    ReconnectError::ClusterDown,
                    ReconnectError::Loading,
                    ReconnectError::MasterDown,
                    ReconnectError::ReadOnly,
                ];
            });
        let configured = |error: fred::error::Error| Error::Config {
            key: "url".to_owned(),
            reason: error.to_string(),
        };
        let pool = builder.build_pool(settings.pool_size).map_err(configured)?;
        let driver = Self::over(pool, url.address(), settings, true);
        let connected = tokio::time::timeout(settings.connect_timeout, driver.pool.init()).await;
        match connected {
            Ok(Ok(_)) => Ok(driver),
            Ok(Err(error)) => Err(driver.error("the connection", &error)),
            Err(_) => Err(Error::Connection {
                server: driver.server.clone(),
                reason: format!("no answer within {:?}", settings.connect_timeout),
            }),
        }
    }

    /// Uses clients of the caller's own, connected already.
    pub(crate) fn over_pool(pool: Pool, settings: &Settings) -> Self {
        let server = match &pool.next().client_config().server {
            ServerConfig::Centralized { server } => server.to_string(),
            ServerConfig::Clustered { hosts, .. } | ServerConfig::Sentinel { hosts, .. } => hosts
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(","),
            ServerConfig::Unix { path } => path.display().to_string(),
        };
        Self::over(pool, server, settings, false)
    }

    fn over(pool: Pool, server: String, settings: &Settings, owned: bool) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(pool.size() * CALLS_PER_CONNECTION)),
            is_cluster: pool.next().client_config().server.is_clustered(),
            pool,
            server,
            command_timeout: settings.command_timeout,
            owned,
        }
    }

    /// Whether the server is a cluster, so that slots decide.
    pub(crate) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// The primaries of a cluster; elsewhere the one server.
    pub(crate) fn primaries(&self) -> Result<Vec<Node>> {
        if !self.is_cluster() {
            return Ok(vec![Node(None)]);
        }
        let state = self.pool.next().cached_cluster_state();
        let nodes = state.map(|state| state.unique_primary_nodes());
        let nodes = nodes.unwrap_or_default();
        if nodes.is_empty() {
            return Err(Error::Unavailable {
                reason: "the nodes of the cluster are not known yet".to_owned(),
            });
        }
        Ok(nodes.into_iter().map(|node| Node(Some(node))).collect())
    }

    /// Some primary of a cluster; elsewhere the one server.
    pub(crate) fn any_primary(&self) -> Result<Node> {
        let nodes = self.primaries()?;
        // There is one at least.
        let chosen = rand::random_range(0..nodes.len().max(1));
        nodes.into_iter().nth(chosen).ok_or(Error::Closed)
    }

    /// The primary that a slot is on; elsewhere than in a cluster the one server.
    pub(crate) fn owner(&self, slot: u16) -> Option<Node> {
        if !self.is_cluster() {
            return Some(Node(None));
        }
        let state = self.pool.next().cached_cluster_state()?;
        Some(Node(Some(state.get_server(slot)?.clone())))
    }

    /// Runs a command that has no keys on one node.
    pub(crate) async fn call_at(
        &self,
        operation: &'static str,
        node: &Node,
        command: Command,
    ) -> Result<Reply> {
        let Node(Some(server)) = node else {
            return self.call(operation, command).await;
        };
        let _turn = self.turn().await?;
        let name = command.name;
        let (command, args) = to_fred(command);
        self.pool
            .next()
            .with_cluster_node(server)
            .custom::<Value, Value>(command, args)
            .await
            .map(Reply::from)
            .map_err(|error| self.error_of(operation, name, &error))
    }

    /// Runs one command.
    pub(crate) async fn call(&self, operation: &'static str, command: Command) -> Result<Reply> {
        let _turn = self.turn().await?;
        let name = command.name;
        tracing::trace!(target: FLIGHTS, operation, commands = 1);
        let (command, args) = to_fred(command);
        self.pool
            .next()
            .custom::<Value, Value>(command, args)
            .await
            .map(Reply::from)
            .map_err(|error| self.error_of(operation, name, &error))
    }

    /// Runs commands in one flight, in their order; one that fails does not stop the others.
    pub(crate) async fn batch(
        &self,
        operation: &'static str,
        commands: Vec<Command>,
    ) -> Result<Vec<Result<Reply>>> {
        let _turn = self.turn().await?;
        tracing::trace!(target: FLIGHTS, operation, commands = commands.len());
        let names: Vec<_> = commands.iter().map(|command| command.name).collect();
        let pipeline = self.pool.next().pipeline();
        for command in commands {
            let (command, args) = to_fred(command);
            pipeline
                .custom::<(), Value>(command, args)
                .await
                .map_err(|error| self.error(operation, &error))?;
        }
        let replies = pipeline.try_all::<Value>().await;
        if replies.len() != names.len() {
            // The pipeline as a whole failed: one error stands for all commands.
            let error = replies.into_iter().find_map(std::result::Result::err);
            return Err(error.map_or(Error::Closed, |error| self.error(operation, &error)));
        }
        Ok(replies
            .into_iter()
            .zip(names)
            .map(|(reply, name)| {
                reply
                    .map(Reply::from)
                    .map_err(|error| self.error_of(operation, name, &error))
            })
            .collect())
    }

    /// Waits until a call may start: what is in flight is bounded here, because a bound of the
    /// client's own makes later calls hang.
    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        self.calls.acquire().await.map_err(|_| Error::Closed)
    }

    fn error(&self, operation: &'static str, error: &fred::error::Error) -> Error {
        self.error_of(operation, "the command", error)
    }

    fn error_of(
        &self,
        operation: &'static str,
        command: &str,
        error: &fred::error::Error,
    ) -> Error {
        classify(
            error,
            &Context {
                server: &self.server,
                operation,
                command,
                limit: self.command_timeout,
            },
        )
    }

    /// Waits for the calls in flight, then closes the connections that the driver made itself.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(self.pool.size() * CALLS_PER_CONNECTION).unwrap_or(u32::MAX);
        let drained =
            tokio::time::timeout(self.command_timeout, self.calls.acquire_many(all)).await;
        if drained.is_err() {
            tracing::warn!(
                server = self.server,
                "calls were still in flight when the saver closed"
            );
        }
        self.calls.close();
        if self.owned
            && let Err(error) = self.pool.quit().await
        {
            tracing::debug!(server = self.server, %error, "the connection was closed already");
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Driver")
            .field("server", &self.server)
            .field("connections", &self.pool.size())
            .finish_non_exhaustive()
    }
}

fn to_fred(command: Command) -> (CustomCommand, Vec<Value>) {
    let hash = command
        .slot
        .map_or(ClusterHash::Random, ClusterHash::Custom);
    (
        CustomCommand::new_static(command.name, hash, false),
        command.args.into_iter().map(value).collect(),
    )
}

fn value(arg: Bytes) -> Value {
    Value::Bytes(arg)
}

/// For ever, from 50 ms to 1 s apart, with jitter so that many clients do not return at once.
fn reconnect_policy() -> ReconnectPolicy {
    let mut policy = ReconnectPolicy::new_exponential(0, 50, 1_000, 2);
    policy.set_jitter(50);
    policy
}

fn server_config(url: &RedisUrl) -> ServerConfig {
    let servers = || {
        url.hosts
            .iter()
            .map(|(host, port)| Server::new(host.as_str(), *port))
            .collect::<Vec<_>>()
    };
    match &url.topology {
        Topology::Standalone => {
            let (host, port) = &url.hosts[0];
            ServerConfig::new_centralized(host, *port)
        }
        Topology::Unix(path) => ServerConfig::Unix { path: path.clone() },
        Topology::Cluster => ServerConfig::Clustered {
            hosts: servers(),
            policy: ClusterDiscoveryPolicy::UseCache,
        },
        Topology::Sentinel {
            service,
            username,
            password,
        } => ServerConfig::Sentinel {
            hosts: servers(),
            service_name: service.clone(),
            username: username.clone(),
            password: password
                .as_ref()
                .map(|password| password.expose_secret().to_owned()),
        },
    }
}
