//! A limit on memory, page cache included, for servers that leave their memory to the kernel. The rule: it is a control
//! group of its own, and it is gone with the value that stands for it.

use anyhow::{Context, Result};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where control groups are, and by what name the limit goes: version 2, version 1.
const PLACES: [(&str, &str); 2] = [
    ("/sys/fs/cgroup", "memory.max"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
];

/// See the file's head.
#[derive(Debug)]
pub struct MemoryLimit(PathBuf);

impl MemoryLimit {
    /// A group that may have so many bytes.
    ///
    /// # Errors
    /// There is no memory controller, or this is not root.
    pub fn new(bytes: u64) -> Result<Self> {
        let name = format!("larder-bench-{}", std::process::id());
        for (place, file) in PLACES {
            let group = Path::new(place).join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let limit = Self(group);
            if limit.set(file, &bytes.to_string()).is_ok() {
                return Ok(limit);
            }
        }
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported)).context(
            "cannot limit memory by a control group; run it as root on a machine that has the memory controller",
        )
    }

    /// Where the kernel keeps groups, a new one has its files. Elsewhere, as in the folder above those of version 1,
    /// writing to one would make it, and limit nothing.
    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).open(self.0.join(file))?;
        file.write_all(value.as_bytes())
    }

    /// Puts a process and its children in. What it takes from now on counts.
    ///
    /// # Errors
    /// It is gone.
    pub fn hold(&self, process: u32) -> Result<()> {
        let children = format!("/proc/{process}/task/{process}/children");
        let mut all = vec![process.to_string()];
        let children = fs::read_to_string(children).unwrap_or_default();
        all.extend(children.split_whitespace().map(str::to_owned));
        for process in all {
            self.set("cgroup.procs", &process)
                .with_context(|| format!("cannot limit the memory of process {process}"))?;
        }
        Ok(())
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        // Those in it have just been killed, and the kernel takes a moment.
        let until = Instant::now() + Duration::from_secs(2);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_one_that_the_kernel_knows_of() {
        let limit = match MemoryLimit::new(64 << 20) {
            Ok(limit) => limit,
            Err(error) => {
                eprintln!("SKIPPED: {error:#}");
                return;
            }
        };
        // What the kernel counts there; in a folder that is no group nobody would have written it.
        let counted = fs::read_to_string(limit.0.join("memory.stat"));
        assert!(counted.is_ok_and(|counted| counted.contains("anon") || counted.contains("rss")));
        let group = limit.0.clone();
        drop(limit);
        assert!(!group.exists());
    }
}
