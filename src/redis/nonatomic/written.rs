//! The writes that a checkpoint's registry names, and whose they are.

use bytes::Bytes;

use super::{Names, Run, after, is_shared, join};
use crate::error::{Error, Result};
use crate::redis::keys::NamespaceKeys;
use crate::redis::scripts::Request;

/// The request for the writes that a checkpoint's registry names.
pub(super) fn written(keys: &NamespaceKeys, id: &Bytes) -> Request {
    let registry = join(&[&keys.write_registries, id]);
    Request::on("ZRANGE", &registry, [&b"0"[..], b"-1"])
}

/// Those that have the checkpoint's names.
pub(super) fn own_of(keys: &NamespaceKeys, id: &Bytes, mut writes: Vec<Bytes>) -> Vec<Bytes> {
    let own = join(&[&keys.writes, id, b":"]);
    writes.retain(|key| after(key, &own).is_some());
    writes
}

/// Those that are the checkpoint's, also where another's have the same names.
pub(super) async fn surely_own(
    run: &Run<'_>,
    keys: &NamespaceKeys,
    id: &Bytes,
    writes: Vec<Bytes>,
) -> Result<Vec<Bytes>> {
    if writes.is_empty() || !is_shared(keys, id) {
        return Ok(writes);
    }
    let names = writes.iter().map(Names::of).collect();
    let mut replies = run.pipeline(names).await?;
    let mut own = Vec::new();
    for key in writes {
        let names = match replies.bytes() {
            Err(Error::WrongType { .. } | Error::Server { .. }) => continue,
            names => Names::read(names?).unwrap_or_default(),
        };
        if names.is_of(keys) {
            own.push(key);
        }
    }
    Ok(own)
}
