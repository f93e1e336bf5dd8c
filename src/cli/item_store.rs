//! Stores the items of threads that are not stored yet, for `import` and `migrate`.

use std::collections::HashSet;

use futures_util::stream::{self, TryStreamExt};

use super::failure::{Failure, Outcome};
use super::json_eq::json_eq;
use super::output::note;
use super::record::{Counts, Item};
use super::text::shown;
use super::ttl::TtlRule;
use crate::RedisSaver;
use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::config::CheckpointConfig;
use crate::id::CheckpointNamespace;
use crate::redis::{EarlyWrites, PutBlob, TimedCheckpoint};
use crate::saver::CheckpointSaver;

/// How much of a thread is held in memory, in bytes of the export.
const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How many checkpoints are stored concurrently.
const CONCURRENCY: usize = 16;

/// What became of the items.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) threads: u64,
    pub(crate) stored: Counts,
    /// Checkpoints that exist already, with all their writes.
    pub(crate) there: u64,
    /// Blobs that exist with another content and stay.
    pub(crate) other_blobs: u64,
}

/// The result for one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stored,
    There,
    /// Another value exists and stays.
    Other,
}

/// How items are stored.
#[derive(Debug, Clone, Copy)]
struct Rules<'a> {
    saver: &'a RedisSaver,
    ttl: TtlRule,
    replace: bool,
}

/// Stores items, a thread after the other and each in batches.
#[derive(Debug)]
pub(crate) struct ItemStore<'a> {
    rules: Rules<'a>,
    dry_run: bool,
    pub(crate) tally: Tally,
    /// The items of the thread that are not stored yet.
    items: Vec<Item>,
    bytes: usize,
    partly_stored: bool,
    /// The namespaces of the thread that have blobs.
    with_blobs: HashSet<CheckpointNamespace>,
}

impl<'a> ItemStore<'a> {
    pub(crate) fn new(saver: &'a RedisSaver, ttl: TtlRule) -> Self {
        Self {
            rules: Rules {
                saver,
                ttl,
                replace: false,
            },
            dry_run: false,
            tally: Tally::default(),
            items: Vec::new(),
            bytes: 0,
            partly_stored: false,
            with_blobs: HashSet::new(),
        }
    }

    /// Replaces existing checkpoints and writes that differ, instead of failing.
    pub(crate) fn replacing(mut self, replace: bool) -> Self {
        self.rules.replace = replace;
        self
    }

    /// Counts, and stores nothing.
    pub(crate) fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    /// Takes an item of the thread, with its size in bytes.
    pub(crate) async fn take(&mut self, item: Item, bytes: usize) -> Outcome {
        self.bytes += bytes;
        if let Item::Blob(blob) = &item {
            self.with_blobs.insert(blob.namespace.clone());
        }
        self.items.push(item);
        if self.bytes > MAX_BATCH_BYTES {
            self.store().await?;
            self.partly_stored = true;
        }
        Ok(())
    }

    /// Stores what is left of the thread.
    pub(crate) async fn end_thread(&mut self) -> Outcome {
        self.store().await?;
        self.partly_stored = false;
        self.with_blobs.clear();
        self.tally.threads += 1;
        Ok(())
    }

    /// Notes that the thread of a failure was stored in part.
    pub(crate) fn failed(&self, failure: Failure) -> Failure {
        if self.partly_stored {
            note(
                "the thread was stored in part: delete the thread, or import it again from an intact export",
            );
        }
        failure
    }

    async fn store(&mut self) -> Outcome {
        self.bytes = 0;
        let items = std::mem::take(&mut self.items);
        // Blobs first, so that a reader of a checkpoint finds them.
        let (blobs, others) = items
            .into_iter()
            .partition(|item| matches!(item, Item::Blob(_)));
        self.store_all(blobs).await?;
        self.store_all(others).await
    }

    async fn store_all(&mut self, items: Vec<Item>) -> Outcome {
        let (rules, dry_run, with_blobs) = (self.rules, self.dry_run, &self.with_blobs);
        let stored = stream::iter(items.into_iter().map(Ok::<_, Failure>))
            .map_ok(|item| async move {
                let counts = item.counts();
                let fate = if dry_run {
                    Fate::Stored
                } else {
                    rules.store(item, with_blobs).await?
                };
                Ok((counts, fate))
            })
            .try_buffer_unordered(CONCURRENCY);
        stored
            .try_fold(&mut self.tally, |tally, (counts, fate)| async move {
                match fate {
                    Fate::Stored => tally.stored += counts,
                    Fate::There => tally.there += counts.checkpoints,
                    Fate::Other => tally.other_blobs += counts.blobs,
                }
                Ok(tally)
            })
            .await
            .map(|_| ())
    }
}

impl Rules<'_> {
    /// Stores one item unless it exists.
    async fn store(self, item: Item, with_blobs: &HashSet<CheckpointNamespace>) -> Outcome<Fate> {
        let Self {
            saver, ttl: rule, ..
        } = self;
        match item {
            Item::Blob(blob) => {
                return Ok(
                    match saver.put_timed_blob(&blob, rule.ttl(blob.ttl)).await? {
                        PutBlob::Stored => Fate::Stored,
                        PutBlob::There => Fate::There,
                        PutBlob::Differs => {
                            note(&format!(
                                "langgraph-redis: warning: thread {} has another blob of channel {} at version {}, which is kept",
                                shown(blob.thread_id.as_str()),
                                shown(&blob.blob.channel),
                                shown(&blob.blob.version),
                            ));
                            Fate::Other
                        }
                    },
                );
            }
            Item::Checkpoint(checkpoint) => {
                let TimedCheckpoint { tuple, ttl } = *checkpoint;
                if let Some(found) = saver.get_tuple(&tuple.config).await? {
                    let state = state_difference(&found, &tuple);
                    let writes = &tuple.pending_writes;
                    let difference = state.or_else(|| difference(&found.pending_writes, writes));
                    if !self.is_missing(&tuple.config, difference, &found.pending_writes, writes)? {
                        return Ok(Fate::There);
                    }
                }
                let namespace = tuple.config.namespace();
                let named = with_blobs
                    .contains(&namespace)
                    .then(|| (tuple.config.thread_id.clone(), tuple.checkpoint.clone()));
                saver.put_tuple(tuple, rule.ttl(ttl)).await?;
                if let Some((thread_id, checkpoint)) = named {
                    saver
                        .keep_blobs(&thread_id, &namespace, &checkpoint, rule.ttl(ttl))
                        .await?;
                }
            }
            Item::Writes(EarlyWrites {
                config,
                writes,
                ttl,
            }) => {
                let found = stored_writes(saver, &config).await?;
                let difference = difference(&found, &writes);
                if !self.is_missing(&config, difference, &found, &writes)? {
                    return Ok(Fate::There);
                }
                // They belong to their checkpoint even if it was stored since the export.
                saver
                    .put_pending_writes(&config, &writes, rule.ttl(ttl))
                    .await?;
            }
        }
        Ok(Fate::Stored)
    }

    /// Whether something is missing; fails if something that exists differs and is not replaced.
    fn is_missing(
        self,
        config: &CheckpointConfig,
        difference: Option<String>,
        found: &[PendingWrite],
        writes: &[PendingWrite],
    ) -> Outcome<bool> {
        match difference {
            Some(difference) if !self.replace => Err(conflict(config, &difference)),
            Some(_) => Ok(true),
            None => Ok(writes
                .iter()
                .any(|write| same_place(found, write).is_none())),
        }
    }
}

/// The stored writes of a checkpoint, which may not exist itself.
async fn stored_writes(
    saver: &RedisSaver,
    config: &CheckpointConfig,
) -> Outcome<Vec<PendingWrite>> {
    if let Some(tuple) = saver.get_tuple(config).await? {
        return Ok(tuple.pending_writes);
    }
    let mut early = saver.early_writes(&config.thread_id);
    while let Some(found) = early.try_next().await? {
        if found.config == *config {
            return Ok(found.writes);
        }
    }
    Ok(Vec::new())
}

/// How an existing checkpoint differs from the imported one.
fn state_difference(found: &CheckpointTuple, tuple: &CheckpointTuple) -> Option<String> {
    let parent = |tuple: &CheckpointTuple| tuple.parent_config.as_ref()?.checkpoint_id.clone();
    let what = if !json_eq(&found.checkpoint.to_json(), &tuple.checkpoint.to_json()) {
        "whose state differs"
    } else if !json_eq(&found.metadata.to_json(), &tuple.metadata.to_json()) {
        "whose metadata differs"
    } else if parent(found) != parent(tuple) {
        "whose parent differs"
    } else {
        return None;
    };
    Some(what.to_owned())
}

/// How existing writes differ from the imported ones; missing ones do not count.
fn difference(found: &[PendingWrite], writes: &[PendingWrite]) -> Option<String> {
    let differs =
        |write: &&PendingWrite| same_place(found, write).is_some_and(|found| found != *write);
    let write = writes.iter().find(differs)?;
    Some(format!(
        "whose write {} of task {} differs",
        write.idx,
        shown(write.task_id.as_str())
    ))
}

fn same_place<'a>(found: &'a [PendingWrite], write: &PendingWrite) -> Option<&'a PendingWrite> {
    found
        .iter()
        .find(|one| one.task_id == write.task_id && one.idx == write.idx)
}

fn conflict(config: &CheckpointConfig, difference: &str) -> Failure {
    let id = config.checkpoint_id.as_ref().map_or("", |id| id.as_str());
    Failure::Conflict(format!(
        "thread {} has a checkpoint {} {difference}: --replace replaces it",
        shown(config.thread_id.as_str()),
        shown(id),
    ))
}
