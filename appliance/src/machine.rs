//! What the machine is: its memory, its name. The rule: what cannot be read has a safe answer.

use std::fs;
use std::path::Path;

/// Memory that this process may use, in bytes: the machine's, or less where its control group says so.
#[must_use]
pub(crate) fn memory_bytes() -> u64 {
    let all = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| mem_total(&text));
    let group = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| {
            Some(
                text.lines()
                    .find_map(|line| line.strip_prefix("0::"))?
                    .to_owned(),
            )
        });
    let group = group.and_then(|group| group_limit(Path::new("/sys/fs/cgroup"), &group));
    let bytes = all.into_iter().chain(group).min();
    // Without /proc nothing is known; a gigabyte is what the smallest machine has.
    bytes.unwrap_or(1 << 30)
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// The smallest `memory.max` of a control group and those above it.
fn group_limit(root: &Path, group: &str) -> Option<u64> {
    let mut folder = root.join(group.trim_start_matches('/'));
    let mut limits = Vec::new();
    loop {
        let limit = fs::read_to_string(folder.join("memory.max")).ok();
        limits.extend(limit.and_then(|text| text.trim().parse::<u64>().ok()));
        if folder == root || !folder.pop() {
            return limits.into_iter().min();
        }
    }
}

/// The name of this machine, in lower case; empty where it has none.
#[must_use]
pub(crate) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let text = "MemTotal:       24689328 kB\nMemFree:  1 kB\n";
        assert_eq!(mem_total(text), Some(24_689_328 << 10));
        assert_eq!(mem_total(""), None);
        assert!(memory_bytes() > 0);
    }

    #[test]
    fn the_tightest_group_counts() {
        let root = tempfile::tempdir().expect("a directory");
        let inner = root.path().join("system.slice/larder.service");
        fs::create_dir_all(&inner).expect("made");
        fs::write(root.path().join("system.slice/memory.max"), "1000\n").expect("written");
        fs::write(inner.join("memory.max"), "max\n").expect("written");
        let limit = || group_limit(root.path(), "/system.slice/larder.service");
        assert_eq!(limit(), Some(1000));
        fs::write(inner.join("memory.max"), "500\n").expect("written");
        assert_eq!(limit(), Some(500));
        assert_eq!(group_limit(root.path(), "/other"), None);
    }
}
