//! Downloads that do not come: by which code each ends, and that nothing half is left.

use super::MIB;
use super::device::Device;
use super::origin::{Manner, Origin};
use super::rig::{assert_same, have, real_bytes, root};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn each_ending_has_its_code() {
    let origin = Origin::start(real_bytes(MIB), Manner::default());
    let device = Device::new();
    let status = |status| {
        origin.behave(Manner {
            status: Some(status),
            ..Manner::default()
        });
        device.get(&origin.url("/x.bin"), &["--json"])
    };
    for refused in [404, 403, 410, 401] {
        let json = status(refused).badly(3).json();
        assert_eq!(
            (json["ExitCode"].as_u64(), json["Status"].as_str()),
            (Some(3), Some("Paused"))
        );
        assert!(
            json["Error"]
                .as_str()
                .is_some_and(|text| text.contains(&refused.to_string())),
            "{json}"
        );
    }
    for trouble in [500, 503] {
        status(trouble).badly(4);
    }
    // What breaks off each time, and has nothing by which the rest could be fetched.
    origin.behave(Manner {
        no_validator: true,
        cut_after: Some(100_000),
        ..Manner::default()
    });
    device.get(&origin.url("/y.bin"), &[]).badly(4);
    device.get(&origin.url("/y.bin"), &["-o", "-"]).badly(5);
    device.get("http://127.0.0.1:1/x", &[]).badly(4);
    device.get("http://no.such.name.invalid/x", &[]).badly(4);
    device.get("example.org/x", &[]).badly(2);
    device.get("ftp://example.org/x", &[]).badly(2);
    assert!(device.names().is_empty(), "{:?}", device.names());
    device.config("[policy]\nDODownloadMode = 7\n");
    assert_eq!(device.get("http://a.example/x", &[]).code, Some(2));
    let unknown = device.get("http://a.example/x", &["--no-such-option"]);
    assert_eq!(unknown.code, Some(2));
}

#[test]
fn an_older_file_stays_where_the_new_one_does_not_come() {
    let origin = Origin::start(
        real_bytes(MIB),
        Manner {
            status: Some(404),
            ..Manner::default()
        },
    );
    let device = Device::new();
    fs::write(device.file("x.bin"), "old").expect("written");
    device.get(&origin.url("/x.bin"), &[]).badly(3);
    assert_eq!(device.bytes("x.bin"), b"old");
}

#[test]
fn without_a_store_it_comes_all_the_same() {
    let bytes = real_bytes(5 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let device = Device::new();
    // Not even root makes a directory below a file.
    fs::write(device.cache(), "no directory").expect("written");
    let ended = device.get(&origin.url("/x.bin"), &[]).well();
    assert!(
        ended.stderr.contains("can not be resumed"),
        "{}",
        ended.stderr
    );
    assert_same(&device.bytes("x.bin"), &bytes, "without a store");
}

/// A small file system in memory.
struct Small(PathBuf);

impl Small {
    fn of(bytes: u64, at: &Path) -> Self {
        fs::create_dir_all(at).expect("made");
        let size = format!("size={bytes}");
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .status()
            .expect("mount runs");
        assert!(done.success(), "{done}");
        Self(at.to_path_buf())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_told_and_left_as_it_was() {
    if !root("to mount a small file system") || !have(&["mount"]) {
        return;
    }
    let bytes = real_bytes(30 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let device = Device::new();
    let small = Small::of(20 << 20, &device.file("small"));
    let ended = device.get(&origin.url("/x.bin"), &["-o", "small"]).badly(6);
    assert!(ended.stderr.contains("make room"), "{}", ended.stderr);
    let left = fs::read_dir(&small.0).expect("mounted").count();
    assert_eq!(left, 0);
    // What came is in the store, so that only the rest has to come.
    origin.take_sent();
    device.get(&origin.url("/x.bin"), &[]).well();
    assert_same(&device.bytes("x.bin"), &bytes, "elsewhere");
    assert!(origin.take_sent() < 30 << 20);
}

#[test]
fn a_store_without_room_stops_no_download() {
    if !root("to mount a small file system") || !have(&["mount"]) {
        return;
    }
    let bytes = real_bytes(60 * MIB);
    let origin = Origin::start(bytes.clone(), Manner::default());
    let device = Device::new();
    let small = Small::of(24 << 20, &device.cache());
    File::create(small.0.join("filler"))
        .and_then(|file| file.set_len(1))
        .expect("written");
    device.get(&origin.url("/x.bin"), &[]).well();
    assert_same(&device.bytes("x.bin"), &bytes, "with a small store");
    let sent = origin.take_sent();
    assert!(sent < 120 << 20, "{sent} bytes were sent for 60 MiB");
}
