//! The properties of [`crate::fuzzing`] that are about Redis.

pub use super::compact::fuzzing::compact;
pub use super::driver::fuzzing::replies;

use super::keys::{CHECKPOINT_PREFIX, Family, Keyspace, Member, WRITE_PREFIX};
use super::slots::slot;
use crate::id::{CheckpointId, CheckpointNamespace, TaskId, ThreadId};

/// Any key is taken apart without harm, and what ids make is found again in the keys that they
/// make.
///
/// The ids are what is between the NUL bytes of the input: thread, namespace, checkpoint, task.
///
/// # Panics
/// If it is not.
pub fn keys(input: &[u8]) {
    let spaces = [
        Keyspace::new(CHECKPOINT_PREFIX, WRITE_PREFIX, false),
        Keyspace::new(CHECKPOINT_PREFIX, WRITE_PREFIX, true),
        Keyspace::new("a", "b", false),
    ];
    #[expect(
        clippy::expect_used,
        reason = "it is a test, and its prefixes are constants"
    )]
    let spaces = spaces.map(|space| space.expect("the prefixes can be told apart"));
    for space in &spaces {
        take_apart(space, input);
    }
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut ids = text.split('\0');
    let mut next = || ids.next().unwrap_or_default();
    let (thread, namespace) = (ThreadId::new(next()), CheckpointNamespace::new(next()));
    let (checkpoint, task) = (CheckpointId::new(next()), TaskId::new(next()));
    if let (Ok(thread), Ok(namespace), Ok(checkpoint), Ok(task)) =
        (thread, namespace, checkpoint, task)
    {
        for space in &spaces {
            make(space, &thread, &namespace, &checkpoint, &task);
        }
    }
}

fn take_apart(space: &Keyspace, key: &[u8]) {
    Member::of_bytes(key);
    for family in [
        space.document_family(),
        space.pointer_family(),
        space.write_registry_family(),
        space.namespaces_family(),
        space.registry_family(),
        format!("{}@", space.registry_family()),
        format!("{}@", space.blob_families()[1]),
    ] {
        let key = [family.as_bytes(), key].concat();
        space.is_document(&key);
        space.writes_of_registry(&key);
        space.documents_of_pointer(&key);
        for registry in space.registries_of_pointer(&key) {
            assert!(space.of_registry(&registry).is_some(), "{registry:?}");
        }
        if let Some((thread, namespace)) = space.of_registry(&key) {
            assert_eq!(space.thread(&thread).namespace(&namespace).registry, key);
        }
        if let Some(thread) = space.of_namespaces(&key) {
            assert_eq!(space.thread(&thread).namespaces(), key);
        }
        if let Some((thread, namespace)) = space.of_blob_registry(&key) {
            assert_eq!(space.blobs(&thread, &namespace).registry, key);
        }
    }
}

fn make(
    space: &Keyspace,
    thread: &ThreadId,
    namespace: &CheckpointNamespace,
    checkpoint: &CheckpointId,
    task: &TaskId,
) {
    let of_thread = space.thread(thread);
    let keys = of_thread.namespace(namespace);
    let blobs = space.blobs(thread, namespace);
    let both = Some((thread.clone(), namespace.clone()));
    assert_eq!(space.of_registry(&keys.registry), both);
    assert_eq!(space.of_blob_registry(&blobs.registry), both);
    assert_eq!(space.of_namespaces(&keys.namespaces), Some(thread.clone()));
    let registries = space.registries_of_pointer(&keys.pointer);
    assert!(registries.contains(&keys.registry), "{registries:?}");

    let (document, write) = (keys.document(checkpoint), keys.write(checkpoint, task, 0));
    assert!(space.is_document(&document), "{document:?}");
    let documents = space.documents_of_pointer(&keys.pointer);
    assert_eq!(documents.as_ref(), Some(&keys.documents));
    let registry = keys.write_registry(checkpoint);
    let writes = space.writes_of_registry(&registry);
    assert!(
        writes.is_some_and(|writes| writes.is_named(&write)),
        "{registry:?}"
    );

    assert_eq!(of_thread.family_of(&document), Some(Family::Document));
    assert_eq!(of_thread.family_of(&write), Some(Family::Write));
    assert_eq!(of_thread.family_of(&registry), Some(Family::WriteRegistry));
    let pointer = Some(Family::Pointer(namespace.clone()));
    assert_eq!(of_thread.family_of(&keys.pointer), pointer);
    let family = Some(Family::Registry(namespace.clone()));
    assert_eq!(of_thread.family_of(&keys.registry), family);

    // To Redis `{}` is no hash tag.
    if space.tags_threads() && !thread.as_str().starts_with('}') {
        let all = [
            &document,
            &write,
            &registry,
            &keys.pointer,
            &keys.registry,
            &keys.namespaces,
        ];
        assert!(
            all.iter().all(|key| slot(key) == slot(&document)),
            "{all:?}"
        );
    }
}
