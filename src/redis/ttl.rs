//! The TTL of single keys, and of checkpoints with their writes.

use std::time::Duration;

use bytes::Bytes;

use super::args::{milliseconds, text};
use super::driver::Command;
use super::keys::NamespaceKeys;
use super::scripts::{TtlCall, TtlVerb};
use super::store::Store;
use crate::error::Result;
use crate::id::CheckpointId;

/// Gives checkpoints with their writes another TTL, in as many steps as they need.
pub(super) async fn change_ttl_of(
    store: &Store,
    keys: &NamespaceKeys,
    ids: &[CheckpointId],
    ttl: Option<Duration>,
    verb: TtlVerb,
) -> Result<()> {
    let ids: Vec<_> = ids.iter().map(|id| text(id.as_str())).collect();
    let (mut left, mut skip) = (&ids[..], 0);
    loop {
        let call = TtlCall {
            keys: keys.clone(),
            ids: left.to_vec(),
            ttl,
            verb,
            skip,
        };
        let reply = store.script("ttl", call).await?;
        let done = reply.done.min(left.len());
        left = &left[done..];
        // Every step but the last gets on.
        if left.is_empty() || (done == 0 && reply.skip <= skip) {
            return Ok(());
        }
        skip = reply.skip;
    }
}

/// The command that makes a key live as long as something else that needs it.
pub(super) fn keep_longer(key: Bytes, ttl: &Bytes) -> Command {
    if ttl == "0" {
        Command::on("PERSIST", key)
    } else {
        Command::on("PEXPIRE", key).arg(ttl.clone()).arg("GT")
    }
}

/// What a verb does to a key: the same as the script does to a checkpoint's.
pub(super) fn ttl_command(key: Bytes, ttl: Option<Duration>, verb: TtlVerb) -> Option<Command> {
    let (milliseconds, has_ttl) = (milliseconds(ttl), ttl.is_some());
    match verb {
        TtlVerb::Pin => Some(Command::on("PERSIST", key)),
        TtlVerb::Keep => Some(keep_longer(key, &milliseconds)),
        TtlVerb::Unpin if has_ttl => Some(Command::on("PEXPIRE", key).arg(milliseconds)),
        TtlVerb::Touch if has_ttl => Some(Command::on("PEXPIRE", key).arg(milliseconds).arg("XX")),
        TtlVerb::Mark
        | TtlVerb::Unmark
        | TtlVerb::Unpin
        | TtlVerb::Unpinned
        | TtlVerb::Touch
        | TtlVerb::Kept
        | TtlVerb::Read => None,
    }
}
