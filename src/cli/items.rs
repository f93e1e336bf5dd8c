//! Reads all of a thread, for `export` and `migrate`.
//!
//! Its checkpoints by namespace, oldest first, each after the blobs that it names, then the writes
//! without a checkpoint. Memory is bounded by a page of checkpoints.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt};

use super::failure::Outcome;
use super::record::Item;
use crate::RedisSaver;
use crate::id::ThreadId;
use crate::redis::{TimedCheckpoint, newly_named};

/// How many checkpoints are held in memory.
const PAGE: usize = 32;
/// How many blobs are held in memory; they may be large.
const BLOBS: usize = 16;

/// Takes the items of a thread, one after the other.
pub(crate) trait TakeItems {
    async fn take(&mut self, item: Item) -> Outcome;
}

/// Reads the items of a thread.
pub(crate) async fn read_thread(
    saver: &RedisSaver,
    thread_id: &ThreadId,
    taker: &mut impl TakeItems,
) -> Outcome {
    for namespace in saver.namespaces(thread_id).await? {
        let checkpoints = saver.oldest_first(thread_id, &namespace);
        let mut pages = checkpoints.ready_chunks(PAGE);
        let mut named = HashSet::new();
        while let Some(page) = pages.next().await {
            let page: Vec<TimedCheckpoint> = page.into_iter().collect::<Result<_, _>>()?;
            // After the checkpoints were read, so that the blobs that they name exist even if the
            // thread is written to, and before they are taken, so that they are stored first.
            if saver.has_blobs(thread_id, &namespace).await? {
                let tuples = page.iter().map(|one| &one.tuple.checkpoint);
                for few in newly_named(tuples, &mut named).chunks(BLOBS) {
                    for blob in saver.timed_blobs(thread_id, &namespace, few).await? {
                        taker.take(Item::Blob(Box::new(blob))).await?;
                    }
                }
            }
            for checkpoint in page {
                taker.take(Item::Checkpoint(Box::new(checkpoint))).await?;
            }
        }
    }
    let mut early = saver.early_writes(thread_id);
    while let Some(writes) = early.try_next().await? {
        taker.take(Item::Writes(writes)).await?;
    }
    Ok(())
}
