//! Waits until replicas have acknowledged a write.

use bytes::Bytes;

use super::command::Command;
use super::reply::Reply;
use crate::redis::args::number;
use crate::redis::config::Settings;
use crate::redis::error::RedisError;
use crate::redis::keys::replication_mark;

/// How many replicas must acknowledge a write.
pub(super) struct Replication {
    pub(super) required: usize,
    /// The command that waits for them.
    pub(super) wait: Command,
    /// The prefix of marks.
    prefix: String,
}

impl Replication {
    /// What the settings ask for, if they do.
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        let timeout = settings.wait_replicas_timeout.as_millis().max(1);
        (settings.wait_replicas > 0).then(|| Self {
            required: settings.wait_replicas,
            wait: Command::new("WAIT")
                .arg(number(settings.wait_replicas))
                .arg(number(timeout)),
            prefix: settings.checkpoint_prefix.clone(),
        })
    }

    /// A write that precedes WAIT. WAIT waits for what its own connection has written, so a call
    /// that finds its data written already, because it was sent before, on another connection or by
    /// another process, would otherwise pass whether replicas have that data or not.
    pub(super) fn mark(&self, slot: Option<u16>) -> Command {
        Command::on("SET", replication_mark(&self.prefix, slot))
            .args(["1", "PX", "1"].map(Bytes::from))
    }
}

/// How many replicas a reply to WAIT reports. Where it reports none, the write counts as not
/// replicated.
pub(super) fn acknowledged(wait: Option<&Result<Reply, RedisError>>) -> Result<usize, RedisError> {
    match wait {
        Some(Ok(reply)) => {
            let count = reply.as_int().and_then(|count| usize::try_from(count).ok());
            Ok(count.unwrap_or(0))
        }
        Some(Err(error)) => Err(error.clone()),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_to_wait_that_holds_no_number_counts_no_replica() {
        assert_eq!(acknowledged(Some(&Ok(Reply::Int(2)))), Ok(2));
        assert_eq!(acknowledged(Some(&Ok(Reply::Int(-1)))), Ok(0));
        assert_eq!(acknowledged(Some(&Ok(Reply::Nil))), Ok(0));
        assert_eq!(acknowledged(None), Ok(0));
        let lost = RedisError::lost("gone");
        assert_eq!(acknowledged(Some(&Err(lost.clone()))), Err(lost));
    }
}
