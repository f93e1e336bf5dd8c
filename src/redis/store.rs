//! What the rooms of the Redis saver share: the driver, the names of keys, and what is known of
//! the server.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use quick_cache::sync::Cache;

use super::config::Settings;
use super::driver::{Command, Driver, Reply};
use super::error::{is_of_several_slots, is_unknown_script};
use super::index::Searching;
use super::keys::{Keyspace, NamespaceKeys};
use super::plain::{self, Trace};
use super::scripts::{self, ScriptCall};
use super::slots::share_a_tag;
use super::staged::Staging;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::TtlScope;

/// How many newest checkpoints are remembered, to read large ones in one round trip.
const REMEMBERED: usize = 16_384;

/// The state of a Redis saver.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) driver: Arc<Driver>,
    pub(crate) keyspace: Keyspace,
    pub(crate) settings: Settings,
    /// What is known of search.
    pub(super) searching: Searching,
    /// Whether the nodes of a cluster search together.
    pub(super) searches_together: OnceLock<bool>,
    newest: Cache<Bytes, Newest>,
    pub(super) staging: Staging,
    /// What registries name and is gone, as far as plain commands have found.
    traces: Cache<Bytes, Vec<Trace>>,
    /// The threads that are given their TTL at the moment, so that of many calls that find one
    /// due only one visits it.
    keeping: Mutex<HashSet<ThreadId>>,
    /// Whether one server has turned out to be the endpoint of a cluster.
    endpoint_of_slots: AtomicBool,
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
            driver: Arc::new(driver),
            keyspace,
            settings,
            searching: Searching::new(),
            searches_together: OnceLock::new(),
            newest: Cache::new(REMEMBERED),
            staging: Staging::default(),
            traces: Cache::new(REMEMBERED),
            keeping: Mutex::default(),
            endpoint_of_slots: AtomicBool::new(false),
        })
    }

    /// Says whether the server lacks JSON, by trying it: on some servers modules cannot be listed.
    pub(crate) async fn check_commands(&self) -> Result<()> {
        let probe = Bytes::from(format!("{}:", self.keyspace.checkpoint_prefix()));
        self.driver
            .call("setup", Command::on("JSON.TYPE", probe.clone()))
            .await?;
        let script = scripts::TOGETHER.call(vec![probe], Vec::new());
        // It changes nothing that a replica would have to acknowledge.
        let script = Command {
            writes: false,
            ..script.by_source()
        };
        self.driver.call("setup", script).await?;
        Ok(())
    }

    /// The names of a namespace's keys.
    pub(crate) fn keys(&self, thread: &ThreadId, namespace: &CheckpointNamespace) -> NamespaceKeys {
        self.keyspace.thread(thread).namespace(namespace)
    }

    /// Whether no script can be run on these keys, because they are in several slots.
    pub(crate) fn runs_plainly(&self, keys: &[Bytes]) -> bool {
        self.slots_decide() && !share_a_tag(keys)
    }

    /// Whether keys are in slots: in a cluster, and behind an endpoint that has shown itself to be
    /// one of a cluster.
    fn slots_decide(&self) -> bool {
        self.driver.is_cluster() || self.endpoint_of_slots.load(Ordering::Relaxed)
    }

    /// Looks at slots from now on, because a script was refused for its keys.
    fn learn_of_slots(&self) {
        if !self.endpoint_of_slots.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "behind the server is a cluster: threads without a hash tag take several round trips a call"
            );
        }
    }

    /// Runs a script in one round trip, two when the server does not know it yet; or what stands
    /// for it where keys are in several slots.
    pub(crate) async fn script(
        &self,
        operation: &'static str,
        script: ScriptCall,
    ) -> Result<Reply> {
        if self.runs_plainly(script.keys()) {
            return plain::run(self, operation, &script).await;
        }
        let reply = match self.driver.call(operation, script.by_hash()).await {
            Err(error) if is_unknown_script(&error) => {
                self.driver.call(operation, script.by_source()).await
            }
            reply => reply,
        };
        match reply {
            Err(error) if is_of_several_slots(&error) => {
                self.learn_of_slots();
                plain::run(self, operation, &script).await
            }
            reply => reply,
        }
    }

    /// Runs steps in one flight, in their order; those that take plain commands at the same time.
    /// Every step may run twice.
    pub(crate) async fn flight(
        &self,
        operation: &'static str,
        steps: Vec<Step>,
    ) -> Result<Vec<Result<Reply>>> {
        if steps.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = Vec::with_capacity(steps.len());
        let mut apart = Vec::new();
        for (position, step) in steps.iter().enumerate() {
            match step {
                Step::Command(command) => commands.push(command.clone()),
                Step::Script(script) if self.runs_plainly(script.keys()) => apart.push(position),
                Step::Script(script) => commands.push(script.by_hash()),
            }
        }
        let together = async {
            if commands.is_empty() {
                Ok(Vec::new())
            } else {
                self.driver.batch(operation, commands).await
            }
        };
        let plainly = apart.iter().map(|position| async {
            match &steps[*position] {
                Step::Script(script) => plain::run(self, operation, script).await,
                Step::Command(_) => Ok(Reply::Nil),
            }
        });
        let (together, plainly) = join(together, join_all(plainly)).await;
        let mut replies = together?;
        for (position, reply) in apart.into_iter().zip(plainly) {
            replies.insert(position, reply);
        }
        for (step, reply) in steps.into_iter().zip(&mut replies) {
            let Step::Script(script) = step else { continue };
            if reply.as_ref().is_err_and(is_unknown_script) {
                *reply = self.driver.call(operation, script.by_source()).await;
            }
            if reply.as_ref().is_err_and(is_of_several_slots) {
                self.learn_of_slots();
                *reply = plain::run(self, operation, &script).await;
            }
        }
        Ok(replies)
    }

    /// What is remembered of the newest checkpoint of a namespace.
    pub(crate) fn remembered(&self, keys: &NamespaceKeys) -> Option<Newest> {
        self.newest.get(&keys.registry)
    }

    /// The id of the newest checkpoint that is remembered of a registry.
    pub(super) fn remembered_id(&self, registry: &Bytes) -> Option<CheckpointId> {
        self.newest.get(registry).map(|newest| newest.id)
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

    /// Remembers what a registry names and is gone.
    pub(super) fn remember_traces(&self, registry: &Bytes, traces: Vec<Trace>) {
        self.traces.insert(registry.clone(), traces);
    }

    /// What was remembered of a registry.
    pub(super) fn take_traces(&self, registry: &Bytes) -> Vec<Trace> {
        let taken = self.traces.remove(registry);
        taken.map(|(_, traces)| traces).unwrap_or_default()
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

/// A TTL as Redis counts it, 0 for none.
pub(crate) fn milliseconds(ttl: Option<Duration>) -> Bytes {
    super::driver::number(ttl.map_or(0, |ttl| ttl.as_millis()))
}
