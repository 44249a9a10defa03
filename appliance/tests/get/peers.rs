//! Devices among each other: what one has the others do not fetch from the origin, and whoever is missing or lies,
//! everybody gets the right bytes.

use super::MIB;
use super::device::Device;
use super::origin::{Manner, Origin, etag};
use super::rig::meeting::Meeting;
use super::rig::{address, assert_same, eventually, real_bytes};

/// A device that asks this coordinator, with more lines of policy.
fn device(meeting: &Meeting, policy: &str) -> Device {
    let device = Device::new();
    device.config(&format!(
        "[server]\npeer = \"{}:7680\"\n[coordinator]\nurl = \"http://{}\"\n\
         [policy]\nDOMinRAMAllowedToPeer = 1\nDOMinDiskSizeAllowedToPeer = 1\n{policy}\n",
        address(),
        meeting.address
    ));
    device
}

/// HTTP is left alone as long as peers may bring.
const PATIENT: &str = "DODelayForegroundDownloadFromHttp = 60";

#[test]
fn three_devices_fetch_one_copy_between_them() {
    let meeting = Meeting::start();
    let bytes = real_bytes(40 * MIB + 11);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let url = origin.url("/x.bin");
    meeting.publish(&url, &bytes);
    let first = device(&meeting, "");
    let mut seeding = first.start(&url, &["--seed", "--json"], "log");
    eventually("the first is done and stays", || {
        assert!(seeding.ended().is_none(), "{}", seeding.said());
        seeding.said().contains("\"Caching\"").then_some(())
    });
    assert_same(&first.bytes("x.bin"), &bytes, "the first");
    let alone = origin.take_sent();
    assert!(alone <= bytes.len() as u64 + (1 << 20), "{alone}");
    let others = [device(&meeting, PATIENT), device(&meeting, PATIENT)];
    let mut running: Vec<_> = others
        .iter()
        .map(|device| device.start(&url, &["--json"], "log"))
        .collect();
    for (device, process) in others.iter().zip(&mut running) {
        let status = process.wait();
        assert!(status.success(), "{status}: {}", process.said());
        assert_same(&device.bytes("x.bin"), &bytes, "another");
        let json: serde_json::Value = serde_json::from_str(&process.said()).expect("JSON");
        let number = |field: &str| json[field].as_u64().expect(field);
        let parts = number("BytesFromHttp") + number("BytesFromPeers");
        assert_eq!(parts, bytes.len() as u64, "{json}");
        assert_eq!(
            number("BytesFromPeers"),
            number("BytesFromLanPeers"),
            "{json}"
        );
        assert!(number("BytesFromHttp") <= 4 << 20, "{json}");
        assert!(json["PercentPeerCaching"].as_f64() >= Some(90.0), "{json}");
        assert_eq!(json["DownloadMode"], 1, "{json}");
    }
    let more = origin.take_sent();
    super::rig::tell(&format!(
        "three devices, {} bytes: {alone} and {more} from the origin",
        bytes.len()
    ));
    assert!(
        more <= 8 << 20,
        "{more} bytes came from the origin once more"
    );
    seeding.signal("INT");
    assert!(seeding.wait().success(), "{}", seeding.said());
}

#[test]
fn a_peer_that_goes_away_in_the_middle_costs_nothing_but_time() {
    let meeting = Meeting::start();
    let bytes = real_bytes(60 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let url = origin.url("/x.bin");
    meeting.publish(&url, &bytes);
    // Slow enough that it does not bring all of it before it goes.
    let first = device(&meeting, "DOMaxUploadBandwidth = 8192");
    let mut seeding = first.start(&url, &["--seed", "--json"], "log");
    eventually("the first stays", || {
        seeding.said().contains("\"Caching\"").then_some(())
    });
    let second = device(&meeting, "DODelayForegroundDownloadFromHttp = 15");
    let mut running = second.start(&url, &["--json"], "log");
    eventually("something came", || {
        let part = std::fs::metadata(second.file("x.bin.part")).ok()?;
        (part.len() >= 4 << 20).then_some(())
    });
    seeding.kill();
    let status = running.wait();
    assert!(status.success(), "{status}: {}", running.said());
    assert_same(&second.bytes("x.bin"), &bytes, "without its peer");
    let json: serde_json::Value = serde_json::from_str(&running.said()).expect("JSON");
    assert!(json["BytesFromLanPeers"].as_u64() > Some(0), "{json}");
}

/// The object changes, and keeps its length; the coordinator and the first device go on telling of the old one.
fn a_second_device_gets_what_the_origin_has_now(changed: &[usize], tells_version: bool) {
    let mut meeting = Meeting::start();
    let old = real_bytes(30 * MIB);
    let mut new = old.clone();
    for piece in changed {
        new[piece * MIB + 5] ^= 1;
    }
    let origin = Origin::start(old.clone(), Manner::default());
    let url = origin.url("/x.bin");
    meeting.publish_version(&url, &old, tells_version.then(|| etag(&old)));
    let first = device(&meeting, "");
    let mut seeding = first.start(&url, &["--seed", "--json"], "log");
    eventually("the first stays", || {
        seeding.said().contains("\"Caching\"").then_some(())
    });
    origin.change(new.clone());
    let second = device(&meeting, "DODelayForegroundDownloadFromHttp = 5");
    second.get(&url, &[]).well();
    assert_same(&second.bytes("x.bin"), &new, "what the origin has now");
    meeting.stop();
    seeding.kill();
}

#[test]
fn hashes_of_another_version_bring_no_wrong_file() {
    a_second_device_gets_what_the_origin_has_now(&[0, 7, 20, 29], false);
}

#[test]
fn hashes_of_a_version_that_begins_alike_are_known_by_its_tag() {
    a_second_device_gets_what_the_origin_has_now(&[7, 20, 29], true);
}

#[test]
fn modes_without_peers_ask_none() {
    let meeting = Meeting::start();
    let bytes = real_bytes(20 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let url = origin.url("/x.bin");
    meeting.publish(&url, &bytes);
    let first = device(&meeting, "");
    let mut seeding = first.start(&url, &["--seed", "--json"], "log");
    eventually("the first stays", || {
        seeding.said().contains("\"Caching\"").then_some(())
    });
    // Mode, or what keeps a device from peering; the mode that is told.
    for (policy, mode) in [
        ("DODownloadMode = 0", 0),
        ("DODownloadMode = 99", 99),
        ("DODownloadMode = 100", 100),
        ("DOMinFileSizeToCache = 21", 99),
    ] {
        let device = device(&meeting, policy);
        let json = device.get(&url, &["--json"]).well().json();
        assert_same(&device.bytes("x.bin"), &bytes, policy);
        assert_eq!(json["BytesFromPeers"], 0, "{policy}: {json}");
        assert_eq!(json["DownloadMode"], mode, "{policy}: {json}");
    }
    seeding.kill();
}
