//! What each key may take of the service, and what it has taken.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::{Budget, Share};

/// Limits of one API key: of every key in
/// [`ServerOptions::key_limits`](super::ServerOptions::key_limits), and of a single one in its line
/// of the file of keys, which takes precedence.
///
/// A request beyond a limit of its key is answered 429 with `Retry-After`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyLimits {
    /// The number of concurrent requests, each from its head to the end of its response. Default:
    /// half of [`max_in_flight`](super::ServerOptions::max_in_flight); no limit if there is only one
    /// key.
    pub max_in_flight: Option<usize>,
    /// The number of requests per second. Default: no limit.
    pub rate: Option<usize>,
    /// The number of requests that may arrive at once after a pause. Default: as `rate`.
    pub burst: Option<usize>,
    /// The bytes of bodies that are held in memory: of requests, which are refused beyond it, and of
    /// responses whose length is known, for which requests are refused while they are sent.
    /// Default: half of
    /// [`max_held_bytes`](super::ServerOptions::max_held_bytes), but at least one body; no limit if
    /// there is only one key.
    pub max_held_bytes: Option<usize>,
    /// The largest request body in bytes; at most
    /// [`max_body_bytes`](super::ServerOptions::max_body_bytes), which is the default.
    pub max_body_bytes: Option<usize>,
}

impl KeyLimits {
    /// These limits, and where there is none the other's.
    pub(super) fn or(self, other: Self) -> Self {
        // A burst belongs to its rate.
        let (rate, burst) = match (self.rate, self.burst) {
            (None, burst) => (other.rate, burst.or(other.burst)),
            own => own,
        };
        Self {
            max_in_flight: self.max_in_flight.or(other.max_in_flight),
            rate,
            burst,
            max_held_bytes: self.max_held_bytes.or(other.max_held_bytes),
            max_body_bytes: self.max_body_bytes.or(other.max_body_bytes),
        }
    }

    /// The limits by their names.
    pub(super) fn named(&mut self) -> [(&'static str, &mut Option<usize>); 5] {
        [
            ("max_in_flight", &mut self.max_in_flight),
            ("rate", &mut self.rate),
            ("burst", &mut self.burst),
            ("max_held_bytes", &mut self.max_held_bytes),
            ("max_body_bytes", &mut self.max_body_bytes),
        ]
    }
}

/// What a key has taken.
#[derive(Debug, Default)]
pub(super) struct KeyUsage {
    in_flight: Arc<Budget>,
    pub(super) held_bytes: Arc<Budget>,
    bucket: Mutex<Bucket>,
}

/// Why a key gets no more for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exceeded {
    InFlight,
    /// Too many requests per second; when there is room for the next.
    Rate(Duration),
    HeldBytes,
}

impl Exceeded {
    /// The label of metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in_flight",
            Self::Rate(_) => "rate",
            Self::HeldBytes => "held_bytes",
        }
    }
}

impl KeyUsage {
    /// Counts a request until the share is dropped.
    pub(super) fn begin(&self, limits: &KeyLimits) -> Result<Share, Exceeded> {
        let limit = limits.max_in_flight.unwrap_or(usize::MAX);
        let share = self.in_flight.take(1, limit).ok_or(Exceeded::InFlight)?;
        if let Some(rate) = limits.rate {
            let burst = limits.burst.unwrap_or(rate);
            let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.take(rate, burst, Instant::now())?;
        }
        Ok(share)
    }
}

/// A token bucket, which knows its rate and its size only when it is asked: they may change.
#[derive(Debug, Default)]
struct Bucket {
    /// What was taken and has not yet been made good, in requests, at a time.
    taken: Option<(f64, Instant)>,
}

impl Bucket {
    #[allow(clippy::cast_precision_loss)] // No rate comes near 2^52 requests per second.
    fn take(&mut self, rate: usize, burst: usize, now: Instant) -> Result<(), Exceeded> {
        let (rate, burst) = (rate as f64, burst.max(1) as f64);
        let taken = self.taken.map_or(0.0, |(taken, at)| {
            let passed = now.saturating_duration_since(at).as_secs_f64();
            (taken - passed * rate).max(0.0)
        });
        if taken + 1.0 > burst {
            let wait = (taken + 1.0 - burst) / rate;
            return Err(Exceeded::Rate(Duration::from_secs_f64(wait.min(3_600.0))));
        }
        self.taken = Some((taken + 1.0, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rate: usize, burst: usize) -> KeyLimits {
        KeyLimits {
            rate: Some(rate),
            burst: Some(burst),
            ..KeyLimits::default()
        }
    }

    #[test]
    fn a_burst_is_served_and_then_the_rate() {
        let mut bucket = Bucket::default();
        let mut now = Instant::now();
        for _ in 0..3 {
            bucket.take(10, 3, now).unwrap();
        }
        let Err(Exceeded::Rate(wait)) = bucket.take(10, 3, now) else {
            panic!("the fourth was served");
        };
        now += wait + Duration::from_millis(1);
        bucket.take(10, 3, now).unwrap();
        assert!(bucket.take(10, 3, now).is_err());
        // A pause saves no more than a burst.
        now += Duration::from_secs(60);
        let served = (0..10).filter(|_| bucket.take(10, 3, now).is_ok()).count();
        assert_eq!(served, 3);
        // Another limit holds at once.
        bucket.take(10, 5, now).unwrap();
    }

    #[test]
    fn requests_count_until_they_end() {
        let usage = KeyUsage::default();
        let one = KeyLimits {
            max_in_flight: Some(1),
            ..KeyLimits::default()
        };
        let first = usage.begin(&one).unwrap();
        assert_eq!(usage.begin(&one).unwrap_err(), Exceeded::InFlight);
        drop(first);
        assert!(usage.begin(&one).is_ok());
    }

    #[test]
    fn a_rate_of_its_own_has_no_burst_of_all_keys() {
        let all = limits(100, 500);
        assert_eq!(limits(5, 7).or(all), limits(5, 7));
        let own = KeyLimits {
            rate: Some(5),
            ..KeyLimits::default()
        };
        assert_eq!(own.or(all).burst, None);
        assert_eq!(KeyLimits::default().or(all), all);
    }
}
