//! What the command line asks of a saver beyond its public calls.

use super::doctor::{DoctorOptions, DoctorReport, IdleWrites};
use super::index;
use super::saver::RedisSaver;
use super::transfer::{PutBlob, TimedBlob};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::id::{CheckpointNamespace, RunId, ThreadId};
use crate::options::TtlChoice;

impl RedisSaver {
    /// Drops the indexes, for one whose prefixes nobody else uses.
    pub(crate) async fn drop_indexes(&self) -> Result<()> {
        self.0.drop_indexes().await
    }

    /// Whether the index of checkpoints lacks some.
    pub(crate) async fn search_lacks(&self) -> Result<Option<index::Lacking>> {
        self.0.search_lacks().await
    }

    /// Runs the doctor after other runs, whose looking does not count as use.
    pub(crate) async fn doctor_again(
        &self,
        options: &DoctorOptions,
        idle: &mut IdleWrites,
    ) -> Result<DoctorReport> {
        self.0.doctor(options, idle).await
    }

    /// What a thread takes in Redis' memory, in bytes; `None` if the user may not ask.
    pub(crate) async fn thread_bytes(&self, thread_id: &ThreadId) -> Result<Option<u64>> {
        self.0.thread_bytes(thread_id).await
    }

    /// Whether a namespace has blobs.
    pub(crate) async fn has_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Result<bool> {
        self.0.has_blobs(thread_id, namespace).await
    }

    /// Reads blobs by their channels and versions.
    pub(crate) async fn timed_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
        named: &[(String, String)],
    ) -> Result<Vec<TimedBlob>> {
        self.0.timed_blobs(thread_id, namespace, named).await
    }

    /// Stores a blob whose checkpoint is stored next, unless there is one already.
    pub(crate) async fn put_timed_blob(&self, blob: &TimedBlob, ttl: TtlChoice) -> Result<PutBlob> {
        self.0.put_timed_blob(blob, ttl).await
    }

    /// Keeps the blobs that a checkpoint names as long as the checkpoint, which is stored.
    pub(crate) async fn keep_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
        ttl: TtlChoice,
    ) -> Result<()> {
        self.0
            .keep_blobs(thread_id, namespace, checkpoint, ttl)
            .await
    }

    /// Removes what nothing of a thread refers to any more, and returns how many parts or blobs
    /// that were; `None` if the thread was written to each time that it was tried.
    pub(crate) async fn collect(&self, thread_id: &ThreadId) -> Result<Option<u64>> {
        self.0.collect(thread_id).await
    }

    /// The threads of the checkpoints that a run has made, each once for each of them; those whose
    /// ids start with a prefix.
    pub(crate) async fn checkpoints_of_run(
        &self,
        run: &RunId,
        prefix: &str,
    ) -> Result<Vec<ThreadId>> {
        self.0.checkpoints_of_run(run, prefix).await
    }

    /// Deletes the checkpoints that runs made in threads whose ids start with a prefix.
    pub(crate) async fn delete_runs(&self, runs: &[RunId], prefix: &str) -> Result<()> {
        self.0.delete_for_runs_within(runs, prefix).await
    }
}
