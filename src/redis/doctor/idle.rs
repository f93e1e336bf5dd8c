//! How long writes without a checkpoint were left alone, though a doctor has looked at them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// How far the server's clock of seconds and ours may be apart.
const SLACK: Duration = Duration::from_secs(2);

/// What a doctor who only looked found to have idle too long, which ended its rest. One that comes
/// next knows it as old, once, unless somebody else came in between.
#[derive(Debug, Default)]
pub(crate) struct IdleWrites {
    /// With how many writes it names.
    found: HashMap<Bytes, usize>,
    /// When the look was over.
    at: Option<Instant>,
}

impl IdleWrites {
    /// Whether a registry of so many writes is old, of which the server says for how long nobody has
    /// looked at it.
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

    /// A registry of so many writes is old, and stays so.
    pub(super) fn found(&mut self, key: Bytes, writes: usize) {
        self.found.insert(key, writes);
    }

    /// From now on only others look.
    pub(super) fn run_is_over(&mut self) {
        self.at = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_makes_nothing_young_but_others_do() {
        let age = Duration::from_secs(3_600);
        let key = Bytes::from_static(b"registry");
        let mut idle = IdleWrites::default();
        assert!(!idle.is_old(&key, 2, Duration::ZERO, age));
        assert!(idle.is_old(&key, 2, age, age));
        let mut looked_before = |seconds, writes, idle| {
            idle.found(key.clone(), 2);
            idle.at = Instant::now().checked_sub(Duration::from_secs(seconds));
            let other = Bytes::from_static(b"other");
            assert!(!idle.is_old(&other, writes, Duration::ZERO, age));
            let is_old = idle.is_old(&key, writes, Duration::from_secs(idle), age);
            assert!(!idle.is_old(&key, writes, Duration::ZERO, age), "once");
            is_old
        };
        assert!(looked_before(0, 2, 0));
        assert!(looked_before(10, 2, 9));
        assert!(!looked_before(10, 2, 5), "somebody came");
        assert!(!looked_before(0, 3, 0), "somebody wrote");
    }
}
