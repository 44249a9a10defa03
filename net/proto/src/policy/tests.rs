//! Each row is a setting with a value, and what is decided by it. No row is about how a value is stored.

use super::settings::{GB, KB, MB, PerPriority};
use super::*;
use crate::Time;
use crate::tracker::Guid;
use std::time::Duration;

const MODES: [DownloadMode; 6] = [
    DownloadMode::HttpOnly,
    DownloadMode::Lan,
    DownloadMode::Group,
    DownloadMode::Internet,
    DownloadMode::Simple,
    DownloadMode::Bypass,
];
const KINDS: [PeerType; 3] = [PeerType::Lan, PeerType::Group, PeerType::Internet];

fn device(change: impl FnOnce(&mut Policies)) -> Policies {
    let mut policies = Policies::defaults(Role::Device, Dialect::Y2018);
    change(&mut policies);
    policies
}

/// A machine that nothing keeps from peering.
fn fit() -> Facts {
    Facts {
        ram_available_bytes: Some(64 * GB),
        disk_bytes: Some(1000 * GB),
        vpn: None,
        battery: None,
    }
}

fn configured(policies: &Policies) -> Taken {
    taken(policies, Some(100 * MB), Coordinator::Reachable)
}

fn guid(text: &str) -> Guid {
    text.parse().expect("a GUID")
}

#[test]
fn each_mode_has_its_sources() {
    // Mode; LAN, group and Internet peers; coordinator; cache host.
    let rows = [
        (DownloadMode::HttpOnly, [false; 3], true, true),
        (DownloadMode::Lan, [true, false, false], true, true),
        (DownloadMode::Group, [true, true, false], true, true),
        (DownloadMode::Internet, [true; 3], true, true),
        (DownloadMode::Simple, [false; 3], false, true),
        (DownloadMode::Bypass, [false; 3], false, false),
    ];
    for (mode, kinds, coordinator, cache_host) in rows {
        let policies = device(|p| p.mode = mode);
        assert_eq!(configured(&policies).mode, mode);
        assert_eq!(
            KINDS.map(|kind| mode::peers_with(mode, kind)),
            kinds,
            "{mode:?}"
        );
        assert_eq!(mode::peers(mode), kinds.contains(&true), "{mode:?}");
        assert_eq!(mode::uses_coordinator(mode), coordinator, "{mode:?}");
        assert_eq!(mode::uses_cache_host(mode), cache_host, "{mode:?}");
        let taken = configured(&policies);
        assert_eq!(
            may_download(&policies, &fit(), taken).is_ok(),
            mode::peers(mode)
        );
        for (kind, may) in KINDS.into_iter().zip(kinds) {
            let upload = may_upload(&policies, &fit(), taken, kind);
            assert_eq!(upload.is_ok(), may, "{mode:?} to {kind:?}");
        }
    }
}

#[test]
fn small_files_and_absent_coordinators_make_it_simple() {
    use Coordinator::{Absent, Reachable, Unknown, Unreachable};
    let small = |bytes_min| Some(Why::SmallFile { bytes_min });
    // Mode, least size, dialect, length, coordinator: why it is simple; None where it is as configured.
    let ten = small(10 * MB);
    let (old, new) = (Dialect::Y2018, Dialect::Current);
    let lan = DownloadMode::Lan;
    let rows = [
        (lan, None, old, Some(10 * MB), Reachable, None),
        (lan, None, old, Some(10 * MB - 1), Reachable, ten),
        (lan, None, old, Some(0), Reachable, ten),
        (lan, None, old, None, Unknown, None),
        (lan, None, old, None, Reachable, None),
        (lan, None, old, Some(MB), Absent, ten),
        (lan, None, old, Some(GB), Absent, Some(Why::NoCoordinator)),
        (
            lan,
            None,
            old,
            Some(GB),
            Unreachable,
            Some(Why::CoordinatorUnreachable),
        ),
        (lan, Some(1), old, Some(MB), Reachable, None),
        (lan, Some(1), old, Some(MB - 1), Reachable, small(MB)),
        (
            lan,
            Some(100_000),
            old,
            Some(GB),
            Reachable,
            small(100_000 * MB),
        ),
        (lan, None, new, Some(50 * MB), Reachable, None),
        (lan, None, new, Some(50 * MB - 1), Reachable, small(50 * MB)),
        (DownloadMode::Group, None, old, Some(MB), Reachable, ten),
        (DownloadMode::Internet, None, old, Some(MB), Reachable, ten),
        (DownloadMode::HttpOnly, None, old, Some(MB), Reachable, ten),
        (DownloadMode::Bypass, None, old, Some(MB), Unreachable, None),
        (DownloadMode::Simple, None, old, Some(MB), Absent, None),
    ];
    for row in rows {
        let (mode, least_mb, dialect, length, coordinator, simple) = row;
        let policies = device(|p| {
            (p.mode, p.dialect) = (mode, dialect);
            p.file_bytes_min = least_mb.map(|mb| mb * MB);
        });
        let expected = match simple {
            Some(why) => Taken {
                mode: DownloadMode::Simple,
                why,
            },
            None => Taken {
                mode,
                why: Why::Configured,
            },
        };
        assert_eq!(taken(&policies, length, coordinator), expected, "{row:?}");
    }
}

#[test]
fn what_a_device_is_decides_whether_it_peers() {
    type Change = fn(&mut Policies, &mut Facts);
    // What is set and what is found; may it take from peers, and give to peers of the LAN, the group, the Internet.
    let rows: &[(&str, Change, bool, [bool; 3])] = &[
        ("nothing is set", |_, _| {}, true, [true; 3]),
        (
            "4 GB are enough",
            |_, f| f.ram_available_bytes = Some(4 * GB),
            true,
            [true; 3],
        ),
        (
            "less than 4 GB are not",
            |_, f| f.ram_available_bytes = Some(4 * GB - 1),
            false,
            [false; 3],
        ),
        (
            "unless less is asked for",
            |p, f| (p.ram_bytes_min, f.ram_available_bytes) = (GB, Some(GB)),
            true,
            [true; 3],
        ),
        (
            "or more",
            |p, f| (p.ram_bytes_min, f.ram_available_bytes) = (100_000 * GB, Some(99_999 * GB)),
            false,
            [false; 3],
        ),
        (
            "memory that is not known is no bar",
            |_, f| f.ram_available_bytes = None,
            true,
            [true; 3],
        ),
        (
            "a drive of 32 GB is enough",
            |_, f| f.disk_bytes = Some(32 * GB),
            true,
            [true; 3],
        ),
        (
            "a smaller one is not",
            |_, f| f.disk_bytes = Some(32 * GB - 1),
            false,
            [false; 3],
        ),
        (
            "unless less is asked for",
            |p, f| (p.disk_bytes_min, f.disk_bytes) = (GB, Some(GB)),
            true,
            [true; 3],
        ),
        (
            "a drive that is not known is no bar",
            |_, f| f.disk_bytes = None,
            true,
            [true; 3],
        ),
        (
            "by VPN nothing is shared",
            |_, f| f.vpn = Some("wg0".to_owned()),
            false,
            [false; 3],
        ),
        (
            "unless that is allowed",
            |p, f| {
                p.vpn_peering = true;
                f.vpn = Some("wg0".to_owned());
            },
            true,
            [true; 3],
        ),
        (
            "on battery nothing is given",
            |_, f| f.battery = Some(Battery { percent: Some(100) }),
            true,
            [false; 3],
        ),
        (
            "unless its charge is enough",
            |p, f| {
                p.battery_percent_min = Some(40);
                f.battery = Some(Battery { percent: Some(40) });
            },
            true,
            [true, true, false],
        ),
        (
            "and it is not",
            |p, f| {
                p.battery_percent_min = Some(40);
                f.battery = Some(Battery { percent: Some(39) });
            },
            true,
            [false; 3],
        ),
        (
            "at the most that can be asked for",
            |p, f| {
                p.battery_percent_min = Some(100);
                f.battery = Some(Battery { percent: Some(99) });
            },
            true,
            [false; 3],
        ),
        (
            "at the least",
            |p, f| {
                p.battery_percent_min = Some(1);
                f.battery = Some(Battery { percent: Some(1) });
            },
            true,
            [true, true, false],
        ),
        (
            "or is not known",
            |p, f| {
                p.battery_percent_min = Some(1);
                f.battery = Some(Battery { percent: None });
            },
            true,
            [false; 3],
        ),
    ];
    for (what, change, takes, gives) in rows {
        let mut policies = device(|p| p.mode = DownloadMode::Internet);
        let mut facts = fit();
        change(&mut policies, &mut facts);
        let taken = configured(&policies);
        let download = may_download(&policies, &facts, taken);
        assert_eq!(download.is_ok(), *takes, "{what}: {download:?}");
        for (kind, may) in KINDS.into_iter().zip(gives) {
            let upload = may_upload(&policies, &facts, taken, kind);
            assert_eq!(upload.is_ok(), *may, "{what}, to {kind:?}: {upload:?}");
        }
    }
}

#[test]
fn the_reason_is_given_in_words() {
    let policies = device(|_| {});
    let said = |facts: &Facts| {
        let bar = may_upload(&policies, facts, configured(&policies), PeerType::Lan);
        bar.expect_err("barred").to_string()
    };
    let mut facts = fit();
    facts.ram_available_bytes = Some(GB + GB / 2);
    assert_eq!(
        said(&facts),
        "1.5 GB of memory are available, and DOMinRAMAllowedToPeer asks for 4.0 GB"
    );
    facts = fit();
    facts.battery = Some(Battery { percent: None });
    assert_eq!(
        said(&facts),
        "it runs on battery, and DOMinBatteryPercentageAllowedToUpload is not set"
    );
    let simple = taken(&policies, Some(1), Coordinator::Reachable);
    let bar = may_download(&policies, &fit(), simple).expect_err("barred");
    assert_eq!(
        bar.to_string(),
        "download mode 99 has no such peers (the file is smaller than 10 MB, so it is not worth peers \
         (DOMinFileSizeToCache))"
    );
}

#[test]
fn an_appliance_peers_on_what_it_was_given() {
    let policies = Policies::defaults(Role::Appliance, Dialect::Y2018);
    let facts = Facts {
        ram_available_bytes: Some(GB / 2),
        disk_bytes: Some(8 * GB),
        vpn: Some("wg-admin".to_owned()),
        battery: None,
    };
    let taken = configured(&policies);
    assert_eq!(taken.mode, DownloadMode::Group);
    assert_eq!(may_upload(&policies, &facts, taken, PeerType::Lan), Ok(()));
    assert!(policies.is_preferred());
    assert!(!device(|_| {}).is_preferred());
    assert!(device(|p| p.cache_age_s_max = None).is_preferred());
}

#[test]
fn an_interface_is_a_vpn_by_its_kind_or_its_name() {
    let policies = device(|p| p.vpn_keywords = vec!["corp".to_owned()]);
    let rows = [
        ("eth0", None, false),
        ("wlan0", Some("wlan"), false),
        ("tun0", Some("tun"), true),
        ("wg0", Some("wireguard"), true),
        ("ppp0", Some("ppp"), true),
        ("CorpNet", Some("ether"), true),
        ("br0", Some("bridge"), false),
    ];
    for (name, kind, vpn) in rows {
        assert_eq!(is_vpn(&policies, name, kind), vpn, "{name}");
    }
    let taken = configured(&policies);
    let by_vpn = Facts {
        vpn: Some("wg0".to_owned()),
        ..fit()
    };
    let strict = device(|p| p.vpn_cache_host = false);
    assert!(eligibility::may_use_cache_host(&policies, &by_vpn, taken));
    assert!(!eligibility::may_use_cache_host(&strict, &by_vpn, taken));
    assert!(eligibility::may_use_cache_host(&strict, &fit(), taken));
}

#[test]
fn a_group_is_one_guid_from_one_source() {
    let id = guid("7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab");
    let offered = "{00000000-0000-0000-0000-0000000000AA}";
    let names = Names {
        ad_site: Some("Berlin".to_owned()),
        domain_sid: Some("S-1-5-21-1-2-3".to_owned()),
        dhcp_option: Some(offered.to_owned()),
        dns_suffix: Some("corp.example".to_owned()),
        ..Names::default()
    };
    let (old, new) = (Dialect::Y2018, Dialect::Current);
    let source = |number| GroupSource::of(number, new);
    let silent = |number| Group::SamePublicAddress {
        silent: source(number),
    };
    let by_site = group(
        &device(|p| {
            p.mode = DownloadMode::Group;
            p.group_source = source(1);
        }),
        &names,
    );
    assert!(matches!(by_site, Group::Of(..)), "{by_site}");
    let own = Group::Of(id, GroupFrom::Configured);
    let by_dhcp = Group::Of(guid(offered), GroupFrom::Source(GroupSource::DhcpOption));
    let none = Names::default();
    // Mode, dialect, DOGroupID, DOGroupIdSource, what is found: the group.
    let group_mode = DownloadMode::Group;
    let rows = [
        (group_mode, old, Some(id), 0, &names, own),
        (group_mode, old, Some(id), 3, &names, by_dhcp),
        (group_mode, new, Some(id), 3, &names, own),
        (group_mode, new, None, 3, &names, by_dhcp),
        (group_mode, old, Some(id), 3, &none, silent(3)),
        (group_mode, old, None, 0, &names, by_site),
        (
            group_mode,
            old,
            None,
            0,
            &none,
            Group::SamePublicAddress { silent: None },
        ),
        (group_mode, new, None, 5, &names, silent(5)),
        (DownloadMode::Lan, old, Some(id), 3, &names, Group::None),
        (
            DownloadMode::Internet,
            old,
            Some(id),
            0,
            &names,
            Group::None,
        ),
        (DownloadMode::Simple, old, Some(id), 0, &names, Group::None),
    ];
    for (mode, dialect, id, number, names, expected) in rows {
        let policies = device(|p| {
            (p.mode, p.dialect, p.group_id) = (mode, dialect, id);
            p.group_source = GroupSource::of(number, dialect);
        });
        let found = group(&policies, names);
        assert_eq!(
            found, expected,
            "{mode:?} {dialect:?} {id:?} {number}: {found}"
        );
    }
}

#[test]
fn a_group_named_by_words_is_the_same_everywhere_and_no_other() {
    let of = |number, names: &Names| {
        let policies = device(|p| {
            p.mode = DownloadMode::Group;
            p.group_source = GroupSource::of(number, Dialect::Y2018);
        });
        group(&policies, names).id()
    };
    let names = |name: &str| Names {
        ad_site: Some(name.to_owned()),
        domain_sid: Some(name.to_owned()),
        dns_suffix: Some(name.to_owned()),
        dhcp_option: Some(name.to_owned()),
        ..Names::default()
    };
    let berlin = of(1, &names("Berlin"));
    assert_eq!(
        berlin,
        of(1, &names(" BERLIN ")),
        "case and blanks are none"
    );
    assert_ne!(berlin, of(1, &names("Bern")));
    assert_ne!(berlin, of(2, &names("Berlin")), "a domain is not a site");
    assert_ne!(of(4, &names("Berlin")), of(2, &names("Berlin")));
    assert_eq!(of(3, &names("Berlin")), None, "DHCP must name a GUID");
    assert_eq!(of(1, &names("  ")), None, "nothing is no name");
    let id = berlin.expect("a group").0;
    assert_eq!((id[6] >> 4, id[8] >> 6), (8, 2), "a GUID of version 8");
    for (number, dialect, known) in [
        (0, Dialect::Y2018, false),
        (4, Dialect::Y2018, true),
        (5, Dialect::Y2018, false),
        (5, Dialect::Current, true),
        (6, Dialect::Current, false),
        (u64::MAX, Dialect::Y2018, false),
    ] {
        assert_eq!(
            GroupSource::of(number, dialect).is_some(),
            known,
            "{number}"
        );
    }
}

#[test]
fn peers_are_restricted_to_the_subnet_in_modes_1_and_2() {
    for mode in MODES {
        let policies = device(|p| (p.mode, p.same_subnet_only) = (mode, true));
        let restricts = matches!(mode, DownloadMode::Lan | DownloadMode::Group);
        assert_eq!(mode::same_subnet_only(&policies), restricts, "{mode:?}");
        assert!(!mode::same_subnet_only(&device(|p| p.mode = mode)));
    }
}

#[test]
fn http_waits_only_while_peers_may_bring() {
    let began = Time::from_micros(7_000_000);
    let seconds = |s| began + Duration::from_secs(s);
    let policies = device(|p| {
        p.http_delay_s = PerPriority {
            foreground: 60,
            background: 3600,
        };
        p.fallback_delay_s = PerPriority {
            foreground: 5,
            background: 0,
        };
    });
    let unset = device(|_| {});
    let (fore, back) = (Priority::Foreground, Priority::Background);
    let rows = [
        (&policies, fore, true, seconds(60)),
        (&policies, back, true, seconds(3600)),
        (&policies, fore, false, began),
        (&policies, back, false, began),
        (&unset, fore, true, began),
        (&unset, back, true, began),
    ];
    for (policies, priority, peers, expected) in rows {
        let at = delay::http_not_before(policies, priority, began, peers);
        assert_eq!(at, expected, "{priority:?}, peers: {peers}");
    }
    let endless = device(|p| p.http_delay_s = PerPriority::both(u64::from(u32::MAX)));
    let at = delay::http_not_before(&endless, fore, began, true);
    assert_eq!(at.since(began), Duration::from_secs(u64::from(u32::MAX)));
    let patience = |priority| delay::cache_host_patience(&policies, priority);
    assert_eq!(patience(fore), Duration::from_secs(5));
    assert_eq!(patience(back), Duration::ZERO);
}

#[test]
fn the_cache_is_bounded_by_percent_size_and_age() {
    let limit = |policies: &Policies| {
        let limit = cache::limit(policies);
        (limit.percent, limit.bytes)
    };
    assert_eq!(limit(&device(|_| {})), (20, None));
    let appliance = Policies::defaults(Role::Appliance, Dialect::Y2018);
    assert_eq!(limit(&appliance), (80, None));
    let both = device(|p| (p.cache_percent_max, p.cache_bytes_max) = (1, Some(10 * GB)));
    assert_eq!(
        limit(&both).1,
        Some(10 * GB),
        "the size beats the percentage"
    );
    let old = |policies: &Policies, age| cache::is_too_old(policies, 1_000_000, 1_000_000 + age);
    let device = device(|_| {});
    assert!(!old(&device, 259_199));
    assert!(old(&device, 259_200), "three days");
    assert!(!old(&appliance, u64::from(u32::MAX)), "never");
    assert!(
        !cache::is_too_old(&device, 1_000_000, 5),
        "a clock that was set back makes nothing old"
    );
}

#[test]
fn the_defaults_are_those_of_the_seed() {
    let device = Policies::defaults(Role::Device, Dialect::Y2018);
    assert_eq!(device.mode, DownloadMode::Lan);
    assert_eq!(device.background_bytes_s_min, 500 * KB);
    assert_eq!(device.upload_month_bytes_max, 20 * GB);
    assert_eq!(
        (device.download_bytes_s_max, device.upload_bytes_s_max),
        (0, 0)
    );
    let current = Policies::defaults(Role::Device, Dialect::Current);
    assert_eq!(current.background_bytes_s_min, 2500 * KB);
}
