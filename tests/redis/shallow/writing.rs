//! What is stored: the newest checkpoint and its writes.

use std::time::Duration;

use langgraph_checkpoint_redis::{
    CheckpointConfig, CheckpointMetadata, CheckpointSaver, CopyOptions, Error, ExistingTarget,
    ExpectedParent, ListOptions, MetadataFilter, PruneOptions, PruneStrategy, PutOptions,
    RedisSaver, TtlPolicy,
};

use super::{
    HOUR, checkpoint, delete, id, ids, place, put, put_writes, read, saver, try_put, writes,
};
use crate::support::proxy::Proxy;
use crate::support::server::Server;

#[tokio::test]
async fn only_the_newest_checkpoint_is_kept_and_an_older_one_changes_nothing() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let (root, child) = (place("t", ""), place("t", "child:1"));
    for name in ["1", "2", "4"] {
        put(&saver, &root, name).await;
    }
    put(&saver, &child, "3").await;
    put_writes(&saver, &root, "4", &["a"], 1).await;
    let stored = server.contents().await;
    let before = read(&saver, &root).await;
    put(&saver, &root, "3").await;
    put_writes(&saver, &root, "3", &["b"], 1).await;
    assert_eq!(server.contents().await, stored);
    assert_eq!(read(&saver, &root).await, before);
    assert_eq!(before.checkpoint, checkpoint("4"));

    // Whichever is asked for, the newest is what there is to go on from.
    for name in ["4", "3", "5"] {
        let named = root.clone().with_checkpoint(id(name));
        assert_eq!(read(&saver, &named).await, before);
    }
    let thread = CheckpointConfig::new("t").unwrap();
    let list = |options| ids(&saver, Some(&thread), options);
    assert_eq!(list(ListOptions::default()).await, ["4", "3"]);
    assert_eq!(list(ListOptions::default().with_limit(1)).await, ["4"]);
    assert_eq!(
        list(ListOptions::default().with_before(id("4"))).await,
        ["3"]
    );
    let filter = MetadataFilter::new().with("name", "3").unwrap();
    assert_eq!(
        list(ListOptions::default().with_filter(filter)).await,
        ["3"]
    );
    let listed = ids(&saver, Some(&root), ListOptions::default()).await;
    assert_eq!(listed, ["4"]);
    put(&saver, &place("u", ""), "35").await;
    let listed = ids(&saver, None, ListOptions::default()).await;
    assert_eq!(listed, ["4", "35", "3"]);

    let pruned = [thread.thread_id.clone()];
    for strategy in [
        PruneStrategy::KeepLatest,
        PruneStrategy::KeepLast(1),
        PruneStrategy::OlderThan(Duration::ZERO),
    ] {
        saver
            .prune(&pruned, &PruneOptions::new(strategy))
            .await
            .unwrap();
    }
    assert_eq!(list(ListOptions::default()).await, ["4", "3"]);
    let options = PruneOptions::new(PruneStrategy::KeepLast(0));
    assert!(saver.prune(&pruned, &options).await.is_err());
    let options = PruneOptions::new(PruneStrategy::Delete);
    saver.prune(&pruned, &options).await.unwrap();
    assert_eq!(list(ListOptions::default()).await, [""; 0]);
    delete(&saver, "u").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn writes_and_interrupts_stay_until_they_are_consumed() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let config = place("t", "");
    put(&saver, &config, "1").await;
    put_writes(&saver, &config, "1", &["a", "b"], 1).await;
    // A regular write stays as it was, an interrupt is replaced.
    put_writes(&saver, &config, "1", &["a"], 2).await;
    put_writes(&saver, &config, "1", &["__interrupt__"], 1).await;
    put_writes(&saver, &config, "1", &["__interrupt__"], 2).await;
    // Writes that come before their checkpoint.
    put_writes(&saver, &config, "2", &["c"], 3).await;
    let open = [("__interrupt__", 2), ("a", 1), ("b", 1)].map(|(c, v)| (c.to_owned(), v));
    assert_eq!(writes(&read(&saver, &config).await), open);
    // Putting the same again consumes nothing.
    put(&saver, &config, "1").await;
    assert_eq!(writes(&read(&saver, &config).await), open);
    put_writes(&saver, &config, "1", &["__resume__"], 4).await;
    assert_eq!(writes(&read(&saver, &config).await).len(), 4);
    put(&saver, &config, "2").await;
    assert_eq!(writes(&read(&saver, &config).await), [("c".to_owned(), 3)]);
    assert_eq!(
        server.keys().await,
        [
            "checkpoint:t:",
            "checkpoint_ns_set:t",
            "checkpoint_write:t:__empty__:2:task:0",
            "write_keys_zset:t:__empty__:shallow"
        ]
    );
    // A call that is made again after all that is too late.
    put_writes(&saver, &config, "1", &["a"], 1).await;
    assert_eq!(server.keys().await.len(), 4);
    put(&saver, &config, "3").await;
    assert_eq!(
        server.keys().await,
        ["checkpoint:t:", "checkpoint_ns_set:t"]
    );
}

#[tokio::test]
async fn an_expected_parent_is_compared_with_the_newest() {
    let server = Server::start().await;
    let saver = saver(&server).await;
    let config = place("t", "");
    let expecting = |parent| PutOptions::default().with_expected_parent(parent);
    let is = |name| expecting(ExpectedParent::Is(id(name)));
    let error = try_put(&saver, &config, "1", &is("0")).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    for _ in 0..2 {
        let options = expecting(ExpectedParent::None);
        try_put(&saver, &config, "1", &options).await.unwrap();
    }
    try_put(&saver, &config, "3", &is("1")).await.unwrap();
    for options in [is("1"), expecting(ExpectedParent::None)] {
        let error = try_put(&saver, &config, "2", &options).await.unwrap_err();
        assert!(error.to_string().contains('3'), "{error}");
    }
    assert_eq!(read(&saver, &config).await.checkpoint, checkpoint("3"));
}

#[tokio::test]
async fn a_put_replaces_the_parent_that_its_config_names_and_nothing_else() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let config = place("t", "");
    let after = |name| config.clone().with_checkpoint(id(name));
    // A parent that is gone, or never was, replaces nothing.
    let first = put(&saver, &after("0"), "1").await;
    let (one, other) = (first.clone(), first);
    let kept = put(&saver, &one, "2").await;
    put_writes(&saver, &config, "2", &["__interrupt__"], 1).await;
    let before = read(&saver, &config).await;
    let stored = server.contents().await;

    // Another run that went on from the same checkpoint, and one that read none of these.
    for stale in [other, after("0")] {
        let error = try_put(&saver, &stale, "3", &PutOptions::default()).await;
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
        assert!(error.to_string().contains('2'), "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(read(&saver, &config).await, before);
    assert_eq!(server.contents().await, stored);

    // An older one that comes late changes nothing; the same one may be put again.
    put(&saver, &after("0"), "1").await;
    put(&saver, &one, "2").await;
    assert_eq!(read(&saver, &config).await, before);
    put(&saver, &kept, "4").await;
    // A config that names no parent, or the checkpoint itself, asks for no comparison.
    put(&saver, &after("5"), "5").await;
    put(&saver, &config, "6").await;
    assert_eq!(read(&saver, &config).await.checkpoint, checkpoint("6"));
    let nothing = PutOptions::default().with_expected_parent(ExpectedParent::None);
    let error = try_put(&saver, &config, "7", &nothing).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
}

#[tokio::test]
async fn a_copy_has_the_writes_too() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let (source, target) = (place("s", ""), place("t", ""));
    put(&saver, &source, "2").await;
    put_writes(&saver, &source, "2", &["__interrupt__", "a"], 1).await;
    put_writes(&saver, &source, "3", &["later"], 1).await;
    put(&saver, &place("s", "child"), "1").await;
    let copy = |options: CopyOptions| {
        let (source, target) = (&source.thread_id, &target.thread_id);
        let saver = &saver;
        async move { saver.copy_thread(source, target, &options).await }
    };
    copy(CopyOptions::default()).await.unwrap();
    let copied = read(&saver, &target).await;
    let original = read(&saver, &source).await;
    assert_eq!(copied.pending_writes, original.pending_writes);
    assert_eq!(copied.metadata, original.metadata);
    assert!(
        saver
            .get_tuple(&place("t", "child"))
            .await
            .unwrap()
            .is_some()
    );
    put(&saver, &target, "3").await;
    assert_eq!(writes(&read(&saver, &target).await).len(), 1);
    // A target that is further stays as it is.
    copy(CopyOptions::default()).await.unwrap();
    assert_eq!(read(&saver, &target).await.checkpoint, checkpoint("3"));
    let options = CopyOptions::default().with_existing(ExistingTarget::Error);
    let error = copy(options).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    for thread in ["s", "t"] {
        delete(&saver, thread).await;
    }
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn delta_channels_are_refused() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let config = place("t", "");
    let put = |counters: &'static str| {
        let (saver, config) = (&saver, &config);
        async move {
            let text = format!(r#"{{"counters_since_delta_snapshot":{counters}}}"#);
            let metadata = CheckpointMetadata::from_json(text).unwrap();
            let options = PutOptions::default();
            saver
                .put(config, &checkpoint("1"), &metadata, &options)
                .await
        }
    };
    let error = put(r#"{"messages":[1,2]}"#).await.unwrap_err();
    assert!(matches!(error, Error::InvalidInput { .. }), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("`messages`") && text.contains("full saver"),
        "{text}"
    );
    assert_eq!(server.keys().await, Vec::<String>::new());
    put("{}").await.unwrap();
    let channels = ["messages".to_owned()];
    let history = saver
        .delta_channel_history(&config, &channels)
        .await
        .unwrap();
    assert_eq!(
        (history["messages"].writes.len(), &history["messages"].seed),
        (0, &None)
    );
}

#[tokio::test]
async fn every_call_is_one_round_trip() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.redis.port()).await;
    let saver = RedisSaver::builder()
        .url(format!("redis://127.0.0.1:{}", proxy.port()))
        .pool_size(1)
        .recent_threads(false)
        .ttl(TtlPolicy::new(HOUR).with_refresh_on_read(true))
        .build_shallow()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    let config = place("t", "");
    // The first call of each kind sends its script along.
    put(&saver, &config, "1").await;
    put_writes(&saver, &config, "1", &["a"], 1).await;
    read(&saver, &config).await;
    for name in ["2", "3"] {
        let before = proxy.round_trips();
        put(&saver, &config, name).await;
        assert_eq!(proxy.round_trips() - before, 1, "put");
        put_writes(&saver, &config, name, &["a", "b", "c"], 1).await;
        assert_eq!(proxy.round_trips() - before, 2, "put_writes");
        assert_eq!(read(&saver, &config).await.pending_writes.len(), 3);
        assert_eq!(proxy.round_trips() - before, 3, "get_tuple");
    }
}

#[tokio::test]
async fn two_savers_leave_the_newest_and_its_writes() {
    let mut server = Server::start().await;
    let savers = [saver(&server).await, saver(&server).await];
    let config = place("t", "");
    let mut tasks = tokio::task::JoinSet::new();
    for (number, saver) in savers.iter().cloned().enumerate() {
        let config = config.clone();
        tasks.spawn(async move {
            for step in 0..100 {
                let name = format!("{:03}", step * 2 + number);
                put(&saver, &config, &name).await;
                put_writes(&saver, &config, &name, &["a"], 1).await;
                let found = read(&saver, &config).await;
                assert!(found.checkpoint.id().as_str() >= name.as_str());
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let found = read(&savers[0], &config).await;
    assert_eq!(found.checkpoint, checkpoint("199"));
    assert_eq!(found.pending_writes.len(), 1);
    assert_eq!(server.keys().await.len(), 4);
    delete(&savers[1], "t").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}
