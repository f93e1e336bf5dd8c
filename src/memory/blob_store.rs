//! What the HTTP service needs of a memory saver.

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::MemorySaver;
use super::store::StoredWrite;
use crate::blobs::{
    BlobPage, BlobStore, ChannelBlob, ConnectionCounts, ExistingWrites, StoreReadiness,
};
use crate::checkpoint::{Checkpoint, CheckpointMetadata, PendingWrite};
use crate::config::CheckpointConfig;
use crate::diagnostics::Diagnostics;
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::options::{ListOptions, TtlChoice};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl BlobStore for MemorySaver {
    async fn put_with_blobs(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        blobs: &[ChannelBlob],
    ) -> Result<CheckpointConfig> {
        let ttl = TtlChoice::Default.resolve(self.ttl.default)?;
        let metadata = config.joined_metadata(metadata)?;
        let (mut store, now) = self.open();
        let lifetime = Self::lifetime(&mut store, &config.thread_id, ttl, now);
        let stored = store.put(config, checkpoint, metadata, lifetime);
        store
            .namespace_mut(&config.thread_id, &config.namespace())
            .blobs
            .put(blobs, checkpoint, lifetime);
        self.extend_thread(&mut store, &config.thread_id, lifetime);
        Ok(stored)
    }

    fn blobs_of(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
    ) -> SaverStream<BlobPage> {
        let (saver, checkpoint) = (self.clone(), checkpoint.clone());
        let (thread, namespace) = (thread.clone(), namespace.clone());
        stream::once(async move {
            let (mut store, now) = saver.open();
            let is_there = store
                .namespace(&thread, &namespace)
                .is_some_and(|namespace| namespace.checkpoints.contains_key(checkpoint.id()));
            if !is_there {
                return Ok(BlobPage::Gone);
            }
            let ttl = saver.ttl.default.filter(|_| saver.ttl.refresh_on_read);
            let lifetime = ttl.map(|ttl| store.lifetime(Some(ttl), now));
            let blobs = &mut store.namespace_mut(&thread, &namespace).blobs;
            if let Some(lifetime) = lifetime {
                blobs.extend(&checkpoint, lifetime);
            }
            Ok(BlobPage::Found(blobs.of(&checkpoint)))
        })
        .boxed()
    }

    async fn put_indexed_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        existing: ExistingWrites,
    ) -> Result<()> {
        let checkpoint_id = config.required_checkpoint()?;
        let ttl = TtlChoice::Default.resolve(self.ttl.default)?;
        if writes.is_empty() {
            return Ok(());
        }
        let (mut store, now) = self.open();
        let lifetime = Self::lifetime(&mut store, &config.thread_id, ttl, now);
        let stored = store
            .written_namespace(&config.thread_id, &config.namespace())
            .writes
            .entry(checkpoint_id.clone())
            .or_default();
        for write in writes {
            let key = (write.task_id.clone(), write.idx);
            if existing == ExistingWrites::Replace || !stored.contains_key(&key) {
                let write = StoredWrite {
                    task_path: write.task_path.clone(),
                    channel: write.channel.clone(),
                    value: write.value.clone(),
                    lifetime,
                };
                stored.insert(key, write);
            }
        }
        self.extend_thread(&mut store, &config.thread_id, lifetime);
        Ok(())
    }

    async fn summary(&self, thread: &ThreadId) -> Result<Option<ThreadSummary>> {
        let mut threads = self.threads(thread.as_str());
        while let Some(summary) = threads.try_next().await? {
            if summary.thread_id == *thread {
                return Ok(Some(summary));
            }
        }
        Ok(None)
    }

    fn diagnostics(&self) -> Option<&dyn Diagnostics> {
        None
    }

    async fn thread_bytes(&self, thread: &ThreadId) -> Result<Option<u64>> {
        let config = CheckpointConfig::of_thread(thread.clone());
        let mut checkpoints = self.list(Some(&config), ListOptions::default());
        let mut bytes = 0;
        while let Some(tuple) = checkpoints.try_next().await? {
            let checkpoint = tuple.checkpoint.to_json();
            bytes += checkpoint.bytes().len() + tuple.metadata.to_json().bytes().len();
            let writes = tuple.pending_writes.iter();
            bytes += writes.map(|write| write.value.blob.len()).sum::<usize>();
        }
        let (store, _) = self.open();
        if let Some(thread) = store.threads.get(thread) {
            let blobs = thread.namespaces.values().map(|one| one.blobs.bytes());
            bytes += blobs.sum::<usize>();
        }
        Ok(Some(bytes as u64))
    }

    async fn readiness(&self) -> StoreReadiness {
        StoreReadiness::Ready
    }

    fn connections(&self) -> Option<ConnectionCounts> {
        None
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn checkpoint() -> Checkpoint {
        let text = r#"{"id":"1","channel_versions":{"c":"1","d":"1"}}"#;
        Checkpoint::from_json(text).unwrap()
    }

    #[tokio::test]
    async fn the_blobs_of_a_thread_are_kept_with_it() {
        let ttl = crate::options::TtlPolicy::new(Duration::from_secs(3_600));
        let saver = MemorySaver::with_ttl(ttl).unwrap();
        let config = CheckpointConfig::new("t").unwrap();
        saver
            .put_with_blobs(
                &config,
                &checkpoint(),
                &CheckpointMetadata::new(),
                &[ChannelBlob {
                    channel: "c".to_owned(),
                    version: "1".to_owned(),
                    type_name: "json".to_owned(),
                    blob: None,
                }],
            )
            .await
            .unwrap();
        let expiries = || {
            let (mut store, _) = saver.open();
            let thread = store.threads.get_mut(&config.thread_id).unwrap();
            let lifetimes = thread.lifetimes_mut().map(|lifetime| lifetime.0.is_some());
            lifetimes.collect::<Vec<_>>()
        };
        assert_eq!(expiries(), [true, true]);
        assert!(saver.pin(&config.thread_id).await.unwrap());
        assert_eq!(expiries(), [false, false]);
        assert!(saver.unpin(&config.thread_id).await.unwrap());
        assert_eq!(expiries(), [true, true]);
    }
}
