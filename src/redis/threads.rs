//! `threads`: the threads there are: those that were written to last, and then all others from the
//! index, or from the pointers where search cannot answer.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::driver::Command;
use super::index::{self, Page, Rows};
use super::keys::NamespaceKeys;
use super::list::{Full, Layout};
use super::store::Store;
use super::thread_walk::{Given, ThreadSource, threads_of};
use super::{registry, scan};
use crate::error::Result;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::saver::{SaverStream, ThreadSummary};

/// How many threads are read at the same time.
const CONCURRENT: usize = 32;

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
    threads_of(Threads::<L> {
        prefix: prefix.to_owned(),
        found_in: None,
        given: Given::default(),
        layout: PhantomData,
        store,
    })
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

struct Threads<L> {
    store: Arc<Store>,
    prefix: String,
    found_in: Option<Source>,
    /// Those that are found again in another way, or by the index after a search was lost, are left
    /// out.
    given: Given,
    layout: PhantomData<fn() -> L>,
}

enum Source {
    Index {
        rows: Rows,
        /// Whether the index gave some since it was asked last.
        progress: bool,
        /// Whether it knows documents that it cannot open.
        unopened: bool,
    },
    Scanned(BTreeSet<ThreadId>),
}

impl<L: ThreadLayout> ThreadSource for Threads<L> {
    fn store(&self) -> &Store {
        &self.store
    }

    fn is_wanted(&mut self, thread: &ThreadId) -> bool {
        thread.as_str().starts_with(&self.prefix) && self.given.is_first(thread)
    }

    async fn next_page(&mut self) -> Result<Option<Vec<ThreadId>>> {
        let mut page: Vec<_> = loop {
            match &mut self.found_in {
                None => self.found_in = Some(self.start().await?),
                Some(Source::Scanned(threads)) if threads.is_empty() => return Ok(None),
                Some(Source::Scanned(threads)) => {
                    break std::mem::take(threads).into_iter().collect();
                }
                Some(Source::Index {
                    rows,
                    progress,
                    unopened,
                }) => match rows.next(&self.store).await? {
                    Page::Rows(page) => {
                        let found: Vec<_> = page.iter().map(|row| index::thread(row)).collect();
                        *unopened |= found.contains(&None);
                        *progress = true;
                        break found.into_iter().flatten().collect();
                    }
                    Page::End => {
                        let rest = if *unopened {
                            self.unopened().await?
                        } else {
                            BTreeSet::new()
                        };
                        self.found_in = Some(Source::Scanned(rest));
                    }
                    Page::Lost => self.go_on().await?,
                },
            }
        };
        page.retain(|thread| self.is_wanted(thread));
        Ok(Some(page))
    }

    async fn summaries(
        &mut self,
        threads: &[ThreadId],
    ) -> Result<Vec<Result<Option<ThreadSummary>>>> {
        let threads = stream::iter(threads.to_vec());
        let summaries = threads.map(|thread| L::summary(&self.store, thread));
        Ok(summaries.buffered(CONCURRENT).collect().await)
    }
}

impl<L: ThreadLayout> Threads<L> {
    async fn start(&self) -> Result<Source> {
        if index::search(&self.store).await?.is_some() {
            return Ok(Source::Index {
                rows: index::indexed_threads(&self.store),
                progress: false,
                unopened: false,
            });
        }
        let threads = L::every_thread(&self.store, &self.prefix).await?;
        Ok(Source::Scanned(threads))
    }

    /// Goes on after the rows of a search were lost.
    async fn go_on(&mut self) -> Result<()> {
        let progress = matches!(self.found_in, Some(Source::Index { progress: true, .. }));
        if !progress {
            // Not another time: what the index lost once it may lose again.
            index::do_without_search(&self.store);
        }
        self.found_in = Some(self.start().await?);
        Ok(())
    }

    /// The threads of the documents that the index cannot open, because their keys hold a NUL.
    async fn unopened(&self) -> Result<BTreeSet<ThreadId>> {
        let keys = index::unopened_documents(&self.store).await?;
        let found = L::checkpoints_at(&self.store, &keys).await?;
        Ok(found.into_iter().map(|one| one.thread_id).collect())
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
