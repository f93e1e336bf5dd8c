//! Which checkpoints there are in shallow mode, and pages of them.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::place::Place;
use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::ListOptions;
use crate::redis::driver::Command;
use crate::redis::error::is_lost_write;
use crate::redis::keys::{CheckpointRef, Member};
use crate::redis::list::{Ids, Layout, Listed, newest_first};
use crate::redis::replies::time_left;
use crate::redis::scan::Scan;
use crate::redis::scripts::Step;
use crate::redis::store::Store;
use crate::redis::threads::ThreadLayout;
use crate::redis::{index, names, registry};
use crate::saver::ThreadSummary;

/// One checkpoint a namespace, which the set of namespaces names.
pub(crate) struct Shallow;

impl Layout for Shallow {
    async fn checkpoints(
        store: &Store,
        config: &CheckpointConfig,
        options: &ListOptions,
    ) -> Result<Ids> {
        let found = checkpoints(store, config).await?;
        Ok(Ids::Named(newest_first(found, options)))
    }

    async fn every_checkpoint(store: &Store, within: &str, options: &ListOptions) -> Result<Ids> {
        let mut found = every_checkpoint(store).await?;
        found.retain(|one| one.thread_id.as_str().starts_with(within));
        Ok(Ids::Named(newest_first(found, options)))
    }

    async fn checkpoints_at(store: &Store, keys: &[Bytes]) -> Result<Vec<CheckpointRef>> {
        checkpoints_at(store, keys).await
    }

    async fn read_page(
        store: &Store,
        page: Vec<Listed>,
        options: &ListOptions,
        of_all: bool,
    ) -> Result<VecDeque<CheckpointTuple>> {
        let page = page.into_iter().map(|one| one.identity).collect();
        read_page(store, page, options, of_all).await
    }
}

impl ThreadLayout for Shallow {
    async fn every_thread(store: &Store, _prefix: &str) -> Result<BTreeSet<ThreadId>> {
        let found = every_checkpoint(store).await?;
        Ok(found.into_iter().map(|one| one.thread_id).collect())
    }

    async fn summary(store: &Store, thread_id: ThreadId) -> Result<Option<ThreadSummary>> {
        summary(store, thread_id).await
    }
}

/// Reads a page of checkpoints in one pipeline, leaving out what has changed since, and in a list
/// of all threads those whose keys do not share a slot.
async fn read_page(
    store: &Store,
    page: Vec<CheckpointRef>,
    options: &ListOptions,
    of_all: bool,
) -> Result<VecDeque<CheckpointTuple>> {
    let mut wanted: Vec<(Place, CheckpointId)> = Vec::with_capacity(page.len());
    for (position, one) in page.iter().enumerate() {
        // A full saver under the same prefix may have a document of the same name.
        if !page[..position].contains(one) {
            let place = Place::new(store, &one.thread_id, &one.namespace);
            wanted.push((place, one.checkpoint_id.clone()));
        }
    }
    let steps = wanted
        .iter()
        .map(|(place, id)| Step::from(place.read(id)))
        .collect();
    let mut tuples = VecDeque::with_capacity(wanted.len());
    for ((place, id), reply) in wanted.iter().zip(store.pipeline("list", steps).await?) {
        let tuple = match reply {
            // A checkpoint of a full saver has a name that is none here.
            Err(Error::WrongType { .. }) => None,
            Err(error @ Error::InvalidInput { .. }) if of_all => {
                let key = String::from_utf8_lossy(&place.keys.document);
                tracing::warn!(%key, error = %error.report(), "a list of all threads leaves a checkpoint out");
                None
            }
            // What seems to be lost is looked at again.
            Err(error) if is_lost_write(&error) => place.get(store, "list", Some(id), None).await?,
            reply => place.first_page(store, id, reply?).await?,
        };
        tuples.extend(
            tuple.filter(|tuple| options.filter.matches_in(&place.thread_id, &tuple.metadata)),
        );
    }
    Ok(tuples)
}

/// The checkpoints that a config names.
async fn checkpoints(store: &Store, config: &CheckpointConfig) -> Result<Vec<CheckpointRef>> {
    let thread = &config.thread_id;
    let places = match &config.checkpoint_ns {
        Some(namespace) => vec![Place::new(store, thread, namespace)],
        None => places(store, thread).await?,
    };
    let keys: Vec<_> = places
        .into_iter()
        .map(|place| place.keys.document)
        .collect();
    let mut found = checkpoints_at(store, &keys).await?;
    found.retain(|one| {
        let wanted = config.checkpoint_id.as_ref();
        one.thread_id == *thread && wanted.is_none_or(|id| one.checkpoint_id == *id)
    });
    Ok(found)
}

/// Every checkpoint there is, found by a scan: for a server whose search cannot answer.
pub(super) async fn every_checkpoint(store: &Store) -> Result<Vec<CheckpointRef>> {
    let family = store.keyspace.document_family();
    let keys = Scan::starting("scan", &family).all(store).await?;
    checkpoints_at(store, &keys).await
}

/// What a thread holds; `None` if it has no checkpoint.
async fn summary(store: &Store, thread_id: ThreadId) -> Result<Option<ThreadSummary>> {
    let config = CheckpointConfig::of_thread(thread_id.clone());
    let found = checkpoints(store, &config).await?;
    let newest = found
        .iter()
        .max_by_key(|one| (one.namespace.is_root(), &one.checkpoint_id, &one.namespace));
    let Some(newest) = newest else {
        return Ok(None);
    };
    let key = Place::new(store, &thread_id, &newest.namespace)
        .keys
        .document;
    let left = store
        .driver()
        .call("threads", Command::on("PTTL", key))
        .await?;
    Ok(Some(ThreadSummary::new(
        thread_id,
        found.len() as u64,
        Some(newest.checkpoint_id.clone()),
        time_left(&left),
    )))
}

/// The places of a thread: the root, and the namespaces that its set or the index knows.
pub(super) async fn places(store: &Store, thread: &ThreadId) -> Result<Vec<Place>> {
    let mut namespaces = known_namespaces(store, thread).await?;
    namespaces.insert(CheckpointNamespace::root());
    Ok(namespaces
        .iter()
        .map(|namespace| Place::new(store, thread, namespace))
        .collect())
}

/// The namespaces of a thread in which there is a checkpoint or a write of any saver.
pub(super) async fn known_namespaces(
    store: &Store,
    thread: &ThreadId,
) -> Result<BTreeSet<CheckpointNamespace>> {
    let mut namespaces = BTreeSet::new();
    for member in registry::members(store, thread).await? {
        if let Member::Namespace(namespace) = member {
            namespaces.insert(namespace);
        }
    }
    let found = index::indexed_checkpoints(store, thread).await?;
    let found = found.into_iter().flatten();
    namespaces.extend(found.map(|one| one.namespace));
    let of_writes = index::namespaces_of_writes(store, thread).await?;
    namespaces.extend(of_writes.into_iter().flatten());
    Ok(namespaces)
}

/// The checkpoints of shallow mode among documents: those whose names make up their key.
pub(super) async fn checkpoints_at(store: &Store, keys: &[Bytes]) -> Result<Vec<CheckpointRef>> {
    let found = names::checkpoints_at(store, "list", keys).await?;
    let own = found.into_iter().filter(|(key, one)| {
        let place = Place::new(store, &one.thread_id, &one.namespace);
        place.keys.document == *key
    });
    Ok(own.map(|(_, one)| one).collect())
}
