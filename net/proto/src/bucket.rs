//! How fast bytes may leave: a bucket that fills at a rate, and leases that threads take out of it. The rule: over any
//! stretch of time no more leaves than the rate allows and a burst of a quarter of a second besides, whatever the clock
//! does and however many threads there are.
//!
//! Whoever sends in small steps takes a lease, a fiftieth of a second's worth, and spends it without asking again: so
//! the one bucket of all threads is touched rarely.

use crate::time::Time;
use std::time::Duration;

/// A byte, in the unit that the level is counted in: so that a microsecond of any rate is a whole number.
const BYTE: u128 = 1_000_000;

/// No burst or lease is smaller: a rate of 1 KB/s still sends in steps that are worth it.
const STEP_BYTES: u64 = 1024;

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Take {
    /// So many bytes may leave now; at least one.
    Granted(u64),
    /// None may, before this moment.
    Later(Time),
}

/// A bucket of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// Bytes a second; 0 is no limit.
    rate: u64,
    level: u128,
    filled_at: Time,
}

impl Bucket {
    /// A full bucket that fills with `rate` bytes a second; 0 is no limit.
    #[must_use]
    pub fn new(rate: u64, now: Time) -> Self {
        Self {
            rate,
            level: u128::from(burst(rate)) * BYTE,
            filled_at: now,
        }
    }

    /// Bytes a second; 0 is no limit.
    #[must_use]
    pub const fn rate(&self) -> u64 {
        self.rate
    }

    /// From `now` on it fills with another rate. What is in it stays, as far as a burst of the new rate goes.
    pub fn set_rate(&mut self, rate: u64, now: Time) {
        if rate == self.rate {
            return;
        }
        self.fill(now);
        let most = u128::from(burst(rate)) * BYTE;
        self.level = if self.rate == 0 {
            most
        } else {
            self.level.min(most)
        };
        self.rate = rate;
    }

    fn fill(&mut self, now: Time) {
        // A clock that goes back fills nothing, and what it then repeats has been filled before.
        let micros = now.since(self.filled_at).as_micros();
        self.filled_at = self.filled_at.max(now);
        let most = u128::from(burst(self.rate)) * BYTE;
        self.level = (self.level + u128::from(self.rate) * micros).min(most);
    }

    /// Takes at most `want` bytes; fewer than a lease only where no more is wanted.
    pub fn take(&mut self, want: u64, now: Time) -> Take {
        if self.rate == 0 {
            return Take::Granted(want.max(1));
        }
        self.fill(now);
        let least = u128::from(want.clamp(1, lease(self.rate))) * BYTE;
        if self.level < least {
            let missing = (least - self.level).div_ceil(u128::from(self.rate));
            let micros = u64::try_from(missing).unwrap_or(u64::MAX);
            return Take::Later(self.filled_at + Duration::from_micros(micros));
        }
        let there = u64::try_from(self.level / BYTE).unwrap_or(u64::MAX);
        let granted = want.clamp(1, there.max(1));
        self.level -= u128::from(granted) * BYTE;
        Take::Granted(granted)
    }

    /// Puts bytes back that were granted and have not left after all.
    pub fn give_back(&mut self, bytes: u64) {
        let most = u128::from(burst(self.rate)) * BYTE;
        self.level = (self.level + u128::from(bytes) * BYTE).min(most);
    }
}

/// The most that a bucket holds: a quarter of a second's worth.
fn burst(rate: u64) -> u64 {
    (rate / 4).max(STEP_BYTES)
}

/// Bytes of one lease.
fn lease(rate: u64) -> u64 {
    (rate / 50).max(STEP_BYTES)
}

/// What one thread has taken out of a bucket and not spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lease {
    left: u64,
}

impl Lease {
    /// Spends at most `want` bytes. Where nothing is left, `fill` is to take so many bytes out of the bucket as it is
    /// asked for, which has this `rate`.
    pub fn take(&mut self, want: u64, rate: u64, fill: impl FnOnce(u64) -> Take) -> Take {
        if rate == 0 {
            self.left = 0;
            return Take::Granted(want.max(1));
        }
        if self.left == 0 {
            match fill(lease(rate)) {
                Take::Granted(bytes) => self.left = bytes,
                later @ Take::Later(_) => return later,
            }
        }
        let granted = want.clamp(1, self.left);
        self.left -= granted;
        Take::Granted(granted)
    }

    /// Some bytes that were spent have not left after all.
    pub const fn give_back(&mut self, bytes: u64) {
        self.left = self.left.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn us(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn without_a_rate_all_is_granted() {
        let mut bucket = Bucket::new(0, us(0));
        assert_eq!(bucket.take(1 << 40, us(0)), Take::Granted(1 << 40));
        // The first rate begins with a full bucket.
        bucket.set_rate(1_000_000, us(5));
        assert_eq!(bucket.take(1 << 20, us(5)), Take::Granted(250_000));
        assert_eq!(bucket.take(1, us(5)), Take::Later(us(6)));
        bucket.set_rate(0, us(6));
        assert_eq!(bucket.take(9, us(6)), Take::Granted(9));
    }

    #[test]
    fn what_is_left_of_a_lease_is_spent_first() {
        let mut lease = Lease::default();
        assert_eq!(
            lease.take(10, 50_000, |_| Take::Later(us(7))),
            Take::Later(us(7))
        );
        let mut asked = 0;
        let granted = lease.take(1000, 500_000, |want| {
            asked = want;
            Take::Granted(want)
        });
        assert_eq!((granted, asked), (Take::Granted(1000), 10_000));
        let nothing = |_| panic!("something is left");
        assert_eq!(lease.take(1 << 20, 500_000, nothing), Take::Granted(9000));
        lease.give_back(5);
        assert_eq!(
            lease.take(1 << 20, 500_000, |_| Take::Later(us(1))),
            Take::Granted(5)
        );
    }

    #[test]
    fn half_a_minute_brings_what_the_rate_says() {
        for rate in [100_000, 1_000_000, 100_000_000_u64] {
            let mut bucket = Bucket::new(rate, us(0));
            let (mut now, mut sent) = (us(0), 0);
            while now < us(30_000_000) {
                match bucket.take(1 << 20, now) {
                    Take::Granted(bytes) => sent += bytes,
                    // As a wheel wakes: up to a tick later.
                    Take::Later(at) => now = us(at.as_micros().div_ceil(20_000) * 20_000),
                }
            }
            let wanted = 30 * rate;
            assert!(
                sent.abs_diff(wanted) <= wanted / 50,
                "{rate}: {sent} of {wanted}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_brings_more_than_rate_and_burst(
            rate in 1024..10_000_000_u64,
            steps in prop::collection::vec((0..300_000_u64, 1..2_000_000_u64, any::<bool>()), 1..100),
        ) {
            let mut bucket = Bucket::new(rate, us(0));
            let (mut now, mut latest, mut granted) = (1_000_000_u64, 0, Vec::new());
            for (micros, want, back) in steps {
                // A clock that goes back for a moment gains nobody anything.
                let seen = if back { now.saturating_sub(micros) } else { now + micros };
                if !back {
                    now = seen;
                }
                latest = latest.max(seen);
                match bucket.take(want, us(seen)) {
                    Take::Granted(bytes) => {
                        prop_assert!(bytes >= 1 && bytes <= want);
                        granted.push((latest, bytes));
                    }
                    Take::Later(at) => prop_assert!(at > us(seen)),
                }
            }
            for from in 0..granted.len() {
                let mut sum = 0;
                for (at, bytes) in &granted[from..] {
                    sum += bytes;
                    let time = at - granted[from].0;
                    prop_assert!(sum <= burst(rate) + rate * time / 1_000_000 + 1);
                }
            }
        }
    }
}
