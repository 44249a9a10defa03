//! How long and how much is kept. The rule: an absolute size beats a percentage only where it is configured.

use super::settings::Policies;

/// How much of a drive the cache may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheLimit {
    /// Percent of the drive's free space and the cache's own, 1 to 100.
    pub percent: u8,
    /// Bytes; overrides the percentage.
    pub bytes: Option<u64>,
}

/// The limit in force (seed: Max Cache Size, Absolute Max Cache Size).
#[must_use]
pub const fn limit(policies: &Policies) -> CacheLimit {
    CacheLimit {
        percent: policies.cache_percent_max,
        bytes: policies.cache_bytes_max,
    }
}

/// Whether a content that was stored at this moment has outlived `DOMaxCacheAge`. Both are in seconds since 1970; a
/// clock that was set back makes nothing old.
#[must_use]
pub fn is_too_old(policies: &Policies, stored_at: u64, now: u64) -> bool {
    policies
        .cache_age_s_max
        .is_some_and(|age_s| now.saturating_sub(stored_at) >= age_s)
}
