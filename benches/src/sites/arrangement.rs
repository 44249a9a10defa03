//! What is tried in offices, and what came of it. The rule: plain data; copies are bytes over the object's.

use std::time::Duration;

/// Nobody takes longer; then the run is broken.
pub(super) const LAST_AFTER: Duration = Duration::from_secs(300);

/// Where a device's bytes come from, by the names of its account; the cache server's are among those by HTTP.
pub const SOURCES: [&str; 5] = [
    "BytesFromHttp",
    "BytesFromCacheServer",
    "BytesFromLanPeers",
    "BytesFromGroupPeers",
    "BytesFromInternetPeers",
];

/// Who shares with whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// Nobody: all by HTTP.
    Nobody,
    /// The devices of an office (mode 1).
    Office,
    /// All offices, as one group (mode 2).
    Group,
    /// The devices of an office, and the appliances of all over links that each names.
    Links,
}

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct Arrangement {
    /// Offices.
    pub sites: usize,
    /// Devices of each that want the object.
    pub devices: usize,
    /// MiB of the object.
    pub mib: u64,
    /// Mbit/s of each office's line.
    pub wan_mbit: f64,
    /// Whether each office has an appliance, which its devices know as their cache host.
    pub appliances: bool,
    /// Who shares.
    pub share: Share,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Bytes of the object.
    pub object_bytes: u64,
    /// What came in by each office's line, headers and all.
    pub wan_in_bytes: Vec<u64>,
    /// What left the origin's and the coordinator's side.
    pub origin_bytes: u64,
    /// What all devices together say that they had from each of [`SOURCES`].
    pub sources: [u64; SOURCES.len()],
    /// When the last device had it.
    pub last: Duration,
}

impl Outcome {
    /// Copies of the object that came in by an office's line.
    #[must_use]
    pub fn copies_in(&self, site: usize) -> f64 {
        self.wan_in_bytes[site] as f64 / self.object_bytes as f64
    }

    /// Copies of the object that left the origin.
    #[must_use]
    pub fn origin_copies(&self) -> f64 {
        self.origin_bytes as f64 / self.object_bytes as f64
    }

    /// Copies of the object that went from one office to another.
    #[must_use]
    pub fn between_copies(&self) -> f64 {
        let all: u64 = self.wan_in_bytes.iter().sum();
        all.saturating_sub(self.origin_bytes) as f64 / self.object_bytes as f64
    }
}
