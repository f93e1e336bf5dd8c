//! What the HTTP service asks of a saver beyond the trait.

use super::blobs;
use super::keys::CheckpointRef;
use super::put;
use super::runs;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::blobs::{BlobPage, ChannelBlob, NamedBlobs, named_by};
use super::document::pending_document;
use super::saver::RedisSaver;
use crate::checkpoint::{Checkpoint, CheckpointMetadata, CheckpointTuple, PendingWrite};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::{CheckpointNamespace, RunId, ThreadId};
use crate::options::{ListOptions, PutOptions, TtlChoice};
use crate::saver::{CheckpointSaver, SaverStream};

impl RedisSaver {
    /// Stores a checkpoint and the values of channels that are kept apart from it.
    pub(crate) async fn put_with_blobs(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        blobs: &[ChannelBlob],
    ) -> Result<CheckpointConfig> {
        let store = &self.0;
        let ttl = TtlChoice::Default.resolve(store.settings.ttl.default)?;
        let (thread, namespace) = (&config.thread_id, config.namespace());
        let named = named_by(checkpoint);
        let put_blobs =
            async || blobs::put_blobs(store, thread, &namespace, blobs, &named, ttl).await;
        let members = put_blobs().await?;
        let options = PutOptions::default();
        let stored = self.put(config, checkpoint, metadata, &options).await?;
        let settled = async || blobs::settle_blobs(store, thread, &namespace, &members, ttl).await;
        // Whoever deleted the thread meanwhile may have taken them; the checkpoint is there now.
        if !settled().await? {
            put_blobs().await?;
            settled().await?;
        }
        Ok(stored)
    }

    /// The values of channels that are kept apart from a checkpoint, as many at once as are read in
    /// a flight.
    pub(crate) fn blobs_of(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
    ) -> SaverStream<BlobPage> {
        let blobs = NamedBlobs::new(&self.0, thread, namespace, checkpoint);
        stream::try_unfold(blobs, |mut blobs| async move {
            Ok(blobs.next().await?.map(|page| (page, blobs)))
        })
        .boxed()
    }

    /// Stores writes under the tasks and indexes that they name. Of two with one task and index
    /// the first stays, or with `replace` the last.
    pub(crate) async fn put_indexed_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        replace: bool,
    ) -> Result<()> {
        let store = &self.0;
        let id = config.required_checkpoint()?;
        if writes.is_empty() {
            return Ok(());
        }
        let ttl = TtlChoice::Default.resolve(store.settings.ttl.default)?;
        let namespace = config.namespace();
        let keys = store.keys(&config.thread_id, &namespace);
        let identity = CheckpointRef::new(&config.thread_id, &namespace, id);
        let mut documents = Vec::with_capacity(writes.len());
        for write in writes {
            let document = pending_document(&identity, write)?;
            let what = || {
                let (task, channel) = (&write.task_id, &write.channel);
                format!("the write of task {task} to channel `{channel}`")
            };
            store.check_size(what, document.len())?;
            documents.push((keys.write(id, &write.task_id, write.idx), document));
        }
        put::put_write_documents(store, &identity, documents, replace, ttl).await
    }

    /// Deletes the checkpoints that runs made in threads whose ids start with a prefix.
    pub(crate) async fn delete_for_runs_within(
        &self,
        run_ids: &[RunId],
        prefix: &str,
    ) -> Result<()> {
        runs::delete_for_runs(&self.0, run_ids, prefix).await
    }

    /// Streams the checkpoints of all threads whose ids start with a prefix, newest first; the
    /// documents of others are not read.
    pub(crate) fn list_within(
        &self,
        prefix: &str,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        super::list::list_within(Arc::clone(&self.0), prefix, options)
    }

    /// Whether the server answers.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.0.check_commands().await
    }

    /// How many connections there are, and how many calls are in flight on them.
    pub(crate) fn load(&self) -> (usize, usize) {
        self.0.driver().load()
    }
}
