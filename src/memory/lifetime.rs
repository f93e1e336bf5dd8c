//! How long something is kept.

use std::time::Instant;

/// When something expires; never, if `None`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lifetime(pub(super) Option<Instant>);

impl Lifetime {
    pub(super) fn is_over(self, now: Instant) -> bool {
        self.0.is_some_and(|expiry| expiry <= now)
    }

    /// Lets what would expire before a time expire then.
    pub(super) fn extend(&mut self, to: Self) {
        if self
            .0
            .is_some_and(|expiry| to.0.is_none_or(|to| expiry < to))
        {
            *self = to;
        }
    }

    /// Changes the expiry of what expires; what never expires is not changed.
    pub(super) fn slide(&mut self, to: Self) {
        if self.0.is_some() {
            *self = to;
        }
    }
}
