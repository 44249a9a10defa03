//! A counter that is exported and can be read here as well. The rule: both count the same, from the same call.

use metrics::Counter;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted since the start.
pub struct Tally {
    shown: Counter,
    all: AtomicU64,
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tally({})", self.all())
    }
}

impl From<Counter> for Tally {
    fn from(shown: Counter) -> Self {
        Self {
            shown,
            all: AtomicU64::new(0),
        }
    }
}

impl Tally {
    /// One that is exported nowhere.
    #[must_use]
    pub fn unseen() -> Self {
        Counter::noop().into()
    }

    /// Counts so many more.
    pub fn increment(&self, more: u64) {
        self.shown.increment(more);
        self.all.fetch_add(more, Ordering::Relaxed);
    }

    /// What was counted.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }
}
