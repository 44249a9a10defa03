//! Downloads that go well, and what they are made of.

use super::MIB;
use super::device::Device;
use super::origin::{Manner, Origin};
use super::rig::larder::named_path;
use super::rig::nginx::Nginx;
use super::rig::{assert_same, have, pki, real_bytes};
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn an_object_comes_once_and_whole() {
    if !have(&["nginx"]) {
        return;
    }
    let mut nginx = Nginx::start();
    let device = Device::new();
    for (name, len) in [
        ("empty", 0),
        ("one", 1),
        ("odd", 3 * MIB + 17),
        ("large", 40 * MIB),
    ] {
        let bytes = real_bytes(len);
        nginx.put(&format!("/{name}.bin"), &bytes);
        let url = format!("http://{}/{name}.bin", nginx.address());
        let ended = device.get(&url, &["--json"]).well();
        let json = ended.json();
        assert_same(&device.bytes(&format!("{name}.bin")), &bytes, name);
        let number = |field: &str| {
            json[field]
                .as_u64()
                .unwrap_or_else(|| panic!("{field}: {json}"))
        };
        assert_eq!(number("FileSize"), len as u64, "{json}");
        assert_eq!(number("TotalBytesDownloaded"), len as u64, "{json}");
        assert_eq!(number("BytesFromHttp"), len as u64, "{json}");
        let peers = [
            "BytesFromLanPeers",
            "BytesFromGroupPeers",
            "BytesFromInternetPeers",
        ];
        let peers: u64 = peers.into_iter().map(number).sum();
        assert_eq!(
            number("BytesFromHttp") + peers,
            number("TotalBytesDownloaded")
        );
        assert_eq!(
            (json["Status"].as_str(), number("ExitCode")),
            (Some("Complete"), 0)
        );
        assert_eq!(json["SourceURL"], url);
        assert_eq!(json["Priority"], "Foreground");
        assert!(ended.stderr.is_empty(), "it is quiet: {}", ended.stderr);
        assert_eq!(nginx.body_bytes(), len as u64, "{name}");
    }
    let parts: Vec<_> = device
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".part"))
        .collect();
    assert!(parts.is_empty(), "{parts:?}");
}

#[test]
fn what_is_there_is_not_fetched_again_and_what_changed_is() {
    let old = real_bytes(12 * MIB);
    let origin = Origin::start(old.clone(), Manner::default());
    let device = Device::new();
    let url = origin.url("/x.bin");
    device.get(&url, &[]).well();
    origin.take_sent();
    let json = device.get(&url, &["--json", "-o", "again"]).well().json();
    assert_same(&device.bytes("again"), &old, "from the cache");
    assert_eq!(origin.take_sent(), 0);
    assert_eq!(
        (
            json["BytesFromDisk"].as_u64(),
            json["TotalBytesDownloaded"].as_u64()
        ),
        (Some(12 << 20), Some(0))
    );
    let new: Vec<u8> = old.iter().map(|byte| byte ^ 1).collect();
    origin.change(new.clone());
    device.get(&url, &[]).well();
    assert_same(&device.bytes("x.bin"), &new, "the new version");
}

#[test]
fn what_no_shared_cache_may_keep_is_a_device_s_own() {
    let bytes = real_bytes(5 * MIB);
    let manner = Manner {
        fields: "Cache-Control: private, no-store\r\nVary: User-Agent\r\nSet-Cookie: a=b\r\n",
        ..Manner::default()
    };
    let origin = Origin::start(bytes.clone(), manner);
    let device = Device::new();
    let json = device.get(&origin.url("/x.bin"), &["--json"]).well().json();
    assert_same(&device.bytes("x.bin"), &bytes, "private");
    assert_eq!(json["Verified"], "Validator");
    assert_eq!(origin.take_sent(), bytes.len() as u64);
}

#[test]
fn without_ranges_or_validators_it_comes_in_one_answer() {
    let bytes = real_bytes(70 * MIB);
    let manners = [
        (
            Manner {
                no_ranges: true,
                ..Manner::default()
            },
            false,
        ),
        (
            Manner {
                no_validator: true,
                ..Manner::default()
            },
            true,
        ),
        (
            Manner {
                no_ranges: true,
                no_validator: true,
                ..Manner::default()
            },
            true,
        ),
    ];
    for (number, (manner, said)) in manners.into_iter().enumerate() {
        let origin = Origin::start(bytes.clone(), manner);
        let device = Device::new();
        let ended = device.get(&origin.url("/x.bin"), &["--json"]).well();
        assert_same(&device.bytes("x.bin"), &bytes, &format!("manner {number}"));
        assert_eq!(
            ended.stderr.contains("in one answer"),
            said,
            "{number}: {}",
            ended.stderr
        );
        let verified = if said { "Length" } else { "Validator" };
        assert_eq!(ended.json()["Verified"], verified, "manner {number}");
        let sent = origin.take_sent();
        assert!(sent < 2 * bytes.len() as u64, "manner {number}: {sent}");
    }
}

#[test]
fn o_names_a_file_a_directory_or_standard_output() {
    let bytes = real_bytes(3 * MIB + 5);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let device = Device::new();
    let url = origin.url("/some/name%20it.bin?a=/b");
    device.get(&url, &[]).well();
    fs::create_dir(device.file("dir")).expect("made");
    device.get(&url, &["-o", "dir"]).well();
    fs::write(device.file("old"), "old").expect("written");
    device.get(&url, &["-o", "old"]).well();
    symlink(device.file("old"), device.file("link")).expect("linked");
    for name in ["name it.bin", "dir/name it.bin", "old"] {
        assert_same(&device.bytes(name), &bytes, name);
    }
    let ended = device.get(&url, &["-o", "-"]).well();
    assert_same(&ended.stdout, &bytes, "standard output");
    device.get(&url, &["-o", "/dev/null"]).well();
    device.get(&url, &["-o", "none/x"]).badly(1);
    device.get(&url, &["-o", "none/"]).badly(2);
}

#[test]
fn a_name_that_has_its_sha1_is_checked_against_it() {
    let bytes = real_bytes(9 * MIB);
    let path = named_path(&bytes);
    let mut wrong = bytes.clone();
    wrong[5 * MIB] ^= 1;
    let origin = Origin::start(bytes.clone(), Manner::default());
    let device = Device::new();
    // Only below the hosts of the family does a name mean its content.
    let host = super::rig::larder::FAMILY[0];
    device.config(&format!(
        "[origins.connect]\n{host:?} = \"{}\"\n",
        origin.address()
    ));
    let url = format!("http://{host}{path}");
    let json = device.get(&url, &["--json", "-o", "x"]).well().json();
    assert_eq!(json["Verified"], "Sha1");
    assert_same(&device.bytes("x"), &bytes, "by its name");
    origin.change(wrong.clone());
    let other = Device::new();
    other.config(&format!(
        "[origins.connect]\n{host:?} = \"{}\"\n",
        origin.address()
    ));
    other.get(&url, &["-o", "x"]).badly(5);
    assert!(other.names().is_empty(), "{:?}", other.names());
    // What was wrong is not kept.
    origin.change(bytes.clone());
    other.get(&url, &["-o", "x"]).well();
    assert_same(&other.bytes("x"), &bytes, "after all");
}

#[test]
fn by_https_with_an_authority_of_ones_own() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let (ca, _) = pki::authority(directory.path(), "ca");
    pki::certificate(directory.path(), "ca", "origin.example");
    let at = directory.path().display();
    let nginx = Nginx::with_locations(&format!(
        "listen @IP@:8443 ssl; ssl_certificate {at}/host.crt; ssl_certificate_key {at}/host.key;"
    ));
    let bytes = real_bytes(11 * MIB);
    nginx.put("/x.bin", &bytes);
    let device = Device::new();
    let connect = format!(
        "[origins.connect]\n\"origin.example\" = \"{}:8443\"\n",
        nginx.ip()
    );
    device.config(&format!("[origins]\nca_file = {ca:?}\n{connect}"));
    device.get("https://origin.example/x.bin", &[]).well();
    assert_same(&device.bytes("x.bin"), &bytes, "by https");
    device.config(&connect);
    let ended = device
        .get("https://origin.example/x.bin", &["-o", "y"])
        .badly(4);
    assert!(ended.stderr.contains("TLS"), "{}", ended.stderr);
}

#[test]
fn redirects_are_followed() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = Nginx::with_locations("location /old/ { return 302 http://@IP@:8000/new/$arg_f; }");
    let bytes = real_bytes(6 * MIB);
    nginx.put("/new/x.bin", &bytes);
    let device = Device::new();
    let url = format!("http://{}/old/y?f=x.bin", nginx.address());
    device.get(&url, &["-o", "z"]).well();
    assert_same(&device.bytes("z"), &bytes, "after a redirect");
}

#[test]
fn bypass_keeps_nothing_and_asks_once() {
    let bytes = real_bytes(15 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let device = Device::new();
    device.config("[policy]\nDODownloadMode = 100\nDOCacheHost = \"127.0.0.1:1\"\n");
    let json = device.get(&origin.url("/x.bin"), &["--json"]).well().json();
    assert_same(&device.bytes("x.bin"), &bytes, "bypassed");
    assert_eq!(json["DownloadMode"], 100);
    assert_eq!(origin.take_seen(), ["GET /x.bin HTTP/1.1"]);
    assert!(!device.cache().exists(), "there is no store");
}

#[test]
fn two_at_once_both_come() {
    let bytes = real_bytes(24 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let device = Device::new();
    origin.hold_at(6 << 20);
    let mut first = device.start(&origin.url("/x.bin"), &["-o", "first"], "first.log");
    super::rig::eventually("the first is in the middle", || {
        origin.is_held().then_some(())
    });
    let mut same_file = device.start(&origin.url("/x.bin"), &["-o", "first"], "same.log");
    let mut second = device.start(&origin.url("/x.bin"), &["-o", "second"], "second.log");
    let mut third = device.start(&origin.url("/y.bin"), &["-o", "third"], "third.log");
    let before = origin.sent();
    super::rig::eventually("the one for the same file gives up", || same_file.ended());
    assert!(
        same_file.said().contains("another download writes"),
        "{}",
        same_file.said()
    );
    assert_eq!(origin.sent(), before, "nothing passes the gate");
    origin.release();
    for (process, name) in [
        (&mut first, "first"),
        (&mut second, "second"),
        (&mut third, "third"),
    ] {
        let status = process.wait();
        assert!(status.success(), "{name}: {status}: {}", process.said());
        assert_same(&device.bytes(name), &bytes, name);
    }
    let left = fs::read_dir(device.cache().join("larder/more")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "stores beside the first are cleared away");
}

#[test]
fn without_a_coordinator_it_is_simple_and_there_is_nobody_to_stay_for() {
    let bytes = real_bytes(12 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let device = Device::new();
    let ended = device
        .get(&origin.url("/x.bin"), &["--json", "--seed"])
        .well();
    assert_same(&device.bytes("x.bin"), &bytes, "simple");
    let json = ended.json();
    assert_eq!(
        (&json["DownloadMode"], &json["Status"]),
        (&99.into(), &"Complete".into())
    );
    assert!(
        ended.stderr.contains("nobody to stay for"),
        "{}",
        ended.stderr
    );
    // One that is away is told apart from none, and holds nothing up.
    device.config(
        "[server]\npeer = \"127.0.0.1:0\"\n[coordinator]\nurl = \"http://127.0.0.1:1\"\n\
         [policy]\nDODelayForegroundDownloadFromHttp = 3600\nDOMinRAMAllowedToPeer = 1\n\
         DOMinDiskSizeAllowedToPeer = 1\n",
    );
    let json = device.get(&origin.url("/y.bin"), &["--json"]).well().json();
    assert_same(&device.bytes("y.bin"), &bytes, "the coordinator is away");
    assert_eq!(json["DownloadMode"], 99, "{json}");
    let why = json["DownloadModeReason"].as_str().expect("words");
    assert!(why.contains("can not be reached"), "{why}");
}
