//! Who reaches whom by which address, and in which order.

use super::*;
use crate::tracker::guid::Guid;
use crate::tracker::member::Joining;
use crate::tracker::message::{DownloadMode, JoinRequest};
use crate::tracker::site::Sites;
use larder_content::ContentId;

/// A peer, by number and mode, seen at an address, that reports others.
fn peer(
    number: u8,
    mode: DownloadMode,
    seen: &str,
    reported: &[&str],
    set: impl Fn(&mut JoinRequest),
) -> Member {
    let mut join = JoinRequest::new(ContentId([1; 32]), Guid([number; 16]), 7680, mode);
    join.reported_ip = reported
        .iter()
        .map(|ip| ip.parse().expect("an address"))
        .collect();
    set(&mut join);
    Joining::of(&join, seen.parse().expect("an address"), &Sites::default()).member
}

fn at(text: &str) -> Option<(IpAddr, u16)> {
    let address: std::net::SocketAddr = text.parse().expect("an address");
    Some((address.ip(), address.port()))
}

const LAN: DownloadMode = DownloadMode::Lan;
const INTERNET: DownloadMode = DownloadMode::Internet;
const NOTHING: fn(&mut JoinRequest) = |_| {};

#[test]
fn neighbours_meet_by_their_private_addresses() {
    let one = peer(1, LAN, "203.0.113.7", &["192.168.0.1"], NOTHING);
    let two = peer(2, LAN, "203.0.113.7", &["192.168.0.2"], NOTHING);
    assert_eq!(way(&one, &two, PeerType::Lan), at("192.168.0.2:7680"));
    // By IPv6 where that is nearer, or all that both have.
    let three = peer(3, LAN, "203.0.113.7", &["192.168.9.3", "fd00::3"], NOTHING);
    let four = peer(4, LAN, "203.0.113.7", &["192.168.8.4", "fd00::4"], NOTHING);
    assert_eq!(way(&three, &four, PeerType::Lan), at("[fd00::4]:7680"));
    assert_eq!(way(&one, &four, PeerType::Lan), at("192.168.8.4:7680"));
    let five = peer(5, LAN, "2001:db8::5", &["2001:db8::5"], NOTHING);
    assert_eq!(way(&four, &five, PeerType::Lan), at("[2001:db8::5]:7680"));
    assert_eq!(way(&one, &five, PeerType::Lan), None);
}

#[test]
fn nobody_is_told_who_is_of_no_use() {
    let one = peer(1, LAN, "10.0.0.1", &[], NOTHING);
    assert_eq!(way(&one, &one, PeerType::Lan), None, "oneself");
    let seed = |number| peer(number, LAN, "10.0.0.2", &[], |join| join.left = Some(0));
    assert_eq!(
        way(&seed(2), &seed(3), PeerType::Lan),
        None,
        "both have all"
    );
    assert!(way(&one, &seed(3), PeerType::Lan).is_some());
    assert!(way(&seed(3), &one, PeerType::Lan).is_some());
    let deaf = peer(4, LAN, "10.0.0.2", &[], |join| join.port = 0);
    assert_eq!(way(&one, &deaf, PeerType::Lan), None, "no port");
}

#[test]
fn the_restriction_to_a_subnet_holds_in_both_directions() {
    let own = |join: &mut JoinRequest| {
        join.restrict_peer_selection_by = 1;
        join.subnet_mask = Some([255, 255, 255, 0].into());
    };
    let wide = |join: &mut JoinRequest| join.subnet_mask = Some([255, 255, 0, 0].into());
    let one = peer(1, LAN, "10.0.0.1", &[], own);
    let near = peer(2, LAN, "10.0.0.2", &[], wide);
    let other = peer(3, LAN, "10.0.1.3", &[], wide);
    assert_eq!(way(&one, &near, PeerType::Lan), at("10.0.0.2:7680"));
    assert_eq!(way(&near, &one, PeerType::Lan), at("10.0.0.1:7680"));
    assert_eq!(way(&one, &other, PeerType::Lan), None);
    assert_eq!(way(&other, &one, PeerType::Lan), None);
    assert_eq!(way(&other, &near, PeerType::Lan), at("10.0.0.2:7680"));
    assert_eq!(way(&one, &near, PeerType::Group), None);
    // In mode 3 it means nothing.
    let anywhere = peer(4, INTERNET, "10.0.1.4", &[], own);
    assert_eq!(way(&anywhere, &near, PeerType::Lan), at("10.0.0.2:7680"));
    // By IPv6 the subnet is one of 64 bits.
    let six = |number, ip| peer(number, LAN, ip, &[], own);
    let (a, b, c) = (
        six(5, "fd00::5"),
        six(6, "fd00::6"),
        six(7, "fd00:0:0:1::7"),
    );
    assert_eq!(way(&a, &b, PeerType::Lan), at("[fd00::6]:7680"));
    assert_eq!(way(&a, &c, PeerType::Lan), None);
}

#[test]
fn those_elsewhere_meet_by_addresses_that_hold_there() {
    let asker = peer(
        1,
        INTERNET,
        "203.0.113.1",
        &["192.168.0.1", "2001:db8:1::1"],
        NOTHING,
    );
    let natted = peer(2, INTERNET, "203.0.113.2", &["192.168.0.2"], NOTHING);
    assert_eq!(way(&asker, &natted, PeerType::Internet), None);
    assert_eq!(
        way(&asker, &natted, PeerType::Group),
        at("192.168.0.2:7680")
    );
    let forwarded = peer(3, INTERNET, "203.0.113.3", &["192.168.0.3"], |join| {
        join.external_port = Some(17680)
    });
    assert_eq!(
        way(&asker, &forwarded, PeerType::Internet),
        at("203.0.113.3:17680")
    );
    assert_eq!(
        way(&asker, &forwarded, PeerType::Group),
        at("203.0.113.3:17680")
    );
    assert_eq!(
        way(&asker, &forwarded, PeerType::Lan),
        at("192.168.0.3:7680")
    );
    let open = peer(4, INTERNET, "203.0.113.4", &["203.0.113.4"], NOTHING);
    assert_eq!(
        way(&asker, &open, PeerType::Internet),
        at("203.0.113.4:7680")
    );
    let six = peer(
        5,
        INTERNET,
        "203.0.113.5",
        &["192.168.0.5", "2001:db8:5::5"],
        NOTHING,
    );
    assert_eq!(
        way(&asker, &six, PeerType::Internet),
        at("[2001:db8:5::5]:7680")
    );
    assert_eq!(way(&natted, &six, PeerType::Internet), None);
}

#[test]
fn the_near_the_preferred_and_the_idle_come_first() {
    let common = |load: u16| {
        peer(1, LAN, "10.0.0.1", &[], move |join| {
            join.upload_connections = load
        })
    };
    let preferred = peer(2, LAN, "10.0.0.2", &[], |join| {
        join.preferred = true;
        join.upload_connections = 500;
    });
    let most = u64::MAX;
    let order = [
        rank(&preferred, PeerType::Lan, 0, 0, most),
        rank(&common(0), PeerType::Lan, 0, 0, most),
        rank(&common(1), PeerType::Lan, 0, 0, 0),
        rank(&common(1), PeerType::Lan, 1, 0, 0),
        rank(&common(u16::MAX), PeerType::Lan, u16::MAX, 0, most),
        rank(&preferred, PeerType::Group, 0, 0, most),
        rank(&common(0), PeerType::Group, 0, 0, most),
        rank(&preferred, PeerType::Internet, 0, 0, most),
        rank(&common(0), PeerType::Internet, 0, 0, most),
        rank(&preferred, PeerType::Lan, 0, 1, 0),
        rank(&common(0), PeerType::Lan, 0, 1, 0),
    ];
    assert!(order.is_sorted_by(|a, b| a < b), "{order:x?}");
}

#[test]
fn the_lowest_are_chosen_and_never_more_than_wanted() {
    let mut dice = Dice::new(7);
    for wanted in [0, 1, 5, 50] {
        let mut ranked: Vec<(u64, u64)> = (0..20).map(|n| (dice.roll(), n)).collect();
        let mut all = ranked.clone();
        all.sort_unstable();
        all.truncate(wanted);
        choose(&mut ranked, wanted);
        assert_eq!(ranked, all);
    }
}
