//! What the rooms of the Redis saver share: the driver, the names of keys, and what is known of
//! the server.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quick_cache::sync::Cache;

use super::config::Settings;
use super::driver::{Command, Driver, Reply};
use super::index::Search;
use super::keys::{Keyspace, NamespaceKeys};
use super::scripts::ScriptCall;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::TtlScope;

/// How many newest checkpoints are remembered, to read large ones in one round trip.
const REMEMBERED: usize = 16_384;

/// The state of a Redis saver.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) driver: Driver,
    pub(crate) keyspace: Keyspace,
    pub(crate) settings: Settings,
    /// What can be searched, once that is known for good.
    pub(super) search: OnceLock<Option<Search>>,
    newest: Cache<Bytes, Newest>,
    /// The threads that are given their TTL at the moment, so that of many calls that find one
    /// due only one visits it.
    keeping: Mutex<HashSet<ThreadId>>,
}

/// The newest checkpoint of a namespace, as far as this saver knows.
#[derive(Debug, Clone)]
pub(crate) struct Newest {
    pub(crate) id: CheckpointId,
    pub(crate) bytes: usize,
}

/// One step of a flight: a command or a script.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Command(Command),
    Script(ScriptCall),
}

impl From<Command> for Step {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

impl From<ScriptCall> for Step {
    fn from(script: ScriptCall) -> Self {
        Self::Script(script)
    }
}

impl Store {
    pub(crate) fn new(driver: Driver, keyspace: Keyspace, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            driver,
            keyspace,
            settings,
            search: OnceLock::new(),
            newest: Cache::new(REMEMBERED),
            keeping: Mutex::default(),
        })
    }

    /// Says what the server lacks, by trying it: on some servers modules cannot be listed.
    pub(crate) async fn check_commands(&self) -> Result<()> {
        let probe = Bytes::from(format!("{}:", self.keyspace.checkpoint_prefix()));
        self.driver
            .call("setup", Command::on("JSON.TYPE", probe))
            .await?;
        if !self.driver.is_cluster() {
            self.driver.call("setup", Command::new("FT._LIST")).await?;
        }
        Ok(())
    }

    /// The names of a namespace's keys.
    pub(crate) fn keys(&self, thread: &ThreadId, namespace: &CheckpointNamespace) -> NamespaceKeys {
        self.keyspace.thread(thread).namespace(namespace)
    }

    /// Runs a script in one round trip; two when the server does not know it yet.
    pub(crate) async fn script(
        &self,
        operation: &'static str,
        script: ScriptCall,
    ) -> Result<Reply> {
        match self.driver.call(operation, script.by_hash()).await {
            Err(error) if is_unknown_script(&error) => {
                self.driver.call(operation, script.by_source()).await
            }
            reply => reply,
        }
    }

    /// Runs steps in one flight, in their order. Every step may run twice.
    pub(crate) async fn flight(
        &self,
        operation: &'static str,
        steps: Vec<Step>,
    ) -> Result<Vec<Result<Reply>>> {
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let commands = steps
            .iter()
            .map(|step| match step {
                Step::Command(command) => command.clone(),
                Step::Script(script) => script.by_hash(),
            })
            .collect();
        let mut replies = self.driver.batch(operation, commands).await?;
        for (step, reply) in steps.into_iter().zip(&mut replies) {
            if let (Step::Script(script), Err(error)) = (step, &*reply)
                && is_unknown_script(error)
            {
                *reply = self.driver.call(operation, script.by_source()).await;
            }
        }
        Ok(replies)
    }

    /// What is remembered of the newest checkpoint of a namespace.
    pub(crate) fn remembered(&self, keys: &NamespaceKeys) -> Option<Newest> {
        self.newest.get(&keys.registry)
    }

    /// Remembers the newest checkpoint of a namespace.
    pub(crate) fn remember(&self, keys: &NamespaceKeys, id: CheckpointId, bytes: usize) {
        self.newest
            .insert(keys.registry.clone(), Newest { id, bytes });
    }

    /// Forgets what was remembered of a namespace.
    pub(crate) fn forget(&self, keys: &NamespaceKeys) {
        self.newest.remove(&keys.registry);
    }

    /// The TTL that keys get: where threads are kept whole a quarter more than was asked for, so
    /// that a thread must be visited only once in that time.
    pub(crate) fn key_ttl(&self, ttl: Option<Duration>) -> Option<Duration> {
        match self.settings.ttl.scope {
            TtlScope::Checkpoint => ttl,
            TtlScope::Thread => ttl.map(|ttl| ttl + ttl / 4),
        }
    }

    /// The TTL that all of a thread must have after a call, as scripts take it.
    pub(crate) fn whole_ttl(&self, ttl: Option<Duration>) -> Bytes {
        match (self.settings.ttl.scope, ttl) {
            (TtlScope::Checkpoint, _) => Bytes::from_static(b"0"),
            (TtlScope::Thread, None) => Bytes::from_static(b"-1"),
            (TtlScope::Thread, ttl) => milliseconds(ttl),
        }
    }

    /// Begins to give a thread its TTL; `false` if another call does already.
    pub(super) fn start_keeping(&self, thread: &ThreadId) -> bool {
        self.keeping().insert(thread.clone())
    }

    /// Ends it.
    pub(super) fn end_keeping(&self, thread: &ThreadId) {
        self.keeping().remove(thread);
    }

    fn keeping(&self) -> MutexGuard<'_, HashSet<ThreadId>> {
        // No call panics while it holds the lock, and a set has no broken state.
        self.keeping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a document that is too large.
    pub(crate) fn check_size(&self, what: impl FnOnce() -> String, size: usize) -> Result<()> {
        let limit = self.settings.max_document_bytes;
        if size > limit {
            return Err(Error::TooLarge {
                what: what(),
                size,
                limit,
            });
        }
        Ok(())
    }
}

fn is_unknown_script(error: &Error) -> bool {
    matches!(error, Error::Server { reason, .. } if reason.starts_with("NOSCRIPT"))
}

/// A TTL as Redis counts it, 0 for none.
pub(crate) fn milliseconds(ttl: Option<Duration>) -> Bytes {
    super::driver::number(ttl.map_or(0, |ttl| ttl.as_millis()))
}
