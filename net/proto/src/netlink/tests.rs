//! The kernel's answers: built as it builds them, for kinds of interface that a machine may lack, and broken.

use super::*;
use proptest::prelude::*;

fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).expect("short");
    let mut out = [&len.to_le_bytes()[..], &number.to_le_bytes(), value].concat();
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(HEAD_BYTES + body.len()).expect("short");
    let mut out = [
        &len.to_le_bytes()[..],
        &kind.to_le_bytes(),
        &[2, 0],
        &[0; 8],
    ]
    .concat();
    out.extend_from_slice(body);
    out
}

/// An interface as the kernel tells of it.
fn of(name: &str, hardware: u16, flags: u32, kind: Option<&str>) -> Vec<u8> {
    let mut body = [&[0, 0][..], &hardware.to_le_bytes(), &7_u32.to_le_bytes()].concat();
    body.extend_from_slice(&flags.to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    body.extend(attribute(3, format!("{name}\0").as_bytes()));
    if hardware == ETHER {
        body.extend(attribute(1, &[2, 0, 0, 0, 0, 9]));
    }
    if let Some(kind) = kind {
        // IFLA_INFO_DATA before it, and the bit that says that it is nested.
        let inside = [
            attribute(2, &[0; 5]),
            attribute(1, format!("{kind}\0").as_bytes()),
        ]
        .concat();
        body.extend(attribute(18 | 0x8000, &inside));
    }
    message(NEW_LINK, &body)
}

#[test]
fn each_kind_of_interface_is_told_from_the_others() {
    // Name, what it is to ARP, flags, kind: is it up, and what tunnel is it.
    let rows = [
        ("lo", 772, 0x49, None, true, None),
        ("eth0", 1, 0x11043, None, true, None),
        ("wlan0", 1, 0x1002, None, false, None),
        ("br0", 1, 0x11043, Some("bridge"), true, Some("bridge")),
        ("tun0", 65534, 0x11091, Some("tun"), true, Some("tun")),
        ("tun1", 65534, 0x1090, Some("tun"), false, Some("tun")),
        ("tap0", 1, 0x11043, Some("tun"), true, None),
        (
            "wg0",
            65534,
            0x10091,
            Some("wireguard"),
            true,
            Some("wireguard"),
        ),
        ("ppp0", 512, 0x10091, None, true, Some("ppp")),
        ("ppp1", 512, 0x10091, Some("ppp"), true, Some("ppp")),
        ("ipsec0", 65534, 0x100c1, Some("xfrm"), true, Some("xfrm")),
        ("vti0", 768, 0x91, Some("vti"), true, Some("vti")),
        ("ovpn0", 65534, 0x91, Some("ovpn"), true, Some("ovpn")),
    ];
    let mut datagram: Vec<u8> = Vec::new();
    for (name, hardware, flags, kind, ..) in rows {
        datagram.extend(of(name, hardware, flags, kind));
    }
    datagram.extend(message(DONE, &[0; 4]));
    let mut dump = Dump::default();
    dump.take(&datagram).expect("an answer");
    assert!(dump.is_done);
    assert_eq!(dump.links.len(), rows.len());
    for (link, (name, .., is_up, tunnel)) in dump.links.iter().zip(rows) {
        assert_eq!(link.name, name);
        assert_eq!((link.is_up, link.tunnel()), (is_up, tunnel), "{name}");
        assert_eq!(link.is_loopback, name == "lo");
        assert_eq!(link.mac().is_some(), link.hardware == ETHER, "{name}");
    }
}

#[test]
fn addresses_are_this_ends() {
    let v4 = |number, octets: [u8; 4]| attribute(number, &octets);
    let body = [
        &[2, 24, 0, 0, 7, 0, 0, 0][..],
        &v4(1, [10, 7, 0, 9]),
        &v4(2, [10, 7, 0, 1]),
    ]
    .concat();
    let v6 = [
        &[10, 64, 0, 0, 8, 0, 0, 0][..],
        &attribute(1, &Ipv6Addr::LOCALHOST.octets()),
    ]
    .concat();
    let other = [&[7, 0, 0, 0, 9, 0, 0, 0][..], &v4(1, [1, 2, 3, 4])].concat();
    let all = [body, v6, other]
        .map(|body| message(NEW_ADDRESS, &body))
        .concat();
    let mut dump = Dump::default();
    dump.take(&all).expect("an answer");
    let found: Vec<_> = dump.addresses.iter().map(|a| (a.index, a.ip)).collect();
    let ours = [
        (7, [10, 7, 0, 1].into()),
        (8, IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    assert_eq!(found, ours);
    assert!(!dump.is_done, "there is more to come");
    let refused = message(ERROR, &(-1_i32).to_le_bytes());
    assert_eq!(dump.take(&refused), Err(NetlinkError::Refused(-1)));
    assert_eq!(dump.take(&[1, 0, 0]), Err(NetlinkError::Malformed));
    assert_eq!(ask_links().len(), 32);
}

proptest! {
    #[test]
    fn garbage_ends(garbage in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), byte: u8) {
        let mut dump = Dump::default();
        let _ = dump.take(&garbage);
        let _ = dump.take(&message(NEW_LINK, &garbage));
        let _ = dump.take(&message(NEW_ADDRESS, &garbage));
        let mut whole = of("wg0", 65534, 1, Some("wireguard"));
        let at = at.index(whole.len());
        whole[at] = byte;
        let _ = dump.take(&whole);
    }
}
