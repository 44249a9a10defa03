//! How fast bytes go on one connection of late. The rule: what is told is of whole spans of time, so that a moment of
//! silence between two blocks is not taken for the end.

use larder_proto::time::Time;
use std::time::Duration;

/// Over so long bytes are counted.
const SPAN: Duration = Duration::from_secs(2);

/// Bytes that have gone, and how fast they went of late.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    began: Time,
    all: u64,
    span_began: Time,
    in_span: u64,
    last: u64,
}

impl Pace {
    pub(crate) const fn new(now: Time) -> Self {
        Self {
            began: now,
            all: 0,
            span_began: now,
            in_span: 0,
            last: 0,
        }
    }

    /// So many bytes have gone.
    pub(crate) fn went(&mut self, bytes: u64, now: Time) {
        self.turn(now);
        self.all = self.all.saturating_add(bytes);
        self.in_span = self.in_span.saturating_add(bytes);
    }

    /// Since when it is counted.
    pub(crate) const fn began(&self) -> Time {
        self.began
    }

    /// All bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        self.all
    }

    /// Bytes a second of the last whole span; before there is one, of what there is.
    pub(crate) fn bytes_s(&self, now: Time) -> u64 {
        let mut seen = *self;
        seen.turn(now);
        if seen.began == seen.span_began {
            return per_second(seen.in_span, now.since(seen.span_began));
        }
        seen.last
    }

    fn turn(&mut self, now: Time) {
        let passed = now.since(self.span_began);
        if passed < SPAN {
            return;
        }
        self.last = if passed < 2 * SPAN {
            per_second(self.in_span, passed)
        } else {
            0
        };
        (self.span_began, self.in_span) = (now, 0);
    }
}

fn per_second(bytes: u64, span: Duration) -> u64 {
    let millis = span.as_millis().max(1);
    u64::try_from(u128::from(bytes) * 1000 / millis).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_that_of_the_last_whole_span() {
        let at = |ms: u64| Time::from_micros(ms * 1000);
        let mut pace = Pace::new(at(0));
        pace.went(1000, at(500));
        assert_eq!(pace.bytes_s(at(1000)), 1000);
        pace.went(3000, at(1500));
        assert_eq!(pace.bytes_s(at(2000)), 2000);
        pace.went(10, at(2100));
        assert_eq!(pace.bytes_s(at(2200)), 1904);
        assert_eq!(pace.bytes_s(at(60_000)), 0, "nothing has gone for long");
        assert_eq!((pace.bytes(), pace.began()), (4010, at(0)));
    }
}
