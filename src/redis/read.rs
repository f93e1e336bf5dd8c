//! `get_tuple`: one round trip.
//!
//! A small document comes out of the script that finds it. A large one costs a script three times
//! what it costs a plain command, so where its id is known it is read by `JSON.GET` in the same
//! pipeline: the id that was asked for, or the newest that this saver wrote or read last, which the
//! script then checks. If another is the newest by now, the script gives that one. Where a thread's
//! keys are in several slots, everything is read without scripts over several keys.

use std::time::Duration;

use bytes::Bytes;

use super::document::{ReadCheckpoint, parse_writes};
use super::driver::Command;
use super::error::{is_further, is_lost_write, of_key};
use super::keys::{CheckpointRef, NamespaceKeys};
use super::scripts::{Call, ReadCall, ReadReply, Step, ThreadTtl, TtlVerb, WritesPageCall};
use super::store::{SMALL, Store};
use super::{registry, thread_ttl, ttl};
use crate::checkpoint::{CheckpointTuple, PendingWrite};
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::TtlScope;

/// How often the writes of a checkpoint are read while others come in between.
const PASSES: usize = 8;

/// How long what seems lost is waited for.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(10),
    Duration::from_millis(40),
    Duration::from_millis(160),
];

/// What a script found.
enum Found {
    /// A checkpoint: its id, its document unless that is read apart, its writes; `None` if they are
    /// too many for one reply.
    Checkpoint(CheckpointId, Option<Bytes>, Option<Vec<Bytes>>),
    /// There is none.
    Absent,
    /// There is none that the registry knows, but another saver may have written some.
    Unknown,
}

/// Reads a checkpoint, or the newest of a namespace.
pub(crate) async fn get_tuple(
    store: &Store,
    config: &CheckpointConfig,
) -> Result<Option<CheckpointTuple>> {
    let namespace = config.namespace();
    let keys = store.keys(&config.thread_id, &namespace);
    if let Some(id) = &config.checkpoint_id {
        return Box::pin(read_known(store, &config.thread_id, &namespace, &keys, id)).await;
    }
    let remembered = store
        .remembered(&keys)
        .filter(|newest| newest.bytes >= SMALL && !is_non_atomic(store, &keys));
    let (found, document) = if let Some(newest) = remembered {
        let (found, document) = Box::pin(read_beside(
            store,
            &config.thread_id,
            &keys,
            None,
            &newest.id,
        ))
        .await?;
        (found, document.map(|document| (newest.id, document)))
    } else {
        let found = read_script(store, &config.thread_id, &keys, None).await?;
        (found, None)
    };
    match found {
        Found::Absent => {
            store.forget(&keys);
            Ok(None)
        }
        Found::Unknown => Box::pin(read_unknown(store, &config.thread_id, &namespace, &keys)).await,
        Found::Checkpoint(id, in_reply, writes) => {
            let is_apart = in_reply.is_none();
            let document = match (in_reply, document) {
                (Some(document), _) => document,
                (None, Some((guess, document))) if guess == id => document,
                // The document that was read apart is gone, whatever the pointer says. With
                // nothing remembered the script itself finds the newest that is there.
                _ => {
                    store.forget(&keys);
                    return Box::pin(get_tuple(store, config)).await;
                }
            };
            let identity = CheckpointRef::new(&config.thread_id, &namespace, &id);
            let read = assemble(store, &keys, &identity, &document, writes, is_apart).await?;
            match read {
                Some(tuple) => {
                    store.remember(&keys, id, document.len());
                    Ok(Some(tuple))
                }
                None => Box::pin(read_unknown(store, &config.thread_id, &namespace, &keys)).await,
            }
        }
    }
}

/// Reads a checkpoint whose id is known.
pub(super) async fn read_known(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    keys: &NamespaceKeys,
    id: &CheckpointId,
) -> Result<Option<CheckpointTuple>> {
    let (found, document) = if is_non_atomic(store, keys) {
        (read_script(store, thread, keys, Some(id)).await?, None)
    } else {
        read_beside(store, thread, keys, Some(id), id).await?
    };
    let Found::Checkpoint(_, in_reply, writes) = found else {
        return Ok(None);
    };
    let is_apart = in_reply.is_none();
    let Some(document) = document.or(in_reply) else {
        return Ok(None);
    };
    let identity = CheckpointRef::new(thread, namespace, id);
    assemble(store, keys, &identity, &document, writes, is_apart).await
}

/// Makes a tuple of a document and writes, or `None` if they are another checkpoint's. A document
/// that was read apart from them may have been removed in between.
async fn assemble(
    store: &Store,
    keys: &NamespaceKeys,
    identity: &CheckpointRef,
    document: &Bytes,
    writes: Option<Vec<Bytes>>,
    is_apart: bool,
) -> Result<Option<CheckpointTuple>> {
    let id = &identity.checkpoint_id;
    let Some(read) = ReadCheckpoint::parse(&keys.document(id), document)? else {
        return Ok(None);
    };
    if read.identity != *identity {
        return Ok(None);
    }
    let writes = match writes {
        Some(writes) if writes.is_empty() && read.has_writes && is_apart => {
            let read = Box::pin(read_script(store, &identity.thread_id, keys, Some(id)));
            let Found::Checkpoint(_, _, writes) = read.await? else {
                return Ok(None);
            };
            writes
        }
        writes => writes,
    };
    let writes = if let Some(writes) = writes {
        writes
    } else {
        let (is_there, writes) = Box::pin(all_writes(store, "get_tuple", keys, id)).await?;
        if !is_there {
            return Ok(None);
        }
        if let Some(ttl) = refreshed(store) {
            let ids = std::slice::from_ref(id);
            Box::pin(ttl::change_ttl_of(
                store,
                keys,
                ids,
                Some(ttl),
                TtlVerb::Read,
            ))
            .await?;
        }
        writes
    };
    Ok(Some(read.with_writes(parse_writes(identity, writes)?)))
}

/// The writes of a checkpoint, in as many steps as they need, and whether its document is there.
pub(super) async fn all_writes(
    store: &Store,
    operation: &'static str,
    keys: &NamespaceKeys,
    id: &CheckpointId,
) -> Result<(bool, Vec<Bytes>)> {
    let document = keys.document(id);
    let registries = keys.write_registries_of(id);
    for _ in 0..PASSES {
        let (mut is_there, mut is_same, mut found) = (true, true, Vec::new());
        for registry in &registries {
            let mut first = None;
            let mut skip = Some(0);
            while let Some(skipped) = skip {
                let call = WritesPageCall {
                    registry: registry.clone(),
                    document: document.clone(),
                    prefix: keys.writes_of(id),
                    skip: skipped,
                };
                let page = confirmed(store, operation, call).await?;
                is_there &= page.has_document;
                is_same &= *first.get_or_insert(page.registered) == page.registered;
                found.extend(page.documents);
                skip = page.next.filter(|next| *next > skipped);
            }
        }
        // Writes that come in between move the others from one page to another.
        if is_same {
            return Ok((is_there, found));
        }
    }
    Err(Error::Unavailable {
        reason: format!("the writes of checkpoint {id} change all the time"),
        source: None,
    })
}

/// The writes of a checkpoint that may have no document.
pub(super) async fn writes_of(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    id: &CheckpointId,
) -> Result<Vec<PendingWrite>> {
    let keys = store.keys(thread, namespace);
    let (_, documents) = all_writes(store, "copy_thread", &keys, id).await?;
    parse_writes(&CheckpointRef::new(thread, namespace, id), documents)
}

/// Runs a script that reads; what it says is lost is looked at again, because a thread
/// in several slots, and one that another saver deletes, is deleted key by key.
pub(super) async fn confirmed<C: Call + Clone>(
    store: &Store,
    operation: &'static str,
    call: C,
) -> Result<C::Reply> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let reply = store.script(operation, call.clone()).await;
        match (&reply, pauses.next()) {
            (Err(error), Some(pause)) if is_lost_write(error) => {
                Box::pin(tokio::time::sleep(pause)).await;
            }
            _ => return reply,
        }
    }
}

/// The TTL that reading gives to what is read, if any.
fn refreshed(store: &Store) -> Option<Duration> {
    let ttl = &store.settings.ttl;
    let refresh = ttl.default.filter(|_| ttl.refresh_on_read);
    // With the scope `thread` the whole thread gets its TTL.
    store.key_ttl(refresh.filter(|_| store.settings.ttl_scope() == TtlScope::Checkpoint))
}

/// Reads the newest checkpoint when the pointer and the registry do not name it: from what the
/// index knows, and from the registry without the pointer, which may name a checkpoint of
/// another thread.
async fn read_unknown(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    keys: &NamespaceKeys,
) -> Result<Option<CheckpointTuple>> {
    registry::reconcile(store, thread).await?;
    let mut before = None;
    loop {
        let (_, ids) =
            registry::page(store, keys, before.as_ref(), store.settings.page_size).await?;
        for id in &ids {
            if let Some(tuple) = read_known(store, thread, namespace, keys, id).await? {
                return Ok(Some(tuple));
            }
        }
        match ids.into_iter().next_back() {
            Some(last) => before = Some(last),
            None => return Ok(None),
        }
    }
}

/// Whether a namespace's checkpoints are read across slots.
fn is_non_atomic(store: &Store, keys: &NamespaceKeys) -> bool {
    store.session.are_in_several_slots(&[
        keys.pointer.clone(),
        keys.registry.clone(),
        keys.namespaces.clone(),
    ])
}

/// One script that finds a checkpoint, or the newest, and gives all of it.
async fn read_script(
    store: &Store,
    thread: &ThreadId,
    keys: &NamespaceKeys,
    id: Option<&CheckpointId>,
) -> Result<Found> {
    let reply = loop {
        let call = read_call(store, keys, id, None);
        match confirmed(store, "get_tuple", call).await {
            Err(error) if is_further(&error) => {
                Box::pin(registry::forget_gone_heads(store, keys)).await?;
            }
            reply => break reply?,
        }
    };
    let (found, refresh_due) = found(keys, reply)?;
    thread_ttl::refresh(store, thread, store.settings.ttl.default, refresh_due).await;
    Ok(found)
}

/// One pipeline: the document of `guess`, and a script for everything else.
async fn read_beside(
    store: &Store,
    thread: &ThreadId,
    keys: &NamespaceKeys,
    id: Option<&CheckpointId>,
    guess: &CheckpointId,
) -> Result<(Found, Option<Bytes>)> {
    let key = keys.document(guess);
    // The document comes last: if it is there, the script has seen all of it.
    let steps: Vec<Step> = vec![
        read_call(store, keys, id, Some(guess)).into(),
        Command::on("JSON.GET", key.clone()).into(),
    ];
    let mut replies = store.pipeline("get_tuple", steps).await?.into_iter();
    let rest = match replies.next().unwrap_or(Err(Error::Closed)) {
        // The script alone finds out more.
        Err(error) if is_further(&error) || is_lost_write(&error) => {
            return Ok((Box::pin(read_script(store, thread, keys, id)).await?, None));
        }
        rest => rest?,
    };
    let document = replies.next().unwrap_or(Err(Error::Closed));
    let document = document.map_err(|error| of_key(&key, error))?.into_bytes();
    let (found, refresh_due) = found(keys, rest.into())?;
    thread_ttl::refresh(store, thread, store.settings.ttl.default, refresh_due).await;
    Ok((found, document))
}

fn read_call(
    store: &Store,
    keys: &NamespaceKeys,
    id: Option<&CheckpointId>,
    read_apart: Option<&CheckpointId>,
) -> ReadCall {
    let ttl = &store.settings.ttl;
    let refresh = ttl.default.filter(|_| ttl.refresh_on_read);
    ReadCall {
        keys: keys.clone(),
        id: id.cloned(),
        without_document_of: read_apart.cloned(),
        ttl: store.key_ttl(refresh),
        thread_ttl: match refresh {
            Some(_) => store.thread_ttl(refresh),
            None => ThreadTtl::PerCheckpoint,
        },
    }
}

/// What a script found, and whether the thread's TTL must be refreshed.
fn found(keys: &NamespaceKeys, reply: ReadReply) -> Result<(Found, bool)> {
    let found = match reply {
        ReadReply::Absent => return Ok((Found::Absent, false)),
        ReadReply::Unknown => return Ok((Found::Unknown, false)),
        ReadReply::Found(found) => found,
    };
    let id = CheckpointId::from_bytes(&found.id).map_err(|error| {
        Error::corrupt(String::from_utf8_lossy(&keys.pointer), error.to_string())
    })?;
    let checkpoint = Found::Checkpoint(id, found.document, found.writes);
    Ok((checkpoint, found.refresh_due))
}
