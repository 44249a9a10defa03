//! Who is served, case by case: kind of peer by its address, then mode, subnet, battery, VPN and cap.

use super::super::settings::GB;
use super::super::{Battery, Dialect, Role};
use super::*;

fn around() -> Around {
    Around {
        networks: vec![
            "192.168.7.0/24".parse().expect("a network"),
            "100.64.9.0/24".parse().expect("a network"),
            "2001:db8:1:1::/64".parse().expect("a network"),
        ],
        external: Some("203.0.113.7".parse().expect("an address")),
    }
}

#[test]
fn what_a_peer_is_shows_in_where_it_is_seen() {
    for (from, of_group, kind, same_subnet) in [
        ("127.0.0.1", false, PeerType::Lan, true),
        ("::1", false, PeerType::Lan, true),
        ("192.168.7.9", false, PeerType::Lan, true),
        ("::ffff:192.168.7.9", true, PeerType::Lan, true),
        ("192.168.8.9", false, PeerType::Lan, false),
        ("10.1.2.3", true, PeerType::Lan, false),
        ("172.16.0.1", false, PeerType::Lan, false),
        ("169.254.1.1", false, PeerType::Lan, false),
        ("fd00::9", false, PeerType::Lan, false),
        ("fe80::9", false, PeerType::Lan, false),
        ("100.64.9.9", false, PeerType::Lan, true),
        ("100.64.8.9", false, PeerType::Internet, false),
        ("203.0.113.7", false, PeerType::Lan, false),
        ("203.0.113.8", false, PeerType::Internet, false),
        ("203.0.113.8", true, PeerType::Group, false),
        ("2001:db8:1:1::9", false, PeerType::Lan, true),
        ("2001:db8:1:2::9", false, PeerType::Internet, false),
        ("2001:db8:1:2::9", true, PeerType::Group, false),
    ] {
        let near = around().near(from.parse().expect("an address"), of_group);
        assert_eq!(near, Near { kind, same_subnet }, "{from} {of_group}");
    }
    let behind_v6 = Around {
        networks: Vec::new(),
        external: Some("2001:db8:5:5::1".parse().expect("an address")),
    };
    let near = behind_v6.near("2001:db8:5:5::2".parse().expect("an address"), false);
    assert_eq!(near.kind, PeerType::Lan, "behind the same public network");
}

const KINDS: [PeerType; 3] = [PeerType::Lan, PeerType::Group, PeerType::Internet];

fn served(policies: &Policies, facts: &Facts, month_bytes: u64) -> [bool; 3] {
    KINDS.map(|kind| {
        let same_subnet = false;
        may_serve(policies, facts, Near { kind, same_subnet }, month_bytes).is_ok()
    })
}

#[test]
fn each_mode_answers_its_own() {
    for (mode, who) in [
        (DownloadMode::HttpOnly, [false; 3]),
        (DownloadMode::Lan, [true, false, false]),
        (DownloadMode::Group, [true, true, false]),
        (DownloadMode::Internet, [true; 3]),
        (DownloadMode::Simple, [false; 3]),
        (DownloadMode::Bypass, [false; 3]),
    ] {
        let mut policies = Policies::defaults(Role::Appliance, Dialect::Y2018);
        policies.mode = mode;
        assert_eq!(served(&policies, &Facts::default(), 0), who, "{mode:?}");
        let answered = KINDS.map(|kind| {
            let same_subnet = false;
            is_answered(&policies, Near { kind, same_subnet }).is_ok()
        });
        assert_eq!(answered, who, "{mode:?}");
    }
}

#[test]
fn only_the_subnet_is_answered_where_that_is_set() {
    let mut policies = Policies::defaults(Role::Appliance, Dialect::Y2018);
    policies.same_subnet_only = true;
    let lan = |same_subnet| Near {
        kind: PeerType::Lan,
        same_subnet,
    };
    for (mode, elsewhere) in [
        (DownloadMode::Lan, Err(Bar::Subnet)),
        (DownloadMode::Group, Err(Bar::Subnet)),
        // "Applies to both Download Modes LAN (1) and Group (2)" (seed), and to no other.
        (DownloadMode::Internet, Ok(())),
    ] {
        policies.mode = mode;
        assert_eq!(is_answered(&policies, lan(true)), Ok(()), "{mode:?}");
        assert_eq!(is_answered(&policies, lan(false)), elsewhere, "{mode:?}");
    }
}

#[test]
fn a_battery_serves_near_peers_above_its_mark() {
    let mut policies = Policies::defaults(Role::Device, Dialect::Y2018);
    policies.mode = DownloadMode::Internet;
    for (least, charge, who) in [
        (None, None, [true; 3]),
        (None, Some(Some(100)), [false; 3]),
        (Some(40), Some(Some(39)), [false; 3]),
        (Some(40), Some(Some(40)), [true, true, false]),
        (Some(40), Some(None), [false; 3]),
    ] {
        policies.battery_percent_min = least;
        let battery = charge.map(|percent| Battery { percent });
        let facts = Facts {
            battery,
            ..Facts::default()
        };
        assert_eq!(served(&policies, &facts, 0), who, "{least:?} {charge:?}");
    }
}

#[test]
fn a_vpn_ends_it_unless_that_is_allowed() {
    let mut policies = Policies::defaults(Role::Device, Dialect::Y2018);
    policies.mode = DownloadMode::Internet;
    let facts = Facts {
        vpn: Some("wg0".to_owned()),
        ..Facts::default()
    };
    assert_eq!(served(&policies, &facts, 0), [false; 3]);
    policies.vpn_peering = true;
    assert_eq!(served(&policies, &facts, 0), [true; 3]);
}

#[test]
fn the_cap_is_for_internet_peers_alone() {
    let mut policies = Policies::defaults(Role::Device, Dialect::Y2018);
    policies.mode = DownloadMode::Internet;
    let facts = Facts::default();
    assert_eq!(served(&policies, &facts, 20 * GB - 1), [true; 3]);
    assert_eq!(served(&policies, &facts, 20 * GB), [true, true, false]);
    policies.upload_month_bytes_max = 0;
    assert_eq!(served(&policies, &facts, u64::MAX), [true; 3], "unlimited");
}
