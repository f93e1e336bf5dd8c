//! Amounts that may be taken up to a limit, and are given back when they are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much is taken of something.
#[derive(Debug, Default)]
pub(super) struct Budget(AtomicUsize);

/// What was taken of a budget; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    amount: usize,
}

impl Budget {
    /// Takes an amount unless more than `limit` would then be taken.
    pub(super) fn take(self: &Arc<Self>, amount: usize, limit: usize) -> Option<Share> {
        self.try_add(amount, limit).then(|| Share {
            budget: Arc::clone(self),
            amount,
        })
    }

    /// Takes an amount whatever is taken already.
    pub(super) fn take_anyway(self: &Arc<Self>, amount: usize) -> Share {
        self.0.fetch_add(amount, Ordering::Relaxed);
        Share {
            budget: Arc::clone(self),
            amount,
        }
    }

    fn try_add(&self, amount: usize, limit: usize) -> bool {
        let added = |taken: usize| taken.checked_add(amount).filter(|sum| *sum <= limit);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, added)
            .is_ok()
    }
}

impl Share {
    /// Takes more; `false` if more than `limit` would then be taken.
    pub(super) fn grow(&mut self, amount: usize, limit: usize) -> bool {
        let has_grown = self.budget.try_add(amount, limit);
        if has_grown {
            self.amount += amount;
        }
        has_grown
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_taken_and_all_is_given_back() {
        let budget = Arc::new(Budget::default());
        let mut first = budget.take(60, 100).unwrap();
        assert!(budget.take(41, 100).is_none());
        assert!(budget.take(usize::MAX, usize::MAX).is_none());
        assert!(first.grow(40, 100));
        assert!(!first.grow(1, 100));
        let anyway = budget.take_anyway(50);
        drop(first);
        assert!(budget.take(51, 100).is_none());
        drop(anyway);
        assert!(budget.take(100, 100).is_some());
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }
}
