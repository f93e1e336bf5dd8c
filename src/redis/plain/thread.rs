//! What a thread's set of namespaces says of the whole thread.

use bytes::Bytes;

use super::super::driver::{Command, number};
use super::flight::{Answers, Group, Part};
use super::{PINNED, Plain};
use crate::error::Result;

/// A thread's set of namespaces, as it was a moment ago.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thread {
    /// The time that it has left in milliseconds; -1 for ever, -2 if it is not there.
    pub(super) left: i64,
    pub(super) is_pinned: bool,
}

impl Thread {
    /// How many parts ask for it.
    const PARTS: usize = 2;

    /// The parts that ask for it.
    pub(super) fn of(namespaces: &Bytes) -> [Part; Self::PARTS] {
        [
            Part::command(Command::on("PTTL", namespaces.clone())),
            Self::pinned(namespaces),
        ]
    }

    /// The part that asks whether it is pinned.
    pub(super) fn pinned(namespaces: &Bytes) -> Part {
        Part::of("SISMEMBER", namespaces, [PINNED])
    }

    /// Reads the answers.
    pub(super) fn read(answers: &mut Answers) -> Result<Self> {
        Ok(Self {
            left: answers.int()?,
            is_pinned: answers.int()? == 1,
        })
    }

    pub(super) fn is_there(self) -> bool {
        self.left != -2
    }

    /// The TTL that a call may give, with what all of the thread must have: none in a pinned
    /// thread, and none in one that is kept whole and has something that is kept for ever.
    pub(super) fn allowed(self, ttl: i64, whole: i64) -> (i64, i64) {
        if self.is_there() && (self.is_pinned || (whole > 0 && self.left == -1)) {
            (0, 0)
        } else {
            (ttl, whole)
        }
    }

    /// Whether all of a thread that is kept whole is due for its TTL.
    pub(super) fn is_due(self, whole: i64) -> bool {
        self.left == -2 || (self.left >= 0 && (whole == -1 || self.left < whole))
    }

    /// Gives the set its TTL as part of a call, and says whether the thread is due for another.
    pub(super) fn expire(self, group: Group, ttl: i64, whole: i64) -> (Group, bool) {
        if whole == 0 || !self.is_there() {
            (group.shared_ttl(ttl), false)
        } else {
            (group, self.is_due(whole))
        }
    }
}

/// The TTL of a key that has some time left, as the scripts take one: 0 for none. In a key's last
/// millisecond there are 0 left, which is not the same.
pub(super) fn ttl_left(left: i64) -> i64 {
    if left == -1 { 0 } else { left.max(1) }
}

/// The member that says that a checkpoint has writes and may have no document.
pub(super) fn awaited(namespace: &[u8], checkpoint: &[u8]) -> Bytes {
    super::join(&[b"\0writes\0", namespace, b"\0", checkpoint])
}

/// Takes a namespace without keys out of the set, unless another call has some again: then the
/// namespace stays, as long as the last of them. Says whether it is out.
pub(super) async fn forget_namespace(
    plain: &Plain<'_>,
    namespaces: &Bytes,
    namespace: &Bytes,
    keys: &[&Bytes],
) -> Result<bool> {
    let mut parts = vec![Part::of("SREM", namespaces, [&namespace[..]])];
    parts.extend(keys.iter().map(|key| Part::of("PTTL", key, [])));
    let mut answers = plain.flight(parts).await?;
    let was_named = answers.int()? == 1;
    let left = answers.ints(keys.len())?;
    if !was_named {
        return Ok(true);
    }
    let ttl = match left.iter().max() {
        _ if left.contains(&-1) => 0,
        Some(left @ 0..) => ttl_left(*left),
        _ => return Ok(true),
    };
    let group = Group::on(namespaces).even_when_full();
    let group = group.run("SADD", [namespace.clone()]);
    plain
        .flight(vec![group.shared_ttl(ttl).part()])
        .await?
        .finish()?;
    Ok(false)
}

/// Gives a key another TTL by itself.
pub(super) fn pexpire(key: &Bytes, ttl: i64, condition: Option<&'static str>) -> Part {
    let command = Command::on("PEXPIRE", key.clone()).arg(number(ttl));
    Part::command(command.args(condition.map(Bytes::from)))
}
