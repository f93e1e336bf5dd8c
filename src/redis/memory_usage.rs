//! What keys take in Redis' memory, as the server reports it.

use bytes::Bytes;

use super::blobs::Pages;
use super::driver::Command;
use super::registry;
use super::replies::byte_strings;
use super::scripts::Step;
use super::store::Store;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};

/// How many keys are asked for in one pipeline.
const PIPELINE: usize = 100;

/// What a thread takes in the JSON layout: its checkpoints, pending writes and blobs, with what
/// leads to them; 0 if it is not there. `None` if the user may not ask. Indexes are not counted.
pub(crate) async fn of_thread(store: &Store, thread: &ThreadId) -> Result<Option<u64>> {
    let mut sum = Sum::default();
    sum.add(store, vec![store.keyspace.thread(thread).namespaces()])
        .await?;
    for namespace in registry::namespaces(store, thread).await? {
        let keys = store.keys(thread, &namespace);
        sum.add(store, vec![keys.registry.clone(), keys.pointer.clone()])
            .await?;
        let mut before = None;
        loop {
            let (_, ids) = registry::page(store, &keys, before.as_ref(), PIPELINE).await?;
            if ids.is_empty() {
                break;
            }
            let documents = ids.iter().map(|id| keys.document(id));
            sum.add(store, documents.collect()).await?;
            sum.add(store, writes(store, thread, &namespace, &ids).await?)
                .await?;
            before = ids.into_iter().next_back();
        }
    }
    for namespace in registry::namespaces_with_blobs(store, thread).await? {
        let keys = store.keyspace.blobs(thread, &namespace);
        sum.add(store, vec![keys.registry.clone()]).await?;
        let mut pages = Pages::new(&keys);
        while let Some(page) = pages.next(store).await? {
            let blobs = page.iter().map(|member| keys.of_member(member));
            sum.add(store, blobs.collect()).await?;
        }
    }
    Ok(sum.reported())
}

/// The keys of the writes of checkpoints, and of the registries that name them.
async fn writes(
    store: &Store,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    ids: &[CheckpointId],
) -> Result<Vec<Bytes>> {
    let keys = store.keys(thread, namespace);
    let registries: Vec<(Bytes, Bytes)> = ids
        .iter()
        .flat_map(|id| {
            let own = keys.writes_of(id);
            let registries = keys.write_registries_of(id).into_iter();
            registries.map(move |registry| (registry, own.clone()))
        })
        .collect();
    let steps = registries.iter().map(|(registry, _)| {
        let range = Command::on("ZRANGE", registry.clone());
        Step::from(range.arg("0").arg("-1"))
    });
    let replies = store.pipeline("stats", steps.collect()).await?;
    let mut found = Vec::new();
    for ((registry, own), reply) in registries.into_iter().zip(replies) {
        let members = match reply {
            // A key of another type has no writes.
            Err(Error::WrongType { .. }) => continue,
            reply => byte_strings(reply?),
        };
        if members.is_empty() {
            continue;
        }
        // A registry that is shared names the writes of others, too.
        found.extend(members.into_iter().filter(|key| key.starts_with(&own)));
        found.push(registry);
    }
    Ok(found)
}

/// What keys take together.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    bytes: u64,
    is_unknown: bool,
}

impl Sum {
    /// Adds what keys take; one that is not there takes nothing.
    pub(crate) async fn add(&mut self, store: &Store, keys: Vec<Bytes>) -> Result<()> {
        for slice in keys.chunks(PIPELINE) {
            if self.is_unknown {
                return Ok(());
            }
            let steps = slice
                .iter()
                .map(|key| Command::memory_usage(key.clone()).into());
            for reply in store.pipeline("stats", steps.collect()).await? {
                match reply {
                    Err(Error::Permission { .. } | Error::Server { .. }) => self.is_unknown = true,
                    reply => {
                        let bytes = reply?.as_int().unwrap_or(0);
                        self.bytes += u64::try_from(bytes).unwrap_or(0);
                    }
                }
            }
        }
        Ok(())
    }

    /// The bytes, unless the user may not ask.
    pub(crate) fn reported(&self) -> Option<u64> {
        (!self.is_unknown).then_some(self.bytes)
    }
}
