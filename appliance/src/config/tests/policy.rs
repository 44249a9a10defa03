//! Policies from the file to the settings that the rules work with.

use super::{accepted, errors};
use larder_proto::policy::settings::{GB, KB, MB};
use larder_proto::policy::{DownloadMode, GroupSource, Policies, Role};

fn typed(lines: &str, role: Role) -> Policies {
    accepted(&format!("[policy]\n{lines}\n")).policy.typed(role)
}

/// Whether a file says something that its defaults do not.
fn changes(line: &str) -> bool {
    [Role::Device, Role::Appliance]
        .iter()
        .all(|role| typed(line, *role) != typed("", *role))
}

#[test]
fn each_setting_reaches_the_rules() {
    let lines = [
        "DODownloadMode = 3",
        "DOGroupID = \"{7F8D2C3E-0B1A-4C5D-9E6F-0123456789AB}\"",
        "DOGroupId = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"",
        "DOMinRAMAllowedToPeer = 1",
        "DOMinDiskSizeAllowedToPeer = 64",
        "DOMaxCacheAge = 60",
        "DOMaxCacheSize = 1",
        "DOAbsoluteMaxCacheSize = 10",
        "DOMinFileSizeToCache = 1",
        "DOMaxDownloadBandwidth = 100",
        "DOPercentageMaxDownloadBandwidth = 50",
        "DOMaxUploadBandwidth = 100",
        "DOMonthlyUploadDataCap = 0",
        "DOMinBackgroundQoS = 64",
        "DOMinBackgroundQos = 64",
        "DOMinBatteryPercentageAllowedToUpload = 40",
        "DOPercentageMaxForegroundBandwidth = 50",
        "DOPercentageMaxBackgroundBandwidth = 50",
        "DOMaxForegroundDownloadBandwidth = 100",
        "DOMaxBackgroundDownloadBandwidth = 100",
        "DOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 0 }",
        "DOSetHoursToLimitForegroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 0 }",
        "DOSetHoursToLimitForegroundDownloadBandwidth = { days = \"sat,sun\", from = 8, to = 17, inside = 20, outside = 0 }",
        "DORestrictPeerSelectionBy = 1",
        "DOGroupIdSource = 4",
        "DODelayBackgroundDownloadFromHttp = 1",
        "DODelayForegroundDownloadFromHttp = 1",
        "DOCacheHost = \"larder.example.org\"",
        "DOCacheHostSource = 0",
        "DODelayCacheServerFallbackForeground = 1",
        "DODelayCacheServerFallbackBackground = 1",
        "DODisallowCacheServerDownloadsOnVPN = true",
        "DOVpnKeywords = \"corp\"",
        "policy_dialect = \"current\"",
    ];
    for line in lines {
        assert!(changes(line), "{line}");
    }
    let vpn = "DOAllowVPNPeerCaching = ";
    assert!(typed(&format!("{vpn}true"), Role::Device).vpn_peering);
    assert!(!typed(&format!("{vpn}false"), Role::Appliance).vpn_peering);
}

#[test]
fn units_are_those_of_the_seed() {
    let policies = typed(
        "DOMinRAMAllowedToPeer = 1\nDOMinFileSizeToCache = 3\nDOMinBackgroundQoS = 64\n\
         DOMonthlyUploadDataCap = 5\nDOMaxCacheAge = 0\nDOCacheHost = \" a.example:8080, 10.1.2.3 ,,[::1] \"\n\
         DOVpnKeywords = \"Corp,vpn\"\nDOGroupIdSource = 3",
        Role::Device,
    );
    assert_eq!(policies.ram_bytes_min, GB);
    assert_eq!(policies.file_bytes_min, Some(3 * MB));
    assert_eq!(policies.background_bytes_s_min, 64 * KB);
    assert_eq!(policies.upload_month_bytes_max, 5 * GB);
    assert!(policies.is_preferred(), "0 is unlimited");
    assert_eq!(
        policies.cache_hosts,
        ["a.example:8080", "10.1.2.3", "[::1]"]
    );
    assert_eq!(policies.vpn_keywords, ["corp", "vpn"]);
    assert_eq!(policies.group_source, Some(GroupSource::DhcpOption));
}

#[test]
fn who_reads_the_file_decides_on_the_defaults() {
    let (device, appliance) = (typed("", Role::Device), typed("", Role::Appliance));
    assert_eq!(device.mode, DownloadMode::Lan);
    assert_eq!(appliance.mode, DownloadMode::Group);
    assert_eq!(
        (device.cache_percent_max, appliance.cache_percent_max),
        (20, 80)
    );
    assert_eq!(
        typed("DODownloadMode = 0", Role::Appliance).mode,
        DownloadMode::HttpOnly
    );
    let checked = accepted("[policy]\nDODownloadMode = 99\n");
    assert_eq!(checked.settings.policies.mode, DownloadMode::Simple);
}

#[test]
fn what_the_seed_ignores_is_ignored_and_told() {
    let id = "DOGroupID = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"\n";
    // What is set, and what is said to be ignored.
    let rows = [
        (
            "DOGroupIdSource = 6\n".to_owned(),
            Some(
                "policy.DOGroupIdSource is ignored: 6 is none of its values; write 0 (not set), 1 (AD site), 2 (domain SID), 3 (DHCP option 234) or 4 (DNS suffix)",
            ),
        ),
        (
            "DOGroupIdSource = 5\n".to_owned(),
            Some("policy.DOGroupIdSource is ignored: 5 is"),
        ),
        (
            "policy_dialect = \"current\"\nDOGroupIdSource = 5\n".to_owned(),
            None,
        ),
        (
            format!("{id}DOGroupIdSource = 3\n"),
            Some("policy.DOGroupID is ignored: DOGroupIdSource is set"),
        ),
        (
            format!("policy_dialect = \"current\"\n{id}DOGroupIdSource = 3\n"),
            Some("policy.DOGroupIdSource is ignored: DOGroupID is set"),
        ),
        (format!("{id}DOGroupIdSource = 0\n"), None),
        (format!("DODownloadMode = 2\n{id}"), None),
        (
            format!("DODownloadMode = 1\n{id}"),
            Some("policy.DOGroupID is ignored: DODownloadMode is not 2"),
        ),
        (
            "DODownloadMode = 3\nDORestrictPeerSelectionBy = 1\n".to_owned(),
            Some("policy.DORestrictPeerSelectionBy is ignored: DODownloadMode is neither 1 nor 2"),
        ),
        (
            "DOCacheHost = \"a\"\nDOCacheHostSource = 1\n".to_owned(),
            Some("policy.DOCacheHostSource is ignored: DOCacheHost is set"),
        ),
        (
            "DOCacheHost = \"a\"\nDOCacheHostSource = 2\n".to_owned(),
            None,
        ),
        (
            "DOMaxCacheSize = 10\nDOAbsoluteMaxCacheSize = 3\n".to_owned(),
            Some("policy.DOMaxCacheSize is ignored: DOAbsoluteMaxCacheSize is set"),
        ),
    ];
    for (lines, told) in rows {
        let checked = accepted(&format!("[policy]\n{lines}"));
        let ignored: Vec<_> = checked
            .warnings
            .iter()
            .filter(|warning| warning.contains("is ignored"))
            .collect();
        match (ignored.as_slice(), told) {
            ([], None) => {}
            ([one], Some(told)) => assert!(one.starts_with(told), "{lines}: {one}"),
            other => panic!("{lines}: {other:?}"),
        }
    }
}

#[test]
fn slips_are_named_with_what_to_write() {
    let rows = [
        (
            "DOCacheHost = \"http://larder\"",
            "policy.DOCacheHost: \"http://larder\" is no host; write host names or addresses in order",
        ),
        (
            "DOCacheHost = \"*.example\"",
            "policy.DOCacheHost: \"*.example\" is no host",
        ),
        ("DOCacheHost = 5", "policy.DOCacheHost: is of type integer"),
        (
            "DOGroupId = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"\nDOGroupID = \"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"",
            "policy.DOGroupId: is the same setting as policy.DOGroupID; write only one",
        ),
        (
            "policy_dialect = \"2019\"",
            "policy.policy_dialect: \"2019\" is no dialect; write \"2018\" (the default) or \"current\"",
        ),
        (
            "DOMinBatteryPercentageAllowedToUpload = 0",
            "policy.DOMinBatteryPercentageAllowedToUpload: 0 is out of range",
        ),
        (
            "DOMaxDownloadBandwidth = 4294967296",
            "policy.DOMaxDownloadBandwidth: 4294967296 is out of range",
        ),
        (
            "DOMaxDownloadBandwidth = \"fast\"",
            "policy.DOMaxDownloadBandwidth: is of type string",
        ),
        (
            "DOMaxForegroundDownloadBandwidth = -1",
            "policy.DOMaxForegroundDownloadBandwidth: ",
        ),
        (
            "DOMaxBackgroundDownloadBandwidth = true",
            "policy.DOMaxBackgroundDownloadBandwidth: is of type boolean",
        ),
        (
            "DOPercentageMaxDownloadBandwidth = 101",
            "policy.DOPercentageMaxDownloadBandwidth: 101 is out of range",
        ),
        (
            "DOPercentageMaxForegroundBandwidth = 0.5",
            "policy.DOPercentageMaxForegroundBandwidth: is of type float",
        ),
        (
            "DOPercentageMaxBackgroundBandwidth = 1000",
            "policy.DOPercentageMaxBackgroundBandwidth: 1000 is out of range",
        ),
        (
            "DOMaxUploadBandwidth = 4294967296",
            "policy.DOMaxUploadBandwidth: 4294967296 is out of range",
        ),
        (
            "DOMinBackgroundQoS = 0",
            "policy.DOMinBackgroundQoS: 0 is out of range",
        ),
        (
            "DODelayBackgroundDownloadFromHttp = 4294967296",
            "policy.DODelayBackgroundDownloadFromHttp: 4294967296 is out of range",
        ),
        (
            "DOSetHoursToLimitBackgroundDownloadBandwidth = { from = 24, to = 17, inside = 20, outside = 0 }",
            "DOSetHoursToLimitBackgroundDownloadBandwidth.from: 24 is out of range",
        ),
        (
            "DOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 101, outside = 0 }",
            "DOSetHoursToLimitBackgroundDownloadBandwidth.inside: 101 is out of range",
        ),
        (
            "DOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17 }",
            "is not complete; write { from = 8, to = 17, inside = 20, outside = 100 }",
        ),
        (
            "DOSetHoursToLimitForegroundDownloadBandwidth = { days = \"mon-fry\", from = 8, to = 17, inside = 1, outside = 0 }",
            "\"fry\" is no day; write days as in \"mon-fri\"",
        ),
        (
            "DOSetHoursToLimitForegroundDownloadBandwidth = 20",
            "DOSetHoursToLimitForegroundDownloadBandwidth: is of type integer",
        ),
        (
            "policy_time_zone = \"Mars/Olympus\"",
            "policy.policy_time_zone: \"Mars/Olympus\" is no time zone",
        ),
        (
            "DOVpnKeyword = \"x\"",
            "policy.DOVpnKeyword: is not known; did you mean DOVpnKeywords?",
        ),
        (
            "DOGroupIdSource = \"site\"",
            "policy.DOGroupIdSource: is of type string",
        ),
    ];
    for (line, told) in rows {
        let problems = errors(&format!("[policy]\n{line}\n"));
        assert!(problems.contains(told), "{line}: {problems}");
    }
}

#[test]
fn hours_are_told_by_the_clock_that_is_named() {
    let hours = "DOSetHoursToLimitBackgroundDownloadBandwidth = { days = \"mon-fri\", from = 8, to = 17, inside = 20, outside = 0 }";
    // Monday, 6 July 2026, 07:00 UTC: nine o'clock in Berlin, three in New York.
    let unix = 1_783_321_200;
    for (zone, inside) in [("Europe/Berlin", true), ("America/New_York", false)] {
        let policies = typed(
            &format!("policy_time_zone = \"{zone}\"\n{hours}"),
            Role::Device,
        );
        let found = policies.hours.background.expect("hours");
        assert_eq!(found.contains(policies.zone.local(unix)), inside, "{zone}");
        assert_eq!(policies.zone.name(), zone);
        assert_eq!(policies.hours.foreground, None);
    }
}
