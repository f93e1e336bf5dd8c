//! When a checkpoint was made.

use std::time::SystemTime;

use crate::checkpoint::Checkpoint;

/// When a checkpoint was made: the time in its id, else its `ts`.
pub(crate) fn made(checkpoint: &Checkpoint) -> Option<SystemTime> {
    checkpoint.id().time().or_else(|| {
        let ts: jiff::Timestamp = checkpoint.ts()?.parse().ok()?;
        Some(SystemTime::from(ts))
    })
}
