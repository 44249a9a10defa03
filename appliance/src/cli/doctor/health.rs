//! How the disks and what lies on them are doing. The rule: only what the kernel or the running appliance has counted is
//! told; nothing is read from the disks for it.

use super::disks::paths;
use super::finding::{Told, bad, fair, good};
use super::patient::Patient;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// An operation that takes longer on average, in milliseconds, keeps clients waiting.
const SLOW_MS: u64 = 100;
/// Of fewer operations nothing can be told.
const OPERATIONS_MIN: u64 = 1000;

pub(super) fn disks(patient: &Patient) -> Vec<Told> {
    let mut told = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths(patient) {
        let Some(dev) = fs::metadata(path).ok().map(|found| found.dev()) else {
            continue;
        };
        if seen.insert(dev) {
            let about = format!("disk of {}", path.display());
            told.extend(disk(Path::new("/sys"), dev).map(|told| told.about(about)));
        }
    }
    let counted = |name| patient.figure(name).unwrap_or(0.0);
    let failed = counted("larder_store_io_errors_total");
    if failed > 0.0 {
        told.push(bad(
            format!("{failed} operations of the store have failed since the start"),
            "see `journalctl -u larder` and `dmesg` for which disk, and `smartctl -a` for how it is",
        ));
    }
    told
}

/// None where the kernel tells nothing of it, as of a file system that is no block device's.
fn disk(sys: &Path, dev: u64) -> Option<Told> {
    let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
    let place = sys.join(format!("dev/block/{major}:{minor}"));
    let stat = fs::read_to_string(place.join("stat")).ok()?;
    let name = fs::canonicalize(&place).ok()?;
    let name = name.file_name()?.to_str()?.to_owned();
    let errors = fs::read_to_string(sys.join(format!("fs/ext4/{name}/errors_count")));
    let errors = errors.ok().and_then(|text| text.trim().parse::<u64>().ok());
    if errors.is_some_and(|errors| errors > 0) {
        return Some(bad(
            format!(
                "the file system on {name} has met {} errors",
                errors.unwrap_or(0)
            ),
            "see `dmesg`, and check it (e2fsck) while nothing uses it",
        ));
    }
    Some(match wait_ms(&stat) {
        Some(ms) if ms > SLOW_MS => fair(
            format!("an operation on {name} takes {ms} ms on average"),
            "see what else uses it (`iostat -x 1`), and how it is (`smartctl -a`)",
        ),
        Some(ms) => good(format!("an operation on {name} takes {ms} ms on average")),
        None => good(format!("{name} has done little so far")),
    })
}

/// Milliseconds of one operation on average, of the fields of /sys/block/DEV/stat (Documentation/block/stat.rst).
fn wait_ms(stat: &str) -> Option<u64> {
    let fields: Vec<u64> = stat
        .split_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let operations = fields.first()? + fields.get(4)?;
    let waited = fields.get(3)? + fields.get(7)?;
    (operations >= OPERATIONS_MIN).then(|| waited / operations)
}

pub(super) fn store(patient: &Patient) -> Vec<Told> {
    let Some(corrupt) = patient.figure("larder_store_corrupt_total") else {
        return Vec::new();
    };
    let lost = patient.figure("larder_store_not_kept_total").unwrap_or(0.0);
    let mut told = Vec::new();
    if corrupt > 0.0 {
        told.push(fair(
            format!("{corrupt} damaged pieces or tables were found since the start, and dropped"),
            "`larder verify` says of which objects; where it goes on, the disk or the memory is failing",
        ));
    }
    if lost > 0.0 {
        told.push(fair(
            format!("{lost} pieces that were fetched could not be kept since the start"),
            "the disk is full, slow or failing, or the limit on the cache is too low for what is pinned",
        ));
    }
    if told.is_empty() {
        told.push(good("nothing damaged and nothing lost since the start"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::super::finding::Grade;
    use super::*;

    #[test]
    fn a_disk_that_is_slow_or_met_errors_is_told() {
        let sys = tempfile::tempdir().expect("a folder");
        let put = |path: &str, text: &str| {
            let path = sys.path().join(path);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, text).expect("written");
        };
        put(
            "devices/vdb/stat",
            "  900 0 7200 90000 100 0 800 20000 0 1 2 3\n",
        );
        fs::create_dir_all(sys.path().join("dev/block")).expect("made");
        let link = sys.path().join("dev/block/254:16");
        std::os::unix::fs::symlink("../../devices/vdb", link).expect("linked");
        let look = || disk(sys.path(), rustix::fs::makedev(254, 16)).expect("known");
        let told = look();
        assert_eq!(told.grade, Grade::Fair, "{told:?}");
        assert!(told.found.contains("vdb takes 110 ms"), "{told:?}");
        put(
            "devices/vdb/stat",
            "  900 0 7200 9000 100 0 800 2000 0 1 2 3\n",
        );
        assert_eq!(look().grade, Grade::Good);
        put(
            "devices/vdb/stat",
            "  90 0 7200 90000 1 0 800 20000 0 1 2 3\n",
        );
        assert_eq!(look().grade, Grade::Good, "too few to tell");
        put("fs/ext4/vdb/errors_count", "3\n");
        assert_eq!(look().grade, Grade::Bad);
        assert!(disk(sys.path(), rustix::fs::makedev(0, 25)).is_none());
    }
}
