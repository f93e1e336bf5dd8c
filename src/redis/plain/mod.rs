//! What the scripts do, for threads whose keys are in several slots of a cluster.
//!
//! Each script that such a thread needs has a twin here, which takes the same keys and arguments and
//! returns the same. What a script does at once takes a few pipelines here, in an order that keeps
//! its promises:
//!
//! - A document is there before the registry names it, and the registry names it before the
//!   pointer does. A checkpoint is stored when the registry or the pointer names it.
//! - Writes are there before their registry names them, and it names all of a call at once: that
//!   is when they are stored.
//! - What is removed is taken out of the pointer and the registry first; then its document goes, and
//!   its writes follow. Who has read writes and finds some missing looks whether the document is
//!   still there: if it is not, the checkpoint was being removed, and is read as one that is gone.
//! - Where only one may win, one key decides: the registry of checkpoints whose expectation held,
//!   the first write of a call whose writes are kept.
//! - What is done to one key is done at once, with its TTL, by a small script.
//!
//! Shallow mode has no twins: its scripts decide by one document what becomes of the other keys.
//!
//! Every step may run twice.

mod ancestors;
mod blob;
mod flight;
mod pointer;
mod put;
mod put_writes;
mod read;
mod registry;
mod remove;
mod sweep;
mod thread;
mod ttl;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::driver::{Command, Reply};
use super::error::SEVERAL_SLOTS;
use super::scripts::ScriptCall;
use super::store::Store;
use crate::error::{Error, Result};
use flight::{Answers, Part};
pub(super) use sweep::Trace;

/// The member of a thread's set of namespaces that says that the thread is pinned.
const PINNED: &[u8] = b"\0pinned";

/// Does what a script does.
pub(super) async fn run(
    store: &Store,
    operation: &'static str,
    call: &ScriptCall,
) -> Result<Reply> {
    let plain = Plain {
        store,
        operation,
        script: call.name(),
    };
    plain.run(call.keys(), call.args()).await
}

/// One call of a script that runs as several commands.
struct Plain<'a> {
    store: &'a Store,
    operation: &'static str,
    script: &'static str,
}

impl Plain<'_> {
    async fn run(&self, keys: &[Bytes], args: &[Bytes]) -> Result<Reply> {
        match self.script {
            "put" => Box::pin(put::put(self, keys, args)).await,
            "put_writes" => Box::pin(put_writes::put_writes(self, keys, args)).await,
            "read" => Box::pin(read::read(self, keys, args)).await,
            "writes" => Box::pin(read::writes(self, keys, args)).await,
            "writes_page" => Box::pin(read::writes_page(self, keys, args)).await,
            "history" => Box::pin(ancestors::history(self, keys, args)).await,
            "page" => Box::pin(registry::page(self, keys, args)).await,
            "namespaces" => Box::pin(registry::namespaces(self, keys, args)).await,
            "register" => Box::pin(registry::register(self, keys, args)).await,
            "forget" => Box::pin(registry::forget(self, keys, args)).await,
            "remove" => Box::pin(remove::remove(self, keys, args)).await,
            "remove_key" => Box::pin(remove::remove_key(self, keys, args)).await,
            "discard" => Box::pin(remove::discard(self, keys, args)).await,
            "unlist" => Box::pin(remove::unlist(self, keys, args)).await,
            "ttl" => Box::pin(ttl::change(self, keys, args)).await,
            "blob_put" => Box::pin(blob::put(self, keys, args)).await,
            "blob_register" => Box::pin(blob::register(self, keys, args)).await,
            "blob_mark" => Box::pin(blob::mark(self, keys, args)).await,
            "blob_forget" => Box::pin(blob::forget(self, keys, args)).await,
            // Shallow mode and the doctor need all keys of a thread in one slot.
            _ => Err(Error::invalid("thread_id", SEVERAL_SLOTS)),
        }
    }

    async fn flight(&self, parts: Vec<Part>) -> Result<Answers> {
        self.store.parts(self.operation, parts).await
    }

    /// The first so many keys or arguments.
    fn first<'b, const COUNT: usize>(&self, given: &'b [Bytes]) -> Result<&'b [Bytes; COUNT]> {
        given
            .first_chunk()
            .ok_or_else(|| self.no_twin("it was called with too few keys or arguments"))
    }

    fn no_twin(&self, reason: &str) -> Error {
        Error::Server {
            command: format!("the plain commands for the script `{}`", self.script),
            source: reason.into(),
        }
    }

    /// Whether a key is there.
    async fn is_there(&self, key: Bytes) -> Result<bool> {
        Ok(self.are_there([key]).await?.contains(&true))
    }

    /// Which of some keys are there.
    async fn are_there(&self, keys: impl IntoIterator<Item = Bytes>) -> Result<Vec<bool>> {
        let parts: Vec<_> = keys
            .into_iter()
            .map(|key| Part::of("EXISTS", &key, []))
            .collect();
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let count = parts.len();
        let mut answers = self.flight(parts).await?;
        (0..count).map(|_| Ok(answers.int()? == 1)).collect()
    }
}

/// How often something is read again that another call removes, or stored again that another call takes away meanwhile.
const ATTEMPTS: usize = 8;

/// Stores something again as long as another call takes it away meanwhile: the attempt says whether
/// all of it is there.
async fn until_kept<F>(mut attempt: impl FnMut() -> F) -> Result<Reply>
where
    F: Future<Output = Result<(bool, Reply)>>,
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

/// Reads something again as long as it is removed while it is read: then there is no answer.
async fn until_whole<F>(mut attempt: impl FnMut() -> F) -> Result<Reply>
where
    F: Future<Output = Result<Option<Reply>>>,
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

/// What a call says that other nodes have stored a part of already.
fn begun(error: Error) -> Error {
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

/// A number that stands in an argument.
fn integer(arg: &Bytes) -> i64 {
    std::str::from_utf8(arg)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// A number as a script returns it.
fn count(count: usize) -> Reply {
    Reply::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn flag(flag: bool) -> Reply {
    Reply::Int(i64::from(flag))
}

fn join(parts: &[&[u8]]) -> Bytes {
    Bytes::from(parts.concat())
}

/// What follows a prefix; `None` if there is nothing or the text does not start with it.
fn after<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    text.strip_prefix(prefix).filter(|rest| !rest.is_empty())
}

/// What a document says of itself.
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
    /// The part that asks for them.
    fn of(key: &Bytes) -> Part {
        Part::command(
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

    /// Reads the answer; `None` for a document that is not there.
    fn read(answer: Option<Bytes>) -> Option<Self> {
        answer.map(|answer| serde_json::from_slice(&answer).unwrap_or_default())
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
