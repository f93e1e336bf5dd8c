//! What the operations do for threads whose keys are in several slots of a cluster: several
//! commands in place of one script.
//!
//! Each operation of [`Op`] has a run here, which takes the same call as the script and returns the
//! same reply. What a script does in one step takes a few pipelines here, in an order that keeps
//! its promises:
//!
//! - A document is there before the registry names it, and the registry names it before the
//!   pointer does. A checkpoint is stored when the registry or the pointer names it.
//! - Writes are there before their registry names them, and it names all of a call at once: that
//!   is when they are stored.
//! - What is removed is taken out of the pointer and the registry first, and what has writes is
//!   marked; then its document goes, and its writes follow. A reader that finds some writes missing
//!   looks whether the document is still there: if it is not, the checkpoint was being removed, and
//!   is read as one that is gone. Nothing of it is stored while the mark is there.
//! - Where only one caller may win, one key decides: the registry of checkpoints whose expectation
//!   held, the first write of a call whose writes are kept.
//! - What is done to one key is done in one step, with its TTL, by a small script.
//!
//! Every step is idempotent. A run knows the session and its call, nothing of the keyspace or the
//! settings. It is the JSON layout's: another layout needs runs of its own.

mod gc;
mod history;
mod pipeline;
mod pointer;
mod put;
mod put_writes;
mod read;
mod registry;
mod remove;
mod thread;
mod ttl;
mod unpinned;
mod written;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::driver::{Command, Reply};
use super::keys::{self, NamespaceKeys};
use super::scripts::{Op, Request};
use super::session::Session;
use crate::error::{Error, Result};

/// The member of a thread's set of namespaces that says that the thread is pinned.
const PINNED: &[u8] = keys::PINNED.as_bytes();

/// How many milliseconds a document has left that is about to expire.
const EXPIRING: u64 = 100;

/// Runs an operation.
pub(super) async fn run(session: &Session, operation: &'static str, op: &Op) -> Result<Reply> {
    let run = &Run { session, operation };
    // Boxed, so that a future is not as large as the largest of them.
    match op {
        Op::Put(call) => Box::pin(put::put(run, call)).await.map(Reply::from),
        Op::PutWrites(call) => Box::pin(put_writes::put_writes(run, call))
            .await
            .map(Reply::from),
        Op::Read(call) => Box::pin(read::read(run, call)).await.map(Reply::from),
        Op::Writes(call) => Box::pin(read::writes(run, call)).await.map(Reply::from),
        Op::WritesPage(call) => Box::pin(read::writes_page(run, call))
            .await
            .map(Reply::from),
        Op::History(call) => Box::pin(history::history(run, call)).await.map(Reply::from),
        Op::Page(call) => Box::pin(registry::page(run, call)).await.map(Reply::from),
        Op::Namespaces(call) => Box::pin(registry::namespaces(run, call))
            .await
            .map(Reply::from),
        Op::Register(call) => Box::pin(registry::register(run, call))
            .await
            .map(Reply::from),
        Op::Unregister(call) => Box::pin(registry::unregister(run, call))
            .await
            .map(Reply::from),
        Op::Unlist(call) => Box::pin(remove::unlist(run, call)).await.map(Reply::from),
        Op::Remove(call) => Box::pin(remove::remove(run, call)).await.map(Reply::from),
        Op::RemoveUnregistered(call) => Box::pin(remove::remove_unregistered(run, call))
            .await
            .map(Reply::from),
        Op::Ttl(call) => Box::pin(ttl::change(run, call)).await.map(Reply::from),
    }
}

/// One run of an operation.
struct Run<'a> {
    session: &'a Session,
    operation: &'static str,
}

impl Run<'_> {
    /// Whether a document is gone, or goes now: what expires at one time on several nodes does so
    /// in any order.
    async fn has_expired(&self, document: &Bytes) -> Result<bool> {
        let left = vec![Request::on("PTTL", document, [])];
        let left = self.pipeline(left).await?.int()?;
        if let Ok(left @ ..EXPIRING) = u64::try_from(left) {
            tokio::time::sleep(Duration::from_millis(left + 1)).await;
            return Ok(true);
        }
        Ok(left == -2)
    }

    /// Which of some keys are there.
    async fn are_there(&self, keys: impl IntoIterator<Item = Bytes>) -> Result<Vec<bool>> {
        let requests: Vec<_> = keys
            .into_iter()
            .map(|key| Request::on("EXISTS", &key, []))
            .collect();
        let count = requests.len();
        let mut replies = self.pipeline(requests).await?;
        (0..count).map(|_| Ok(replies.int()? == 1)).collect()
    }
}

/// How often something is read again that another call removes, or stored again that another call
/// takes away.
const ATTEMPTS: usize = 8;

/// Stores something again as long as another call takes it away: the attempt returns whether all of
/// it is there.
async fn retry_until_kept<T, F>(mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<(bool, T)>>,
{
    let mut attempts = 1;
    loop {
        let (is_there, reply) = attempt().await?;
        if is_there || attempts == ATTEMPTS {
            return Ok(reply);
        }
        attempts += 1;
    }
}

/// Reads something again as long as it is removed while it is read: then an attempt returns
/// nothing.
async fn retry_while_removed<T, F>(mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    for _ in 0..ATTEMPTS {
        if let Some(reply) = attempt().await? {
            return Ok(reply);
        }
    }
    Err(Error::Unavailable {
        reason: "the thread's checkpoints are removed all the time while they are read".to_owned(),
        source: None,
    })
}

/// The error of a call of which other nodes have stored a part already.
fn partly_done(error: Error) -> Error {
    match error {
        Error::OutOfMemory => Error::Unavailable {
            reason: "a node of the cluster has no memory left for writes, and others may have \
                     stored their part: raise `maxmemory`, and make the call again"
                .to_owned(),
            source: None,
        },
        error => error,
    }
}

/// Whether what has a checkpoint's names may be of another thread or namespace: only names with
/// colons may.
fn is_shared(keys: &NamespaceKeys, id: &[u8]) -> bool {
    [&keys.thread[..], &keys.stored, id]
        .iter()
        .any(|name| name.contains(&b':'))
}

fn join(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

/// What follows a prefix; `None` if there is nothing or the text does not start with it.
fn after<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    text.strip_prefix(prefix).filter(|rest| !rest.is_empty())
}

/// What a document says of itself: the checkpoint that it belongs to, and its flags.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Names {
    #[serde(rename = "$.thread_id")]
    thread: Vec<Value>,
    #[serde(rename = "$.checkpoint_ns")]
    namespace: Vec<Value>,
    #[serde(rename = "$.checkpoint_id")]
    checkpoint: Vec<Value>,
    #[serde(rename = "$.call")]
    call: Vec<Value>,
    #[serde(rename = "$.registered")]
    registered: Vec<Value>,
}

impl Names {
    /// The request for them.
    fn of(key: &Bytes) -> Request {
        Request::from(
            Command::on("JSON.GET", key.clone()).args(
                [
                    "$.thread_id",
                    "$.checkpoint_ns",
                    "$.checkpoint_id",
                    "$.call",
                    "$.registered",
                ]
                .map(Bytes::from),
            ),
        )
    }

    /// Reads the reply; `None` for a document that is not there.
    fn read(reply: Option<Bytes>) -> Option<Self> {
        reply.map(|reply| serde_json::from_slice(&reply).unwrap_or_default())
    }

    fn thread(&self) -> Option<&str> {
        self.thread.first()?.as_str()
    }

    fn namespace(&self) -> Option<&str> {
        self.namespace.first()?.as_str()
    }

    fn checkpoint(&self) -> Option<&str> {
        self.checkpoint.first()?.as_str()
    }

    /// Whether the document is of a thread and namespace.
    fn is_of(&self, keys: &NamespaceKeys) -> bool {
        let namespace = match self.namespace() {
            Some("") => Some("__empty__"),
            other => other,
        };
        self.thread().map(str::as_bytes) == Some(&keys.thread[..])
            && namespace.map(str::as_bytes) == Some(&keys.stored[..])
    }

    fn call(&self) -> Option<&str> {
        self.call.first()?.as_str()
    }

    /// Whether its writes were registered, and live as long as it.
    fn is_registered(&self) -> bool {
        self.registered == [true]
    }

    /// Whether it says nothing, as the flag that the Python saver leaves when writes come first.
    fn is_empty(&self) -> bool {
        self.thread.is_empty() && self.namespace.is_empty() && self.checkpoint.is_empty()
    }
}
