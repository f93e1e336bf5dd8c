//! The names by which LangGraph knows things: threads, namespaces, checkpoints, tasks.
//!
//! Each is a newtype that is checked once, where it enters. Ids are data: they may hold any
//! character, are compared byte for byte (case included) and are never part of a pattern.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest id that is taken, in bytes.
pub const MAX_ID_BYTES: usize = 64 * 1024;

/// How an empty checkpoint namespace is stored; it cannot be the name of another one.
pub(crate) const EMPTY_NAMESPACE: &str = "__empty__";

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes an id as the caller has it.
            ///
            /// # Errors
            /// [`Error::InvalidInput`] if it is one that cannot be told apart from another.
            pub fn new(id: impl AsRef<str>) -> Result<Self> {
                let id = id.as_ref();
                Self::check(id)?;
                Ok(Self(id.into()))
            }

            /// Takes an id as bytes from outside.
            ///
            /// # Errors
            /// [`Error::InvalidInput`] if the bytes are not UTF-8, or as [`Self::new`].
            pub fn from_bytes(id: &[u8]) -> Result<Self> {
                let id = std::str::from_utf8(id)
                    .map_err(|error| Error::invalid($field, format!("it is not UTF-8 ({error})")))?;
                Self::new(id)
            }

            /// The id as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(id: &str) -> Result<Self> {
                Self::new(id)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(id: String) -> Result<Self> {
                Self::new(id)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;
            fn try_from(id: &str) -> Result<Self> {
                Self::new(id)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    };
}

fn check_length(field: &str, id: &str) -> Result<()> {
    if id.len() > MAX_ID_BYTES {
        return Err(Error::invalid(
            field,
            format!(
                "it has {} bytes; at most {MAX_ID_BYTES} are taken",
                id.len()
            ),
        ));
    }
    Ok(())
}

fn check_not_empty(field: &str, id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::invalid(field, "it is empty; give every one a name"));
    }
    check_length(field, id)
}

id!(
    /// The id of a thread: one conversation, one run of an agent.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::ThreadId;
    /// let thread = ThreadId::new("user:42")?;
    /// assert_eq!(thread.as_str(), "user:42");
    /// assert!(ThreadId::new("").is_err());
    /// assert!(ThreadId::from_bytes(b"\xff").is_err());
    /// # Ok::<(), langgraph_checkpoint_redis::Error>(())
    /// ```
    ThreadId,
    "thread_id"
);

impl ThreadId {
    fn check(id: &str) -> Result<()> {
        check_not_empty("thread_id", id)
    }
}

id!(
    /// The namespace of a checkpoint within its thread: `""` for the root graph, and a path such
    /// as `outer:1f0…` for a subgraph.
    CheckpointNamespace,
    "checkpoint_ns"
);

impl CheckpointNamespace {
    fn check(id: &str) -> Result<()> {
        if id == EMPTY_NAMESPACE {
            return Err(Error::invalid(
                "checkpoint_ns",
                format!("`{EMPTY_NAMESPACE}` is how the root namespace is stored; use \"\" for it"),
            ));
        }
        if id.contains('\0') {
            return Err(Error::invalid("checkpoint_ns", "it holds a NUL character"));
        }
        check_length("checkpoint_ns", id)
    }

    /// The namespace of the root graph, `""`.
    #[must_use]
    pub fn root() -> Self {
        Self("".into())
    }

    /// Whether this is the namespace of the root graph.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for CheckpointNamespace {
    fn default() -> Self {
        Self::root()
    }
}

id!(
    /// The id of a checkpoint.
    ///
    /// Ids are ordered byte for byte and the greatest is the newest. LangGraph makes UUIDv6,
    /// whose order is that of time; ULIDs and any other text are taken as well.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::CheckpointId;
    /// let first = CheckpointId::now_v6();
    /// let second = CheckpointId::now_v6();
    /// assert!(first < second);
    /// ```
    CheckpointId,
    "checkpoint_id"
);

impl CheckpointId {
    fn check(id: &str) -> Result<()> {
        check_not_empty("checkpoint_id", id)
    }

    /// Makes a UUIDv6, as LangGraph does, greater than every one made before by this process.
    #[must_use]
    pub fn now_v6() -> Self {
        Self(
            uuid::Uuid::now_v6(&node_id())
                .hyphenated()
                .to_string()
                .into(),
        )
    }

    /// Makes a ULID. Those made within one millisecond are in no order.
    #[must_use]
    pub fn now_ulid() -> Self {
        Self(ulid::Ulid::generate().to_string().into())
    }

    /// When the id was made, as far as the id itself tells: a UUIDv6, UUIDv7 or ULID does.
    ///
    /// ```
    /// use langgraph_checkpoint_redis::CheckpointId;
    /// assert!(CheckpointId::now_v6().time().is_some());
    /// assert!(CheckpointId::now_ulid().time().is_some());
    /// assert_eq!(CheckpointId::new("mine")?.time(), None);
    /// # Ok::<(), langgraph_checkpoint_redis::Error>(())
    /// ```
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        let since_epoch = if self.0.len() == 26 {
            Duration::from_millis(ulid::Ulid::from_string(&self.0).ok()?.timestamp_ms())
        } else {
            let (seconds, nanos) = uuid::Uuid::try_parse(&self.0)
                .ok()?
                .get_timestamp()?
                .to_unix();
            Duration::new(seconds, nanos)
        };
        UNIX_EPOCH.checked_add(since_epoch)
    }
}

/// Six random bytes that stand for this process in the UUIDs that it makes.
fn node_id() -> [u8; 6] {
    static NODE: std::sync::OnceLock<[u8; 6]> = std::sync::OnceLock::new();
    *NODE.get_or_init(|| {
        let mut node = [0; 6];
        node.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..6]);
        node
    })
}

id!(
    /// The id of a task: one execution of a node in a super-step.
    TaskId,
    "task_id"
);

impl TaskId {
    fn check(id: &str) -> Result<()> {
        check_not_empty("task_id", id)
    }
}

id!(
    /// The id of a run: one invocation of a graph.
    RunId,
    "run_id"
);

impl RunId {
    fn check(id: &str) -> Result<()> {
        check_not_empty("run_id", id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_name_of_the_root_namespace_is_refused() {
        assert!(CheckpointNamespace::new("__empty__").is_err());
        assert!(CheckpointNamespace::new("").is_ok_and(|root| root.is_root()));
    }

    #[test]
    fn ids_of_one_process_are_made_in_order() {
        let ids: Vec<_> = (0..1_000).map(|_| CheckpointId::now_v6()).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn the_time_of_a_langgraph_id_is_read_from_it() {
        let id = CheckpointId::new("1f1e5438-3693-6fd2-bfff-c562fd0be1e3").unwrap();
        let time = id.time().unwrap().duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(time.as_millis(), 1_795_221_355_547);
    }

    #[test]
    fn an_id_of_ten_kilobytes_is_taken_and_one_over_the_limit_is_not() {
        assert!(ThreadId::new("x".repeat(10_240)).is_ok());
        let error = ThreadId::new("x".repeat(MAX_ID_BYTES + 1)).unwrap_err();
        assert!(error.to_string().contains("thread_id"));
    }
}
