//! The compact layout: parts that are lost, savers whose caches disagree, round trips, refusals.

use std::time::Duration;

use langgraph_checkpoint_redis::redis::{
    DoctorOptions, FindingKind, Layout, RedisSaverBuilder, SearchMode,
};
use langgraph_checkpoint_redis::{
    ChannelWrite, Checkpoint, CheckpointConfig, CheckpointMetadata, CheckpointSaver,
    CheckpointSaverExt, DeleteOptions, Error, ListOptions, PruneOptions, PruneStrategy, PutOptions,
    PutWritesOptions, RedisSaver, RunId, TaskId, TtlPolicy, TtlScope, TypedValue,
};

use crate::support::proxy::Proxy;
use crate::support::server::Server;

fn builder(server: &Server) -> RedisSaverBuilder {
    let builder = RedisSaver::builder().url(server.redis.url());
    builder.layout(Layout::Compact)
}

/// A saver that knows nothing of what is stored.
async fn fresh(server: &Server) -> RedisSaver {
    let saver = builder(server).build().await.unwrap();
    saver.setup().await.unwrap();
    saver
}

/// Messages of a conversation, each different.
fn messages(count: usize, salt: &str) -> Vec<String> {
    (0..count)
        .map(|number| {
            let numbers = (0..60).map(|next| (number * 7 + next).to_string());
            format!(
                "{salt} {number}: {}",
                numbers.collect::<Vec<_>>().join(salt)
            )
        })
        .collect()
}

fn checkpoint_of(messages: &[String]) -> Checkpoint {
    let builder = Checkpoint::builder().channel("messages", 1, messages);
    builder.unwrap().build().unwrap()
}

async fn put(
    saver: &RedisSaver,
    config: &CheckpointConfig,
    messages: &[String],
) -> CheckpointConfig {
    let checkpoint = checkpoint_of(messages);
    let metadata = CheckpointMetadata::new();
    let options = PutOptions::default();
    saver
        .put(config, &checkpoint, &metadata, &options)
        .await
        .unwrap()
}

async fn read(saver: &RedisSaver, config: &CheckpointConfig) -> Vec<String> {
    let found = saver.get_tuple(config).await.unwrap();
    let found = found.expect("the checkpoint is there");
    found.checkpoint.channel_value("messages").unwrap().unwrap()
}

/// The digests of the parts of a thread.
async fn digests(server: &mut Server, parts: &str) -> Vec<Vec<u8>> {
    let fields: Vec<Vec<u8>> = redis::cmd("HKEYS")
        .arg(parts)
        .query_async(&mut server.client)
        .await
        .unwrap();
    fields
        .into_iter()
        .filter(|field| field.len() == 16)
        .collect()
}

#[tokio::test]
async fn a_part_that_is_gone_is_named_and_found_by_the_doctor() {
    let mut server = Server::start().await;
    let saver = fresh(&server).await;
    let config = CheckpointConfig::new("t").unwrap();
    put(&saver, &config, &messages(300, "a")).await;
    let parts = "checkpoint_parts:{t}";
    let all = digests(&mut server, parts).await;
    assert!(all.len() > 10, "{}", all.len());
    for digest in all {
        let part: Vec<u8> = redis::cmd("HGET")
            .arg(parts)
            .arg(&digest)
            .query_async(&mut server.client)
            .await
            .unwrap();
        let _: u64 = redis::cmd("HDEL")
            .arg(parts)
            .arg(&digest)
            .query_async(&mut server.client)
            .await
            .unwrap();
        let reader = fresh(&server).await;
        let refused = reader.get_tuple(&config).await;
        assert!(
            matches!(&refused, Err(Error::Corrupt { key, .. }) if key == parts),
            "{refused:?}"
        );
        let listed = reader.list_all(Some(&config), ListOptions::default()).await;
        assert!(
            matches!(&listed, Err(Error::Corrupt { key, .. }) if key == parts),
            "{listed:?}"
        );
        reader.close().await;
        let _: u64 = redis::cmd("HSET")
            .arg(parts)
            .arg(&digest)
            .arg(&part)
            .query_async(&mut server.client)
            .await
            .unwrap();
    }
    assert!(
        saver
            .doctor(&DoctorOptions::default())
            .await
            .unwrap()
            .is_healthy()
    );
    let gone = digests(&mut server, parts).await.remove(0);
    let _: u64 = redis::cmd("HDEL")
        .arg(parts)
        .arg(&gone)
        .query_async(&mut server.client)
        .await
        .unwrap();
    let doctor = fresh(&server).await;
    let report = doctor.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(
        report.counts().contains_key(&FindingKind::PartsGone),
        "{report}"
    );
    // A saver that does not know the parts sends all, and so brings it back.
    put(&fresh(&server).await, &config, &messages(300, "a")).await;
    let report = doctor.doctor(&DoctorOptions::default()).await.unwrap();
    assert!(report.is_healthy(), "{report}");
}

#[tokio::test]
async fn a_part_that_was_changed_is_refused() {
    let mut server = Server::start().await;
    let saver = fresh(&server).await;
    let config = CheckpointConfig::new("t").unwrap();
    put(&saver, &config, &messages(60, "a")).await;
    let parts = "checkpoint_parts:{t}";
    let all = digests(&mut server, parts).await;
    let other: Vec<u8> = redis::cmd("HGET")
        .arg(parts)
        .arg(&all[0])
        .query_async(&mut server.client)
        .await
        .unwrap();
    let _: u64 = redis::cmd("HSET")
        .arg(parts)
        .arg(&all[1])
        .arg(&other)
        .query_async(&mut server.client)
        .await
        .unwrap();
    let refused = fresh(&server).await.get_tuple(&config).await;
    assert!(
        matches!(&refused, Err(Error::Corrupt { key, .. }) if key == parts),
        "{refused:?}"
    );
}

#[tokio::test]
async fn savers_whose_caches_disagree_lose_nothing() {
    let server = Server::start().await;
    let (first, second) = (fresh(&server).await, fresh(&server).await);
    let config = CheckpointConfig::new("t").unwrap();
    let mut said = messages(50, "a");
    let stored = put(&first, &config, &said).await;
    assert_eq!(read(&second, &config).await, said);
    // The thread goes, and with it what the first saver thinks it has.
    second
        .delete_thread(&config.thread_id, &DeleteOptions::default())
        .await
        .unwrap();
    put(&second, &config, &messages(1, "b")).await;
    said.push("one more".to_owned());
    let stored = put(&first, &stored, &said).await;
    assert_eq!(read(&second, &stored).await, said);
    assert_eq!(read(&fresh(&server).await, &stored).await, said);
    // The same of writes.
    second
        .delete_thread(&config.thread_id, &DeleteOptions::default())
        .await
        .unwrap();
    let write = ChannelWrite::new("messages", TypedValue::json(&said).unwrap());
    let (task, options) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
    first
        .put_writes(&stored, std::slice::from_ref(&write), &task, &options)
        .await
        .unwrap();
    let early: Vec<_> =
        futures_util::TryStreamExt::try_collect(second.early_writes(&config.thread_id))
            .await
            .unwrap();
    assert_eq!(early.len(), 1);
    assert_eq!(early[0].writes[0].value, write.value);
}

#[tokio::test]
async fn what_nothing_names_any_more_is_removed_by_prune() {
    let mut server = Server::start().await;
    let saver = fresh(&server).await;
    let mut config = CheckpointConfig::new("t").unwrap();
    let threads = [config.thread_id.clone()];
    for turn in 0..10 {
        config = put(&saver, &config, &messages(40, &turn.to_string())).await;
    }
    let parts = "checkpoint_parts:{t}";
    let before = digests(&mut server, parts).await.len();
    let keep = PruneOptions::new(PruneStrategy::KeepLatest);
    saver.prune(&threads, &keep).await.unwrap();
    let after = digests(&mut server, parts).await.len();
    assert!(after * 9 < before, "{before} parts, then {after}");
    let reader = fresh(&server).await;
    assert_eq!(read(&reader, &config).await, messages(40, "9"));
    assert!(
        reader
            .doctor(&DoctorOptions::default())
            .await
            .unwrap()
            .is_healthy()
    );
}

#[tokio::test]
async fn writes_that_are_lost_are_an_error_until_the_doctor_forgets_them() {
    let mut server = Server::start().await;
    let saver = fresh(&server).await;
    let config = CheckpointConfig::new("t").unwrap();
    let stored = put(&saver, &config, &messages(1, "a")).await;
    let write = ChannelWrite::new("a", TypedValue::json(&1).unwrap());
    let (task, options) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
    saver
        .put_writes(&stored, std::slice::from_ref(&write), &task, &options)
        .await
        .unwrap();
    server.run(&["DEL", "checkpoint_writes:{t}"]).await;
    for refused in [
        saver.get_tuple(&stored).await.map(|_| ()),
        saver.put_writes(&stored, &[write], &task, &options).await,
        saver
            .list_all(Some(&config), ListOptions::default())
            .await
            .map(|_| ()),
    ] {
        assert!(
            matches!(&refused, Err(Error::Corrupt { key, .. }) if key == "checkpoint_writes:{t}"),
            "{refused:?}"
        );
    }
    let report = saver.doctor(&DoctorOptions::default()).await.unwrap();
    assert_eq!(
        report.counts().get(&FindingKind::WritesGone),
        Some(&1),
        "{report}"
    );
    saver
        .doctor(&DoctorOptions::default().with_fix(true))
        .await
        .unwrap();
    let found = saver.get_tuple(&stored).await.unwrap().unwrap();
    assert_eq!(found.pending_writes, []);
}

#[tokio::test]
async fn a_prefix_of_the_other_layout_is_refused() {
    let server = Server::start().await;
    fresh(&server).await;
    let json = RedisSaver::builder()
        .url(server.redis.url())
        .build()
        .await
        .unwrap();
    let refused = json.setup().await.unwrap_err();
    assert!(
        matches!(&refused, Error::Config { key, .. } if key == "layout"),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("`compact`"), "{refused}");
    let json = RedisSaver::builder()
        .url(server.redis.url())
        .prefix("j")
        .build()
        .await
        .unwrap();
    json.setup().await.unwrap();
    let compact = builder(&server).prefix("j").build().await.unwrap();
    let refused = compact.setup().await.unwrap_err();
    assert!(
        matches!(&refused, Error::Config { key, .. } if key == "layout"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_prefix_with_threads_of_the_other_layout_is_refused_also_without_an_index() {
    let mut server = Server::start().await;
    for (prefix, pointer_only) in [("ours", false), ("python's", true)] {
        let json = RedisSaver::builder().url(server.redis.url());
        let json = json.search(SearchMode::Off).prefix(prefix);
        let json = json.build().await.unwrap();
        json.setup().await.unwrap();
        put(
            &json,
            &CheckpointConfig::new("t").unwrap(),
            &messages(1, "a"),
        )
        .await;
        if pointer_only {
            let set = format!("{prefix}:checkpoint_ns_set:t");
            server.run(&["UNLINK", &set]).await;
        }
        let compact = builder(&server).prefix(prefix).build().await.unwrap();
        let refused = compact.setup().await.unwrap_err();
        assert!(
            matches!(&refused, Error::Config { key, .. } if key == "layout"),
            "{refused:?}"
        );
        assert!(refused.to_string().contains("`json`"), "{refused}");
    }
}

#[tokio::test]
async fn the_url_may_name_the_layout_and_scopes_that_it_lacks_are_refused() {
    let mut server = Server::start().await;
    let url = format!("{}?layout=compact", server.redis.url());
    let saver = RedisSaver::connect(url).await.unwrap();
    saver.setup().await.unwrap();
    put(
        &saver,
        &CheckpointConfig::new("{t}").unwrap(),
        &messages(1, "a"),
    )
    .await;
    let mut keys = server.keys().await;
    keys.retain(|key| key.contains("_heads"));
    assert_eq!(keys, ["checkpoint_heads:{%7Bt%7D}"]);
    let ttl = TtlPolicy::new(Duration::from_secs(60)).with_scope(TtlScope::Checkpoint);
    let refused = builder(&server).ttl(ttl).build().await.unwrap_err();
    assert!(
        matches!(&refused, Error::Config { key, .. } if key == "ttl_scope"),
        "{refused:?}"
    );
    let shallow = builder(&server).build_shallow().await.unwrap_err();
    assert!(
        matches!(&shallow, Error::Config { key, .. } if key == "layout"),
        "{shallow:?}"
    );
}

#[tokio::test]
async fn threads_are_deleted_pruned_and_pinned_on_a_server_without_memory() {
    let mut server = Server::start().await;
    let saver = fresh(&server).await;
    let threads = ["deleted", "pruned", "pinned", "of a run"];
    let mut newest = Vec::new();
    for thread in threads {
        let config = CheckpointConfig::new(thread).unwrap();
        let run = RunId::new(format!("run {thread}")).unwrap();
        let mut config = config.with_run(run);
        for turn in 0..5 {
            let stored = put(&saver, &config, &messages(10 + turn, thread)).await;
            config.checkpoint_id = stored.checkpoint_id;
        }
        newest.push(config);
    }
    server.run(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let before = server.contents().await;
    let checkpoint = checkpoint_of(&messages(30, "new"));
    let (metadata, options) = (CheckpointMetadata::new(), PutOptions::default());
    for config in [&CheckpointConfig::new("new").unwrap(), &newest[0]] {
        let refused = saver.put(config, &checkpoint, &metadata, &options).await;
        assert!(matches!(refused, Err(Error::OutOfMemory)), "{refused:?}");
    }
    let write = [ChannelWrite::new("a", TypedValue::json(&1).unwrap())];
    let (task, options) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
    let refused = saver.put_writes(&newest[0], &write, &task, &options).await;
    assert!(matches!(refused, Err(Error::OutOfMemory)), "{refused:?}");
    assert_eq!(server.contents().await, before, "nothing of it was stored");
    assert!(saver.pin(&newest[2].thread_id).await.unwrap());
    let pruned = [newest[1].thread_id.clone()];
    saver
        .prune(&pruned, &PruneOptions::default())
        .await
        .unwrap();
    assert_eq!(read(&saver, &newest[1]).await, messages(14, "pruned"));
    let run = RunId::new("run of a run").unwrap();
    saver.delete_for_runs(&[run]).await.unwrap();
    assert_eq!(saver.get_tuple(&newest[3]).await.unwrap(), None);
    for config in &newest {
        let options = DeleteOptions::default();
        saver
            .delete_thread(&config.thread_id, &options)
            .await
            .unwrap();
    }
    assert_eq!(server.keys().await, ["checkpoint_layout"]);
}

#[tokio::test]
async fn calls_take_one_round_trip_and_a_read_of_what_is_not_known_two() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.redis.port()).await;
    let through_proxy = async || {
        let url = format!("redis://127.0.0.1:{}", proxy.port());
        let builder = RedisSaver::builder().url(url).pool_size(1);
        let builder = builder.recent_threads(false);
        let saver = builder.layout(Layout::Compact).build().await.unwrap();
        saver.setup().await.unwrap();
        saver
    };
    let write = [ChannelWrite::new("a", TypedValue::json(&1).unwrap())];
    let (task, options) = (TaskId::new("task").unwrap(), PutWritesOptions::default());
    let saver = through_proxy().await;
    // The first call of each kind sends its script along.
    let first = put(
        &saver,
        &CheckpointConfig::new("first").unwrap(),
        &messages(1, "a"),
    )
    .await;
    saver
        .put_writes(&first, &write, &task, &options)
        .await
        .unwrap();
    read(&saver, &first).await;
    for (thread, count, cold) in [("small", 3, 1), ("large", 1_000, 2)] {
        let config = CheckpointConfig::new(thread).unwrap();
        let before = proxy.round_trips();
        let mut said = messages(count, "a");
        let stored = put(&saver, &config, &said).await;
        assert_eq!(proxy.round_trips() - before, 1, "put of {thread}");
        saver
            .put_writes(&stored, &write, &task, &options)
            .await
            .unwrap();
        assert_eq!(proxy.round_trips() - before, 2, "put_writes of {thread}");
        read(&saver, &config).await;
        assert_eq!(proxy.round_trips() - before, 3, "get_tuple of {thread}");
        let other = through_proxy().await;
        let before = proxy.round_trips();
        assert_eq!(read(&other, &config).await, said);
        assert_eq!(
            proxy.round_trips() - before,
            cold,
            "cold get_tuple of {thread}"
        );
        let before = proxy.round_trips();
        said.push("one more".to_owned());
        put(&other, &stored, &said).await;
        assert_eq!(
            proxy.round_trips() - before,
            1,
            "put of {thread} by another"
        );
    }
}

/// The collector removes nothing of a thread whose version has changed since it looked.
#[tokio::test]
async fn a_thread_that_is_made_again_has_no_version_that_it_had_before() {
    let mut server = Server::start().await;
    let saver = fresh(&server).await;
    let config = CheckpointConfig::new("t").unwrap();
    let mut versions = Vec::new();
    for _ in 0..3 {
        for count in 1..4 {
            put(&saver, &config, &messages(count, "a")).await;
            let version: u64 = redis::cmd("HGET")
                .arg(&["checkpoint_parts:{t}", "version"])
                .query_async(&mut server.client)
                .await
                .unwrap();
            versions.push(version);
        }
        saver
            .delete_thread(&config.thread_id, &DeleteOptions::default())
            .await
            .unwrap();
    }
    assert!(
        versions.is_sorted_by(|one, other| one < other),
        "{versions:?}"
    );
}
