#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::id::{CheckpointId, CheckpointNamespace, ThreadId};
use crate::options::ExpectedParent;
use crate::redis::keys::{CHECKPOINT_PREFIX, Keyspace, NamespaceKeys, WRITE_PREFIX};

fn keys() -> NamespaceKeys {
    let keyspace = Keyspace::new(CHECKPOINT_PREFIX, WRITE_PREFIX, false).unwrap();
    let thread = ThreadId::new("t").unwrap();
    keyspace
        .thread(&thread)
        .namespace(&CheckpointNamespace::root())
}

fn put() -> PutCall {
    PutCall {
        keys: keys(),
        id: CheckpointId::new("1").unwrap(),
        document: Bytes::from_static(b"{}"),
        staged: None,
        ttl: Some(Duration::from_secs(5)),
        thread_ttl: ThreadTtl::Never,
        expected: ExpectedParent::Is(CheckpointId::new("0").unwrap()),
    }
}

/// What a script is sent: the number of its keys, its keys, its arguments.
fn sent(script: &ScriptCall) -> Vec<Bytes> {
    script.by_hash().args.split_off(1)
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn a_put_is_sent_as_its_script_takes_it() {
    let expected = [
        "5",
        "checkpoint:t:__empty__:1",
        "checkpoint_latest:t:__empty__",
        "checkpoint_keys_zset:t:__empty__",
        "checkpoint_ns_set:t",
        "write_keys_zset:t:__empty__:1",
        "{}",
        "1",
        "__empty__",
        "5000",
        "checkpoint:t:__empty__:",
        "=0",
        "[\"t\"]",
        "[\"__empty__\"]",
        "-1",
        "checkpoint_write:t:__empty__:",
    ];
    assert_eq!(sent(&put().script()), expected);
}

#[test]
fn a_staged_document_is_not_sent_again() {
    let call = PutCall {
        staged: Some(bytes("staged")),
        ..put()
    };
    let sent = sent(&call.script());
    assert_eq!(sent[..2], ["6", "checkpoint:t:__empty__:1"]);
    assert_eq!(sent[6..9], ["staged", "", "1"]);
    assert!(!sent.contains(&bytes("{}")));
}

#[test]
fn names_in_json_are_escaped_as_redisjson_does() {
    let call = PutCall {
        keys: NamespaceKeys {
            thread: bytes("a\"b\\c\u{e9}"),
            ..keys()
        },
        ..put()
    };
    assert_eq!(sent(&call.script())[12], "[\"a\\\"b\\\\cé\"]");
}

#[test]
fn commands_on_a_key_need_a_script_only_for_a_ttl_or_where_memory_is_full() {
    let key = bytes("k");
    let set = || RunOnKey::new(&key).run("SADD", [bytes("m")]);
    let is_command = |call: RunOnKey| matches!(call.into(), Request::Command(_));
    assert!(is_command(set()));
    assert!(is_command(set().if_done().ttl(0, false)));
    assert!(!is_command(set().ttl(0, true)));
    assert!(!is_command(set().ttl(1, false)));
    assert!(!is_command(set().shared_ttl(0)));
    assert!(!is_command(set().even_when_full()));
    assert!(!is_command(set().run("SREM", [bytes("n")])));
}

/// A non-atomic run returns what the script would; both are read by one function.
#[test]
fn a_reply_is_read_as_it_was_made() {
    fn check<T>(reply: &T)
    where
        T: Clone + PartialEq + std::fmt::Debug + From<Reply> + Into<Reply>,
    {
        assert_eq!(T::from(reply.clone().into()), *reply);
    }
    let writes = || vec![bytes("{}"), bytes("[]")];
    check(&PutReply {
        is_newest: true,
        refresh_due: false,
        has_more_writes: true,
        ttl: Some(Duration::from_millis(7)),
    });
    check(&PutWritesReply {
        stored: 3,
        refresh_due: true,
    });
    check(&ReadReply::Absent);
    check(&ReadReply::Unknown);
    for (document, writes) in [
        (None, Some(Vec::new())),
        (Some(bytes("{}")), Some(writes())),
        (Some(bytes("{}")), None),
    ] {
        check(&ReadReply::Found(FoundCheckpoint {
            id: bytes("1"),
            document: document.clone(),
            writes: writes.clone(),
            refresh_due: true,
        }));
        check(&HistoryReply {
            next: document.clone(),
            ancestors: vec![Ancestor {
                id: bytes("1"),
                document,
                writes,
            }],
        });
    }
    check(&WritesReply(vec![
        RegistryWrites::All(writes()),
        RegistryWrites::All(Vec::new()),
        RegistryWrites::ReadAlone,
        RegistryWrites::NotReached,
    ]));
    for next in [None, Some(400)] {
        check(&WritesPageReply {
            has_document: false,
            registered: 401,
            next,
            documents: writes(),
        });
    }
    for is_complete in [true, false] {
        check(&PageReply {
            is_complete,
            ids: vec![bytes("3"), bytes("2"), bytes("1")],
            contents: vec![
                Some(Contents {
                    document: bytes("{}"),
                    writes: writes(),
                }),
                None,
            ],
        });
    }
    for cursor in [None, Some(bytes("17"))] {
        check(&NamespacesReply {
            cursor,
            members: vec![(bytes("__empty__"), -1), (bytes("\0pinned"), 0)],
        });
    }
    check(&Count(4));
    check(&RemoveReply {
        documents: 1,
        writes: 2,
        done: 3,
        skip: [4, 5],
    });
    check(&TtlReply { done: 1, skip: 2 });
}
