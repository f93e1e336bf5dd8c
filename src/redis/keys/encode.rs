//! How parts of keys are written, and read back.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::Result;
use crate::id::{CheckpointNamespace, EMPTY_NAMESPACE};

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

/// The id of a task without colons, so that it cannot take one from the checkpoint's. LangGraph's
/// ids are UUIDs and stay as they are.
pub(super) fn escaped(task: &str) -> Cow<'_, str> {
    if task.contains([':', '%']) {
        Cow::Owned(task.replace('%', "%25").replace(':', "%3A"))
    } else {
        Cow::Borrowed(task)
    }
}

pub(super) fn join(start: &str, middle: &str, end: &str) -> Bytes {
    Bytes::from([start, middle, end].concat())
}

pub(super) fn append(start: &Bytes, parts: &[&str]) -> Bytes {
    let length = start.len() + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut key = BytesMut::with_capacity(length);
    key.put_slice(start);
    for part in parts {
        key.put_slice(part.as_bytes());
    }
    key.freeze()
}
