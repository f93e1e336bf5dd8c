//! The TTL of single keys, and of checkpoints with their writes.

use std::time::Duration;

use bytes::Bytes;

use super::args::{milliseconds, number, text};
use super::driver::Command;
use super::keys::NamespaceKeys;
use super::replies::numbers;
use super::scripts;
use super::store::Store;
use crate::error::Result;
use crate::id::CheckpointId;

/// What becomes of a thread's TTLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TtlVerb {
    Touch,
    Pin,
    Unpin,
    /// All but the set of namespaces, with the scope `thread`.
    Keep,
    /// The set of namespaces, when everything else is done.
    Kept,
    /// One checkpoint that was read, and what it shares.
    Read,
}

/// Gives checkpoints with their writes another TTL, in as many steps as they need.
pub(super) async fn change_ttl_of(
    store: &Store,
    keys: &NamespaceKeys,
    ids: &[CheckpointId],
    ttl: Option<Duration>,
    verb: TtlVerb,
) -> Result<()> {
    let name: &[u8] = match verb {
        TtlVerb::Touch => b"touch",
        TtlVerb::Pin => b"pin",
        TtlVerb::Unpin => b"unpin",
        TtlVerb::Keep => b"keep",
        TtlVerb::Kept => b"kept",
        TtlVerb::Read => b"read",
    };
    let (mut left, mut leave_out) = (ids, 0);
    loop {
        let mut args = vec![
            keys.documents.clone(),
            keys.write_registries.clone(),
            keys.writes.clone(),
            milliseconds(ttl),
            Bytes::from_static(name),
            number(leave_out),
            keys.stored.clone(),
        ];
        args.extend(left.iter().map(|id| text(id.as_str())));
        let call = scripts::TTL.call(
            vec![
                keys.registry.clone(),
                keys.pointer.clone(),
                keys.namespaces.clone(),
            ],
            args,
        );
        let [done, next] = numbers(store.script("ttl", call).await?);
        let done = usize::try_from(done).unwrap_or(usize::MAX).min(left.len());
        left = &left[done..];
        // Every step but the last gets on.
        if left.is_empty() || (done == 0 && next <= leave_out) {
            return Ok(());
        }
        leave_out = next;
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
        TtlVerb::Unpin | TtlVerb::Touch | TtlVerb::Kept | TtlVerb::Read => None,
    }
}
