//! What may be taken now under one rate. The rule: over any stretch of time no more is granted than the rate brings and a
//! quarter of a second's worth besides; what was taken without asking is paid back first.

use crate::time::Time;
use std::time::Duration;

/// A byte in the unit that is counted in, so that a microsecond of any rate is a whole number.
const BYTE: i128 = 1_000_000;

/// No step is smaller: a rate of 1 KB/s still reads in steps that are worth it.
const STEP_BYTES: u64 = 1 << 10;
/// None is larger: what was granted is read at once.
const STEP_BYTES_MAX: u64 = 256 << 10;

/// What was taken without asking is paid back for so long at most.
const DEBT_S_MAX: i128 = 5;

/// Bytes under one rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Level {
    /// Bytes a second; 0 is no limit.
    rate: u64,
    level: i128,
    filled_at: Time,
}

impl Level {
    pub(super) fn new(now: Time) -> Self {
        Self {
            rate: 0,
            level: 0,
            filled_at: now,
        }
    }

    pub(super) const fn is_limit(&self) -> bool {
        self.rate > 0
    }

    /// Bytes of one step: a sixty-fourth of a second's worth.
    pub(super) fn step(&self) -> u64 {
        if self.is_limit() {
            (self.rate / 64).clamp(STEP_BYTES, STEP_BYTES_MAX)
        } else {
            STEP_BYTES_MAX
        }
    }

    /// From `now` on it fills with another rate; what is in it stays, as far as that goes.
    pub(super) fn set_rate(&mut self, rate: u64, now: Time) {
        if rate == self.rate {
            return;
        }
        self.fill(now);
        if self.rate == 0 {
            // A limit begins with one step, not with a rush.
            self.rate = rate;
            self.level = i128::from(self.step()) * BYTE;
        }
        self.rate = rate;
        self.level = self.level.min(self.most());
    }

    /// Bytes that it can hold.
    pub(super) fn holds(&self) -> u64 {
        (self.rate / 4).max(STEP_BYTES)
    }

    fn most(&self) -> i128 {
        i128::from(self.holds()) * BYTE
    }

    fn fill(&mut self, now: Time) {
        // A clock that goes back fills nothing, and what it then repeats has been filled before.
        let micros = now.since(self.filled_at).as_micros();
        self.filled_at = self.filled_at.max(now);
        let micros = i128::try_from(micros).unwrap_or(i128::MAX >> 65);
        let came = i128::from(self.rate).saturating_mul(micros);
        self.level = self.level.saturating_add(came).min(self.most());
    }

    /// Bytes that may be taken now; all where there is no limit.
    pub(super) fn there(&mut self, now: Time) -> u64 {
        if !self.is_limit() {
            return u64::MAX;
        }
        self.fill(now);
        u64::try_from(self.level / BYTE).unwrap_or(0)
    }

    /// When so many will be there; no more is waited for than there can ever be.
    pub(super) fn when(&mut self, bytes: u64, now: Time) -> Time {
        if !self.is_limit() {
            return now;
        }
        self.fill(now);
        let wanted = (i128::from(bytes) * BYTE).min(self.most());
        let missing = (wanted - self.level).max(0);
        let micros = (missing + i128::from(self.rate) - 1) / i128::from(self.rate);
        self.filled_at + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// Takes bytes, there or not.
    pub(super) fn take(&mut self, bytes: u64) {
        if self.is_limit() {
            let debt = i128::from(self.rate) * BYTE * DEBT_S_MAX;
            self.level = (self.level - i128::from(bytes) * BYTE).max(-debt);
        }
    }

    pub(super) fn give_back(&mut self, bytes: u64) {
        if self.is_limit() {
            self.level = (self.level + i128::from(bytes) * BYTE).min(self.most());
        }
    }
}
