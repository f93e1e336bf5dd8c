//! `threads`: those that were written to last, and then a walk over the keys of heads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::Compact;
use super::scripts::{Overview, namespaces_call};
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::redis::scan::Scan;
use crate::redis::store::Store;
use crate::redis::thread_walk::{Given, ThreadSource, threads_of};
use crate::saver::{SaverStream, ThreadSummary};

/// How many namespaces of a thread without a root are read in one step.
const NAMESPACES: usize = 100;

/// Streams the threads whose ids start with a prefix.
pub(super) fn threads(layout: &Arc<Compact>, prefix: &str) -> SaverStream<ThreadSummary> {
    threads_of(Threads {
        layout: Arc::clone(layout),
        ids: ThreadIds::starting(layout, "threads", prefix),
    })
}

/// A walk over the ids of the threads that start with a prefix, each once.
pub(super) struct ThreadIds {
    /// The walks that are not at their end.
    scans: VecDeque<Scan>,
    prefix: String,
    /// A walk may come to a key twice.
    given: Given,
}

impl ThreadIds {
    /// Of threads that have checkpoints.
    pub(super) fn starting(layout: &Compact, operation: &'static str, prefix: &str) -> Self {
        let heads = layout.store.keyspace.compact_heads_pattern(prefix);
        Self::matching([heads], operation, prefix)
    }

    /// The same of threads that have any key, as those with writes alone.
    pub(super) fn of_any_key(layout: &Compact, operation: &'static str, prefix: &str) -> Self {
        let all = layout.store.keyspace.compact_patterns(prefix);
        Self::matching(all, operation, prefix)
    }

    fn matching(
        patterns: impl IntoIterator<Item = String>,
        operation: &'static str,
        prefix: &str,
    ) -> Self {
        let scans = patterns.into_iter();
        Self {
            scans: scans
                .map(|pattern| Scan::matching(operation, pattern))
                .collect(),
            prefix: prefix.to_owned(),
            given: Given::default(),
        }
    }

    /// Whether a thread is one of them, and was not given yet.
    fn is_first(&mut self, thread: &ThreadId) -> bool {
        thread.as_str().starts_with(&self.prefix) && self.given.is_first(thread)
    }

    /// The next page; it may be empty. `None` after the last.
    pub(super) async fn next(&mut self, layout: &Compact) -> Result<Option<Vec<ThreadId>>> {
        let store = &layout.store;
        let keys = loop {
            let Some(scan) = self.scans.front_mut() else {
                return Ok(None);
            };
            match scan.next(store).await? {
                Some(keys) => break keys,
                None => self.scans.pop_front(),
            };
        };
        let threads = keys.iter().filter_map(|key| store.keyspace.of_compact(key));
        let mut threads: Vec<_> = threads.collect();
        threads.retain(|thread| self.is_first(thread));
        Ok(Some(threads))
    }
}

struct Threads {
    layout: Arc<Compact>,
    ids: ThreadIds,
}

impl ThreadSource for Threads {
    fn store(&self) -> &Store {
        &self.layout.store
    }

    fn is_wanted(&mut self, thread: &ThreadId) -> bool {
        self.ids.is_first(thread)
    }

    async fn next_page(&mut self) -> Result<Option<Vec<ThreadId>>> {
        self.ids.next(&self.layout).await
    }

    async fn summaries(
        &mut self,
        threads: &[ThreadId],
    ) -> Result<Vec<Result<Option<ThreadSummary>>>> {
        let store = &self.layout.store;
        let steps = threads.iter().map(|thread| {
            let keys = store.keyspace.compact(thread);
            namespaces_call(&keys, None, 1).into()
        });
        let replies = store.pipeline("threads", steps.collect()).await?;
        let mut summaries = Vec::with_capacity(threads.len());
        for (thread, reply) in threads.iter().zip(replies) {
            let keys = store.keyspace.compact(thread);
            let found = reply.and_then(|reply| Overview::of(&keys, reply));
            summaries.push(match found {
                Ok(found) => self.layout.summary_of(thread, found).await,
                Err(error) => Err(error),
            });
        }
        Ok(summaries)
    }
}

impl Compact {
    /// What a thread holds; `None` if it has no checkpoint.
    pub(super) async fn summary(&self, thread: &ThreadId) -> Result<Option<ThreadSummary>> {
        let keys = self.store.keyspace.compact(thread);
        let call = namespaces_call(&keys, None, 1);
        let found = Overview::of(&keys, self.store.script("threads", call).await?)?;
        self.summary_of(thread, found).await
    }

    /// The same, of the first page of its namespaces, in which the root is if it has any
    /// checkpoint.
    async fn summary_of(
        &self,
        thread: &ThreadId,
        found: Overview,
    ) -> Result<Option<ThreadSummary>> {
        let Some((namespace, mut newest)) = found.namespaces.into_iter().next() else {
            return Ok(None);
        };
        if !namespace.is_root() {
            newest = self.newest_of_all(thread, newest, namespace).await?;
        }
        let ttl = u64::try_from(found.left).ok().map(Duration::from_millis);
        let (thread, checkpoints) = (thread.clone(), found.checkpoints);
        Ok(Some(ThreadSummary::new(
            thread,
            checkpoints,
            Some(newest),
            ttl,
        )))
    }

    async fn newest_of_all(
        &self,
        thread: &ThreadId,
        mut newest: CheckpointId,
        mut last: CheckpointNamespace,
    ) -> Result<CheckpointId> {
        let keys = self.store.keyspace.compact(thread);
        loop {
            let call = namespaces_call(&keys, Some(&last), NAMESPACES);
            let found = Overview::of(&keys, self.store.script("threads", call).await?)?;
            let is_last = found.namespaces.len() < NAMESPACES;
            for (namespace, id) in found.namespaces {
                last = namespace;
                newest = newest.max(id);
            }
            if is_last {
                return Ok(newest);
            }
        }
    }
}
