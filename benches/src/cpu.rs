//! What a core and what a group of processes have worked. The rule: of a core everything counts, kernel threads and
//! soft interrupts, too, because the server's packets are sent there.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The kernel counts in hundredths of a second towards user space (proc(5), USER_HZ).
const TICK_SECONDS: f64 = 0.01;

/// Seconds that a core has been busy since the machine started.
///
/// # Errors
/// /proc/stat has no such core.
pub fn core_seconds(core: usize) -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let name = format!("cpu{core}");
    let line = stat
        .lines()
        .find(|line| line.split(' ').next() == Some(&name))
        .with_context(|| format!("/proc/stat has no {name}"))?;
    Ok(busy(line))
}

/// user, nice, system, irq and softirq of a line of /proc/stat; idle, iowait and what other machines stole are not work.
fn busy(line: &str) -> f64 {
    let fields: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let work = [0, 1, 2, 5, 6];
    let ticks: f64 = work.iter().filter_map(|at| fields.get(*at)).sum();
    ticks * TICK_SECONDS
}

/// Seconds that the processes of a group have run.
///
/// # Errors
/// /proc can not be read.
pub fn group_seconds(group: u32) -> Result<f64> {
    Ok(Group::find(group)?.seconds())
}

/// Seconds that this process has run.
///
/// # Errors
/// /proc can not be read.
pub fn own_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let ticks = work(&stat).context("/proc/self/stat has no times")?.1;
    Ok(ticks * TICK_SECONDS)
}

/// One thread, by what the kernel says of it.
#[derive(Clone, Debug)]
pub struct Thread(PathBuf);

impl Thread {
    /// The one that asks.
    ///
    /// # Errors
    /// /proc can not be read.
    pub fn current() -> Result<Self> {
        let path =
            fs::canonicalize("/proc/thread-self").context("cannot read /proc/thread-self")?;
        Ok(Self(path.join("schedstat")))
    }

    /// Seconds that it has run.
    ///
    /// # Errors
    /// It is gone.
    pub fn seconds(&self) -> Result<f64> {
        let text = fs::read_to_string(&self.0).context("cannot read a thread's schedstat")?;
        let ns = text
            .split(' ')
            .next()
            .and_then(|first| first.parse::<f64>().ok());
        Ok(ns.context("a thread's schedstat has no times")? / 1e9)
    }
}

/// Seconds that children of this process have run which have ended and were waited for.
///
/// # Errors
/// /proc can not be read.
pub fn ended_children_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
    let fields: Vec<&str> = fields.unwrap_or_default().split_whitespace().collect();
    let ticks = [13, 14].map(|at| fields.get(at)?.parse::<f64>().ok());
    let [Some(user), Some(system)] = ticks else {
        anyhow::bail!("/proc/self/stat has no times of children");
    };
    Ok((user + system) * TICK_SECONDS)
}

/// The processes of a group, as they were when it was looked for: so its work can be read in microseconds.
#[derive(Clone, Debug)]
pub struct Group {
    number: u32,
    stats: Vec<PathBuf>,
}

impl Group {
    /// Looks for the group's processes.
    ///
    /// # Errors
    /// /proc can not be read.
    pub fn find(number: u32) -> Result<Self> {
        let mut stats = Vec::new();
        for entry in fs::read_dir("/proc").context("cannot read /proc")? {
            let path = entry?.path().join("stat");
            if of_group(&path, number).is_some() {
                stats.push(path);
            }
        }
        Ok(Self { number, stats })
    }

    /// Seconds that they have run; one that is gone has nothing to add.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let ticks = self
            .stats
            .iter()
            .filter_map(|path| of_group(path, self.number));
        ticks.sum::<f64>() * TICK_SECONDS
    }

    /// Bytes that they have had read from disks; 0 where this process may not know.
    #[must_use]
    pub fn disk_bytes(&self) -> f64 {
        let bytes = self
            .stats
            .iter()
            .filter_map(|stat| disk_bytes(&stat.with_file_name("io")));
        bytes.sum()
    }
}

/// Bytes that a process has had read from disks, its threads and what the kernel read for it included (proc(5)).
fn disk_bytes(io: &Path) -> Option<f64> {
    let io = fs::read_to_string(io).ok()?;
    let line = io.lines().find_map(|line| line.strip_prefix("read_bytes:"));
    line?.trim().parse().ok()
}

/// What the process has run, if it is of that group.
fn of_group(stat: &Path, group: u32) -> Option<f64> {
    let (of, ticks) = work(&fs::read_to_string(stat).ok()?)?;
    (of == group).then_some(ticks)
}

/// Of a process: its group, and utime and stime together.
fn work(stat: &str) -> Option<(u32, f64)> {
    // The name may hold anything, so the fields are counted from behind it (proc(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let utime: f64 = fields.get(11)?.parse().ok()?;
    let stime: f64 = fields.get(12)?.parse().ok()?;
    Some((fields.get(2)?.parse().ok()?, utime + stime))
}

/// Bytes of memory that a process has resident.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_no_work() {
        let line = "cpu0 100 10 200 5000 700 30 60 900 0 0";
        assert!((busy(line) - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "77 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 1 1 1";
        assert_eq!(work(stat), Some((42, 200.0)));
        assert_eq!(work(""), None);
    }

    #[test]
    fn a_group_has_its_processes_and_no_others() {
        let mut child = std::process::Command::new("sleep");
        let mut child = std::os::unix::process::CommandExt::process_group(&mut child, 0)
            .arg("60")
            .spawn()
            .expect("a process");
        let found = Group::find(child.id()).map(|group| group.stats);
        child.kill().expect("it ends");
        child.wait().expect("it ended");
        let stat = PathBuf::from(format!("/proc/{}/stat", child.id()));
        assert_eq!(found.expect("/proc"), [stat]);
    }

    #[test]
    fn this_process_and_core_have_worked() {
        assert!(own_seconds().is_ok());
        assert!(core_seconds(0).expect("a core") > 0.0);
        assert!(core_seconds(100_000).is_err());
        assert!(resident_bytes(std::process::id()) > 1 << 20);
    }
}
