//! Runs commands, and decides which are sent again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Pool;
use fred::error::Error as FredError;
use fred::types::config::Config;
use futures_util::future::join_all;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::backoff::Backoff;
use super::flight::{Live, lost};
use super::link::{Changes, Dialer};
use super::node::{self, name_of};
use super::servers::{Redirection, Servers, exposed, is_cluster};
use super::{Command, Reply, number, tls};
use crate::error::{Error, Result};
use crate::redis::config::Settings;
use crate::redis::error::{Context, Meaning, classify, meaning};
use crate::redis::keys::replication_mark;
use crate::redis::url::{RedisUrl, Topology};
use crate::round_trips;

/// How many calls may be in flight for each connection; more wait for their turn.
const CALLS_PER_CONNECTION: usize = 2_048;
/// How often a command follows the news that its slot is elsewhere before it waits a little.
const MOVES: u8 = 5;
/// How long a call waits for a connection before it has the servers looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What tells of every round trip, at the level `TRACE`.
const FLIGHTS: &str = "langgraph_checkpoint_redis::flights";

/// Runs commands on Redis.
pub(crate) struct Driver {
    pub(super) servers: Servers,
    changes: Arc<Changes>,
    calls: Semaphore,
    pub(super) capacity: usize,
    server: String,
    pub(super) limit: Duration,
    pub(super) replicas: Option<Replicas>,
    cluster: bool,
    database: u8,
    asking: Command,
    /// Whether the user may not know how the servers are set.
    pub(super) is_secretive: AtomicBool,
}

/// What replicas must acknowledge.
pub(super) struct Replicas {
    pub(super) wanted: usize,
    /// The command that waits for them.
    wait: Command,
    /// What marks are called.
    prefix: String,
}

impl Replicas {
    /// Marks where replicas must have come to. WAIT waits for what its own connection wrote, so
    /// what is found written already, because it was sent before, on another connection or by
    /// another process, would count as replicated whether it is or not. So something is always
    /// written before it.
    fn mark(&self, slot: Option<u16>) -> Command {
        Command::on("SET", replication_mark(&self.prefix, slot))
            .args(["1", "PX", "1"].map(Bytes::from))
    }
}

/// A command that has no answer yet.
struct Pending {
    /// Its place among the commands of the call.
    place: usize,
    /// The server that its slot is being moved to, to be asked this once.
    asking: Option<Arc<node::Node>>,
    moves: u8,
    /// What stood in its way when it was sent last.
    problem: Option<FredError>,
}

/// A server that a command without keys can be sent to, with the connections that it has now.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    node: Arc<node::Node>,
    /// How often one of them had been lost then.
    losses: u64,
}

/// Commands that go to one server together.
struct Flight {
    node: Arc<node::Node>,
    live: Arc<Live>,
    pending: Vec<Pending>,
}

/// What is to be done about an answer.
enum Verdict {
    Done(Result<Reply>),
    /// Now, to wherever it belongs by what was learned.
    Again,
    Ask(Arc<node::Node>),
    /// After a while.
    Later(FredError),
}

impl Driver {
    /// Connects to the servers that a URL names.
    pub(crate) async fn connect(url: &RedisUrl, settings: &Settings) -> Result<Self> {
        if settings.credentials.is_some() && url.password.is_some() {
            return Err(Error::Config {
                key: "url".to_owned(),
                reason: "it has a password, and a provider gives the credentials: leave one out"
                    .to_owned(),
            });
        }
        let mut config = Config {
            username: url.username.clone(),
            password: url.password.as_ref().map(exposed),
            // The first database is chosen already, and to choose one is a right of its own.
            database: url.database.filter(|number| *number != 0),
            ..Config::default()
        };
        if url.tls {
            tls::turn_on(&mut config, settings)?;
        } else {
            let why = "the URL is one without TLS: write rediss, or leave this out";
            settings.tls.check_unused(why)?;
        }
        let dialer = Dialer {
            config,
            name: settings.client_name.clone(),
            limit: settings.connect_timeout,
            silence: longest_silence(settings),
            primary_only: true,
            credentials: settings.credentials.clone(),
        };
        let changes = Changes::new();
        let connecting = Box::pin(Servers::connect(url, dialer, settings.pool_size, &changes));
        let servers = match tokio::time::timeout(settings.connect_timeout, connecting).await {
            Ok(servers) => servers,
            Err(_) => Err(lost(format!(
                "no answer within {:?}",
                settings.connect_timeout
            ))),
        };
        let server = url.address();
        let context = Context {
            server: &server,
            operation: "connect",
            command: "the connection",
            limit: settings.connect_timeout,
        };
        let servers = servers.map_err(|error| classify(&error, &context))?;
        let cluster = matches!(url.topology, Topology::Cluster);
        let mut driver = Self::over(servers, changes, server, cluster, settings);
        driver.database = url.database.unwrap_or(0);
        Ok(driver)
    }

    /// Uses clients of the caller's own, connected already.
    pub(crate) fn over_pool(pool: &Pool, settings: &Settings) -> Self {
        let server = name_of(&fred::prelude::ClientLike::client_config(pool).server);
        let settings = Settings {
            pool_size: pool.size(),
            ..settings.clone()
        };
        let cluster = is_cluster(pool);
        let servers = Servers::given(pool);
        let mut driver = Self::over(servers, Changes::new(), server, cluster, &settings);
        let config = fred::prelude::ClientLike::client_config(pool);
        driver.database = config.database.unwrap_or(0);
        driver
    }

    fn over(
        servers: Servers,
        changes: Arc<Changes>,
        server: String,
        cluster: bool,
        settings: &Settings,
    ) -> Self {
        let capacity = settings.pool_size * CALLS_PER_CONNECTION;
        let replicas = (settings.wait_replicas > 0).then(|| Replicas {
            wanted: settings.wait_replicas,
            wait: Command::new("WAIT")
                .arg(number(settings.wait_replicas))
                .arg(number(settings.wait_replicas_timeout.as_millis().max(1))),
            prefix: settings.checkpoint_prefix.clone(),
        });
        Self {
            servers,
            changes,
            calls: Semaphore::new(capacity),
            capacity,
            is_secretive: AtomicBool::new(false),
            server,
            limit: settings.command_timeout,
            replicas,
            cluster,
            database: 0,
            asking: Command::new("ASKING"),
        }
    }

    /// Whether the server is a cluster, so that slots decide.
    pub(crate) fn is_cluster(&self) -> bool {
        self.cluster
    }

    /// The number of the database.
    pub(crate) fn database(&self) -> u8 {
        self.database
    }

    /// How often a connection was lost; a server may have been started again then, or be another.
    pub(crate) fn losses(&self) -> u64 {
        self.servers.losses()
    }

    // The work is boxed, so that callers' futures stay small.

    /// Runs one command.
    pub(crate) async fn call(&self, operation: &'static str, command: Command) -> Result<Reply> {
        let replies = Box::pin(self.run(operation, &[command], None)).await?;
        // There is an answer to every command.
        replies.into_iter().next().unwrap_or(Err(Error::Closed))
    }

    /// Runs commands in one flight, in their order; one that fails does not stop the others. In a
    /// cluster those of one server are a flight.
    pub(crate) async fn batch(
        &self,
        operation: &'static str,
        commands: Vec<Command>,
    ) -> Result<Vec<Result<Reply>>> {
        Box::pin(self.run(operation, &commands, None)).await
    }

    /// The servers that have the keys: the primaries of a cluster, elsewhere the one server.
    pub(crate) fn primaries(&self) -> Result<Vec<Node>> {
        let nodes = self.servers.primaries();
        if nodes.is_empty() {
            return Err(Error::Unavailable {
                reason: "the servers of the cluster are not known yet".to_owned(),
            });
        }
        Ok(nodes.into_iter().map(Node::now).collect())
    }

    /// Some primary of a cluster; elsewhere the one server.
    pub(crate) fn any_primary(&self) -> Result<Node> {
        let nodes = self.primaries()?;
        // There is one at least.
        let chosen = rand::random_range(0..nodes.len().max(1));
        nodes.into_iter().nth(chosen).ok_or(Error::Closed)
    }

    /// The server that a slot is on.
    pub(crate) fn owner(&self, slot: u16) -> Option<Node> {
        self.servers.owner(slot).map(Node::now)
    }

    /// Runs a command that has no keys on one server. One that is sent once at most is refused
    /// when a connection was lost since the server was named: it may be another by now, and know
    /// nothing of a cursor.
    pub(crate) async fn call_at(
        &self,
        operation: &'static str,
        node: &Node,
        command: Command,
    ) -> Result<Reply> {
        if command.once && node.node.losses() != node.losses {
            return Err(Error::Connection {
                server: node.node.name().to_owned(),
                reason: format!("the connection was lost in the middle of {}", command.name),
            });
        }
        let replies = Box::pin(self.run(operation, &[command], Some(node))).await?;
        // There is an answer to every command.
        replies.into_iter().next().unwrap_or(Err(Error::Closed))
    }

    async fn run(
        &self,
        operation: &'static str,
        commands: &[Command],
        at: Option<&Node>,
    ) -> Result<Vec<Result<Reply>>> {
        let deadline = Instant::now() + self.limit;
        let _turn = self.turn(operation).await?;
        let mut replies: Vec<Option<Result<Reply>>> = commands.iter().map(|_| None).collect();
        let mut pending: Vec<_> = (0..commands.len()).map(Pending::at).collect();
        let mut backoff = Backoff::asking_again();
        loop {
            // Before the servers are looked at, so that no change is missed.
            let mut changes = self.changes.listen();
            let (flights, stranded) = self.route(commands, std::mem::take(&mut pending), at);
            let mut later = false;
            tracing::trace!(target: FLIGHTS, operation, commands = commands.len());
            round_trips::made();
            for (node, answers) in self.fly(commands, flights, deadline).await {
                for (mut one, answer) in answers {
                    let command = &commands[one.place];
                    one.asking = None;
                    match self.judge(operation, command, &mut one, &node, answer) {
                        Verdict::Done(reply) => {
                            replies[one.place] = Some(reply);
                            continue;
                        }
                        Verdict::Again => {}
                        Verdict::Ask(node) => one.asking = Some(node),
                        Verdict::Later(error) => {
                            one.problem = Some(error);
                            later = true;
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
            pending.sort_by_key(|one| one.place);
            if later {
                let wait = Instant::now() + backoff.next();
                tokio::time::sleep_until(wait.min(deadline)).await;
            } else if is_stranded {
                let wait = Instant::now() + LOOK_AGAIN;
                let _ = timeout_at(wait.min(deadline), changes.changed()).await;
            }
            if Instant::now() >= deadline {
                for one in pending {
                    let command = &commands[one.place];
                    let problem = one
                        .problem
                        .unwrap_or_else(|| self.servers.problem(command.slot));
                    replies[one.place] = Some(Err(self.error(operation, command.name, &problem)));
                }
                break;
            }
        }
        // There is an answer to every command.
        let answered = replies.into_iter();
        Ok(answered
            .map(|reply| reply.unwrap_or(Err(Error::Closed)))
            .collect())
    }

    /// Sorts commands by the servers that they go to; some may have nowhere to go at the moment.
    fn route(
        &self,
        commands: &[Command],
        pending: Vec<Pending>,
        at: Option<&Node>,
    ) -> (Vec<Flight>, Vec<Pending>) {
        let mut flights: Vec<Flight> = Vec::with_capacity(1);
        let mut stranded = Vec::new();
        for mut one in pending {
            one.problem = None;
            let node = match (&one.asking, at) {
                (Some(node), _) | (None, Some(Node { node, .. })) => Some(Arc::clone(node)),
                (None, None) => self.servers.node(commands[one.place].slot),
            };
            let Some(node) = node else {
                stranded.push(one);
                continue;
            };
            let flight = flights
                .iter_mut()
                .find(|flight| Arc::ptr_eq(&flight.node, &node));
            if let Some(flight) = flight {
                flight.pending.push(one);
            } else if let Some(live) = node.live() {
                flights.push(Flight {
                    node,
                    live,
                    pending: vec![one],
                });
            } else {
                self.servers.doubt(&node, false);
                stranded.push(one);
            }
        }
        (flights, stranded)
    }

    /// Sends flights, all at once, and pairs each command with its answer.
    async fn fly(
        &self,
        commands: &[Command],
        mut flights: Vec<Flight>,
        deadline: Instant,
    ) -> Vec<(Arc<node::Node>, Vec<(Pending, Result<Reply, Failure>)>)> {
        if flights.len() == 1
            && let Some(flight) = flights.pop()
        {
            return vec![self.fly_one(commands, flight, deadline).await];
        }
        let flying = flights
            .into_iter()
            .map(|flight| self.fly_one(commands, flight, deadline));
        join_all(flying).await
    }

    async fn fly_one(
        &self,
        commands: &[Command],
        flight: Flight,
        deadline: Instant,
    ) -> (Arc<node::Node>, Vec<(Pending, Result<Reply, Failure>)>) {
        let Flight {
            node,
            live,
            pending,
        } = flight;
        let mut sent = Vec::with_capacity(pending.len() + 1);
        for one in &pending {
            if one.asking.is_some() {
                sent.push(&self.asking);
            }
            sent.push(&commands[one.place]);
        }
        let written = pending.iter().find(|one| commands[one.place].writes);
        let replicas = self.replicas.as_ref().zip(written);
        let mark = replicas.map(|(replicas, one)| {
            let slot = commands[one.place].slot.filter(|_| self.cluster);
            replicas.mark(slot)
        });
        if let (Some((replicas, one)), Some(mark)) = (replicas, &mark) {
            if one.asking.is_some() {
                sent.push(&self.asking);
            }
            sent.extend([mark, &replicas.wait]);
        }
        let mut answers = match timeout_at(deadline, live.run(&sent)).await {
            Ok(Ok(answers)) => answers.into_iter(),
            Ok(Err(error)) => return (node, all(pending, &Failure::Redis(error))),
            Err(_) => return (node, all(pending, &Failure::Late)),
        };
        let wanted = replicas.map(|(replicas, _)| replicas.wanted);
        let acknowledged = wanted.map(|wanted| {
            let told = answers.next_back();
            match answers.next_back() {
                Some(Err(error)) => (wanted, Some(Err(error))),
                _ => (wanted, told),
            }
        });
        let mut paired = Vec::with_capacity(pending.len());
        for one in pending {
            if one.asking.is_some() {
                answers.next();
            }
            let answer = match answers.next() {
                Some(answer) => answer.map_err(Failure::Redis),
                None => Err(Failure::Redis(lost("there is no answer"))),
            };
            let answer = match &acknowledged {
                Some((wanted, told)) if commands[one.place].writes => {
                    answer.and_then(|value| durable(value, *wanted, told.as_ref()))
                }
                _ => answer,
            };
            paired.push((one, answer));
        }
        (node, paired)
    }

    /// Decides about an answer. Every command may run twice, but for those that say otherwise.
    fn judge(
        &self,
        operation: &'static str,
        command: &Command,
        one: &mut Pending,
        node: &node::Node,
        answer: Result<Reply, Failure>,
    ) -> Verdict {
        let error = match answer {
            Ok(reply) => return Verdict::Done(Ok(reply)),
            Err(Failure::Late) => {
                return Verdict::Done(Err(Error::Timeout {
                    operation,
                    limit: self.limit,
                }));
            }
            Err(Failure::NotReplicated { wanted, got }) => {
                return Verdict::Done(Err(Error::NotReplicated { wanted, got }));
            }
            Err(Failure::Redis(error)) => error,
        };
        match meaning(&error) {
            Meaning::Elsewhere => {
                let redirection = Redirection::of(error.details());
                // Where a slot is being moved to, a script takes a key that is still on its way
                // for one that is not there. It waits until all of the slot has moved.
                let is_script = command.name.starts_with("EVAL");
                if is_script && matches!(redirection, Some(Redirection::Ask { .. })) {
                    return Verdict::Later(error);
                }
                match redirection.map(|redirection| self.servers.follow(&redirection, node)) {
                    Some(Ok(Some(node))) => Verdict::Ask(node),
                    Some(Ok(None)) if one.moves < MOVES => {
                        one.moves += 1;
                        Verdict::Again
                    }
                    Some(Ok(None)) => Verdict::Later(error),
                    Some(Err(())) | None => {
                        Verdict::Done(Err(self.error(operation, command.name, &error)))
                    }
                }
            }
            Meaning::NotNow => Verdict::Later(error),
            Meaning::NotHere { replica } => {
                self.servers.doubt(node, replica);
                Verdict::Later(error)
            }
            Meaning::Lost => {
                self.servers.doubt(node, false);
                if command.once {
                    Verdict::Done(Err(self.error(operation, command.name, &error)))
                } else {
                    Verdict::Later(error)
                }
            }
            Meaning::Final => Verdict::Done(Err(self.error(operation, command.name, &error))),
        }
    }

    /// Waits until a call may start: what is in flight is bounded here, because a bound of the
    /// client's own makes later calls hang. A tenth of the time is left for the call itself.
    pub(super) async fn turn(&self, operation: &'static str) -> Result<SemaphorePermit<'_>> {
        let limit = self.limit.mul_f64(0.9);
        match tokio::time::timeout(limit, self.calls.acquire()).await {
            Ok(turn) => turn.map_err(|_| Error::Closed),
            Err(_) => Err(Error::Overloaded {
                operation,
                limit,
                calls: self.capacity,
            }),
        }
    }

    pub(super) fn error(&self, operation: &'static str, command: &str, error: &FredError) -> Error {
        if self.cluster && meaning(error) == Meaning::Elsewhere {
            // Followed for as long as the call may take.
            return Error::Unavailable {
                reason: error.details().to_owned(),
            };
        }
        classify(
            error,
            &Context {
                server: &self.server,
                operation,
                command,
                limit: self.limit,
            },
        )
    }

    /// How many calls are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.capacity.saturating_sub(self.calls.available_permits())
    }

    /// Waits for the calls in flight, for as long as a command may take, then closes the
    /// connections that the driver made itself.
    pub(crate) async fn close(&self) {
        let all = u32::try_from(self.capacity).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(self.limit, self.calls.acquire_many(all)).await;
        if drained.is_err() {
            tracing::warn!(
                server = self.server,
                "calls were still in flight when the saver closed"
            );
        }
        self.calls.close();
        self.servers.stop();
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

impl Node {
    fn now(node: Arc<node::Node>) -> Self {
        let losses = node.losses();
        Self { node, losses }
    }
}

impl Pending {
    fn at(place: usize) -> Self {
        Self {
            place,
            asking: None,
            moves: 0,
            problem: None,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone)]
enum Failure {
    /// The server or the client says so.
    Redis(FredError),
    /// The time is over.
    Late,
    /// Too few replicas have it.
    NotReplicated { wanted: usize, got: usize },
}

/// The same failure for all commands of a flight.
fn all(pending: Vec<Pending>, failure: &Failure) -> Vec<(Pending, Result<Reply, Failure>)> {
    let failed = pending.into_iter().map(|one| (one, Err(failure.clone())));
    failed.collect()
}

/// The answer to a write, unless too few replicas have it. Where the server does not say how many
/// do, the write is not known to have lasted.
fn durable(
    value: Reply,
    wanted: usize,
    told: Option<&Result<Reply, FredError>>,
) -> Result<Reply, Failure> {
    let got = match told {
        Some(Ok(told)) => told.as_int().and_then(|got| usize::try_from(got).ok()),
        Some(Err(error)) => return Err(Failure::Redis(error.clone())),
        None => None,
    };
    let got = got.unwrap_or(0);
    if got < wanted {
        return Err(Failure::NotReplicated { wanted, got });
    }
    Ok(value)
}

/// How long a connection may owe answers: half of what a command may take, so that the other half
/// is left for another connection, but never less than it waits for replicas.
fn longest_silence(settings: &Settings) -> Duration {
    let waiting = if settings.wait_replicas > 0 {
        settings.wait_replicas_timeout
    } else {
        Duration::ZERO
    };
    (settings.command_timeout / 2)
        .max(waiting + Duration::from_millis(500))
        .max(Duration::from_millis(500))
}

#[cfg(test)]
mod tests {
    use fred::prelude::Builder;

    use super::*;

    /// A driver whose server never answers.
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
        assert_eq!(driver.in_flight(), driver.capacity);
    }

    #[tokio::test]
    async fn a_call_that_is_never_answered_ends_with_its_time_limit() {
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
        // Nothing is in flight, so that it need not wait.
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
        // The mark of WAIT may be there still.
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

    #[test]
    fn a_write_is_durable_when_enough_replicas_say_so() {
        let durable =
            |told: Option<Result<Reply, FredError>>| durable(Reply::Nil, 2, told.as_ref()).is_ok();
        assert!(durable(Some(Ok(Reply::Int(2)))));
        assert!(!durable(Some(Ok(Reply::Int(1)))));
        assert!(!durable(Some(Ok(Reply::Nil))));
        assert!(!durable(Some(Err(lost("gone")))));
        assert!(!durable(None));
    }

    #[test]
    fn a_connection_is_given_half_of_a_commands_time() {
        let mut settings = Settings::default();
        assert_eq!(longest_silence(&settings), Duration::from_secs(5));
        settings.command_timeout = Duration::from_millis(100);
        assert_eq!(longest_silence(&settings), Duration::from_millis(500));
        settings.wait_replicas = 1;
        settings.wait_replicas_timeout = Duration::from_secs(9);
        assert!(longest_silence(&settings) > Duration::from_secs(9));
    }
}
