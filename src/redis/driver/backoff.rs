//! How long to wait before something is tried again.

use std::time::Duration;

/// Waits that double, each with jitter so that many clients do not come back at once.
#[derive(Debug)]
pub(super) struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Between two attempts to connect: from 50 ms to 1 s.
    pub(super) fn connecting() -> Self {
        Self::between(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// Between two attempts of a command that the server cannot serve at the moment: from 10 to
    /// 250 ms.
    pub(super) fn asking_again() -> Self {
        Self::between(Duration::from_millis(10), Duration::from_millis(250))
    }

    fn between(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most,
            next: least,
        }
    }

    /// The next wait: between a half and all of what the doubling has come to.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.next.mul_f64(rand::random::<f64>().mul_add(0.5, 0.5));
        self.next = (self.next * 2).min(self.most);
        wait
    }

    /// Starts anew.
    pub(super) fn reset(&mut self) {
        self.next = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit_and_start_anew() {
        let mut backoff = Backoff::connecting();
        let waits: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] <= Duration::from_millis(50));
        assert!(waits[19] >= Duration::from_millis(500));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(1)));
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(50));
    }
}
