//! Checks how the servers are doing.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::client::Driver;
use super::command::Command;
use super::node::Node;
use super::reply::{Replies, Reply};
use super::servers::Servers;
use crate::redis::error::{ErrorKind, RedisError};

/// How the servers of a saver are doing, as [`RedisSaver::health`](crate::RedisSaver::health)
/// found them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Health {
    /// The servers that calls go to: one, or the primaries of a cluster.
    pub servers: Vec<ServerHealth>,
    /// What is wrong; empty if nothing is.
    pub problems: Vec<HealthProblem>,
    /// How many calls are in progress.
    pub calls_in_flight: usize,
    /// How many may be in progress; more wait for their turn.
    pub calls_limit: usize,
    /// Why calls are served without search; `None` if search is used. All calls work without it;
    /// those over all threads take longer, as they scan the keys.
    pub without_search: Option<String>,
}

/// How one server is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerHealth {
    /// Its address, without credentials.
    pub server: String,
    /// How long it took to reply; `None` if it did not.
    pub answered_in: Option<Duration>,
    /// Whether it is a primary, which takes writes; `None` if it does not report its role.
    pub is_primary: Option<bool>,
    /// How many replicas are connected to it; `None` if it does not report them.
    pub replicas: Option<usize>,
    /// How many of the saver's connections to it work.
    pub connections: usize,
}

/// What is wrong with the servers of a saver.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthProblem {
    /// A server does not reply; its keys can neither be read nor written.
    Unreachable {
        /// Its address, without credentials.
        server: String,
        /// What the server, the network or the client reported.
        reason: String,
    },
    /// A server is a replica, which takes no writes.
    NotPrimary {
        /// Its address, without credentials.
        server: String,
    },
    /// A failover is under way; calls wait for the new primary.
    FailingOver,
    /// Some slots of the cluster have no server; calls on their keys fail.
    UncoveredSlots {
        /// How many.
        slots: usize,
    },
    /// Fewer replicas are connected than must acknowledge a write: writes fail with
    /// [`Error::NotReplicated`](crate::Error::NotReplicated).
    TooFewReplicas {
        /// The primary's address, without credentials.
        server: String,
        /// How many must acknowledge.
        wanted: usize,
        /// How many are connected.
        connected: usize,
    },
    /// A server takes no writes: its memory is full, too few replicas are connected, or it cannot
    /// save to disk. Reads are served.
    RefusesWrites {
        /// Its address, without credentials.
        server: String,
        /// Why, and what to do about it.
        reason: String,
    },
    /// A server evicts keys when its memory is full, so that parts of checkpoints may be missing,
    /// which reading them reports as [`Error::Corrupt`](crate::Error::Corrupt). Calls are served.
    Evicts {
        /// Its address, without credentials.
        server: String,
        /// Its `maxmemory-policy`.
        policy: String,
    },
    /// A server keeps nothing on disk: everything is lost when it restarts. Calls are served.
    NotPersistent {
        /// Its address, without credentials.
        server: String,
    },
    /// Search has stopped working: an index was lost and is being built again, or queries do not
    /// return in time. Calls are served without it.
    SearchLost {
        /// Why.
        reason: String,
    },
    /// As many calls are in progress as may be; more wait for their turn.
    Saturated,
}

impl Health {
    /// Whether every call can be served: all servers answer, as primaries that take writes, and
    /// every slot of a cluster has one.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.problems.iter().any(HealthProblem::stops_calls)
    }
}

impl HealthProblem {
    /// Whether some calls fail because of it.
    #[must_use]
    pub fn stops_calls(&self) -> bool {
        !matches!(
            self,
            Self::Saturated
                | Self::Evicts { .. }
                | Self::NotPersistent { .. }
                | Self::SearchLost { .. }
        )
    }
}

impl fmt::Display for HealthProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { server, reason } => {
                write!(formatter, "{server} does not reply: {reason}")
            }
            Self::NotPrimary { server } => write!(formatter, "{server} is a replica"),
            Self::FailingOver => formatter.write_str("a failover is under way"),
            Self::UncoveredSlots { slots } => write!(formatter, "{slots} slots have no server"),
            Self::TooFewReplicas {
                server,
                wanted,
                connected,
            } => write!(
                formatter,
                "{server} has {connected} replicas, and {wanted} must acknowledge each write"
            ),
            Self::RefusesWrites { server, reason } => {
                write!(formatter, "{server} takes no writes: {reason}")
            }
            Self::Evicts { server, policy } => write!(
                formatter,
                "{server} evicts keys when its memory is full, so parts of checkpoints may be lost: set `maxmemory-policy` to noeviction instead of {policy}"
            ),
            Self::NotPersistent { server } => write!(
                formatter,
                "{server} keeps nothing on disk, so everything is lost when it restarts: set `appendonly yes` or `save`"
            ),
            Self::SearchLost { reason } => {
                write!(formatter, "calls are served without search: {reason}")
            }
            Self::Saturated => formatter.write_str("as many calls are in progress as may be"),
        }
    }
}

impl Driver {
    /// How many connections work, and how many calls are in progress on them.
    #[cfg(feature = "server")]
    pub(crate) fn load(&self) -> (usize, usize) {
        let nodes = self.servers.all();
        let connections = nodes.iter().map(|node| node.connected()).sum();
        (connections, self.calls_in_flight())
    }

    /// Checks every server, all at once. It takes no longer than a command may. `has_ttl` says
    /// whether keys are given a TTL, so that a policy that evicts only those matters.
    pub(crate) async fn health(&self, has_ttl: bool) -> Health {
        let nodes = self.servers.all();
        let asked = join_all(nodes.iter().map(|node| self.health_of(node))).await;
        let mut problems = Vec::new();
        let mut servers = Vec::with_capacity(asked.len());
        for (server, found) in asked {
            problems.extend(found.into_iter().filter(|problem| match problem {
                HealthProblem::Evicts { policy, .. } => has_ttl || policy.starts_with("allkeys"),
                _ => true,
            }));
            if server.is_primary == Some(false) {
                problems.push(HealthProblem::NotPrimary {
                    server: server.server.clone(),
                });
            }
            if let (Some(replication), Some(connected)) = (&self.replication, server.replicas)
                && connected < replication.required
            {
                problems.push(HealthProblem::TooFewReplicas {
                    server: server.server.clone(),
                    wanted: replication.required,
                    connected,
                });
            }
            servers.push(server);
        }
        match &self.servers {
            Servers::Sentinel(service) if service.is_held() => {
                problems.push(HealthProblem::FailingOver);
            }
            Servers::Cluster(cluster) => {
                let slots = cluster.uncovered();
                if slots > 0 {
                    problems.push(HealthProblem::UncoveredSlots { slots });
                }
            }
            _ => {}
        }
        let calls_in_flight = self.calls_in_flight();
        if calls_in_flight >= self.capacity {
            problems.push(HealthProblem::Saturated);
        }
        Health {
            servers,
            problems,
            calls_in_flight,
            calls_limit: self.capacity,
            without_search: None,
        }
    }

    /// Logs a warning for each server that may lose what is stored.
    pub(crate) async fn warn_of_loss(&self, has_ttl: bool) {
        for problem in self.health(has_ttl).await.problems {
            if matches!(
                problem,
                HealthProblem::Evicts { .. } | HealthProblem::NotPersistent { .. }
            ) {
                tracing::warn!(%problem, "the server may lose what is stored");
            }
        }
    }

    async fn health_of(&self, node: &Node) -> (ServerHealth, Vec<HealthProblem>) {
        let mut health = ServerHealth {
            server: node.name().to_owned(),
            answered_in: None,
            is_primary: None,
            replicas: None,
            connections: node.connected(),
        };
        let unreachable = |reason: String| HealthProblem::Unreachable {
            server: node.name().to_owned(),
            reason,
        };
        let Some(connection) = node.connection(false) else {
            let reason = node.problem().message().to_owned();
            return (health, vec![unreachable(reason)]);
        };
        let commands = self.checks();
        let sent: Vec<&Command> = commands.iter().collect();
        let started = Instant::now();
        let mut problems = Vec::new();
        let problem = match tokio::time::timeout(self.limit, Box::pin(connection.run(&sent))).await
        {
            Ok(Ok(replies)) => {
                let mut replies = replies.into_iter();
                match replies.next() {
                    Some(Ok(_)) => {
                        health.answered_in = Some(started.elapsed());
                        if let Some(Ok(role)) = replies.next() {
                            read_role(&mut health, role);
                        }
                        self.assess(&health, replies.collect(), &mut problems);
                        None
                    }
                    Some(Err(error)) => Some(error.message().to_owned()),
                    None => Some("there is no reply".to_owned()),
                }
            }
            Ok(Err(error)) => Some(error.message().to_owned()),
            Err(_) => Some(format!("no reply within {:?}", self.limit)),
        };
        problems.extend(problem.map(unreachable));
        (health, problems)
    }

    /// The commands of a check. The script stores nothing, but counts as one that may write, so a
    /// server that takes no writes refuses it, whatever slots it has. What the user may not read is
    /// asked for once.
    fn checks(&self) -> Vec<Command> {
        let mut commands = vec![
            Command::new("PING"),
            Command::new("ROLE"),
            Command::new("EVAL").arg(WRITES_NOTHING).arg("0"),
        ];
        if !self.hides_config.load(Ordering::Relaxed) {
            commands.push(Command::new("INFO").arg("memory"));
            commands.push(
                Command::new("CONFIG")
                    .arg("GET")
                    .arg("save")
                    .arg("appendonly"),
            );
        }
        commands
    }

    /// Finds problems in the replies to the script, INFO and CONFIG GET.
    fn assess(&self, health: &ServerHealth, replies: Replies, problems: &mut Vec<HealthProblem>) {
        let server = || health.server.clone();
        let mut replies = replies.into_iter();
        if let Some(Err(error)) = replies.next()
            && health.is_primary != Some(false)
            && let Some(reason) = refusal(&error)
        {
            problems.push(HealthProblem::RefusesWrites {
                server: server(),
                reason,
            });
        }
        let (memory, config) = (replies.next(), replies.next());
        if matches!((&memory, &config), (Some(Err(_)), Some(Err(_)))) {
            self.hides_config.store(true, Ordering::Relaxed);
        }
        let memory = memory.and_then(Result::ok);
        let memory = memory.as_ref().and_then(Reply::as_str).unwrap_or_default();
        let says = |name: &str| {
            let mut lines = memory.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        if let (Some(limit), Some(policy)) = (says("maxmemory"), says("maxmemory_policy"))
            && limit != "0"
            && policy != "noeviction"
        {
            problems.push(HealthProblem::Evicts {
                server: server(),
                policy: policy.to_owned(),
            });
        }
        if let Some(Ok(config)) = config {
            let found = config.into_array();
            let is = |name: &str, value: &str| {
                let mut pairs = found.chunks(2);
                pairs.any(|pair| {
                    let [found, set] = pair else { return false };
                    found.as_str() == Some(name) && set.as_str() == Some(value)
                })
            };
            if is("appendonly", "no") && is("save", "") {
                problems.push(HealthProblem::NotPersistent { server: server() });
            }
        }
    }
}

/// A script that does nothing. Without flags it counts as one that may write.
const WRITES_NOTHING: &str = "#!lua\nreturn 1";

/// Why a server takes no writes, if it does not.
fn refusal(error: &RedisError) -> Option<String> {
    let reason = match error.kind() {
        ErrorKind::OutOfMemory => {
            "it has reached `maxmemory`: raise it, or delete what is not needed"
        }
        ErrorKind::NoReplicas => {
            "fewer replicas are connected than its `min-replicas-to-write` asks for"
        }
        ErrorKind::CannotSave => "it cannot save to disk: see its log",
        ErrorKind::ReadOnly => "it is read-only",
        _ => return None,
    };
    Some(reason.to_owned())
}

/// Reads a reply to ROLE: of a primary `master, offset, [replicas]`.
fn read_role(health: &mut ServerHealth, role: Reply) {
    let mut parts = role.into_array().into_iter();
    let is_primary = match parts.next().as_ref().and_then(Reply::as_str) {
        Some("master") => true,
        Some("slave") => false,
        _ => return,
    };
    health.is_primary = Some(is_primary);
    if is_primary {
        health.replicas = parts.nth(1).map(|replicas| replicas.into_array().len());
    }
}
