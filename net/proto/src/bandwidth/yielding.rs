//! A background that yields: how much of it may be on its way at once. The rule: whoever else wants the line has it; what
//! makes others wait longer than 20 ms is given up by half within a round trip.
//!
//! This is rLEDBAT (RFC 9840), the receiver's side of LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus): the receiver measures
//! the round trip, takes the least of the last minutes for that of an empty line, and what is above it for the queue. It
//! lets its window grow while the queue is shorter than the target, and shrink in proportion to how much longer it is. As
//! the draft has it, it goes down to a word every now and then, so that it sees the line empty and not its own queue.
//!
//! Other than there, one window is for all connections, which share it, growth is in proportion to the window, and a loss
//! below the target is taken for the end of a short queue, of which only a half is used from then on. Of what was seen
//! within a round trip the least delay counts: a server that thinks before it answers is no queue.

use crate::time::Time;
use std::collections::HashMap;
use std::time::Duration;

/// How long others may have to wait because of us. RFC 6817 allows 100 ms, the draft 60.
const TARGET: Duration = Duration::from_millis(20);
/// The least target, whatever is lost.
const TARGET_MIN_US: u64 = 4_000;

/// A segment.
const SEGMENT: u64 = 1448;

/// What is on its way at least, of all connections together, in bytes.
const WINDOW_BYTES_MIN: u64 = 2 * SEGMENT;
/// At most, in bytes: 1 Gbit/s over half a second.
const WINDOW_BYTES_MAX: u64 = 64 << 20;
const WINDOW_BYTES_FIRST: u64 = 4 * SEGMENT;

/// Nothing is decided more often.
const STEP_MIN: Duration = Duration::from_millis(10);
/// A slowdown lasts so many round trips,
const SLOW_ROUND_TRIPS: u32 = 2;
/// and from one to the next it takes so many times what it took until the window was what it was.
const SLOWDOWN_PART: u32 = 9;
/// So long at least, and at most, lie between two.
const SLOWDOWNS_APART: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));

/// The least round trip is that of so long, and of up to so long before.
const BASE_FOR: Duration = Duration::from_secs(120);
/// Ways that are remembered.
const PATHS_MAX: usize = 256;
/// A way that brings less than this part of all says nothing of the line.
const SAYS_PART: u64 = 4;

/// What was seen on one connection since the last time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// To whom it leads; connections to the same share their least round trip.
    pub path: u64,
    /// The present round trip, as the receiver sees it.
    pub round_trip: Duration,
    /// Bytes that arrived.
    pub bytes: u64,
    /// Something was missing in between.
    pub lost: bool,
}

/// The one window.
#[derive(Debug)]
pub struct Yielding {
    window: u64,
    /// Up to here it grows fast.
    threshold: u64,
    phase: Phase,
    bases: HashMap<u64, Base>,
    /// The least round trip in microseconds and the bytes of each way since the last step.
    seen: HashMap<u64, (u64, u64)>,
    target_us: u64,
    round_trip: Duration,
    step_at: Time,
    /// Since the last step.
    came: u64,
    lost: bool,
    slowdown_at: Option<Time>,
    slowdown_began: Option<Time>,
    preempted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Doubles.
    Fast,
    /// Follows the queue.
    Steady,
    /// Looks at the empty line until then, and goes back to that window.
    Slow { until: Time, back_to: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Base {
    since: Time,
    least_us: u64,
    earlier_us: u64,
}

impl Default for Yielding {
    fn default() -> Self {
        Self {
            window: WINDOW_BYTES_FIRST,
            threshold: WINDOW_BYTES_MAX,
            phase: Phase::Fast,
            bases: HashMap::new(),
            seen: HashMap::new(),
            target_us: micros(TARGET),
            round_trip: Duration::from_millis(100),
            step_at: Time::default(),
            came: 0,
            lost: false,
            slowdown_at: None,
            slowdown_began: None,
            preempted: false,
        }
    }
}

impl Yielding {
    /// Bytes that may be on their way, of all connections together.
    #[must_use]
    pub const fn window(&self) -> u64 {
        self.window
    }

    /// The window of each of so many connections, in bytes; a segment at least, without which nothing comes. Where the edge
    /// knows larger segments, it allows more.
    #[must_use]
    pub fn share(&self, connections: usize) -> u64 {
        let connections = u64::try_from(connections).unwrap_or(u64::MAX).max(1);
        (self.window / connections).max(SEGMENT)
    }

    /// A download that somebody waits for goes on, or does no longer: while one does, the background begins anew from the
    /// least, and takes only what is left.
    pub fn foreground(&mut self, goes_on: bool) {
        match (self.preempted, goes_on) {
            (false, true) => {
                if self.phase != Phase::Fast {
                    self.threshold = self.window;
                }
                self.window = WINDOW_BYTES_MIN;
                self.phase = Phase::Steady;
                (self.slowdown_at, self.slowdown_began) = (None, None);
            }
            (true, false) => self.phase = Phase::Fast,
            _ => {}
        }
        self.preempted = goes_on;
    }

    /// What was seen since the last time. True where the window may be another one now.
    pub fn sampled(&mut self, samples: &[Sample], now: Time) -> bool {
        self.look(samples, now);
        now >= self.step_at && self.step(now)
    }

    /// Decides, once a round trip.
    fn step(&mut self, now: Time) -> bool {
        let Some(queue_us) = self.queue_us() else {
            return false;
        };
        let (came, lost) = (self.came, self.lost);
        (self.came, self.lost) = (0, false);
        self.step_at = now + self.round_trip.max(STEP_MIN);
        if let Phase::Slow { until, back_to } = self.phase {
            if now >= until {
                (self.phase, self.threshold) = (Phase::Fast, back_to);
            }
            return true;
        }
        if lost {
            if queue_us < self.target_us {
                self.target_us = (queue_us / 2).clamp(TARGET_MIN_US, self.target_us);
            }
            self.steady(self.window / 2, now);
        } else if self.phase == Phase::Fast {
            if queue_us > self.target_us / 4 * 3 {
                // What was sent since has not been seen yet: it is twice as much by now.
                self.steady(self.window / 2, now);
            } else if self.window >= self.threshold {
                self.steady(self.window, now);
            } else if came >= self.window / 2 {
                self.set(self.window.saturating_mul(2).min(self.threshold));
            }
        } else {
            self.follow(queue_us, came);
            if self.slowdown_at.is_some_and(|at| now >= at) {
                self.slow_down(now);
            }
        }
        true
    }

    fn follow(&mut self, queue_us: u64, came: u64) {
        let target = self.target_us;
        if queue_us >= target {
            let over = (queue_us - target).min(target / 2);
            let less = u128::from(self.window) * u128::from(over) / u128::from(target);
            let less = u64::try_from(less).unwrap_or(0);
            self.set(self.window - less);
        } else if came >= self.window / 2 {
            // A line that is not asked for more says nothing of more.
            let step = (self.window / 16).max(SEGMENT);
            let more = step.saturating_mul(target - queue_us) / target;
            self.set(self.window.saturating_add(more));
        }
    }

    fn set(&mut self, window: u64) {
        self.window = window.clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
    }

    /// Fast growth is over.
    fn steady(&mut self, window: u64, now: Time) {
        self.set(window);
        self.phase = Phase::Steady;
        if self.preempted {
            return;
        }
        let (least, most) = SLOWDOWNS_APART;
        match (self.slowdown_began.take(), self.slowdown_at) {
            (Some(began), _) => {
                let apart = now.since(began) * SLOWDOWN_PART;
                self.slowdown_at = Some(now + apart.clamp(least, most));
            }
            // The first soon after the beginning.
            (None, None) => self.slowdown_at = Some(now + self.round_trip * SLOW_ROUND_TRIPS),
            (None, Some(_)) => {}
        }
    }

    fn slow_down(&mut self, now: Time) {
        let until = now + self.round_trip.max(STEP_MIN) * SLOW_ROUND_TRIPS;
        let back_to = self.window;
        self.phase = Phase::Slow { until, back_to };
        self.set(WINDOW_BYTES_MIN);
        (self.slowdown_at, self.slowdown_began) = (None, Some(now));
        // A queue that was short once need not be for ever.
        self.target_us = (self.target_us + self.target_us / 8).min(micros(TARGET));
    }

    /// Takes down what was seen.
    fn look(&mut self, samples: &[Sample], now: Time) {
        if self.bases.len() > PATHS_MAX {
            self.bases.clear();
        }
        for sample in samples {
            self.came = self.came.saturating_add(sample.bytes);
            let round_trip_us = micros(sample.round_trip);
            if sample.bytes == 0 || round_trip_us == 0 {
                continue;
            }
            self.lost |= sample.lost;
            let seen = self.seen.entry(sample.path).or_insert((u64::MAX, 0));
            *seen = (seen.0.min(round_trip_us), seen.1 + sample.bytes);
            let base = self.bases.entry(sample.path).or_insert(Base {
                since: now,
                least_us: round_trip_us,
                earlier_us: round_trip_us,
            });
            if now.since(base.since) >= BASE_FOR {
                (base.earlier_us, base.least_us, base.since) = (base.least_us, round_trip_us, now);
            }
            base.least_us = base.least_us.min(round_trip_us);
        }
    }

    /// The queue of the line in microseconds, of what was seen since the last step; None where nothing came.
    fn queue_us(&mut self) -> Option<u64> {
        let seen = std::mem::take(&mut self.seen);
        let all: u64 = seen.values().map(|(_, bytes)| bytes).sum();
        let mut worst = None;
        for (path, (round_trip_us, bytes)) in seen {
            let least_us = self.bases.get(&path).map_or(round_trip_us, Base::least_us);
            let queue_us = round_trip_us.saturating_sub(least_us);
            if bytes.saturating_mul(SAYS_PART) >= all {
                worst = worst.max(Some((queue_us, round_trip_us)));
            }
        }
        let (queue_us, round_trip_us) = worst?;
        self.round_trip = Duration::from_micros(round_trip_us);
        Some(queue_us)
    }
}

impl Base {
    fn least_us(&self) -> u64 {
        self.least_us.min(self.earlier_us)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
