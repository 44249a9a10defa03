//! A disk that is full. The rule: clients never notice; what can not be stored passes through.

mod rig;

use rig::larder::{FAMILY, Larder, Setup};
use rig::nginx::Nginx;
use rig::{assert_same, have};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// A small file system of its own, in a file.
struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    fn of(bytes: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let image = directory.path().join("image");
        File::create(&image)
            .and_then(|file| file.set_len(bytes))
            .expect("an image");
        let disk = Self { directory };
        fs::create_dir(disk.mount()).expect("made");
        run("mkfs.ext4", &["-q", "-m", "0"], &[&image]);
        run("mount", &["-o", "loop"], &[&image, &disk.mount()]);
        disk
    }

    fn mount(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    /// Fills what is left, but for about `left` bytes.
    fn fill(&self, left: usize) {
        let spare = self.mount().join("spare");
        fs::write(&spare, vec![1; left]).expect("spare room");
        let mut file = File::create(self.mount().join("filler")).expect("a file");
        for chunk in [MIB, 4096] {
            let bytes = vec![1; chunk];
            while file
                .write_all(&bytes)
                .and_then(|()| file.sync_data())
                .is_ok()
            {}
        }
        fs::remove_file(spare).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the program that is about to be killed may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(self.mount()).status();
    }
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) {
    let output = Command::new(program)
        .args(arguments)
        .args(paths)
        .env(
            "PATH",
            std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin",
        )
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
}

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
