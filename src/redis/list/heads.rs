//! The ids of several namespaces at once, newest first, from their registries.

use std::collections::{HashSet, VecDeque};

use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::redis::keys::{CheckpointRef, NamespaceKeys};
use crate::redis::scripts::{Contents, PageCall, PageReply};
use crate::redis::store::Store;
use crate::redis::{registry, scan};

/// How many registries are read in one pipeline.
const PIPELINE: usize = 256;

/// A checkpoint that is listed.
pub(crate) struct Listed {
    pub(crate) identity: CheckpointRef,
    /// What it holds, if that was read with its id.
    pub(super) contents: Option<Contents>,
}

impl From<CheckpointRef> for Listed {
    fn from(identity: CheckpointRef) -> Self {
        Self {
            identity,
            contents: None,
        }
    }
}

/// The ids of one namespace that were read ahead.
pub(crate) struct Head {
    thread_id: ThreadId,
    namespace: CheckpointNamespace,
    keys: NamespaceKeys,
    ids: VecDeque<(CheckpointId, Option<Contents>)>,
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

    fn take(&mut self, ids: Vec<CheckpointId>, contents: Vec<Option<Contents>>, asked: usize) {
        self.ended = ids.len() < asked;
        if let Some(last) = ids.last() {
            self.last = Some(last.clone());
        }
        let contents = contents.into_iter().chain(std::iter::repeat(None));
        self.ids.extend(ids.into_iter().zip(contents));
    }

    fn newest(&self) -> Option<&CheckpointId> {
        self.ids.front().map(|(id, _)| id)
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

/// The newest id of all heads. Ties go by thread, then by namespace. `contents` says that what the
/// checkpoints hold is wanted, which one script finds together with their ids if there is one head.
pub(super) async fn next_of(
    store: &Store,
    heads: &mut Vec<Head>,
    before: Option<&CheckpointId>,
    wanted: usize,
    contents: bool,
) -> Result<Option<Listed>> {
    fill(store, heads, before, wanted, contents).await?;
    let newest = heads
        .iter_mut()
        .filter(|head| !head.ids.is_empty())
        .max_by(|one, other| {
            one.newest()
                .cmp(&other.newest())
                .then_with(|| other.thread_id.cmp(&one.thread_id))
                .then_with(|| other.namespace.cmp(&one.namespace))
        });
    Ok(newest.and_then(|head| {
        let (id, contents) = head.ids.pop_front()?;
        let identity = CheckpointRef::new(&head.thread_id, &head.namespace, &id);
        Some(Listed { identity, contents })
    }))
}

/// Reads ahead where a head is empty.
async fn fill(
    store: &Store,
    heads: &mut Vec<Head>,
    before: Option<&CheckpointId>,
    wanted: usize,
    contents: bool,
) -> Result<()> {
    heads.retain(|head| !(head.ended && head.ids.is_empty()));
    // With many namespaces each gives few of a page.
    let asked = if heads.len() > 8 {
        wanted.min(8)
    } else {
        wanted
    }
    .max(1);
    let contents = contents && heads.len() == 1;
    let mut incomplete = HashSet::new();
    let mut empty: Vec<_> = heads
        .iter_mut()
        .filter(|head| head.ids.is_empty() && !head.ended)
        .collect();
    for chunk in empty.chunks_mut(PIPELINE) {
        let steps = chunk.iter().map(|head| {
            let call = PageCall {
                keys: head.keys.clone(),
                before: head.last.as_ref().or(before).cloned(),
                max: asked,
                contents: contents && !store.remembers_large(&head.keys),
            };
            call.into()
        });
        let replies = store.pipeline("list", steps.collect()).await?;
        for (head, reply) in chunk.iter_mut().zip(replies) {
            let first = head.last.is_none();
            let reply = PageReply::from(reply?);
            let ids = registry::ids_of(&head.keys, reply.ids)?;
            head.take(ids, reply.contents, asked);
            if !reply.is_complete && first {
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
        head.take(ids, Vec::new(), asked);
    }
    Ok(())
}
