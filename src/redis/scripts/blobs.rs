//! Blobs: values of channels that are stored apart from their checkpoints.

use std::time::Duration;

use bytes::Bytes;

use super::super::args::{milliseconds, number};
use super::{OneKey, ThreadTtl};

/// Stores a blob, unless it is there. Returns 1 if it was stored, else 0.
#[derive(Debug, Clone)]
pub(crate) struct PutBlobCall {
    pub(crate) key: Bytes,
    pub(crate) document: Bytes,
    pub(crate) ttl: Option<Duration>,
}

impl From<PutBlobCall> for OneKey {
    fn from(call: PutBlobCall) -> Self {
        let args = vec![call.document, milliseconds(call.ttl)];
        Self::new(&super::BLOB_PUT, call.key, args)
    }
}

/// Registers blobs before they are stored. Returns how many are new.
#[derive(Debug, Clone)]
pub(crate) struct RegisterBlobsCall {
    pub(crate) registry: Bytes,
    pub(crate) members: Vec<Bytes>,
    pub(crate) ttl: Option<Duration>,
}

impl From<RegisterBlobsCall> for OneKey {
    fn from(call: RegisterBlobsCall) -> Self {
        let mut args = call.members;
        args.insert(0, milliseconds(call.ttl));
        Self::new(&super::BLOB_REGISTER, call.registry, args)
    }
}

/// Marks a namespace as one that has blobs. Returns 1 if the thread's keys may have the TTL, 0 if
/// they may have none.
#[derive(Debug, Clone)]
pub(crate) struct MarkBlobsCall {
    pub(crate) namespaces: Bytes,
    /// The member that says so.
    pub(crate) mark: Bytes,
    pub(crate) ttl: Option<Duration>,
    pub(crate) thread_ttl: ThreadTtl,
}

impl From<MarkBlobsCall> for OneKey {
    fn from(call: MarkBlobsCall) -> Self {
        let args = vec![call.mark, milliseconds(call.ttl), call.thread_ttl.arg()];
        Self::new(&super::BLOB_MARK, call.namespaces, args)
    }
}

/// Takes blobs out of their registry whose checkpoint was stored once, or never came. Returns the
/// members that were taken out, whose blobs can be removed.
#[derive(Debug, Clone)]
pub(crate) struct ForgetBlobsCall {
    pub(crate) registry: Bytes,
    pub(crate) members: Vec<Bytes>,
    /// For how many seconds a checkpoint is waited for.
    pub(crate) patience: u64,
}

impl From<ForgetBlobsCall> for OneKey {
    fn from(call: ForgetBlobsCall) -> Self {
        let mut args = call.members;
        args.insert(0, number(call.patience));
        Self::new(&super::BLOB_FORGET, call.registry, args)
    }
}
