//! The sets of recent threads: whether they name the threads there are.

use std::time::Duration;

use futures_util::TryStreamExt;

use super::report::{DoctorOptions, DoctorReport, Finding, FindingKind};
use crate::error::Result;
use crate::id::ThreadId;
use crate::redis::config::Layout;
use crate::redis::driver::Command;
use crate::redis::keys::{Keyspace, RECENT_SETS};
use crate::redis::scan::Scan;
use crate::redis::store::Store;
use crate::saver::{SaverStream, ThreadSummary};

/// What was written just now takes a moment to be in its set: so often what a set seems to lack is
/// looked at again, after so long each time.
const LOOKS: usize = 4;
const DELAY: Duration = Duration::from_millis(300);

/// How many threads are looked at again.
const AGAIN: usize = 1_000;

/// Looks for threads that the sets of recent threads lack. `threads` puts them in on its way.
pub(crate) async fn recent_threads(
    store: &Store,
    options: &DoctorOptions,
    report: &mut DoctorReport,
    threads: SaverStream<ThreadSummary>,
) -> Result<()> {
    if !store.recent.are_kept() {
        return Ok(());
    }
    let are_sets = types(store, options, report).await?;
    let found = lacking(store, options, &are_sets).await?;
    let mut left = found;
    if options.fix && found.iter().any(|count| *count > 0) {
        threads.try_for_each(|_| async { Ok(()) }).await?;
        left = lacking(store, options, &are_sets).await?;
    }
    for (set, (count, left)) in (0..).zip(found.into_iter().zip(left)) {
        if count > 0 {
            let finding = Finding {
                kind: FindingKind::RecentThreadsIncomplete,
                key: String::from_utf8_lossy(&store.recent.key(set)).into_owned(),
                detail: format!("{count} of them"),
                fixed: options.fix && left == 0,
            };
            report.add(finding, options.max_findings);
        }
    }
    Ok(())
}

/// Which keys are sets, or not there.
async fn types(
    store: &Store,
    options: &DoctorOptions,
    report: &mut DoctorReport,
) -> Result<Vec<bool>> {
    let keys: Vec<_> = (0..RECENT_SETS).map(|set| store.recent.key(set)).collect();
    let commands = keys.iter().map(|key| Command::on("TYPE", key.clone()));
    let replies = store.driver().batch("doctor", commands.collect()).await?;
    report.looked_at(keys.len());
    let mut are_sets = Vec::new();
    for (key, reply) in keys.iter().zip(replies) {
        let is_set = matches!(reply?.as_str(), Some("zset" | "none"));
        are_sets.push(is_set);
        if !is_set {
            let finding = Finding {
                kind: FindingKind::WrongType,
                key: String::from_utf8_lossy(key).into_owned(),
                detail: String::new(),
                fixed: false,
            };
            report.add(finding, options.max_findings);
        }
    }
    Ok(are_sets)
}

/// How many threads each set lacks.
async fn lacking(
    store: &Store,
    options: &DoctorOptions,
    are_sets: &[bool],
) -> Result<[u64; RECENT_SETS as usize]> {
    let keyspace = &store.keyspace;
    let mut scan = match store.settings.layout {
        Layout::Json => Scan::starting("doctor", &keyspace.namespaces_family()).of_type("set"),
        Layout::Compact => {
            let heads = keyspace.compact_heads_pattern(&options.prefix);
            Scan::matching("doctor", heads).of_type("zset")
        }
    };
    let mut counts = [0; RECENT_SETS as usize];
    let mut count = |threads: &[ThreadId]| {
        for thread in threads {
            counts[usize::from(Keyspace::recent_set(thread))] += 1;
        }
    };
    let mut again = Vec::new();
    while let Some(keys) = scan.next(store).await? {
        let threads = keys.iter().filter_map(|key| match store.settings.layout {
            Layout::Json => keyspace.of_namespaces(key),
            Layout::Compact => keyspace.of_compact(key),
        });
        let threads = threads.filter(|thread| {
            let is_wanted = thread.as_str().starts_with(&options.prefix);
            is_wanted && are_sets[usize::from(Keyspace::recent_set(thread))]
        });
        let lacking = store.recent.lacking(threads.collect()).await?;
        if again.len() + lacking.len() <= AGAIN {
            again.extend(lacking);
        } else {
            count(&lacking);
        }
    }
    for _ in 0..LOOKS {
        if again.is_empty() {
            break;
        }
        tokio::time::sleep(DELAY).await;
        store.recent.store().await;
        again = store.recent.lacking(again).await?;
    }
    count(&again);
    Ok(counts)
}
