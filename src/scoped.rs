//! A view of the threads of one tenant, of any saver.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::blobs::{
    BlobPage, BlobStore, ChannelBlob, ConnectionCounts, ExistingWrites, StoreReadiness,
};
use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
    PendingWrite,
};
use crate::config::CheckpointConfig;
use crate::diagnostics::Diagnostics;
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, MAX_ID_BYTES, RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, PruneOptions, PutOptions, PutWritesOptions,
};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

/// A view of a saver for one tenant of many: of the threads whose ids start with a prefix, under
/// their ids without it.
///
/// Every thread id that is given to a call gets the prefix, and every one that is returned loses
/// it: in configs and parent configs, in summaries of threads, in a filter's `thread_id`. No call
/// reads, changes, lists or counts a thread of another prefix. So tenants may use the same thread
/// ids, and a `list` without a config, `threads("")` or `delete_for_runs` is over the threads of
/// one. What is stored has the whole id, under which the wrapped saver finds it: `support` in the
/// view `tenant-a/` is the thread `tenant-a/support`. Metadata and values are stored as they are.
///
/// A view costs no round trip. It is a saver like others, so it can be scoped again:
/// `tenant-a/` and then `user-7/` is the view `tenant-a/user-7/`.
///
/// **Choose prefixes of which none is the beginning of another**: those views would share threads.
/// Prefixes that end in a separator that the names of tenants cannot have do it: `team-a` also
/// reaches the threads of `team-ab`, and `team-a/` does not. In a Redis Cluster a hash tag in the
/// prefix, `{team-a}/`, keeps all threads of a tenant in one slot.
///
/// A thread whose id is the prefix itself has no id in the view, and is not in it; only
/// `delete_for_runs` reaches it. `setup` is the wrapped saver's. An error names a thread by its id
/// in the view, and a key by its name in Redis.
///
/// ```
/// use langgraph_checkpoint_redis::{
///     Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver, CheckpointSaverExt,
///     ListOptions, MemorySaver, PutOptions, ScopedSaver,
/// };
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> langgraph_checkpoint_redis::Result<()> {
/// let saver = MemorySaver::new();
/// let tenants = ["a", "b"].map(|name| ScopedSaver::new(saver.clone(), format!("tenant-{name}/")));
/// let thread = CheckpointConfig::new("support")?;
/// for tenant in tenants {
///     let tenant = tenant?;
///     let checkpoint = Checkpoint::builder().build()?;
///     let metadata = CheckpointMetadata::new();
///     tenant.put(&thread, &checkpoint, &metadata, &PutOptions::default()).await?;
///     let mine = tenant.list_all(None, ListOptions::default()).await?;
///     assert_eq!(mine.len(), 1);
///     assert_eq!(mine[0].config.thread_id, thread.thread_id);
/// }
/// assert_eq!(saver.list_all(None, ListOptions::default()).await?.len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ScopedSaver<S> {
    saver: S,
    prefix: Arc<str>,
}

impl<S> ScopedSaver<S> {
    /// The view of the threads whose ids start with a prefix.
    ///
    /// # Errors
    /// [`Error::InvalidInput`] if the prefix is empty, or so long that no thread id has room after
    /// it.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::{MemorySaver, ScopedSaver};
    /// let error = ScopedSaver::new(MemorySaver::new(), "").unwrap_err();
    /// assert!(error.to_string().starts_with("prefix cannot be used: it is empty"));
    /// ```
    pub fn new(saver: S, prefix: impl Into<String>) -> Result<Self> {
        let prefix = prefix.into();
        if prefix.is_empty() {
            return Err(Error::invalid(
                "prefix",
                "it is empty and would reach the threads of all tenants: use one such as `tenant-a/`, or the saver itself",
            ));
        }
        if prefix.len() >= MAX_ID_BYTES {
            return Err(Error::invalid(
                "prefix",
                format!(
                    "it has {} bytes; a thread id has at most {MAX_ID_BYTES} with it",
                    prefix.len()
                ),
            ));
        }
        Ok(Self {
            saver,
            prefix: prefix.into(),
        })
    }

    /// The prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The wrapped saver, which reaches every thread.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.saver
    }

    /// A thread as it is stored.
    fn stored(&self, thread: &ThreadId) -> Result<ThreadId> {
        let bytes = self.prefix.len() + thread.as_str().len();
        if bytes > MAX_ID_BYTES {
            return Err(Error::invalid(
                "thread_id",
                format!(
                    "it has {bytes} bytes with its prefix of {}; at most {MAX_ID_BYTES} are taken",
                    self.prefix.len()
                ),
            ));
        }
        ThreadId::new(format!("{}{thread}", self.prefix))
    }

    fn stored_config(&self, config: &CheckpointConfig) -> Result<CheckpointConfig> {
        Ok(CheckpointConfig {
            thread_id: self.stored(&config.thread_id)?,
            ..config.clone()
        })
    }
}

/// A thread that is stored, as the view has it; `None` if it is none of the view's.
fn scoped(prefix: &str, thread: &ThreadId) -> Option<ThreadId> {
    ThreadId::new(thread.as_str().strip_prefix(prefix)?).ok()
}

/// Gives a config that was read the thread's id in the view.
fn scope_config(prefix: &str, config: &mut CheckpointConfig) -> Result<()> {
    config.thread_id = scoped(prefix, &config.thread_id).ok_or_else(|| Error::Corrupt {
        key: config.thread_id.to_string(),
        reason: format!("it is of another thread than one of the prefix {prefix:?}"),
        source: None,
    })?;
    Ok(())
}

fn scope_tuple(prefix: &str, mut tuple: CheckpointTuple) -> Result<CheckpointTuple> {
    scope_config(prefix, &mut tuple.config)?;
    if let Some(parent) = &mut tuple.parent_config {
        scope_config(prefix, parent)?;
    }
    Ok(tuple)
}

/// The same error with the threads that it names as the view has them.
fn scope_error(prefix: &str, mut error: Error) -> Error {
    let quoted = format!("{prefix:?}");
    let quoted = quoted.strip_suffix('"').unwrap_or(&quoted);
    let scope = |text: &mut String| {
        *text = text
            .replace(&format!("thread {prefix}"), "thread ")
            .replace(&format!("thread {quoted}"), "thread \"");
    };
    match &mut error {
        Error::Conflict { what, reason } => {
            scope(what);
            scope(reason);
        }
        Error::TooLarge { what, .. } => scope(what),
        Error::InvalidInput { field, reason, .. } => {
            scope(field);
            scope(reason);
        }
        Error::Unavailable { reason, .. } => scope(reason),
        _ => {}
    }
    error
}

impl<S: CheckpointSaver> ScopedSaver<S> {
    fn scope_error(&self) -> impl Fn(Error) -> Error + use<S> {
        let prefix = Arc::clone(&self.prefix);
        move |error| scope_error(&prefix, error)
    }

    fn scope_tuples(&self, tuples: SaverStream<CheckpointTuple>) -> SaverStream<CheckpointTuple> {
        let prefix = Arc::clone(&self.prefix);
        tuples
            .map_err(self.scope_error())
            .and_then(move |tuple| ready(scope_tuple(&prefix, tuple)))
            .boxed()
    }
}

fn failed<T: Send + 'static>(error: Error) -> SaverStream<T> {
    stream::once(ready(Err(error))).boxed()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: CheckpointSaver> CheckpointSaver for ScopedSaver<S> {
    async fn setup(&self) -> Result<()> {
        self.saver.setup().await
    }

    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig> {
        let config = self.stored_config(config)?;
        let put = self.saver.put(&config, checkpoint, metadata, options);
        let mut stored = put.await.map_err(self.scope_error())?;
        scope_config(&self.prefix, &mut stored)?;
        Ok(stored)
    }

    async fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()> {
        let config = self.stored_config(config)?;
        let put = self.saver.put_writes(&config, writes, task_id, options);
        put.await.map_err(self.scope_error())
    }

    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        let config = self.stored_config(config)?;
        let found = self.saver.get_tuple(&config).await;
        let tuple = found.map_err(self.scope_error())?;
        tuple
            .map(|tuple| scope_tuple(&self.prefix, tuple))
            .transpose()
    }

    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        mut options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        let Some(config) = config else {
            return self.list_within("", options);
        };
        match self.stored_config(config) {
            Ok(config) => {
                options.filter = options.filter.with_thread_prefix(&self.prefix);
                self.scope_tuples(self.saver.list(Some(&config), options))
            }
            Err(error) => failed(error),
        }
    }

    fn list_within(&self, prefix: &str, mut options: ListOptions) -> SaverStream<CheckpointTuple> {
        let within = format!("{}{prefix}", self.prefix);
        // A filter that names the thread needs no look at the others.
        if let Some(thread) = options.filter.thread() {
            return if thread.as_str().starts_with(prefix) {
                self.list(Some(&CheckpointConfig::of_thread(thread)), options)
            } else {
                stream::empty().boxed()
            };
        }
        options.filter = options.filter.with_thread_prefix(&self.prefix);
        if !prefix.is_empty() {
            return self.scope_tuples(self.saver.list_within(&within, options));
        }
        // The thread of the prefix itself, which is not in the view, must not count.
        let limit = options.limit.take().unwrap_or(usize::MAX);
        let all = self.saver.list_within(&within, options);
        let of_view = all.try_filter(move |tuple| ready(tuple.config.thread_id.as_str() != within));
        self.scope_tuples(of_view.take(limit).boxed())
    }

    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        let thread = self.stored(thread_id)?;
        let deleted = self.saver.delete_thread(&thread, options).await;
        deleted.map_err(self.scope_error())
    }

    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
        self.delete_for_runs_within(run_ids, "").await
    }

    async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()> {
        let prefix = format!("{}{prefix}", self.prefix);
        let deleted = self.saver.delete_for_runs_within(run_ids, &prefix).await;
        deleted.map_err(self.scope_error())
    }

    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()> {
        let (source, target) = (self.stored(source)?, self.stored(target)?);
        let copied = self.saver.copy_thread(&source, &target, options).await;
        copied.map_err(self.scope_error())
    }

    async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
        let threads = thread_ids.iter().map(|thread| self.stored(thread));
        let threads = threads.collect::<Result<Vec<_>>>()?;
        let pruned = self.saver.prune(&threads, options).await;
        pruned.map_err(self.scope_error())
    }

    async fn delta_channel_history(
        &self,
        config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        let config = self.stored_config(config)?;
        let histories = self.saver.delta_channel_history(&config, channels).await;
        histories.map_err(self.scope_error())
    }

    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary> {
        let own = Arc::clone(&self.prefix);
        let threads = self.saver.threads(&format!("{own}{prefix}"));
        threads
            .map_err(self.scope_error())
            .try_filter_map(move |mut summary| {
                // Left out is the thread of the prefix itself.
                let thread = scoped(&own, &summary.thread_id);
                ready(Ok(thread.map(|thread| {
                    summary.thread_id = thread;
                    summary
                })))
            })
            .boxed()
    }

    async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        let touched = self.saver.touch(&self.stored(thread_id)?).await;
        touched.map_err(self.scope_error())
    }

    async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        let pinned = self.saver.pin(&self.stored(thread_id)?).await;
        pinned.map_err(self.scope_error())
    }

    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        let unpinned = self.saver.unpin(&self.stored(thread_id)?).await;
        unpinned.map_err(self.scope_error())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: BlobStore> BlobStore for ScopedSaver<S> {
    async fn put_with_blobs(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        blobs: &[ChannelBlob],
    ) -> Result<CheckpointConfig> {
        let config = self.stored_config(config)?;
        let put = self
            .saver
            .put_with_blobs(&config, checkpoint, metadata, blobs);
        let mut stored = put.await.map_err(self.scope_error())?;
        scope_config(&self.prefix, &mut stored)?;
        Ok(stored)
    }

    fn blobs_of(
        &self,
        thread: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
    ) -> SaverStream<BlobPage> {
        match self.stored(thread) {
            Ok(thread) => {
                let blobs = self.saver.blobs_of(&thread, namespace, checkpoint);
                blobs.map_err(self.scope_error()).boxed()
            }
            Err(error) => failed(error),
        }
    }

    async fn put_indexed_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[PendingWrite],
        existing: ExistingWrites,
    ) -> Result<()> {
        let config = self.stored_config(config)?;
        let put = self.saver.put_indexed_writes(&config, writes, existing);
        put.await.map_err(self.scope_error())
    }

    async fn summary(&self, thread: &ThreadId) -> Result<Option<ThreadSummary>> {
        let summary = self.saver.summary(&self.stored(thread)?).await;
        let summary = summary.map_err(self.scope_error())?;
        Ok(summary.map(|summary| ThreadSummary {
            thread_id: thread.clone(),
            ..summary
        }))
    }

    fn diagnostics(&self) -> Option<&dyn Diagnostics> {
        None
    }

    async fn thread_bytes(&self, thread: &ThreadId) -> Result<Option<u64>> {
        let bytes = self.saver.thread_bytes(&self.stored(thread)?).await;
        bytes.map_err(self.scope_error())
    }

    async fn readiness(&self) -> StoreReadiness {
        self.saver.readiness().await
    }

    fn connections(&self) -> Option<ConnectionCounts> {
        self.saver.connections()
    }

    async fn close(&self) {
        self.saver.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemorySaver;
    use crate::options::ExistingTarget;
    use crate::saver_ext::CheckpointSaverExt;

    async fn put(saver: &impl CheckpointSaver, thread: &str) -> CheckpointConfig {
        let config = CheckpointConfig::new(thread).unwrap();
        let checkpoint = Checkpoint::builder().build().unwrap();
        let (metadata, options) = (CheckpointMetadata::new(), PutOptions::default());
        let stored = saver.put(&config, &checkpoint, &metadata, &options).await;
        stored.unwrap()
    }

    fn thread(id: &str) -> ThreadId {
        ThreadId::new(id).unwrap()
    }

    #[test]
    fn a_prefix_that_leaves_no_room_for_an_id_is_refused() {
        let longest = "x".repeat(MAX_ID_BYTES - 1);
        let view = ScopedSaver::new(MemorySaver::new(), longest.clone()).unwrap();
        assert!(view.stored(&thread("1")).is_ok());
        assert!(view.stored(&thread("12")).is_err());
        let refused = ScopedSaver::new(MemorySaver::new(), longest + "x").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "prefix cannot be used: it has 65536 bytes; a thread id has at most 65536 with it"
        );
    }

    #[tokio::test]
    async fn a_view_of_a_view_has_both_prefixes() {
        let saver = MemorySaver::new();
        let outer = saver.scoped("a/").unwrap();
        let inner = outer.scoped("b/").unwrap();
        let stored = put(&inner, "1").await;
        assert_eq!(stored.thread_id, thread("1"));
        put(&outer, "b").await;
        put(&outer, "b/").await;
        for (limit, expected) in [(1, 1), (2, 1)] {
            let options = ListOptions::default().with_limit(limit);
            let found = inner.list_all(None, options).await.unwrap();
            assert_eq!(found.len(), expected);
            assert_eq!(found[0].config, stored);
        }
        let whole = saver.thread(&thread("a/b/1")).await.unwrap();
        assert_eq!(whole.unwrap().newest, stored.checkpoint_id);
    }

    #[tokio::test]
    async fn an_error_names_threads_as_the_view_does() {
        let view = MemorySaver::new().scoped("t\"/").unwrap();
        put(&view, "from").await;
        put(&view, "to").await;
        let options = CopyOptions::default().with_existing(ExistingTarget::Error);
        let (source, target) = (thread("from"), thread("to"));
        let refused = view.copy_thread(&source, &target, &options).await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the copy of thread \"from\" was not written: the thread \"to\" exists already; choose another, or merge"
        );
        let plain = Error::Conflict {
            what: "the copy of thread t/from".to_owned(),
            reason: "the key checkpoint:t/to is of another".to_owned(),
        };
        assert_eq!(
            scope_error("t/", plain).to_string(),
            "the copy of thread from was not written: the key checkpoint:t/to is of another"
        );
    }

    #[test]
    fn what_is_of_another_thread_is_not_given() {
        for other in ["u/1", "t", "t/"] {
            let mut config = CheckpointConfig::new(other).unwrap();
            let error = scope_config("t/", &mut config).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{error}");
            assert_eq!(config.thread_id, thread(other));
        }
    }
}
