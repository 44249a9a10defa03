//! What the store counts. The rule: counts only go up, and a count is made where the thing happens.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start; see [`super::Figures`] for what they mean.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) corrupt: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) index_evictions: AtomicU64,
    pub(crate) io_errors: AtomicU64,
    pub(crate) not_kept: AtomicU64,
    pub(crate) scrubbed: AtomicU64,
    pub(crate) scrub_passes: AtomicU64,
}

/// Reads one.
pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
