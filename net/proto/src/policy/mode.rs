//! The download mode: which sources one download has. The rule: a mode only ever loses peers on its way from the
//! configuration to a download, never gains any.

use super::settings::{Dialect, MB, Policies};
use super::{DownloadMode, PeerType};
use std::fmt;

/// Smaller files are downloaded in simple mode where no minimum is configured (seed: Download mode, Simple).
const SMALL_BYTES: u64 = 10 * MB;
/// The same by the newer reference (facts: clients, section 5).
const SMALL_BYTES_CURRENT: u64 = 50 * MB;

/// What is known of the coordinator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Coordinator {
    /// None is configured.
    Absent,
    /// It has not been asked yet.
    Unknown,
    /// It answers.
    Reachable,
    /// It does not.
    Unreachable,
}

/// Why a download is in its mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It is the one that is set.
    Configured,
    /// The file is smaller than so many bytes.
    SmallFile {
        /// The least that peers are used for.
        bytes_min: u64,
    },
    /// No coordinator is configured.
    NoCoordinator,
    /// The coordinator does not answer.
    CoordinatorUnreachable,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("DODownloadMode"),
            Self::SmallFile { bytes_min } => write!(
                f,
                "the file is smaller than {} MB, so it is not worth peers (DOMinFileSizeToCache)",
                bytes_min / MB
            ),
            Self::NoCoordinator => f.write_str("no coordinator is configured ([coordinator] url)"),
            Self::CoordinatorUnreachable => f.write_str("the coordinator can not be reached"),
        }
    }
}

/// The mode of one download.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The mode.
    pub mode: DownloadMode,
    /// Why it is that one.
    pub why: Why,
}

/// The least size of a file that peers are used for: the one configured, else the seed's for simple mode.
#[must_use]
pub fn file_bytes_min(policies: &Policies) -> u64 {
    policies.file_bytes_min.unwrap_or(match policies.dialect {
        Dialect::Y2018 => SMALL_BYTES,
        Dialect::Current => SMALL_BYTES_CURRENT,
    })
}

/// The mode of a download of so many bytes (None: not known yet): the one configured, or simple mode, which it "switches
/// to automatically when the cloud services are unavailable, unreachable or when the content file size is less than 10
/// MB" (seed: Download mode).
#[must_use]
pub fn taken(policies: &Policies, length: Option<u64>, coordinator: Coordinator) -> Taken {
    let mode = policies.mode;
    if !uses_coordinator(mode) {
        let why = Why::Configured;
        return Taken { mode, why };
    }
    let bytes_min = file_bytes_min(policies);
    let why = if length.is_some_and(|length| length < bytes_min) {
        Why::SmallFile { bytes_min }
    } else {
        match coordinator {
            Coordinator::Absent => Why::NoCoordinator,
            Coordinator::Unreachable => Why::CoordinatorUnreachable,
            Coordinator::Unknown | Coordinator::Reachable => {
                let why = Why::Configured;
                return Taken { mode, why };
            }
        }
    };
    let mode = DownloadMode::Simple;
    Taken { mode, why }
}

/// Whether the coordinator is asked anything. Mode 0 "uses additional metadata provided by the cloud services" (seed:
/// Download mode), though no peers.
#[must_use]
pub const fn uses_coordinator(mode: DownloadMode) -> bool {
    !matches!(mode, DownloadMode::Simple | DownloadMode::Bypass)
}

/// Whether a download in this mode takes part in swarms.
#[must_use]
pub const fn peers(mode: DownloadMode) -> bool {
    matches!(
        mode,
        DownloadMode::Lan | DownloadMode::Group | DownloadMode::Internet
    )
}

/// Whether peers of this kind are asked, and answered, in this mode. In mode 2 whoever is met is of the same group;
/// those of them in the same network count as LAN peers.
#[must_use]
pub const fn peers_with(mode: DownloadMode, kind: PeerType) -> bool {
    match mode {
        DownloadMode::HttpOnly | DownloadMode::Simple | DownloadMode::Bypass => false,
        DownloadMode::Lan => matches!(kind, PeerType::Lan),
        DownloadMode::Group => matches!(kind, PeerType::Lan | PeerType::Group),
        DownloadMode::Internet => true,
    }
}

/// Whether cache hosts are asked before the origin (facts: clients, section 5: modes 0 and 99 may use one, too).
/// Bypass is plain HTTP.
#[must_use]
pub const fn uses_cache_host(mode: DownloadMode) -> bool {
    !matches!(mode, DownloadMode::Bypass)
}

/// Whether only peers of the same subnet are wanted. "Applies to both Download Modes LAN (1) and Group (2)" (seed:
/// Select a method to restrict peer selection).
#[must_use]
pub const fn same_subnet_only(policies: &Policies) -> bool {
    policies.same_subnet_only && matches!(policies.mode, DownloadMode::Lan | DownloadMode::Group)
}
