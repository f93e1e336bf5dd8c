//! How long to wait between two attempts.

use std::time::Duration;

/// Waits that double, each with jitter so that many clients do not come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Between two attempts to connect: from 50 ms to 1 s.
    pub(super) fn connecting() -> Self {
        Self::between(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// Between two attempts of a command that the server cannot serve at the moment: from 10 to
    /// 250 ms.
    pub(super) fn retrying() -> Self {
        Self::between(Duration::from_millis(10), Duration::from_millis(250))
    }

    fn between(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min,
        }
    }

    /// The next wait: between a half and all of what the doubling has come to.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::random::<f64>().mul_add(0.5, 0.5));
        self.next = (self.next * 2).min(self.max);
        wait
    }

    /// Starts again with the shortest wait.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit_until_they_are_reset() {
        let mut backoff = Backoff::connecting();
        let waits: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] <= Duration::from_millis(50));
        assert!(waits[19] >= Duration::from_millis(500));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(1)));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(50));
    }
}
