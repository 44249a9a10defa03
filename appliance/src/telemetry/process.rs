//! What the kernel knows of this process, under the names that Prometheus' client libraries give it. The rule: what
//! cannot be read is left as it was.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Ticks a second in /proc (USER_HZ, the same on every architecture that larder runs on).
pub(crate) const TICKS_PER_SECOND: u32 = 100;

/// The figures of the process.
pub(super) struct Process {
    cpu_seconds: Counter,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    threads: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
}

impl Process {
    pub(super) fn new() -> Self {
        describe_counter!(
            "process_cpu_seconds_total",
            "CPU time of the process, in whole seconds."
        );
        describe_gauge!(
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM."
        );
        describe_gauge!(
            "process_virtual_memory_bytes",
            "Addresses that the process has mapped."
        );
        describe_gauge!("process_threads", "Threads of the process.");
        describe_gauge!(
            "process_open_fds",
            "Files and sockets that the process has open."
        );
        describe_gauge!(
            "process_max_fds",
            "Files and sockets that it may have open."
        );
        describe_gauge!(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970."
        );
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |d| d.as_secs_f64());
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        gauge!("process_start_time_seconds").set(started(&stat, &uptime, now).unwrap_or(now));
        Self {
            cpu_seconds: counter!("process_cpu_seconds_total"),
            resident_bytes: gauge!("process_resident_memory_bytes"),
            virtual_bytes: gauge!("process_virtual_memory_bytes"),
            threads: gauge!("process_threads"),
            open_fds: gauge!("process_open_fds"),
            max_fds: gauge!("process_max_fds"),
        }
    }

    pub(super) fn update(&self) {
        if let Some(seconds) = fs::read_to_string("/proc/self/stat")
            .ok()
            .and_then(|s| cpu(&s))
        {
            self.cpu_seconds.absolute(seconds);
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name| status_number(&status, name).map(|kib| kib * 1024.0);
        for (value, gauge) in [
            (kib("VmRSS:"), &self.resident_bytes),
            (kib("VmSize:"), &self.virtual_bytes),
            (status_number(&status, "Threads:"), &self.threads),
        ] {
            if let Some(value) = value {
                gauge.set(value);
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory being read.
            self.open_fds.set(open.count().saturating_sub(1) as f64);
        }
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        if let Some(max) = fds_max(&limits) {
            self.max_fds.set(max);
        }
    }
}

/// The fields of /proc/self/stat from the third on; the second is a name that may hold spaces and brackets.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace().collect())
}

/// CPU seconds of user and kernel. The counter takes whole ones, which is what a rate over minutes needs.
fn cpu(stat: &str) -> Option<u64> {
    Some(ticks(stat)? / u64::from(TICKS_PER_SECOND))
}

fn ticks(stat: &str) -> Option<u64> {
    let fields = fields(stat)?;
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// CPU time of this process, of user and kernel, in ticks.
pub(crate) fn cpu_ticks() -> Option<u64> {
    ticks(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Memory of this process that is in RAM, in KiB.
pub(crate) fn resident_kib() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// When the process started: now, less the time since, both told since the machine started.
fn started(stat: &str, uptime: &str, now: f64) -> Option<f64> {
    let ticks: f64 = fields(stat)?.get(19)?.parse().ok()?;
    let up: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Some(now - (up - ticks / f64::from(TICKS_PER_SECOND)))
}

fn status_number(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn fds_max(limits: &str) -> Option<f64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (a) (b) S 1 7 7 0 -1 4194560 100 0 0 0 250 160 0 0 20 0 3 0 1000 1 2 3";

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(cpu(STAT), Some(4));
        assert_eq!(started(STAT, "110.50 3.2", 5000.0), Some(4899.5));
        assert_eq!(
            status_number("VmRSS:\t  12 kB\nThreads:\t3\n", "Threads:"),
            Some(3.0)
        );
        let limits = "Max open files            1024                 524288               files\n";
        assert_eq!(fds_max(limits), Some(1024.0));
        for broken in ["", ")", "x) 1 2"] {
            assert_eq!(cpu(broken), None);
        }
    }
}
