//! Which checkpoints there are in shallow mode, and pages of them.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use super::place::Place;
use crate::checkpoint::CheckpointTuple;
use crate::config::CheckpointConfig;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::ListOptions;
use crate::redis::document::Identity;
use crate::redis::driver::Command;
use crate::redis::keys::{Member, namespace_from_stored};
use crate::redis::replies::time_left;
use crate::redis::store::{Step, Store};
use crate::redis::{index, registry, scan};
use crate::saver::ThreadSummary;

/// How many documents are asked for their names in one flight.
const FLIGHT: usize = 256;

/// Reads a page of checkpoints in one flight, leaving out what has changed since, and in a list of
/// all threads those whose keys do not share a slot.
pub(crate) async fn read_page(
    store: &Store,
    page: Vec<Identity>,
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
        .map(|(place, id)| Step::from(place.read(Some(id), None)))
        .collect();
    let mut tuples = VecDeque::with_capacity(wanted.len());
    for ((place, _), reply) in wanted.iter().zip(store.flight("list", steps).await?) {
        let tuple = match reply {
            // A checkpoint of a full saver has a name that is none here.
            Err(Error::WrongType { .. }) => None,
            Err(error @ Error::InvalidInput { .. }) if of_all => {
                let key = String::from_utf8_lossy(&place.keys.document);
                tracing::warn!(%key, %error, "a list of all threads leaves a checkpoint out");
                None
            }
            reply => place.tuple(reply?)?,
        };
        tuples.extend(
            tuple.filter(|tuple| options.filter.matches_in(&place.thread_id, &tuple.metadata)),
        );
    }
    Ok(tuples)
}

/// What a list gives of checkpoints, in its order. Ties go by thread, then by namespace.
pub(crate) fn newest_first(found: Vec<Identity>, options: &ListOptions) -> VecDeque<Identity> {
    let mut wanted: Vec<_> = found
        .into_iter()
        .filter(|one| {
            let before = options.before.as_ref();
            before.is_none_or(|before| one.checkpoint_id < *before)
        })
        .collect();
    wanted.sort_by(|one, other| {
        let by_id = other.checkpoint_id.cmp(&one.checkpoint_id);
        by_id.then_with(|| {
            (&one.thread_id, &one.namespace).cmp(&(&other.thread_id, &other.namespace))
        })
    });
    wanted.into()
}

/// The checkpoints that a config names.
pub(crate) async fn checkpoints(store: &Store, config: &CheckpointConfig) -> Result<Vec<Identity>> {
    let thread = &config.thread_id;
    let places = match &config.checkpoint_ns {
        Some(namespace) => vec![Place::new(store, thread, namespace)],
        None => places(store, thread).await?,
    };
    let keys = places
        .into_iter()
        .map(|place| place.keys.document)
        .collect();
    let mut found = named(store, keys).await?;
    found.retain(|one| {
        let wanted = config.checkpoint_id.as_ref();
        one.thread_id == *thread && wanted.is_none_or(|id| one.checkpoint_id == *id)
    });
    Ok(found)
}

/// Every checkpoint there is, found by a scan: for a server whose search cannot answer.
pub(crate) async fn every_checkpoint(store: &Store) -> Result<Vec<Identity>> {
    let keys = scan::scan(store, &store.keyspace.document_family()).await?;
    named(store, keys).await
}

/// What a thread holds; `None` if it has no checkpoint.
pub(crate) async fn summary(store: &Store, thread_id: ThreadId) -> Result<Option<ThreadSummary>> {
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
        .driver
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

/// The namespaces of a thread in which there is a checkpoint or a write, whoever stored it.
pub(super) async fn known_namespaces(
    store: &Store,
    thread: &ThreadId,
) -> Result<BTreeSet<CheckpointNamespace>> {
    let mut namespaces = BTreeSet::new();
    for member in registry::scan_members(store, thread).await? {
        if let Some(Member::Namespace(namespace)) = Member::of_bytes(&member) {
            namespaces.insert(namespace);
        }
    }
    let found = index::indexed_checkpoints(store, thread).await?;
    let found = found.into_iter().flatten();
    namespaces.extend(found.map(|one| one.namespace));
    for write in index::indexed_writes(store, thread)
        .await?
        .into_iter()
        .flatten()
    {
        namespaces.extend(namespace_from_stored(&write.namespace).ok());
    }
    Ok(namespaces)
}

/// The checkpoints of shallow mode among documents: those whose names make up their key.
pub(crate) async fn named(store: &Store, keys: Vec<Bytes>) -> Result<Vec<Identity>> {
    let mut found = Vec::new();
    for chunk in keys.chunks(FLIGHT) {
        let steps = chunk.iter().map(|key| {
            let command = Command::on("JSON.GET", key.clone());
            Step::from(command.arg("$['thread_id','checkpoint_ns','checkpoint_id']"))
        });
        let replies = store.flight("list", steps.collect()).await?;
        for (key, reply) in chunk.iter().zip(replies) {
            let names = match reply {
                // Something else than a document has the name of one.
                Err(Error::WrongType { .. } | Error::Server { .. }) => continue,
                reply => reply?.into_bytes(),
            };
            let one = names.and_then(|names| identity_of(&names));
            found.extend(one.filter(|one| {
                Place::new(store, &one.thread_id, &one.namespace)
                    .keys
                    .document
                    == *key
            }));
        }
    }
    Ok(found)
}

fn identity_of(names: &[u8]) -> Option<Identity> {
    let [thread, namespace, id] = serde_json::from_slice::<[String; 3]>(names).ok()?;
    Some(Identity {
        thread_id: ThreadId::new(thread).ok()?,
        namespace: namespace_from_stored(&namespace).ok()?,
        checkpoint_id: CheckpointId::new(id).ok()?,
    })
}
