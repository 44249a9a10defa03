//! Time as a value. The rule: nothing in this crate reads a clock; whoever calls says what time it is.

use std::ops::Add;
use std::time::Duration;

/// Seconds since 1970 by the wall clock: what HTTP dates and freshness count in.
pub type UnixSecs = u64;

/// A moment of a monotonic clock, in microseconds since an arbitrary beginning: what deadlines and rates count in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(u64);

impl Time {
    /// The moment `micros` microseconds after the clock's beginning.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's beginning.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero where it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// The moment `after` later; the end of time where that can not be counted.
    fn add(self, after: Duration) -> Self {
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_wraps() {
        let noon = Time::from_micros(1_000_000);
        assert_eq!((noon + Duration::from_millis(5)).as_micros(), 1_005_000);
        assert_eq!(
            (noon + Duration::from_millis(5)).since(noon),
            Duration::from_millis(5)
        );
        assert_eq!(noon.since(noon + Duration::from_millis(5)), Duration::ZERO);
        assert_eq!((noon + Duration::MAX).as_micros(), u64::MAX);
    }
}
