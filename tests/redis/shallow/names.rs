//! Threads and keys whose names are alike, odd, or taken.

use langgraph_checkpoint_redis::{
    ChannelWrite, CheckpointConfig, CheckpointSaver, CheckpointSaverExt, Error, ListOptions,
    PutOptions, PutWritesOptions, RedisSaver, TaskId, TypedValue,
};

use super::{delete, id, ids, place, put, put_writes, read, saver, try_put, writes};
use crate::support::server::Server;

#[tokio::test]
async fn threads_with_one_name_are_kept_apart_or_refused() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let (one, other) = (place("a:b", "x"), place("a", "b:x"));
    // Writes come first, so both threads share a registry.
    put_writes(&saver, &one, "1", &["v"], 1).await;
    let waits = server.keys().await;
    put(&saver, &other, "2").await;
    assert!(waits.iter().all(|key| !key.starts_with("checkpoint:")));
    assert!(
        server.keys().await.contains(&waits[1]),
        "consumed by another thread"
    );
    let before = server.contents().await;
    let error = try_put(&saver, &one, "3", &PutOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    let task = TaskId::new("task").unwrap();
    let write = [ChannelWrite::new("v", TypedValue::json(&1).unwrap())];
    let named = one.clone().with_checkpoint(id("3"));
    let error = saver
        .put_writes(&named, &write, &task, &PutWritesOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert_eq!(server.contents().await, before);
    assert_eq!(saver.get_tuple(&one).await.unwrap(), None);
    assert_eq!(
        ids(&saver, Some(&one), ListOptions::default()).await,
        [""; 0]
    );
    assert_eq!(read(&saver, &other).await.pending_writes, []);
    delete(&saver, "a").await;
    assert_eq!(server.keys().await, waits);
    delete(&saver, "a:b").await;
    assert_eq!(server.keys().await, Vec::<String>::new());

    let odd = [
        "CaseThread",
        "casethread",
        "a,b",
        "a b",
        "ü\"\\\n",
        "{x}",
        "*",
        "t:",
    ];
    for thread in odd {
        for namespace in ["", "n:1"] {
            put(&saver, &place(thread, namespace), "1").await;
            put_writes(&saver, &place(thread, namespace), "1", &["v"], 1).await;
        }
    }
    assert_eq!(
        ids(&saver, None, ListOptions::default()).await.len(),
        odd.len() * 2
    );
    for thread in odd {
        let config = CheckpointConfig::new(thread).unwrap();
        let listed = saver.list_all(Some(&config), ListOptions::default()).await;
        let listed = listed.unwrap();
        assert_eq!(listed.len(), 2, "{thread:?}");
        assert!(
            listed
                .iter()
                .all(|tuple| tuple.config.thread_id == config.thread_id)
        );
        assert!(listed.iter().all(|tuple| tuple.pending_writes.len() == 1));
        delete(&saver, thread).await;
    }
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_thread_with_a_nul_is_as_any_other() {
    let mut server = Server::start().await;
    let saver = saver(&server).await;
    let (nul, other) = (place("nul\0t", ""), place("nul", ""));
    for config in [&nul, &other] {
        put(&saver, config, "1").await;
        put_writes(&saver, config, "1", &["v"], 1).await;
    }
    assert_eq!(read(&saver, &nul).await.pending_writes.len(), 1);
    assert_eq!(ids(&saver, Some(&nul), ListOptions::default()).await, ["1"]);
    delete(&saver, "nul\0t").await;
    assert_eq!(saver.get_tuple(&nul).await.unwrap(), None);
    assert_eq!(read(&saver, &other).await.pending_writes.len(), 1);
    delete(&saver, "nul").await;
    assert_eq!(server.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_key_of_another_type_is_named_and_nothing_is_written() {
    for (key, by_put) in [
        ("checkpoint:t:", true),
        ("write_keys_zset:t:__empty__:shallow", true),
        ("checkpoint_ns_set:t", true),
        ("checkpoint_write:t:__empty__:1:task:0", false),
    ] {
        let mut server = Server::start().await;
        let saver = saver(&server).await;
        server.run(&["RPUSH", key, "x"]).await;
        let before = server.contents().await;
        let named =
            |error: &Error| matches!(error, Error::WrongType { key: named } if named == key);
        let config = place("t", "");
        if by_put {
            let error = try_put(&saver, &config, "1", &PutOptions::default()).await;
            assert!(named(&error.unwrap_err()), "{key}");
        }
        let write = [ChannelWrite::new("v", TypedValue::json(&1).unwrap())];
        let (config, task) = (
            config.with_checkpoint(id("1")),
            TaskId::new("task").unwrap(),
        );
        let options = PutWritesOptions::default();
        let error = saver.put_writes(&config, &write, &task, &options).await;
        assert!(named(&error.unwrap_err()), "{key}");
        if key == "checkpoint:t:" {
            assert!(named(&saver.get_tuple(&config).await.unwrap_err()));
        }
        assert_eq!(server.contents().await, before);
    }
}

#[tokio::test]
async fn custom_prefixes_rename_every_key() {
    let mut server = Server::start().await;
    let saver = RedisSaver::builder()
        .url(server.redis.url())
        .prefixes("c", "w")
        .build_shallow()
        .await
        .unwrap();
    saver.setup().await.unwrap();
    let config = place("t", "");
    put(&saver, &config, "1").await;
    put_writes(&saver, &config, "1", &["a"], 1).await;
    assert_eq!(
        server.keys().await,
        [
            "c:t:",
            "c_ns_set:t",
            "w:t:__empty__:1:task:0",
            "w_keys_zset:t:__empty__:shallow"
        ]
    );
    // The Python saver has its registry under the default name whatever the prefixes are.
    let (ours, theirs) = (
        "w_keys_zset:t:__empty__:shallow",
        "write_keys_zset:t:__empty__:shallow",
    );
    server.run(&["RENAME", ours, theirs]).await;
    assert_eq!(writes(&read(&saver, &config).await), [("a".to_owned(), 1)]);
    put(&saver, &config, "2").await;
    assert_eq!(server.keys().await, ["c:t:", "c_ns_set:t"]);
}
