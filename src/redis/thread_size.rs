//! What a thread takes in Redis' memory, estimated from some of its checkpoints, in a few round
//! trips for any thread.

use super::driver::Command;
use super::memory_usage::Sum;
use super::registry;
use super::scripts::Step;
use super::store::Store;
use crate::diagnostics::ThreadSize;
use crate::error::Result;
use crate::id::{CheckpointId, ThreadId};

/// How many checkpoints of a namespace are asked for their size.
const SAMPLE: u64 = 16;

/// How many namespaces are looked at; the others count as these do.
const NAMESPACES: usize = 32;

/// What the checkpoints of a thread take, without their pending writes: of each namespace those of
/// a sample stand for all.
pub(crate) async fn thread_size(store: &Store, thread: &ThreadId) -> Result<Option<ThreadSize>> {
    let namespaces = registry::namespaces(store, thread).await?;
    let all = namespaces.len();
    let (mut bytes, mut estimated) = (0_u64, all > NAMESPACES);
    for namespace in namespaces.into_iter().take(NAMESPACES) {
        let keys = store.keys(thread, &namespace);
        let card = Command::on("ZCARD", keys.registry.clone());
        let card = store.driver().call("stats", card).await?.as_int();
        let card = card.and_then(|card| u64::try_from(card).ok()).unwrap_or(0);
        if card == 0 {
            continue;
        }
        let sample = card.min(SAMPLE);
        estimated |= sample < card;
        // Evenly over the history, because later states are larger.
        let ranks = (0..sample).map(|position| position * card / sample);
        let ranks = ranks.map(|rank| {
            let rank = rank.to_string();
            let range = Command::on("ZRANGE", keys.registry.clone());
            Step::from(range.arg(rank.clone()).arg(rank))
        });
        let mut documents = Vec::new();
        for reply in store.pipeline("stats", ranks.collect()).await? {
            let found = reply?.into_array().into_iter().next();
            let id = found.and_then(|id| id.as_str().map(CheckpointId::new));
            // What is no id names no document.
            if let Some(Ok(id)) = id {
                documents.push(keys.document(&id));
            }
        }
        let asked = documents.len() as u64;
        let mut sum = Sum::default();
        sum.add(store, documents).await?;
        let Some(measured) = sum.reported() else {
            return Ok(None);
        };
        let mean = measured.checked_div(asked).unwrap_or(0);
        bytes = bytes.saturating_add(mean.saturating_mul(card));
    }
    if all > NAMESPACES {
        bytes = bytes / NAMESPACES as u64 * all as u64;
    }
    Ok(Some(ThreadSize { bytes, estimated }))
}
