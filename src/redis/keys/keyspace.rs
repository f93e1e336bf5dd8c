//! The families of keys of one saver.

use bytes::Bytes;

use super::encode::{glob_escaped, namespace_from_stored, stored_namespace};
use super::member::BLOBS_MARK;
use super::reference::CheckpointRef;
use super::thread::{BlobKeys, SHALLOW_REGISTRY, ThreadKeys};
use crate::error::{Error, Result};
use crate::id::{CheckpointNamespace, ThreadId};
use crate::redis::slots::{slot, tag_in};

/// The default prefix of checkpoints.
pub(crate) const CHECKPOINT_PREFIX: &str = "checkpoint";

/// The default prefix of writes.
pub(crate) const WRITE_PREFIX: &str = "checkpoint_write";

/// The registry of writes under the default prefix; the Python saver uses it under every prefix.
const WRITE_REGISTRY: &str = "write_keys_zset";

/// What starts the name of the registry in which the Python package's blocking shallow saver keeps
/// writes, under every prefix.
const BLOCKING_SHALLOW_REGISTRY: &str = "write_registry";

/// What ends the names of the families of keys that stand under the prefix of checkpoints.
const POINTERS: &str = "_latest";
const REGISTRIES: &str = "_keys_zset";
const NAMESPACES: &str = "_ns_set";
const BLOBS: &str = "_blob";
const BLOB_REGISTRIES: &str = "_blob_keys_zset";
const STAGED: &str = "_staged";
const WAIT: &str = "_wait";
const RECENT: &str = "_recent";
/// The same of those of the compact layout, and of the key that says which layout is under the
/// prefix.
pub(super) const HEADS: &str = "_heads";
pub(super) const PARTS: &str = "_parts";
pub(super) const WRITES: &str = "_writes";
pub(super) const LAYOUT: &str = "_layout";
/// All of them.
const UNDER_CHECKPOINTS: [&str; 12] = [
    POINTERS,
    REGISTRIES,
    NAMESPACES,
    BLOBS,
    BLOB_REGISTRIES,
    STAGED,
    WAIT,
    RECENT,
    HEADS,
    PARTS,
    WRITES,
    LAYOUT,
];

/// Over how many sets the recent threads are spread, so that they are on every node of a cluster.
pub(crate) const RECENT_SETS: u16 = 16;

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
                    source: None,
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
    pub(super) fn families(&self) -> Vec<String> {
        let checkpoint = &self.checkpoint;
        let mut families = vec![
            checkpoint.clone(),
            self.write.clone(),
            self.write_registry.clone(),
        ];
        families.extend(UNDER_CHECKPOINTS.map(|end| format!("{checkpoint}{end}")));
        families.push(BLOCKING_SHALLOW_REGISTRY.to_owned());
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
        format!("{}{POINTERS}:", self.checkpoint)
    }

    /// A set of recent threads.
    pub(crate) fn recent(&self, set: u16) -> Bytes {
        Bytes::from(format!("{}{RECENT}:{{{set}}}", self.checkpoint))
    }

    /// Which set of recent threads a thread is in.
    pub(crate) fn recent_set(thread: &ThreadId) -> u16 {
        slot(thread.as_str().as_bytes()) % RECENT_SETS
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

    /// Whether a key is named as the document of a checkpoint is: by a thread, a namespace and an
    /// id.
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

    /// Whether at least `parts` parts that are not empty stand between colons.
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
    /// a text, and perhaps for some others: `l` and `n` begin the names of the two.
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
        format!("{}{REGISTRIES}", self.checkpoint)
    }

    /// How every set of namespaces starts.
    pub(crate) fn namespaces_family(&self) -> String {
        format!("{}{NAMESPACES}:", self.checkpoint)
    }

    /// How every blob starts, and every registry of blobs.
    pub(crate) fn blob_families(&self) -> [String; 2] {
        [
            format!("{}{BLOBS}", self.checkpoint),
            format!("{}{BLOB_REGISTRIES}", self.checkpoint),
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
    pub(crate) fn staged(&self, identity: &CheckpointRef) -> Bytes {
        let CheckpointRef {
            thread_id,
            namespace,
            checkpoint_id,
        } = identity;
        let (length, segment) = (length_mark(thread_id), self.segment(thread_id.as_str()));
        let (checkpoint, stored) = (&self.checkpoint, stored_namespace(namespace));
        Bytes::from(format!(
            "{checkpoint}{STAGED}{length}:{segment}:{stored}:{checkpoint_id}"
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
        let segment = self.segment(id);
        let length = length_mark(thread);
        let checkpoint = &self.checkpoint;
        ThreadKeys {
            id: id.to_owned(),
            documents: format!("{checkpoint}:{segment}:"),
            pointers: format!("{checkpoint}{POINTERS}:{segment}:"),
            registries: format!("{checkpoint}{REGISTRIES}{length}:{segment}:"),
            namespaces: format!("{checkpoint}{NAMESPACES}:{segment}"),
            writes: format!("{}:{segment}:", self.write),
            write_registries: format!("{}:{segment}:", self.write_registry),
            shared_write_registries: (self.write_registry != WRITE_REGISTRY)
                .then(|| format!("{WRITE_REGISTRY}:{segment}:")),
            blocking_shallow_registries: format!("{BLOCKING_SHALLOW_REGISTRY}:{segment}:"),
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

/// The key that marks, for a millisecond, where replicas must have come to; in a slot, where that
/// matters.
pub(crate) fn replication_mark(checkpoint_prefix: &str, slot: Option<u16>) -> Bytes {
    let tag = slot.map_or(0, tag_in);
    Bytes::from(format!("{checkpoint_prefix}{WAIT}:{{{tag}}}"))
}

/// Whether the keys of one family may be taken for those of another: they start alike, up to what
/// ends the other's name, which is a colon or the length of a thread.
pub(super) fn is_inside(one: &str, other: &str) -> bool {
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

/// What distinguishes families of ours where a thread holds a colon: its length.
fn length_mark(thread: &ThreadId) -> String {
    let id = thread.as_str();
    if id.contains(':') {
        format!("@{}", id.len())
    } else {
        String::new()
    }
}
