//! What the command line asks of a saver beyond its public calls.

use super::doctor::{self, DoctorOptions, DoctorReport, IdleWrites};
use super::saver::RedisSaver;
use super::transfer::{self, PutBlob, TimedBlob};
use super::{index, runs};
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::id::{CheckpointNamespace, RunId, ThreadId};
use crate::options::TtlChoice;

impl RedisSaver {
    /// Drops the indexes, for one whose prefixes nobody else uses.
    pub(crate) async fn drop_indexes(&self) -> Result<()> {
        let keyspace = &self.0.keyspace;
        for index in [keyspace.checkpoint_prefix(), keyspace.write_prefix()] {
            index::drop_index(&self.0, index).await?;
        }
        Ok(())
    }

    /// Whether the index of checkpoints lacks some.
    pub(crate) async fn search_lacks(&self) -> Result<Option<index::Lacking>> {
        index::index_lacks(&self.0, self.0.keyspace.checkpoint_prefix()).await
    }

    /// Runs the doctor after other runs, whose looking does not count as use.
    pub(crate) async fn doctor_again(
        &self,
        options: &DoctorOptions,
        idle: &mut IdleWrites,
    ) -> Result<DoctorReport> {
        doctor::doctor(&self.0, options, idle).await
    }

    /// Whether a namespace has blobs.
    pub(crate) async fn has_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
    ) -> Result<bool> {
        transfer::has_blobs(&self.0, thread_id, namespace).await
    }

    /// Reads blobs by their channels and versions.
    pub(crate) async fn timed_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
        named: &[(String, String)],
    ) -> Result<Vec<TimedBlob>> {
        transfer::timed_blobs(&self.0, thread_id, namespace, named).await
    }

    /// Stores a blob whose checkpoint is stored next, unless there is one already.
    pub(crate) async fn put_timed_blob(&self, blob: &TimedBlob, ttl: TtlChoice) -> Result<PutBlob> {
        transfer::put_timed_blob(&self.0, blob, ttl).await
    }

    /// Keeps the blobs that a checkpoint names as long as the checkpoint, which is stored.
    pub(crate) async fn keep_blobs(
        &self,
        thread_id: &ThreadId,
        namespace: &CheckpointNamespace,
        checkpoint: &Checkpoint,
        ttl: TtlChoice,
    ) -> Result<()> {
        transfer::keep_blobs(&self.0, thread_id, namespace, checkpoint, ttl).await
    }

    /// The threads of the checkpoints that a run has made, each once for each of them; those whose
    /// ids start with a prefix.
    pub(crate) async fn checkpoints_of_run(
        &self,
        run: &RunId,
        prefix: &str,
    ) -> Result<Vec<ThreadId>> {
        let found = runs::checkpoints_of_run(&self.0, run, prefix)
            .await?
            .into_iter();
        Ok(found.map(|one| one.thread_id).collect())
    }

    /// Deletes the checkpoints that runs made in threads whose ids start with a prefix.
    pub(crate) async fn delete_runs(&self, runs: &[RunId], prefix: &str) -> Result<()> {
        runs::delete_for_runs(&self.0, runs, prefix).await
    }
}
