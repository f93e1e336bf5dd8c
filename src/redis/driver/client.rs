//! The driver: runs the commands of a call until each has a reply or its time is over.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::backoff::Backoff;
use super::command::Command;
use super::node::NodeHandle;
use super::pipeline::{Failure, PendingCommand, Pipeline, Sent, route};
use super::replication::Replication;
use super::reply::Reply;
use super::retry::{RetryDecision, decide};
use super::servers::Servers;
use super::task::Changes;
use crate::error::{Error, Result};
use crate::redis::config::Settings;
use crate::redis::error::{Context, RedisError};
use crate::round_trips;

/// How many calls may be in progress for each connection; more wait for their turn.
const CALLS_PER_CONNECTION: usize = 2_048;
/// How long a call waits for a connection before it has the servers looked for again.
const RECHECK: Duration = Duration::from_millis(250);
/// The target of the events that report each round trip, at the level `TRACE`.
const ROUND_TRIPS: &str = "langgraph_checkpoint_redis::round_trips";

/// Runs commands on Redis.
pub(crate) struct Driver {
    pub(super) servers: Servers,
    changes: Arc<Changes>,
    calls: Semaphore,
    /// How many calls may be in progress.
    pub(super) capacity: usize,
    server: String,
    pub(super) limit: Duration,
    pub(super) replication: Option<Replication>,
    pub(super) is_cluster: bool,
    pub(super) database: u8,
    /// Whether the user may not read the configuration of the servers.
    pub(super) hides_config: AtomicBool,
}

impl Driver {
    pub(super) fn new(
        servers: Servers,
        changes: Arc<Changes>,
        server: String,
        settings: &Settings,
    ) -> Self {
        let capacity = settings.pool_size * CALLS_PER_CONNECTION;
        Self {
            servers,
            changes,
            calls: Semaphore::new(capacity),
            capacity,
            server,
            limit: settings.command_timeout,
            replication: Replication::new(settings),
            is_cluster: false,
            database: 0,
            hides_config: AtomicBool::new(false),
        }
    }

    /// Whether the servers are a cluster, so that keys are in slots.
    pub(crate) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// The number of the database.
    pub(crate) fn database(&self) -> u8 {
        self.database
    }

    /// How often a connection was lost; the server may have been restarted or replaced then.
    pub(crate) fn losses(&self) -> u64 {
        self.servers.losses()
    }

    // The work is boxed, so that callers' futures stay small.

    /// Runs one command.
    pub(crate) async fn call(&self, operation: &'static str, command: Command) -> Result<Reply> {
        let replies = Box::pin(self.run(operation, &[command], None)).await?;
        // There is a reply to every command.
        replies.into_iter().next().unwrap_or(Err(Error::Closed))
    }

    /// Runs commands in their order, in one pipeline for each server; a command that fails does not
    /// stop the others.
    pub(crate) async fn batch(
        &self,
        operation: &'static str,
        commands: Vec<Command>,
    ) -> Result<Vec<Result<Reply>>> {
        Box::pin(self.run(operation, &commands, None)).await
    }

    /// Runs a command without keys on one server. A command that is sent once at most fails if a
    /// connection was lost since the handle was made, as its cursor belongs to a server that may
    /// have been restarted or replaced.
    pub(crate) async fn call_at(
        &self,
        operation: &'static str,
        node: &NodeHandle,
        command: Command,
    ) -> Result<Reply> {
        if command.once && node.was_lost() {
            return Err(Error::Connection {
                server: node.node.name().to_owned(),
                source: format!("the connection was lost in the middle of {}", command.name).into(),
            });
        }
        let replies = Box::pin(self.run(operation, &[command], Some(node))).await?;
        // There is a reply to every command.
        replies.into_iter().next().unwrap_or(Err(Error::Closed))
    }

    /// The servers that hold keys: the primaries of a cluster, elsewhere the one server.
    pub(crate) fn primaries(&self) -> Result<Vec<NodeHandle>> {
        let nodes = self.servers.primaries();
        if nodes.is_empty() {
            return Err(Error::Unavailable {
                reason: "the servers of the cluster are not known yet".to_owned(),
                source: None,
            });
        }
        Ok(nodes.into_iter().map(NodeHandle::new).collect())
    }

    /// A random primary of a cluster; elsewhere the one server.
    pub(crate) fn any_primary(&self) -> Result<NodeHandle> {
        let nodes = self.primaries()?;
        // There is at least one.
        let chosen = rand::random_range(0..nodes.len().max(1));
        nodes.into_iter().nth(chosen).ok_or(Error::Closed)
    }

    /// The server that has a slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<NodeHandle> {
        self.servers.owner(slot).map(NodeHandle::new)
    }

    /// Replaces the connections on which a reply is pending whose caller has given up, so that what
    /// is pending behind a command that blocks is sent over another connection.
    pub(crate) fn replace_abandoned(&self) {
        for node in self.servers.all() {
            node.replace_abandoned();
        }
    }

    /// Waits for the calls in progress, for as long as a command may take, then closes the
    /// connections that the driver made.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(self.capacity).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(self.limit, self.calls.acquire_many(all)).await;
        if drained.is_err() {
            tracing::warn!(
                server = self.server,
                "calls were still in progress when the saver was closed"
            );
        }
        self.calls.close();
        self.servers.stop();
    }

    /// How many calls are in progress.
    pub(super) fn calls_in_flight(&self) -> usize {
        self.capacity.saturating_sub(self.calls.available_permits())
    }

    async fn run(
        &self,
        operation: &'static str,
        commands: &[Command],
        at: Option<&NodeHandle>,
    ) -> Result<Vec<Result<Reply>>> {
        let deadline = Instant::now() + self.limit;
        let _permit = self.permit(operation).await?;
        let mut replies: Vec<Option<Result<Reply>>> = commands.iter().map(|_| None).collect();
        let mut pending: Vec<_> = (0..commands.len()).map(PendingCommand::new).collect();
        let mut backoff = Backoff::retrying();
        let waits = self.replication.is_some();
        loop {
            // Subscribed before the servers are looked at, so that no change is missed.
            let mut changes = self.changes.subscribe();
            let (pipelines, stranded) = route(
                &self.servers,
                commands,
                std::mem::take(&mut pending),
                at,
                waits,
            );
            let mut must_wait = false;
            tracing::trace!(target: ROUND_TRIPS, operation, commands = commands.len());
            round_trips::made();
            for Sent { node, outcomes } in self.send(commands, pipelines, deadline).await {
                for (mut one, outcome) in outcomes {
                    let command = &commands[one.index];
                    one.ask = None;
                    match decide(&self.servers, command, &mut one, &node, outcome) {
                        RetryDecision::Return(outcome) => {
                            let reply =
                                outcome.map_err(|failure| self.failed(operation, command, failure));
                            replies[one.index] = Some(reply);
                            continue;
                        }
                        RetryDecision::Now => {}
                        RetryDecision::Ask(node) => one.ask = Some(node),
                        RetryDecision::Later(error) => {
                            one.problem = Some(error);
                            must_wait = true;
                        }
                    }
                    pending.push(one);
                }
            }
            let is_stranded = !stranded.is_empty();
            pending.extend(stranded);
            if pending.is_empty() {
                break;
            }
            pending.sort_by_key(|one| one.index);
            if must_wait {
                let wait = Instant::now() + backoff.next();
                tokio::time::sleep_until(wait.min(deadline)).await;
            } else if is_stranded {
                let wait = Instant::now() + RECHECK;
                let _ = timeout_at(wait.min(deadline), changes.changed()).await;
            }
            if Instant::now() >= deadline {
                for one in pending {
                    let command = &commands[one.index];
                    let problem = one.problem;
                    let problem = problem.unwrap_or_else(|| self.servers.problem(command.slot));
                    let error = self.failed(operation, command, Failure::Redis(problem));
                    replies[one.index] = Some(Err(error));
                }
                break;
            }
        }
        // There is a reply to every command.
        let replies = replies.into_iter();
        Ok(replies
            .map(|reply| reply.unwrap_or(Err(Error::Closed)))
            .collect())
    }

    /// Sends pipelines, all at once.
    async fn send(
        &self,
        commands: &[Command],
        mut pipelines: Vec<Pipeline>,
        deadline: Instant,
    ) -> Vec<Sent> {
        let send = |pipeline: Pipeline| {
            let replication = self.replication.as_ref();
            pipeline.send(commands, replication, self.is_cluster, deadline)
        };
        if pipelines.len() == 1
            && let Some(pipeline) = pipelines.pop()
        {
            return vec![send(pipeline).await];
        }
        join_all(pipelines.into_iter().map(send)).await
    }

    /// Waits until a call may start. The calls in progress are bounded here, since every one of
    /// them holds its arguments in memory. A tenth of the time is left for the call itself.
    async fn permit(&self, operation: &'static str) -> Result<SemaphorePermit<'_>> {
        let limit = self.limit.mul_f64(0.9);
        match tokio::time::timeout(limit, self.calls.acquire()).await {
            Ok(permit) => permit.map_err(|_| Error::Closed),
            Err(_) => Err(Error::Overloaded {
                operation,
                limit,
                calls: self.capacity,
            }),
        }
    }

    fn failed(&self, operation: &'static str, command: &Command, failure: Failure) -> Error {
        let limit = self.limit;
        match failure {
            Failure::DeadlineExceeded => Error::Timeout {
                operation,
                limit,
                source: None,
            },
            Failure::NotReplicated { required, got } => Error::NotReplicated {
                wanted: required,
                got,
            },
            Failure::Redis(error) => self.refused(operation, command, error),
        }
    }

    fn refused(&self, operation: &'static str, command: &Command, error: RedisError) -> Error {
        let context = Context {
            server: &self.server,
            operation,
            command: command.name,
            limit: self.limit,
        };
        if self.is_cluster {
            error.into_public_in_cluster(&context)
        } else {
            error.into_public(&context)
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Driver")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use fred::prelude::Builder;

    use super::*;
    use crate::redis::url::RedisUrl;

    /// A driver whose server never replies.
    fn driver(limit: Duration) -> Driver {
        let pool = Builder::default_centralized().build_pool(1).unwrap();
        let settings = Settings {
            command_timeout: limit,
            ..Settings::default()
        };
        Driver::over_pool(&pool, &settings)
    }

    #[tokio::test]
    async fn a_call_waits_for_its_turn_no_longer_than_its_time_limit() {
        let driver = driver(Duration::from_millis(50));
        let all = u32::try_from(driver.capacity).unwrap();
        let _all = driver.calls.acquire_many(all).await.unwrap();
        let error = driver.call("put", Command::new("PING")).await.unwrap_err();
        assert!(matches!(error, Error::Overloaded { .. }), "{error:?}");
        assert!(error.is_retryable());
        assert_eq!(driver.calls_in_flight(), driver.capacity);
    }

    #[tokio::test]
    async fn a_call_without_a_reply_ends_with_its_time_limit() {
        let driver = driver(Duration::from_millis(50));
        let error = driver.call("put", Command::new("PING")).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Timeout {
                    operation: "put",
                    ..
                }
            ),
            "{error:?}"
        );
        // No call is in progress, so this does not wait.
        driver.close().await;
        let error = driver.call("put", Command::new("PING")).await.unwrap_err();
        assert!(matches!(error, Error::Closed), "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_key_that_has_moved_ahead_of_its_slot_is_found() {
        let cluster = redis_modules::Cluster::start().unwrap();
        let settings = Settings {
            wait_replicas: 1,
            ..Settings::default()
        };
        let url = RedisUrl::parse(&cluster.url()).unwrap();
        let driver = Driver::connect(&url, &settings).await.unwrap();
        let key = |name: &str| Bytes::from(format!("{{one}}:{name}"));
        let set = |name: &str| Command::on("SET", key(name)).arg("value");
        let get = |name: &str| Command::on("GET", key(name));
        driver.call("put", set("old")).await.unwrap();
        let slot = get("old").slot.unwrap();
        let target = (cluster.owner(slot).unwrap() + 1) % 3;
        let moving = cluster.start_moving(slot, target).unwrap();
        // The mark of WAIT may still exist.
        assert!((1..=2).contains(&moving.move_keys(10).unwrap()));
        let value = Reply::Bytes(Bytes::from_static(b"value"));
        assert_eq!(driver.call("get", get("old")).await.unwrap(), value);
        // A new key goes where the slot will be, and its replicas acknowledge it.
        driver.call("put", set("new")).await.unwrap();
        let found = driver.batch("get", vec![get("new"), get("old"), get("none")]);
        let found: Vec<_> = found
            .await
            .unwrap()
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!(found, [value.clone(), value.clone(), Reply::Nil]);
        moving.finish().unwrap();
        assert_eq!(driver.call("get", get("new")).await.unwrap(), value);
        driver.close().await;
    }
}
