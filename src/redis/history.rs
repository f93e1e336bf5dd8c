//! `delta_channel_history`: what ancestors wrote to channels.

use std::collections::{BTreeMap, BTreeSet};

use super::args::text;
use super::document::{ReadCheckpoint, parse_writes};
use super::error::is_further;
use super::keys::CheckpointRef;
use super::scripts::HistoryCall;
use super::store::Store;
use super::{read, registry};
use crate::checkpoint::{DeltaChannelHistory, PendingWrite};
use crate::config::CheckpointConfig;
use crate::error::Result;
use crate::id::CheckpointId;

/// How many ancestors are walked in one round trip.
const ANCESTORS: usize = 200;

/// The history of delta channels along the ancestors of a checkpoint.
pub(crate) async fn delta_channel_history(
    store: &Store,
    config: &CheckpointConfig,
    channels: &[String],
) -> Result<BTreeMap<String, DeltaChannelHistory>> {
    let mut histories: BTreeMap<String, DeltaChannelHistory> = channels
        .iter()
        .map(|channel| (channel.clone(), DeltaChannelHistory::default()))
        .collect();
    let namespace = config.namespace();
    let keys = store.keys(&config.thread_id, &namespace);
    let start = config.checkpoint_id.as_ref();
    let mut next = start.map(|id| text(id.as_str()));
    let mut from_parent = true;
    // Parents may form a circle that is larger than what is walked at once.
    let mut seen = BTreeSet::new();
    'walk: loop {
        let missing: Vec<_> = histories
            .iter()
            .filter(|(_, history)| history.seed.is_none())
            .map(|(channel, _)| channel.clone())
            .collect();
        if missing.is_empty() {
            break;
        }
        let call = HistoryCall {
            keys: keys.clone(),
            start: next.clone(),
            from_parent,
            max: ANCESTORS,
            channels: missing,
        };
        let reply = match read::confirmed(store, "delta_channel_history", call).await {
            Err(error) if is_further(&error) => {
                registry::forget_gone_heads(store, &keys).await?;
                continue;
            }
            reply => reply?,
        };
        next = reply.next;
        from_parent = false;
        for ancestor in reply.ancestors {
            let id = CheckpointId::from_bytes(&ancestor.id)?;
            if !seen.insert(id.clone()) {
                break 'walk;
            }
            let documents = match ancestor.writes {
                Some(documents) => documents,
                None => {
                    read::all_writes(store, "delta_channel_history", &keys, &id)
                        .await?
                        .1
                }
            };
            let identity = CheckpointRef::new(&config.thread_id, &namespace, &id);
            let mut writes = parse_writes(&identity, documents)?;
            writes.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
            collect(&mut histories, &writes);
            if let Some(document) = ancestor.document
                && let Some(read) = ReadCheckpoint::parse(&keys.document(&id), &document)?
            {
                take_seeds(&mut histories, &read)?;
            }
        }
        if next.is_none() {
            break;
        }
    }
    for history in histories.values_mut() {
        history.writes.reverse();
    }
    Ok(histories)
}

/// Adds an ancestor's writes to the channels that still look for a value, newest first.
fn collect(histories: &mut BTreeMap<String, DeltaChannelHistory>, writes: &[PendingWrite]) {
    for write in writes.iter().rev() {
        if let Some(history) = histories.get_mut(&write.channel)
            && history.seed.is_none()
        {
            history.writes.push(write.clone());
        }
    }
}

fn take_seeds(
    histories: &mut BTreeMap<String, DeltaChannelHistory>,
    read: &ReadCheckpoint,
) -> Result<()> {
    let values = read.checkpoint.channel_values()?;
    for (channel, history) in histories {
        if history.seed.is_none()
            && let Some(value) = values.get(channel)
        {
            history.seed = Some(value.clone());
            history.seed_checkpoint = Some(read.checkpoint.clone());
        }
    }
    Ok(())
}
