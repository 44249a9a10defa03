//! When a download may turn from peers to HTTP, and from cache hosts to the origin. The rule: a delay is counted from a
//! beginning and never renewed, so that no download waits longer than it was told to.

use super::settings::{Policies, Priority};
use crate::Time;
use std::time::Duration;

/// From when on a download that began at `began` may use HTTP. A delay is for "a download that is allowed to use P2P"
/// (seed: Delay foreground download from http); whoever may not, or has nobody left to wait for, is not held up.
#[must_use]
pub fn http_not_before(
    policies: &Policies,
    priority: Priority,
    began: Time,
    peers_may_bring: bool,
) -> Time {
    if !peers_may_bring {
        return began;
    }
    began + Duration::from_secs(policies.http_delay_s.of(priority))
}

/// For how long a cache host that fails is asked again before the origin is (`DODelayCacheServerFallback..`), from its
/// first failure on.
#[must_use]
pub fn cache_host_patience(policies: &Policies, priority: Priority) -> Duration {
    Duration::from_secs(policies.fallback_delay_s.of(priority))
}
