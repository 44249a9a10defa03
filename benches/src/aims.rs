//! What larder is to reach next to the others. The rule: the aims are data, in one table, and each is judged on the
//! ratios within the rounds: two servers of one round had the machine as it was just then, so its drift cancels.

use crate::kind::Kind;
use crate::latency::Spread;
use crate::table::{Row, Sample};

/// What is compared of two servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// CPU seconds per GB of one over those of the other, at most.
    CostMax(f64),
    /// CPU seconds per GB of the other, which can not be undercut, over those of the one, at least.
    ShareMin(f64),
    /// Requests per CPU second of one over those of the other, at least.
    RequestsMin(f64),
    /// GB/s of one over those of the other, at least.
    SpeedMin(f64),
    /// The share of the mean that the slowest connection of the one gets, at least, whatever the other gives.
    SlowestMin(f64),
}

/// The work that servers are compared at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Bytes of a range.
    pub range_bytes: u64,
    /// Connections.
    pub connections: usize,
    /// Requests under way on each connection.
    pub pipeline: usize,
    /// Nothing of it is in memory.
    pub cold: bool,
    /// By HTTPS.
    pub tls: bool,
}

impl Work {
    /// Warm ranges by HTTP on the usual number of connections.
    #[must_use]
    pub const fn warm(kib: u64) -> Self {
        Self {
            range_bytes: kib << 10,
            connections: 64,
            pipeline: 1,
            cold: false,
            tls: false,
        }
    }

    /// In words, but for the bytes.
    #[must_use]
    pub fn manner(&self) -> String {
        let mut words = Vec::new();
        if self.cold {
            words.push("cold".to_owned());
        }
        if self.tls {
            words.push("TLS".to_owned());
        }
        if self.pipeline > 1 {
            words.push(format!("{} pipelined", self.pipeline));
        }
        if self.connections != 64 {
            words.push(format!("{} connections", self.connections));
        }
        words.join(", ")
    }
}

/// One server next to another.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    /// At what.
    pub work: Work,
    /// Whose figure.
    pub of: Kind,
    /// Over whose.
    pub against: Kind,
    /// How far.
    pub bound: Bound,
}

const fn aim(work: Work, against: Kind, bound: Bound) -> Aim {
    Aim {
        work,
        of: Kind::Larder,
        against,
        bound,
    }
}

const fn warm(kib: u64, against: Kind, ratio: f64) -> Aim {
    aim(Work::warm(kib), against, Bound::CostMax(ratio))
}

const fn requests(against: Kind, ratio: f64) -> Aim {
    aim(Work::warm(4), against, Bound::RequestsMin(ratio))
}

/// Eight requests under way on each connection: the answers leave together.
#[must_use]
pub const fn pipelined(kib: u64) -> Work {
    Work {
        pipeline: 8,
        ..Work::warm(kib)
    }
}

/// Pieces to very many connections.
pub const MANY: Work = Work {
    connections: 512,
    ..Work::warm(1024)
};

const fn epoll(kib: u64) -> Aim {
    Aim {
        of: Kind::LarderEpoll,
        ..warm(kib, Kind::Larder, 1.05)
    }
}

const fn cold(kib: u64, against: Kind, ratio: f64) -> Aim {
    let work = Work {
        cold: true,
        ..Work::warm(kib)
    };
    aim(work, against, Bound::SpeedMin(ratio))
}

const fn tls(kib: u64, against: Kind) -> Aim {
    let work = Work {
        tls: true,
        ..Work::warm(kib)
    };
    aim(work, against, Bound::CostMax(0.9))
}

/// What larder is to reach.
pub const AIMS: [Aim; 36] = [
    warm(1024, Kind::NginxStatic, 1.00),
    warm(1024, Kind::NginxSliceLancache, 0.80),
    warm(1024, Kind::NginxSliceTuned, 0.66),
    warm(1024, Kind::Varnish, 0.35),
    aim(Work::warm(1024), Kind::Loopback, Bound::ShareMin(0.88)),
    warm(64, Kind::NginxStatic, 0.65),
    warm(64, Kind::NginxSliceLancache, 0.34),
    warm(64, Kind::NginxSliceTuned, 0.48),
    warm(64, Kind::Varnish, 0.29),
    warm(16, Kind::NginxStatic, 0.70),
    warm(16, Kind::NginxSliceLancache, 0.24),
    warm(16, Kind::NginxSliceTuned, 0.34),
    warm(16, Kind::Varnish, 0.25),
    requests(Kind::NginxStatic, 1.4),
    requests(Kind::NginxSliceLancache, 4.4),
    requests(Kind::NginxSliceTuned, 2.8),
    requests(Kind::Varnish, 3.7),
    aim(pipelined(4), Kind::NginxStatic, Bound::RequestsMin(1.1)),
    aim(pipelined(16), Kind::NginxStatic, Bound::RequestsMin(1.1)),
    aim(MANY, Kind::NginxStatic, Bound::SlowestMin(0.8)),
    aim(MANY, Kind::NginxStatic, Bound::CostMax(1.1)),
    epoll(4),
    epoll(16),
    epoll(64),
    epoll(1024),
    cold(128, Kind::NginxStatic, 4.0),
    cold(128, Kind::NginxAio, 1.7),
    cold(128, Kind::Fio, 0.95),
    cold(1024, Kind::NginxStatic, 2.5),
    cold(1024, Kind::NginxSliceTuned, 1.15),
    cold(1024, Kind::NginxDirectio, 1.15),
    cold(1024, Kind::Fio, 0.95),
    tls(64, Kind::NginxStatic),
    tls(64, Kind::NginxSliceTuned),
    tls(1024, Kind::NginxStatic),
    tls(1024, Kind::NginxSliceTuned),
];

/// How an aim was reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Of each round.
    pub ratio: Spread,
    /// On the median.
    pub reached: bool,
    /// The other one waited for a clock in most rounds: no win over it counts.
    pub stalled: bool,
}

impl Bound {
    /// In words, with the limit.
    fn words(self) -> (&'static str, &'static str, f64) {
        match self {
            Self::CostMax(most) => ("CPU s/GB", "at most", most),
            Self::ShareMin(least) => ("share in CPU s/GB", "at least", least),
            Self::RequestsMin(least) => ("requests per CPU second", "at least", least),
            Self::SpeedMin(least) => ("GB/s", "at least", least),
            Self::SlowestMin(least) => ("slowest connection's share", "at least", least),
        }
    }

    /// The figure of one round.
    fn ratio(self, own: &Sample, other: &Sample) -> f64 {
        let over = |of: fn(&Sample) -> f64| of(own) / of(other);
        match self {
            Self::CostMax(_) => over(Sample::core_seconds_per_gb),
            Self::ShareMin(_) => 1.0 / over(Sample::core_seconds_per_gb),
            Self::RequestsMin(_) => over(Sample::requests_per_core_second),
            Self::SpeedMin(_) => over(Sample::gigabytes_per_second),
            Self::SlowestMin(_) => own.slowest_share,
        }
    }

    /// How two rows of the same rounds stand.
    #[must_use]
    pub fn judge(self, own: &Row, other: &Row) -> Judged {
        let pairs = own.samples.iter().zip(&other.samples);
        let ratio = Spread::of(pairs.map(|(own, other)| self.ratio(own, other)));
        let (_, way, limit) = self.words();
        let within = match way {
            "at most" => ratio.median <= limit,
            _ => ratio.median >= limit,
        };
        let stalled = other.is_stalled();
        Judged {
            ratio,
            reached: within && !stalled,
            stalled,
        }
    }
}

/// How the aims that were measured stand, a line each, and whether all were reached.
#[must_use]
pub fn aims(rows: &[Row]) -> (String, bool) {
    let (mut lines, mut good) = (String::new(), true);
    for aim in &AIMS {
        let of = |kind| {
            let mut rows = rows.iter();
            rows.find(|row| row.kind == kind && row.work == aim.work)
        };
        let (Some(own), Some(other)) = (of(aim.of), of(aim.against)) else {
            continue;
        };
        let Judged {
            ratio,
            reached,
            stalled,
        } = aim.bound.judge(own, other);
        let (what, way, limit) = aim.bound.words();
        let whose = match aim.bound {
            Bound::SlowestMin(_) => aim.of.name().to_owned(),
            _ => format!("{} / {}", aim.of.name(), aim.against.name()),
        };
        let manner = aim.work.manner();
        good &= reached;
        lines.push_str(&format!(
            "{:>5} KiB{}{manner}: {what} of {whose}: {:.2} ({:.2} to {:.2}); {way} {limit:.2}{}\n",
            aim.work.range_bytes >> 10,
            if manner.is_empty() { "" } else { ", " },
            ratio.median,
            ratio.min,
            ratio.max,
            match (reached, stalled) {
                (true, _) => "",
                (false, true) => ": NOT JUDGED, the other one stalls",
                (false, false) => ": MISSED",
            },
        ));
    }
    (lines, good)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: Kind, costs: &[f64], p99_ms: f64) -> Row {
        let sample = |cost: &f64| Sample {
            bytes: 1e9,
            requests: 1e6,
            seconds: 1.0,
            latency_ms: [1.0, p99_ms, 60.0],
            core_seconds: *cost,
            slowest_share: 0.7,
            ..Sample::default()
        };
        Row {
            kind,
            work: Work::warm(64),
            samples: costs.iter().map(sample).collect(),
        }
    }

    #[test]
    fn a_machine_that_drifts_does_not_change_the_ratio() {
        // Medians of 0.3 and 0.4 would say 0.75.
        let own = row(Kind::Larder, &[0.1, 0.3, 0.5], 2.0);
        let other = row(Kind::NginxStatic, &[0.2, 0.4, 1.0], 2.0);
        let judged = Bound::CostMax(0.6).judge(&own, &other);
        assert_eq!((judged.ratio.min, judged.ratio.median), (0.5, 0.5));
        assert!(judged.reached);
        assert!(!Bound::CostMax(0.4).judge(&own, &other).reached);
        let share = Bound::ShareMin(1.9).judge(&own, &other);
        assert!((share.ratio.median - 2.0).abs() < 1e-9 && share.reached);
        assert!(Bound::RequestsMin(1.9).judge(&own, &other).reached);
        assert!(!Bound::SlowestMin(0.8).judge(&own, &other).reached);
    }

    #[test]
    fn who_waits_for_a_clock_is_not_beaten() {
        let own = row(Kind::Larder, &[0.1; 3], 2.0);
        let other = row(Kind::NginxSliceTuned, &[1.0; 3], 44.0);
        let judged = Bound::CostMax(0.6).judge(&own, &other);
        assert!(judged.stalled && !judged.reached);
        let (lines, good) = aims(&[own, other]);
        assert!(lines.contains("NOT JUDGED") && !good, "{lines}");
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        let (lines, good) = aims(&[row(Kind::Larder, &[0.1], 2.0)]);
        assert_eq!((lines.as_str(), good), ("", true));
    }
}
