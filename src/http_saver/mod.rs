//! A saver that is a client of the HTTP service.

mod client;
mod error;

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::stream::{StreamExt, TryStreamExt};

pub use client::{HttpSaver, HttpSaverBuilder};

use crate::checkpoint::{
    ChannelWrite, Checkpoint, CheckpointMetadata, CheckpointTuple, DeltaChannelHistory,
};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{RunId, TaskId, ThreadId};
use crate::options::{
    CopyOptions, DeleteOptions, ListOptions, Progress, PruneOptions, PutOptions, PutWritesOptions,
};
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};
use crate::wire::{
    Changed, CheckpointAndWrites, CheckpointLine, Config, CopyThreadCall, DeleteForRunsCall,
    DeleteThreadCall, GetTupleCall, Histories, HistoryCall, ListCall, MAX_ITEMS, PruneCall,
    PutCall, PutDone, PutWritesCall, ThreadCall, ThreadLine, ThreadsCall, Write,
};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CheckpointSaver for HttpSaver {
    async fn setup(&self) -> Result<()> {
        self.done("setup", &()).await
    }

    async fn put(
        &self,
        config: &CheckpointConfig,
        checkpoint: &Checkpoint,
        metadata: &CheckpointMetadata,
        options: &PutOptions,
    ) -> Result<CheckpointConfig> {
        options.ttl.resolve(None)?;
        let call = PutCall {
            config: Config::from(config),
            checkpoint: checkpoint.to_json(),
            metadata: metadata.to_json(),
            ttl: options.ttl.into(),
            expected_parent: (&options.expected_parent).into(),
        };
        let done: PutDone = self.ask("put", &call).await?;
        done.config.try_into()
    }

    async fn put_writes(
        &self,
        config: &CheckpointConfig,
        writes: &[ChannelWrite],
        task_id: &TaskId,
        options: &PutWritesOptions,
    ) -> Result<()> {
        options.ttl.resolve(None)?;
        config.required_checkpoint()?;
        let call = PutWritesCall {
            config: Config::from(config),
            writes: writes.iter().map(Write::from).collect(),
            task_id: task_id.clone(),
            task_path: options.task_path.clone(),
            ttl: options.ttl.into(),
        };
        self.done("put-writes", &call).await
    }

    async fn get_tuple(&self, config: &CheckpointConfig) -> Result<Option<CheckpointTuple>> {
        let config = Config::from(config);
        let tuple: Option<CheckpointAndWrites> =
            self.ask("get-tuple", &GetTupleCall { config }).await?;
        tuple.map(CheckpointTuple::try_from).transpose()
    }

    fn list(
        &self,
        config: Option<&CheckpointConfig>,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        self.listed(config, String::new(), options)
    }

    fn list_within(&self, prefix: &str, options: ListOptions) -> SaverStream<CheckpointTuple> {
        self.listed(None, prefix.to_owned(), options)
    }

    async fn delete_thread(&self, thread_id: &ThreadId, options: &DeleteOptions) -> Result<()> {
        let thread_id = thread_id.clone();
        let call = DeleteThreadCall { thread_id };
        let progress = options.progress.as_ref();
        self.follow("delete-thread", &call, progress, Progress::default())
            .await
            .map(|_| ())
    }

    async fn delete_for_runs(&self, run_ids: &[RunId]) -> Result<()> {
        self.delete_for_runs_within(run_ids, "").await
    }

    async fn delete_for_runs_within(&self, run_ids: &[RunId], prefix: &str) -> Result<()> {
        for run_ids in run_ids.chunks(MAX_ITEMS) {
            let call = DeleteForRunsCall {
                run_ids: run_ids.to_vec(),
                prefix: prefix.to_owned(),
            };
            self.done("delete-for-runs", &call).await?;
        }
        Ok(())
    }

    async fn copy_thread(
        &self,
        source: &ThreadId,
        target: &ThreadId,
        options: &CopyOptions,
    ) -> Result<()> {
        options.ttl.resolve(None)?;
        let call = CopyThreadCall {
            source: source.clone(),
            target: target.clone(),
            existing: options.into(),
            ttl: options.ttl.into(),
        };
        let progress = options.progress.as_ref();
        self.follow("copy-thread", &call, progress, Progress::default())
            .await
            .map(|_| ())
    }

    async fn prune(&self, thread_ids: &[ThreadId], options: &PruneOptions) -> Result<()> {
        options.strategy.check()?;
        let mut done = Progress::default();
        for thread_ids in thread_ids.chunks(MAX_ITEMS) {
            let call = PruneCall {
                thread_ids: thread_ids.to_vec(),
                strategy: (&options.strategy).into(),
            };
            let progress = options.progress.as_ref();
            done = self.follow("prune", &call, progress, done).await?;
        }
        Ok(())
    }

    async fn delta_channel_history(
        &self,
        config: &CheckpointConfig,
        channels: &[String],
    ) -> Result<BTreeMap<String, DeltaChannelHistory>> {
        let call = HistoryCall {
            config: Config::from(config),
            channels: channels.to_vec(),
        };
        let histories: Histories = self.ask("delta-channel-history", &call).await?;
        histories
            .into_iter()
            .map(|(channel, history)| Ok::<_, Error>((channel, history.try_into()?)))
            .collect()
    }

    fn threads(&self, prefix: &str) -> SaverStream<ThreadSummary> {
        let call = ThreadsCall {
            prefix: prefix.to_owned(),
            ..ThreadsCall::default()
        };
        let threads = self.lines::<ThreadLine>("threads", &call);
        threads.map_ok(ThreadSummary::from).boxed()
    }

    async fn touch(&self, thread_id: &ThreadId) -> Result<bool> {
        self.change("touch", thread_id).await
    }

    async fn pin(&self, thread_id: &ThreadId) -> Result<bool> {
        self.change("pin", thread_id).await
    }

    async fn unpin(&self, thread_id: &ThreadId) -> Result<bool> {
        self.change("unpin", thread_id).await
    }
}

impl HttpSaver {
    fn listed(
        &self,
        config: Option<&CheckpointConfig>,
        prefix: String,
        options: ListOptions,
    ) -> SaverStream<CheckpointTuple> {
        let call = ListCall {
            config: config.map(Config::from),
            prefix,
            filter: (!options.filter.is_empty()).then(|| options.filter.to_json()),
            before: options.before,
            // The service reads 63 bits.
            limit: options
                .limit
                .map(|limit| limit.min(isize::MAX.unsigned_abs())),
        };
        let tuples = self.lines::<CheckpointLine>("list", &call);
        tuples
            .and_then(|tuple| std::future::ready(tuple.try_into()))
            .boxed()
    }

    async fn change(&self, operation: &'static str, thread_id: &ThreadId) -> Result<bool> {
        let thread_id = thread_id.clone();
        let answer: Changed = self.ask(operation, &ThreadCall { thread_id }).await?;
        Ok(answer.changed)
    }
}
