//! What was measured, in rows. The rule: a figure is shown as minimum, median and maximum of its rounds.

use crate::aims::Work;
use crate::kind::Kind;
use crate::latency::Spread;

/// A cork waits 40 ms for more, an acknowledgement up to 40 ms: requests that meet both take as long besides.
const STALL_MS: std::ops::RangeInclusive<f64> = 35.0..=60.0;

/// One server at one work in one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Body bytes.
    pub bytes: f64,
    /// Answers.
    pub requests: f64,
    /// Seconds of load.
    pub seconds: f64,
    /// Latencies in milliseconds: median, 99th percentile, slowest.
    pub latency_ms: [f64; 3],
    /// 1 where all connections got the same.
    pub fairness: f64,
    /// What the slowest connection got, as a share of the mean.
    pub slowest_share: f64,
    /// Busy seconds of the server's core.
    pub core_seconds: f64,
    /// Seconds that the server's processes ran.
    pub process_seconds: f64,
    /// Seconds that the client ran.
    pub client_seconds: f64,
    /// Seconds that others ran on the client's core.
    pub others_seconds: f64,
    /// Bytes that the server's processes had from disks.
    pub disk_bytes: f64,
}

impl Sample {
    /// Body bytes each second.
    #[must_use]
    pub fn gigabytes_per_second(&self) -> f64 {
        self.bytes / self.seconds / 1e9
    }

    /// Busy seconds of the server's core for each GB.
    #[must_use]
    pub fn core_seconds_per_gb(&self) -> f64 {
        self.core_seconds / self.bytes * 1e9
    }

    /// Requests for each busy second of the server's core.
    #[must_use]
    pub fn requests_per_core_second(&self) -> f64 {
        self.requests / self.core_seconds
    }
}

/// All rounds of one server at one work.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which server.
    pub kind: Kind,
    /// At what.
    pub work: Work,
    /// Its rounds.
    pub samples: Vec<Sample>,
}

impl Row {
    /// A figure of each round.
    pub fn spread(&self, of: impl Fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(of))
    }

    /// Whether its slow requests wait for a clock and not for work: cork and delayed acknowledgement.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        let [median, slow] = [0, 1].map(|at| self.spread(|s| s.latency_ms[at]).median);
        // Where all are slow, it is the queue.
        median < 20.0 && STALL_MS.contains(&(slow - median))
    }

    fn line(&self) -> String {
        let cell = |digits: usize, of: &dyn Fn(&Sample) -> f64| {
            let Spread { min, median, max } = self.spread(of);
            format!("{min:.digits$}/**{median:.digits$}**/{max:.digits$}")
        };
        let mut cells = vec![
            format!("{} KiB", self.kind.asked_bytes(self.work.range_bytes) >> 10),
            self.work.manner(),
            self.kind.name().to_owned(),
            cell(2, &Sample::gigabytes_per_second),
            cell(0, &|s| s.requests / s.seconds),
            cell(2, &|s| s.latency_ms[0]),
            cell(2, &|s| s.latency_ms[1]),
            cell(1, &|s| s.latency_ms[2]),
            cell(3, &|s| s.fairness),
            cell(2, &|s| s.slowest_share),
            cell(3, &Sample::core_seconds_per_gb),
            cell(0, &Sample::requests_per_core_second),
            cell(3, &|s| s.process_seconds / s.bytes * 1e9),
            format!(
                "{:.0} %",
                self.spread(|s| s.client_seconds / s.seconds).median * 100.0
            ),
        ];
        if self.work.cold {
            cells.push(cell(2, &|s| s.disk_bytes / s.bytes));
        }
        if self.is_stalled() {
            cells[6].push_str(" stalls");
        }
        format!("| {} |\n", cells.join(" | "))
    }
}

/// The rows as a table in Markdown.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut heads = vec![
        "range",
        "manner",
        "server",
        "GB/s",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "fairness",
        "slowest / mean",
        "core s/GB",
        "requests / core s",
        "process s/GB",
        "client busy",
    ];
    if rows.iter().any(|row| row.work.cold) {
        heads.push("from disk / served");
    }
    let mut table = format!(
        "| {} |\n|{}\n",
        heads.join(" | "),
        "---|".repeat(heads.len())
    );
    for row in rows {
        table.push_str(&row.line());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(latency_ms: [f64; 3]) -> Row {
        let sample = Sample {
            bytes: 2e9,
            requests: 1000.0,
            seconds: 2.0,
            core_seconds: 1.0,
            client_seconds: 1.0,
            latency_ms,
            ..Sample::default()
        };
        Row {
            kind: Kind::Loopback,
            work: Work::warm(1024),
            samples: vec![sample],
        }
    }

    #[test]
    fn a_stall_is_seen_and_a_queue_is_none() {
        assert!(row([1.0, 44.0, 50.0]).is_stalled());
        assert!(row([1.0, 44.0, 50.0]).line().contains("stalls"));
        assert!(!row([92.0, 135.0, 140.0]).is_stalled());
        assert!(!row([1.0, 9.0, 45.0]).is_stalled());
    }

    #[test]
    fn a_line_has_what_its_head_says() {
        let table = table(&[row([1.0, 2.0, 3.0])]);
        let mut lines = table
            .lines()
            .map(|line| line.split('|').collect::<Vec<_>>());
        let (heads, _, line) = (lines.next(), lines.next(), lines.next());
        let (heads, line) = (heads.expect("heads"), line.expect("a line"));
        assert_eq!(heads.len(), line.len());
        let of = |name: &str| {
            let at = heads.iter().position(|head| head.trim() == name);
            line[at.expect("there")].trim()
        };
        // It is asked for its own ranges.
        assert_eq!(of("range"), "65536 KiB");
        assert_eq!(of("GB/s"), "1.00/**1.00**/1.00");
        assert_eq!(of("core s/GB"), "0.500/**0.500**/0.500");
        assert_eq!(of("requests / core s"), "1000/**1000**/1000");
        assert_eq!(of("client busy"), "50 %");
    }
}
