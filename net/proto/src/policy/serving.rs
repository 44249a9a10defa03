//! Whom pieces are given to: what a peer that has connected is to this device, and whether it is served now. The rule:
//! the nearest that can be told holds, by the address that the peer is seen at and what it has proved, and never by what
//! it says of itself.

use super::eligibility::{Bar, Facts, may_upload};
use super::mode::{self, Taken, Why};
use super::settings::Policies;
use super::{DownloadMode, PeerType};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};

/// The networks around this device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Around {
    /// The networks that its own addresses lie in.
    pub networks: Vec<IpNet>,
    /// The address at which the coordinator sees it.
    pub external: Option<IpAddr>,
}

/// What a peer is to this device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Near {
    /// How near it is.
    pub kind: PeerType,
    /// Whether it is in one of this device's own networks.
    pub same_subnet: bool,
}

impl Around {
    /// What a peer seen at this address is. "Other clients that connect to the Internet using the same public IP", met
    /// "by using their private subnet IP" (seed: Download mode), are of the LAN: those in a network of ours, at a
    /// private address, or at our own public one, where a router turns them back. `of_group`: it has shown that it
    /// belongs to our group.
    #[must_use]
    pub fn near(&self, from: IpAddr, of_group: bool) -> Near {
        let from = from.to_canonical();
        let same_subnet = from.is_loopback() || self.networks.iter().any(|net| net.contains(&from));
        let same_public = self
            .external
            .is_some_and(|own| network(own) == network(from));
        let kind = if same_subnet || is_private(from) || same_public {
            PeerType::Lan
        } else if of_group {
            PeerType::Group
        } else {
            PeerType::Internet
        };
        Near { kind, same_subnet }
    }
}

/// An address that no router of the Internet leads to. That of a provider's own NAT (RFC 6598) is none: whoever is
/// behind the same one is a stranger.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// What stands for "the same public address": all of an IPv4 address, the first half of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) >> 64 << 64)),
    }
}

/// Whether a peer that connects is answered at all: its kind, by mode and subnet. What else may keep it from being
/// served passes, and it waits for that.
///
/// # Errors
/// Why not.
pub fn is_answered(policies: &Policies, peer: Near) -> Result<(), Bar> {
    if !mode::peers_with(policies.mode, peer.kind) {
        return Err(Bar::Mode(configured(policies.mode)));
    }
    if mode::same_subnet_only(policies) && !peer.same_subnet {
        return Err(Bar::Subnet);
    }
    Ok(())
}

/// Whether a peer is given pieces now. `month_bytes`: what has gone to Internet peers in this calendar month. A
/// coordinator that is away does not end what peers that know each other do, so it is not asked for here.
///
/// # Errors
/// Why not.
pub fn may_serve(
    policies: &Policies,
    facts: &Facts,
    peer: Near,
    month_bytes: u64,
) -> Result<(), Bar> {
    is_answered(policies, peer)?;
    may_upload(policies, facts, configured(policies.mode), peer.kind)?;
    let cap = policies.upload_month_bytes_max;
    if peer.kind == PeerType::Internet && cap > 0 && month_bytes >= cap {
        return Err(Bar::Month { cap });
    }
    Ok(())
}

const fn configured(mode: DownloadMode) -> Taken {
    let why = Why::Configured;
    Taken { mode, why }
}

#[cfg(test)]
mod tests;
