//! The one clock of the appliance: what deadlines, dates and freshness are told by. The rule: everybody who shares a
//! moment reads the same clock, and the rules themselves never read one.

use larder_proto::time::{Time, UnixSecs};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A monotonic beginning; copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Monotonic: for deadlines and rates.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::from_micros(u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// By the wall clock, seconds since 1970: for dates and freshness. Before 1970 it is 1970.
    #[must_use]
    pub fn unix(&self) -> UnixSecs {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs())
    }
}
