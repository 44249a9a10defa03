//! Files of each kind as their programs write them, and anything at all.

use super::*;
use proptest::prelude::*;

const KNOWN: &[Known] = &[
    known("DODownloadMode", Shape::Number),
    known("DOGroupID", Shape::Text),
    known("DOMaxCacheAge", Shape::Number),
    known("DOModifyCacheDrive", Shape::Text),
    known("DOAllowVPNPeerCaching", Shape::Flag),
    known("DOMinBackgroundQoS", Shape::Number),
    known("DOCacheHost", Shape::Text),
    known("DOVpnKeywords", Shape::Text),
    known("DODelayCacheServerFallbackForeground", Shape::Number),
    known("DOSetHoursToLimitBackgroundDownloadBandwidth", Shape::Hours),
];

const fn known(name: &'static str, shape: Shape) -> Known {
    Known { name, shape }
}

fn lines(import: &Import) -> String {
    let line = |(name, value): (&&str, &Value)| format!("{name} = {value}\n");
    import.settings.iter().map(line).collect()
}

fn imported(text: &str) -> Import {
    read(text.as_bytes(), KNOWN).unwrap_or_else(|error| panic!("{error}: {text}"))
}

const REG: &str = r#"Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows]

[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\DeliveryOptimization]
; said by hand
"DODownloadMode"=dword:00000063
"DOGroupId"="{7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab}"
"DOCacheHost"="a.example,\"b\\c"
"DOModifyCacheDrive"=hex(2):25,00,53,00,79,00,73,00,25,00,5c,00,00,\
  00
"DOVpnKeywords"=hex(7):61,00,00,00,62,00,00,00,00,00
"DOAllowVPNPeerCaching"=dword:00000001
"DOMinBackgroundQos"=hex(b):00,02,00,00,00,00,00,00
"SetHoursToLimitBackgroundDownloadBandwidthFrom"=dword:00000008
"SetHoursToLimitBackgroundDownloadBandwidthTo"=dword:00000011
"DOSetHoursToLimitBackgroundDownloadBandwidthIn"=dword:00000014
"DOSetHoursToLimitBackgroundDownloadBandwidthOut"=dword:00000064
"DOMaxCacheAge"=dword:00000005
"DOMaxCacheAge"=-

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\PolicyManager\current\device\DeliveryOptimization]
"DODownloadMode"=dword:00000001
"DODownloadMode_ProviderSet"=dword:00000001
"DODownloadMode_WinningProvider"="D4C6B1A2-0000-0000-0000-000000000000"
"DODelayCacheServerFallbackForeground"=dword:0000003c

[HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\PolicyManager\default\DeliveryOptimization\DODownloadMode]
"Behavior"=dword:00000020

[HKEY_LOCAL_MACHINE\SOFTWARE\Other]
this is "no line of "registry
"DODownloadMode"=dword:00000003
"#;

const OUT: &str = r#"DOAllowVPNPeerCaching = true
DOCacheHost = "a.example,\"b\\c"
DODelayCacheServerFallbackForeground = 60
DODownloadMode = 99
DOGroupID = "{7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab}"
DOMinBackgroundQoS = 512
DOSetHoursToLimitBackgroundDownloadBandwidth = { from = 8, to = 17, inside = 20, outside = 100 }
DOVpnKeywords = "a,b"
"#;

/// What Windows writes: UTF-16 with a mark, and lines that end in CR LF.
fn wide(text: &str, mark: bool) -> Vec<u8> {
    let text = text.replace('\n', "\r\n");
    let begin: &[u8] = if mark { &[0xff, 0xfe] } else { &[] };
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    begin.iter().copied().chain(units).collect()
}

#[test]
fn a_registry_export_in_every_encoding() {
    let mut marked = vec![0xef, 0xbb, 0xbf];
    marked.extend(REG.as_bytes());
    let big: Vec<u8> = [0xfe, 0xff]
        .into_iter()
        .chain(REG.encode_utf16().flat_map(u16::to_be_bytes))
        .collect();
    let old = REG.replace("Windows Registry Editor Version 5.00", "REGEDIT4");
    for bytes in [
        REG.as_bytes().to_vec(),
        marked,
        wide(REG, true),
        wide(REG, false),
        big,
        old.into_bytes(),
    ] {
        let import = read(&bytes, KNOWN).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(lines(&import), OUT);
        assert_eq!(import.unknown, []);
        let told = import.notes.join("\n");
        assert!(told.contains("DODownloadMode is set twice: 99, by Group Policy, holds"));
        assert!(told.contains("a drive of Windows means nothing here"));
    }
}

#[test]
fn device_management_as_it_gives_itself_out() {
    let custom = r##"{"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "omaSettings": [
        {"@odata.type": "#microsoft.graph.omaSettingInteger", "displayName": "mode",
         "omaUri": "./Device/Vendor/MSFT/Policy/Config/DeliveryOptimization/DODownloadMode", "value": 2},
        {"omaUri": "./Vendor/MSFT/Policy/Config/DeliveryOptimization/DOAllowVPNPeerCaching", "value": "1"},
        {"omaUri": "./Device/Vendor/MSFT/Policy/Config/DeliveryOptimization/DOSetHoursToLimitBackgroundDownloadBandwidth",
         "value": "<enabled/><data id=\"SetHoursToLimitBackgroundDownloadBandwidthFrom\" value=\"22\"/><data id='SetHoursToLimitBackgroundDownloadBandwidthTo' value='6'/><data id=\"SetHoursToLimitBackgroundDownloadBandwidthIn\" value=\"100\"/><data id=\"SetHoursToLimitBackgroundDownloadBandwidthOut\" value=\"10\"/>"},
        {"omaUri": "./Device/Vendor/MSFT/Policy/Config/Update/AllowAutoUpdate", "value": 1}]}"##;
    let import = imported(custom);
    assert_eq!(
        lines(&import),
        "DOAllowVPNPeerCaching = true\nDODownloadMode = 2\nDOSetHoursToLimitBackgroundDownloadBandwidth = { from = 22, to = 6, inside = 100, outside = 10 }\n"
    );
    assert!(import.notes[0].starts_with("1 settings of other areas"));

    let map = r#"{"./Device/Vendor/MSFT/Policy/Config/DeliveryOptimization/DOMaxCacheAge": 0,
        "./Device/Vendor/MSFT/Policy/Config/DeliveryOptimization/DOGroupId": {"value": "x"}}"#;
    assert_eq!(
        lines(&imported(map)),
        "DOGroupID = \"x\"\nDOMaxCacheAge = 0\n"
    );

    let base = "device_vendor_msft_policy_config_deliveryoptimization_do";
    let catalogue = format!(
        r##"{{"name": "DO", "settings": [
        {{"id": "0", "settingInstance": {{"@odata.type": "#microsoft.graph.deviceManagementConfigurationChoiceSettingInstance",
          "settingDefinitionId": "{base}downloadmode",
          "choiceSettingValue": {{"value": "{base}downloadmode_3", "children": []}}}}}},
        {{"id": "1", "settingInstance": {{"settingDefinitionId": "{base}maxcacheage", "simpleSettingValue": {{"value": 86400}}}}}},
        {{"id": "2", "settingInstance": {{"settingDefinitionId": "{base}vpnkeywords",
          "simpleSettingCollectionValue": [{{"value": "corp"}}, {{"value": "vpn"}}]}}}},
        {{"id": "3", "settingInstance": {{"settingDefinitionId": "{base}sethourstolimitbackgrounddownloadbandwidth",
          "choiceSettingValue": {{"value": "{base}sethourstolimitbackgrounddownloadbandwidth_1", "children": [
            {{"settingDefinitionId": "{base}sethourstolimitbackgrounddownloadbandwidth_sethourstolimitbackgrounddownloadbandwidthfrom",
              "choiceSettingValue": {{"value": "{base}sethourstolimitbackgrounddownloadbandwidth_sethourstolimitbackgrounddownloadbandwidthfrom_8"}}}}]}}}}}}
        ]}}"##
    );
    let import = imported(&catalogue);
    assert_eq!(
        lines(&import),
        "DODownloadMode = 3\nDOMaxCacheAge = 86400\nDOVpnKeywords = \"corp,vpn\"\n"
    );
    assert!(
        import
            .notes
            .iter()
            .any(|note| note.contains("is not complete")),
        "{:?}",
        import.notes
    );
}

#[test]
fn the_linux_agents_file() {
    let import = imported(
        r#"{"DOCacheHost": "10.0.0.1,b.example", "DODelayCacheServerFallbackForeground": -1,
            "RestControllerValidateRemoteAddr": true, "DOMaxCacheAg": 1}"#,
    );
    assert_eq!(
        lines(&import),
        "DOCacheHost = \"10.0.0.1,b.example\"\nDODelayCacheServerFallbackForeground = 4294967295\n"
    );
    assert!(import.notes[0].starts_with("RestControllerValidateRemoteAddr means nothing"));
    assert_eq!(import.unknown[0].name, "DOMaxCacheAg");
}

#[test]
fn values_of_another_kind_are_left_out_and_told() {
    for (pair, told) in [
        (r#""DODownloadMode": "lan""#, "it is \"lan\" and should be"),
        (r#""DODownloadMode": -2"#, "it is -2 and should be"),
        (r#""DODownloadMode": true"#, "it is true and should be"),
        (r#""DODownloadMode": [1]"#, "it is a list and should be"),
        (r#""DODownloadMode": 1e3"#, "and should be a whole number"),
        (
            r#""DOAllowVPNPeerCaching": 2"#,
            "it is 2 and should be 0 or 1",
        ),
        (r#""DOGroupId": 5"#, "it is 5 and should be a text"),
        (r#""DOGroupId": """#, "is empty"),
    ] {
        let import = imported(&format!("{{{pair}}}"));
        assert_eq!(lines(&import), "", "{pair}");
        assert!(
            import.notes.join("\n").contains(told),
            "{pair}: {:?}",
            import.notes
        );
    }
}

#[test]
fn what_is_no_such_file_is_told() {
    let key = r"[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\DeliveryOptimization]";
    let reg = |line: &str| format!("Windows Registry Editor Version 5.00\n\n{key}\n{line}\n");
    for (bytes, told) in [
        (Vec::new(), "is neither a registry export"),
        (b"[policy]\nx = 1".to_vec(), "line 1: is not JSON"),
        (b"\x80\x81".to_vec(), "is neither UTF-8 nor UTF-16"),
        (b"regf\0\0\0\0".to_vec(), "is neither UTF-8 nor UTF-16"),
        (b"{\"a\": }".to_vec(), "line 1: is not JSON"),
        (b"{}".to_vec(), "holds no setting"),
        (reg("").into_bytes(), "holds no setting"),
        (
            reg("\"DODownloadMode\"=dword:xyz").into_bytes(),
            "line 4: DODownloadMode: \"xyz\" is no dword",
        ),
        (
            reg("\"DODownloadMode\"=\"never closed").into_bytes(),
            "line 4: DODownloadMode: its text has no end",
        ),
        (
            reg("DODownloadMode=1").into_bytes(),
            "line 4: no \"name\"=value",
        ),
    ] {
        match read(&bytes, KNOWN) {
            Ok(import) => panic!("{told}: {import:?}"),
            Err(error) => assert!(error.to_string().starts_with(told), "{told}: {error}"),
        }
    }
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(REG.to_owned()),
        Just(r"[HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Microsoft\Windows\DeliveryOptimization]".to_owned()),
        Just("Windows Registry Editor Version 5.00\n".to_owned()),
        Just("\"DODownloadMode\"=".to_owned()),
        Just("\"DOSetHoursToLimitBackgroundDownloadBandwidth\"=\"<data id=\\\"bandwidthto\\\" value=\\\"é\\\"".to_owned()),
        Just("hex(2):25,00,\\\n".to_owned()),
        Just("{\"omaUri\":\"./x/DeliveryOptimization/\",\"value\":".to_owned()),
        Just("{\"settingDefinitionId\":\"é_policy_config_deliveryoptimization_do\",\"choiceSettingValue\":{\"value\":\"é\"}}".to_owned()),
        "[\\[\\]{}\":,=\\\\<>;@\n a-zé0-9-]{0,12}",
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn nothing_panics(pieces in prop::collection::vec(piece(), 0..12), cut in any::<prop::sample::Index>(), utf16: bool) {
        let text = pieces.concat();
        let mut bytes = if utf16 { wide(&text, true) } else { text.into_bytes() };
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = read(&bytes, KNOWN);
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = read(&bytes, KNOWN);
    }

    #[test]
    fn whatever_text_comes_out_is_that_text(text in "\\PC*") {
        let json = serde_json::json!({"DOGroupId": text}).to_string();
        let import = imported(&json);
        let expected = Some(text.trim()).filter(|text| !text.is_empty()).map(|text| Value::Text(text.to_owned()));
        prop_assert_eq!(import.settings.get("DOGroupID"), expected.as_ref());
    }
}
