//! Downloads that are broken off and go on: only what is missing is asked for, and versions never mix.

use super::MIB;
use super::device::Device;
use super::origin::{Manner, Origin};
use super::rig::{assert_same, eventually, real_bytes};

/// What a kill may cost: pieces under way, and what was not yet written a fraction of a second before.
const LOST_BYTES_MAX: u64 = 24 << 20;

#[test]
fn after_a_kill_only_what_is_missing_is_asked_for() {
    let bytes = real_bytes(100 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let device = Device::new();
    let url = origin.url("/x.bin");
    origin.hold_at(60 << 20);
    let mut process = device.start(&url, &[], "log");
    eventually("the origin holds", || origin.is_held().then_some(()));
    // Written for the store, that is: in whole pieces, and made durable a moment later, which a busy disk may draw out. So
    // it is let come to rest, where only words of its progress are written.
    let (mut before, mut looks) = (0, 0);
    eventually("most of it is in the store", || {
        let now = written(process.pid());
        if now > before + (1 << 20) {
            (before, looks) = (now, 0);
        }
        looks += 1;
        (now >= part_len(&device) + (50 << 20) && looks > 200).then_some(())
    });
    process.kill();
    origin.release();
    origin.take_sent();
    let json = device.get(&url, &["--json"]).well().json();
    assert_same(&device.bytes("x.bin"), &bytes, "resumed");
    let sent = origin.take_sent();
    assert!(
        sent <= (40 << 20) + LOST_BYTES_MAX,
        "{sent} bytes were sent again"
    );
    let number = |field: &str| json[field].as_u64().expect(field);
    assert_eq!(
        number("BytesFromDisk") + number("TotalBytesDownloaded"),
        bytes.len() as u64,
        "{json}"
    );
    assert!(number("BytesFromDisk") >= 36 << 20, "{json}");
    assert_eq!(device.names(), ["x.bin"]);
}

/// Bytes that a process has written, wherever to.
fn written(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

fn part_len(device: &Device) -> u64 {
    let part = std::fs::metadata(device.file("x.bin.part"));
    part.map_or(0, |part| part.len())
}

#[test]
fn an_interrupt_leaves_what_came_and_says_so() {
    let bytes = real_bytes(60 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    for (signal, number) in [("INT", 0), ("TERM", 1)] {
        let device = Device::new();
        let url = origin.url("/x.bin");
        origin.take_sent();
        origin.hold_at(30 << 20);
        let mut process = device.start(&url, &[], "log");
        eventually("the origin holds", || origin.is_held().then_some(()));
        process.signal(signal);
        let status = process.wait();
        assert_eq!(status.code(), Some(130), "{signal}: {}", process.said());
        assert!(
            process.said().contains("goes on from there"),
            "{}",
            process.said()
        );
        assert!(device.names().is_empty(), "{:?}", device.names());
        origin.release();
        origin.take_sent();
        device.get(&url, &[]).well();
        assert_same(&device.bytes("x.bin"), &bytes, signal);
        let sent = origin.take_sent();
        assert!(
            sent <= 48 << 20,
            "{signal} {number}: {sent} bytes were sent again"
        );
    }
}

#[test]
fn connections_that_are_cut_again_and_again_cost_little() {
    let bytes = real_bytes(20 * MIB);
    let origin = Origin::start(
        bytes.clone(),
        Manner {
            cut_after: Some(1_300_000),
            ..Manner::default()
        },
    );
    let device = Device::new();
    device.get(&origin.url("/x.bin"), &[]).well();
    assert_same(&device.bytes("x.bin"), &bytes, "cut");
    let sent = origin.take_sent();
    assert!(
        sent < 2 * bytes.len() as u64,
        "{sent} bytes for {}",
        bytes.len()
    );
}

#[test]
fn an_object_that_changes_in_the_middle_is_fetched_anew_and_never_mixed() {
    // More than is ever asked for at once.
    let old = real_bytes(130 * MIB);
    let new: Vec<u8> = old.iter().rev().copied().collect();
    let origin = Origin::start(old, Manner::default());
    let device = Device::new();
    origin.hold_at(20 << 20);
    let mut process = device.start(&origin.url("/x.bin"), &[], "log");
    eventually("the origin holds", || origin.is_held().then_some(()));
    origin.change(new.clone());
    // Answers under way are of the old version; those that follow are of the new one.
    origin.release();
    let status = process.wait();
    assert!(status.success(), "{status}: {}", process.said());
    assert_same(&device.bytes("x.bin"), &new, "the new version");
    assert_eq!(device.names(), ["x.bin"]);
}

#[test]
fn an_object_that_changed_since_the_kill_is_fetched_anew() {
    let old = real_bytes(40 * MIB);
    let new: Vec<u8> = old.iter().rev().copied().collect();
    let origin = Origin::start(old, Manner::default());
    let device = Device::new();
    origin.hold_at(20 << 20);
    let mut process = device.start(&origin.url("/x.bin"), &[], "log");
    eventually("the origin holds", || origin.is_held().then_some(()));
    process.kill();
    origin.change(new.clone());
    origin.release();
    let json = device.get(&origin.url("/x.bin"), &["--json"]).well().json();
    assert_same(&device.bytes("x.bin"), &new, "the new version");
    assert_eq!(json["BytesFromDisk"], 0, "nothing of the old one is used");
}
