//! Makes connections: connects, authenticates, and checks that the server is a primary.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::address::Endpoint;
use super::backoff::Backoff;
use super::command::Command;
use super::connection::Connection;
use super::multiplexed::MultiplexedConnection;
use super::reply::Reply;
use super::tls::Tls;
use crate::redis::args::number;
use crate::redis::credentials::{Credentials, CredentialsProvider, MIN_REFRESH};
use crate::redis::error::{ErrorKind, RedisError};

/// How connections to any of the servers are set up.
#[derive(Debug, Clone)]
pub(super) struct ConnectOptions {
    pub(super) username: Option<String>,
    pub(super) password: Option<SecretString>,
    /// The number of the database, but for the first, which every connection starts with: choosing
    /// one takes a permission of its own.
    pub(super) database: Option<u8>,
    pub(super) tls: Option<Tls>,
    /// What CLIENT LIST calls the connections.
    pub(super) client_name: Option<Bytes>,
}

impl ConnectOptions {
    /// The commands that name a connection for CLIENT LIST. A server that lacks them, or does not
    /// allow them, serves the connection all the same.
    pub(super) fn client_commands(&self) -> Vec<Command> {
        let client = || Command::new("CLIENT");
        let name = self.client_name.iter();
        let name = name.map(|name| client().arg("SETNAME").arg(name.clone()));
        let library = [
            ("LIB-NAME", env!("CARGO_PKG_NAME")),
            ("LIB-VER", env!("CARGO_PKG_VERSION")),
        ];
        let library =
            library.map(|(what, value)| client().args(["SETINFO", what, value].map(Bytes::from)));
        name.chain(library).collect()
    }
}

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) options: ConnectOptions,
    /// Provides the credentials, in place of those of the options.
    pub(super) credentials: Option<Arc<dyn CredentialsProvider>>,
    /// How long making a connection may take.
    pub(super) limit: Duration,
    /// How long replies may be pending without anything being received; then the connection counts
    /// as lost.
    pub(super) max_silence: Duration,
    /// Whether replicas are refused.
    pub(super) primary_only: bool,
}

/// A connection that was just made, with the task that drives it.
pub(super) struct NewConnection {
    pub(super) connection: Arc<Connection>,
    pub(super) task: ConnectionTask,
    /// Set to true when the connection is closed.
    pub(super) closed: watch::Sender<bool>,
    /// The provider's credentials that the connection was authenticated with.
    pub(super) credentials: Option<Credentials>,
}

/// The task that drives a connection, which is closed with it.
pub(super) struct ConnectionTask(JoinHandle<Result<(), RedisError>>);

impl ConnectionTask {
    /// Waits until the connection is closed, and returns why, if that is known.
    pub(super) async fn closed(&mut self) -> Option<RedisError> {
        match (&mut self.0).await {
            Ok(Err(error)) => Some(error),
            _ => None,
        }
    }
}

impl Drop for ConnectionTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connector")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// Connects to a server.
    pub(super) async fn connect(&self, endpoint: &Endpoint) -> Result<NewConnection, RedisError> {
        let connecting = async {
            let credentials = self.credentials_to_connect().await?;
            let tls = self.options.tls.as_ref();
            // The rest of the time is for the commands below, so that a server that does not speak
            // TLS is reported as such.
            let handshake = self.limit * 3 / 4;
            let open = MultiplexedConnection::open(endpoint, tls, handshake, self.max_silence);
            let (connection, task) = open.await?;
            let mut task = ConnectionTask(task);
            let (closed, is_closed) = watch::channel(false);
            let connection = Arc::new(Connection::new(connection, is_closed));
            match self.set_up(&connection, credentials.as_ref()).await {
                Ok(()) => Ok(NewConnection {
                    connection,
                    task,
                    closed,
                    credentials,
                }),
                Err(error) => {
                    let error = if *error.kind() == ErrorKind::Lost {
                        // The task knows why.
                        task.closed().await.unwrap_or(error)
                    } else {
                        error
                    };
                    Err(match self.login(credentials.as_ref()) {
                        Some((_, password)) => error.of_auth(password),
                        None => error,
                    })
                }
            }
        };
        self.in_time(connecting).await
    }

    /// Makes a connection to a server that serves it now: one that is busy does not.
    pub(super) async fn connect_to_idle(
        &self,
        endpoint: &Endpoint,
    ) -> Result<NewConnection, RedisError> {
        let new = self.connect(endpoint).await?;
        // After the replies to what it has received on other connections before.
        self.in_time(one(&new.connection, &Command::new("PING")))
            .await?;
        Ok(new)
    }

    /// Keeps a connection authenticated with the provider's credentials, without an end.
    pub(super) async fn refresh_credentials(
        &self,
        server: &str,
        connection: &Connection,
        credentials: Option<Credentials>,
    ) {
        let Some(mut credentials) = credentials else {
            return std::future::pending().await;
        };
        let mut wait = credentials.refresh_after();
        loop {
            tokio::time::sleep(wait).await;
            let refreshed = self.in_time(self.authenticate_again(connection, &credentials));
            match refreshed.await {
                Ok(newer) => {
                    wait = newer.refresh_after();
                    credentials = newer;
                }
                Err(error) => {
                    tracing::warn!(
                        server,
                        %error,
                        "a connection keeps its credentials, as there are no new ones; the provider is asked again"
                    );
                    wait = (credentials.refresh_after() / 4).max(MIN_REFRESH);
                }
            }
        }
    }

    async fn authenticate_again(
        &self,
        connection: &Connection,
        before: &Credentials,
    ) -> Result<Credentials, RedisError> {
        let credentials = self.credentials().await?;
        // There was a provider before, and it is the same.
        let credentials = credentials.unwrap_or_else(|| before.clone());
        if !credentials.are(before) {
            let (username, password) = (credentials.username(), credentials.password());
            one(connection, &auth(username, password))
                .await
                .map_err(|error| error.of_auth(password))?;
        }
        Ok(credentials)
    }

    /// The provider's credentials for a new connection. A provider that fails is asked again, for
    /// at most half of the time: the rest is for the connection.
    async fn credentials_to_connect(&self) -> Result<Option<Credentials>, RedisError> {
        let deadline = Instant::now() + self.limit / 2;
        let mut backoff = Backoff::connecting();
        loop {
            let error = match self.credentials().await {
                Err(error) => error,
                credentials => return credentials,
            };
            let next = Instant::now() + backoff.next();
            if next > deadline {
                return Err(error);
            }
            tracing::debug!(%error, "the provider of credentials is asked again");
            tokio::time::sleep_until(next).await;
        }
    }

    /// The current credentials of the provider, if there is one.
    async fn credentials(&self) -> Result<Option<Credentials>, RedisError> {
        let Some(provider) = &self.credentials else {
            return Ok(None);
        };
        match provider.credentials().await {
            Ok(credentials) => Ok(Some(credentials)),
            Err(error) => Err(RedisError::no_credentials(&error)),
        }
    }

    /// Authenticates, chooses the database, and refuses a replica where only a primary will do.
    async fn set_up(
        &self,
        connection: &Connection,
        credentials: Option<&Credentials>,
    ) -> Result<(), RedisError> {
        let options = &self.options;
        let mut commands = Vec::new();
        if let Some((username, password)) = self.login(credentials) {
            commands.push(auth(username, password));
        }
        if let Some(database) = options.database {
            commands.push(Command::new("SELECT").arg(number(database)));
        }
        commands.extend(options.client_commands());
        // A server that asks for a password, or takes no more clients, says so to any command. This
        // one may not be permitted, or not be served while the server loads its data.
        commands.push(Command::new("PING"));
        let sent: Vec<_> = commands.iter().collect();
        for (command, reply) in commands.iter().zip(connection.run(&sent).await?) {
            match reply {
                Err(_) if command.name == "CLIENT" => {}
                Err(error) if command.name != "PING" || !is_passing(&error) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        if self.primary_only {
            check_role(connection).await?;
        }
        Ok(())
    }

    /// User name and password, of which the provider's go before those of the options.
    fn login<'a>(
        &'a self,
        credentials: Option<&'a Credentials>,
    ) -> Option<(Option<&'a str>, &'a str)> {
        if let Some(credentials) = credentials {
            return Some((credentials.username(), credentials.password()));
        }
        let password = self.options.password.as_ref()?;
        Some((self.options.username.as_deref(), password.expose_secret()))
    }

    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        match tokio::time::timeout(self.limit, work).await {
            Ok(done) => done,
            Err(_) => Err(RedisError::lost(format!(
                "no reply within {:?}",
                self.limit
            ))),
        }
    }
}

/// The reply to one command.
pub(super) async fn one(connection: &Connection, command: &Command) -> Result<Reply, RedisError> {
    let reply = connection.run(&[command]).await?.into_iter().next();
    reply.unwrap_or_else(|| Err(RedisError::lost("the connection was closed")))
}

/// Whether a reply to ROLE is a primary's.
fn is_primary(reply: &Reply) -> bool {
    match reply {
        Reply::Array(parts) => parts.first().and_then(Reply::as_str) == Some("master"),
        _ => false,
    }
}

/// Refuses a replica. A server whose role this user may not ask for is taken as it is.
async fn check_role(connection: &Connection) -> Result<(), RedisError> {
    match one(connection, &Command::new("ROLE")).await {
        Ok(reply) if is_primary(&reply) => Ok(()),
        Ok(_) => Err(RedisError::is_replica()),
        Err(error) if matches!(error.kind(), ErrorKind::Loading | ErrorKind::Lost) => Err(error),
        Err(error) => {
            tracing::debug!(%error, "the role of the server is not known");
            Ok(())
        }
    }
}

fn auth(username: Option<&str>, password: &str) -> Command {
    let parts = username.into_iter().chain([password]);
    let parts = parts.map(|part| Bytes::copy_from_slice(part.as_bytes()));
    Command::new("AUTH").args(parts)
}

/// Whether a server that refuses PING may serve other commands, or PING later.
fn is_passing(error: &RedisError) -> bool {
    use ErrorKind::{Busy, Loading, MasterDown, Permission};
    matches!(error.kind(), Permission | Loading | MasterDown | Busy)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::address::Address;
    use super::*;
    use crate::redis::error::Context;

    /// What is seen of a connection attempt to a server that sends `reply` and closes the
    /// connection.
    async fn seen(reply: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1_024]).await;
            stream.write_all(reply.as_bytes()).await.unwrap();
        });
        let connector = Connector {
            options: ConnectOptions {
                username: Some("saver".to_owned()),
                password: Some(SecretString::from("swordfish")),
                database: None,
                tls: None,
                client_name: None,
            },
            credentials: None,
            limit: Duration::from_secs(10),
            max_silence: Duration::from_secs(10),
            primary_only: true,
        };
        let endpoint = Endpoint::Tcp(Address::new("127.0.0.1", port));
        let error = connector.connect(&endpoint).await.err().unwrap();
        server.await.unwrap();
        let context = Context {
            server: "127.0.0.1",
            operation: "connect",
            command: "the connection",
            limit: Duration::from_secs(10),
        };
        let debug = format!("{error:?}");
        let error = error.into_public(&context);
        format!("{debug} {error:?} {}", error.report())
    }

    #[tokio::test]
    async fn a_server_that_quotes_the_password_and_hangs_up_is_not_repeated() {
        let unknown = "-ERR unknown command 'AUTH', with args: 'saver' 'swordfish'\r\n";
        let proxy = "-ERR cannot parse AUTH saver swordfish\r\n";
        for reply in [unknown, proxy] {
            let seen = seen(reply).await;
            assert!(!seen.contains("swordfish"), "{seen}");
            assert!(seen.contains("AUTH") || seen.contains("password"), "{seen}");
        }
        let seen = seen("-WRONGPASS invalid username-password pair\r\n").await;
        assert!(seen.contains("WRONGPASS"), "{seen}");
    }
}
