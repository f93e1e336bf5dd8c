//! Checkpoints of a namespace without the values of their channels, for those who decide what goes.

use super::Compact;
use super::list::{codecs, readers};
use super::read::damaged;
use super::scripts::{Order, page_call, page_of};
use crate::checkpoint::{Checkpoint, CheckpointMetadata};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::redis::keys::CheckpointRef;

/// A checkpoint without the values of its channels, and what was written to it.
pub(super) struct Outline {
    pub(super) checkpoint: Checkpoint,
    pub(super) metadata: CheckpointMetadata,
    pub(super) parent: Option<CheckpointId>,
    /// The channels of its writes.
    pub(super) written: Vec<String>,
}

/// A walk over the checkpoints of a namespace, newest first, without the values of their channels.
pub(super) struct Outlines {
    thread: ThreadId,
    namespace: CheckpointNamespace,
    last: Option<CheckpointId>,
    ended: bool,
    /// Whether a checkpoint that cannot be read is left out.
    skips: bool,
}

impl Outlines {
    pub(super) fn of(thread: &ThreadId, namespace: &CheckpointNamespace) -> Self {
        Self {
            thread: thread.clone(),
            namespace: namespace.clone(),
            last: None,
            ended: false,
            skips: false,
        }
    }

    /// The same, without those that cannot be read: they are named in warnings.
    pub(super) fn of_readable(thread: &ThreadId, namespace: &CheckpointNamespace) -> Self {
        Self {
            skips: true,
            ..Self::of(thread, namespace)
        }
    }

    /// The next page; it may be empty. `None` after the last.
    pub(super) async fn next(
        &mut self,
        layout: &Compact,
        operation: &'static str,
    ) -> Result<Option<Vec<Outline>>> {
        if self.ended {
            return Ok(None);
        }
        let (store, thread) = (&layout.store, &self.thread);
        let keys = store.keyspace.compact(thread);
        let (order, most) = (Order::NewestFirst, store.settings.page_size);
        let call = page_call(&keys, &self.namespace, order, self.last.as_ref(), most);
        let (more, ids) = page_of(&keys, store.script(operation, call).await?)?;
        self.ended = !more;
        self.last = ids.last().cloned().or(self.last.take());
        let refs: Vec<CheckpointRef> = ids
            .iter()
            .map(|id| CheckpointRef::new(thread, &self.namespace, id))
            .collect();
        let codecs = codecs(layout, refs.iter());
        let mut readers = readers(&codecs);
        let mut read = Vec::with_capacity(refs.len());
        for found in layout.read_heads(operation, &refs, &mut readers).await? {
            read.extend(self.if_readable(found)?.flatten());
        }
        let mut outlines = Vec::with_capacity(read.len());
        let Some(reader) = readers.get_mut(thread) else {
            return Ok(Some(outlines));
        };
        for read in read {
            let written = read.writes.iter();
            let written = written.map(|write| write.record.channel.clone()).collect();
            let ropes: Vec<_> = read.head.outline_ropes().collect();
            let fetched = layout.fetch(operation, thread, reader, &ropes);
            let outline = match fetched.await {
                Ok(None) => {
                    let outline = reader.outline(&read.at.checkpoint_id, &read.head);
                    let outline = outline.map_err(|damage| damaged(&keys, &read.at, damage));
                    outline.map(Some)
                }
                Ok(Some(_)) => {
                    // It was removed in the meantime, or cannot be read.
                    let alone = layout.read(operation, &read.at.config(), false).await;
                    alone.map(|alone| alone.map(|alone| (alone.checkpoint, alone.metadata)))
                }
                Err(error) => Err(error),
            };
            let Some((checkpoint, metadata)) = self.if_readable(outline)?.flatten() else {
                continue;
            };
            outlines.push(Outline {
                checkpoint,
                metadata,
                parent: read.head.parent,
                written,
            });
        }
        Ok(Some(outlines))
    }

    fn if_readable<T>(&self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(error @ (Error::WrongType { .. } | Error::Corrupt { .. })) if self.skips => {
                let thread = &self.thread;
                tracing::warn!(%thread, error = %error.report(), "a checkpoint is left out");
                Ok(None)
            }
            read => read.map(Some),
        }
    }
}
