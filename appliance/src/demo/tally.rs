//! What clients have seen, added up. The rule: plain sums, so that the tallies of connections, clients and phases add
//! in any order.

use std::time::Duration;

/// What one or more clients have seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Answers with the right head.
    pub requests: u64,
    /// Bytes received and found right.
    pub bytes: u64,
    /// Answers in which a byte was wrong.
    pub wrong_bytes: u64,
    /// Answers that the cache called a hit.
    pub hits: u64,
    /// Answers that the cache called a miss.
    pub misses: u64,
    /// Answers that the cache called something else.
    pub others: u64,
    /// Answers of the 5xx class: the client came again.
    pub not_now: u64,
    /// Connections that broke in the middle: the client came again.
    pub broken: u64,
    /// Time from each request to the first byte of its answer, whatever the answer.
    pub first_byte: Vec<Duration>,
    /// The slowest 20 seconds of any answer, in bytes per second; None where no answer took as long.
    pub slowest_window: Option<f64>,
    /// What went wrong for good, in words.
    pub faults: Vec<String>,
}

impl Tally {
    /// Takes the figures of `other` in.
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.wrong_bytes += other.wrong_bytes;
        self.hits += other.hits;
        self.misses += other.misses;
        self.others += other.others;
        self.not_now += other.not_now;
        self.broken += other.broken;
        self.first_byte.extend(other.first_byte);
        if let Some(rate) = other.slowest_window {
            self.window(rate);
        }
        self.faults.extend(other.faults);
    }

    /// Notes the speed over one window.
    pub fn window(&mut self, bytes_per_second: f64) {
        let slowest = self.slowest_window.unwrap_or(f64::INFINITY);
        self.slowest_window = Some(slowest.min(bytes_per_second));
    }

    /// The time to the first byte that `share` of the requests stayed within; zero where there was none.
    #[must_use]
    pub fn first_byte_at(&self, share: f64) -> Duration {
        let mut sorted = self.first_byte.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        // A share of a count of requests: exact enough far beyond what memory holds.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let at = (last as f64 * share).ceil() as usize;
        sorted.get(at.min(last)).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_in_any_order() {
        let a = Tally {
            requests: 1,
            slowest_window: Some(5.0),
            ..Tally::default()
        };
        let b = Tally {
            requests: 2,
            slowest_window: Some(3.0),
            ..Tally::default()
        };
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.add(b);
        ba.add(a);
        assert_eq!(ab, ba);
        assert_eq!((ab.requests, ab.slowest_window), (3, Some(3.0)));
    }

    #[test]
    fn quantiles_are_of_what_was_seen() {
        let tally = Tally {
            first_byte: (1..=100).rev().map(Duration::from_millis).collect(),
            ..Tally::default()
        };
        assert_eq!(tally.first_byte_at(0.5), Duration::from_millis(51));
        assert_eq!(tally.first_byte_at(1.0), Duration::from_millis(100));
        assert_eq!(Tally::default().first_byte_at(0.5), Duration::ZERO);
    }
}
