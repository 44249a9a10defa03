//! A disk that is full. The rule: clients never notice; what can not be stored passes through.

mod rig;

use rig::larder::{FAMILY, Larder, Setup};
use rig::nginx::Nginx;
use rig::small_disk::SmallDisk;
use rig::{assert_same, have};
use std::fs;

const MIB: usize = 1 << 20;

#[test]
fn clients_do_not_notice_a_full_disk() {
    if !rig::root("to mount a small file system") || !have(&["nginx", "mkfs.ext4", "mount"]) {
        return;
    }
    let disk = SmallDisk::of(400 << 20);
    let nginx = Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        store: Some(disk.mount().join("store")),
        more: "[policy]\nDOMaxCacheSize = 100\n",
        ..Setup::default()
    });
    let wanted = rig::real_bytes(60 * MIB);
    let path = nginx.put_named(&wanted);
    let get = larder.get(FAMILY[0], &path);
    let early = get.clone().range(0, 4 * MIB as u64 - 1).run();
    assert_same(&early.expect("an answer").body, &wanted[..4 * MIB], "early");
    disk.fill(0);
    for turn in 0..3 {
        let answer = get.run().expect("an answer");
        assert_eq!(answer.status, 200, "turn {turn}: {}", answer.head);
        assert_same(&answer.body, &wanted, "with a full disk");
    }
    // More than could ever have been there.
    for number in 0..8 {
        let other = &wanted[number..];
        let path = nginx.put_named(other);
        let answer = larder.get(FAMILY[0], &path).run().expect("an answer");
        assert_eq!(answer.status, 200, "object {number}: {}", answer.head);
        assert_same(&answer.body, other, "with a full disk");
    }
}

#[test]
fn it_starts_on_a_full_disk() {
    if !rig::root("to mount a small file system") || !have(&["nginx", "mkfs.ext4", "mount"]) {
        return;
    }
    let disk = SmallDisk::of(64 << 20);
    fs::create_dir(disk.mount().join("store")).expect("made");
    disk.fill(4 << 20);
    let nginx = Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        store: Some(disk.mount().join("store")),
        ..Setup::default()
    });
    let wanted = rig::real_bytes(20 * MIB);
    let path = nginx.put_named(&wanted);
    for _ in 0..2 {
        let answer = larder.get(FAMILY[0], &path).run().expect("an answer");
        assert_same(&answer.body, &wanted, "with a full disk");
    }
}

#[test]
fn the_cache_gives_way_on_its_drive_and_takes_another_limit() {
    if !rig::root("to mount a small file system") || !have(&["nginx", "mkfs.ext4", "mount"]) {
        return;
    }
    let disk = SmallDisk::of(500 << 20);
    let nginx = Nginx::start();
    let mut larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        store: Some(disk.mount().join("store")),
        more: "[policy]\nDOMaxCacheSize = 50\n",
        ..Setup::default()
    });
    let wanted = rig::real_bytes(40 * MIB);
    let figure = |larder: &Larder, name: &str| larder.metric(name, "") / f64::from(1 << 20);
    let stored = |larder: &Larder| figure(larder, "larder_store_bytes");
    let capacity = |larder: &Larder| figure(larder, "larder_store_capacity_bytes");
    for number in 0..4 {
        let path = nginx.put_named(&wanted[number..]);
        let answer = larder.get(FAMILY[0], &path).run().expect("an answer");
        assert_same(&answer.body, &wanted[number..], "stored");
    }
    rig::eventually("what came is stored", || {
        (stored(&larder) > 150.0).then_some(())
    });
    let before = capacity(&larder);
    assert!(
        (200.0..=250.0).contains(&before),
        "half of the drive: {before}"
    );

    // Others take 250 MiB of it: half of the rest is less than what is stored.
    fs::write(disk.mount().join("others"), vec![1; 250 * MIB]).expect("written");
    rig::eventually("it gives way", || {
        let (stored, capacity) = (stored(&larder), capacity(&larder));
        (capacity < 125.0 && stored <= capacity).then_some(())
    });
    let path = nginx.put_named(&wanted);
    let answer = larder.get(FAMILY[0], &path).run().expect("an answer");
    assert_same(&answer.body, &wanted, "whatever is left of it");

    // An absolute size beats the percentage, and no restart is needed.
    let config = fs::read_to_string(larder.config()).expect("a configuration");
    let absolute = config.replace(
        "DOMaxCacheSize = 50",
        "DOMaxCacheSize = 1\nDOAbsoluteMaxCacheSize = 2",
    );
    fs::write(larder.config(), absolute).expect("written");
    larder.process().signal("HUP");
    rig::eventually("2 GB", || (capacity(&larder) > 2047.0).then_some(()));
    fs::write(larder.config(), config.replace("= 50", "= 1")).expect("written");
    larder.process().signal("HUP");
    rig::eventually("one percent", || (capacity(&larder) < 5.0).then_some(()));
    // Slabs are of 8 MiB at least, so that nothing is left.
    rig::eventually("nothing is left", || (stored(&larder) <= 5.0).then_some(()));
    let answer = larder.get(FAMILY[0], &path).run().expect("an answer");
    assert_same(&answer.body, &wanted, "past the store");
}
