//! Latencies of many requests, and their quantiles. The rule: noting one costs no memory, and the slowest is the very
//! number that was seen; the others are right within a hundredth.

use std::time::Duration;

/// Up to so many nanoseconds each has a cell of its own; above, each power of two has as many.
const CELLS: usize = 1 << CELLS_BITS;
const CELLS_BITS: usize = 7;

/// Powers of two above those: up to more than an hour.
const POWERS: usize = 36;

/// A histogram of latencies.
#[derive(Clone, Debug)]
pub struct Latencies {
    counts: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; CELLS * (POWERS + 1)],
            count: 0,
            max_ns: 0,
        }
    }
}

impl Latencies {
    /// Adds one sample.
    pub fn note(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let last = self.counts.len() - 1;
        self.counts[cell(ns).min(last)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Adds all samples of `other`.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Forgets all samples.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        (self.count, self.max_ns) = (0, 0);
    }

    /// The latency in milliseconds that `percent` of the samples stayed within; 0 where there is none.
    #[must_use]
    pub fn percentile_ms(&self, percent: u64) -> f64 {
        let wanted = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let cell = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        let ns = cell.map_or(0, |cell| upper(cell).min(self.max_ns));
        (if percent >= 100 { self.max_ns } else { ns }) as f64 / 1e6
    }
}

/// Where a latency is counted.
fn cell(ns: u64) -> usize {
    let power = (u64::BITS - ns.leading_zeros()).saturating_sub(CELLS_BITS as u32 + 1) as usize;
    // The leading bits, of which the first is always set above the lowest power.
    CELLS * power + (ns >> power) as usize
}

/// The most that is counted there.
fn upper(cell: usize) -> u64 {
    let power = (cell / CELLS).saturating_sub(1);
    ((cell - CELLS * power + 1) as u64)
        .checked_shl(power as u32)
        .unwrap_or(u64::MAX)
        - 1
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
    fn percentiles_are_right_within_a_hundredth() {
        let mut latencies = Latencies::default();
        for ms in (1..=100).rev() {
            latencies.note(Duration::from_millis(ms));
        }
        for percent in [1, 50, 99] {
            let ratio = latencies.percentile_ms(percent) / percent as f64;
            assert!((1.0..1.01).contains(&ratio), "{percent} %: {ratio}");
        }
        assert_eq!(latencies.percentile_ms(100), 100.0);
        assert_eq!(Latencies::default().percentile_ms(99), 0.0);
        latencies.clear();
        assert_eq!(latencies.percentile_ms(100), 0.0);
    }

    #[test]
    fn every_latency_has_the_cell_that_covers_it() {
        let mut before = 0;
        assert_eq!((cell(0), cell(1)), (0, 1));
        for power in 1..40 {
            for ns in [1u64 << power, (1 << power) + 1, (2 << power) - 1] {
                let at = cell(ns);
                assert!(at >= before, "{ns} is in order");
                assert!(ns <= upper(at) && (at == 0 || ns > upper(at - 1)), "{ns}");
                before = at;
            }
        }
        let mut latencies = Latencies::default();
        latencies.note(Duration::MAX);
        assert!(latencies.percentile_ms(50) > 1e6);
    }

    #[test]
    fn a_sum_has_the_samples_of_both() {
        let [mut one, mut two] = [Latencies::default(), Latencies::default()];
        one.note(Duration::from_millis(1));
        two.note(Duration::from_millis(9));
        one.add(&two);
        assert!((0.99..1.01).contains(&one.percentile_ms(50)));
        assert_eq!(one.percentile_ms(100), 9.0);
    }

    #[test]
    fn a_spread_has_the_ends_and_the_middle() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of([]).median, 0.0);
    }
}
