//! Faults of the disks.

use super::report::{appliance, look, origin, rewrite};
use super::rig::larder::FAMILY;
use super::rig::small_disk::SmallDisk;
use super::rig::{eventually, have, real_bytes, root};
use std::fs;
use std::io::{Seek, SeekFrom, Write};

const MIB: u64 = 1 << 20;

#[test]
fn a_disk_that_is_full_or_can_not_be_written_is_told() {
    if !root("to mount a small file system") || !have(&["nginx", "mkfs.ext4", "mount"]) {
        return;
    }
    let nginx = origin();
    let disk = SmallDisk::of(300 * MIB);
    let larder = appliance(&nginx, |setup| {
        setup.store = Some(disk.mount().join("store"))
    });
    let report = look(&larder);
    for check in ["store", "store-room", "disk-health"] {
        report.is_well(check);
    }
    disk.fill(0);
    look(&larder).turned(
        "store-room",
        "bad",
        &["others have filled it", "du -x"],
        &[],
    );
    fs::remove_file(disk.mount().join("filler")).expect("removed");
    look(&larder).is_well("store-room");
    // What has files open for writing keeps it from being mounted anew.
    let mut larder = larder;
    larder.kill();
    disk.remount("ro");
    look(&larder).turned("store", "bad", &["read-only", "dmesg"], &["appliance"]);
}

#[test]
fn a_store_in_memory_or_twice_on_one_disk_is_told() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = origin();
    let larder = appliance(&nginx, |_| {});
    look(&larder).is_well("store");
    let own = format!("paths = [{:?}", larder.directory().join("store"));
    let second = larder.directory().join("second");
    fs::create_dir(&second).expect("made");
    rewrite(&larder, &own, &format!("{own}, {second:?}"));
    look(&larder).turned("store-device", "fair", &["lie on the same disk"], &[]);
    let in_memory = tempfile::tempdir_in("/dev/shm").expect("memory");
    rewrite(
        &larder,
        &format!("{second:?}"),
        &format!("{:?}", in_memory.path()),
    );
    look(&larder).turned("store", "bad", &["in memory (tmpfs)"], &[]);
    let file = larder.directory().join("file");
    fs::write(&file, "").expect("written");
    rewrite(
        &larder,
        &format!("{:?}", in_memory.path()),
        &format!("{file:?}"),
    );
    look(&larder).turned("store", "bad", &["no directory"], &[]);
}

#[test]
fn a_damaged_piece_is_told_once_it_was_found() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = origin();
    let larder = appliance(&nginx, |_| {});
    let wanted = real_bytes(3 << 20);
    let path = nginx.put_named(&wanted);
    let answer = larder.get(FAMILY[0], &path).run().expect("an answer");
    assert_eq!(answer.status, 200);
    eventually("it is on disk", || {
        (larder.metric("larder_store_pieces", "") >= 3.0).then_some(())
    });
    look(&larder).is_well("store-health");
    let url = format!("http://{}{path}", FAMILY[0]);
    larder.told(&["verify", &url]);
    let slabs = fs::read_dir(larder.directory().join("store")).expect("a store");
    let largest = slabs
        .flatten()
        .max_by_key(|entry| entry.metadata().map_or(0, |found| found.len()));
    let slab = largest.expect("a slab").path();
    let bytes = fs::read(&slab).expect("read");
    let at = bytes
        .windows(64)
        .position(|part| *part == wanted[1_500_000..1_500_064]);
    let mut file = fs::File::options().write(true).open(&slab).expect("opened");
    file.seek(SeekFrom::Start(at.expect("it lies there") as u64))
        .expect("sought");
    file.write_all(&[0x55; 64])
        .and_then(|()| file.sync_all())
        .expect("written");
    assert!(!larder.command(&["verify", &url]).status.success());
    look(&larder).turned("store-health", "fair", &["damaged", "larder verify"], &[]);
}

#[test]
fn a_disk_that_gives_errors_is_told() {
    if !root("to mount a small file system") || !have(&["nginx", "mkfs.ext4", "mount"]) {
        return;
    }
    // A disk in a file that has fewer bytes than the disk promises: what is written past them fails with EIO.
    let below = SmallDisk::of(96 * MIB);
    let disk = SmallDisk::within(&below.mount(), 300 * MIB);
    let nginx = origin();
    let larder = appliance(&nginx, |setup| {
        setup.store = Some(disk.mount().join("store"));
        setup.tables = "[policy]\nDOMaxCacheSize = 100\n".to_owned();
    });
    look(&larder).is_well("disk-health");
    let wanted = real_bytes(60 << 20);
    for number in 0..3 {
        let path = nginx.put_named(&wanted[number..]);
        let answer = larder.get(FAMILY[0], &path).run().expect("an answer");
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, wanted.len() - number)
        );
    }
    eventually("the disk has failed", || {
        (larder.metric("larder_store_io_errors_total", "") > 0.0).then_some(())
    });
    look(&larder).turned(
        "disk-health",
        "bad",
        &["have failed since the start", "smartctl"],
        &[],
    );
}
