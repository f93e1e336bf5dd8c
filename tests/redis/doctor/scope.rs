//! What is looked at, and what stays consistent while others write.

use langgraph_checkpoint_redis::redis::FindingKind;
use langgraph_checkpoint_redis::{
    CheckpointConfig, CheckpointId, CheckpointSaver, CheckpointSaverExt, DeleteOptions,
    ListOptions, PruneOptions, RedisSaver, ThreadId, TtlPolicy,
};

use super::{HOUR, Ward, config, put, put_write};
use crate::support::server::Server;
use crate::support::stored;

#[tokio::test]
async fn only_threads_of_the_prefix_are_looked_at() {
    let mut ward = Ward::without_ttl().await;
    ward.run(&["UNLINK", "checkpoint:a:b:__empty__:2"]).await;
    let report = ward
        .saver
        .doctor(&Ward::options().with_prefix("t"))
        .await
        .unwrap();
    assert!(report.is_healthy(), "{report}");
    let report = ward
        .saver
        .doctor(&Ward::options().with_prefix("a:"))
        .await
        .unwrap();
    assert!(
        report.counts().contains_key(&FindingKind::CheckpointGone),
        "{report}"
    );
}

#[tokio::test]
async fn under_other_prefixes_and_hash_tags_all_is_found_as_well() {
    let mut server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .prefix("app[1]")
        .hash_tag_threads(true)
        .build()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    let stored = put(&saver, &config("a:b", "x:y"), "1").await;
    put_write(&saver, &stored, "task").await;
    let report = saver.doctor(&Ward::options()).await.unwrap();
    assert!(report.is_healthy() && report.examined() > 5, "{report}");
    server
        .run(&["UNLINK", "app[1]:checkpoint:{a:b}:x:y:1"])
        .await;
    let report = saver
        .doctor(&Ward::options().with_prefix("a:").with_fix(true))
        .await
        .unwrap();
    assert!(
        report.counts().contains_key(&FindingKind::CheckpointGone),
        "{report}"
    );
    assert!(
        report.counts().contains_key(&FindingKind::PointerToNothing),
        "{report}"
    );
    assert!(
        report
            .counts()
            .contains_key(&FindingKind::WritesWithoutCheckpoint),
        "{report}"
    );
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_found_or_lost_while_others_write() {
    let ward = Ward::new(TtlPolicy::new(HOUR)).await;
    let mut writers = Vec::new();
    for worker in 0..4 {
        let saver = ward.saver.clone();
        writers.push(tokio::spawn(async move {
            for round in 0..12 {
                let thread = ThreadId::new(format!("w:{worker}")).unwrap();
                let config = CheckpointConfig::of_thread(thread.clone());
                for id in 10..20 {
                    let checkpoint = CheckpointId::new(id.to_string()).unwrap();
                    // Writes come before their checkpoint and after it.
                    put_write(&saver, &config.clone().with_checkpoint(checkpoint), "one").await;
                    let stored = put(&saver, &config, &id.to_string()).await;
                    put_write(&saver, &stored, "two").await;
                }
                let found = saver
                    .list_all(Some(&config), ListOptions::default())
                    .await
                    .unwrap();
                assert_eq!(found.len(), 10, "round {round}");
                assert!(found.iter().all(|tuple| tuple.pending_writes.len() == 2));
                let both = [thread.clone()];
                saver.prune(&both, &PruneOptions::default()).await.unwrap();
                let copy = ThreadId::new(format!("copy:{worker}")).unwrap();
                let options = langgraph_checkpoint_redis::CopyOptions::default();
                saver.copy_thread(&thread, &copy, &options).await.unwrap();
                saver
                    .delete_thread(&copy, &DeleteOptions::default())
                    .await
                    .unwrap();
                saver
                    .delete_thread(&thread, &DeleteOptions::default())
                    .await
                    .unwrap();
            }
        }));
    }
    let mut rounds = 0;
    while writers.iter().any(|writer| !writer.is_finished()) {
        let report = ward
            .saver
            .doctor(&Ward::options().with_fix(true))
            .await
            .unwrap();
        assert!(report.is_healthy(), "{report}");
        rounds += 1;
    }
    assert!(rounds > 1);
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Thread `a` with namespace `b:x` and thread `a:b` with `x` share the registry of a checkpoint's
/// writes.
#[tokio::test]
async fn writes_of_a_thread_with_keys_of_the_same_names_do_not_count() {
    let server = Server::start().await;
    let saver = server.saver().await;
    let early = stored::named(&config("a", "b:x"), "1");
    put_write(&saver, &early, "task").await;
    put(&saver, &config("a:b", "x"), "1").await;
    let with_both = saver.doctor(&Ward::options()).await.unwrap();
    stored::delete(&saver, &early.thread_id).await;
    let with_one = saver.doctor(&Ward::options()).await.unwrap();
    for report in [with_both, with_one] {
        assert!(report.is_healthy(), "{report}");
    }
}
