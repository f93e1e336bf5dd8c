//! The names of keys. Only this module makes or takes apart one.
//!
//! The families that are shared with the Python saver are named as it names them:
//! `checkpoint:{thread}:{ns}:{id}`. There a thread `a:b` with a namespace `x` and a thread `a`
//! with a namespace `b:x` have one name, which is why every document that is read is compared
//! with what was asked for. The families that are ours alone tell the two apart: where a thread
//! holds a colon, its length stands in the family's name.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use super::document::Identity;
use super::slots::tag_in;
use crate::error::{Error, Result};
use crate::id::{CheckpointId, CheckpointNamespace, EMPTY_NAMESPACE, TaskId, ThreadId};

/// The default prefix of checkpoints.
pub(crate) const CHECKPOINT_PREFIX: &str = "checkpoint";
/// The default prefix of writes.
pub(crate) const WRITE_PREFIX: &str = "checkpoint_write";
/// The registry of writes under the default prefix; the Python saver uses it under every prefix.
const WRITE_REGISTRY: &str = "write_keys_zset";
/// What starts the name of the registry in which the Python package's blocking shallow saver keeps
/// writes, under every prefix.
const BLOCKING_SHALLOW_REGISTRY: &str = "write_registry";

/// What ends the name of the registry of a namespace's writes in shallow mode.
const SHALLOW_REGISTRY: &str = ":shallow";

/// The key that marks, for a millisecond, where replicas must have come to; in a slot, where that
/// matters.
pub(crate) fn replication_mark(checkpoint_prefix: &str, slot: Option<u16>) -> Bytes {
    let tag = slot.map_or(0, tag_in);
    Bytes::from(format!("{checkpoint_prefix}_wait:{{{tag}}}"))
}

/// The names of all families of one saver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keyspace {
    checkpoint: String,
    write: String,
    write_registry: String,
    hash_tag_threads: bool,
}

impl Keyspace {
    /// Names families by two prefixes.
    pub(crate) fn new(checkpoint: &str, write: &str, hash_tag_threads: bool) -> Result<Self> {
        let keyspace = Self {
            checkpoint: checkpoint.to_owned(),
            write: write.to_owned(),
            write_registry: if write == WRITE_PREFIX {
                WRITE_REGISTRY.to_owned()
            } else {
                format!("{write}_keys_zset")
            },
            hash_tag_threads,
        };
        let families = keyspace.families();
        for (position, family) in families.iter().enumerate() {
            let key = if position == 1 {
                "checkpoint_write_prefix"
            } else {
                "checkpoint_prefix"
            };
            let refuse = |reason: &str| {
                Err(Error::Config {
                    key: key.to_owned(),
                    reason: reason.to_owned(),
                })
            };
            if family.is_empty() {
                return refuse("it is empty");
            }
            if family.contains(['{', '}', '\0']) {
                return refuse("braces and NUL cannot stand in a prefix");
            }
            for other in &families[position + 1..] {
                if is_inside(family, other) || is_inside(other, family) {
                    return refuse(&format!(
                        "its keys `{family}` and `{other}` would be mixed up"
                    ));
                }
            }
        }
        Ok(keyspace)
    }

    /// How the keys of every family start, that of checkpoints first and that of writes second.
    fn families(&self) -> Vec<String> {
        let checkpoint = &self.checkpoint;
        let mut families = vec![
            checkpoint.clone(),
            self.write.clone(),
            self.write_registry.clone(),
            format!("{checkpoint}_latest"),
            format!("{checkpoint}_keys_zset"),
            format!("{checkpoint}_ns_set"),
            format!("{checkpoint}_blob"),
            format!("{checkpoint}_blob_keys_zset"),
            format!("{checkpoint}_staged"),
            format!("{checkpoint}_wait"),
            BLOCKING_SHALLOW_REGISTRY.to_owned(),
        ];
        // The Python saver keeps these two under every prefix.
        if self.write_registry != WRITE_REGISTRY {
            families.push(WRITE_REGISTRY.to_owned());
        }
        families
    }

    /// The prefix of checkpoints, which is also the name of their index.
    pub(crate) fn checkpoint_prefix(&self) -> &str {
        &self.checkpoint
    }

    /// The prefix of writes, which is also the name of their index.
    pub(crate) fn write_prefix(&self) -> &str {
        &self.write
    }

    /// How every pointer to a newest checkpoint starts.
    pub(crate) fn pointer_family(&self) -> String {
        format!("{}_latest:", self.checkpoint)
    }

    /// How every document of a checkpoint starts.
    pub(crate) fn document_family(&self) -> String {
        format!("{}:", self.checkpoint)
    }

    /// How every write starts.
    pub(crate) fn write_family(&self) -> String {
        format!("{}:", self.write)
    }

    /// How every registry of a checkpoint's writes starts.
    pub(crate) fn write_registry_family(&self) -> String {
        format!("{}:", self.write_registry)
    }

    /// Whether a key is named as the document of a checkpoint is: by a thread, a namespace and an id.
    pub(crate) fn is_document(&self, key: &[u8]) -> bool {
        let rest = std::str::from_utf8(key).ok();
        let rest = rest.and_then(|key| key.strip_prefix(&self.document_family()));
        rest.is_some_and(|rest| self.has_parts(rest, 3))
    }

    /// What starts the keys of the writes that a registry may name; `None` if it is not named as
    /// one.
    pub(crate) fn writes_of_registry(&self, registry: &[u8]) -> Option<WritesOf> {
        let rest = std::str::from_utf8(registry).ok()?;
        let rest = rest.strip_prefix(&self.write_registry_family())?;
        if !self.has_parts(rest, 3) {
            return None;
        }
        let start = format!("{}{rest}:", self.write_family());
        let shallow = rest.strip_suffix(SHALLOW_REGISTRY);
        Some(WritesOf {
            start: shallow.map_or(start, |rest| format!("{}{rest}:", self.write_family())),
            is_shallow: shallow.is_some(),
        })
    }

    /// How the documents start that a pointer may name; `None` if it is not named as a pointer.
    pub(crate) fn documents_of_pointer(&self, pointer: &[u8]) -> Option<Bytes> {
        let rest = std::str::from_utf8(pointer).ok()?;
        let rest = rest.strip_prefix(&self.pointer_family())?;
        let documents = format!("{}{rest}:", self.document_family());
        self.has_parts(rest, 2).then(|| Bytes::from(documents))
    }

    /// Whether so many parts, none of them empty, may be taken apart at colons.
    fn has_parts(&self, rest: &str, parts: usize) -> bool {
        let is_tagged = !self.hash_tag_threads || (rest.starts_with('{') && rest.contains("}:"));
        let mut left = rest.as_bytes();
        // A thread's id may be a colon, so the first byte of a part ends none.
        for _ in 1..parts {
            let colon = left.iter().skip(1).position(|byte| *byte == b':');
            left = colon.map_or(&[], |end| &left[end + 2..]);
        }
        is_tagged && !left.is_empty()
    }

    /// Whether threads stand in braces.
    pub(crate) fn tags_threads(&self) -> bool {
        self.hash_tag_threads
    }

    /// The same names without hash tags; `None` if there are none.
    pub(crate) fn untagged(&self) -> Option<Self> {
        self.hash_tag_threads.then(|| Self {
            hash_tag_threads: false,
            ..self.clone()
        })
    }

    /// A pattern for the pointers and the sets of namespaces of the threads whose ids start with
    /// a text, and perhaps for some others.
    pub(crate) fn heads_pattern(&self, thread: &str) -> String {
        let brace = if self.hash_tag_threads { "{" } else { "" };
        format!(
            "{}_[ln]*:{brace}{}*",
            glob_escaped(&self.checkpoint),
            glob_escaped(thread)
        )
    }

    /// How every registry of checkpoints starts.
    pub(crate) fn registry_family(&self) -> String {
        format!("{}_keys_zset", self.checkpoint)
    }

    /// How every set of namespaces starts.
    pub(crate) fn namespaces_family(&self) -> String {
        format!("{}_ns_set:", self.checkpoint)
    }

    /// How every blob starts, and every registry of blobs.
    pub(crate) fn blob_families(&self) -> [String; 2] {
        [
            format!("{}_blob", self.checkpoint),
            format!("{}_blob_keys_zset", self.checkpoint),
        ]
    }

    /// The names of the keys of a namespace's blobs.
    pub(crate) fn blobs(&self, thread: &ThreadId, namespace: &CheckpointNamespace) -> BlobKeys {
        let stored = stored_namespace(namespace);
        let [blobs, registry] = self.blob_families();
        let (length, segment) = (length_mark(thread), self.segment(thread.as_str()));
        BlobKeys {
            blobs: Bytes::from(format!("{blobs}{length}:{segment}:{stored}:")),
            registry: Bytes::from(format!("{registry}{length}:{segment}:{stored}")),
            namespaces: self.thread(thread).namespaces(),
            mark: Bytes::from(format!("{BLOBS_MARK}{stored}")),
        }
    }

    /// The key under which the document of a checkpoint is staged.
    pub(crate) fn staged(&self, identity: &Identity) -> Bytes {
        let Identity {
            thread_id,
            namespace,
            checkpoint_id,
        } = identity;
        let (length, segment) = (length_mark(thread_id), self.segment(thread_id.as_str()));
        let (checkpoint, stored) = (&self.checkpoint, stored_namespace(namespace));
        Bytes::from(format!(
            "{checkpoint}_staged{length}:{segment}:{stored}:{checkpoint_id}"
        ))
    }

    /// The namespace whose registry of blobs a key is; `None` if it is none.
    pub(crate) fn of_blob_registry(&self, key: &[u8]) -> Option<(ThreadId, CheckpointNamespace)> {
        let [_, family] = self.blob_families();
        let found = self.of_namespace_key(&family, key)?;
        (self.blobs(&found.0, &found.1).registry == key).then_some(found)
    }

    /// What stands for a thread in its keys.
    pub(crate) fn segment(&self, thread: &str) -> String {
        if self.hash_tag_threads {
            format!("{{{thread}}}")
        } else {
            thread.to_owned()
        }
    }

    /// The namespace whose registry a key is; `None` if it is no registry of ours.
    pub(crate) fn of_registry(&self, key: &[u8]) -> Option<(ThreadId, CheckpointNamespace)> {
        let found = self.of_namespace_key(&self.registry_family(), key)?;
        (self.thread(&found.0).namespace(&found.1).registry == key).then_some(found)
    }

    /// The thread and namespace that end a key of one of our families.
    fn of_namespace_key(
        &self,
        family: &str,
        key: &[u8],
    ) -> Option<(ThreadId, CheckpointNamespace)> {
        let rest = std::str::from_utf8(key).ok()?.strip_prefix(family)?;
        let braces = usize::from(self.hash_tag_threads);
        let (thread, rest) = if let Some(rest) = rest.strip_prefix('@') {
            let (length, rest) = rest.split_once(':')?;
            let length: usize = length.parse().ok()?;
            let end = length.checked_add(braces)?;
            let after = rest.get(end + braces..)?;
            (rest.get(braces..end)?, after.strip_prefix(':')?)
        } else {
            let (segment, rest) = rest.strip_prefix(':')?.split_once(':')?;
            let end = segment.len().checked_sub(braces)?;
            (segment.get(braces..end)?, rest)
        };
        Some((
            ThreadId::new(thread).ok()?,
            namespace_from_stored(rest).ok()?,
        ))
    }

    /// The thread whose set of namespaces a key is.
    pub(crate) fn of_namespaces(&self, key: &[u8]) -> Option<ThreadId> {
        let rest = std::str::from_utf8(key).ok()?;
        let rest = rest.strip_prefix(&self.namespaces_family())?;
        let braces = usize::from(self.hash_tag_threads);
        let thread = rest.get(braces..rest.len().checked_sub(braces)?)?;
        let thread = ThreadId::new(thread).ok()?;
        (self.thread(&thread).namespaces() == key).then_some(thread)
    }

    /// Every registry of checkpoints that may stand behind a pointer.
    pub(crate) fn registries_of_pointer(&self, pointer: &[u8]) -> Vec<Bytes> {
        let rest = std::str::from_utf8(pointer).ok();
        let Some(rest) = rest.and_then(|rest| rest.strip_prefix(&self.pointer_family())) else {
            return Vec::new();
        };
        let braces = usize::from(self.hash_tag_threads);
        rest.match_indices(':')
            .filter_map(|(colon, _)| {
                let thread = rest.get(braces..colon.checked_sub(braces)?)?;
                let thread = ThreadId::new(thread).ok()?;
                let namespace = namespace_from_stored(&rest[colon + 1..]).ok()?;
                let keys = self.thread(&thread).namespace(&namespace);
                (keys.pointer == pointer).then_some(keys.registry)
            })
            .collect()
    }

    /// The names of a thread's keys.
    pub(crate) fn thread(&self, thread: &ThreadId) -> ThreadKeys {
        let id = thread.as_str();
        let segment = if self.hash_tag_threads {
            format!("{{{id}}}")
        } else {
            id.to_owned()
        };
        let length = length_mark(thread);
        let checkpoint = &self.checkpoint;
        ThreadKeys {
            id: id.to_owned(),
            documents: format!("{checkpoint}:{segment}:"),
            pointers: format!("{checkpoint}_latest:{segment}:"),
            registries: format!("{checkpoint}_keys_zset{length}:{segment}:"),
            namespaces: format!("{checkpoint}_ns_set:{segment}"),
            writes: format!("{}:{segment}:", self.write),
            write_registries: format!("{}:{segment}:", self.write_registry),
            shared_write_registries: (self.write_registry != WRITE_REGISTRY)
                .then(|| format!("{WRITE_REGISTRY}:{segment}:")),
            blocking_shallow_registries: format!("{BLOCKING_SHALLOW_REGISTRY}:{segment}:"),
        }
    }
}

/// Whether the keys of one family may be taken for those of another: they start alike, up to what
/// ends the other's name, which is a colon or the length of a thread.
fn is_inside(one: &str, other: &str) -> bool {
    let Some(rest) = one.strip_prefix(other) else {
        return false;
    };
    match rest.strip_prefix('@') {
        Some(length) => {
            let rest = length.trim_start_matches(|digit: char| digit.is_ascii_digit());
            rest.is_empty() || rest.starts_with(':')
        }
        None => rest.is_empty() || rest.starts_with(':'),
    }
}

/// What tells families of ours apart where a thread holds a colon: its length.
fn length_mark(thread: &ThreadId) -> String {
    let id = thread.as_str();
    if id.contains(':') {
        format!("@{}", id.len())
    } else {
        String::new()
    }
}

/// The names of a thread's keys.
#[derive(Debug, Clone)]
pub(crate) struct ThreadKeys {
    id: String,
    documents: String,
    pointers: String,
    registries: String,
    namespaces: String,
    writes: String,
    write_registries: String,
    shared_write_registries: Option<String>,
    blocking_shallow_registries: String,
}

impl ThreadKeys {
    /// The set of the thread's namespaces.
    pub(crate) fn namespaces(&self) -> Bytes {
        Bytes::copy_from_slice(self.namespaces.as_bytes())
    }

    /// What stands before a namespace in the key of its registry.
    pub(crate) fn registries(&self) -> Bytes {
        Bytes::copy_from_slice(self.registries.as_bytes())
    }

    /// What a key is to the thread, by its name alone: another thread with a colon may have one of
    /// the same name in the families that the Python saver has.
    pub(crate) fn family_of(&self, key: &[u8]) -> Option<Family> {
        let starts = |start: &String| key.starts_with(start.as_bytes());
        let rest = |start: &String| {
            let rest = std::str::from_utf8(key)
                .ok()?
                .strip_prefix(start.as_str())?;
            namespace_from_stored(rest).ok()
        };
        if starts(&self.documents) {
            Some(Family::Document)
        } else if starts(&self.writes) {
            Some(Family::Write)
        } else if starts(&self.write_registries)
            || self.shared_write_registries.as_ref().is_some_and(starts)
            || starts(&self.blocking_shallow_registries)
        {
            Some(Family::WriteRegistry)
        } else if starts(&self.pointers) {
            rest(&self.pointers).map(Family::Pointer)
        } else {
            rest(&self.registries).map(Family::Registry)
        }
    }

    /// The names of a namespace's keys in shallow mode.
    pub(crate) fn shallow(&self, namespace: &CheckpointNamespace) -> ShallowKeys {
        let stored = stored_namespace(namespace);
        let registry = [stored, SHALLOW_REGISTRY].concat();
        ShallowKeys {
            document: join(&self.documents, namespace.as_str(), ""),
            registry: join(&self.write_registries, &registry, ""),
            registries_of_others: self
                .shared_write_registries
                .iter()
                .chain([&self.blocking_shallow_registries])
                .map(|start| join(start, &registry, ""))
                .collect(),
            namespaces: self.namespaces(),
            writes: join(&self.writes, stored, ":"),
            stored: Bytes::copy_from_slice(stored.as_bytes()),
        }
    }

    /// The names of a namespace's keys.
    pub(crate) fn namespace(&self, namespace: &CheckpointNamespace) -> NamespaceKeys {
        let stored = stored_namespace(namespace);
        NamespaceKeys {
            documents: join(&self.documents, stored, ":"),
            pointer: join(&self.pointers, stored, ""),
            registry: join(&self.registries, stored, ""),
            namespaces: self.namespaces(),
            writes: join(&self.writes, stored, ":"),
            write_registries: join(&self.write_registries, stored, ":"),
            shared_write_registries: self
                .shared_write_registries
                .as_ref()
                .map_or_else(Bytes::new, |start| join(start, stored, ":")),
            stored: Bytes::copy_from_slice(stored.as_bytes()),
            thread: Bytes::copy_from_slice(self.id.as_bytes()),
        }
    }
}

/// The writes that a registry may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WritesOf {
    /// How their keys start.
    start: String,
    /// Whether it is the registry of a namespace in shallow mode.
    pub(crate) is_shallow: bool,
}

impl WritesOf {
    /// Whether a member of the registry is named as one of its writes.
    pub(crate) fn is_named(&self, member: &[u8]) -> bool {
        let rest = std::str::from_utf8(member).ok();
        let rest = rest.and_then(|member| member.strip_prefix(&self.start));
        rest.is_some_and(|rest| rest.contains(':'))
    }
}

/// What a key of a thread is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Family {
    Document,
    Write,
    WriteRegistry,
    /// The pointer of a namespace.
    Pointer(CheckpointNamespace),
    /// The registry of a namespace's checkpoints.
    Registry(CheckpointNamespace),
}

/// The names of a namespace's keys.
#[derive(Debug, Clone)]
pub(crate) struct NamespaceKeys {
    /// How the keys of its documents start.
    pub(crate) documents: Bytes,
    /// The pointer to its newest document.
    pub(crate) pointer: Bytes,
    /// The registry of its checkpoints.
    pub(crate) registry: Bytes,
    /// The set of the thread's namespaces.
    pub(crate) namespaces: Bytes,
    /// How the keys of its writes start.
    pub(crate) writes: Bytes,
    /// How the registries of its writes start.
    pub(crate) write_registries: Bytes,
    /// How the registries start that the Python saver keeps under a custom prefix; or empty.
    pub(crate) shared_write_registries: Bytes,
    /// The namespace as it is stored.
    pub(crate) stored: Bytes,
    /// The thread.
    pub(crate) thread: Bytes,
}

impl NamespaceKeys {
    /// The document of a checkpoint.
    pub(crate) fn document(&self, checkpoint: &CheckpointId) -> Bytes {
        append(&self.documents, &[checkpoint.as_str()])
    }

    /// The registry of a checkpoint's writes.
    pub(crate) fn write_registry(&self, checkpoint: &CheckpointId) -> Bytes {
        append(&self.write_registries, &[checkpoint.as_str()])
    }

    /// Every registry that may name a checkpoint's writes: our own, and under a custom prefix the
    /// one that the Python saver keeps all the same.
    pub(crate) fn write_registries_of(&self, checkpoint: &CheckpointId) -> Vec<Bytes> {
        [&self.write_registries, &self.shared_write_registries]
            .into_iter()
            .filter(|start| !start.is_empty())
            .map(|start| append(start, &[checkpoint.as_str()]))
            .collect()
    }

    /// How the keys of a checkpoint's writes start.
    pub(crate) fn writes_of(&self, checkpoint: &CheckpointId) -> Bytes {
        append(&self.writes, &[checkpoint.as_str(), ":"])
    }

    /// One write.
    pub(crate) fn write(&self, checkpoint: &CheckpointId, task: &TaskId, idx: i64) -> Bytes {
        write_key(&self.writes, checkpoint, task, idx)
    }
}

/// The names of a namespace's keys in shallow mode, in which it has one document.
#[derive(Debug, Clone)]
pub(crate) struct ShallowKeys {
    /// The document.
    pub(crate) document: Bytes,
    /// The registry of its writes, whichever checkpoint they are for.
    pub(crate) registry: Bytes,
    /// The registries in which the Python package's savers keep writes: the async one's, if the
    /// prefix is a custom one, and the blocking one's.
    pub(crate) registries_of_others: Vec<Bytes>,
    /// The set of the thread's namespaces.
    pub(crate) namespaces: Bytes,
    /// How the keys of its writes start.
    pub(crate) writes: Bytes,
    /// The namespace as it is stored.
    pub(crate) stored: Bytes,
}

impl ShallowKeys {
    /// One write.
    pub(crate) fn write(&self, checkpoint: &CheckpointId, task: &TaskId, idx: i64) -> Bytes {
        write_key(&self.writes, checkpoint, task, idx)
    }
}

/// The names of the keys of a namespace's blobs: values of channels that are stored apart from
/// their checkpoints.
#[derive(Debug, Clone)]
pub(crate) struct BlobKeys {
    /// How the keys of its blobs start.
    pub(crate) blobs: Bytes,
    /// The registry of its blobs.
    pub(crate) registry: Bytes,
    /// The set of the thread's namespaces.
    pub(crate) namespaces: Bytes,
    /// The member of that set which says that the namespace has blobs.
    pub(crate) mark: Bytes,
}

impl BlobKeys {
    /// The blob of a channel at a version.
    pub(crate) fn blob(&self, channel: &str, version: &str) -> Bytes {
        append(&self.blobs, &[&escaped(channel), ":", &escaped(version)])
    }

    /// What names a blob in the registry: the end of its key, and a colon more for one that says
    /// that the channel has no value.
    pub(crate) fn member(channel: &str, version: &str, is_empty: bool) -> String {
        let end = if is_empty { ":" } else { "" };
        format!("{}:{}{end}", escaped(channel), escaped(version))
    }

    /// The blob that a member of the registry names.
    pub(crate) fn of_member(&self, member: &str) -> Bytes {
        append(&self.blobs, &[Self::without_mark(member)])
    }

    /// The end of the key that a member names.
    pub(crate) fn without_mark(member: &str) -> &str {
        member.strip_suffix(':').unwrap_or(member)
    }
}

fn write_key(writes: &Bytes, checkpoint: &CheckpointId, task: &TaskId, idx: i64) -> Bytes {
    let (task, idx) = (escaped(task.as_str()), idx.to_string());
    append(writes, &[checkpoint.as_str(), ":", &task, ":", &idx])
}

/// The id of a task without colons, so that it cannot take one from the checkpoint's. LangGraph's
/// ids are UUIDs and stay as they are.
fn escaped(task: &str) -> Cow<'_, str> {
    if task.contains([':', '%']) {
        Cow::Owned(task.replace('%', "%25").replace(':', "%3A"))
    } else {
        Cow::Borrowed(task)
    }
}

/// A text as a pattern that matches it alone.
pub(crate) fn glob_escaped(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let special = matches!(character, '*' | '?' | '[' | ']' | '\\' | '^');
            special.then_some('\\').into_iter().chain([character])
        })
        .collect()
}

/// A namespace as it is stored.
pub(crate) fn stored_namespace(namespace: &CheckpointNamespace) -> &str {
    if namespace.is_root() {
        EMPTY_NAMESPACE
    } else {
        namespace.as_str()
    }
}

/// A namespace from what is stored.
pub(crate) fn namespace_from_stored(stored: &str) -> Result<CheckpointNamespace> {
    if stored == EMPTY_NAMESPACE {
        Ok(CheckpointNamespace::root())
    } else {
        CheckpointNamespace::new(stored)
    }
}

/// A member of a thread's set of namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Member {
    /// A namespace.
    Namespace(CheckpointNamespace),
    /// A checkpoint that has writes and may have no document.
    Writes(CheckpointNamespace, CheckpointId),
    /// A namespace that has blobs.
    Blobs(CheckpointNamespace),
    /// The thread is pinned.
    Pinned,
}

/// How a member starts which says that a namespace has blobs.
const BLOBS_MARK: &str = "\0blobs\0";

/// The member that says that the thread is pinned.
pub(crate) const PINNED: &str = "\0pinned";

impl Member {
    /// Reads a member as it is stored; `None` for one that no saver of ours has written.
    pub(crate) fn of_bytes(member: &[u8]) -> Option<Self> {
        Self::parse(std::str::from_utf8(member).ok()?)
    }

    /// Reads a member; `None` for one that no saver of ours has written.
    pub(crate) fn parse(member: &str) -> Option<Self> {
        match member.strip_prefix('\0') {
            None => namespace_from_stored(member).ok().map(Self::Namespace),
            Some("pinned") => Some(Self::Pinned),
            Some(_) if member.starts_with(BLOBS_MARK) => {
                let namespace = namespace_from_stored(&member[BLOBS_MARK.len()..]).ok()?;
                Some(Self::Blobs(namespace))
            }
            Some(writes) => {
                let (namespace, checkpoint) = writes.strip_prefix("writes\0")?.split_once('\0')?;
                Some(Self::Writes(
                    namespace_from_stored(namespace).ok()?,
                    CheckpointId::new(checkpoint).ok()?,
                ))
            }
        }
    }
}

fn join(start: &str, middle: &str, end: &str) -> Bytes {
    Bytes::from([start, middle, end].concat())
}

fn append(start: &Bytes, parts: &[&str]) -> Bytes {
    let length = start.len() + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut key = BytesMut::with_capacity(length);
    key.put_slice(start);
    for part in parts {
        key.put_slice(part.as_bytes());
    }
    key.freeze()
}

#[cfg(test)]
mod tests;
