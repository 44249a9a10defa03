//! Where measurements run. The rule: in a network namespace of their own with cubic, because the congestion control
//! of the machine can make bulk sends on loopback several times dearer.

use anyhow::{Context, Result, ensure};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Set for the process that runs inside.
const INSIDE: &str = "LARDER_BENCH_INSIDE";

/// Whether this process is in a network namespace of its own. What runs outside of one is not comparable.
#[must_use]
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Goes into a network namespace of its own by starting this program again in it; does not return then. Who is not
/// root stays outside.
///
/// # Errors
/// A step towards it fails.
pub fn enter() -> Result<()> {
    if is_inside() {
        run("ip", &["link", "set", "lo", "up"])?;
        // By the route, because a namespace may only choose for all of itself what the machine allows to everybody.
        for local in ["127.0.0.0/8", "127.0.0.1"] {
            let words = format!(
                "route replace local {local} dev lo table local proto kernel scope host src 127.0.0.1 congctl cubic"
            );
            run("ip", &words.split(' ').collect::<Vec<_>>())?;
        }
        return Ok(());
    }
    if !is_root() {
        eprintln!(
            "!! NOT ROOT: no network namespace of its own; figures depend on this machine's congestion control"
        );
        return Ok(());
    }
    let error = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .env("PATH", path())
        .exec();
    Err(error).context("cannot start unshare(1)")
}

/// Whether this is root.
#[must_use]
pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Where programs are looked for: Debian has some where only root's path leads.
#[must_use]
pub fn path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin"
}

/// Runs a program that must go well.
///
/// # Errors
/// It did not, in its own words.
pub fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", path())
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// The programs of this workspace that were built beside this one.
///
/// # Errors
/// It was not built, with the command that does.
pub fn beside(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(
        path.is_file(),
        "{} is not there; build it first: cargo build --release --workspace",
        path.display()
    );
    Ok(path)
}
