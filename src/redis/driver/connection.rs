//! One connection to one server.

use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::command::Command;
use super::fred_pool::FredClient;
use super::multiplexed::MultiplexedConnection;
use super::reply::Replies;
use crate::redis::error::RedisError;

/// A connection that works, as far as is known.
#[derive(Debug)]
pub(super) struct Connection {
    transport: Transport,
    /// Turns true when the connection is closed, so that no reply will come. `None` for a client of
    /// the caller's, which does not report it.
    closed: Option<watch::Receiver<bool>>,
    discarded: Notify,
}

/// What carries the commands.
#[derive(Debug)]
enum Transport {
    Multiplexed(MultiplexedConnection),
    Fred(FredClient),
}

impl Connection {
    /// A connection that the driver made.
    pub(super) fn new(connection: MultiplexedConnection, closed: watch::Receiver<bool>) -> Self {
        Self::over(Transport::Multiplexed(connection), Some(closed))
    }

    /// A client of the caller's.
    pub(super) fn of_client(client: FredClient) -> Self {
        Self::over(Transport::Fred(client), None)
    }

    fn over(transport: Transport, closed: Option<watch::Receiver<bool>>) -> Self {
        Self {
            transport,
            closed,
            discarded: Notify::new(),
        }
    }

    /// Runs commands in one pipeline, in their order. There is a reply to each; an error of the
    /// whole means that it is not known which of them were run.
    pub(super) async fn run(&self, commands: &[&Command]) -> Result<Replies, RedisError> {
        let replies = async {
            match &self.transport {
                Transport::Multiplexed(connection) => connection.run(commands).await,
                // Boxed, as every call would be as large as those of fred.
                Transport::Fred(client) => Box::pin(client.run(commands)).await,
            }
        };
        tokio::select! {
            biased;
            replies = replies => replies,
            () = is_closed(self.closed.clone()) => {
                Err(RedisError::lost("the connection was lost"))
            }
        }
    }

    /// For how long replies have been pending without anything being received. `None` if none are,
    /// and for a client of the caller's, of which it is not known.
    pub(super) fn silence(&self) -> Option<Duration> {
        match &self.transport {
            Transport::Multiplexed(connection) => connection.silence(),
            Transport::Fred(_) => None,
        }
    }

    /// As [`silence`](Self::silence), where a server that answers on other connections should have
    /// answered on this one.
    pub(super) fn unexplained_silence(&self) -> Option<Duration> {
        match &self.transport {
            Transport::Multiplexed(connection) => connection.unexplained_silence(),
            Transport::Fred(_) => None,
        }
    }

    /// How long ago something was received; `None` if nothing has been yet, and for a client of the
    /// caller's.
    pub(super) fn last_received(&self) -> Option<Duration> {
        match &self.transport {
            Transport::Multiplexed(connection) => connection.last_received(),
            Transport::Fred(_) => None,
        }
    }

    /// Whether a reply is pending whose caller has given up; of a client of the caller's it is not
    /// known.
    pub(super) fn is_abandoned(&self) -> bool {
        match &self.transport {
            Transport::Multiplexed(connection) => connection.is_abandoned(),
            Transport::Fred(_) => false,
        }
    }

    /// Has the connection replaced by another one.
    pub(super) fn discard(&self) {
        self.discarded.notify_one();
    }

    /// Waits until the connection is to be replaced.
    pub(super) async fn is_discarded(&self) {
        self.discarded.notified().await;
    }
}

async fn is_closed(closed: Option<watch::Receiver<bool>>) {
    match closed {
        // An error means that the sender was dropped, and the connection with it.
        Some(mut closed) => drop(closed.wait_for(|closed| *closed).await),
        None => std::future::pending().await,
    }
}
