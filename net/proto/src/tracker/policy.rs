//! Who is told of whom, and by which address. The rule: only those are told that can be of use, who is near before who
//! is far, preferred devices before others, the least loaded before the rest, and chance among equals.

use super::member::Member;
use super::message::{PeerAddress, PeerType};
use super::site::{half, is_private, same_network};
use std::net::IpAddr;

/// Chance from a seed (SplitMix64): the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice that this seed gives.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        let number = (u128::from(self.roll()) * u128::from(end)) >> 64;
        usize::try_from(number).unwrap_or(0)
    }
}

/// The address and port at which one reaches the other; None where it does not, or should not.
#[must_use]
pub fn way(asker: &Member, other: &Member, near: PeerType) -> Option<(IpAddr, u16)> {
    let useless = asker.is_seed() && other.is_seed();
    if useless || asker.peer_id == other.peer_id || other.port == 0 {
        return None;
    }
    let restricted = asker.is_subnet_only() || other.is_subnet_only();
    match near {
        PeerType::Lan => nearby(asker, other, restricted),
        _ if restricted => None,
        PeerType::Group => far(asker, other).or_else(|| nearby(asker, other, false)),
        PeerType::Internet => far(asker, other),
    }
}

/// By the addresses of their own networks.
fn nearby(asker: &Member, other: &Member, same_subnet: bool) -> Option<(IpAddr, u16)> {
    let both_v4 = !asker.v4.is_unspecified() && !other.v4.is_unspecified();
    let both_v6 = !asker.v6.is_unspecified() && !other.v6.is_unspecified();
    // The narrower of the two networks is what both agree on.
    let bits = asker.net_bits.max(other.net_bits);
    let v4_near = both_v4 && same_network(asker.v4, other.v4, bits);
    let v6_near = both_v6 && half(asker.v6) == half(other.v6);
    if v4_near || (both_v4 && !same_subnet && !v6_near) {
        return Some((IpAddr::V4(other.v4), other.port));
    }
    if v6_near || (both_v6 && !same_subnet) {
        return Some((IpAddr::V6(other.v6), other.port));
    }
    None
}

/// By addresses that hold everywhere.
fn far(asker: &Member, other: &Member) -> Option<(IpAddr, u16)> {
    let (ours, theirs) = (IpAddr::V6(asker.v6), IpAddr::V6(other.v6));
    let global = |ip: IpAddr| !ip.is_unspecified() && !is_private(ip);
    if global(ours) && global(theirs) {
        return Some((theirs, other.port));
    }
    let reaches_v4 = !asker.v4.is_unspecified() || !asker.seen_v4.is_unspecified();
    let seen = IpAddr::V4(other.seen_v4);
    if !reaches_v4 || other.seen_v4.is_unspecified() {
        return None;
    }
    if other.external_port != 0 {
        return Some((seen, other.external_port));
    }
    // No NAT is between: it is seen at its own address.
    (other.seen_v4 == other.v4 && !is_private(seen)).then_some((seen, other.port))
}

/// Where a peer stands among those that could be told; the lowest is told first.
///
/// `handed` is how often others were told of it since it last said how loaded it is; `doubts` how many could not reach
/// it since then.
#[must_use]
pub fn rank(other: &Member, near: PeerType, handed: u16, doubts: u8, chance: u64) -> u64 {
    let doubtful = u64::from(doubts > 0);
    let far = match near {
        PeerType::Lan => 0,
        PeerType::Group => 1,
        PeerType::Internet => 2,
    };
    let common = u64::from(!other.is_preferred());
    let load = u64::from(other.load.saturating_add(handed));
    doubtful << 63 | far << 61 | common << 60 | load << 44 | chance >> 20
}

/// How a peer is told of.
#[must_use]
pub const fn told(other: &Member, (address, port): (IpAddr, u16), near: PeerType) -> PeerAddress {
    PeerAddress {
        peer_id: other.peer_id,
        address,
        port,
        peer_type: near,
        preferred: other.is_preferred(),
    }
}

/// Leaves the `wanted` lowest of what is ranked, the lowest first.
pub fn choose<T>(ranked: &mut Vec<(u64, T)>, wanted: usize) {
    if wanted == 0 {
        ranked.clear();
    } else if ranked.len() > wanted {
        ranked.select_nth_unstable_by_key(wanted - 1, |(rank, _)| *rank);
        ranked.truncate(wanted);
    }
    ranked.sort_unstable_by_key(|(rank, _)| *rank);
}

#[cfg(test)]
mod tests;
