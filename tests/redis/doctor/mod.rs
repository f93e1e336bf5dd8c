//! What is broken by hand is found, put right, and found no more; what is consistent is left alone,
//! whatever others do at the same time.

mod foreign;
mod indexes;
mod repairs;
mod scope;
mod ttl;

use std::time::Duration;

use langgraph_checkpoint_redis::redis::{DoctorOptions, DoctorReport, FindingKind};
use langgraph_checkpoint_redis::{CheckpointConfig, RedisSaver, TtlPolicy};

use crate::support::server::Server;
use crate::support::stored::{self, HOUR, checkpoint_with_id, place as config, writes};

async fn put(saver: &RedisSaver, config: &CheckpointConfig, id: &str) -> CheckpointConfig {
    stored::put(saver, config, &checkpoint_with_id(id)).await
}

async fn put_write(saver: &RedisSaver, config: &CheckpointConfig, task: &str) {
    stored::put_writes(saver, config, &writes(&["n"]), task).await;
}

/// A server with the threads `t` and `a:b`: checkpoints 1, 2 and 3 in two namespaces each, with a
/// write each.
struct Ward {
    server: Server,
    saver: RedisSaver,
}

impl Ward {
    async fn new(ttl: TtlPolicy) -> Self {
        let server = Server::start().await;
        let saver = server.saver_with(ttl).await;
        for thread in ["t", "a:b"] {
            for namespace in ["", "child:1"] {
                for id in ["1", "2", "3"] {
                    let stored = put(&saver, &config(thread, namespace), id).await;
                    put_write(&saver, &stored, "task").await;
                }
            }
        }
        Self { server, saver }
    }

    async fn without_ttl() -> Self {
        Self::new(TtlPolicy::default()).await
    }

    async fn run(&mut self, command: &[&str]) {
        self.server.run(command).await;
    }

    fn options() -> DoctorOptions {
        DoctorOptions::default().with_orphan_age(Duration::ZERO)
    }

    fn fixing_if(fix: bool) -> DoctorOptions {
        let options = Self::options();
        if fix { options.with_fix(true) } else { options }
    }

    /// The fault is found, nothing else is, and once put right it is found no more.
    async fn cures(&self, kind: FindingKind, key: &str) {
        self.cures_with(kind, key, &Self::options()).await;
    }

    async fn cures_with(&self, kind: FindingKind, key: &str, options: &DoctorOptions) {
        let report = self.saver.doctor(options).await.unwrap();
        let found: Vec<_> = report
            .findings()
            .iter()
            .map(|found| (found.kind, &*found.key))
            .collect();
        assert!(found.contains(&(kind, key)), "{kind:?} {key}: {report}");
        assert!(
            report.findings().iter().all(|finding| !finding.fixed),
            "{report}"
        );
        let fixed = self
            .saver
            .doctor(&options.clone().with_fix(true))
            .await
            .unwrap();
        let cure = fixed
            .findings()
            .iter()
            .find(|found| (found.kind, &*found.key) == (kind, key));
        assert!(cure.is_some_and(|cure| cure.fixed), "{fixed}");
        let after = self.saver.doctor(options).await.unwrap();
        assert!(after.is_healthy(), "{after}");
    }

    async fn lists(&self, thread: &str, namespace: &str) -> Vec<String> {
        stored::ids(&self.saver, &config(thread, namespace)).await
    }

    async fn newest(&self, thread: &str, namespace: &str) -> Option<String> {
        stored::newest(&self.saver, &config(thread, namespace)).await
    }
}

#[tokio::test]
async fn what_is_consistent_is_left_alone() {
    for ttl in [TtlPolicy::default(), TtlPolicy::new(HOUR)] {
        let ward = Ward::new(ttl).await;
        let report = ward.saver.doctor(&Ward::options()).await.unwrap();
        assert!(report.is_healthy(), "{report}");
        assert!(report.examined() > 40, "{report}");
        assert!(report.to_string().ends_with("nothing is wrong"), "{report}");
    }
}

/// What is reported of a key, fixed or not.
fn of_key(report: &DoctorReport, key: &str) -> Vec<(FindingKind, bool)> {
    let found = report.findings().iter().filter(|found| found.key == key);
    found.map(|found| (found.kind, found.fixed)).collect()
}

impl Ward {
    /// Runs the doctor with and without mending until that changes nothing more.
    async fn fix_all(&self, options: &DoctorOptions) -> DoctorReport {
        for _ in 0..3 {
            self.saver
                .doctor(&options.clone().with_fix(true))
                .await
                .unwrap();
        }
        self.saver.doctor(options).await.unwrap()
    }
}
