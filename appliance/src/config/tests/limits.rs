//! Each setting of bandwidth and hours with each class of value, as it stands in a file, and what downloads get under it.
//! The rule: a limit in KB/s is tried on a reader in virtual time; of a percentage it is asked what it comes to on a line
//! that brings 10,000 KB/s.

use super::{accepted, errors};
use larder_proto::Time;
use larder_proto::bandwidth::{Flow, Governor};
use larder_proto::bucket::Take;
use larder_proto::policy::bandwidth::{Rates, limits};
use larder_proto::policy::settings::{GB, KB};
use larder_proto::policy::{Policies, Priority, Role};
use std::time::Duration;

use Priority::{Background, Foreground};

type Holds = fn(&Policies) -> bool;

/// Monday, 6 July 2026, noon UTC.
const NOON: u64 = 1_783_339_200;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// KB/s that a reader gets who takes all that he may, by the line or from a peer of the LAN; None is as much as there is.
fn gets(p: &Policies, priority: Priority, by_line: bool) -> Option<u64> {
    let mut governor = Governor::new(Time::from_micros(0));
    governor.set(p, NOON, Time::from_micros(0));
    let flow = Flow {
        download: 1,
        priority,
        by_line,
    };
    let (mut now, mut bytes) = (Time::from_micros(0), 0);
    let (from, until) = (now + Duration::from_secs(2), now + Duration::from_secs(12));
    while now < until {
        match governor.take(&flow, 64 * KB, now) {
            Take::Granted(granted) => {
                governor.came(&flow, granted, now);
                if now >= from {
                    bytes += granted;
                }
                // Nobody is limited who gets 12 GB in less than no time.
                if bytes == 0 && now == Time::from_micros(0) && granted == 64 * KB {
                    let all = (0..200_000).all(|_| {
                        matches!(governor.take(&flow, 64 * KB, now), Take::Granted(n) if n == 64 * KB)
                    });
                    if all {
                        return None;
                    }
                }
            }
            Take::Later(at) => now = at.max(now + Duration::from_millis(1)),
        }
    }
    Some(bytes / 10 / KB)
}

/// Within two in a hundred, and never more than a limit of so many KB/s.
fn about(got: Option<u64>, limit: u64) -> bool {
    got.is_some_and(|got| got * 100 >= limit * 98 && got * 100 <= limit * 102)
}

/// What all limits come to at a time, in bytes a second, on a line of 10,000 KB/s.
fn rates(p: &Policies, unix: u64) -> Rates {
    limits(p, unix).rates(Some(10_000 * KB))
}

fn yields(p: &Policies) -> bool {
    let mut governor = Governor::new(Time::from_micros(0));
    governor.set(p, NOON, Time::from_micros(0));
    governor.window(1).is_some()
}

/// What the background may take at so many hours after the noon of a Monday, in percent; 0 is all.
fn percent(p: &Policies, hours: u64) -> u64 {
    rates(p, NOON + hours * HOUR).background / (100 * KB)
}

const ROWS: &[(&str, &str, Holds)] = &[
    // Of everything.
    ("unset", "", |p| {
        [Foreground, Background]
            .iter()
            .all(|of| gets(p, *of, true).is_none())
    }),
    ("minimum, dynamic", "DOMaxDownloadBandwidth = 0", |p| {
        gets(p, Background, true).is_none() && yields(p)
    }),
    ("one", "DOMaxDownloadBandwidth = 1", |p| {
        rates(p, NOON).all == KB
    }),
    ("a value", "DOMaxDownloadBandwidth = 100", |p| {
        about(gets(p, Foreground, true), 100) && about(gets(p, Background, true), 100)
    }),
    (
        "of peers of the LAN, too",
        "DOMaxDownloadBandwidth = 100",
        |p| about(gets(p, Foreground, false), 100),
    ),
    ("a large value", "DOMaxDownloadBandwidth = 102400", |p| {
        about(gets(p, Background, true), 102_400)
    }),
    ("maximum", "DOMaxDownloadBandwidth = 4294967295", |p| {
        rates(p, NOON).all == 4_294_967_295 * KB
    }),
    (
        "what is for all does not keep a background from yielding",
        "DOMaxDownloadBandwidth = 100",
        yields,
    ),
    // Of those that somebody waits for.
    (
        "minimum, dynamic",
        "DOMaxForegroundDownloadBandwidth = 0",
        |p| gets(p, Foreground, true).is_none(),
    ),
    ("a value", "DOMaxForegroundDownloadBandwidth = 300", |p| {
        about(gets(p, Foreground, true), 300)
    }),
    (
        "of the others",
        "DOMaxForegroundDownloadBandwidth = 300",
        |p| gets(p, Background, true).is_none() && yields(p),
    ),
    (
        "of peers of the LAN",
        "DOMaxForegroundDownloadBandwidth = 300",
        |p| gets(p, Foreground, false).is_none(),
    ),
    (
        "maximum",
        "DOMaxForegroundDownloadBandwidth = 4294967295",
        |p| rates(p, NOON).foreground == 4_294_967_295 * KB,
    ),
    // Of the others.
    (
        "minimum, dynamic",
        "DOMaxBackgroundDownloadBandwidth = 0",
        |p| gets(p, Background, true).is_none() && yields(p),
    ),
    ("a value", "DOMaxBackgroundDownloadBandwidth = 300", |p| {
        about(gets(p, Background, true), 300) && !yields(p)
    }),
    (
        "of those that somebody waits for",
        "DOMaxBackgroundDownloadBandwidth = 300",
        |p| gets(p, Foreground, true).is_none(),
    ),
    (
        "of peers of the LAN",
        "DOMaxBackgroundDownloadBandwidth = 300",
        |p| gets(p, Background, false).is_none(),
    ),
    (
        "maximum",
        "DOMaxBackgroundDownloadBandwidth = 4294967295",
        |p| rates(p, NOON).background == 4_294_967_295 * KB,
    ),
    (
        "the least holds",
        "DOMaxDownloadBandwidth = 200\nDOMaxBackgroundDownloadBandwidth = 300",
        |p| about(gets(p, Background, true), 200),
    ),
    (
        "the least holds",
        "DOMaxDownloadBandwidth = 300\nDOMaxBackgroundDownloadBandwidth = 200",
        |p| about(gets(p, Background, true), 200) && about(gets(p, Foreground, true), 300),
    ),
    // In percent.
    (
        "minimum, dynamic",
        "DOPercentageMaxDownloadBandwidth = 0",
        |p| limits(p, NOON).all().is_empty() && yields(p),
    ),
    ("one", "DOPercentageMaxDownloadBandwidth = 1", |p| {
        rates(p, NOON).line == 100 * KB
    }),
    ("a value", "DOPercentageMaxDownloadBandwidth = 50", |p| {
        rates(p, NOON).line == 5000 * KB && rates(p, NOON).all == 0
    }),
    (
        "just below all",
        "DOPercentageMaxDownloadBandwidth = 99",
        |p| rates(p, NOON).line == 9900 * KB,
    ),
    (
        "maximum, no limit",
        "DOPercentageMaxDownloadBandwidth = 100",
        |p| limits(p, NOON).all().is_empty(),
    ),
    (
        "of what nobody has measured",
        "DOPercentageMaxDownloadBandwidth = 50",
        |p| limits(p, NOON).rates(None) == Rates::default(),
    ),
    (
        "minimum, dynamic",
        "DOPercentageMaxForegroundBandwidth = 0",
        |p| limits(p, NOON).all().is_empty(),
    ),
    ("a value", "DOPercentageMaxForegroundBandwidth = 30", |p| {
        rates(p, NOON).foreground == 3000 * KB && rates(p, NOON).background == 0
    }),
    (
        "maximum, no limit",
        "DOPercentageMaxForegroundBandwidth = 100",
        |p| limits(p, NOON).all().is_empty(),
    ),
    (
        "minimum, dynamic",
        "DOPercentageMaxBackgroundBandwidth = 0",
        yields,
    ),
    ("a value", "DOPercentageMaxBackgroundBandwidth = 30", |p| {
        rates(p, NOON).background == 3000 * KB && rates(p, NOON).foreground == 0 && !yields(p)
    }),
    (
        "maximum, no limit",
        "DOPercentageMaxBackgroundBandwidth = 100",
        |p| limits(p, NOON).all().is_empty() && yields(p),
    ),
    (
        "cache hosts are by the line",
        "DOPercentageMaxBackgroundBandwidth = 30",
        |p| {
            limits(p, NOON).of(Background, true).count() == 1
                && limits(p, NOON).of(Background, false).count() == 0
        },
    ),
    (
        "the least of both kinds holds",
        "DOPercentageMaxBackgroundBandwidth = 30\nDOMaxBackgroundDownloadBandwidth = 2000",
        |p| rates(p, NOON).background == 2000 * KB,
    ),
    (
        "the least of both kinds holds",
        "DOPercentageMaxBackgroundBandwidth = 10\nDOMaxBackgroundDownloadBandwidth = 2000",
        |p| rates(p, NOON).background == 1000 * KB,
    ),
    // By the hour.
    ("unset", "policy_time_zone = \"UTC\"", |p| {
        percent(p, 0) == 0
    }),
    (
        "in them",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 80 }",
        |p| percent(p, 0) == 20 && !yields(p),
    ),
    (
        "before their end, and at it",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 80 }",
        |p| percent(p, 4) == 20 && percent(p, 5) == 80,
    ),
    (
        "before their begin, and at it",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 80 }",
        |p| percent(p, 19) == 80 && percent(p, 20) == 20,
    ),
    (
        "each day",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 80 }",
        |p| (0..7).all(|day| percent(p, day * 24) == 20),
    ),
    (
        "some days",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { days = \"mon-fri\", from = 8, to = 17, inside = 20, outside = 80 }",
        |p| percent(p, 4 * 24) == 20 && percent(p, 5 * 24) == 80 && percent(p, 6 * 24) == 80,
    ),
    (
        "over midnight",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 22, to = 6, inside = 20, outside = 80 }",
        |p| {
            percent(p, 9) == 80
                && percent(p, 10) == 20
                && percent(p, 17) == 20
                && percent(p, 18) == 80
        },
    ),
    (
        "over midnight, from the day on which they begin",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { days = \"mon\", from = 22, to = 6, inside = 20, outside = 80 }",
        |p| percent(p, 17) == 20 && percent(p, 24 + 17) == 80,
    ),
    (
        "until midnight",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 20, to = 24, inside = 20, outside = 80 }",
        |p| percent(p, 11) == 20 && percent(p, 12) == 80,
    ),
    (
        "minimum, no limit",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 0, outside = 80 }",
        |p| limits(p, NOON).all().is_empty() && yields(p) && percent(p, 12) == 80,
    ),
    (
        "maximum, no limit",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 100 }",
        |p| percent(p, 0) == 20 && limits(p, NOON + 12 * HOUR).all().is_empty(),
    ),
    (
        "of those that somebody waits for",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitForegroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 80 }",
        |p| rates(p, NOON).foreground == 2000 * KB && rates(p, NOON).background == 0 && yields(p),
    ),
    (
        "and outside of them",
        "policy_time_zone = \"UTC\"\nDOSetHoursToLimitForegroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 80 }",
        |p| rates(p, NOON + DAY / 2).foreground == 8000 * KB,
    ),
    (
        "with a percentage, the least holds",
        "policy_time_zone = \"UTC\"\nDOPercentageMaxBackgroundBandwidth = 10\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 5 }",
        |p| percent(p, 0) == 10 && percent(p, 12) == 5,
    ),
    (
        "another clock",
        "policy_time_zone = \"Asia/Tokyo\"\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 80 }",
        |p| percent(p, 0) == 80 && percent(p, 11) == 20,
    ),
    // What leaves.
    ("unset", "", |p| {
        p.upload_bytes_s_max == 0 && p.upload_month_bytes_max == 20 * GB
    }),
    ("minimum, unlimited", "DOMaxUploadBandwidth = 0", |p| {
        p.upload_bytes_s_max == 0
    }),
    ("a value", "DOMaxUploadBandwidth = 64", |p| {
        p.upload_bytes_s_max == 64 * KB
    }),
    ("maximum", "DOMaxUploadBandwidth = 4294967295", |p| {
        p.upload_bytes_s_max == 4_294_967_295 * KB
    }),
    ("minimum, unlimited", "DOMonthlyUploadDataCap = 0", |p| {
        p.upload_month_bytes_max == 0
    }),
    ("one", "DOMonthlyUploadDataCap = 1", |p| {
        p.upload_month_bytes_max == GB
    }),
    ("maximum", "DOMonthlyUploadDataCap = 4294967295", |p| {
        p.upload_month_bytes_max == 4_294_967_295 * GB
    }),
    // What the background is promised.
    ("minimum", "DOMinBackgroundQoS = 1", |p| {
        p.background_bytes_s_min == KB
    }),
    ("the seed's low value", "DOMinBackgroundQoS = 64", |p| {
        p.background_bytes_s_min == 64 * KB
    }),
    ("the newer spelling", "DOMinBackgroundQos = 64", |p| {
        p.background_bytes_s_min == 64 * KB
    }),
    ("unset, of 2024", "policy_dialect = \"current\"", |p| {
        p.background_bytes_s_min == 2500 * KB
    }),
];

#[test]
fn each_limit_gives_what_it_should() {
    for (class, lines, holds) in ROWS {
        let policies = accepted(&format!("[policy]\n{lines}\n")).policy;
        assert!(holds(&policies.typed(Role::Device)), "{class}: {lines:?}");
    }
}

/// Numbers, with what a file is told that has one more than the most, one less than the least, and a text.
#[test]
fn the_edges_of_each_number_are_told() {
    let rows = [
        ("DOMinRAMAllowedToPeer", 1, 100_000_u64, ", in GB"),
        ("DOMinDiskSizeAllowedToPeer", 1, 100_000, ", in GB"),
        (
            "DOMaxCacheAge",
            0,
            4_294_967_295,
            ", in seconds (0: unlimited)",
        ),
        ("DOMaxCacheSize", 1, 100, ", in percent of the drive"),
        ("DOAbsoluteMaxCacheSize", 1, 4_000_000, ", in GB"),
        ("DOMinFileSizeToCache", 1, 100_000, ", in MB"),
        ("DOMaxDownloadBandwidth", 0, 4_294_967_295, ", in KB/s"),
        (
            "DOMaxForegroundDownloadBandwidth",
            0,
            4_294_967_295,
            ", in KB/s",
        ),
        (
            "DOMaxBackgroundDownloadBandwidth",
            0,
            4_294_967_295,
            ", in KB/s",
        ),
        ("DOPercentageMaxDownloadBandwidth", 0, 100, ", in percent"),
        ("DOPercentageMaxForegroundBandwidth", 0, 100, ", in percent"),
        ("DOPercentageMaxBackgroundBandwidth", 0, 100, ", in percent"),
        ("DOMaxUploadBandwidth", 0, 4_294_967_295, ", in KB/s"),
        ("DOMonthlyUploadDataCap", 0, 4_294_967_295, ", in GB"),
        ("DOMinBackgroundQoS", 1, 4_294_967_295, ", in KB/s"),
        (
            "DOMinBatteryPercentageAllowedToUpload",
            1,
            100,
            ", in percent",
        ),
        (
            "DODelayBackgroundDownloadFromHttp",
            0,
            4_294_967_295,
            ", in seconds",
        ),
        (
            "DODelayForegroundDownloadFromHttp",
            0,
            4_294_967_295,
            ", in seconds",
        ),
        (
            "DODelayCacheServerFallbackForeground",
            0,
            4_294_967_295,
            ", in seconds",
        ),
        (
            "DODelayCacheServerFallbackBackground",
            0,
            4_294_967_295,
            ", in seconds",
        ),
    ];
    for (name, least, most, unit) in rows {
        for good in [least, most] {
            accepted(&format!("[policy]\n{name} = {good}\n"));
        }
        let wanted = format!("write a whole number from {least} to {most}{unit}");
        for bad in [i128::from(least) - 1, i128::from(most) + 1] {
            let told = errors(&format!("[policy]\n{name} = {bad}\n"));
            let line = format!("policy.{name}: {bad} is out of range; {wanted}");
            assert!(told.contains(&line), "{told}\nnot: {line}");
        }
        let told = errors(&format!("[policy]\n{name} = \"{least}\"\n"));
        assert!(
            told.contains(&format!("policy.{name}: is of type string")) && told.contains(&wanted),
            "{told}"
        );
    }
}

/// Values of which there are some, and what is written to whoever has none of them.
#[test]
fn what_is_none_of_the_values_is_told_with_them() {
    let rows = [
        (
            "DODownloadMode = 4",
            "policy.DODownloadMode: 4 is none of its values; write 0 (HTTP only), 1 (LAN), 2 (group), 3 (Internet), 99 (simple) or 100 (bypass)",
        ),
        (
            "DODownloadMode = 98",
            "policy.DODownloadMode: 98 is none of its values",
        ),
        (
            "DODownloadMode = 101",
            "policy.DODownloadMode: 101 is none of its values",
        ),
        (
            "DODownloadMode = \"LAN\"",
            "policy.DODownloadMode: is of type string",
        ),
        (
            "DORestrictPeerSelectionBy = 3",
            "policy.DORestrictPeerSelectionBy: 3 is none of its values; write 1 (subnet mask)",
        ),
        (
            "DOCacheHostSource = 3",
            "policy.DOCacheHostSource: 3 is none of its values; write 0 (no DNS-SD), 1 (DHCP option 235)",
        ),
        (
            "DOGroupID = \"berlin\"",
            "policy.DOGroupID: \"berlin\" is no GUID; write a GUID, as in",
        ),
        (
            "DOGroupID = \"7f8d2c3e-0b1a-4c5d-9e6f\"",
            "policy.DOGroupID: \"7f8d2c3e-0b1a-4c5d-9e6f\" is no GUID",
        ),
        ("DOGroupID = \"\"", "policy.DOGroupID: \"\" is no GUID"),
        (
            "DOModifyCacheDrive = \"D:\\\\DOCache\"",
            "is no whole path on this system; write a folder, as in",
        ),
        (
            "DOModifyCacheDrive = \"cache\"",
            "policy.DOModifyCacheDrive: \"cache\" is no whole path",
        ),
        (
            "DOAllowVPNPeerCaching = 1",
            "policy.DOAllowVPNPeerCaching: is of type integer",
        ),
        (
            "DOAllowVPNPeerCaching = \"true\"",
            "policy.DOAllowVPNPeerCaching: is of type string",
        ),
        (
            "DODisallowCacheServerDownloadsOnVPN = 0",
            "policy.DODisallowCacheServerDownloadsOnVPN: is of type integer",
        ),
        (
            "DOVpnKeywords = [\"corp\"]",
            "policy.DOVpnKeywords: is of type array",
        ),
        (
            "DOMaxCacheAg = 3",
            "policy.DOMaxCacheAg: is not known; did you mean DOMaxCacheAge?",
        ),
        (
            "DODownloadmode = 1",
            "policy.DODownloadmode: is not known; did you mean DODownloadMode?",
        ),
        (
            "domaxcachesize = 10",
            "policy.domaxcachesize: is not known; did you mean DOMaxCacheSize?",
        ),
    ];
    for (line, told) in rows {
        let problems = errors(&format!("[policy]\n{line}\n"));
        assert!(problems.contains(told), "{line}: {problems}");
    }
}

/// What an appliance does not obey is taken, and told at start.
#[test]
fn a_name_without_an_effect_is_told() {
    let rows = [
        ("DOCacheHost = \"larder.example.org\"", "DOCacheHost"),
        ("DOCacheHostSource = 2", "DOCacheHostSource"),
        (
            "DODelayCacheServerFallbackForeground = 5",
            "DODelayCacheServerFallbackForeground",
        ),
        (
            "DODelayCacheServerFallbackBackground = 5",
            "DODelayCacheServerFallbackBackground",
        ),
        (
            "DODisallowCacheServerDownloadsOnVPN = true",
            "DODisallowCacheServerDownloadsOnVPN",
        ),
    ];
    for (line, name) in rows {
        let warnings = accepted(&format!("[policy]\n{line}\n")).warnings;
        let told = format!(
            "policy.{name} has no effect: an appliance asks no cache hosts; larder get does"
        );
        assert!(warnings.contains(&told), "{line}: {warnings:?}");
    }
    for line in [
        "DODownloadMode = 1",
        "DOMinBackgroundQoS = 64",
        "DOVpnKeywords = \"corp\"",
    ] {
        let warnings = accepted(&format!("[policy]\n{line}\n")).warnings;
        assert!(
            !warnings.iter().any(|w| w.contains("no effect")),
            "{line}: {warnings:?}"
        );
    }
}
