//! How long writes without a checkpoint were idle, although a run of the doctor has read them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// How far the server's clock of seconds and ours may be apart.
const SLACK: Duration = Duration::from_secs(2);

/// Registries of writes that a run without repairs found to be idle for too long. Reading them
/// reset their idle time, so the next run takes them as old, once, unless another client has used
/// them in between.
#[derive(Debug, Default)]
pub(crate) struct IdleWrites {
    /// How many writes each of them names.
    found: HashMap<Bytes, usize>,
    /// When the run was over.
    at: Option<Instant>,
}

impl IdleWrites {
    /// Whether a registry that names this number of writes is old. `idle` is the time since its
    /// last use, as the server reports it.
    pub(super) fn is_old(
        &mut self,
        key: &Bytes,
        writes: usize,
        idle: Duration,
        age: Duration,
    ) -> bool {
        let was_found = self.found.remove(key) == Some(writes);
        let is_untouched = |at: Instant| idle + SLACK >= at.elapsed();
        idle >= age || (was_found && self.at.is_some_and(is_untouched))
    }

    /// Remembers that a registry that names this number of writes is old.
    pub(super) fn found(&mut self, key: Bytes, writes: usize) {
        self.found.insert(key, writes);
    }

    /// Every later use of a registry is another client's.
    pub(super) fn run_is_over(&mut self) {
        self.at = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_keeps_old_registries_old_and_other_clients_do_not() {
        let age = Duration::from_secs(3_600);
        let key = Bytes::from_static(b"registry");
        let mut known = IdleWrites::default();
        assert!(!known.is_old(&key, 2, Duration::ZERO, age));
        assert!(known.is_old(&key, 2, age, age));
        let mut looked_before = |seconds, writes, idle| {
            known.found(key.clone(), 2);
            known.at = Instant::now().checked_sub(Duration::from_secs(seconds));
            let other = Bytes::from_static(b"other");
            assert!(!known.is_old(&other, writes, Duration::ZERO, age));
            let is_old = known.is_old(&key, writes, Duration::from_secs(idle), age);
            assert!(!known.is_old(&key, writes, Duration::ZERO, age), "once");
            is_old
        };
        assert!(looked_before(0, 2, 0));
        assert!(looked_before(10, 2, 9));
        assert!(!looked_before(10, 2, 5), "another client read it");
        assert!(!looked_before(0, 3, 0), "another client wrote to it");
    }
}
