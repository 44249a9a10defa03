//! Settings of other programs, as they come into a configuration.

use super::super::{import, with_policy};
use super::accepted;

const KEY: &str =
    "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Microsoft\\Windows\\DeliveryOptimization]";

fn reg(lines: &str) -> Vec<u8> {
    format!("Windows Registry Editor Version 5.00\r\n\r\n{KEY}\r\n{lines}\r\n").into_bytes()
}

#[test]
fn what_is_printed_is_a_configuration() {
    let imported = import(&reg(
        "\"DODownloadMode\"=dword:00000002\r\n\"DOGroupId\"=\"{7F8D2C3E-0B1A-4C5D-9E6F-0123456789AB}\"\r\n\
         \"DOMaxCacheSize\"=dword:00000000\r\n\"DOGroupIdSource\"=dword:00000003\r\n\
         \"DODownloadMode2\"=-\r\n\"DOAllowVPNPeerCaching\"=dword:00000000",
    ))
    .unwrap_or_else(|lines| panic!("{lines:?}"));
    assert_eq!(
        imported.section(),
        "[policy]\nDOAllowVPNPeerCaching = false\nDODownloadMode = 2\n\
         DOGroupID = \"{7F8D2C3E-0B1A-4C5D-9E6F-0123456789AB}\"\nDOGroupIdSource = 3"
    );
    let told = imported.warnings.join("\n");
    assert!(
        told.contains("DOMaxCacheSize is left out: 0 is out of range"),
        "{told}"
    );
    assert!(
        told.contains("policy.DOGroupID is ignored: DOGroupIdSource is set"),
        "{told}"
    );
    let checked = accepted(&imported.section());
    assert_eq!(checked.settings.policies.group_source.map(|_| ()), Some(()));
}

#[test]
fn what_is_not_known_is_named_with_what_was_meant() {
    let lines = import(&reg(
        "\"DOMaxCacheAg\"=dword:00000000\r\n\"Wallpaper\"=\"x\"",
    ))
    .unwrap_err();
    assert_eq!(
        lines,
        [
            "DOMaxCacheAg (line 4, HKEY_LOCAL_MACHINE\\..\\Policies\\..\\DeliveryOptimization) is not known; did you mean DOMaxCacheAge?",
            "Wallpaper (line 5, HKEY_LOCAL_MACHINE\\..\\Policies\\..\\DeliveryOptimization) is not known; take it out, or see the names in: larder policy show",
        ]
    );
    let lines = import(b"hello").unwrap_err();
    assert!(lines[0].starts_with("is neither a registry export"));
}

#[test]
fn a_configuration_keeps_every_other_byte() {
    let settings = [
        ("DODownloadMode", "2".to_owned()),
        ("DOGroupID", "\"x\"".to_owned()),
        ("DOMaxCacheAge", "0".to_owned()),
    ];
    let same = |before: &str, after: &str| {
        assert_eq!(with_policy(before, &settings).as_deref(), Ok(after));
    };
    same(
        "",
        "\n[policy]\nDODownloadMode = 2\nDOGroupID = \"x\"\nDOMaxCacheAge = 0\n",
    );
    same(
        "# mine\n[policy] # why\nDOCacheHost = \"a\" # kept\nDOMaxCacheAge = 77   # old\n\n[log]\nlevel = \"info\"",
        "# mine\n[policy] # why\nDODownloadMode = 2\nDOGroupID = \"x\"\nDOCacheHost = \"a\" # kept\nDOMaxCacheAge = 0   # old\n\n[log]\nlevel = \"info\"",
    );
    // The other spelling is the same setting.
    same(
        "[policy]\nDOGroupId = \"y\"\nDODownloadMode = 1\nDOMaxCacheAge = 1",
        "[policy]\nDOGroupId = \"x\"\nDODownloadMode = 2\nDOMaxCacheAge = 0",
    );
    same(
        "[policy]",
        "[policy]\nDODownloadMode = 2\nDOGroupID = \"x\"\nDOMaxCacheAge = 0\n",
    );
    // A header in a text is none.
    let text = "[server]\nsite = \"\"\"\n[policy]\n\"\"\"\n";
    assert!(with_policy(text, &settings).is_err());
    for form in [
        "policy.DOCacheHost = \"a\"",
        "policy = { DOCacheHost = \"a\" }",
        "[policy\n",
    ] {
        let told = with_policy(form, &settings).unwrap_err();
        assert!(
            told.contains("by hand") || told.contains("not TOML"),
            "{told}"
        );
    }
}
