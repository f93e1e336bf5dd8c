//! How keys are named, and what is refused as a name.

use bytes::Bytes;

use super::keyspace::is_inside;
use super::{
    CHECKPOINT_PREFIX, CheckpointRef, Keyspace, Member, NamespaceKeys, WRITE_PREFIX,
    replication_mark,
};
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};

fn keys(thread: &str, namespace: &str) -> NamespaceKeys {
    Keyspace::new(CHECKPOINT_PREFIX, WRITE_PREFIX, false)
        .unwrap()
        .thread(&ThreadId::new(thread).unwrap())
        .namespace(&CheckpointNamespace::new(namespace).unwrap())
}

#[test]
fn shared_families_are_named_as_the_python_saver_names_them() {
    let keys = keys("typical-1", "");
    let id = CheckpointId::new("1f1e").unwrap();
    let task = TaskId::new("be04").unwrap();
    assert_eq!(keys.document(&id), "checkpoint:typical-1:__empty__:1f1e");
    assert_eq!(keys.pointer, "checkpoint_latest:typical-1:__empty__");
    assert_eq!(
        keys.write(&id, &task, -3),
        "checkpoint_write:typical-1:__empty__:1f1e:be04:-3"
    );
    assert_eq!(
        keys.write_registry(&id),
        "write_keys_zset:typical-1:__empty__:1f1e"
    );
    assert_eq!(keys.registry, "checkpoint_keys_zset:typical-1:__empty__");
    assert_eq!(keys.namespaces, "checkpoint_ns_set:typical-1");
}

#[test]
fn shallow_keys_are_named_as_the_python_saver_names_them() {
    let root = CheckpointNamespace::root();
    let thread = ThreadId::new("shallow-1").unwrap();
    let shallow = |write: &str| {
        let keyspace = Keyspace::new(CHECKPOINT_PREFIX, write, false).unwrap();
        keyspace.thread(&thread).shallow(&root)
    };
    let keys = shallow(WRITE_PREFIX);
    assert_eq!(keys.document, "checkpoint:shallow-1:");
    assert_eq!(keys.registry, "write_keys_zset:shallow-1:__empty__:shallow");
    let blocking = "write_registry:shallow-1:__empty__:shallow";
    assert_eq!(keys.registries_of_others, [blocking]);
    let (id, task) = (CheckpointId::new("1f1e"), TaskId::new("be04"));
    assert_eq!(
        keys.write(&id.unwrap(), &task.unwrap(), 0),
        "checkpoint_write:shallow-1:__empty__:1f1e:be04:0"
    );
    let custom = shallow("writes");
    assert_eq!(
        custom.registry,
        "writes_keys_zset:shallow-1:__empty__:shallow"
    );
    let others = [keys.registry, Bytes::from_static(blocking.as_bytes())];
    assert_eq!(custom.registries_of_others, others);
}

#[test]
fn families_of_ours_tell_apart_what_the_shared_ones_mix_up() {
    assert_eq!(keys("a:b", "x").pointer, keys("a", "b:x").pointer);
    assert_ne!(keys("a:b", "x").registry, keys("a", "b:x").registry);
    assert_ne!(keys("a:b", "x").registry, keys("a:b:x", "y").registry);
    assert_ne!(keys("a:b", "c:x").registry, keys("a:b:c", "x").registry);
}

#[test]
fn a_registry_tells_whose_it_is() {
    for hash_tag in [false, true] {
        let keyspace = Keyspace::new(CHECKPOINT_PREFIX, WRITE_PREFIX, hash_tag).unwrap();
        for (thread, namespace) in [("t", ""), ("t", "a:b"), ("a:b", "x:y"), ("ü:1", "")] {
            let thread = ThreadId::new(thread).unwrap();
            let namespace = CheckpointNamespace::new(namespace).unwrap();
            let keys = keyspace.thread(&thread).namespace(&namespace);
            assert_eq!(
                keyspace.of_namespaces(&keys.namespaces),
                Some(thread.clone())
            );
            assert!(
                keyspace
                    .registries_of_pointer(&keys.pointer)
                    .contains(&keys.registry)
            );
            let blobs = keyspace.blobs(&thread, &namespace);
            let found = keyspace.of_blob_registry(&blobs.registry);
            assert_eq!(found, Some((thread.clone(), namespace.clone())));
            let found = keyspace.of_registry(&keys.registry);
            assert_eq!(found, Some((thread, namespace)));
        }
    }
}

#[test]
fn a_staged_document_is_in_the_slot_of_its_thread_and_apart_from_documents() {
    let identity = |thread: &str, namespace: &str| CheckpointRef {
        thread_id: ThreadId::new(thread).unwrap(),
        namespace: CheckpointNamespace::new(namespace).unwrap(),
        checkpoint_id: CheckpointId::new("1").unwrap(),
    };
    let plain = Keyspace::new(CHECKPOINT_PREFIX, WRITE_PREFIX, false).unwrap();
    let tagged = Keyspace::new(CHECKPOINT_PREFIX, WRITE_PREFIX, true).unwrap();
    assert_eq!(
        plain.staged(&identity("t", "")),
        "checkpoint_staged:t:__empty__:1"
    );
    assert_eq!(
        tagged.staged(&identity("t", "n")),
        "checkpoint_staged:{t}:n:1"
    );
    assert_ne!(
        plain.staged(&identity("a:b", "x")),
        plain.staged(&identity("a", "b:x"))
    );
}

#[test]
fn blobs_of_different_channels_have_different_keys() {
    let keyspace = Keyspace::new(CHECKPOINT_PREFIX, WRITE_PREFIX, false).unwrap();
    let blob = |thread: &str, namespace: &str, channel: &str, version: &str| {
        let thread = ThreadId::new(thread).unwrap();
        let namespace = CheckpointNamespace::new(namespace).unwrap();
        keyspace.blobs(&thread, &namespace).blob(channel, version)
    };
    assert_eq!(
        blob("t", "", "messages", "2.0.5"),
        "checkpoint_blob:t:__empty__:messages:2.0.5"
    );
    assert_ne!(blob("t", "", "a:b", "c"), blob("t", "", "a", "b:c"));
    assert_ne!(blob("t", "x:y", "z", "1"), blob("t", "x", "y:z", "1"));
    assert_ne!(blob("a:b", "x", "c", "1"), blob("a", "b:x", "c", "1"));
    assert_ne!(blob("t", "", "a%3Ab", "1"), blob("t", "", "a:b", "1"));
}

#[test]
fn prefixes_that_would_mix_families_up_are_refused() {
    for (checkpoint, write) in [
        ("a", "a"),
        ("a", "a:b"),
        ("a:b", "a"),
        ("", "b"),
        ("a", "a_latest"),
        ("a", "a_staged"),
        ("a", "a_wait"),
        ("a", "a_blob:b"),
        ("a", "a_keys_zset@3"),
        ("a", "write_keys_zset"),
        ("write_keys_zset", "a"),
        ("write", "checkpoint_write"),
        ("a{b}", "c"),
    ] {
        assert!(
            Keyspace::new(checkpoint, write, false).is_err(),
            "{checkpoint} {write}"
        );
    }
    assert!(Keyspace::new("app:checkpoint", "app:checkpoint_write", false).is_ok());
}

#[test]
fn every_key_is_of_one_family_that_prefixes_are_compared_with() {
    for (checkpoint, write) in [(CHECKPOINT_PREFIX, WRITE_PREFIX), ("app:c", "w")] {
        let keyspace = Keyspace::new(checkpoint, write, false).unwrap();
        let (id, task) = (CheckpointId::new("1").unwrap(), TaskId::new("a").unwrap());
        for thread in ["t", "a:b"] {
            let thread = ThreadId::new(thread).unwrap();
            let namespace = CheckpointNamespace::new("n").unwrap();
            let keys = keyspace.thread(&thread).namespace(&namespace);
            let blobs = keyspace.blobs(&thread, &namespace);
            let shallow = keyspace.thread(&thread).shallow(&namespace);
            let mut all = keys.write_registries_of(&id);
            all.extend(shallow.registries_of_others);
            all.extend([
                keys.document(&id),
                keys.write(&id, &task, 0),
                keys.pointer,
                keys.registry,
                keys.namespaces,
                blobs.blob("c", "1"),
                blobs.registry,
                shallow.document,
                shallow.registry,
                keyspace.staged(&CheckpointRef {
                    thread_id: thread,
                    namespace,
                    checkpoint_id: id.clone(),
                }),
                replication_mark(checkpoint, None),
            ]);
            for key in all {
                let key = std::str::from_utf8(&key).unwrap();
                let families = keyspace.families();
                let of = families.iter().filter(|family| is_inside(key, family));
                assert_eq!(of.count(), 1, "{key}");
            }
        }
    }
}

#[test]
fn members_of_the_set_of_namespaces_are_told_apart() {
    assert_eq!(
        Member::parse("__empty__"),
        Some(Member::Namespace(CheckpointNamespace::root()))
    );
    assert_eq!(Member::parse("\0pinned"), Some(Member::Pinned));
    assert_eq!(
        Member::parse("\0removed\0__empty__\0a"),
        Some(Member::Removed(
            CheckpointNamespace::root(),
            CheckpointId::new("a").unwrap()
        ))
    );
    assert_eq!(
        Member::parse("\0blobs\0__empty__"),
        Some(Member::Blobs(CheckpointNamespace::root()))
    );
    let id = CheckpointId::new("a:b").unwrap();
    assert_eq!(
        Member::parse("\0writes\0child:1\0a:b"),
        Some(Member::Writes(
            CheckpointNamespace::new("child:1").unwrap(),
            id
        ))
    );
}
