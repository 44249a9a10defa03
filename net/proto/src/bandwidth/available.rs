//! What the line brings, measured: what percentages are of. The rule: it is the fastest quarter of a second of a time in
//! which no percentage held; a line is never believed to bring what was not seen to come.
//!
//! A measurement begins with the first bytes that a percentage is to be taken of, and lasts until it grows no more, two
//! seconds at most. Another one is made after ten minutes, and the better of the last two counts. What came meanwhile over
//! the percentage is paid back ([`super::Budget::charge`]), so that the average is what it should be.

use crate::policy::Priority;
use crate::policy::settings::PerPriority;
use crate::time::Time;
use std::time::Duration;

const WINDOW: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(2);
const AGAIN_AFTER: Duration = Duration::from_secs(600);
/// Bytes that come farther apart do not fill the line.
const PAUSE: Duration = Duration::from_millis(250);
/// So many windows in a row that bring hardly more than those before them end a measurement.
const FLAT_WINDOWS: u32 = 2;

/// See the file's head.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Available {
    /// The last two, in bytes a second, the newer first.
    measured: [Option<u64>; 2],
    measured_at: Option<Time>,
    under_way: Option<Measurement>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Measurement {
    began: Time,
    measuring_since: Time,
    window_began: Time,
    window_bytes: u64,
    fastest: u64,
    flat: u32,
    came: PerPriority<u64>,
    came_at: Time,
}

/// A measurement that is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Measured {
    pub(super) came: PerPriority<u64>,
    pub(super) within: Duration,
}

impl Available {
    /// Bytes a second; None while nothing was measured, or while it is.
    #[must_use]
    pub fn bytes_s(&self) -> Option<u64> {
        if self.under_way.is_some() {
            return None;
        }
        self.known()
    }

    /// The last that was measured, in bytes a second.
    #[must_use]
    pub fn known(&self) -> Option<u64> {
        self.measured.into_iter().flatten().max()
    }

    /// Begins a measurement where it is time to. True where it began.
    pub(super) fn begin_if_due(&mut self, now: Time) -> bool {
        let is_due = self.under_way.is_none()
            && self
                .measured_at
                .is_none_or(|at| now.since(at) >= AGAIN_AFTER);
        if is_due {
            self.under_way = Some(Measurement {
                began: now,
                measuring_since: now,
                window_began: now,
                window_bytes: 0,
                fastest: 0,
                flat: 0,
                came: PerPriority::both(0),
                came_at: now,
            });
        }
        is_due
    }

    /// Bytes came by the line. Some where that ends a measurement.
    pub(super) fn came(&mut self, priority: Priority, bytes: u64, now: Time) -> Option<Measured> {
        let measurement = self.under_way.as_mut()?;
        // Who asks for nothing for a while, or is sent nothing, does not learn what the line brings: begin anew.
        if now.since(measurement.came_at) > PAUSE {
            (measurement.window_began, measurement.window_bytes) = (now, 0);
            (measurement.fastest, measurement.flat) = (0, 0);
            measurement.measuring_since = now;
        }
        measurement.came_at = now;
        let of = match priority {
            Priority::Foreground => &mut measurement.came.foreground,
            Priority::Background => &mut measurement.came.background,
        };
        *of = of.saturating_add(bytes);
        measurement.window_bytes = measurement.window_bytes.saturating_add(bytes);
        let micros = now.since(measurement.window_began).as_micros();
        if micros < WINDOW.as_micros() {
            return None;
        }
        let rate = u128::from(measurement.window_bytes) * 1_000_000 / micros.max(1);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX).max(1);
        if rate > measurement.fastest.saturating_add(measurement.fastest / 10) {
            measurement.flat = 0;
        } else {
            measurement.flat += 1;
        }
        measurement.fastest = measurement.fastest.max(rate);
        (measurement.window_began, measurement.window_bytes) = (now, 0);
        let within = now.since(measurement.began);
        let measured_for = now.since(measurement.measuring_since);
        if measurement.flat < FLAT_WINDOWS && measured_for < LONGEST {
            return None;
        }
        let Measurement { fastest, came, .. } = *measurement;
        self.measured = [Some(fastest), self.measured[0]];
        self.measured_at = Some(now);
        self.under_way = None;
        Some(Measured { came, within })
    }
}
