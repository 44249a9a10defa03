//! Where a caller is, as far as that tells who is near it. The rule: two callers are of one site where they are behind
//! the same public address, or where the administrator says so; what a caller says of itself moves it nowhere else.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The configured sites: lists of networks that stand for "behind the same public address".
#[derive(Clone, Debug, Default)]
pub struct Sites(Vec<(u64, IpNet)>);

/// Where a caller is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Site {
    /// A configured site, by a number that its name gives.
    Named(u64),
    /// The private networks that the coordinator itself is in.
    Inside,
    /// Behind this public address, or the address of a NAT between it and the coordinator. Of an IPv6 address it is the
    /// network of 64 bits.
    Behind(IpAddr),
}

impl Site {
    /// The site as a text that is the same for all coordinators with the same configuration.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Named(number) => format!("n{number:016x}"),
            Self::Inside => "i".to_owned(),
            Self::Behind(address) => format!("b{address}"),
        }
    }
}

impl Sites {
    /// Sites by their names and networks.
    #[must_use]
    pub fn new(sites: impl IntoIterator<Item = (String, Vec<IpNet>)>) -> Self {
        let nets = sites.into_iter().flat_map(|(name, nets)| {
            let number = number_of(&name);
            nets.into_iter().map(move |net| (number, net))
        });
        Self(nets.collect())
    }

    /// The configured site of an address: that of the narrowest network it lies in.
    fn named(&self, address: IpAddr) -> Option<Site> {
        let around = self.0.iter().filter(|(_, net)| net.contains(&address));
        let narrowest = around.max_by_key(|(_, net)| net.prefix_len())?;
        Some(Site::Named(narrowest.0))
    }

    /// The same, of all that a caller reports, whether it can have it or not.
    #[must_use]
    pub fn site_of(&self, seen: IpAddr, reported: &[IpAddr]) -> Site {
        let may = |ip: &IpAddr| self.may_report(seen, *ip);
        let reported: Vec<IpAddr> = reported.iter().copied().filter(may).collect();
        self.of(seen, &reported)
    }

    /// Where a caller is that is seen at one address and has others, each of which it can have.
    #[must_use]
    pub fn of(&self, seen: IpAddr, reported: &[IpAddr]) -> Site {
        let seen = seen.to_canonical();
        // Who calls from this very machine is where its other addresses are.
        let own = reported.iter().copied().find(|ip| !ip.is_loopback());
        let stands = if seen.is_loopback() {
            own.unwrap_or(seen)
        } else {
            seen
        };
        if let Some(site) = self.named(stands.to_canonical()) {
            return site;
        }
        if !is_private(seen) {
            return Site::Behind(network(seen));
        }
        // A private address that the caller does not know of is that of a NAT.
        let mut of_family = reported.iter().filter(|ip| ip.is_ipv4() == seen.is_ipv4());
        let is_its_own = seen.is_loopback()
            || of_family.clone().next().is_none()
            || of_family.any(|ip| ip.to_canonical() == seen);
        if is_its_own {
            Site::Inside
        } else {
            Site::Behind(network(seen))
        }
    }

    /// Whether a caller that is seen at one address can have the other one: its own, of a private network, or of a
    /// configured site. So nobody sends peers to a stranger's public address.
    #[must_use]
    pub fn may_report(&self, seen: IpAddr, reported: IpAddr) -> bool {
        let (seen, reported) = (seen.to_canonical(), reported.to_canonical());
        if reported.is_unspecified() || reported.is_multicast() {
            return false;
        }
        if reported.is_loopback() {
            return seen.is_loopback();
        }
        match reported {
            IpAddr::V4(ip) if ip.is_broadcast() || ip.is_link_local() || ip.octets()[0] >= 240 => {
                false
            }
            IpAddr::V4(ip) if ip.octets()[0] == 0 => false,
            IpAddr::V6(ip) if ip.is_unicast_link_local() => false,
            // The public IPv6 address of a caller that is seen by IPv4 can not be known otherwise.
            IpAddr::V6(_) if seen.is_ipv4() => true,
            IpAddr::V6(_) => {
                is_private(reported) || is_private(seen) || network(seen) == network(reported)
            }
            IpAddr::V4(_) => {
                reported == seen || is_private(reported) || self.named(reported).is_some()
            }
        }
    }
}

/// FNV-1a, so that a name has the same number everywhere.
fn number_of(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// An address of a network that is not routed on the Internet, that of this machine itself among them.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64;
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The network that stands for "the same public address": all of an IPv4 address, half of an IPv6 one.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(half(ip)),
    }
}

/// The network of 64 bits that an IPv6 address lies in.
pub(super) fn half(ip: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(ip) >> 64 << 64)
}

/// Whether two IPv4 addresses lie in one network of that many bits.
pub(super) fn same_network(a: Ipv4Addr, b: Ipv4Addr, bits: u8) -> bool {
    let mask = u32::MAX
        .checked_shl(32 - u32::from(bits.min(32)))
        .unwrap_or(0);
    (u32::from(a) ^ u32::from(b)) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| ip(text)).collect()
    }

    #[test]
    fn callers_are_where_the_coordinator_sees_them() {
        let berlin = vec![
            "10.1.0.0/16".parse().unwrap(),
            "2001:db8:1::/48".parse().unwrap(),
        ];
        let lab = vec!["10.1.9.0/24".parse().unwrap()];
        let sites = Sites::new([("berlin".to_owned(), berlin), ("lab".to_owned(), lab)]);
        let named = |name: &str| Site::Named(number_of(name));
        let behind = |text: &str| Site::Behind(ip(text));
        for (seen, reported, expected) in [
            ("10.1.2.3", vec!["10.1.2.3"], named("berlin")),
            ("10.1.9.3", vec![], named("lab")),
            ("2001:db8:1:7::1", vec![], named("berlin")),
            ("::ffff:10.1.2.3", vec![], named("berlin")),
            // Behind a NAT inside the company, and not.
            ("10.2.0.1", vec!["192.168.0.7"], behind("10.2.0.1")),
            ("10.2.0.7", vec!["192.168.0.7", "10.2.0.7"], Site::Inside),
            ("10.2.0.7", vec![], Site::Inside),
            ("10.2.0.7", vec!["fd00::7"], Site::Inside),
            // What it says of itself does not move it from a public address.
            ("203.0.113.7", vec!["10.1.2.3"], behind("203.0.113.7")),
            ("203.0.113.7", vec!["203.0.113.7"], behind("203.0.113.7")),
            ("2001:db8:2:3:4:5:6:7", vec![], behind("2001:db8:2:3::")),
            // This machine.
            ("127.0.0.1", vec!["10.1.2.3"], named("berlin")),
            ("127.0.0.1", vec!["10.2.2.3"], Site::Inside),
            ("::1", vec![], Site::Inside),
        ] {
            assert_eq!(
                sites.of(ip(seen), &ips(&reported)),
                expected,
                "{seen} {reported:?}"
            );
        }
        assert_ne!(named("berlin").text(), named("lab").text());
    }

    #[test]
    fn nobody_reports_the_address_of_a_stranger() {
        let sites = Sites::new([(
            "campus".to_owned(),
            vec!["198.51.100.0/24".parse().unwrap()],
        )]);
        for (seen, reported, may) in [
            ("203.0.113.7", "10.0.0.7", true),
            ("203.0.113.7", "100.64.0.7", true),
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.8", false),
            ("203.0.113.7", "198.51.100.9", true),
            ("203.0.113.7", "127.0.0.1", false),
            ("203.0.113.7", "::1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "10.0.0.7", true),
            ("10.0.0.7", "0.0.0.0", false),
            ("10.0.0.7", "224.0.0.1", false),
            ("10.0.0.7", "255.255.255.255", false),
            ("10.0.0.7", "240.0.0.1", false),
            ("10.0.0.7", "0.1.2.3", false),
            ("10.0.0.7", "169.254.3.4", false),
            ("10.0.0.7", "fe80::1", false),
            ("10.0.0.7", "ff02::1", false),
            ("10.0.0.7", "2001:db8::7", true),
            ("2001:db8::7", "2001:db8::8", true),
            ("2001:db8::7", "2001:db8:1::8", false),
            ("2001:db8::7", "fd00::8", true),
            ("203.0.113.7", "::ffff:127.0.0.1", false),
        ] {
            assert_eq!(
                sites.may_report(ip(seen), ip(reported)),
                may,
                "{seen} {reported}"
            );
        }
    }

    #[test]
    fn networks_have_their_bits() {
        let (a, b) = (Ipv4Addr::new(10, 0, 0, 7), Ipv4Addr::new(10, 0, 1, 7));
        assert!(same_network(a, b, 23) && !same_network(a, b, 24));
        assert!(same_network(a, b, 0) && !same_network(a, b, 32) && same_network(a, a, 32));
    }
}
