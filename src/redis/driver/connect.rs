//! Connects a driver.

use std::time::Duration;

use fred::clients::Pool;

use super::client::Driver;
use super::connector::{ConnectOptions, Connector};
use super::fred_pool::FredPool;
use super::servers::Servers;
use super::task::Changes;
use super::tls::{Tls, tls};
use crate::error::{Error, Result};
use crate::redis::config::Settings;
use crate::redis::error::{Context, RedisError};
use crate::redis::url::{RedisUrl, Topology};

impl Driver {
    /// Connects to the servers that a connection string names.
    pub(crate) async fn connect(url: &RedisUrl, settings: &Settings) -> Result<Self> {
        if settings.credentials.is_some() && url.password.is_some() {
            return Err(Error::Config {
                key: "url".to_owned(),
                reason: "it has a password, and a provider gives the credentials: leave one out"
                    .to_owned(),
                source: None,
            });
        }
        let tls = encryption(url, settings)?;
        let connector = Connector {
            options: ConnectOptions {
                username: url.username.clone(),
                password: url.password.clone(),
                database: url.database.filter(|number| *number != 0),
                tls,
                client_name: settings.client_name.clone(),
            },
            credentials: settings.credentials.clone(),
            limit: settings.connect_timeout,
            max_silence: max_silence(settings),
            primary_only: true,
        };
        let changes = Changes::new();
        let pool_size = settings.pool_size;
        let waiting = if settings.wait_replicas > 0 {
            pool_size
        } else {
            0
        };
        let connecting = Servers::connect(url, connector, pool_size, waiting, &changes);
        let limit = settings.connect_timeout;
        let servers = match tokio::time::timeout(limit, Box::pin(connecting)).await {
            Ok(servers) => servers,
            Err(_) => Err(RedisError::lost(format!("no reply within {limit:?}"))),
        };
        let address = url.address();
        let context = Context {
            server: &address,
            operation: "connect",
            command: "the connection",
            limit,
        };
        let servers = servers.map_err(|error| error.into_public(&context))?;
        let mut driver = Self::new(servers, changes, address, settings);
        driver.is_cluster = matches!(url.topology, Topology::Cluster);
        driver.database = url.database.unwrap_or(0);
        Ok(driver)
    }

    /// Uses a pool of connected clients of the caller's.
    pub(crate) fn over_pool(pool: &Pool, settings: &Settings) -> Self {
        let pool = FredPool::new(pool);
        let settings = Settings {
            pool_size: pool.size(),
            ..settings.clone()
        };
        let servers = Servers::of_pool(&pool);
        let mut driver = Self::new(servers, Changes::new(), pool.name(), &settings);
        driver.is_cluster = pool.is_cluster();
        driver.database = pool.database();
        driver
    }
}

/// How long replies may be pending on a connection without anything being received: half of the
/// time limit of a command, which leaves the other half for another connection, but always longer
/// than WAIT may take.
fn max_silence(settings: &Settings) -> Duration {
    let waiting = if settings.wait_replicas > 0 {
        settings.wait_replicas_timeout
    } else {
        Duration::ZERO
    };
    (settings.command_timeout / 2)
        .max(waiting + Duration::from_millis(500))
        .max(Duration::from_millis(500))
}

/// Finds out whether the files of TLS are good for a URL, without a connection.
#[cfg(all(feature = "cli", feature = "server"))]
pub(in crate::redis) fn check_tls(url: &RedisUrl, settings: &Settings) -> Result<()> {
    encryption(url, settings).map(|_| ())
}

/// How connections are encrypted, if they are.
fn encryption(url: &RedisUrl, settings: &Settings) -> Result<Option<Tls>> {
    if url.tls {
        return tls(settings).map(Some);
    }
    let why = "the URL is one without TLS: write rediss, or leave this out";
    settings.tls.check_unused(why)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_be_silent_for_half_of_a_commands_time() {
        let mut settings = Settings::default();
        assert_eq!(max_silence(&settings), Duration::from_secs(5));
        settings.command_timeout = Duration::from_millis(100);
        assert_eq!(max_silence(&settings), Duration::from_millis(500));
        settings.wait_replicas = 1;
        settings.wait_replicas_timeout = Duration::from_secs(9);
        assert!(max_silence(&settings) > Duration::from_secs(9));
    }
}
