//! What shard threads go by when they give pieces to peers, besides the settings: where this machine is, what it is like,
//! and what may still go to Internet peers. The rule: others write it, from their own threads; a shard only looks.

use crate::coordinator::Key;
use larder_proto::policy::Facts;
use larder_proto::policy::serving::Around;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// Where this machine is, and what it is like at this moment.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The networks around it.
    pub around: Around,
    /// Memory, drive, battery, VPN.
    pub facts: Facts,
    /// By this a peer shows that it is of our group; None where it belongs to none.
    pub group_key: Option<Key>,
}

/// Bytes that may go to Internet peers in this month (`DOMonthlyUploadDataCap`). Whoever keeps the count puts some in
/// that are counted already, so that a process that is killed has never sent what was not counted.
pub struct Monthly {
    left: AtomicU64,
    /// No more is to be had in this month.
    is_over: AtomicBool,
    unlimited: bool,
    low: Notify,
}

/// With less than this left, more is asked for.
const LOW_BYTES: u64 = 8 << 20;

impl Monthly {
    /// Nothing may go yet.
    #[must_use]
    pub fn counted() -> Self {
        Self {
            left: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            unlimited: false,
            low: Notify::new(),
        }
    }

    /// Nobody counts.
    #[must_use]
    pub fn uncounted() -> Self {
        Self {
            unlimited: true,
            ..Self::counted()
        }
    }

    /// Puts in bytes that have been counted.
    pub fn add(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
        self.is_over.store(false, Ordering::Relaxed);
    }

    /// No more is to be had than what is in.
    pub fn last(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// No more is to be had; what is in is taken out, and is the answer.
    pub fn end(&self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.left.swap(0, Ordering::Relaxed)
    }

    /// What is in.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Whether more is to be put in before it runs out.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.left() < LOW_BYTES
    }

    /// Whether nothing more may go in this month.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed) && self.left() == 0
    }

    /// Returns when it is low and somebody wants some.
    pub async fn low(&self) {
        self.low.notified().await;
    }

    /// Takes at most `want` bytes; 0 where there are none.
    pub(crate) fn take(&self, want: u64) -> u64 {
        if self.unlimited {
            return want;
        }
        let less = |left: u64| Some(left - want.min(left));
        let before = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .unwrap_or(0);
        if before < LOW_BYTES.saturating_add(want) {
            self.low.notify_one();
        }
        before.min(want)
    }

    /// Some have not left after all.
    pub(crate) fn give_back(&self, bytes: u64) {
        if !self.unlimited && bytes > 0 {
            self.left.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Monthly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monthly")
            .field("left", &self.left)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_in_is_given_once_and_more_is_asked_for_in_time() {
        let monthly = Monthly::counted();
        assert!(!monthly.is_over(), "nobody has said so yet");
        assert_eq!(monthly.take(10), 0);
        monthly.low().await;
        monthly.add(2 * LOW_BYTES);
        assert_eq!(monthly.take(LOW_BYTES), LOW_BYTES);
        assert!(!monthly.is_low());
        assert_eq!(monthly.take(1), 1);
        monthly.low().await;
        monthly.give_back(1);
        assert_eq!(monthly.end(), LOW_BYTES);
        assert!(monthly.is_over());
        assert_eq!(monthly.take(5), 0);
        monthly.add(3);
        assert!(!monthly.is_over());
        assert_eq!(monthly.take(5), 3);
        assert_eq!(Monthly::uncounted().take(1 << 40), 1 << 40);
    }
}
