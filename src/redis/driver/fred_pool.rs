//! Clients of the crate fred that the caller made and keeps.

use std::fmt;

use bytes::Bytes;
use fred::clients::{Client, Pool};
use fred::error::{Error as FredError, ErrorKind as FredErrorKind};
use fred::interfaces::{ClientLike, ClusterInterface};
use fred::types::config::{Server, ServerConfig};
use fred::types::{ClusterHash, CustomCommand, Value};

use super::command::Command;
use super::reply::{Replies, Reply};
use crate::redis::error::RedisError;

/// A pool of clients.
#[derive(Clone)]
pub(super) struct FredPool(Pool);

/// One client, of a pool or by itself.
#[derive(Clone)]
pub(super) struct FredClient {
    client: Client,
    /// The server that commands without keys are sent to. A client in a cluster knows all servers.
    server: Option<Server>,
}

/// A server of a pool's cluster.
#[derive(Debug, Clone)]
pub(super) struct FredServer(Server);

impl FredPool {
    pub(super) fn new(pool: &Pool) -> Self {
        Self(pool.clone())
    }

    /// What the pool is connected to, without credentials.
    pub(super) fn name(&self) -> String {
        match self.0.client_config().server {
            ServerConfig::Centralized { server } => server.to_string(),
            ServerConfig::Clustered { hosts, .. } | ServerConfig::Sentinel { hosts, .. } => {
                let hosts: Vec<_> = hosts.iter().map(Server::to_string).collect();
                hosts.join(",")
            }
            ServerConfig::Unix { path } => path.display().to_string(),
        }
    }

    /// How many clients there are.
    pub(super) fn size(&self) -> usize {
        self.0.size()
    }

    /// The number of the database.
    pub(super) fn database(&self) -> u8 {
        self.0.client_config().database.unwrap_or(0)
    }

    /// Whether the pool is connected to a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        self.0.client_config().server.is_clustered()
    }

    /// The clients, with `server` for their commands without keys.
    pub(super) fn clients(&self, server: Option<&FredServer>) -> impl Iterator<Item = FredClient> {
        self.0.clients().iter().map(move |client| FredClient {
            client: client.clone(),
            server: server.map(|server| server.0.clone()),
        })
    }

    /// The primaries of a cluster; none while they are not known.
    pub(super) fn primaries(&self) -> Vec<FredServer> {
        let state = self.0.next().cached_cluster_state();
        let primaries = state.map(|state| state.unique_primary_nodes());
        let primaries = primaries.unwrap_or_default().into_iter();
        primaries.map(FredServer).collect()
    }

    /// The primary of a cluster that has a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<FredServer> {
        let state = self.0.next().cached_cluster_state()?;
        state.get_server(slot).cloned().map(FredServer)
    }
}

impl FredClient {
    /// One client of one server.
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            server: None,
        }
    }

    /// Runs commands in one pipeline, in their order.
    pub(super) async fn run(&self, commands: &[&Command]) -> Result<Replies, RedisError> {
        let replies = self
            .send(commands)
            .await
            .map_err(|error| translate(&error))?;
        let replies = replies.into_iter().map(|reply| match reply {
            Ok(value) => Ok(Reply::from(value)),
            Err(error) => Err(translate(&error)),
        });
        Ok(replies.collect())
    }

    async fn send(
        &self,
        commands: &[&Command],
    ) -> Result<Vec<Result<Value, FredError>>, FredError> {
        if let [command] = commands {
            let (command, args) = custom(command, command.slot);
            let reply = match &self.server {
                Some(server) => {
                    let node = self.client.with_cluster_node(server);
                    node.custom(command, args).await
                }
                None => self.client.custom(command, args).await,
            };
            return Ok(vec![reply]);
        }
        // A command without keys goes where the keys of the others are.
        let slot = commands.iter().find_map(|command| command.slot);
        let pipeline = self.client.pipeline();
        for command in commands {
            let (command, args) = custom(command, command.slot.or(slot));
            pipeline.custom::<(), Value>(command, args).await?;
        }
        let replies = pipeline.try_all::<Value>().await;
        if replies.len() == commands.len() {
            return Ok(replies);
        }
        // The pipeline failed as a whole: one error stands for all commands.
        let error = replies.into_iter().find_map(Result::err);
        Err(error
            .unwrap_or_else(|| FredError::new(FredErrorKind::IO, "replies are missing".to_owned())))
    }
}

fn custom(command: &Command, slot: Option<u16>) -> (CustomCommand, Vec<Value>) {
    let hash = slot.map_or(ClusterHash::Random, ClusterHash::Custom);
    (
        CustomCommand::new_static(command.name, hash, false),
        command.args.iter().cloned().map(Value::Bytes).collect(),
    )
}

// Both show in their `Debug` what the client is configured with, a password among it.

impl fmt::Debug for FredPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("FredPool").finish_non_exhaustive()
    }
}

impl fmt::Debug for FredClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FredClient").finish_non_exhaustive()
    }
}

impl fmt::Display for FredServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl From<Value> for Reply {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Nil,
            Value::Integer(number) => Self::Int(number),
            Value::Boolean(truth) => Self::Int(i64::from(truth)),
            Value::Double(number) => Self::Bytes(number.to_string().into()),
            Value::Bytes(bytes) => Self::Bytes(bytes),
            Value::String(text) => Self::Bytes(text.into_inner()),
            Value::Queued => Self::Bytes(Bytes::from_static(b"QUEUED")),
            Value::Array(elements) => Self::Array(elements.into_iter().map(Self::from).collect()),
            Value::Map(map) => Self::Array(
                map.inner()
                    .into_iter()
                    .flat_map(|(key, value)| [Self::Bytes(key.into_bytes()), Self::from(value)])
                    .collect(),
            ),
        }
    }
}

/// An error of fred's in the driver's terms: an error reply of a server, as it is, or an error of
/// the client itself, by its kind.
pub(super) fn translate(error: &FredError) -> RedisError {
    let message = error.details();
    match error.kind() {
        FredErrorKind::Timeout => RedisError::timed_out(message),
        FredErrorKind::IO => RedisError::io(message, &readable(message)),
        FredErrorKind::Routing
        | FredErrorKind::Sentinel
        | FredErrorKind::Canceled
        | FredErrorKind::Protocol => RedisError::lost(message),
        FredErrorKind::Unknown if LOST.contains(&message) => RedisError::lost(message),
        FredErrorKind::Backpressure => RedisError::unavailable(message),
        kind if is_tls(kind) => RedisError::io(message, message),
        FredErrorKind::Cluster if !has_code(message) => RedisError::unavailable(message),
        _ => RedisError::reply(message),
    }
}

/// What fred reports, without a kind, when it cannot send or its connection is gone.
const LOST: [&str; 5] = [
    "channel closed",
    "Client is not initialized.",
    "Failed to route command.",
    "Failed to send command to router.",
    "Too many failed write attempts.",
];

/// Whether a message starts with a code in capitals, as error replies about a cluster do.
fn has_code(message: &str) -> bool {
    message.starts_with(|first: char| first.is_ascii_uppercase())
}

#[cfg(feature = "tls")]
fn is_tls(kind: &FredErrorKind) -> bool {
    matches!(kind, FredErrorKind::Tls)
}

#[cfg(not(feature = "tls"))]
fn is_tls(_: &FredErrorKind) -> bool {
    false
}

/// An error of the operating system in words, which fred reports as `Debug` shows it.
fn readable(message: &str) -> String {
    let code = message.strip_prefix("Os { code: ");
    let code = code.and_then(|rest| rest.split_once(',')?.0.parse().ok());
    match code {
        Some(code) => std::io::Error::from_raw_os_error(code).to_string(),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::error::{ErrorKind, RetryClass};

    #[test]
    fn an_error_of_the_operating_system_is_in_words() {
        let error = FredError::from(std::io::Error::from_raw_os_error(111));
        assert!(error.details().starts_with("Os {"), "{error}");
        assert!(!translate(&error).message().contains("Os {"));
        let other = FredError::new(FredErrorKind::IO, "Os { code: many }");
        assert_eq!(translate(&other).message(), "Os { code: many }");
    }

    #[test]
    fn an_error_of_the_client_is_told_from_a_reply() {
        use FredErrorKind::{Cluster, IO, Timeout, Unknown};
        for (kind, message, class) in [
            (Cluster, "MOVED 1 127.0.0.1:7001", RetryClass::Redirect),
            (IO, "Connection refused (os error 111)", RetryClass::Lost),
            (Unknown, "channel closed", RetryClass::Lost),
            (Unknown, "Failed to route command.", RetryClass::Lost),
            (Unknown, "ERR channel closed", RetryClass::Never),
            (
                Unknown,
                "READONLY You can't write",
                RetryClass::WrongServer { is_replica: true },
            ),
            (Unknown, "checkpoint: no such index", RetryClass::Never),
            (Timeout, "Request timed out.", RetryClass::Never),
        ] {
            let error = translate(&FredError::new(kind, message.to_owned()));
            assert_eq!(error.retry_class(), class, "{message}");
            assert_eq!(error.message(), message);
        }
        let message = "Custom { kind: InvalidData, error: InvalidCertificate(UnknownIssuer) }";
        let error = translate(&FredError::new(IO, message));
        assert!(matches!(error.kind(), ErrorKind::Tls(_)), "{error:?}");
    }
}
