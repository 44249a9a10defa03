//! How fast somebody sends. The rule: only time counts during which it was asked for something, and what is long ago
//! counts less and less.

use crate::Time;
use std::time::Duration;

/// Busy time that is remembered in full; beyond it the past is halved.
const REMEMBERED: Duration = Duration::from_secs(2);

/// Bytes over busy time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    bytes: u64,
    busy: Duration,
    /// Since when something is asked for and not here, or since the last bytes while it is.
    since: Option<Time>,
}

impl Rate {
    /// It was asked for something, and owed nothing before.
    pub(super) fn begin(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// Bytes came; `idle` where nothing more is owed.
    pub(super) fn received(&mut self, now: Time, bytes: u64, idle: bool) {
        if let Some(since) = self.since {
            self.busy += now.since(since);
            self.bytes = self.bytes.saturating_add(bytes);
        }
        if self.busy > REMEMBERED {
            self.busy /= 2;
            self.bytes /= 2;
        }
        self.since = Some(now).filter(|_| !idle);
    }

    /// Nothing is owed any more, though it did not come.
    pub(super) fn end(&mut self, now: Time) {
        if let Some(since) = self.since.take() {
            self.busy += now.since(since);
        }
    }

    /// Bytes a second, by now: silence counts. `guess` until anything is known.
    pub(super) fn per_second(&self, now: Time, guess: u64) -> u64 {
        let waited = self.since.map_or(Duration::ZERO, |since| now.since(since));
        if self.bytes == 0 {
            // A second of silence halves what is thought of it, and so on.
            return guess / (1 + waited.as_secs());
        }
        let micros = (self.busy + waited).as_micros().max(1);
        let per_second = u128::from(self.bytes) * 1_000_000 / micros;
        u64::try_from(per_second).unwrap_or(u64::MAX).max(1)
    }
}

/// What came in the last seconds, in all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent {
    bytes: u64,
    since: Time,
    /// Of the stretch before.
    before: u64,
}

/// How long a stretch is.
const STRETCH: Duration = Duration::from_secs(3);

impl Recent {
    pub(super) fn received(&mut self, now: Time, bytes: u64) {
        self.turn(now);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Bytes a second over the last stretch and what there is of this one.
    pub(super) fn per_second(&mut self, now: Time) -> u64 {
        self.turn(now);
        let millis = (STRETCH + now.since(self.since)).as_millis();
        let bytes = u128::from(self.bytes + self.before) * 1000;
        u64::try_from(bytes / millis).unwrap_or(u64::MAX)
    }

    fn turn(&mut self, now: Time) {
        let passed = now.since(self.since);
        if passed >= 2 * STRETCH {
            *self = Self {
                since: now,
                ..Self::default()
            };
        } else if passed >= STRETCH {
            self.before = std::mem::take(&mut self.bytes);
            self.since = self.since + STRETCH;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_micros(ms * 1000)
    }

    #[test]
    fn a_rate_is_of_the_time_in_which_something_was_owed() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(at(0), 77), 77);
        rate.begin(at(1000));
        assert_eq!(rate.per_second(at(3000), 90), 30);
        rate.received(at(2000), 500_000, true);
        assert_eq!(rate.per_second(at(9000), 77), 500_000);
        rate.begin(at(9000));
        rate.received(at(10_000), 100_000, false);
        assert_eq!(rate.per_second(at(10_000), 77), 300_000);
        // Silence counts.
        assert_eq!(rate.per_second(at(11_000), 77), 200_000);
        // What is long ago counts less than what is new.
        for second in 11..31 {
            rate.received(at(second * 1000), 1_000_000, false);
        }
        assert!(rate.per_second(at(30_000), 77) > 950_000);
    }

    #[test]
    fn what_came_recently_is_forgotten_in_seconds() {
        let mut recent = Recent::default();
        for second in 0..10 {
            recent.received(at(60_000 + second * 1000), 500_000);
        }
        let rate = recent.per_second(at(69_000));
        assert!((400_000..700_000).contains(&rate), "{rate}");
        assert_eq!(recent.per_second(at(80_000)), 0);
    }
}
