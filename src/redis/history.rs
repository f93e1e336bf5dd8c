//! `delta_channel_history`: what ancestors wrote to channels.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::args::{number, text};
use super::document::{ReadCheckpoint, parse_writes};
use super::error::is_further;
use super::keys::CheckpointRef;
use super::store::Store;
use super::{read, registry, scripts};
use crate::checkpoint::{DeltaChannelHistory, PendingWrite};
use crate::codec::RawJson;
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
    let mut next = text(
        config
            .checkpoint_id
            .as_ref()
            .map_or("", CheckpointId::as_str),
    );
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
        let call = scripts::HISTORY.call(
            vec![keys.pointer.clone(), keys.registry.clone()],
            vec![
                next.clone(),
                keys.documents.clone(),
                keys.write_registries.clone(),
                keys.writes.clone(),
                number(ANCESTORS),
                Bytes::from_static(if from_parent { b"1" } else { b"0" }),
                RawJson::encode(&missing)?.bytes().clone(),
            ],
        );
        let reply = match read::confirmed(store, "delta_channel_history", call).await {
            Err(error) if is_further(&error) => {
                registry::forget_gone_heads(store, &keys).await?;
                continue;
            }
            reply => reply?,
        };
        let mut reply = reply.into_array().into_iter();
        next = reply
            .next()
            .and_then(super::driver::Reply::into_bytes)
            .unwrap_or_default();
        from_parent = false;
        for ancestor in reply {
            let mut parts = ancestor.into_array().into_iter();
            let mut bytes = || parts.next().and_then(super::driver::Reply::into_bytes);
            let id = CheckpointId::from_bytes(&bytes().unwrap_or_default())?;
            if !seen.insert(id.clone()) {
                break 'walk;
            }
            let document = bytes().unwrap_or_default();
            let has_more = parts.next().and_then(|more| more.as_int()) == Some(1);
            let documents: Vec<_> = if has_more {
                read::all_writes(store, "delta_channel_history", &keys, &id)
                    .await?
                    .1
            } else {
                parts.filter_map(super::driver::Reply::into_bytes).collect()
            };
            let identity = CheckpointRef::new(&config.thread_id, &namespace, &id);
            let mut writes = parse_writes(&identity, documents)?;
            writes.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
            collect(&mut histories, &writes);
            if !document.is_empty()
                && let Some(read) = ReadCheckpoint::parse(&keys.document(&id), &document)?
            {
                take_seeds(&mut histories, &read)?;
            }
        }
        if next.is_empty() {
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
