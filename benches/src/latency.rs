//! Latencies of many requests, and their quantiles. The rule: every sample is kept, so that the slowest one is a
//! number that was seen.

use std::time::Duration;

/// Latencies in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// Adds one sample.
    pub fn note(&mut self, latency: Duration) {
        self.0
            .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// Adds all samples of `other`.
    pub fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The latency in milliseconds that `percent` of the samples stayed within; 0 where there is none.
    #[must_use]
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = (sorted.len().saturating_sub(1) * percent).div_ceil(100);
        f64::from(sorted.get(at).copied().unwrap_or(0)) / 1e3
    }
}

/// The middle of some figures, with the smallest and the largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The middle one; of an even count the upper of the two.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one figure; zeros otherwise.
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |n: usize| sorted.get(n).copied().unwrap_or(0.0);
        Self {
            min: at(0),
            median: at(sorted.len() / 2),
            max: at(sorted.len().saturating_sub(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let mut latencies = Latencies::default();
        for ms in (1..=100).rev() {
            latencies.note(Duration::from_millis(ms));
        }
        assert_eq!(latencies.percentile_ms(0), 1.0);
        assert_eq!(latencies.percentile_ms(50), 51.0);
        assert_eq!(latencies.percentile_ms(99), 100.0);
        assert_eq!(latencies.percentile_ms(100), 100.0);
        assert_eq!(Latencies::default().percentile_ms(99), 0.0);
    }

    #[test]
    fn a_spread_has_the_ends_and_the_middle() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of([]).median, 0.0);
    }
}
