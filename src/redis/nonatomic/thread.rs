//! What a thread's set of namespaces says of all of the thread.

use bytes::Bytes;

use super::pipeline::Replies;
use super::{PINNED, Run};
use crate::error::Result;
use crate::redis::args::number;
use crate::redis::driver::Command;
use crate::redis::scripts::{Request, RunOnKey};

/// How long in milliseconds what a checkpoint shares with others stays at least: other calls may be
/// on their way along it.
pub(super) const LEAST: i64 = 1000;

/// A thread's set of namespaces, as it was a moment ago.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thread {
    /// The time that it has left in milliseconds; -1 without a TTL, -2 if it is not there.
    pub(super) left: i64,
    pub(super) is_pinned: bool,
}

impl Thread {
    /// How many requests ask for it.
    const REQUESTS: usize = 2;

    /// The requests that ask for it.
    pub(super) fn of(namespaces: &Bytes) -> [Request; Self::REQUESTS] {
        [
            Request::from(Command::on("PTTL", namespaces.clone())),
            Self::pinned(namespaces),
        ]
    }

    /// The request that asks whether it is pinned.
    pub(super) fn pinned(namespaces: &Bytes) -> Request {
        Request::on("SISMEMBER", namespaces, [PINNED])
    }

    /// Reads the replies.
    pub(super) fn read(replies: &mut Replies) -> Result<Self> {
        Ok(Self {
            left: replies.int()?,
            is_pinned: replies.int()? == 1,
        })
    }

    pub(super) fn is_there(self) -> bool {
        self.left != -2
    }

    /// The TTL that a call may give, with the one that all of the thread must have: none in a
    /// pinned thread, and none in one that has one TTL and holds something without.
    pub(super) fn allowed(self, ttl: i64, thread_ttl: i64) -> (i64, i64) {
        if self.is_there() && (self.is_pinned || (thread_ttl > 0 && self.left == -1)) {
            (0, 0)
        } else {
            (ttl, thread_ttl)
        }
    }

    /// Whether the TTL of a thread that has one must be refreshed.
    pub(super) fn is_refresh_due(self, thread_ttl: i64) -> bool {
        self.left == -2 || (self.left >= 0 && (thread_ttl == -1 || self.left < thread_ttl))
    }

    /// Gives the set its TTL as part of a call, and returns whether the thread's must be refreshed.
    pub(super) fn expire(self, on_set: RunOnKey, ttl: i64, thread_ttl: i64) -> (RunOnKey, bool) {
        if thread_ttl == 0 || !self.is_there() {
            (on_set.shared_ttl(ttl), false)
        } else {
            (on_set, self.is_refresh_due(thread_ttl))
        }
    }
}

/// The TTL of a key that has some time left, as the scripts take one: 0 for none. In a key's last
/// millisecond there are 0 left, which is not the same.
pub(super) fn ttl_left(left: i64) -> i64 {
    if left == -1 { 0 } else { left.max(1) }
}

/// The longest of some times left, -1 if a key has no TTL; `None` if no key is there.
pub(super) fn longest(left: &[i64]) -> Option<i64> {
    if left.contains(&-1) {
        return Some(-1);
    }
    left.iter().copied().max().filter(|longest| *longest >= 0)
}

/// The member that says that a checkpoint has writes and may have no document.
pub(super) fn awaited(namespace: &[u8], checkpoint: &[u8]) -> Bytes {
    super::join(&[b"\0writes\0", namespace, b"\0", checkpoint])
}

/// The member that says that the writes of a checkpoint are being removed.
pub(super) fn removed(namespace: &[u8], checkpoint: &[u8]) -> Bytes {
    super::join(&[b"\0removed\0", namespace, b"\0", checkpoint])
}

/// Whether a member says either of a checkpoint of a namespace.
pub(super) fn is_mark_of(member: &[u8], namespace: &[u8]) -> bool {
    let marks = [awaited(namespace, b""), removed(namespace, b"")];
    marks.iter().any(|mark| member.starts_with(mark))
}

/// Takes a namespace without keys out of the set, unless another call has stored some again: then
/// the namespace stays, as long as the last of them. Returns whether it is out.
pub(super) async fn forget_namespace(
    run: &Run<'_>,
    namespaces: &Bytes,
    namespace: &Bytes,
    keys: &[&Bytes],
) -> Result<bool> {
    let mut requests = vec![Request::on("SREM", namespaces, [&namespace[..]])];
    requests.extend(keys.iter().map(|key| Request::on("PTTL", key, [])));
    let mut replies = run.pipeline(requests).await?;
    let was_named = replies.int()? == 1;
    let left = replies.ints(keys.len())?;
    if !was_named {
        return Ok(true);
    }
    let Some(left) = longest(&left) else {
        return Ok(true);
    };
    let listed = RunOnKey::new(namespaces).even_when_full();
    let listed = listed.run("SADD", [namespace.clone()]);
    run.pipeline(vec![listed.shared_ttl(ttl_left(left)).into()])
        .await?
        .finish()?;
    Ok(false)
}

/// Gives a key another TTL by itself.
pub(super) fn pexpire(key: &Bytes, ttl: i64, condition: Option<&'static str>) -> Request {
    let command = Command::on("PEXPIRE", key.clone()).arg(number(ttl));
    Request::from(command.args(condition.map(Bytes::from)))
}
