//! A small file system in a file, that tests fill and mount anew. The rule: it is gone with its test, whoever still has files
//! open there.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const MIB: usize = 1 << 20;

/// A small file system of its own, in a file.
pub(crate) struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    pub(crate) fn of(bytes: u64) -> Self {
        Self::within(&std::env::temp_dir(), bytes)
    }

    /// One whose file lies in that directory.
    pub(crate) fn within(directory: &Path, bytes: u64) -> Self {
        let directory = tempfile::tempdir_in(directory).expect("a directory");
        let image = directory.path().join("image");
        File::create(&image)
            .and_then(|file| file.set_len(bytes))
            .expect("an image");
        let disk = Self { directory };
        fs::create_dir(disk.mount()).expect("made");
        run("mkfs.ext4", &["-q", "-m", "0"], &[&image]);
        // As Debian's installer mounts its own: an error of the file system makes it read-only.
        run(
            "mount",
            &["-o", "loop,errors=remount-ro"],
            &[&image, &disk.mount()],
        );
        disk
    }

    pub(crate) fn mount(&self) -> PathBuf {
        self.directory.path().join("mount")
    }

    /// Fills what is left, but for about `left` bytes.
    pub(crate) fn fill(&self, left: usize) {
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

impl SmallDisk {
    /// Mounts it anew, `ro` or `rw`.
    pub(crate) fn remount(&self, how: &str) {
        run(
            "mount",
            &["-o", &format!("remount,{how}")],
            &[&self.mount()],
        );
    }

    /// Makes it read-only though files are open for writing, as the kernel does after an error: ext4 is told of one.
    pub(crate) fn fails_into_read_only(&self) {
        let device = self.device();
        let name = device.file_name().expect("a device").to_string_lossy();
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "1").expect("told");
    }

    /// Takes the disk away below its file system: from now on every read and every write is an error.
    pub(crate) fn goes_away(&self) {
        // EXT4_IOC_SHUTDOWN, without writing anything more.
        const SHUT: &str = "open(my $at, '<', $ARGV[0]) or die $!; my $how = pack('L', 2); \
                            ioctl($at, 0x8004587d, $how) or die $!";
        run("perl", &["-e", SHUT], &[&self.mount()]);
    }

    fn device(&self) -> PathBuf {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let mount = self.mount();
        let found = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let device = fields.next()?;
            (Path::new(fields.next()?) == mount).then(|| PathBuf::from(device))
        });
        found.expect("it is mounted")
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
