//! The threads there are, by their status and in several orders.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use futures_util::future::{self, BoxFuture};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::status::{self, Status};
use crate::error::{Error, Result};
use crate::id::ThreadId;
use crate::saver::{CheckpointSaver, SaverStream, ThreadSummary};

/// How many threads are read at the same time.
const CONCURRENT: usize = 16;

/// The order of a list of threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Those first that were written to last, as [`CheckpointSaver::threads`] gives them.
    #[default]
    Newest,
    /// Those first that have the most checkpoints.
    Checkpoints,
    /// Those first that take the most bytes.
    Size,
    /// Those first that expire next; those that never do come last.
    Expiry,
}

/// Which threads are listed, and what is read of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each is an option that callers give by itself.
pub(crate) struct Query {
    /// Only threads where a task waits for an answer or, with `failed`, has failed.
    pub(crate) waiting: bool,
    /// Only threads where a task has failed or, with `waiting`, waits for an answer.
    pub(crate) failed: bool,
    /// Whether the status is read, which takes reading the newest checkpoint. It also is where the
    /// status decides which threads are listed.
    pub(crate) status: bool,
    /// Whether the bytes are read, which takes asking for every key. They also are where they
    /// decide the order.
    pub(crate) bytes: bool,
    /// The order.
    pub(crate) sort: Sort,
    /// How many threads are listed at most. All orders but the newest first look at every thread
    /// and hold this many.
    pub(crate) limit: usize,
}

impl Query {
    /// Whether the status is read.
    pub(crate) fn reads_status(&self) -> bool {
        self.status || self.waiting || self.failed
    }

    /// Whether the bytes are read.
    pub(crate) fn reads_bytes(&self) -> bool {
        self.bytes || self.sort == Sort::Size
    }

    fn wants(&self, thread: &ListedThread) -> bool {
        let all = !self.waiting && !self.failed;
        all || (self.waiting && thread.is_waiting) || (self.failed && thread.has_failed)
    }
}

/// A thread in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedThread {
    pub(crate) summary: ThreadSummary,
    /// The status, if it was asked for; `None` also if the thread has no root checkpoint or one
    /// that cannot be read.
    pub(crate) status: Option<Status>,
    /// Whether a task waits for an answer.
    pub(crate) is_waiting: bool,
    /// Whether a task has failed.
    pub(crate) has_failed: bool,
    /// The bytes that it takes, if they were asked for; `None` also if the server does not tell.
    pub(crate) bytes: Option<u64>,
}

/// Asks how many bytes a thread takes.
pub(crate) type BytesOf =
    Arc<dyn Fn(ThreadId) -> BoxFuture<'static, Result<Option<u64>>> + Send + Sync>;

/// Streams those of the threads that were found that are asked for. Several are read at the same
/// time, and memory is bounded by the limit. No thread's TTL is refreshed.
pub(crate) fn threads(
    found: SaverStream<ThreadSummary>,
    saver: &Arc<dyn CheckpointSaver>,
    bytes_of: &BytesOf,
    query: Query,
) -> SaverStream<ListedThread> {
    let (sort, limit) = (query.sort, query.limit);
    // What decides is read of every thread, all else only of those that are listed.
    let first_read = Reads {
        status: query.waiting || query.failed,
        bytes: sort == Sort::Size,
    };
    let rest = Reads {
        status: query.status && !first_read.status,
        bytes: query.bytes && !first_read.bytes,
    };
    let read = {
        let (saver, bytes_of) = (Arc::clone(saver), Arc::clone(bytes_of));
        move |thread, reads| read(Arc::clone(&saver), Arc::clone(&bytes_of), thread, reads)
    };
    let read_rest = read.clone();
    let chosen = found
        .map_ok(move |summary| read(ListedThread::of(summary), first_read))
        .try_buffered(CONCURRENT)
        .try_filter(move |thread| future::ready(query.wants(thread)))
        .boxed();
    let listed = if sort == Sort::Newest {
        chosen.take(limit).boxed()
    } else {
        stream::once(first(chosen, sort, limit))
            .map_ok(|threads| stream::iter(threads).map(Ok))
            .try_flatten()
            .boxed()
    };
    listed
        .map_ok(move |thread| read_rest(thread, rest))
        .try_buffered(CONCURRENT)
        .boxed()
}

/// What is read of a thread beyond its summary.
#[derive(Debug, Clone, Copy)]
struct Reads {
    status: bool,
    bytes: bool,
}

/// Reads more of a thread.
async fn read(
    saver: Arc<dyn CheckpointSaver>,
    bytes_of: BytesOf,
    mut listed: ListedThread,
    reads: Reads,
) -> Result<ListedThread> {
    let thread = &listed.summary.thread_id;
    if reads.status {
        let state = readable(thread, status::of_thread(&*saver, thread).await)?.flatten();
        if let Some(state) = state {
            listed.status = Some(state.status);
            listed.is_waiting = state.is_waiting();
            listed.has_failed = state.has_failed();
        }
    }
    if reads.bytes {
        listed.bytes = readable(thread, bytes_of(thread.clone()).await)?.flatten();
    }
    Ok(listed)
}

impl ListedThread {
    fn of(summary: ThreadSummary) -> Self {
        Self {
            summary,
            status: None,
            is_waiting: false,
            has_failed: false,
            bytes: None,
        }
    }
}

/// What was read; a thread that cannot be read hides no other.
fn readable<T>(thread: &ThreadId, read: Result<T>) -> Result<Option<T>> {
    match read {
        Err(error @ (Error::WrongType { .. } | Error::Corrupt { .. })) => {
            tracing::warn!(%thread, error = %error.report(), "the status of a thread cannot be read");
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// The first threads in an order.
async fn first(
    mut threads: SaverStream<ListedThread>,
    sort: Sort,
    limit: usize,
) -> Result<Vec<ListedThread>> {
    let mut heap = BinaryHeap::new();
    while let Some(thread) = threads.try_next().await? {
        heap.push(Ranked { thread, sort });
        if heap.len() > limit {
            heap.pop();
        }
    }
    let ranked = heap.into_sorted_vec().into_iter();
    Ok(ranked.map(|ranked| ranked.thread).collect())
}

/// A thread, less than those that come after it in an order; equal ones are in the order of ids.
struct Ranked {
    thread: ListedThread,
    sort: Sort,
}

impl Ranked {
    fn rank(&self) -> (Reverse<u64>, u128, &str) {
        let summary = &self.thread.summary;
        let most = match self.sort {
            Sort::Checkpoints => summary.checkpoints,
            Sort::Size => self.thread.bytes.unwrap_or(0),
            Sort::Newest | Sort::Expiry => 0,
        };
        let soonest = match self.sort {
            Sort::Expiry => summary.ttl.map_or(u128::MAX, |ttl| ttl.as_millis()),
            _ => 0,
        };
        (Reverse(most), soonest, summary.thread_id.as_str())
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::super::recorded::Recorded;
    use super::*;
    use crate::memory::MemorySaver;
    use crate::options::{PutOptions, TtlChoice};
    use crate::{Checkpoint, CheckpointConfig, CheckpointMetadata};

    /// Bytes by the length of the id.
    fn by_length() -> BytesOf {
        Arc::new(|thread| async move { Ok(Some(thread.as_str().len() as u64)) }.boxed())
    }

    async fn ids(saver: impl CheckpointSaver, query: Query) -> Vec<String> {
        let found = saver.threads("");
        let saver: Arc<dyn CheckpointSaver> = Arc::new(saver);
        let threads = threads(found, &saver, &by_length(), query);
        threads
            .map_ok(|thread| thread.summary.thread_id.to_string())
            .try_collect()
            .await
            .unwrap()
    }

    async fn saver_of(threads: &[(&str, usize, Option<u64>)]) -> MemorySaver {
        let saver = MemorySaver::new();
        for (thread, checkpoints, hours) in threads {
            let config = CheckpointConfig::new(thread).unwrap();
            let ttl = hours.map(|hours| TtlChoice::For(Duration::from_secs(hours * 3_600)));
            let options = PutOptions::default().with_ttl(ttl.unwrap_or(TtlChoice::Forever));
            for _ in 0..*checkpoints {
                let checkpoint = Checkpoint::builder().build().unwrap();
                let metadata = CheckpointMetadata::new();
                let put = saver.put(&config, &checkpoint, &metadata, &options);
                put.await.unwrap();
            }
        }
        saver
    }

    #[tokio::test]
    async fn threads_come_in_the_order_that_is_asked_for_and_no_more_than_the_limit() {
        let threads = [("a", 1, None), ("bbb", 3, Some(2)), ("cc", 2, Some(1))];
        for (sort, expected) in [
            (Sort::Newest, ["cc", "bbb"]),
            (Sort::Checkpoints, ["bbb", "cc"]),
            (Sort::Size, ["bbb", "cc"]),
            (Sort::Expiry, ["cc", "bbb"]),
        ] {
            let query = Query {
                sort,
                limit: 2,
                ..Query::default()
            };
            let found = ids(saver_of(&threads).await, query).await;
            assert_eq!(found, expected, "{sort:?}");
        }
        let query = Query {
            sort: Sort::Expiry,
            limit: 9,
            ..Query::default()
        };
        let found = ids(saver_of(&threads).await, query).await;
        assert_eq!(found, ["cc", "bbb", "a"]);
    }

    #[tokio::test]
    async fn threads_that_wait_or_failed_are_found() {
        for (name, waiting, failed) in [
            ("finished", false, false),
            ("interrupt", true, false),
            ("failed_error_handler", false, true),
            ("error_and_interrupt", true, true),
            ("answered_then_killed", false, false),
        ] {
            for (asks_waiting, asks_failed) in [(true, false), (false, true), (true, true)] {
                let query = Query {
                    waiting: asks_waiting,
                    failed: asks_failed,
                    limit: 9,
                    ..Query::default()
                };
                let found = ids(Recorded::load(name).saver().await, query).await;
                let expected = (asks_waiting && waiting) || (asks_failed && failed);
                assert_eq!(!found.is_empty(), expected, "{name}");
            }
        }
    }
}
