//! The disk itself, by fio(1). The rule: the same file system, sizes and depth as what is compared with it, O_DIRECT on
//! io_uring, so what it reaches is what the device gives.

use crate::cpu;
use crate::servers::pinned;
use crate::table::Sample;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// What fio does.
#[derive(Clone, Copy, Debug)]
pub struct Pattern<'p> {
    /// `randread`, `write`, as `--rw` has it.
    pub rw: &'p str,
    /// The file.
    pub file: &'p Path,
    /// Bytes of the file; where it writes, it makes it as long first.
    pub file_bytes: u64,
    /// Bytes of each read or write.
    pub block_bytes: u64,
    /// How many are under way.
    pub depth: usize,
    /// Seconds before it is measured, where it is not measured to the file's end.
    pub warm_up_seconds: f64,
    /// How long it is measured; None: once through the file.
    pub seconds: Option<f64>,
    /// The core that it runs on.
    pub core: usize,
}

/// Whether it is there.
#[must_use]
pub fn is_there() -> bool {
    Command::new("fio")
        .arg("--version")
        .output()
        .is_ok_and(|said| said.status.success())
}

impl Pattern<'_> {
    /// Runs it.
    ///
    /// # Errors
    /// fio fails, in its own words.
    pub fn run(&self) -> Result<Sample> {
        let core = cpu::core_seconds(self.core)?;
        let mut command = pinned("fio".as_ref(), Some(self.core));
        command
            .args(["--name=larder", "--output-format=json", "--group_reporting"])
            .args(["--ioengine=io_uring", "--direct=1", "--thread"])
            .arg(format!("--rw={}", self.rw))
            .arg(format!("--filename={}", self.file.display()))
            .arg(format!("--size={}", self.file_bytes))
            .arg(format!("--bs={}", self.block_bytes))
            .arg(format!("--iodepth={}", self.depth));
        match self.rw.contains("read") {
            true => command.arg("--readonly"),
            // What was written counts once it is durable.
            false => command.args(["--fallocate=native", "--end_fsync=1"]),
        };
        if let Some(seconds) = self.seconds {
            command
                .arg("--time_based")
                .arg(format!("--ramp_time={:.0}ms", self.warm_up_seconds * 1e3))
                .arg(format!("--runtime={:.0}ms", seconds * 1e3));
        }
        let output = command.output().context("cannot start fio")?;
        let core = cpu::core_seconds(self.core)? - core;
        ensure!(
            output.status.success(),
            "fio: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        sample(&output.stdout, self.rw.contains("read"), core)
    }
}

/// What its report says. Its CPU time is that of the whole run, its start included.
fn sample(report: &[u8], read: bool, core_seconds: f64) -> Result<Sample> {
    // It says things before the report, too.
    let from = report
        .iter()
        .position(|byte| *byte == b'{')
        .context("fio has no report")?;
    let report: serde_json::Value = serde_json::from_slice(&report[from..])?;
    let job = &report["jobs"][0];
    ensure!(
        job["error"].as_i64() == Some(0),
        "fio: error {}",
        job["error"]
    );
    let of = &job[if read { "read" } else { "write" }];
    let figure = |name: &str| {
        of[name]
            .as_f64()
            .with_context(|| format!("fio says no {name}"))
    };
    let clat = &of["clat_ns"];
    let ms = |value: &serde_json::Value| value.as_f64().unwrap_or(f64::NAN) / 1e6;
    let bytes = figure("io_bytes")?;
    ensure!(bytes > 0.0, "fio moved no byte");
    Ok(Sample {
        bytes,
        requests: figure("total_ios")?,
        seconds: figure("runtime")? / 1e3,
        latency_ms: [
            ms(&clat["percentile"]["50.000000"]),
            ms(&clat["percentile"]["99.000000"]),
            ms(&clat["max"]),
        ],
        fairness: 1.0,
        slowest_share: 1.0,
        core_seconds,
        process_seconds: core_seconds,
        client_seconds: 0.0,
        others_seconds: 0.0,
        disk_bytes: bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"note: something
        {"jobs": [{"error": 0, "read": {"io_bytes": 3000000000, "total_ios": 3000, "runtime": 1500,
        "clat_ns": {"max": 9000000, "percentile": {"50.000000": 1000000, "99.000000": 2000000}}},
        "write": {"io_bytes": 0, "total_ios": 0, "runtime": 0}}]}"#;

    #[test]
    fn its_report_is_read() {
        let sample = sample(REPORT.as_bytes(), true, 1.0).expect("a report");
        assert!((sample.gigabytes_per_second() - 2.0).abs() < 1e-9);
        assert_eq!(sample.latency_ms, [1.0, 2.0, 9.0]);
    }

    #[test]
    fn nothing_done_is_an_error() {
        assert!(super::sample(REPORT.as_bytes(), false, 1.0).is_err());
        assert!(super::sample(b"fio: no", true, 1.0).is_err());
        let failed = REPORT.replace("\"error\": 0", "\"error\": 5");
        assert!(super::sample(failed.as_bytes(), true, 1.0).is_err());
    }
}
