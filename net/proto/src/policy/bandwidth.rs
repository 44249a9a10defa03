//! How fast downloads may be. The rule: each setting is a maximum, so all of them hold at once and the least decides; 0,
//! and all of what there is, limit nothing.
//!
//! - `DOMaxDownloadBandwidth` is for all that is downloaded (seed: "across all concurrent downloads"), from peers of the
//!   LAN as well.
//! - Everything else is about the line to the world: percentages are of what it was measured to bring, which
//!   [`crate::bandwidth::Available`] does, under the limits in KB/s where there are any. Cache hosts are taken to be at
//!   the other end of it, whereas "downloads from LAN peers are not throttled even when this policy is set".
//! - Downloads of one priority have the least of their own three: KB/s, percentage, and the percentage of the hour.
//!
//! What clients are given out of the store is no download.

use super::settings::{Policies, Priority};
use crate::UnixSecs;
use std::fmt;

/// The setting behind a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// `DOMaxDownloadBandwidth`.
    All,
    /// `DOPercentageMaxDownloadBandwidth`.
    PercentOfAll,
    /// `DOMaxForegroundDownloadBandwidth` or `DOMaxBackgroundDownloadBandwidth`.
    Own(Priority),
    /// `DOPercentageMaxForegroundBandwidth` or `DOPercentageMaxBackgroundBandwidth`.
    PercentOfOwn(Priority),
    /// `DOSetHoursToLimitForegroundDownloadBandwidth` or `..Background..`, and whether these are business hours.
    Hours(Priority, bool),
}

impl By {
    /// The setting's documented name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        use Priority::{Background, Foreground};
        match self {
            Self::All => "DOMaxDownloadBandwidth",
            Self::PercentOfAll => "DOPercentageMaxDownloadBandwidth",
            Self::Own(Foreground) => "DOMaxForegroundDownloadBandwidth",
            Self::Own(Background) => "DOMaxBackgroundDownloadBandwidth",
            Self::PercentOfOwn(Foreground) => "DOPercentageMaxForegroundBandwidth",
            Self::PercentOfOwn(Background) => "DOPercentageMaxBackgroundBandwidth",
            Self::Hours(Foreground, _) => "DOSetHoursToLimitForegroundDownloadBandwidth",
            Self::Hours(Background, _) => "DOSetHoursToLimitBackgroundDownloadBandwidth",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Hours(_, true) => f.write_str(", in business hours"),
            Self::Hours(_, false) => f.write_str(", outside of business hours"),
            _ => Ok(()),
        }
    }
}

/// How much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Most {
    /// Bytes a second.
    Bytes(u64),
    /// Percent of what the line was measured to bring, 1 to 99.
    Percent(u8),
}

impl Most {
    /// Bytes a second, where `available` is what the line brings; None while that is not known and would have to be.
    #[must_use]
    pub fn bytes_s(self, available: Option<u64>) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            // No less than 1: that would be no limit.
            Self::Percent(percent) => {
                available.map(|all| (all / 100).saturating_mul(percent.into()).max(1))
            }
        }
    }
}

impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} KB/s", bytes >> 10),
            Self::Percent(percent) => {
                write!(f, "{percent} % of what the line is measured to bring")
            }
        }
    }
}

/// One limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Which setting it is.
    pub by: By,
    /// How much.
    pub most: Most,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} ({})", self.most, self.by)
    }
}

/// All limits that hold at a moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Limits(Vec<Limit>);

/// Bytes a second; 0 is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Of everything.
    pub all: u64,
    /// Of all that comes by the line.
    pub line: u64,
    /// Of what comes by the line for downloads that somebody waits for.
    pub foreground: u64,
    /// Of what comes by the line for the others.
    pub background: u64,
}

/// The limits that hold at this moment.
#[must_use]
pub fn limits(policies: &Policies, unix: UnixSecs) -> Limits {
    let mut limits = Vec::new();
    let mut bytes = |by, bytes_s: u64| {
        if bytes_s > 0 {
            let most = Most::Bytes(bytes_s);
            limits.push(Limit { by, most });
        }
    };
    bytes(By::All, policies.download_bytes_s_max);
    for priority in PRIORITIES {
        let own = policies.download_bytes_s_max_of.of(priority);
        bytes(By::Own(priority), own);
    }
    let mut percent = |by, percent: u8| {
        if (1..100).contains(&percent) {
            let most = Most::Percent(percent);
            limits.push(Limit { by, most });
        }
    };
    percent(By::PercentOfAll, policies.download_percent_max);
    for priority in PRIORITIES {
        let own = policies.download_percent_max_of.of(priority);
        percent(By::PercentOfOwn(priority), own);
        if let Some(hours) = policies.hours.of(priority) {
            let inside = hours.contains(policies.zone.local(unix));
            let now = if inside { hours.inside } else { hours.outside };
            percent(By::Hours(priority, inside), now);
        }
    }
    Limits(limits)
}

const PRIORITIES: [Priority; 2] = [Priority::Foreground, Priority::Background];

impl Limits {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Limit] {
        &self.0
    }

    /// Those that a download of this priority is under, by the line or, where not, from peers of the LAN.
    pub fn of(&self, priority: Priority, line: bool) -> impl Iterator<Item = &Limit> {
        self.0.iter().filter(move |limit| match limit.by {
            By::All => true,
            By::PercentOfAll => line,
            By::Own(of) | By::PercentOfOwn(of) | By::Hours(of, _) => line && of == priority,
        })
    }

    /// Whether downloads of this priority have one that is for them alone.
    #[must_use]
    pub fn has_own(&self, priority: Priority) -> bool {
        let is_own = |limit: &Limit| match limit.by {
            By::Own(of) | By::PercentOfOwn(of) | By::Hours(of, _) => of == priority,
            By::All | By::PercentOfAll => false,
        };
        self.0.iter().any(is_own)
    }

    /// Whether one of them can only be told where it is known what the line brings.
    #[must_use]
    pub fn has_percentage(&self) -> bool {
        let is_percent = |limit: &Limit| matches!(limit.most, Most::Percent(_));
        self.0.iter().any(is_percent)
    }

    /// The least of each kind, where `available` is what the line brings. What can not be told yet limits nothing.
    #[must_use]
    pub fn rates(&self, available: Option<u64>) -> Rates {
        let least = |of: &dyn Fn(By) -> bool| {
            let limits = self.0.iter().filter(|limit| of(limit.by));
            let rates = limits.filter_map(|limit| limit.most.bytes_s(available));
            rates.min().unwrap_or(0)
        };
        let own = |priority| {
            least(
                &move |by| matches!(by, By::Own(of) | By::PercentOfOwn(of) | By::Hours(of, _) if of == priority),
            )
        };
        Rates {
            all: least(&|by| by == By::All),
            line: least(&|by| by == By::PercentOfAll),
            foreground: own(Priority::Foreground),
            background: own(Priority::Background),
        }
    }
}
