//! The directories of the store and the disks below them. The rule: a disk is asked, never written to; where it hangs, the
//! check hangs with it and is told as such.

use super::finding::{Told, bad, fair, good};
use super::patient::Patient;
use rustix::fs::{Access, StatVfs, access, statvfs};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What must be free for the store's own tables, in bytes.
const FREE_BYTES_MIN: u64 = 32 << 20;
/// The same in percent of the disk, where what fills it is not the store.
const FREE_PERCENT_MIN: u64 = 2;
/// How much of what is used may be another's before it is the other who fills the disk.
const OWN_PERCENT_MIN: u64 = 80;

pub(super) fn paths(patient: &Patient) -> &[PathBuf] {
    let config = patient.config.as_ref();
    config.map_or(&[], |config| &config.store_paths)
}

fn each(patient: &Patient, look: impl Fn(&Path) -> Option<Told>) -> Vec<Told> {
    let told = |path: &PathBuf| Some(look(path)?.about(format!("store {}", path.display())));
    paths(patient).iter().filter_map(told).collect()
}

pub(super) fn store(patient: &Patient) -> Vec<Told> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    each(patient, |path| Some(one(path, &mounts)))
}

fn one(path: &Path, mounts: &str) -> Told {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) => return missing(path, &error),
    };
    if !found.is_dir() {
        return bad("is no directory", "name another by [store] paths");
    }
    match access(path, Access::WRITE_OK | Access::EXEC_OK) {
        Err(Errno::ROFS) => {
            return bad(
                "lies on a file system that is read-only, as one is put after an error",
                "see `dmesg`, check the disk, and mount it for writing",
            );
        }
        Err(error) => {
            return fair(
                format!("this user can not write to it ({error}), larder's may"),
                "run this as the user that larder runs as, or give it to that one",
            );
        }
        Ok(()) => {}
    }
    match kind_of(mounts, path) {
        Some(kind @ ("tmpfs" | "ramfs")) => bad(
            format!("lies in memory ({kind})"),
            "name a directory on a disk by [store] paths",
        ),
        Some(kind @ ("nfs" | "nfs4" | "cifs" | "fuse")) => fair(
            format!("lies on {kind}"),
            "a disk of this machine is faster and safer",
        ),
        Some(kind) => good(kind),
        None => good("is there"),
    }
}

fn missing(path: &Path, error: &std::io::Error) -> Told {
    let above = path.ancestors().find(|above| above.is_dir());
    let made = above.is_some_and(|above| access(above, Access::WRITE_OK).is_ok());
    if made && error.kind() == std::io::ErrorKind::NotFound {
        return fair("is not there yet", "`larder serve` makes it");
    }
    bad(
        error.to_string(),
        "make it, and give it to the user that larder runs as",
    )
}

/// The kind of the file system that a path lies on.
fn kind_of<'m>(mounts: &'m str, path: &Path) -> Option<&'m str> {
    let lines = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let around = lines.filter(|(point, _)| path.starts_with(point));
    // Of those on one point the last one is seen.
    around
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind)
}

pub(super) fn room(patient: &Patient) -> Vec<Told> {
    each(patient, |path| {
        let disk = statvfs(path).ok()?;
        Some(judge(&disk, own_bytes(path)))
    })
}

fn judge(disk: &StatVfs, own: u64) -> Told {
    let (total, free) = (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize);
    let used = total.saturating_sub(disk.f_bfree * disk.f_frsize);
    let mib = |bytes: u64| bytes >> 20;
    if disk.f_files > 0 && disk.f_favail == 0 {
        return bad(
            "no file can be made there any more: the file system has no inodes left",
            "delete some files",
        );
    }
    let found = format!(
        "{} of {} MiB are free, {} are the store's",
        mib(free),
        mib(total),
        mib(own)
    );
    let by_others = own.saturating_mul(100) < used.saturating_mul(OWN_PERCENT_MIN);
    let advice = "free some space there (`du -x`), or name another disk by [store] paths; until then what is fetched is passed through";
    if free < FREE_BYTES_MIN && by_others {
        return bad(format!("{found}: others have filled it"), advice);
    }
    if free < FREE_BYTES_MIN {
        return fair(found, "lower the limit on the cache (DOMaxCacheSize)");
    }
    if free.saturating_mul(100) < total.saturating_mul(FREE_PERCENT_MIN) && by_others {
        return fair(found, advice);
    }
    good(found)
}

/// What the store takes there, in bytes.
fn own_bytes(path: &Path) -> u64 {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let found = entry.metadata().ok()?;
        Some(match found.is_dir() {
            true => own_bytes(&entry.path()),
            // Blocks of 512 bytes, whatever the disk's are (stat(2)).
            false => found.blocks() * 512,
        })
    });
    sizes.sum()
}

pub(super) fn devices(patient: &Patient) -> Vec<Told> {
    let paths = paths(patient);
    let mut on: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for path in paths {
        if let Ok(found) = fs::metadata(path) {
            on.entry(found.dev())
                .or_default()
                .push(path.display().to_string());
        }
    }
    let shared = on.into_values().filter(|names| names.len() > 1);
    let mut told: Vec<Told> = shared
        .map(|names| {
            fair(
                format!("{} lie on the same disk", names.join(" and ")),
                "name one directory for each disk by [store] paths: each thinks that it has the disk for itself",
            )
        })
        .collect();
    if told.is_empty() && paths.len() > 1 {
        told.push(good("each directory has its own"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn a_path_lies_on_the_nearest_mount() {
        let mounts =
            "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /var/lib xfs rw 0 0\n";
        assert_eq!(kind_of(mounts, Path::new("/var/lib/larder")), Some("xfs"));
        assert_eq!(kind_of(mounts, Path::new("/var/library")), Some("ext4"));
        assert_eq!(kind_of(mounts, Path::new("/tmp/x")), Some("tmpfs"));
        assert_eq!(kind_of("", Path::new("/tmp/x")), None);
    }

    #[test]
    fn a_disk_that_the_store_itself_fills_is_no_trouble() {
        let mut disk = statvfs("/").expect("a root");
        (disk.f_frsize, disk.f_blocks, disk.f_files, disk.f_favail) = (1 << 20, 1000, 10, 5);
        let mut grade = |free, own: u64| {
            (disk.f_bfree, disk.f_bavail) = (free, free);
            judge(&disk, own << 20).grade
        };
        assert_eq!(grade(500, 0), Grade::Good);
        assert_eq!(grade(19, 900), Grade::Fair);
        assert_eq!(grade(19, 100), Grade::Bad);
        assert_eq!(grade(33, 100), Grade::Good);
        disk.f_favail = 0;
        assert_eq!(judge(&disk, 0).grade, Grade::Bad);
    }
}
