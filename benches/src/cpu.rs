//! What a core and what a group of processes have worked. The rule: of a core everything counts, kernel threads and
//! soft interrupts, too, because the server's packets are sent there.

use anyhow::{Context, Result};
use std::fs;

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
    let mut ticks = 0.0;
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        // Processes come and go; one that is gone has nothing to add.
        let stat = fs::read_to_string(entry?.path().join("stat")).unwrap_or_default();
        ticks += of_group(&stat, group).unwrap_or(0.0);
    }
    Ok(ticks * TICK_SECONDS)
}

/// utime and stime of a process of that group.
fn of_group(stat: &str, group: u32) -> Option<f64> {
    // The name may hold anything, so the fields are counted from behind it (proc(5)).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (fields.get(2)?.parse() == Ok(group)).then_some(())?;
    let utime: f64 = fields.get(11)?.parse().ok()?;
    let stime: f64 = fields.get(12)?.parse().ok()?;
    Some(utime + stime)
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
    fn a_process_belongs_to_one_group() {
        let stat = "77 (a (b) c) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 1 1 1";
        assert_eq!(of_group(stat, 42), Some(200.0));
        assert_eq!(of_group(stat, 77), None);
        assert_eq!(of_group("", 42), None);
    }

    #[test]
    fn this_process_and_core_have_worked() {
        assert!(core_seconds(0).expect("a core") > 0.0);
        assert!(core_seconds(100_000).is_err());
        assert!(resident_bytes(std::process::id()) > 1 << 20);
    }
}
