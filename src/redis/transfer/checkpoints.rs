//! What carrying threads to another store needs beyond the trait: checkpoints oldest first with
//! the time they have left, writes that wait for their checkpoint, and a put that changes nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::redis::args::number;
use crate::redis::driver::{Command, Reply};
use crate::redis::keys::{CheckpointRef, Member};
use crate::redis::list::list_named;
use crate::redis::replies::time_left;
use crate::redis::store::Store;
use crate::redis::{read, registry};
use crate::saver::SaverStream;

/// A checkpoint with the time that it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimedCheckpoint {
    /// The checkpoint, with what belongs to it.
    pub tuple: CheckpointTuple,
    /// How long it is kept from now on; `None` if it never expires.
    pub ttl: Option<Duration>,
}

/// Writes that came before their checkpoint, which is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EarlyWrites {
    /// What names the checkpoint that they wait for.
    pub config: CheckpointConfig,
    /// The writes, in the order of (task path, task id, idx).
    pub writes: Vec<PendingWrite>,
    /// How long they are kept from now on; `None` if it never expires.
    pub ttl: Option<Duration>,
}

/// Streams the checkpoints of a namespace oldest first.
pub(crate) fn oldest_first(
    store: &Arc<Store>,
    thread_id: &ThreadId,
    namespace: &CheckpointNamespace,
) -> SaverStream<TimedCheckpoint> {
    let walk = Ascent {
        store: Arc::clone(store),
        thread_id: thread_id.clone(),
        namespace: namespace.clone(),
        last: None,
        started: false,
    };
    stream::try_unfold(walk, |mut walk| async move {
        let page = walk.page().await?;
        Ok::<_, Error>(page.map(|page| (stream::iter(page).map(Ok), walk)))
    })
    .try_flatten()
    .boxed()
}

/// Streams the writes of a thread whose checkpoints are not there.
pub(crate) fn early_writes(store: &Arc<Store>, thread_id: &ThreadId) -> SaverStream<EarlyWrites> {
    let (store, thread_id) = (Arc::clone(store), thread_id.clone());
    let members = {
        let (store, thread_id) = (Arc::clone(&store), thread_id.clone());
        async move { Ok(stream::iter(registry::members(&store, &thread_id).await?).map(Ok)) }
    };
    stream::once(members)
        .try_flatten()
        .try_filter_map(move |member| {
            let (store, thread_id) = (Arc::clone(&store), thread_id.clone());
            async move {
                match member {
                    Member::Writes(namespace, id) => {
                        early_writes_of(&store, &thread_id, &namespace, &id).await
                    }
                    _ => Ok(None),
                }
            }
        })
        .boxed()
}

/// A walk from the oldest checkpoint of a namespace to the newest.
struct Ascent {
    store: Arc<Store>,
    thread_id: ThreadId,
    namespace: CheckpointNamespace,
    last: Option<CheckpointId>,
    started: bool,
}

impl Ascent {
    async fn page(&mut self) -> Result<Option<Vec<TimedCheckpoint>>> {
        let keys = self.store.keys(&self.thread_id, &self.namespace);
        if !self.started {
            let (incomplete, _) = registry::page(&self.store, &keys, None, 1).await?;
            if incomplete {
                registry::reconcile(&self.store, &self.thread_id).await?;
            }
            self.started = true;
        }
        // The empty member, which is first, only says that another saver has written.
        let after = self.last.as_ref().map_or("", CheckpointId::as_str);
        let command = Command::on("ZRANGEBYLEX", keys.registry.clone())
            .arg(format!("({after}"))
            .args(["+", "LIMIT", "0"].map(Bytes::from))
            .arg(number(self.store.settings.page_size));
        let reply = self.store.driver().call("list", command).await?;
        let ids = reply
            .into_array()
            .into_iter()
            .filter_map(Reply::into_bytes)
            .map(|id| {
                CheckpointId::from_bytes(&id).map_err(|error| {
                    Error::corrupt(String::from_utf8_lossy(&keys.registry), error.to_string())
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let Some(last) = ids.last() else {
            return Ok(None);
        };
        self.last = Some(last.clone());
        let named: Vec<CheckpointRef> = ids
            .iter()
            .map(|id| CheckpointRef::new(&self.thread_id, &self.namespace, id))
            .collect();
        let tuples: Vec<CheckpointTuple> = list_named(Arc::clone(&self.store), named)
            .try_collect()
            .await?;
        let steps = tuples
            .iter()
            .map(|tuple| Command::on("PTTL", keys.document(tuple.checkpoint.id())).into());
        let left = self.store.pipeline("list", steps.collect()).await?;
        tuples
            .into_iter()
            .zip(left)
            .map(|(tuple, left)| {
                let ttl = time_left(&left?);
                Ok(TimedCheckpoint { tuple, ttl })
            })
            .collect::<Result<_>>()
            .map(Some)
    }
}

async fn early_writes_of(
    store: &Store,
    thread_id: &ThreadId,
    namespace: &CheckpointNamespace,
    id: &CheckpointId,
) -> Result<Option<EarlyWrites>> {
    let keys = store.keys(thread_id, namespace);
    let steps = [
        Command::on("EXISTS", keys.document(id)),
        Command::on("PTTL", keys.write_registry(id)),
    ];
    let steps = steps.into_iter().map(Into::into).collect();
    let mut replies = store.pipeline("list", steps).await?.into_iter();
    let there = replies.next().unwrap_or(Err(Error::Closed))?;
    let left = replies.next().unwrap_or(Err(Error::Closed))?;
    // The checkpoint may have come by now; it brings its writes itself.
    if there.as_int() == Some(1) {
        return Ok(None);
    }
    let mut writes = read::writes_of(store, thread_id, namespace, id).await?;
    writes.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
    Ok((!writes.is_empty()).then(|| EarlyWrites {
        config: CheckpointConfig::of_checkpoint(thread_id.clone(), namespace.clone(), id.clone()),
        writes,
        ttl: time_left(&left),
    }))
}
