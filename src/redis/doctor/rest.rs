//! How long writes without a checkpoint were left alone, though a doctor has looked at them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// How far the server's clock of seconds and ours may be apart.
const SLACK: Duration = Duration::from_secs(2);

/// What had rested long enough when it was looked at, which ended its rest. A doctor that looks
/// again knows it as old, unless somebody else came in between.
#[derive(Debug, Default)]
pub(crate) struct Rested(HashMap<Bytes, Instant>);

impl Rested {
    /// Whether a key has rested for so long, of which the server says how long since it was last
    /// looked at.
    pub(super) fn is_old(&mut self, key: &Bytes, idle: Duration, age: Duration) -> bool {
        let is_untouched = |at: &Instant| idle + SLACK >= at.elapsed();
        let is_old = idle >= age || self.0.get(key).is_some_and(is_untouched);
        if is_old {
            self.0.insert(key.clone(), Instant::now());
        } else {
            self.0.remove(key);
        }
        is_old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_makes_nothing_young_but_others_do() {
        let age = Duration::from_secs(3_600);
        let key = Bytes::from_static(b"registry");
        let mut rested = Rested::default();
        assert!(!rested.is_old(&key, Duration::ZERO, age));
        assert!(rested.is_old(&key, age, age));
        assert!(rested.is_old(&key, Duration::ZERO, age));
        assert!(!rested.is_old(&Bytes::from_static(b"other"), Duration::ZERO, age));
        if let Some(before) = Instant::now().checked_sub(Duration::from_secs(60)) {
            rested.0.insert(key.clone(), before);
            assert!(rested.is_old(&key, Duration::from_secs(59), age));
            rested.0.insert(key.clone(), before);
            assert!(!rested.is_old(&key, Duration::from_secs(5), age));
        }
    }
}
