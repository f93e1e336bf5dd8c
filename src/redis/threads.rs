//! `threads`: the threads there are: those that were written to last, and then all others from the
//! index, or from the pointers where search cannot answer.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::driver::Command;
use super::index::{self, Page, Rows};
use super::keys::NamespaceKeys;
use super::list::{Full, Layout};
use super::recent::{NewestFirst, RecentThread};
use super::store::Store;
use super::{registry, scan};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::saver::{SaverStream, ThreadSummary};

/// How many corrections of the sets of recent threads are stored in one pipeline.
const CORRECTIONS: usize = 256;

/// What a list of threads asks of the way in which checkpoints are stored.
pub(crate) trait ThreadLayout: Layout {
    /// The threads whose ids start with a prefix, and perhaps others, found without search.
    fn every_thread(
        store: &Store,
        prefix: &str,
    ) -> impl Future<Output = Result<BTreeSet<ThreadId>>> + Send;

    /// What a thread holds; `None` if it has no checkpoint.
    fn summary(
        store: &Store,
        thread_id: ThreadId,
    ) -> impl Future<Output = Result<Option<ThreadSummary>>> + Send;
}

/// Streams the threads whose ids start with a prefix.
pub(crate) fn threads<L: ThreadLayout>(
    store: Arc<Store>,
    prefix: &str,
) -> SaverStream<ThreadSummary> {
    let walk = Walk::<L> {
        prefix: prefix.to_owned(),
        source: None,
        recent: Some(store.recent.newest_first()),
        recent_page: VecDeque::new(),
        empty: Vec::new(),
        found: Vec::new(),
        given: HashSet::new(),
        hasher: RandomState::new(),
        layout: PhantomData,
        store,
    };
    stream::try_unfold(walk, |mut walk| async move {
        Ok(walk.next().await?.map(|summary| (summary, walk)))
    })
    .boxed()
}

impl ThreadLayout for Full {
    async fn every_thread(store: &Store, prefix: &str) -> Result<BTreeSet<ThreadId>> {
        let found = scan::scanned_namespaces(store, prefix).await?;
        Ok(found.into_iter().map(|(thread, _)| thread).collect())
    }

    async fn summary(store: &Store, thread_id: ThreadId) -> Result<Option<ThreadSummary>> {
        summary(store, thread_id).await
    }
}

struct Walk<L> {
    store: Arc<Store>,
    prefix: String,
    source: Option<Source>,
    /// The threads that were written to last; `None` after the last.
    recent: Option<NewestFirst>,
    recent_page: VecDeque<RecentThread>,
    /// In which of them nothing was found, and which threads they lack.
    empty: Vec<RecentThread>,
    found: Vec<RecentThread>,
    /// The threads that were given, each as a number, so that those that are found again in another
    /// way, or by the index after a search was lost, are left out.
    given: HashSet<u64>,
    hasher: RandomState,
    layout: PhantomData<fn() -> L>,
}

enum Source {
    Index {
        rows: Rows,
        threads: VecDeque<ThreadId>,
        /// Whether the index gave some since it was asked last.
        progress: bool,
        /// Whether it knows documents that it cannot open.
        unopened: bool,
    },
    Scanned(VecDeque<ThreadId>),
}

impl<L: ThreadLayout> Walk<L> {
    async fn next(&mut self) -> Result<Option<ThreadSummary>> {
        loop {
            let recent = self.next_recent().await?;
            let thread = match &recent {
                Some(recent) => Some(recent.thread.clone()),
                None => self.next_id().await?,
            };
            let Some(thread) = thread else {
                self.correct_recent().await;
                return Ok(None);
            };
            if !thread.as_str().starts_with(&self.prefix) {
                continue;
            }
            let summary = match L::summary(&self.store, thread.clone()).await {
                // A key of another type, or one that cannot be read, hides its own thread alone.
                Err(error @ (Error::WrongType { .. } | Error::Corrupt { .. })) => {
                    tracing::warn!(%thread, error = %error.report(), "a thread is left out of the list of threads");
                    None
                }
                summary => summary?,
            };
            match (&summary, recent) {
                (None, Some(recent)) => self.empty.push(recent),
                (Some(summary), None) => self.found.push(RecentThread::found(summary)),
                _ => {}
            }
            if self.empty.len() + self.found.len() >= CORRECTIONS {
                self.correct_recent().await;
            }
            if summary.is_some() {
                return Ok(summary);
            }
        }
    }

    /// The next of the threads that were written to last.
    async fn next_recent(&mut self) -> Result<Option<RecentThread>> {
        while let Some(recent) = &mut self.recent {
            while let Some(one) = self.recent_page.pop_front() {
                if self.given.insert(self.hasher.hash_one(&one.thread)) {
                    return Ok(Some(one));
                }
            }
            match recent.next(&self.store.recent).await? {
                Some(page) => self.recent_page.extend(page),
                None => self.recent = None,
            }
        }
        Ok(None)
    }

    /// Puts the sets of recent threads right.
    async fn correct_recent(&mut self) {
        let empty = std::mem::take(&mut self.empty);
        let found = std::mem::take(&mut self.found);
        self.store.recent.correct(empty, found).await;
    }

    async fn start(&self) -> Result<Source> {
        if index::search(&self.store).await?.is_some() {
            return Ok(Source::Index {
                rows: index::indexed_threads(&self.store),
                threads: VecDeque::new(),
                progress: false,
                unopened: false,
            });
        }
        let threads = L::every_thread(&self.store, &self.prefix).await?;
        Ok(Source::Scanned(threads.into_iter().collect()))
    }

    async fn next_id(&mut self) -> Result<Option<ThreadId>> {
        loop {
            let page = match &mut self.source {
                None => {
                    self.source = Some(self.start().await?);
                    continue;
                }
                Some(Source::Scanned(threads)) => {
                    let Some(thread) = threads.pop_front() else {
                        return Ok(None);
                    };
                    if self.is_first(&thread) {
                        return Ok(Some(thread));
                    }
                    continue;
                }
                Some(Source::Index { rows, threads, .. }) => match threads.pop_front() {
                    Some(thread) => {
                        if self.is_first(&thread) {
                            return Ok(Some(thread));
                        }
                        continue;
                    }
                    None => rows.next(&self.store).await?,
                },
            };
            match page {
                Page::Rows(page) => {
                    let found = page.iter().map(|row| super::index::thread(row));
                    let found: Vec<_> = found.collect();
                    if let Some(Source::Index {
                        threads,
                        progress,
                        unopened,
                        ..
                    }) = &mut self.source
                    {
                        *unopened |= found.contains(&None);
                        *progress = true;
                        threads.extend(found.into_iter().flatten());
                    }
                }
                Page::End => {
                    let unopened =
                        matches!(self.source, Some(Source::Index { unopened: true, .. }));
                    let rest = if unopened {
                        self.unopened().await?
                    } else {
                        VecDeque::new()
                    };
                    self.source = Some(Source::Scanned(rest));
                }
                Page::Lost => self.go_on().await?,
            }
        }
    }

    /// Whether a thread was not given yet.
    fn is_first(&mut self, thread: &ThreadId) -> bool {
        self.given.insert(self.hasher.hash_one(thread))
    }

    /// Goes on after the rows of a search were lost.
    async fn go_on(&mut self) -> Result<()> {
        let progress = matches!(self.source, Some(Source::Index { progress: true, .. }));
        if !progress {
            // Not another time: what the index lost once it may lose again.
            index::do_without_search(&self.store);
        }
        self.source = Some(self.start().await?);
        Ok(())
    }

    /// The threads of the documents that the index cannot open, because their keys hold a NUL.
    async fn unopened(&self) -> Result<VecDeque<ThreadId>> {
        let keys = index::unopened_documents(&self.store).await?;
        let found = L::checkpoints_at(&self.store, &keys).await?;
        let threads: BTreeSet<_> = found.into_iter().map(|one| one.thread_id).collect();
        Ok(threads.into_iter().collect())
    }
}

/// What a thread holds; `None` if it has no checkpoint.
pub(crate) async fn summary(store: &Store, thread_id: ThreadId) -> Result<Option<ThreadSummary>> {
    let mut checkpoints = 0;
    let mut newest: Option<(CheckpointNamespace, CheckpointId, i64)> = None;
    for namespace in registry::namespaces(store, &thread_id).await? {
        let keys = store.keys(&thread_id, &namespace);
        let count = Command::on("ZCOUNT", keys.registry.clone())
            .arg("-inf")
            .arg("+inf");
        let count = store
            .driver()
            .call("threads", count)
            .await?
            .as_int()
            .unwrap_or(0);
        checkpoints += u64::try_from(count).unwrap_or(0);
        if let Some((id, left)) = newest_alive(store, &keys).await?
            && newest.as_ref().is_none_or(|(best, best_id, _)| {
                (namespace.is_root(), &id, &namespace) > (best.is_root(), best_id, best)
            })
        {
            newest = Some((namespace, id, left));
        }
    }
    let Some((_, id, left)) = newest else {
        return Ok(None);
    };
    let ttl = u64::try_from(left).ok().map(Duration::from_millis);
    Ok(Some(ThreadSummary::new(
        thread_id,
        checkpoints,
        Some(id),
        ttl,
    )))
}

/// The newest checkpoint of a namespace whose document is there, and the time it has left in
/// milliseconds, -1 without a TTL.
async fn newest_alive(store: &Store, keys: &NamespaceKeys) -> Result<Option<(CheckpointId, i64)>> {
    let mut before = None;
    loop {
        let (_, ids) =
            registry::page(store, keys, before.as_ref(), store.settings.page_size).await?;
        let Some(last) = ids.last() else {
            return Ok(None);
        };
        before = Some(last.clone());
        let steps = ids
            .iter()
            .map(|id| Command::on("PTTL", keys.document(id)).into());
        let replies = store.pipeline("threads", steps.collect()).await?;
        for (id, left) in ids.into_iter().zip(replies) {
            match left?.as_int() {
                Some(-2) | None => {}
                Some(left) => return Ok(Some((id, left))),
            }
        }
    }
}
