//! `delta_channel_history`: what ancestors wrote to channels.

use std::collections::{BTreeMap, BTreeSet};

use super::Compact;
use super::place;
use super::read::{ReadHead, WRITES, damaged, whole_writes};
use super::scripts::HistoryCall;
use crate::checkpoint::{DeltaChannelHistory, PendingWrite};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::CheckpointId;
use crate::redis::compact::{Damage, Digest, Reader};

/// How many ancestors are read in one round trip: few at first, as a value is often near.
const ANCESTORS: (usize, usize) = (8, 128);

/// How often it is read again when something was removed while it was read.
const ATTEMPTS: usize = 3;

type Histories = BTreeMap<String, DeltaChannelHistory>;

/// The history of delta channels along the ancestors of a checkpoint.
pub(super) async fn delta_channel_history(
    layout: &Compact,
    config: &CheckpointConfig,
    channels: &[String],
) -> Result<Histories> {
    let mut gone = Gone::Writes;
    for _ in 0..ATTEMPTS {
        match walk(layout, config, channels).await? {
            Ok(histories) => return Ok(histories),
            Err(what) => gone = what,
        }
    }
    let keys = layout.store.keyspace.compact(&config.thread_id);
    Err(match gone {
        Gone::Part(digest) => Damage::Absent(digest).at(String::from_utf8_lossy(&keys.parts)),
        Gone::Writes => Error::Unavailable {
            reason: format!(
                "an ancestor of the checkpoint is removed and put again while it is read, in {ATTEMPTS} attempts"
            ),
            source: None,
        },
    })
}

/// What ends a walk: it was removed since what names it was read, or is not there for good.
enum Gone {
    Part(Digest),
    /// Those of a checkpoint that have not been read yet.
    Writes,
}

/// One walk.
async fn walk(
    layout: &Compact,
    config: &CheckpointConfig,
    channels: &[String],
) -> Result<Result<Histories, Gone>> {
    let mut histories: Histories = channels
        .iter()
        .map(|channel| (channel.clone(), DeltaChannelHistory::default()))
        .collect();
    let namespace = config.namespace();
    let (thread_id, store) = (&config.thread_id, &layout.store);
    let keys = store.keyspace.compact(thread_id);
    let codec = layout.codec.of_thread(thread_id);
    let start = config
        .checkpoint_id
        .as_ref()
        .map(|id| place::id(id.as_str()));
    let mut next = start.unwrap_or_default();
    let (mut from_parent, mut most) = (true, ANCESTORS.0);
    // Parents may form a circle that is larger than what is walked at once.
    let mut seen = BTreeSet::<CheckpointId>::new();
    'walk: while histories.values().any(|history| history.seed.is_none()) {
        let call = HistoryCall {
            namespace: &namespace,
            start: next,
            from_parent,
            most,
            most_writes: WRITES,
        };
        let (further, ancestors) = call.run(store, &keys).await?;
        for stored in ancestors {
            let last = stored
                .has_more_writes
                .then(|| stored.writes.last().cloned());
            let mut reader = Reader::new(&codec);
            let mut read = layout.read_head(thread_id, &namespace, &stored, &mut reader)?;
            if !seen.insert(read.at.checkpoint_id.clone()) {
                break 'walk;
            }
            if let Some(last) = last {
                let rest = layout.rest_of_writes("delta_channel_history", &read.at, last);
                match rest.await? {
                    Some(rest) => read.writes.extend(rest),
                    None => return Ok(Err(Gone::Writes)),
                }
            }
            if let Err(absent) = take(layout, &mut histories, read, &mut reader).await? {
                return Ok(Err(Gone::Part(absent)));
            }
        }
        next = further;
        if next.is_empty() {
            break;
        }
        from_parent = false;
        most = (most * 4).min(ANCESTORS.1);
    }
    for history in histories.values_mut() {
        history.writes.reverse();
    }
    Ok(Ok(histories))
}

/// Takes what an ancestor adds to the channels that still look for a value.
async fn take(
    layout: &Compact,
    histories: &mut Histories,
    mut read: ReadHead,
    reader: &mut Reader<'_>,
) -> Result<Result<(), Digest>> {
    let looks = |channel: &str| {
        let history = histories.get(channel);
        history.is_some_and(|history| history.seed.is_none())
    };
    read.writes.retain(|write| looks(&write.record.channel));
    let thread = &read.at.thread_id;
    let keys = layout.store.keyspace.compact(thread);
    let of_writes = read.writes.iter().flat_map(|write| write.record.ropes());
    let ropes: Vec<_> = read.head.outline_ropes().chain(of_writes).collect();
    let operation = "delta_channel_history";
    let fetched = layout.fetch(operation, thread, reader, &ropes);
    if let Some(absent) = fetched.await? {
        return Ok(Err(absent));
    }
    let outline = reader.outline(&read.at.checkpoint_id, &read.head);
    let (outline, _) = outline.map_err(|damage| damaged(&keys, &read.at, damage))?;
    let values = outline.channel_values()?;
    let has_seed = values.iter().any(|(channel, _)| looks(channel));
    let writes = whole_writes(&keys, &read.at, &read.writes, reader)?;
    collect(histories, &writes);
    if !has_seed {
        return Ok(Ok(()));
    }
    let ropes: Vec<_> = read.head.ropes().collect();
    let fetched = layout.fetch(operation, thread, reader, &ropes);
    if let Some(absent) = fetched.await? {
        return Ok(Err(absent));
    }
    let whole = reader.checkpoint(&read.at.checkpoint_id, &read.head);
    let (checkpoint, _) = whole.map_err(|damage| damaged(&keys, &read.at, damage))?;
    let values = checkpoint.channel_values()?;
    for (channel, history) in histories {
        if history.seed.is_none()
            && let Some(value) = values.get(channel)
        {
            history.seed = Some(value.clone());
            history.seed_checkpoint = Some(checkpoint.clone());
        }
    }
    Ok(Ok(()))
}

/// Adds an ancestor's writes to the channels, newest first.
fn collect(histories: &mut Histories, writes: &[PendingWrite]) {
    for write in writes.iter().rev() {
        if let Some(history) = histories.get_mut(&write.channel) {
            history.writes.push(write.clone());
        }
    }
}
