//! What is compared. The rule: a server is its name and its configuration; how it is started is the same for all.

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
    /// What loopback can do: sendfile of 64 MiB bodies from the page cache, whatever range is asked of the others.
    Loopback,
    /// Ranges from plain memory by tokio-uring, without anything around them.
    TokioUring,
    /// No server: the same reads of the disk by fio, O_DIRECT on io_uring, as deep as there are connections.
    Fio,
}

/// All, by the name that tables and the command line have.
pub const KINDS: [Kind; 11] = [
    Kind::NginxStatic,
    Kind::NginxAio,
    Kind::NginxDirectio,
    Kind::NginxSliceLancache,
    Kind::NginxSliceTuned,
    Kind::Varnish,
    Kind::Larder,
    Kind::LarderEpoll,
    Kind::Loopback,
    Kind::TokioUring,
    Kind::Fio,
];

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
            Self::Loopback => "loopback",
            Self::TokioUring => "tokio-uring",
            Self::Fio => "fio",
        }
    }

    /// The one of that name, for the command line.
    ///
    /// # Errors
    /// There is none; in words, with those that there are.
    pub fn by_name(name: &str) -> Result<Self, String> {
        let found = KINDS.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("one of {}", KINDS.map(Self::name).join(", ")))
    }

    /// Bytes of the ranges that it is asked for, where the others are asked for `range_bytes`.
    #[must_use]
    pub const fn asked_bytes(self, range_bytes: u64) -> u64 {
        match self {
            Self::Loopback => 64 << 20,
            _ => range_bytes,
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
            _ => None,
        }
    }
}
