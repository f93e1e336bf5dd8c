//! Subscribes to channels of a server.

use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::prelude::Builder;
use fred::types::config::{Config, ServerConfig};
use fred::types::{ConnectHandle, Message};
use secrecy::ExposeSecret;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::address::Address;
use super::connector::ConnectOptions;
use super::fred_pool::{FredClient, translate};
use crate::redis::error::RedisError;

/// A connection that receives the messages of channels.
pub(super) struct Subscriber {
    messages: Receiver<Message>,
    router: Router,
    /// Kept, as a client that nobody holds may stop.
    _client: Client,
}

/// What is received.
pub(super) enum Received {
    /// A message.
    Message { channel: String, text: String },
    /// Messages came faster than they were taken, and some are lost.
    Lagged,
    /// The connection is closed.
    Closed,
}

/// The task that drives the connection, which is closed with it.
struct Router(ConnectHandle);

impl Drop for Router {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Subscriber {
    /// Connects to a server, names the connection as all others are named, and subscribes. Each of
    /// the three takes no longer than `limit`.
    pub(super) async fn connect(
        options: &ConnectOptions,
        address: &Address,
        limit: Duration,
        channels: Vec<&str>,
    ) -> Result<Self, RedisError> {
        let mut builder = Builder::from_config(config(options, address));
        builder.with_connection_config(|connection| {
            connection.connection_timeout = limit;
            connection.internal_command_timeout = limit;
            // Without a policy a connection that is lost ends its client.
            connection.max_command_attempts = 1;
            connection.auto_client_setname = false;
        });
        let client = builder.build().map_err(|error| translate(&error))?;
        let messages = client.message_rx();
        let mut router = Router(client.connect());
        let in_time = |_| RedisError::lost(format!("no reply within {limit:?}"));
        let connected = wait_until_connected(&client, &mut router);
        tokio::time::timeout(limit, connected)
            .await
            .map_err(in_time)??;
        let names = options.client_commands();
        let names: Vec<_> = names.iter().collect();
        // The server may refuse them, one by one.
        tokio::time::timeout(limit, FredClient::new(client.clone()).run(&names))
            .await
            .map_err(in_time)??;
        let subscribed = client.subscribe(channels);
        tokio::time::timeout(limit, subscribed)
            .await
            .map_err(in_time)?
            .map_err(|error| translate(&error))?;
        Ok(Self {
            messages,
            router,
            _client: client,
        })
    }

    /// Waits for a message.
    pub(super) async fn receive(&mut self) -> Received {
        tokio::select! {
            _ = &mut self.router.0 => Received::Closed,
            message = self.messages.recv() => match message {
                Ok(message) => Received::Message {
                    channel: message.channel.to_string(),
                    text: message.value.as_string().unwrap_or_default(),
                },
                Err(RecvError::Lagged(_)) => Received::Lagged,
                Err(RecvError::Closed) => Received::Closed,
            },
        }
    }
}

fn config(options: &ConnectOptions, address: &Address) -> Config {
    let password = options.password.as_ref();
    #[cfg_attr(not(feature = "tls"), expect(unused_mut))]
    let mut config = Config {
        username: options.username.clone(),
        password: password.map(|password| password.expose_secret().to_owned()),
        server: ServerConfig::new_centralized(&address.host, address.port),
        fail_fast: true,
        ..Config::default()
    };
    #[cfg(feature = "tls")]
    if let Some(tls) = &options.tls {
        config.tls = Some(tls.connector().clone().into());
    }
    config
}

async fn wait_until_connected(client: &Client, router: &mut Router) -> Result<(), RedisError> {
    while !client.is_connected() {
        tokio::select! {
            connected = client.wait_for_connect() => {
                return connected.map_err(|error| translate(&error));
            }
            ended = &mut router.0 => {
                return Err(match ended {
                    Ok(Err(error)) => translate(&error),
                    _ => RedisError::lost("the connection was closed"),
                });
            }
            // It may have been made between the question and the wait for it.
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    Ok(())
}
