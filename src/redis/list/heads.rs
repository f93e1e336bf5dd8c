//! The ids of several namespaces at once, newest first, from their registries.

use std::collections::{HashSet, VecDeque};

use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::redis::keys::{CheckpointRef, NamespaceKeys};
use crate::redis::store::Store;
use crate::redis::{registry, scan};

/// How many registries are read in one pipeline.
const PIPELINE: usize = 256;

/// The ids of one namespace that were read ahead.
pub(crate) struct Head {
    thread_id: ThreadId,
    namespace: CheckpointNamespace,
    keys: NamespaceKeys,
    ids: VecDeque<CheckpointId>,
    last: Option<CheckpointId>,
    ended: bool,
}

impl Head {
    pub(crate) fn new(store: &Store, thread: &ThreadId, namespace: CheckpointNamespace) -> Self {
        Self {
            keys: store.keys(thread, &namespace),
            thread_id: thread.clone(),
            namespace,
            ids: VecDeque::new(),
            last: None,
            ended: false,
        }
    }

    fn take(&mut self, ids: Vec<CheckpointId>, asked: usize) {
        self.ended = ids.len() < asked;
        if let Some(last) = ids.last() {
            self.last = Some(last.clone());
        }
        self.ids.extend(ids);
    }
}

/// The heads of every namespace of the threads that start so: for a server whose search cannot
/// answer.
pub(super) async fn all_heads(store: &Store, within: &str) -> Result<Vec<Head>> {
    let namespaces = scan::scanned_namespaces(store, within).await?;
    Ok(namespaces
        .into_iter()
        .map(|(thread, namespace)| Head::new(store, &thread, namespace))
        .collect())
}

/// The newest id of all heads. Ties go by thread, then by namespace.
pub(super) async fn next_of(
    store: &Store,
    heads: &mut Vec<Head>,
    before: Option<&CheckpointId>,
    wanted: usize,
) -> Result<Option<CheckpointRef>> {
    fill(store, heads, before, wanted).await?;
    let newest = heads
        .iter_mut()
        .filter(|head| !head.ids.is_empty())
        .max_by(|one, other| {
            one.ids
                .front()
                .cmp(&other.ids.front())
                .then_with(|| other.thread_id.cmp(&one.thread_id))
                .then_with(|| other.namespace.cmp(&one.namespace))
        });
    Ok(newest.and_then(|head| {
        let id = head.ids.pop_front()?;
        Some(CheckpointRef::new(&head.thread_id, &head.namespace, &id))
    }))
}

/// Reads ahead where a head is empty.
async fn fill(
    store: &Store,
    heads: &mut Vec<Head>,
    before: Option<&CheckpointId>,
    wanted: usize,
) -> Result<()> {
    heads.retain(|head| !(head.ended && head.ids.is_empty()));
    // With many namespaces each gives few of a page.
    let asked = if heads.len() > 8 {
        wanted.min(8)
    } else {
        wanted
    }
    .max(1);
    let mut incomplete = HashSet::new();
    let mut empty: Vec<_> = heads
        .iter_mut()
        .filter(|head| head.ids.is_empty() && !head.ended)
        .collect();
    for chunk in empty.chunks_mut(PIPELINE) {
        let steps = chunk.iter().map(|head| {
            let upper = head.last.as_ref().or(before);
            registry::page_call(&head.keys, upper, asked).into()
        });
        let replies = store.pipeline("list", steps.collect()).await?;
        for (head, reply) in chunk.iter_mut().zip(replies) {
            let first = head.last.is_none();
            let (is_incomplete, ids) = registry::read_page_reply(&head.keys, reply?.into())?;
            head.take(ids, asked);
            if is_incomplete && first {
                incomplete.insert(head.thread_id.clone());
            }
        }
    }
    if incomplete.is_empty() {
        return Ok(());
    }
    for thread in &incomplete {
        registry::reconcile(store, thread).await?;
    }
    // What was just read of these threads was not complete: read it again.
    for head in heads
        .iter_mut()
        .filter(|head| incomplete.contains(&head.thread_id))
    {
        let upper = before.cloned();
        let (_, ids) = registry::page(store, &head.keys, upper.as_ref(), asked).await?;
        head.ids.clear();
        head.last = None;
        head.take(ids, asked);
    }
    Ok(())
}
