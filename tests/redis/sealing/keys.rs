//! Keys that are missing, settings that would seal nothing, files that others can read.

use langgraph_checkpoint_redis::redis::{ConfigKey, DoctorOptions, Layout, ResealOptions};
use langgraph_checkpoint_redis::{
    CheckpointId, CheckpointSaver, CheckpointSaverExt, Error, ListOptions, RedisSaver,
};

use super::*;

#[tokio::test]
async fn a_key_that_is_missing_is_named() {
    let server = Server::start().await;
    let config = thread("t");
    let old = sealed(&server, OLD).await;
    // With index parts, which come along with the head.
    put(&old, &config, "0", &messages(200, "a")).await;
    let mut child = config.clone();
    child.checkpoint_id = Some(CheckpointId::new("0").unwrap());
    put(&old, &child, "1", &messages(200, "a")).await;
    write(&old, &config, "1", "a", "x").await;
    for saver in [sealed(&server, NEW).await, without_keys(&server).await] {
        assert_lacks(saver.get_tuple(&config).await, "old");
        assert_lacks(
            saver.list_all(Some(&config), ListOptions::default()).await,
            "old",
        );
        assert_lacks(saver.list_all(None, ListOptions::default()).await, "old");
        let channels = ["secret-channel".to_owned()];
        assert_lacks(
            saver
                .delta_channel_history(&config, &channels)
                .await
                .map(|_| ()),
            "old",
        );
        assert_lacks(saver.doctor(&DoctorOptions::default()).await, "old");
    }
    let refused = sealed(&server, NEW)
        .await
        .reseal(&ResealOptions::default())
        .await;
    assert_lacks(refused, "old");
    // A write that was sealed by a key that is gone since.
    put(
        &sealed(&server, BOTH).await,
        &config,
        "1",
        &messages(200, "a"),
    )
    .await;
    assert_lacks(sealed(&server, NEW).await.get_tuple(&config).await, "old");
    assert_eq!(all(&sealed(&server, BOTH).await, &config).await.len(), 2);
}

#[tokio::test]
async fn a_saver_without_keys_does_not_set_up_where_all_is_sealed() {
    let server = Server::start().await;
    // Where not all is sealed yet, nobody is refused.
    without_keys(&server).await.setup().await.unwrap();
    lenient(&server, NEW).await.setup().await.unwrap();
    without_keys(&server).await.setup().await.unwrap();
    sealed(&server, NEW).await.setup().await.unwrap();
    sealed(&server, NEW).await.setup().await.unwrap();
    let refused = without_keys(&server).await.setup().await.unwrap_err();
    assert!(
        matches!(&refused, Error::Config { key, .. } if key == "encryption_keys"),
        "{refused:?}"
    );
    let json = RedisSaver::builder().url(server.redis.url()).build();
    let refused = json.await.unwrap().setup().await.unwrap_err();
    assert!(
        refused.to_string().contains("layout `compact`, and"),
        "{refused}"
    );
}

#[tokio::test]
async fn settings_that_would_seal_nothing_are_refused() {
    let keys = || encryption_keys(NEW);
    let compact = || {
        RedisSaver::builder()
            .url("redis://localhost:1")
            .layout(Layout::Compact)
    };
    let json = || RedisSaver::builder().url("redis://localhost:1");
    for (builder, key, way_out) in [
        (
            json().encryption_keys(keys()),
            "encryption_keys",
            "`compact`",
        ),
        (
            json().set(ConfigKey::EncryptionKeysFile, "x"),
            "encryption_keys",
            "`compact`",
        ),
        (
            compact().allow_unsealed(true),
            "allow_unsealed",
            "`encryption_keys`",
        ),
        (
            compact()
                .encryption_keys(keys())
                .set(ConfigKey::EncryptionKeysFile, "x"),
            "encryption_keys_file",
            "leave one of them out",
        ),
        (
            compact().set(ConfigKey::EncryptionKeysFile, "/nowhere"),
            "encryption_keys_file",
            "/nowhere",
        ),
    ] {
        let refused = builder.build().await.unwrap_err();
        assert!(
            matches!(&refused, Error::Config { key: found, .. } if found == key),
            "{refused:?}"
        );
        assert!(refused.to_string().contains(way_out), "{refused}");
    }
    let shallow = json()
        .encryption_keys(keys())
        .build_shallow()
        .await
        .unwrap_err();
    assert!(matches!(&shallow, Error::Config { .. }), "{shallow:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_of_keys_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let server = Server::start().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    // The bytes of the key `new`.
    let text = "# The first seals.\nnew:q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=  \n";
    std::fs::write(file.path(), text).unwrap();
    let from_file =
        || builder(&server).set(ConfigKey::EncryptionKeysFile, file.path().to_str().unwrap());
    for mode in [0o644, 0o604, 0o602, 0o666, 0o601] {
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
        let refused = from_file().build().await.unwrap_err();
        assert!(
            refused.to_string().contains("chmod o="),
            "{mode:o}: {refused}"
        );
        assert!(!refused.to_string().contains("q6ur"), "{refused}");
    }
    for mode in [0o600, 0o400, 0o440, 0o640] {
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
        let saver = from_file().build().await.unwrap();
        put(&saver, &thread("t"), "1", &messages(1, "a")).await;
        newest(&sealed(&server, NEW).await, &thread("t"))
            .await
            .unwrap();
    }
    std::fs::write(file.path(), "new:q6urq6urq6ur").unwrap();
    let refused = from_file().build().await.unwrap_err();
    assert!(refused.to_string().contains("line 1"), "{refused}");
    assert!(!refused.to_string().contains("q6ur"), "{refused}");
    std::fs::write(file.path(), vec![b'#'; 70_000]).unwrap();
    let refused = from_file().build().await.unwrap_err();
    assert!(refused.to_string().contains("64 KiB"), "{refused}");
}
