//! A walk over threads, each once: those that were written to last, and then all others.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use futures_util::stream::{self, StreamExt};

use super::recent::{NewestFirst, RecentThread};
use super::store::Store;
use crate::error::{Error, Result};
use crate::id::ThreadId;
use crate::saver::{SaverStream, ThreadSummary};

/// How many threads are read together at first, and at most.
const FIRST_PAGE: usize = 32;
const PAGE: usize = 256;

/// Where the threads of a layout are found.
pub(crate) trait ThreadSource: Send + 'static {
    fn store(&self) -> &Store;

    /// Whether a thread is asked for, and was not given yet.
    fn is_wanted(&mut self, thread: &ThreadId) -> bool;

    /// The next of all threads that are wanted, in any order; they may be none. `None` after the
    /// last.
    fn next_page(&mut self) -> impl Future<Output = Result<Option<Vec<ThreadId>>>> + Send;

    /// What each of some threads holds; `None` if it has no checkpoint.
    fn summaries(
        &mut self,
        threads: &[ThreadId],
    ) -> impl Future<Output = Result<Vec<Result<Option<ThreadSummary>>>>> + Send;
}

/// The threads that were given, each as a number, so that memory stays small.
#[derive(Default)]
pub(crate) struct Given {
    threads: HashSet<u64>,
    hasher: RandomState,
}

impl Given {
    /// Whether a thread was not given yet; from now on it was.
    pub(crate) fn is_first(&mut self, thread: &ThreadId) -> bool {
        self.threads.insert(self.hasher.hash_one(thread))
    }
}

/// Streams the threads of a source.
pub(crate) fn threads_of<S: ThreadSource>(source: S) -> SaverStream<ThreadSummary> {
    let walk = Walk {
        recent: Some(source.store().recent.newest_first()),
        others: VecDeque::new(),
        page: FIRST_PAGE,
        ready: VecDeque::new(),
        source,
    };
    stream::try_unfold(walk, |mut walk| async move {
        Ok(walk.next().await?.map(|summary| (summary, walk)))
    })
    .boxed()
}

struct Walk<S> {
    source: S,
    /// The threads that were written to last; `None` after the last.
    recent: Option<NewestFirst>,
    others: VecDeque<ThreadId>,
    /// How many of the others are read together.
    page: usize,
    ready: VecDeque<ThreadSummary>,
}

impl<S: ThreadSource> Walk<S> {
    async fn next(&mut self) -> Result<Option<ThreadSummary>> {
        loop {
            if let Some(summary) = self.ready.pop_front() {
                return Ok(Some(summary));
            }
            if let Some(recent) = &mut self.recent {
                match recent.next(&self.source.store().recent).await? {
                    Some(page) => self.read_recent(page).await?,
                    None => self.recent = None,
                }
                continue;
            }
            if self.others.is_empty() {
                match self.source.next_page().await? {
                    Some(found) => self.others.extend(found),
                    None => return Ok(None),
                }
            }
            self.read_others().await?;
        }
    }

    /// Reads threads that were written to last, and takes those out of their sets that are gone.
    async fn read_recent(&mut self, mut page: Vec<RecentThread>) -> Result<()> {
        page.retain(|recent| self.source.is_wanted(&recent.thread));
        let threads: Vec<_> = page.iter().map(|recent| recent.thread.clone()).collect();
        let summaries = self.read(&threads).await?;
        let mut empty = Vec::new();
        for (recent, summary) in page.into_iter().zip(summaries) {
            match summary {
                Some(summary) => self.ready.push_back(summary),
                None => empty.push(recent),
            }
        }
        let recent = &self.source.store().recent;
        recent.correct(empty, Vec::new()).await;
        Ok(())
    }

    /// Reads a page of other threads, and puts them into the sets that lack them.
    async fn read_others(&mut self) -> Result<()> {
        let page = self.others.len().min(self.page);
        self.page = PAGE.min(self.page * 2);
        let threads: Vec<_> = self.others.drain(..page).collect();
        let summaries = self.read(&threads).await?;
        self.ready.extend(summaries.into_iter().flatten());
        let found = self.ready.iter().map(RecentThread::found).collect();
        let recent = &self.source.store().recent;
        recent.correct(Vec::new(), found).await;
        Ok(())
    }

    async fn read(&mut self, threads: &[ThreadId]) -> Result<Vec<Option<ThreadSummary>>> {
        let summaries = self.source.summaries(threads).await?;
        let summaries = summaries.into_iter().zip(threads);
        let known = summaries.map(|(summary, thread)| match summary {
            // A key of another type, or one that cannot be read, hides its own thread alone.
            Err(error @ (Error::WrongType { .. } | Error::Corrupt { .. })) => {
                tracing::warn!(%thread, error = %error.report(), "a thread is left out of the list of threads");
                Ok(None)
            }
            summary => summary,
        });
        known.collect()
    }
}
