//! What carrying threads to another store needs beyond the trait: checkpoints oldest first with the
//! time that they have left, and writes that wait for their checkpoint.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Compact;
use super::list::list_named;
use super::read::{ReadWrite, whole_writes};
use super::scripts::{Order, page_call, page_of};
use crate::checkpoint::PendingWrite;
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::redis::compact::{Damage, Reader, Rope};
use crate::redis::driver::Command;
use crate::redis::keys::CheckpointRef;
use crate::redis::replies::time_left;
use crate::redis::transfer::{EarlyWrites, TimedCheckpoint};
use crate::saver::SaverStream;

/// How often writes are read again of which a part had gone.
const ATTEMPTS: usize = 3;

/// Streams the checkpoints of a namespace oldest first.
pub(super) fn oldest_first(
    layout: &Arc<Compact>,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
) -> SaverStream<TimedCheckpoint> {
    let walk = Ascent {
        layout: Arc::clone(layout),
        thread: thread.clone(),
        namespace: namespace.clone(),
        last: None,
        ended: false,
    };
    stream::try_unfold(walk, |mut walk| async move {
        let page = walk.page().await?;
        Ok::<_, Error>(page.map(|page| (stream::iter(page).map(Ok), walk)))
    })
    .try_flatten()
    .boxed()
}

/// A walk from the oldest checkpoint of a namespace to the newest.
struct Ascent {
    layout: Arc<Compact>,
    thread: ThreadId,
    namespace: CheckpointNamespace,
    last: Option<CheckpointId>,
    ended: bool,
}

impl Ascent {
    async fn page(&mut self) -> Result<Option<Vec<TimedCheckpoint>>> {
        if self.ended {
            return Ok(None);
        }
        let store = &self.layout.store;
        let keys = store.keyspace.compact(&self.thread);
        let (order, most) = (Order::OldestFirst, store.settings.page_size);
        let call = page_call(&keys, &self.namespace, order, self.last.as_ref(), most);
        let steps = vec![call.into(), Command::on("PTTL", keys.heads.clone()).into()];
        let mut replies = store.pipeline("list", steps).await?.into_iter();
        let page = replies.next().unwrap_or(Err(Error::Closed))?;
        let ttl = time_left(&replies.next().unwrap_or(Err(Error::Closed))?);
        let (more, ids) = page_of(&keys, page)?;
        self.ended = !more;
        self.last = ids.last().cloned().or(self.last.take());
        let named = ids
            .iter()
            .map(|id| CheckpointRef::new(&self.thread, &self.namespace, id));
        let tuples = list_named(&self.layout, named.collect());
        let page = tuples.map_ok(|tuple| TimedCheckpoint { tuple, ttl });
        page.try_collect().await.map(Some)
    }
}

/// Streams the writes of a thread whose checkpoints are not there.
pub(super) fn early_writes(layout: &Arc<Compact>, thread: &ThreadId) -> SaverStream<EarlyWrites> {
    let (layout, thread) = (Arc::clone(layout), thread.clone());
    let found = {
        let (layout, thread) = (Arc::clone(&layout), thread.clone());
        async move {
            let found = layout.early_checkpoints("list", &thread).await?;
            Ok(stream::iter(found).map(Ok))
        }
    };
    stream::once(found)
        .try_flatten()
        .try_filter_map(move |(namespace, id)| {
            let layout = Arc::clone(&layout);
            let at = CheckpointRef::new(&thread, &namespace, &id);
            async move { timed_early_writes(&layout, &at).await }
        })
        .boxed()
}

async fn timed_early_writes(layout: &Compact, at: &CheckpointRef) -> Result<Option<EarlyWrites>> {
    let keys = layout.store.keyspace.compact(&at.thread_id);
    let Some(writes) = layout.early_writes_of("list", at).await? else {
        return Ok(None);
    };
    let left = Command::on("PTTL", keys.writes.clone());
    let left = layout.store.driver().call("list", left).await?;
    let (thread, namespace, id) = (&at.thread_id, &at.namespace, &at.checkpoint_id);
    Ok((!writes.is_empty()).then(|| EarlyWrites {
        config: CheckpointConfig::of_checkpoint(thread.clone(), namespace.clone(), id.clone()),
        writes,
        ttl: time_left(&left),
    }))
}

impl Compact {
    /// The writes of a checkpoint that is not there; `None` if it is by now and brings them itself.
    pub(super) async fn early_writes_of(
        &self,
        operation: &'static str,
        at: &CheckpointRef,
    ) -> Result<Option<Vec<PendingWrite>>> {
        let keys = self.store.keyspace.compact(&at.thread_id);
        let codec = self.codec.of_thread(&at.thread_id);
        let mut absent = None;
        for _ in 0..ATTEMPTS {
            let (is_there, read) = self.all_writes(operation, at).await?;
            if is_there || (absent.is_some() && read.is_empty()) {
                return Ok(None);
            }
            let mut reader = Reader::new(&codec);
            let ropes: Vec<&Rope> = read.iter().flat_map(of_write).collect();
            let fetched = self.fetch(operation, &at.thread_id, &mut reader, &ropes);
            // They were removed in the meantime, or sealed again, or cannot be read.
            absent = fetched.await?;
            if absent.is_none() {
                return whole_writes(&keys, at, &read, &mut reader).map(Some);
            }
        }
        match absent {
            Some(digest) => Err(Damage::Absent(digest).at(String::from_utf8_lossy(&keys.parts))),
            None => Ok(None),
        }
    }
}

fn of_write(write: &ReadWrite) -> impl Iterator<Item = &Rope> {
    write.record.ropes()
}
