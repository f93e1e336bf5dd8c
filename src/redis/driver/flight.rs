//! Commands on one connection, in one round trip.

use std::time::Duration;

use fred::clients::Client;
use fred::error::{Error as FredError, ErrorKind};
use fred::prelude::ClientLike;
use fred::types::config::Server;
use fred::types::{ClusterHash, CustomCommand, Value};
use tokio::sync::{Notify, watch};

use super::multiplexed::Multiplexed;
use super::{Command, Reply};

/// The answers of a flight, in the order of its commands.
pub(super) type Answers = Vec<Result<Reply, FredError>>;

/// A connection that works, as far as is known.
#[derive(Debug)]
pub(super) struct Live {
    over: Over,
    /// Turns true when the connection has ended, and what it owes will never come. `None` where
    /// nobody tells.
    ended: Option<watch::Receiver<bool>>,
    given_up: Notify,
}

/// What carries the commands.
#[derive(Debug)]
enum Over {
    Connection(Multiplexed),
    /// A client of fred's, the caller's own. In a cluster, of which it knows all servers, commands
    /// without keys go to the one that is named.
    Client(Client, Option<Server>),
}

impl Live {
    /// A connection of ours.
    pub(super) fn new(connection: Multiplexed, ended: watch::Receiver<bool>) -> Self {
        Self::over(Over::Connection(connection), Some(ended))
    }

    /// A client of fred's, which the caller keeps.
    pub(super) fn of_client(client: Client) -> Self {
        Self::over(Over::Client(client, None), None)
    }

    fn over(over: Over, ended: Option<watch::Receiver<bool>>) -> Self {
        Self {
            over,
            ended,
            given_up: Notify::new(),
        }
    }

    /// The same for one server of a cluster, where the client knows many.
    pub(super) fn at(mut self, server: Server) -> Self {
        if let Over::Client(_, at) = &mut self.over {
            *at = Some(server);
        }
        self
    }

    /// Runs commands in one flight, in their order, each with its own answer. An error of the
    /// whole means that none of the answers is known.
    pub(super) async fn run(&self, commands: &[&Command]) -> Result<Answers, FredError> {
        let answers = async {
            match &self.over {
                Over::Connection(connection) => connection.run(commands).await,
                Over::Client(client, at) => {
                    let answers = send(client, at.as_ref(), commands)
                        .await
                        .map_err(readable)?;
                    let answers = answers.into_iter();
                    Ok(answers.map(|answer| answer.map_err(readable)).collect())
                }
            }
        };
        tokio::select! {
            biased;
            answers = answers => answers,
            () = has_ended(self.ended.clone()) => Err(lost("the connection was lost")),
        }
    }

    /// For how long the connection has owed an answer without giving any. Nobody knows it of a
    /// client that is the caller's own.
    pub(super) fn silence(&self) -> Option<Duration> {
        match &self.over {
            Over::Connection(connection) => connection.silence(),
            Over::Client(..) => None,
        }
    }

    /// Says that the connection is of no use.
    pub(super) fn give_up(&self) {
        self.given_up.notify_one();
    }

    /// Waits until it is said.
    pub(super) async fn is_given_up(&self) {
        self.given_up.notified().await;
    }
}

async fn has_ended(ended: Option<watch::Receiver<bool>>) {
    match ended {
        // An error says that the one who would tell is gone, and the connection with it.
        Some(mut ended) => drop(ended.wait_for(|ended| *ended).await),
        None => std::future::pending().await,
    }
}

/// fred says of the system's errors what they look like in a debugger.
pub(super) fn readable(error: FredError) -> FredError {
    let code = error.details().strip_prefix("Os { code: ");
    let code = code.and_then(|rest| rest.split_once(',')?.0.parse().ok());
    match code {
        Some(code) => {
            let said = std::io::Error::from_raw_os_error(code).to_string();
            FredError::new(error.kind().clone(), said)
        }
        None => error,
    }
}

/// The error of a connection that is no more.
pub(super) fn lost(reason: impl Into<String>) -> FredError {
    FredError::new(ErrorKind::IO, reason.into())
}

async fn send(
    client: &Client,
    at: Option<&Server>,
    commands: &[&Command],
) -> Result<Answers, FredError> {
    if let [command] = commands {
        let (command, args) = to_fred(command, command.slot);
        let answer: Result<Value, FredError> = match at {
            Some(server) => client.with_cluster_node(server).custom(command, args).await,
            None => client.custom(command, args).await,
        };
        return Ok(vec![answer.map(Reply::from)]);
    }
    // All of a flight goes where its keys are.
    let slot = commands.iter().find_map(|command| command.slot);
    let pipeline = client.pipeline();
    for command in commands {
        let (command, args) = to_fred(command, command.slot.or(slot));
        pipeline.custom::<(), Value>(command, args).await?;
    }
    let replies = pipeline.try_all::<Value>().await;
    if replies.len() == commands.len() {
        let answers = replies.into_iter();
        return Ok(answers.map(|answer| answer.map(Reply::from)).collect());
    }
    // The pipeline as a whole failed: one error stands for all commands.
    let error = replies.into_iter().find_map(Result::err);
    Err(error.unwrap_or_else(|| lost("the answers are incomplete")))
}

fn to_fred(command: &Command, slot: Option<u16>) -> (CustomCommand, Vec<Value>) {
    let hash = slot.map_or(ClusterHash::Random, ClusterHash::Custom);
    (
        CustomCommand::new_static(command.name, hash, false),
        command.args.iter().cloned().map(Value::Bytes).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_is_in_words() {
        let error = FredError::from(std::io::Error::from_raw_os_error(111));
        assert!(error.details().starts_with("Os {"), "{error}");
        assert!(!readable(error).details().contains("Os {"));
        let other = FredError::new(ErrorKind::IO, "Os { code: many }");
        assert_eq!(readable(other).details(), "Os { code: many }");
    }
}
