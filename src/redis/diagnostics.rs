//! What the inspector asks of a saver beyond its calls.

use async_trait::async_trait;

use super::doctor::DoctorOptions;
use super::driver::HealthProblem;
use super::saver::RedisSaver;
use super::stats::{Sizes, StatsOptions};
use crate::diagnostics::{
    Diagnostics, Examination, IndexReport, LargeCheckpoint, ServerReport, ServersReport,
    ThreadSize, Totals, Wrong,
};
use crate::error::Result;
use crate::id::ThreadId;
use crate::options::{Progress, PruneStrategy};

/// How many findings of an examination are kept.
const MAX_FINDINGS: usize = 200;

/// How many of the largest checkpoints are named.
const LARGEST: usize = 10;

#[async_trait]
impl Diagnostics for RedisSaver {
    fn layout(&self) -> &'static str {
        RedisSaver::layout(self).as_str()
    }

    async fn size_of(&self, thread: &ThreadId) -> Result<Option<ThreadSize>> {
        self.0.thread_size(thread).await
    }

    async fn prunable(&self, thread: &ThreadId, strategy: &PruneStrategy) -> Result<Progress> {
        RedisSaver::prunable(self, thread, strategy).await
    }

    async fn servers(&self) -> ServersReport {
        let health = self.health().await;
        let servers = health.servers.into_iter().map(|server| ServerReport {
            address: server.server,
            answered_in: server.answered_in,
            is_primary: server.is_primary,
            replicas: server.replicas,
            connections: server.connections,
        });
        let sentences = |stops: bool| {
            let problems = health.problems.iter();
            let some = problems.filter(move |problem| problem.stops_calls() == stops);
            some.map(HealthProblem::to_string).collect()
        };
        ServersReport {
            servers: servers.collect(),
            problems: sentences(true),
            warnings: sentences(false),
            calls_in_flight: health.calls_in_flight,
            calls_limit: health.calls_limit,
            without_search: health.without_search,
        }
    }

    async fn totals(&self) -> Result<Totals> {
        let options = StatsOptions {
            largest: LARGEST,
            ..StatsOptions::default()
        };
        let stats = self.stats(&options).await?;
        let bytes = |sizes: &Sizes| (sizes.sampled > 0).then_some(sizes.estimated_total);
        let largest = stats.largest.into_iter().map(|large| LargeCheckpoint {
            thread: large.thread_id,
            namespace: large.namespace,
            checkpoint: large.checkpoint_id,
            bytes: large.bytes,
        });
        let indexes = stats.indexes.into_iter().map(|index| IndexReport {
            name: index.name,
            documents: index.documents,
            memory: index.memory,
            failures: index.failures,
            busy: index.busy,
        });
        Ok(Totals {
            threads: stats.threads,
            checkpoints: stats.checkpoints,
            writes: stats.writes,
            checkpoint_bytes: bytes(&stats.checkpoint_sizes),
            write_bytes: bytes(&stats.write_sizes),
            ttl: vec![
                ("under an hour", stats.ttl.within_hour),
                ("under a day", stats.ttl.within_day),
                ("under a week", stats.ttl.within_week),
                ("under 30 days", stats.ttl.within_month),
                ("longer", stats.ttl.longer),
                ("no TTL", stats.ttl.forever),
            ],
            largest: largest.collect(),
            indexes: indexes.collect(),
            server_memory: stats.server_memory,
            server_memory_limit: stats.server_memory_limit,
        })
    }

    async fn examine(&self) -> Result<Examination> {
        let options = DoctorOptions {
            max_findings: MAX_FINDINGS,
            ..DoctorOptions::default()
        };
        let report = self.doctor(&options).await?;
        let counts = report.counts().iter();
        let findings = report.findings().iter();
        Ok(Examination {
            keys: report.examined(),
            counts: counts
                .map(|(kind, number)| (kind.to_string(), *number))
                .collect(),
            findings: findings
                .map(|found| Wrong {
                    key: found.key.clone(),
                    what: found.kind.to_string(),
                    detail: found.detail.clone(),
                })
                .collect(),
        })
    }
}
