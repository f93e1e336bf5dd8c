//! `stats`: how much is stored, how large it is, how long it stays.
//!
//! Threads, checkpoints and writes are counted by a walk over all threads, which asks each for its
//! numbers. Checkpoints share the parts of their values, so the size of one is what its thread
//! takes, divided by their number.

use super::Compact;
use super::threads::ThreadIds;
use crate::error::{Error, Result};
use crate::redis::driver::{Command, Reply};
use crate::redis::replies::time_left;
use crate::redis::scripts::Step;
use crate::redis::stats::{Sizes, Stats, StatsOptions, server_memory};

/// How many threads are asked in one pipeline.
const PIPELINE: usize = 100;

/// How much is stored, how large it is, and how long it stays.
pub(super) async fn stats(layout: &Compact, options: &StatsOptions) -> Result<Stats> {
    let store = &layout.store;
    let mut stats = Stats::default();
    let (mut threads, mut writes, mut sampled) = (0, 0, 0);
    let (mut sizes, mut write_sizes) = (Vec::new(), Vec::new());
    let mut ids = ThreadIds::starting(layout, "stats", "");
    while let Some(page) = ids.next(layout).await? {
        for slice in page.chunks(PIPELINE) {
            let measures = sampled < options.sample;
            let commands = if measures { 7 } else { 3 };
            let steps: Vec<Step> = slice
                .iter()
                .flat_map(|thread| {
                    let keys = store.keyspace.compact(thread);
                    let blobs = Command::on("HMGET", keys.parts.clone());
                    let mut steps = vec![
                        Command::on("ZCARD", keys.heads.clone()),
                        Command::on("ZCARD", keys.writes.clone()),
                        blobs.arg("blobs"),
                    ];
                    if measures {
                        steps.extend(keys.all().into_iter().map(Command::memory_usage));
                        steps.push(Command::on("PTTL", keys.heads));
                    }
                    steps.into_iter().map(Step::from)
                })
                .collect();
            let replies = store.pipeline("stats", steps).await?;
            let replies = replies.into_iter().map(if_answered);
            let replies = replies.collect::<Result<Vec<_>>>()?;
            for replies in replies.chunks(commands) {
                let number = |position: usize| number(replies.get(position)?.as_ref()?);
                let checkpoints = number(0).unwrap_or(0);
                let members = number(1).unwrap_or(0);
                let of_writes = members.saturating_sub(number(2).unwrap_or(0));
                threads += 1;
                writes += of_writes;
                stats.checkpoints += checkpoints;
                let sample = sample_of(checkpoints, options);
                sampled += sample;
                if let (Some(heads), Some(parts)) = (number(3), number(4))
                    && let Some(each) = (heads + parts).checked_div(checkpoints)
                {
                    sizes.extend(std::iter::repeat_n(each, sample));
                }
                if let Some(each) = number(5).unwrap_or(0).checked_div(members) {
                    let sample = sample_of(of_writes, options);
                    write_sizes.extend(std::iter::repeat_n(each, sample));
                }
                if let Some(Some(left)) = replies.get(6)
                    && left.as_int() != Some(-2)
                {
                    stats.ttl.add(time_left(left));
                }
            }
        }
    }
    sizes.truncate(options.sample);
    write_sizes.truncate(options.sample);
    stats.threads = Some(threads);
    stats.writes = Some(writes);
    stats.checkpoint_sizes = Sizes::of(sizes.into_iter(), stats.checkpoints);
    stats.write_sizes = Sizes::of(write_sizes.into_iter(), writes);
    if !store.driver().is_cluster() {
        server_memory(store, &mut stats).await?;
    }
    Ok(stats)
}

/// A reply; none for a key of another type, and where the user or the server does not report a
/// size.
fn if_answered(reply: Result<Reply>) -> Result<Option<Reply>> {
    match reply {
        Err(Error::WrongType { .. } | Error::Permission { .. } | Error::Server { .. }) => Ok(None),
        reply => reply.map(Some),
    }
}

fn number(reply: &Reply) -> Option<u64> {
    let number = match reply {
        Reply::Array(elements) => elements.first()?.as_int(),
        reply => reply.as_int(),
    };
    number.and_then(|number| u64::try_from(number).ok())
}

/// How many of some things are in the sample.
fn sample_of(count: u64, options: &StatsOptions) -> usize {
    usize::try_from(count)
        .unwrap_or(usize::MAX)
        .min(options.sample)
}
