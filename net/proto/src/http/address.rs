//! Addresses that no origin may have. The rule: what is not plainly a public unicast address is refused, so that a
//! name that resolves into the branch office reaches nothing there.
//!
//! The ranges are those of the IANA special-purpose registries (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why `ip` is refused as an origin's address unless an administrator named it; `None` where it is public.
#[must_use]
pub fn refused_address(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(v4) => refused_v4(v4),
        IpAddr::V6(v6) => refused_v6(v6),
    }
}

fn refused_v4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip.octets() {
        [0, ..] => Some("this network (0.0.0.0/8)"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("private"),
        [100, 64..=127, ..] => Some("shared by carrier NAT (100.64.0.0/10)"),
        [127, ..] => Some("loopback"),
        [169, 254, ..] => Some("link-local"),
        [192, 0, 0, _] => Some("reserved for protocols (192.0.0.0/24)"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("for documentation"),
        [192, 88, 99, _] => Some("6to4 relay (192.88.99.0/24)"),
        [198, 18..=19, ..] => Some("for benchmarks (198.18.0.0/15)"),
        [224..=239, ..] => Some("multicast"),
        [240..=255, ..] => Some("reserved (240.0.0.0/4)"),
        _ => None,
    }
}

fn refused_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let inner = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(w, x, y, z)
    };
    match (a, b) {
        _ if ip.is_unspecified() => Some("unspecified"),
        _ if ip.is_loopback() => Some("loopback"),
        // Addresses that carry an IPv4 address go where that one goes: mapped, compatible, translated, NAT64, 6to4.
        (0, 0) if [c, d, e] == [0, 0, 0] && (f == 0xffff || f == 0) => {
            refused_v4(inner(g, h)).or(Some("an IPv4 address in IPv6 form"))
        }
        (0, 0) if [c, d, e, f] == [0, 0, 0xffff, 0] => Some("an IPv4 address in IPv6 form"),
        (0x64, 0xff9b) if [c, d, e, f] == [0, 0, 0, 0] => refused_v4(inner(g, h)),
        (0x64, 0xff9b) => Some("local NAT64 (64:ff9b:1::/48)"),
        (0x2002, _) => refused_v4(inner(b, c)).or(Some("6to4 (2002::/16)")),
        (0x100, 0) if [c, d] == [0, 0] => Some("discard only (100::/64)"),
        (0x2001, 0xdb8) => Some("for documentation"),
        (0x2001, 0) => Some("Teredo (2001::/32)"),
        (0x2001, 0..=0x1ff) => Some("reserved for protocols (2001::/23)"),
        (0x3fff, 0..=0xfff) => Some("for documentation"),
        (0xfc00..=0xfdff, _) => Some("unique local (fc00::/7)"),
        (0xfe80..=0xfebf, _) => Some("link-local"),
        (0xfec0..=0xfeff, _) => Some("site-local"),
        (0xff00..=0xffff, _) => Some("multicast"),
        (0x2000..=0x3fff, _) => None,
        _ => Some("not global unicast (2000::/3)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_of_every_range() {
        for (text, refused) in [
            ("0.0.0.0", true),
            ("0.255.255.255", true),
            ("1.0.0.0", false),
            ("9.255.255.255", false),
            ("10.0.0.0", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("100.63.255.255", false),
            ("100.64.0.0", true),
            ("100.127.255.255", true),
            ("100.128.0.0", false),
            ("126.255.255.255", false),
            ("127.0.0.1", true),
            ("127.255.255.255", true),
            ("128.0.0.0", false),
            ("169.253.255.255", false),
            ("169.254.169.254", true),
            ("169.255.0.0", false),
            ("172.15.255.255", false),
            ("172.16.0.0", true),
            ("172.31.255.255", true),
            ("172.32.0.0", false),
            ("192.0.0.8", true),
            ("192.0.2.1", true),
            ("192.167.255.255", false),
            ("192.168.0.0", true),
            ("192.169.0.0", false),
            ("198.17.255.255", false),
            ("198.18.0.0", true),
            ("198.20.0.0", false),
            ("203.0.113.9", true),
            ("223.255.255.255", false),
            ("224.0.0.1", true),
            ("239.255.255.255", true),
            ("240.0.0.0", true),
            ("255.255.255.255", true),
            ("::", true),
            ("::1", true),
            ("::7f00:1", true),
            ("::ffff:127.0.0.1", true),
            ("::ffff:10.0.0.1", true),
            ("::ffff:13.107.4.50", true),
            ("::ffff:0:127.0.0.1", true),
            ("64:ff9b::127.0.0.1", true),
            ("64:ff9b::13.107.4.50", false),
            ("64:ff9b:1::1", true),
            ("100::1", true),
            ("2001::1", true),
            ("2001:db8::1", true),
            ("2001:200::1", false),
            ("2002:7f00:1::", true),
            ("2002:d6b:432::", true),
            ("2606:4700::1111", false),
            ("2620:1ec:c11::200", false),
            ("3fff::1", true),
            ("4000::1", true),
            ("fbff::1", true),
            ("fc00::1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("fec0::1", true),
            ("ff02::1", true),
        ] {
            let ip: IpAddr = text.parse().expect(text);
            assert_eq!(
                refused_address(ip).is_some(),
                refused,
                "{text}: {:?}",
                refused_address(ip)
            );
        }
    }
}
