//! What the calls of the Redis saver build on: a session, the names of keys, and the settings.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join, join_all};

use super::config::Settings;
use super::driver::{Command, Driver, Reply};
use super::error::SEVERAL_SLOTS;
use super::keys::{Keyspace, NamespaceKeys};
use super::nonatomic;
use super::recent::RecentThreads;
use super::scripts::{Call, OneKey, Op, Request, RunOnKey, Step, ThreadTtl};
use super::session::{Newest, Session};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::TtlScope;

/// A document of fewer bytes comes out of the script that finds it: a larger one costs a script
/// three times what it costs a plain command.
pub(crate) const SMALL: usize = 4 * 1024;

/// The state of a Redis saver.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) session: Session,
    pub(crate) keyspace: Keyspace,
    pub(crate) settings: Settings,
    pub(crate) recent: RecentThreads,
}

impl Store {
    pub(crate) fn new(driver: Driver, keyspace: Keyspace, settings: Settings) -> Arc<Self> {
        let session = Session::new(driver);
        let recent = RecentThreads::new(&session.driver, &keyspace, &settings);
        Arc::new(Self {
            session,
            keyspace,
            settings,
            recent,
        })
    }

    /// The driver of the session, for single commands.
    pub(crate) fn driver(&self) -> &Arc<Driver> {
        &self.session.driver
    }

    /// Stores what was noted of recent threads, waits for the calls in flight, and closes the
    /// connections.
    pub(crate) async fn close(&self) {
        self.recent.store().await;
        self.driver().close().await;
    }

    /// Finds out whether the server lacks JSON, by trying it: on some servers modules cannot be
    /// listed.
    pub(crate) async fn check_commands(&self) -> Result<()> {
        let probe = Bytes::from(format!("{}:", self.keyspace.checkpoint_prefix()));
        self.driver()
            .call("setup", Command::on("JSON.TYPE", probe))
            .await?;
        self.check_scripts().await
    }

    /// Finds out whether the server runs scripts, by trying one.
    pub(crate) async fn check_scripts(&self) -> Result<()> {
        let probe = Bytes::from(format!("{}:", self.keyspace.checkpoint_prefix()));
        let script = OneKey::from(RunOnKey::new(&probe)).script();
        // It changes nothing that a replica would have to acknowledge.
        let script = Command {
            writes: false,
            ..script.by_source()
        };
        self.driver().call("setup", script).await?;
        Ok(())
    }

    /// The names of a namespace's keys.
    pub(crate) fn keys(&self, thread: &ThreadId, namespace: &CheckpointNamespace) -> NamespaceKeys {
        self.keyspace.thread(thread).namespace(namespace)
    }

    /// Runs a script in one round trip, two when the server does not know it yet. An operation
    /// whose keys are in several slots runs as several commands.
    pub(crate) async fn script<C: Call>(
        &self,
        operation: &'static str,
        call: C,
    ) -> Result<C::Reply> {
        self.run(operation, call.into()).await.map(C::Reply::from)
    }

    // What is seldom needed is boxed, here and in the calls, so that callers' futures stay small.
    async fn run(&self, operation: &'static str, step: Step) -> Result<Reply> {
        let session = &self.session;
        match step {
            Step::Command(command) => session.driver.call(operation, command).await,
            Step::OneKey(call) => session.run_script(operation, &call.script()).await,
            Step::OneSlot(call) => {
                let script = call.script();
                if session.are_in_several_slots(script.keys()) {
                    return Err(several_slots());
                }
                session.run_script(operation, &script).await
            }
            Step::Op(op) => {
                let script = op.script();
                if session.are_in_several_slots(script.keys()) {
                    return Box::pin(nonatomic::run(session, operation, &op)).await;
                }
                match session.run_script(operation, &script).await {
                    Err(error) if session.is_refused_for_slots(&error) => {
                        Box::pin(nonatomic::run(session, operation, &op)).await
                    }
                    reply => reply,
                }
            }
        }
    }

    /// Runs steps in one pipeline, in their order; operations whose keys are in several slots at
    /// the same time. Every step must be idempotent.
    pub(crate) async fn pipeline(
        &self,
        operation: &'static str,
        steps: Vec<Step>,
    ) -> Result<Vec<Result<Reply>>> {
        let session = &self.session;
        let mut requests = Vec::with_capacity(steps.len());
        let mut ways = Vec::with_capacity(steps.len());
        for step in steps {
            let (request, op) = match step {
                Step::Command(command) => (Request::Command(command), None),
                Step::OneKey(call) => (Request::Script(call.script()), None),
                Step::OneSlot(call) => {
                    let script = call.script();
                    if session.are_in_several_slots(script.keys()) {
                        ways.push(Way::Refused);
                        continue;
                    }
                    (Request::Script(script), None)
                }
                Step::Op(op) => {
                    let script = op.script();
                    if session.are_in_several_slots(script.keys()) {
                        ways.push(Way::NonAtomic(op));
                        continue;
                    }
                    (Request::Script(script), Some(op))
                }
            };
            requests.push(request);
            ways.push(Way::Sent(op));
        }
        let nonatomic = ways.iter().filter_map(|way| match way {
            Way::NonAtomic(op) => Some(nonatomic::run(session, operation, op)),
            Way::Sent(_) | Way::Refused => None,
        });
        let sent = session.batch(operation, &requests);
        let (sent, nonatomic) = join(sent, join_all(nonatomic)).await;
        let (mut sent, mut nonatomic) = (sent?.into_iter(), nonatomic.into_iter());
        let mut replies = Vec::with_capacity(ways.len());
        for way in ways {
            replies.push(match way {
                Way::Refused => Err(several_slots()),
                Way::NonAtomic(_) => nonatomic.next().unwrap_or(Err(Error::Closed)),
                Way::Sent(op) => match (sent.next().unwrap_or(Err(Error::Closed)), op) {
                    (Err(error), Some(op)) if session.is_refused_for_slots(&error) => {
                        Box::pin(nonatomic::run(session, operation, &op)).await
                    }
                    (reply, _) => reply,
                },
            });
        }
        Ok(replies)
    }

    /// The newest checkpoint of a namespace, as far as this saver knows.
    pub(crate) fn remembered(&self, keys: &NamespaceKeys) -> Option<Newest> {
        self.session.newest(&keys.registry)
    }

    /// Whether checkpoints of a namespace are known to be so large that a script should not read
    /// them.
    pub(crate) fn remembers_large(&self, keys: &NamespaceKeys) -> bool {
        self.remembered(keys)
            .is_some_and(|newest| newest.bytes >= SMALL)
    }

    /// Remembers the newest checkpoint of a namespace.
    pub(crate) fn remember(&self, keys: &NamespaceKeys, id: CheckpointId, bytes: usize) {
        let newest = Newest { id, bytes };
        self.session.remember_newest(&keys.registry, newest);
    }

    /// Forgets what was remembered of a namespace.
    pub(crate) fn forget(&self, keys: &NamespaceKeys) {
        self.session.forget_newest(&keys.registry);
    }

    /// The TTL that keys get: where all of a thread has one TTL a quarter more than was asked for,
    /// so that a thread must be visited only once in that time.
    pub(crate) fn key_ttl(&self, ttl: Option<Duration>) -> Option<Duration> {
        match self.settings.ttl_scope() {
            TtlScope::Checkpoint => ttl,
            TtlScope::Thread => ttl.map(|ttl| ttl + ttl / 4),
        }
    }

    /// The TTL that all of a thread must still have after a call.
    pub(crate) fn thread_ttl(&self, ttl: Option<Duration>) -> ThreadTtl {
        match (self.settings.ttl_scope(), ttl) {
            (TtlScope::Checkpoint, _) => ThreadTtl::PerCheckpoint,
            (TtlScope::Thread, None) => ThreadTtl::Never,
            (TtlScope::Thread, Some(ttl)) => ThreadTtl::AtLeast(ttl),
        }
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

/// How a step of a pipeline is run.
enum Way {
    /// It is sent; an operation that is refused for its slots then runs as several commands.
    Sent(Option<Box<Op>>),
    NonAtomic(Box<Op>),
    Refused,
}

fn several_slots() -> Error {
    Error::invalid("thread_id", SEVERAL_SLOTS)
}
