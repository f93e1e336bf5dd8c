//! A session with the servers: the driver, what is known of them, and the caches. It knows no
//! keyspace and no call of the saver, so both layouts of what is stored share it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use quick_cache::sync::Cache;

use super::driver::{Driver, Reply};
use super::error::{is_of_several_slots, is_unknown_script};
use super::scripts::{Request, ScriptCall};
use super::search_state::SearchState;
use super::slots::share_a_tag;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, ThreadId};

/// How many registries are remembered, with their newest checkpoints and what they name and is
/// gone.
const REMEMBERED: usize = 16_384;

/// The state of a session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) driver: Arc<Driver>,
    /// What is known of search.
    pub(super) searching: SearchState,
    /// Whether the nodes of a cluster search together.
    pub(super) searches_together: OnceLock<bool>,
    /// The newest checkpoints, by their registries: large ones are read in one round trip.
    newest: Cache<Bytes, Newest>,
    /// The members of registries that lead to nothing, as far as non-atomic runs have found.
    stale: Cache<Bytes, Vec<StaleMember>>,
    /// The threads whose TTLs are being refreshed, so that of many calls that find one due only one
    /// visits it.
    refreshing: Mutex<HashSet<ThreadId>>,
    /// Whether one server has turned out to be the endpoint of a cluster.
    endpoint_of_slots: AtomicBool,
    /// Whether the server has refused the transaction that stages a large document.
    staging_refused: AtomicBool,
    /// Whether it was said that a node of a cluster does not say which slots it has.
    slots_refused: AtomicBool,
}

impl Session {
    pub(crate) fn new(driver: Driver) -> Self {
        Self {
            driver: Arc::new(driver),
            searching: SearchState::new(),
            searches_together: OnceLock::new(),
            newest: Cache::new(REMEMBERED),
            stale: Cache::new(REMEMBERED),
            refreshing: Mutex::default(),
            endpoint_of_slots: AtomicBool::new(false),
            staging_refused: AtomicBool::new(false),
            slots_refused: AtomicBool::new(false),
        }
    }

    /// Runs a script in one round trip, two when the server does not know it yet.
    pub(crate) async fn run_script(
        &self,
        operation: &'static str,
        script: &ScriptCall,
    ) -> Result<Reply> {
        match self.driver.call(operation, script.by_hash()).await {
            Err(error) if is_unknown_script(&error) => {
                self.driver.call(operation, script.by_source()).await
            }
            reply => reply,
        }
    }

    /// Sends requests in one pipeline, in their order; scripts that a server does not know yet in a
    /// second one.
    pub(crate) async fn batch(
        &self,
        operation: &'static str,
        requests: &[Request],
    ) -> Result<Vec<Result<Reply>>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let commands = requests.iter().map(Request::by_hash).collect();
        let mut replies = self.driver.batch(operation, commands).await?;
        let (mut unknown, mut commands) = (Vec::new(), Vec::new());
        for (position, (request, reply)) in requests.iter().zip(&replies).enumerate() {
            if let Request::Script(script) = request
                && reply.as_ref().is_err_and(is_unknown_script)
            {
                unknown.push(position);
                commands.push(script.by_source());
            }
        }
        if !unknown.is_empty() {
            let sent = self.driver.batch(operation, commands).await?;
            for (position, reply) in unknown.into_iter().zip(sent) {
                replies[position] = reply;
            }
        }
        Ok(replies)
    }

    /// Whether no script can be run on these keys, because they may be in several slots.
    pub(crate) fn are_in_several_slots(&self, keys: &[Bytes]) -> bool {
        let has_slots = self.driver.is_cluster() || self.endpoint_of_slots.load(Ordering::Relaxed);
        has_slots && !share_a_tag(keys)
    }

    /// Whether a script was refused because its keys are in several slots. From then on slots are
    /// looked at first.
    pub(crate) fn is_refused_for_slots(&self, error: &Error) -> bool {
        let is_refused = is_of_several_slots(error);
        if is_refused && !self.endpoint_of_slots.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "behind the server is a cluster: threads without a hash tag take several round trips a call"
            );
        }
        is_refused
    }

    /// Whether large documents are staged: until the server refuses the transaction for it.
    pub(super) fn stages_documents(&self) -> bool {
        !self.staging_refused.load(Ordering::Relaxed)
    }

    /// Stages no more documents.
    pub(super) fn stop_staging(&self) {
        self.staging_refused.store(true, Ordering::Relaxed);
    }

    /// Says, once, that slots which move may hide keys from walks.
    pub(crate) fn warn_of_slots(&self, error: &Error) {
        if !self.slots_refused.swap(true, Ordering::Relaxed) {
            let error = error.report();
            tracing::warn!(
                %error,
                "a node does not say which slots it has (CLUSTER NODES): keys that move to another node \
                 while they are walked may be passed over"
            );
        }
    }

    /// The newest checkpoint that is remembered of a registry.
    pub(crate) fn newest(&self, registry: &Bytes) -> Option<Newest> {
        self.newest.get(registry)
    }

    /// Remembers the newest checkpoint of a registry.
    pub(crate) fn remember_newest(&self, registry: &Bytes, newest: Newest) {
        self.newest.insert(registry.clone(), newest);
    }

    /// Forgets the newest checkpoint of a registry.
    pub(crate) fn forget_newest(&self, registry: &Bytes) {
        self.newest.remove(registry);
    }

    /// Remembers members that lead to nothing, for the next put into a registry.
    pub(super) fn remember_stale(&self, registry: &Bytes, members: Vec<StaleMember>) {
        self.stale.insert(registry.clone(), members);
    }

    /// Takes what was remembered of a registry.
    pub(super) fn take_stale(&self, registry: &Bytes) -> Vec<StaleMember> {
        let taken = self.stale.remove(registry);
        taken.map(|(_, members)| members).unwrap_or_default()
    }

    /// Begins to refresh the TTLs of a thread, until what is returned is dropped; `None` if another
    /// call does already.
    pub(super) fn begin_refresh(&self, thread: &ThreadId) -> Option<Refresh<'_>> {
        let is_first = self.refreshing().insert(thread.clone());
        is_first.then(|| Refresh {
            session: self,
            thread: thread.clone(),
        })
    }

    fn refreshing(&self) -> MutexGuard<'_, HashSet<ThreadId>> {
        // No call panics while it holds the lock, and a set has no broken state.
        self.refreshing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest checkpoint of a namespace, as far as the session knows.
#[derive(Debug, Clone)]
pub(crate) struct Newest {
    pub(crate) id: CheckpointId,
    pub(crate) bytes: usize,
}

/// A member of a registry, or of a thread's set of namespaces, that leads to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StaleMember {
    /// A checkpoint whose document is gone.
    Checkpoint(Bytes),
    /// A mark of writes whose registry is gone, with the registry.
    Mark(Bytes, Bytes),
    /// A namespace whose registry and pointer are gone.
    Namespace(Bytes),
}

/// A thread whose TTLs are being refreshed, also where the call is dropped midway.
#[derive(Debug)]
pub(super) struct Refresh<'a> {
    session: &'a Session,
    thread: ThreadId,
}

impl Drop for Refresh<'_> {
    fn drop(&mut self) {
        self.session.refreshing().remove(&self.thread);
    }
}
