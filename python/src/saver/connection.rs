//! The core's saver behind a Python saver: connected when it is first needed, once a process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use langgraph_checkpoint_redis::redis::{ConfigKey, EncryptionKeys};
use langgraph_checkpoint_redis::{
    CheckpointSaver, Error, RedisSaver, Result, ScopedSaver, ShallowRedisSaver, TtlPolicy,
};
use pyo3::prelude::*;
use tokio::sync::OnceCell;

use super::credentials::Provider;
use super::runtime;

/// What a saver is made with.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) values: Vec<(ConfigKey, String)>,
    pub(super) ttl: Option<Duration>,
    pub(super) refresh_on_read: bool,
    /// Whether only the newest checkpoint of each thread and namespace is kept.
    pub(super) shallow: bool,
    /// Who gives the credentials, if they are not in the URL.
    pub(super) credentials: Option<Arc<Provider>>,
    pub(super) keys: Keys,
}

/// Where the keys come from that what is stored is sealed with.
#[derive(Debug, Clone)]
pub(super) enum Keys {
    /// The environment, if it has any.
    Environment,
    /// There are none.
    None,
    Given(EncryptionKeys),
}

impl Settings {
    async fn connect(&self) -> Result<Kind> {
        let mut policy = TtlPolicy::default();
        policy.default = self.ttl;
        policy.refresh_on_read = self.refresh_on_read;
        let mut builder = self.values.iter().fold(
            RedisSaver::builder().ttl(policy),
            |builder, (key, value)| builder.set(*key, value),
        );
        if let Some(provider) = &self.credentials {
            builder = builder.credentials(Arc::clone(provider));
        }
        builder = match &self.keys {
            Keys::Environment => builder.encryption_keys_from_env(),
            Keys::None => builder,
            Keys::Given(keys) => builder.encryption_keys(keys.clone()),
        };
        Ok(if self.shallow {
            Kind::Shallow(Arc::new(builder.build_shallow().await?))
        } else {
            Kind::Full(Arc::new(builder.build().await?))
        })
    }
}

/// The core's savers.
#[derive(Debug)]
enum Kind {
    Full(Arc<RedisSaver>),
    Shallow(Arc<ShallowRedisSaver>),
}

impl Kind {
    fn saver(&self) -> Arc<dyn CheckpointSaver> {
        match self {
            Self::Full(saver) => Arc::clone(saver) as Arc<dyn CheckpointSaver>,
            Self::Shallow(saver) => Arc::clone(saver) as Arc<dyn CheckpointSaver>,
        }
    }

    async fn close(&self) {
        match self {
            Self::Full(saver) => saver.close().await,
            Self::Shallow(saver) => saver.close().await,
        }
    }
}

/// The connections of one saver in one process.
#[derive(Debug)]
pub(super) struct Connection {
    owner: u32,
    settings: Arc<Settings>,
    saver: OnceCell<Kind>,
    closed: bool,
}

impl Connection {
    fn new(settings: Arc<Settings>, closed: bool) -> Arc<Self> {
        Arc::new(Self {
            owner: std::process::id(),
            settings,
            saver: OnceCell::new(),
            closed,
        })
    }

    /// The core's saver, connected by the first call that asks.
    async fn saver(&self) -> Result<Arc<dyn CheckpointSaver>> {
        if self.closed {
            return Err(Error::Closed);
        }
        let kind = self.saver.get_or_try_init(|| self.settings.connect());
        Ok(kind.await?.saver())
    }
}

/// What the calls of a saver reach: all threads, or those whose ids start with a prefix.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    connection: Arc<Connection>,
    prefix: Option<Arc<str>>,
}

impl Reach {
    pub(super) fn new(connection: Arc<Connection>, prefix: Option<Arc<str>>) -> Self {
        Self { connection, prefix }
    }

    /// The core's saver, connected by the first call that asks.
    pub(super) async fn saver(&self) -> Result<Arc<dyn CheckpointSaver>> {
        let saver = self.connection.saver().await?;
        Ok(match &self.prefix {
            Some(prefix) => Arc::new(ScopedSaver::new(saver, &**prefix)?),
            None => saver,
        })
    }
}

/// Where a saver keeps its connections.
///
/// The lock is taken only by threads that hold the GIL, and given back before they let it go.
#[derive(Debug)]
pub(super) struct Slot(Mutex<Arc<Connection>>);

impl Slot {
    pub(super) fn new(settings: Settings) -> Self {
        Self(Mutex::new(Connection::new(Arc::new(settings), false)))
    }

    /// The connections of this process.
    pub(super) fn get(&self, _py: Python<'_>) -> Arc<Connection> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.owner != std::process::id() {
            let fresh = Connection::new(Arc::clone(&current.settings), current.closed);
            // The parent's connections stay the parent's, and the tasks that drive them are not
            // in this process: dropping them here would wait for those.
            std::mem::forget(std::mem::replace(&mut *current, fresh));
        }
        Arc::clone(&current)
    }

    /// Takes the connections out; calls fail from now on unless the slot is opened again.
    pub(super) fn close(&self, py: Python<'_>) -> Arc<Connection> {
        self.exchange(py, true)
    }

    /// Makes calls possible again after [`Slot::close`].
    pub(super) fn open(&self, py: Python<'_>) {
        if self.get(py).closed {
            self.exchange(py, false);
        }
    }

    fn exchange(&self, py: Python<'_>, closed: bool) -> Arc<Connection> {
        let current = self.get(py);
        let fresh = Connection::new(Arc::clone(&current.settings), closed);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        current
    }
}

impl Drop for Slot {
    /// Closes the connections in the background, after the calls that are under way.
    fn drop(&mut self) {
        Python::attach(|py| {
            let connection = self.get(py);
            if connection.saver.initialized()
                && let Ok(handle) = runtime::handle(py)
            {
                handle.spawn(async move {
                    if let Some(saver) = connection.saver.get() {
                        saver.close().await;
                    }
                });
            }
        });
    }
}

/// Waits for the calls under way and closes the connections, if there are any.
pub(super) async fn close(connection: Arc<Connection>) {
    if let Some(saver) = connection.saver.get() {
        saver.close().await;
    }
}
