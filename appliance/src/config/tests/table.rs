//! Each setting with each class of value, as it stands in a file, and what is decided by it on a device. No row is about
//! how a value is stored: each asks the rules.

use super::super::policy_names;
use super::{accepted, errors};
use larder_proto::Time;
use larder_proto::policy::settings::{GB, KB, MB};
use larder_proto::policy::{
    Battery, Coordinator, Facts, Group, Names, PeerType, Policies, Priority, Role, Taken, cache,
    cache_host, delay, eligibility, group, is_vpn, may_download, may_upload, mode, taken,
};
use larder_storage::limits::SizeLimit;
use std::time::Duration;

type Holds = fn(&Policies) -> bool;

fn fit() -> Facts {
    Facts {
        ram_available_bytes: Some(64 * GB),
        disk_bytes: Some(1000 * GB),
        vpn: None,
        battery: None,
    }
}

fn of_size(p: &Policies, bytes: u64) -> Taken {
    taken(p, Some(bytes), Coordinator::Reachable)
}

fn takes(p: &Policies, facts: &Facts) -> bool {
    may_download(p, facts, of_size(p, 1000 * GB)).is_ok()
}

fn gives(p: &Policies, facts: &Facts, to: PeerType) -> bool {
    may_upload(p, facts, of_size(p, 1000 * GB), to).is_ok()
}

/// Which of LAN, group and Internet peers are given to.
fn kinds(p: &Policies) -> [bool; 3] {
    [PeerType::Lan, PeerType::Group, PeerType::Internet].map(|kind| gives(p, &fit(), kind))
}

fn with_ram(p: &Policies, gb: u64) -> bool {
    let facts = Facts {
        ram_available_bytes: Some(gb * GB),
        ..fit()
    };
    takes(p, &facts)
}

fn with_disk(p: &Policies, gb: u64) -> bool {
    let facts = Facts {
        disk_bytes: Some(gb * GB),
        ..fit()
    };
    takes(p, &facts)
}

fn by_vpn(p: &Policies) -> bool {
    let facts = Facts {
        vpn: Some("wg0".to_owned()),
        ..fit()
    };
    takes(p, &facts)
}

fn asks_by_vpn(p: &Policies) -> bool {
    let facts = Facts {
        vpn: Some("wg0".to_owned()),
        ..fit()
    };
    eligibility::may_use_cache_host(p, &facts, of_size(p, GB))
}

/// Whether it gives, and takes, with a battery of this charge.
fn on_battery(p: &Policies, percent: u8) -> (bool, bool) {
    let facts = Facts {
        battery: Some(Battery {
            percent: Some(percent),
        }),
        ..fit()
    };
    (gives(p, &facts, PeerType::Lan), takes(p, &facts))
}

/// What the cache may have of 100 GB, of which it has 20 itself.
fn cap(p: &Policies) -> u64 {
    let limit = cache::limit(p);
    let limit = SizeLimit {
        percent: limit.percent,
        absolute: limit.bytes,
    };
    limit.cap(80 * GB, 20 * GB)
}

fn http_after(p: &Policies, priority: Priority) -> Duration {
    let began = Time::from_micros(0);
    delay::http_not_before(p, priority, began, true).since(began)
}

fn group_of(p: &Policies) -> Option<String> {
    let names = Names {
        dhcp_option: Some("00000000-0000-0000-0000-0000000000aa".to_owned()),
        dns_suffix: Some("corp.example".to_owned()),
        ..Names::default()
    };
    let found: Group = group::group(p, &names);
    found.id().map(|id| id.to_string())
}

fn asked(p: &Policies) -> Vec<String> {
    cache_host::hosts(p, Some("of-dhcp"))
}

const OWN: &str = "7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab";
const OF_DHCP: &str = "00000000-0000-0000-0000-0000000000aa";
const SECONDS: Duration = Duration::from_secs(4_294_967_295);

const ROWS: &[(&str, &str, Holds)] = &[
    // Which peers there are.
    ("unset", "", |p| kinds(p) == [true, false, false]),
    ("minimum", "DODownloadMode = 0", |p| {
        kinds(p) == [false; 3] && asks_by_vpn(p)
    }),
    ("a value", "DODownloadMode = 1", |p| {
        kinds(p) == [true, false, false]
    }),
    ("a value", "DODownloadMode = 2", |p| {
        kinds(p) == [true, true, false]
    }),
    ("a value", "DODownloadMode = 3", |p| kinds(p) == [true; 3]),
    ("a value", "DODownloadMode = 99", |p| {
        kinds(p) == [false; 3] && asks_by_vpn(p)
    }),
    ("maximum", "DODownloadMode = 100", |p| {
        kinds(p) == [false; 3] && !asks_by_vpn(p)
    }),
    ("a value", "DODownloadMode = 3", |p| {
        mode::peers(p.mode) && taken(p, Some(GB), Coordinator::Unreachable).mode != p.mode
    }),
    // Whose they are.
    ("unset", "DODownloadMode = 2", |p| group_of(p).is_none()),
    (
        "a value",
        "DODownloadMode = 2\nDOGroupID = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"",
        |p| group_of(p).as_deref() == Some(OWN),
    ),
    (
        "another mode",
        "DODownloadMode = 1\nDOGroupID = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"",
        |p| group_of(p).is_none(),
    ),
    ("minimum", "DODownloadMode = 2\nDOGroupIdSource = 0", |p| {
        group_of(p).is_none()
    }),
    ("a value", "DODownloadMode = 2\nDOGroupIdSource = 3", |p| {
        group_of(p).as_deref() == Some(OF_DHCP)
    }),
    ("maximum", "DODownloadMode = 2\nDOGroupIdSource = 4", |p| {
        group_of(p).is_some_and(|id| id != OF_DHCP)
    }),
    (
        "out of range, ignored",
        "DODownloadMode = 2\nDOGroupIdSource = 77",
        |p| group_of(p).is_none(),
    ),
    (
        "precedence",
        "DODownloadMode = 2\nDOGroupIdSource = 3\nDOGroupID = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"",
        |p| group_of(p).as_deref() == Some(OF_DHCP),
    ),
    (
        "precedence",
        "policy_dialect = \"current\"\nDODownloadMode = 2\nDOGroupIdSource = 3\nDOGroupID = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"",
        |p| group_of(p).as_deref() == Some(OWN),
    ),
    ("unset", "", |p| !mode::same_subnet_only(p)),
    ("minimum", "DORestrictPeerSelectionBy = 0", |p| {
        !mode::same_subnet_only(p)
    }),
    (
        "a value",
        "DORestrictPeerSelectionBy = 1",
        mode::same_subnet_only,
    ),
    (
        "another mode",
        "DODownloadMode = 3\nDORestrictPeerSelectionBy = 1",
        |p| !mode::same_subnet_only(p),
    ),
    // Whether this device may.
    ("unset", "", |p| with_ram(p, 4) && !with_ram(p, 3)),
    ("minimum", "DOMinRAMAllowedToPeer = 1", |p| {
        with_ram(p, 1) && !with_ram(p, 0)
    }),
    ("maximum", "DOMinRAMAllowedToPeer = 100000", |p| {
        with_ram(p, 100_000) && !with_ram(p, 99_999)
    }),
    ("unset", "", |p| with_disk(p, 32) && !with_disk(p, 31)),
    ("minimum", "DOMinDiskSizeAllowedToPeer = 1", |p| {
        with_disk(p, 1) && !with_disk(p, 0)
    }),
    ("maximum", "DOMinDiskSizeAllowedToPeer = 100000", |p| {
        with_disk(p, 100_000) && !with_disk(p, 99_999)
    }),
    ("unset", "", |p| !by_vpn(p)),
    ("minimum", "DOAllowVPNPeerCaching = false", |p| !by_vpn(p)),
    ("maximum", "DOAllowVPNPeerCaching = true", by_vpn),
    ("unset", "", |p| {
        is_vpn(p, "x", Some("wireguard")) && !is_vpn(p, "corp0", None)
    }),
    ("a value", "DOVpnKeywords = \"Corp\"", |p| {
        is_vpn(p, "corp0", None) && !is_vpn(p, "eth0", None)
    }),
    ("empty", "DOVpnKeywords = \" , \"", |p| {
        !is_vpn(p, "corp0", None)
    }),
    ("unset", "", |p| on_battery(p, 100) == (false, true)),
    (
        "minimum",
        "DOMinBatteryPercentageAllowedToUpload = 1",
        |p| on_battery(p, 50) == (true, true),
    ),
    (
        "a value",
        "DOMinBatteryPercentageAllowedToUpload = 60",
        |p| on_battery(p, 59) == (false, true) && on_battery(p, 61) == (true, true),
    ),
    (
        "maximum",
        "DOMinBatteryPercentageAllowedToUpload = 100",
        |p| on_battery(p, 99) == (false, true),
    ),
    ("unset", "", |p| {
        mode::peers(of_size(p, 10 * MB).mode) && !mode::peers(of_size(p, 10 * MB - 1).mode)
    }),
    ("minimum", "DOMinFileSizeToCache = 1", |p| {
        mode::peers(of_size(p, MB).mode) && !mode::peers(of_size(p, MB - 1).mode)
    }),
    ("maximum", "DOMinFileSizeToCache = 100000", |p| {
        mode::peers(of_size(p, 100_000 * MB).mode)
            && !mode::peers(of_size(p, 100_000 * MB - 1).mode)
    }),
    ("unset, of 2024", "policy_dialect = \"current\"", |p| {
        mode::peers(of_size(p, 50 * MB).mode) && !mode::peers(of_size(p, 50 * MB - 1).mode)
    }),
    // How much is kept, and for how long.
    ("unset", "", |p| cap(p) == 20 * GB),
    ("minimum", "DOMaxCacheSize = 1", |p| cap(p) == GB),
    ("maximum", "DOMaxCacheSize = 100", |p| cap(p) == 100 * GB),
    ("minimum", "DOAbsoluteMaxCacheSize = 1", |p| cap(p) == GB),
    ("maximum", "DOAbsoluteMaxCacheSize = 4000000", |p| {
        cap(p) == 4_000_000 * GB
    }),
    (
        "precedence",
        "DOAbsoluteMaxCacheSize = 3\nDOMaxCacheSize = 100",
        |p| cap(p) == 3 * GB,
    ),
    ("unset", "", |p| {
        cache::is_too_old(p, 0, 259_200) && !cache::is_too_old(p, 0, 259_199) && !p.is_preferred()
    }),
    ("minimum, unlimited", "DOMaxCacheAge = 0", |p| {
        !cache::is_too_old(p, 0, u64::MAX) && p.is_preferred()
    }),
    ("a value", "DOMaxCacheAge = 60", |p| {
        cache::is_too_old(p, 40, 100) && !cache::is_too_old(p, 41, 100)
    }),
    ("maximum", "DOMaxCacheAge = 4294967295", |p| {
        !cache::is_too_old(p, 0, 4_294_967_294) && cache::is_too_old(p, 0, 4_294_967_295)
    }),
    ("a clock set back", "DOMaxCacheAge = 60", |p| {
        !cache::is_too_old(p, 100, 40)
    }),
    // When HTTP is used.
    ("unset", "", |p| {
        http_after(p, Priority::Foreground).is_zero()
    }),
    ("minimum", "DODelayForegroundDownloadFromHttp = 0", |p| {
        http_after(p, Priority::Foreground).is_zero()
    }),
    ("a value", "DODelayForegroundDownloadFromHttp = 9", |p| {
        http_after(p, Priority::Foreground) == Duration::from_secs(9)
            && http_after(p, Priority::Background).is_zero()
    }),
    (
        "maximum",
        "DODelayForegroundDownloadFromHttp = 4294967295",
        |p| http_after(p, Priority::Foreground) == SECONDS,
    ),
    ("unset", "", |p| {
        http_after(p, Priority::Background).is_zero()
    }),
    ("minimum", "DODelayBackgroundDownloadFromHttp = 0", |p| {
        http_after(p, Priority::Background).is_zero()
    }),
    ("a value", "DODelayBackgroundDownloadFromHttp = 9", |p| {
        http_after(p, Priority::Background) == Duration::from_secs(9)
            && http_after(p, Priority::Foreground).is_zero()
    }),
    (
        "maximum",
        "DODelayBackgroundDownloadFromHttp = 4294967295",
        |p| http_after(p, Priority::Background) == SECONDS,
    ),
    ("unset", "", |p| {
        delay::cache_host_patience(p, Priority::Foreground).is_zero()
    }),
    ("a value", "DODelayCacheServerFallbackForeground = 7", |p| {
        delay::cache_host_patience(p, Priority::Foreground) == Duration::from_secs(7)
            && delay::cache_host_patience(p, Priority::Background).is_zero()
    }),
    (
        "maximum",
        "DODelayCacheServerFallbackForeground = 4294967295",
        |p| delay::cache_host_patience(p, Priority::Foreground) == SECONDS,
    ),
    ("a value", "DODelayCacheServerFallbackBackground = 7", |p| {
        delay::cache_host_patience(p, Priority::Background) == Duration::from_secs(7)
            && delay::cache_host_patience(p, Priority::Foreground).is_zero()
    }),
    (
        "maximum",
        "DODelayCacheServerFallbackBackground = 4294967295",
        |p| delay::cache_host_patience(p, Priority::Background) == SECONDS,
    ),
    // Who is asked before the origin.
    ("unset", "", |p| asked(p).is_empty()),
    ("a value", "DOCacheHost = \"b, a:8080\"", |p| {
        asked(p) == ["b", "a:8080"]
    }),
    ("minimum", "DOCacheHostSource = 0", |p| asked(p).is_empty()),
    ("a value", "DOCacheHostSource = 1", |p| {
        asked(p) == ["of-dhcp"]
    }),
    (
        "maximum",
        "DOCacheHostSource = 2\nDOCacheHost = \"a\"",
        |p| asked(p) == ["of-dhcp"],
    ),
    (
        "precedence",
        "DOCacheHostSource = 1\nDOCacheHost = \"a\"",
        |p| asked(p) == ["a"],
    ),
    ("unset", "", asks_by_vpn),
    (
        "minimum",
        "DODisallowCacheServerDownloadsOnVPN = false",
        asks_by_vpn,
    ),
    (
        "maximum",
        "DODisallowCacheServerDownloadsOnVPN = true",
        |p| !asks_by_vpn(p),
    ),
    ("unset", "", |p| p.background_bytes_s_min == 500 * KB),
];

#[test]
fn each_value_decides_what_it_should() {
    for (class, lines, holds) in ROWS {
        let checked = accepted(&format!("[policy]\n{lines}\n"));
        assert!(
            holds(&checked.policy.typed(Role::Device)),
            "{class}: {lines:?}"
        );
    }
}

/// A file with one of these is refused, so that whoever serves goes on by what was before.
#[test]
fn what_is_out_of_range_or_of_another_type_is_refused() {
    for name in policy_names() {
        let mut values = vec!["[1]", "1979-05-27", "1.5"];
        if !matches!(name, "DOGroupIdSource") {
            values.push("-1");
            values.push("4294967296000");
        }
        for value in values {
            let told = errors(&format!("[policy]\n{name} = {value}\n"));
            assert!(
                told.contains(&format!("policy.{name}: ")),
                "{name} = {value}: {told}"
            );
        }
    }
}
