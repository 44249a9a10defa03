//! What has been sent to Internet peers in a calendar month (seed: Monthly Upload Data Cap). The rule: whatever the
//! wall clock does, each month is opened once, and what was sent is counted for the month in which the clock says it is
//! when it has been put right.
//!
//! So the months that the clock has been in are remembered, with how much had been sent in all when it was last in each
//! of them. A clock that comes back to a month finds the old count there, and whatever was sent meanwhile besides: it was
//! wrong then, or is wrong now, and neither is a reason to send more. A month that it has not been in begins with
//! what was sent since it was last in an earlier one: nothing, unless it was ahead meanwhile.

use serde::{Deserialize, Serialize};

/// Months that are remembered; the one that the clock has not been in for longest is forgotten. It is
/// a new one, should the clock go back to it.
const MONTHS_MAX: usize = 24;

/// A calendar month: years times twelve, and the month of the year from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Month(i32);

impl Month {
    /// A month of the year from 1 to 12.
    #[must_use]
    pub const fn of(year: i16, month: i8) -> Self {
        Self(year as i32 * 12 + month as i32 - 1)
    }

    /// The year and the month of the year from 1.
    #[must_use]
    pub const fn parts(self) -> (i32, i32) {
        (self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Visited {
    month: Month,
    /// What counts for it, as of `left`.
    bytes: u64,
    /// All that had been sent when the clock came here first.
    entered: u64,
    /// All that had been sent when the clock was last here.
    left: u64,
}

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Nothing but that time goes on.
    Looked,
    /// So many bytes are going to be sent.
    Sending(u64),
    /// So many of those have not been sent after all.
    NotSent(u64),
}

/// The count.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// All that was ever sent.
    total: u64,
    /// The one that the clock was in last is the last.
    months: Vec<Visited>,
}

impl Ledger {
    /// Takes note of what has happened in this month by the wall clock, local time.
    pub fn apply(&mut self, event: Event, now: Month) {
        self.enter(now);
        let Some(current) = self.months.last_mut() else {
            return;
        };
        match event {
            Event::Looked => {}
            Event::Sending(bytes) => {
                self.total = self.total.saturating_add(bytes);
                current.bytes = current.bytes.saturating_add(bytes);
            }
            Event::NotSent(bytes) => {
                // What was promised in one month and given back in the next stays with the first.
                let bytes = bytes.min(current.bytes).min(self.total - current.entered);
                self.total -= bytes;
                current.bytes -= bytes;
            }
        }
        current.left = self.total;
    }

    fn enter(&mut self, now: Month) {
        if self.months.last().is_some_and(|last| last.month == now) {
            return;
        }
        let total = self.total;
        let visited = match self.months.iter().position(|one| one.month == now) {
            Some(at) => {
                let mut back = self.months.remove(at);
                back.bytes = back.bytes.saturating_add(total - back.left);
                back
            }
            None => {
                let earlier = self.months.iter().filter(|one| one.month < now);
                let later = self.months.iter().filter(|one| one.month > now);
                let since = earlier.map(|one| one.left).max();
                let since = since.or_else(|| later.map(|one| one.entered).min());
                let since = since.unwrap_or(total);
                Visited {
                    month: now,
                    bytes: total - since,
                    entered: since,
                    left: total,
                }
            }
        };
        if self.months.len() >= MONTHS_MAX {
            self.months.remove(0);
        }
        self.months.push(visited);
    }

    /// What counts for the month that the clock was in last, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.months.last().map_or(0, |last| last.bytes)
    }

    /// The month that the clock was in last.
    #[must_use]
    pub fn month(&self) -> Option<Month> {
        self.months.last().map(|last| last.month)
    }

    /// Whether this can be a ledger: what is read from a disk need not.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let sound = |one: &Visited| one.entered <= one.left && one.left <= self.total;
        self.months.len() <= MONTHS_MAX && self.months.iter().all(sound)
    }
}

#[cfg(test)]
mod tests;
