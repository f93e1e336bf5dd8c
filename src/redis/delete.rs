//! `delete_thread`: in slices, so that the server is never held up and a repeated call goes on
//! where a failed one stopped.

use std::collections::HashSet;

use bytes::Bytes;

use super::args::{number, text};
use super::driver::Command;
use super::error::is_of_another_type;
use super::keys::{Member, PINNED, stored_namespace};
use super::progress::Counter;
use super::replies::byte_strings;
use super::scripts::{DiscardCall, Step, UnlistCall};
use super::store::Store;
use super::{blobs, registry, remove, unregistered};
use crate::error::Result;
use crate::id::{CheckpointNamespace, ThreadId};
use crate::options::DeleteOptions;

/// How many members or rows are read at once.
const PAGE: usize = 256;

/// Deletes all of a thread that is there when the call begins, in one pass: what is put in the
/// meantime may go or stay, and what is put afterwards stays. Nothing is registered for it, so
/// that it works where there is no memory left.
pub(crate) async fn delete_thread(
    store: &Store,
    thread: &ThreadId,
    options: &DeleteOptions,
) -> Result<()> {
    let mut counter = Counter::new(options.progress.clone());
    let deleted = delete_all(store, thread, &mut counter).await;
    if !deleted.as_ref().is_err_and(is_of_another_type) {
        return deleted;
    }
    discard_damaged(store, thread).await?;
    delete_all(store, thread, &mut counter).await
}

async fn delete_all(store: &Store, thread: &ThreadId, counter: &mut Counter) -> Result<()> {
    // A pin ends with what was pinned.
    let pin = Command::on("SREM", store.keyspace.thread(thread).namespaces()).arg(PINNED);
    store.driver().call("delete_thread", pin).await?;
    let members = registry::scan_members(store, thread).await?;
    let root = store.keys(thread, &CheckpointNamespace::root());
    remove::delete_namespace(store, &root, counter).await?;
    for member in &members {
        match Member::of_bytes(member) {
            Some(Member::Namespace(namespace)) if !namespace.is_root() => {
                let keys = store.keys(thread, &namespace);
                remove::delete_namespace(store, &keys, counter).await?;
            }
            Some(Member::Writes(namespace, id) | Member::Removed(namespace, id)) => {
                let keys = store.keys(thread, &namespace);
                remove::remove(store, &keys, &[id], counter).await?;
            }
            _ => {}
        }
    }
    if !unregistered::delete_indexed(store, thread, counter).await? {
        unregistered::delete_leftovers(store, thread, counter).await?;
    }
    // After the checkpoints that name them.
    for member in &members {
        if let Some(Member::Blobs(namespace)) = Member::of_bytes(member) {
            blobs::delete_blobs(store, thread, &namespace, counter).await?;
        }
    }
    unlist(store, thread, members).await
}

/// Removes those of a thread's keys that hold a value of another type than they should, as no
/// saver makes them: deleting could not go past them.
async fn discard_damaged(store: &Store, thread: &ThreadId) -> Result<()> {
    let namespaces = store.keyspace.thread(thread).namespaces();
    discard(store, vec![(namespaces, "set")]).await?;
    let mut spaces = vec![CheckpointNamespace::root()];
    let mut registries = Vec::new();
    for member in registry::scan_members(store, thread).await? {
        match Member::of_bytes(&member) {
            Some(Member::Namespace(namespace)) if !namespace.is_root() => {
                spaces.push(namespace);
            }
            Some(Member::Writes(namespace, id) | Member::Removed(namespace, id)) => {
                registries.push((store.keys(thread, &namespace).write_registry(&id), "zset"));
            }
            _ => {}
        }
    }
    discard(store, registries).await?;
    for namespace in spaces {
        let keys = store.keys(thread, &namespace);
        let shared = vec![
            (keys.registry.clone(), "zset"),
            (keys.pointer.clone(), "string"),
        ];
        discard(store, shared).await?;
        let greatest = Command::on("ZREVRANGEBYLEX", keys.registry.clone())
            .args(["+", "(", "LIMIT", "0", "1"].map(Bytes::from));
        let greatest = byte_strings(store.driver().call("delete_thread", greatest).await?).pop();
        let end = Bytes::from([b"[", &greatest.unwrap_or_default()[..]].concat());
        let mut after = Bytes::from_static(b"(");
        loop {
            let page = Command::on("ZRANGEBYLEX", keys.registry.clone())
                .arg(after)
                .arg(end.clone())
                .args(["LIMIT", "0"].map(Bytes::from))
                .arg(number(PAGE));
            let ids = byte_strings(store.driver().call("delete_thread", page).await?);
            let Some(last) = ids.last() else { break };
            after = Bytes::from([b"(", &last[..]].concat());
            let registries = ids
                .iter()
                .map(|id| [&keys.write_registries[..], id].concat());
            let registries = registries.map(|key| (Bytes::from(key), "zset"));
            discard(store, registries.collect()).await?;
        }
    }
    Ok(())
}

/// Removes those of some keys that are not of the type that they should be of.
async fn discard(store: &Store, keys: Vec<(Bytes, &'static str)>) -> Result<()> {
    for page in keys.chunks(PAGE) {
        let steps = page.iter().map(|(key, wanted)| {
            Step::from(DiscardCall {
                key: key.clone(),
                wanted,
            })
        });
        for reply in store.pipeline("delete_thread", steps.collect()).await? {
            reply?;
        }
    }
    Ok(())
}

/// Takes those of some members out of a thread's set of namespaces that stand for nothing more.
async fn unlist(store: &Store, thread: &ThreadId, members: Vec<Bytes>) -> Result<()> {
    let namespaces = store.keyspace.thread(thread).namespaces();
    let is_large = members.len() > PAGE;
    // Marks first, so that it is known which namespaces are there for writes alone.
    let (marks, spaces): (Vec<_>, Vec<_>) = members
        .into_iter()
        .partition(|member| member.first() == Some(&0));
    unlist_all(store, thread, &namespaces, marks).await?;
    if !is_large {
        return unlist_all(store, thread, &namespaces, spaces).await;
    }
    let mut awaited = HashSet::new();
    for member in registry::scan_members(store, thread).await? {
        if let Some(Member::Writes(namespace, _) | Member::Removed(namespace, _)) =
            Member::of_bytes(&member)
        {
            awaited.insert(text(stored_namespace(&namespace)));
        }
    }
    let spaces = spaces
        .into_iter()
        .filter(|member| !awaited.contains(member));
    unlist_all(store, thread, &namespaces, spaces.collect()).await
}

async fn unlist_all(
    store: &Store,
    thread: &ThreadId,
    namespaces: &Bytes,
    members: Vec<Bytes>,
) -> Result<()> {
    for page in members.chunks(PAGE) {
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for member in page {
            let key = match Member::of_bytes(member) {
                Some(Member::Namespace(namespace)) => store.keys(thread, &namespace).registry,
                Some(Member::Writes(namespace, id) | Member::Removed(namespace, id)) => {
                    store.keys(thread, &namespace).write_registry(&id)
                }
                Some(Member::Blobs(namespace)) => store.keyspace.blobs(thread, &namespace).registry,
                Some(Member::Pinned) => continue,
                // Nothing of ours, so it stands for nothing.
                None => {
                    unknown.push(member.clone());
                    continue;
                }
            };
            known.push((member.clone(), key));
        }
        if !unknown.is_empty() {
            let srem = Command::on("SREM", namespaces.clone()).args(unknown);
            store.driver().call("delete_thread", srem).await?;
        }
        if !known.is_empty() {
            let call = UnlistCall {
                namespaces: namespaces.clone(),
                members: known,
            };
            store.script("delete_thread", call).await?;
        }
    }
    Ok(())
}
