//! The pointer to the newest checkpoint of a namespace.

use bytes::Bytes;

use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::{AdvancePointerCall, OneKey, Request};

/// A pointer, as it was a moment ago.
pub(super) struct Pointer<'a> {
    pub(super) keys: &'a NamespaceKeys,
    /// The id that it names.
    pub(super) names: Option<&'a Bytes>,
    /// Whether that one's document is gone, or about to go.
    pub(super) is_stale: bool,
}

impl Pointer<'_> {
    /// The request that lets it name a checkpoint, unless it names a newer one that is not stale.
    pub(super) fn advance(&self, id: &Bytes, ttl: i64) -> Request {
        let call = AdvancePointerCall {
            pointer: self.keys.pointer.clone(),
            documents: self.keys.documents.clone(),
            id: id.clone(),
            ttl,
            gone: self.names.filter(|_| self.is_stale).cloned(),
        };
        OneKey::from(call).into()
    }
}
