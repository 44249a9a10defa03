//! How many bytes may be under way: about what the link brings in a second. The rule: the window follows what was
//! measured while the window was the limit; a link that was merely not asked for more says nothing.

use crate::Time;

/// What is under way at first: enough for the seven connections of one client (facts: clients 1.4), so that a link
/// with a long way to the origin is not first measured by two connections in their slow start.
const START_BYTES: u64 = 8 << 20;

/// A measurement ends with this many bytes: on 10 Mbit/s that is 0.4 s, long against the bursts of a socket buffer;
/// on 1 Gbit/s it is 4 ms, so the window is as large as it may be after 2 MiB.
const SAMPLE_BYTES: u64 = 512 << 10;

/// A measurement ends after this long in any case.
const SAMPLE_MICROS_MAX: u64 = 1_000_000;

/// A shorter measurement says more of buffers than of the link.
const SAMPLE_MICROS_MIN: u64 = 2_000;

/// The window and the measurement under way.
#[derive(Debug)]
pub(super) struct Window {
    bytes: u64,
    bytes_min: u64,
    bytes_max: u64,
    /// When the measurement began, with the first bytes that came.
    since: Option<Time>,
    sampled_bytes: u64,
    /// Something had to wait for the window during this measurement.
    was_limit: bool,
}

impl Window {
    pub(super) fn new(bytes_min: u64, bytes_max: u64) -> Self {
        let bytes_max = bytes_max.max(bytes_min);
        Self {
            bytes: START_BYTES.clamp(bytes_min, bytes_max),
            bytes_min,
            bytes_max,
            since: None,
            sampled_bytes: 0,
            was_limit: false,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// New bounds; what was learned stays as far as they allow.
    pub(super) fn set_bounds(&mut self, bytes_min: u64, bytes_max: u64) {
        self.bytes_min = bytes_min;
        self.bytes_max = bytes_max.max(bytes_min);
        self.bytes = self.bytes.clamp(self.bytes_min, self.bytes_max);
    }

    /// A piece was ready, and had to wait because the window is full.
    pub(super) fn was_full(&mut self) {
        self.was_limit = true;
    }

    /// Nothing is under way: a measurement over the silence that follows would be of the demand.
    pub(super) fn idle(&mut self) {
        self.since = None;
        self.sampled_bytes = 0;
        self.was_limit = false;
    }

    pub(super) fn received(&mut self, now: Time, bytes: u64) {
        let Some(since) = self.since else {
            // The first bytes mark the beginning; when they were sent is not known, so they do not count.
            self.since = Some(now);
            return;
        };
        self.sampled_bytes = self.sampled_bytes.saturating_add(bytes);
        let micros = now.as_micros().saturating_sub(since.as_micros());
        let enough = self.sampled_bytes >= SAMPLE_BYTES && micros >= SAMPLE_MICROS_MIN;
        if !enough && micros < SAMPLE_MICROS_MAX {
            return;
        }
        let per_second = self.sampled_bytes.saturating_mul(1_000_000) / micros.max(1);
        if per_second > self.bytes {
            // At most doubled at a time: one sample may be a buffer that emptied itself.
            self.bytes = per_second.min(self.bytes.saturating_mul(2));
        } else if self.was_limit {
            self.bytes = (self.bytes / 4 * 3).saturating_add(per_second / 4);
        }
        self.bytes = self.bytes.clamp(self.bytes_min, self.bytes_max);
        self.since = Some(now);
        self.sampled_bytes = 0;
        self.was_limit = false;
    }
}
