//! What others change, move or slip in is refused, and what they see tells nothing.

use langgraph_checkpoint_redis::redis::ResealOptions;
use langgraph_checkpoint_redis::{CheckpointSaver, CheckpointSaverExt, Error, ListOptions};

use super::*;
use crate::support::recorder::Listening;

#[tokio::test]
async fn nothing_of_what_is_stored_and_no_key_is_seen_in_redis_or_in_the_log() {
    let listening = Listening::start();
    let mut server = Server::start().await;
    let builder = builder(&server).encryption_keys(encryption_keys(BOTH));
    let shown = format!("{builder:?}");
    let saver = builder.build().await.unwrap();
    saver.setup().await.unwrap();
    let config = thread("t");
    // The log is that of all tests.
    let own = "only here";
    put(&saver, &config, "1", &messages(40, own)).await;
    write(&saver, &config, "1", "task", own).await;
    write(&saver, &config, "2", "early", own).await;
    let reader = sealed(&server, BOTH).await;
    assert_eq!(
        newest(&reader, &config).await.unwrap().pending_writes.len(),
        2
    );
    assert_lacks(sealed(&server, OLD).await.get_tuple(&config).await, "new");
    saver.reseal(&ResealOptions::default()).await.unwrap();

    let keys = server.keys().await;
    assert_eq!(keys, [HEADS, "checkpoint_layout", PARTS, WRITES]);
    let mut stored = [
        members(&mut server, HEADS).await,
        members(&mut server, WRITES).await,
    ]
    .concat();
    for (digest, part) in parts(&mut server, PARTS).await {
        stored.extend([digest, part]);
    }
    assert!(stored.len() > 10, "{}", stored.len());
    let contains = |bytes: &[u8], secret: &[u8]| bytes.windows(secret.len()).any(|at| at == secret);
    let secrets = [
        &b"secret"[..],
        b"lorem",
        own.as_bytes(),
        b"channel_values",
        &[171; 8],
    ];
    for secret in secrets {
        assert!(
            !stored.iter().any(|bytes| contains(bytes, secret)),
            "{secret:?}"
        );
    }
    let said = format!("{shown} {saver:?} {}", listening.heard());
    // The first key in base64, and as numbers.
    for secret in [own, "q6urq6urq6ur", "171, 171"] {
        assert!(!said.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn a_head_that_is_moved_is_refused() {
    let mut server = Server::start().await;
    let saver = sealed(&server, NEW).await;
    let other_prefix = builder(&server)
        .encryption_keys(encryption_keys(NEW))
        .prefix("p");
    let other_prefix = other_prefix.build().await.unwrap();
    put(&saver, &thread("t"), "1", &messages(1, "a")).await;
    put(&saver, &thread("other"), "2", &messages(1, "a")).await;
    put(&other_prefix, &thread("t"), "2", &messages(1, "a")).await;
    let own = members(&mut server, HEADS).await.remove(0);
    // To another checkpoint of the thread: a namespace without characters, and an id with one.
    let moved = [b"\x002\0", &own[3..]].concat();
    let from_thread = members(&mut server, "checkpoint_heads:{other}")
        .await
        .remove(0);
    let from_prefix = members(&mut server, "p:checkpoint_heads:{t}")
        .await
        .remove(0);
    for head in [moved, from_thread, from_prefix] {
        assert_eq!(head[..3], *b"\x002\0");
        add(&mut server, HEADS, &head).await;
        let reader = sealed(&server, NEW).await;
        assert_refused(newest(&reader, &thread("t")).await, "moved here");
        let listed = reader
            .list_all(Some(&thread("t")), ListOptions::default())
            .await;
        assert!(matches!(listed, Err(Error::Corrupt { .. })), "{listed:?}");
        // The others of all threads are listed all the same.
        let listed = reader.list_all(None, ListOptions::default()).await.unwrap();
        assert_eq!(listed.len(), 2);
        remove(&mut server, HEADS, &head).await;
    }
    newest(&saver, &thread("t")).await.unwrap();
}

#[tokio::test]
async fn a_write_that_is_moved_is_refused() {
    let mut server = Server::start().await;
    let saver = sealed(&server, NEW).await;
    for id in ["t", "other"] {
        put(&saver, &thread(id), "1", &messages(1, "a")).await;
        write(&saver, &thread(id), "1", "a", "x").await;
    }
    let all = members(&mut server, WRITES).await;
    assert_eq!(all.len(), 2);
    assert_eq!(all[0][..5], *b"\x001\0a\0");
    let elsewhere = members(&mut server, "checkpoint_writes:{other}").await;
    let mut other_task = all[0].clone();
    other_task[3] = b'b';
    let mut other_index = all[0].clone();
    other_index[12] = 7;
    // The one of the other thread has the place of one that is there.
    remove(&mut server, WRITES, &all[0]).await;
    for moved in [other_task, other_index, elsewhere[0].clone()] {
        add(&mut server, WRITES, &moved).await;
        let reader = sealed(&server, NEW).await;
        assert_refused(newest(&reader, &thread("t")).await, "moved here");
        remove(&mut server, WRITES, &moved).await;
    }
    add(&mut server, WRITES, &all[0]).await;
    newest(&saver, &thread("t")).await.unwrap();
}

#[tokio::test]
async fn a_part_that_is_moved_is_refused() {
    let mut server = Server::start().await;
    let saver = sealed(&server, NEW).await;
    for id in ["t", "other"] {
        put(&saver, &thread(id), "1", &messages(200, "a")).await;
    }
    let own = parts(&mut server, PARTS).await;
    let other = parts(&mut server, "checkpoint_parts:{other}").await;
    assert!(own.keys().all(|digest| !other.contains_key(digest)));
    let kinds = [2, 3]; // Of index parts, and of what is sealed.
    for kind in kinds {
        let of_kind = |(_, part): &(&Vec<u8>, &Vec<u8>)| part[0] == kind;
        let mut found = own.iter().filter(of_kind);
        let (digest, part) = found.next().unwrap();
        let mut instead = vec![other.iter().find(of_kind).unwrap().1.clone()];
        instead.extend(found.next().map(|(_, part)| part.clone()));
        for instead in instead {
            set_part(&mut server, PARTS, digest, &instead).await;
            let reader = sealed(&server, NEW).await;
            assert_refused(newest(&reader, &thread("t")).await, "the part");
        }
        set_part(&mut server, PARTS, digest, part).await;
    }
    newest(&sealed(&server, NEW).await, &thread("t"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_bit_turned_over_is_noticed() {
    let mut server = Server::start().await;
    let saver = sealed(&server, NEW).await;
    let config = thread("t");
    put(&saver, &config, "1", &messages(12, "a")).await;
    write(&saver, &config, "1", "a", "x").await;
    let head = members(&mut server, HEADS).await.remove(0);
    let record = members(&mut server, WRITES).await.remove(0);
    for (key, member, place) in [(HEADS, head, 3), (WRITES, record, 13)] {
        let length = member.len();
        // What stands in front, the id of the key, the ciphertext and its tag.
        for at in [place, place + 5, length / 2, length - 20, length - 1] {
            let mut turned = member.clone();
            turned[at] ^= 1;
            replace(&mut server, key, &member, &turned).await;
            let read = newest(&sealed(&server, NEW).await, &config).await;
            assert!(
                matches!(
                    read,
                    Err(Error::Corrupt { .. } | Error::Config { .. } | Error::Server { .. })
                ),
                "{key} {at}: {read:?}"
            );
            replace(&mut server, key, &turned, &member).await;
        }
    }
    for (digest, part) in parts(&mut server, PARTS).await {
        for at in [1, part.len() / 2, part.len() - 1] {
            let mut turned = part.clone();
            turned[at] ^= 128;
            set_part(&mut server, PARTS, &digest, &turned).await;
            let read = newest(&sealed(&server, NEW).await, &config).await;
            assert!(
                matches!(read, Err(Error::Corrupt { .. } | Error::Config { .. })),
                "{at}: {read:?}"
            );
        }
        set_part(&mut server, PARTS, &digest, &part).await;
    }
    newest(&sealed(&server, NEW).await, &config).await.unwrap();
}

#[tokio::test]
async fn what_is_not_sealed_is_refused_unless_it_is_allowed() {
    let server = Server::start().await;
    let plain = without_keys(&server).await;
    let config = thread("t");
    let strict = sealed(&server, NEW).await;
    put(&strict, &config, "1", &messages(40, "a")).await;
    // Slipped in by somebody who can write to Redis, but has no key.
    put(&plain, &config, "2", &messages(40, "b")).await;
    let strict = sealed(&server, NEW).await;
    assert_refused(newest(&strict, &config).await, "`allow_unsealed`");
    let moving_in = lenient(&server, NEW).await;
    assert_eq!(all(&moving_in, &config).await.len(), 2);
    // A plain write to a sealed checkpoint.
    write(&plain, &thread("u"), "1", "a", "x").await;
    put(&strict, &thread("u"), "1", &messages(1, "a")).await;
    assert_refused(newest(&strict, &thread("u")).await, "`allow_unsealed`");
    let found = newest(&moving_in, &thread("u")).await.unwrap();
    assert_eq!(found.pending_writes.len(), 2);
}
