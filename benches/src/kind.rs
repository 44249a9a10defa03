//! Which servers are compared, and what larder is to cost next to each. The rule: the aims are data, in one table.

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Plain files by sendfile.
    NginxStatic,
    /// Plain files by sendfile, cold ones read by threads.
    NginxAio,
    /// Plain files read past the page cache.
    NginxDirectio,
    /// Slices of 1 MiB, as lancache has them.
    NginxSliceLancache,
    /// Slices of 1 MiB, as cheap as it gets.
    NginxSliceTuned,
    /// Objects in its memory.
    Varnish,
    /// This project, on io_uring.
    Larder,
    /// This project, on epoll.
    LarderEpoll,
}

impl Kind {
    /// For tables and file names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NginxStatic => "nginx-static",
            Self::NginxAio => "nginx-aio",
            Self::NginxDirectio => "nginx-directio",
            Self::NginxSliceLancache => "nginx-slice-lancache",
            Self::NginxSliceTuned => "nginx-slice-tuned",
            Self::Varnish => "varnish",
            Self::Larder => "larder",
            Self::LarderEpoll => "larder-epoll",
        }
    }

    /// Whether it is this project.
    #[must_use]
    pub const fn is_larder(self) -> bool {
        matches!(self, Self::Larder | Self::LarderEpoll)
    }

    /// The configuration of an nginx.
    #[must_use]
    pub const fn nginx(self) -> Option<&'static str> {
        match self {
            Self::NginxStatic => Some(include_str!("../baselines/nginx-static.conf")),
            Self::NginxAio => Some(include_str!("../baselines/nginx-aio.conf")),
            Self::NginxDirectio => Some(include_str!("../baselines/nginx-directio.conf")),
            Self::NginxSliceLancache => {
                Some(include_str!("../baselines/nginx-slice-lancache.conf"))
            }
            Self::NginxSliceTuned => Some(include_str!("../baselines/nginx-slice-tuned.conf")),
            Self::Varnish | Self::Larder | Self::LarderEpoll => None,
        }
    }
}

/// What is compared of two servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// CPU seconds per GB of one over those of the other, at most.
    CostMax(f64),
    /// GB/s of one over those of the other, at least.
    SpeedMin(f64),
}

/// The work that servers are compared at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Bytes of a range.
    pub range_bytes: u64,
    /// Requests under way on each connection.
    pub pipeline: usize,
    /// Nothing of it is in memory.
    pub cold: bool,
    /// By HTTPS.
    pub tls: bool,
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

const fn warm(kib: u64, against: Kind, ratio: f64) -> Aim {
    Aim {
        work: Work {
            range_bytes: kib << 10,
            pipeline: 1,
            cold: false,
            tls: false,
        },
        of: Kind::Larder,
        against,
        bound: Bound::CostMax(ratio),
    }
}

const fn pipelined(kib: u64) -> Aim {
    let mut aim = warm(kib, Kind::NginxStatic, 1.0 / 1.1);
    aim.work.pipeline = 8;
    aim
}

const fn epoll(kib: u64) -> Aim {
    Aim {
        of: Kind::LarderEpoll,
        ..warm(kib, Kind::Larder, 1.05)
    }
}

const fn cold(kib: u64, against: Kind, ratio: f64) -> Aim {
    let mut aim = warm(kib, against, ratio);
    aim.work.cold = true;
    aim.bound = Bound::SpeedMin(ratio);
    aim
}

const fn tls(kib: u64, against: Kind) -> Aim {
    let mut aim = warm(kib, against, 0.9);
    aim.work.tls = true;
    aim
}

/// What larder is to reach.
pub const AIMS: [Aim; 31] = [
    warm(1024, Kind::NginxStatic, 1.00),
    warm(1024, Kind::NginxSliceLancache, 0.80),
    warm(1024, Kind::NginxSliceTuned, 0.66),
    warm(1024, Kind::Varnish, 0.35),
    warm(64, Kind::NginxStatic, 0.65),
    warm(64, Kind::NginxSliceLancache, 0.34),
    warm(64, Kind::NginxSliceTuned, 0.48),
    warm(64, Kind::Varnish, 0.29),
    warm(16, Kind::NginxStatic, 0.70),
    warm(16, Kind::NginxSliceLancache, 0.24),
    warm(16, Kind::NginxSliceTuned, 0.34),
    warm(16, Kind::Varnish, 0.25),
    // Answers of 4 KiB have the same bytes everywhere: requests per CPU second, the other way round.
    warm(4, Kind::NginxStatic, 1.0 / 1.4),
    warm(4, Kind::NginxSliceLancache, 1.0 / 4.4),
    warm(4, Kind::NginxSliceTuned, 1.0 / 2.8),
    warm(4, Kind::Varnish, 1.0 / 3.7),
    pipelined(4),
    pipelined(16),
    epoll(4),
    epoll(16),
    epoll(64),
    epoll(1024),
    cold(128, Kind::NginxStatic, 4.0),
    cold(128, Kind::NginxAio, 1.7),
    cold(1024, Kind::NginxStatic, 2.5),
    cold(1024, Kind::NginxSliceTuned, 1.15),
    cold(1024, Kind::NginxDirectio, 1.15),
    tls(64, Kind::NginxStatic),
    tls(64, Kind::NginxSliceTuned),
    tls(1024, Kind::NginxStatic),
    tls(1024, Kind::NginxSliceTuned),
];
