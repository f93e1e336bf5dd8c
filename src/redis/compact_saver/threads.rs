//! `threads`: those that were written to last, and then a walk over the keys of heads.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::Compact;
use super::scripts::{Overview, namespaces_call};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::redis::recent::{NewestFirst, RecentThread};
use crate::redis::scan::Scan;
use crate::saver::{SaverStream, ThreadSummary};

/// How many threads are read in one pipeline.
const PIPELINE: usize = 256;

/// How many namespaces of a thread without a root are read in one step.
const NAMESPACES: usize = 100;

/// Streams the threads whose ids start with a prefix.
pub(super) fn threads(layout: &Arc<Compact>, prefix: &str) -> SaverStream<ThreadSummary> {
    let walk = Walk {
        layout: Arc::clone(layout),
        recent: Some(layout.store.recent.newest_first()),
        ids: ThreadIds::starting(layout, "threads", prefix),
        found: VecDeque::new(),
        ready: VecDeque::new(),
    };
    stream::try_unfold(walk, |mut walk| async move {
        Ok(walk.next().await?.map(|summary| (summary, walk)))
    })
    .boxed()
}

/// A walk over the ids of the threads that start with a prefix, each once.
pub(super) struct ThreadIds {
    /// The walks that are not at their end.
    scans: VecDeque<Scan>,
    prefix: String,
    /// Those that were given, each as a number: a walk may come to a key twice.
    given: HashSet<u64>,
    hasher: RandomState,
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
            given: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// Whether a thread is one of them, and was not given yet.
    fn is_first(&mut self, thread: &ThreadId) -> bool {
        let is_wanted = thread.as_str().starts_with(&self.prefix);
        is_wanted && self.given.insert(self.hasher.hash_one(thread))
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

struct Walk {
    layout: Arc<Compact>,
    /// `None` after the last.
    recent: Option<NewestFirst>,
    ids: ThreadIds,
    found: VecDeque<ThreadId>,
    ready: VecDeque<ThreadSummary>,
}

impl Walk {
    async fn next(&mut self) -> Result<Option<ThreadSummary>> {
        loop {
            if let Some(summary) = self.ready.pop_front() {
                return Ok(Some(summary));
            }
            if self.recent.is_some() {
                self.read_recent().await?;
                continue;
            }
            if self.found.is_empty() {
                match self.ids.next(&self.layout).await? {
                    Some(found) => self.found.extend(found),
                    None => return Ok(None),
                }
            }
            let page = self.found.len().min(PIPELINE);
            let page = self.found.drain(..page).collect();
            let summaries = self.summarize(page).await?;
            // The sets of recent threads lack them.
            let found = summaries.iter().flatten().map(RecentThread::found);
            let recent = &self.layout.store.recent;
            recent.correct(Vec::new(), found.collect()).await;
            self.ready.extend(summaries.into_iter().flatten());
        }
    }

    /// Reads a page of the threads that were written to last.
    async fn read_recent(&mut self) -> Result<()> {
        let (layout, Some(recent)) = (&self.layout, &mut self.recent) else {
            return Ok(());
        };
        let Some(mut page) = recent.next(&layout.store.recent).await? else {
            self.recent = None;
            return Ok(());
        };
        page.retain(|one| self.ids.is_first(&one.thread));
        let threads = page.iter().map(|one| one.thread.clone()).collect();
        let summaries = self.summarize(threads).await?;
        let mut empty = Vec::new();
        for (one, summary) in page.into_iter().zip(summaries) {
            match summary {
                Some(summary) => self.ready.push_back(summary),
                None => empty.push(one),
            }
        }
        self.layout.store.recent.correct(empty, Vec::new()).await;
        Ok(())
    }

    /// What each thread of a page holds; `None` if it has no checkpoint.
    async fn summarize(&self, page: Vec<ThreadId>) -> Result<Vec<Option<ThreadSummary>>> {
        let store = &self.layout.store;
        let steps = page.iter().map(|thread| {
            let keys = store.keyspace.compact(thread);
            namespaces_call(&keys, None, 1).into()
        });
        let replies = store.pipeline("threads", steps.collect()).await?;
        let mut summaries = Vec::with_capacity(page.len());
        for (thread, reply) in page.into_iter().zip(replies) {
            let keys = store.keyspace.compact(&thread);
            let found = reply.and_then(|reply| Overview::of(&keys, reply));
            let summary = match found {
                Ok(found) => self.layout.summary_of(&thread, found).await,
                Err(error) => Err(error),
            };
            summaries.push(match summary {
                // A key of another type, or one that cannot be read, hides its own thread alone.
                Err(error @ (Error::WrongType { .. } | Error::Corrupt { .. })) => {
                    tracing::warn!(%thread, error = %error.report(), "a thread is left out of the list of threads");
                    None
                }
                summary => summary?,
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
