//! `stats`: how much is stored, how large it is, how long it stays.
//!
//! Numbers come from the indexes. Sizes and TTLs are those of a sample: the first keys that SCAN
//! gives, which knows no order, so that the cost does not grow with what is stored.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;

use super::driver::{Command, Reply};
use super::index::{IndexStats, Page, thread};
use super::keys::glob_escaped;
use super::names;
use super::replies::time_left;
use super::scan::Scan;
use super::scripts::Step;
use super::store::Store;
use super::{index, registry, scan};
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};

/// How many keys are walked over in one step.
const STEP: usize = 500;

/// How many keys are asked for their size in one pipeline.
const PIPELINE: usize = 100;

/// Options of [`RedisSaver::stats`](crate::RedisSaver::stats).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatsOptions {
    /// How many checkpoints, and how many writes, are asked for their size and TTL. Default:
    /// 1,000.
    pub sample: usize,
    /// Threads are counted only if there are no more checkpoints than this, as the thread of each
    /// is read, page by page. Default: 500,000.
    pub max_counted: u64,
    /// How many of the largest checkpoints of the sample are named. Default: 5.
    pub largest: usize,
}

impl Default for StatsOptions {
    fn default() -> Self {
        Self {
            sample: 1_000,
            max_counted: 500_000,
            largest: 5,
        }
    }
}

impl StatsOptions {
    /// Sets how many checkpoints, and how many writes, are asked for their size and TTL.
    #[must_use]
    pub fn with_sample(mut self, sample: usize) -> Self {
        self.sample = sample;
        self
    }

    /// Sets up to how many checkpoints their threads are counted.
    #[must_use]
    pub fn with_max_counted(mut self, checkpoints: u64) -> Self {
        self.max_counted = checkpoints;
        self
    }
}

/// How much is stored, how large it is, and how long it stays.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// How many threads there are; `None` if there are too many checkpoints to count them.
    pub threads: Option<u64>,
    /// How many checkpoints there are.
    pub checkpoints: u64,
    /// How many pending writes there are; `None` where search does not work.
    pub writes: Option<u64>,
    /// How large the sampled checkpoints are.
    pub checkpoint_sizes: Sizes,
    /// How large the sampled writes are.
    pub write_sizes: Sizes,
    /// How long the sampled checkpoints stay.
    pub ttl: TtlHistogram,
    /// The largest of the sampled checkpoints, largest first.
    pub largest: Vec<LargeCheckpoint>,
    /// The indexes; none where search does not work or before `setup`.
    pub indexes: Vec<IndexStats>,
    /// The memory that the server uses for everything, in bytes; `None` if it does not report it,
    /// and on a cluster.
    pub server_memory: Option<u64>,
    /// The most memory that the server may use, in bytes; `None` if there is no limit.
    pub server_memory_limit: Option<u64>,
}

/// The sizes of a sample of documents in Redis' memory, keys included, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// How many documents were asked for their size; 0 also if the server refuses to report it.
    pub sampled: u64,
    /// Half of them are not larger than this.
    pub median: u64,
    /// 99 of 100 are not larger than this.
    pub p99: u64,
    /// The largest.
    pub max: u64,
    /// The mean.
    pub mean: u64,
    /// What all documents take, if they are like the sample.
    pub estimated_total: u64,
}

/// How long a sample of checkpoints stays: how much time they have left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TtlHistogram {
    /// They have no TTL.
    pub forever: u64,
    /// Less than an hour.
    pub within_hour: u64,
    /// An hour to a day.
    pub within_day: u64,
    /// A day to a week.
    pub within_week: u64,
    /// A week to 30 days.
    pub within_month: u64,
    /// More than 30 days.
    pub longer: u64,
}

/// A large checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LargeCheckpoint {
    /// Its thread.
    pub thread_id: ThreadId,
    /// Its namespace.
    pub namespace: CheckpointNamespace,
    /// Its id.
    pub checkpoint_id: CheckpointId,
    /// Its size in bytes.
    pub bytes: u64,
}

/// How much is stored, how large it is, and how long it stays.
pub(crate) async fn stats(store: &Store, options: &StatsOptions) -> Result<Stats> {
    let indexed = match index::search(store).await? {
        Some(_) => indexed_stats(store, options).await?,
        None => None,
    };
    let mut stats = match indexed {
        Some(stats) => stats,
        None => scanned_stats(store, options).await?,
    };
    if !store.driver().is_cluster() {
        server_memory(store, &mut stats).await?;
    }
    Ok(stats)
}

/// What the indexes report; `None` if one turns out to be gone.
async fn indexed_stats(store: &Store, options: &StatsOptions) -> Result<Option<Stats>> {
    let mut stats = Stats::default();
    let (checkpoints, writes) = (
        store.keyspace.checkpoint_prefix(),
        store.keyspace.write_prefix(),
    );
    for index in [checkpoints, writes] {
        stats
            .indexes
            .extend(index::index_stats(store, index).await?);
    }
    let documents = |name: &str| {
        let index = stats.indexes.iter().find(|index| index.name == name);
        index.map(|index| index.documents)
    };
    stats.checkpoints = documents(checkpoints).unwrap_or(0);
    stats.writes = documents(writes);
    if stats.checkpoints <= options.max_counted {
        let Some(threads) = indexed_threads_count(store).await? else {
            return Ok(None);
        };
        stats.threads = Some(threads);
    }
    let sampled = sample(store, checkpoints, options.sample).await?;
    measure_checkpoints(store, &mut stats, sampled, options).await?;
    let count = stats.writes.unwrap_or(0);
    let sampled = sample(store, writes, options.sample).await?;
    let measured = measure(store, &sampled).await?;
    stats.write_sizes = Sizes::of(measured.iter().filter_map(|one| one.bytes), count);
    Ok(Some(stats))
}

/// How many threads the index knows; `None` if it turns out to be gone. No command looks at more
/// than a page of checkpoints.
async fn indexed_threads_count(store: &Store) -> Result<Option<u64>> {
    let hasher = RandomState::new();
    let mut threads = HashSet::new();
    let mut rows = index::indexed_thread_of_each(store);
    loop {
        let page = match rows.next(store).await? {
            Page::Rows(page) => page,
            Page::End => return Ok(Some(threads.len() as u64)),
            Page::Lost => return Ok(None),
        };
        let found = page.iter().filter_map(|row| thread(row));
        threads.extend(found.map(|thread| hasher.hash_one(thread.as_str())));
    }
}

/// A sample of the keys that start with a prefix, in no order, from every primary.
async fn sample(store: &Store, prefix: &str, size: usize) -> Result<Vec<Bytes>> {
    let pattern = format!("{}:*", glob_escaped(prefix));
    let nodes = store.driver().primaries()?;
    let each = size.div_ceil(nodes.len().max(1));
    let mut sample = HashSet::new();
    for (position, node) in nodes.into_iter().enumerate() {
        let enough = (each * (position + 1)).min(size);
        let mut scan = Scan::matching("stats", pattern.clone())
            .at(vec![node])
            .in_steps_of(STEP);
        while sample.len() < enough {
            let Some(page) = scan.next(store).await? else {
                break;
            };
            sample.extend(page);
        }
    }
    Ok(sample.into_iter().take(size).collect())
}

/// Where search does not work: every namespace, and of each the newest checkpoint as a sample.
async fn scanned_stats(store: &Store, options: &StatsOptions) -> Result<Stats> {
    let mut stats = Stats::default();
    let mut threads = BTreeSet::new();
    let mut sample = Vec::new();
    for (thread_id, namespace) in scan::scanned_namespaces(store, "").await? {
        let keys = store.keys(&thread_id, &namespace);
        let count = Command::on("ZCARD", keys.registry.clone());
        let count = store.driver().call("stats", count).await?.as_int();
        stats.checkpoints += count
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(0);
        if sample.len() < options.sample {
            let (_, ids) = registry::page(store, &keys, None, 1).await?;
            sample.extend(ids.iter().map(|id| keys.document(id)));
        }
        threads.insert(thread_id);
    }
    stats.threads = Some(threads.len() as u64);
    measure_checkpoints(store, &mut stats, sample, options).await?;
    Ok(stats)
}

async fn measure_checkpoints(
    store: &Store,
    stats: &mut Stats,
    sample: Vec<Bytes>,
    options: &StatsOptions,
) -> Result<()> {
    let measured = measure(store, &sample).await?;
    stats.checkpoint_sizes = Sizes::of(
        measured.iter().filter_map(|one| one.bytes),
        stats.checkpoints,
    );
    let mut largest: Vec<(u64, Bytes)> = Vec::new();
    for (key, measured) in sample.into_iter().zip(measured) {
        if measured.there {
            stats.ttl.add(measured.left);
        }
        largest.extend(measured.bytes.map(|bytes| (bytes, key)));
    }
    largest.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    largest.truncate(options.largest);
    for (bytes, key) in largest {
        let named = names::checkpoints_at(store, "stats", &[key]).await?;
        stats
            .largest
            .extend(named.into_iter().map(|(_, named)| LargeCheckpoint {
                thread_id: named.thread_id,
                namespace: named.namespace,
                checkpoint_id: named.checkpoint_id,
                bytes,
            }));
    }
    Ok(())
}

/// Asks for sizes and TTLs; a size that the server does not report stays unknown.
async fn measure(store: &Store, sample: &[Bytes]) -> Result<Vec<Measured>> {
    let mut measured = Vec::with_capacity(sample.len());
    for slice in sample.chunks(PIPELINE) {
        let steps: Vec<Step> = slice
            .iter()
            .flat_map(|one| {
                [
                    Command::memory_usage(one.clone()),
                    Command::on("PTTL", one.clone()),
                ]
            })
            .map(Step::from)
            .collect();
        let mut replies = store.pipeline("stats", steps).await?.into_iter();
        while let (Some(bytes), Some(left)) = (replies.next(), replies.next()) {
            let bytes = match bytes {
                Err(Error::Permission { .. } | Error::Server { .. }) => None,
                bytes => bytes?.as_int().and_then(|bytes| u64::try_from(bytes).ok()),
            };
            let left = left?;
            measured.push(Measured {
                bytes,
                there: left.as_int() != Some(-2),
                left: time_left(&left),
            });
        }
    }
    Ok(measured)
}

/// Adds the memory of the server, if it reports it.
pub(crate) async fn server_memory(store: &Store, stats: &mut Stats) -> Result<()> {
    let info = match store
        .driver()
        .call("stats", Command::new("INFO").arg("memory"))
        .await
    {
        Err(Error::Permission { .. } | Error::Server { .. }) => return Ok(()),
        info => info?,
    };
    let value = |name: &str| memory_value(&info, name);
    stats.server_memory = value("used_memory");
    stats.server_memory_limit = value("maxmemory").filter(|limit| *limit > 0);
    Ok(())
}

fn memory_value(info: &Reply, name: &str) -> Option<u64> {
    let line = info
        .as_str()?
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().parse().ok()
}

/// What a document of a sample was asked.
struct Measured {
    bytes: Option<u64>,
    there: bool,
    left: Option<Duration>,
}

impl Sizes {
    /// The sizes of a sample of `all` documents.
    pub(crate) fn of(sizes: impl Iterator<Item = u64>, all: u64) -> Self {
        let mut sizes: Vec<u64> = sizes.collect();
        sizes.sort_unstable();
        let Some(&max) = sizes.last() else {
            return Self::default();
        };
        let sampled = sizes.len() as u64;
        let total: u64 = sizes.iter().sum();
        let at = |percent: usize| sizes[(sizes.len() - 1) * percent / 100];
        let estimated = u128::from(total) * u128::from(all) / u128::from(sampled);
        Self {
            sampled,
            median: at(50),
            p99: at(99),
            max,
            mean: total / sampled,
            estimated_total: u64::try_from(estimated).unwrap_or(u64::MAX),
        }
    }
}

impl TtlHistogram {
    pub(crate) fn add(&mut self, left: Option<Duration>) {
        const HOUR: u64 = 3_600;
        let count = match left.map(|left| left.as_secs()) {
            None => &mut self.forever,
            Some(0..HOUR) => &mut self.within_hour,
            Some(HOUR..86_400) => &mut self.within_day,
            Some(86_400..604_800) => &mut self.within_week,
            Some(604_800..2_592_000) => &mut self.within_month,
            Some(_) => &mut self.longer,
        };
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_a_sample_stand_for_all() {
        let sizes = Sizes::of([30, 10, 20].into_iter(), 300);
        assert_eq!((sizes.median, sizes.max, sizes.mean), (20, 30, 20));
        assert_eq!(sizes.estimated_total, 6_000);
        assert_eq!(Sizes::of([].into_iter(), 5), Sizes::default());
    }

    #[test]
    fn a_ttl_is_counted_by_the_time_left() {
        let mut histogram = TtlHistogram::default();
        for seconds in [1, 3_599, 3_600, 86_400, 604_800, 2_592_000] {
            histogram.add(Some(Duration::from_secs(seconds)));
        }
        histogram.add(None);
        let TtlHistogram {
            forever,
            within_hour,
            within_day,
            within_week,
            within_month,
            longer,
        } = histogram;
        assert_eq!(
            [
                forever,
                within_hour,
                within_day,
                within_week,
                within_month,
                longer
            ],
            [1, 2, 1, 1, 1, 1]
        );
    }
}
