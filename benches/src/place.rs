//! Where measurements run. The rule: in a network namespace of their own with cubic, because the congestion control
//! of the machine can make bulk sends on loopback several times dearer.

use anyhow::{Context, Result, ensure};
use std::fs;
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

/// Where the kernel is told about pages for memory files of 64 KiB.
const PAGES: &str = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/shmem_enabled";

/// Lets memory files have pages of 64 KiB for those who ask, as larder's installation does. When it is dropped, the
/// setting is what it was before.
#[derive(Debug)]
pub struct Pages {
    before: Option<String>,
}

impl Pages {
    /// Sets it, where this is root and the kernel has it.
    #[must_use]
    pub fn advised() -> Self {
        let before = pages().filter(|now| now != "advise");
        let set = before.is_some() && fs::write(PAGES, "advise").is_ok();
        Self {
            before: before.filter(|_| set),
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && let Err(error) = fs::write(PAGES, before)
        {
            eprintln!("!! {PAGES} stays at \"advise\", it was {before:?}: {error}");
        }
    }
}

/// The setting, which is the word in brackets.
fn pages() -> Option<String> {
    let words = fs::read_to_string(PAGES).ok()?;
    let (_, word) = words.split_once('[')?;
    Some(word.split_once(']')?.0.to_owned())
}

/// Where and when a run is, in a line: without it a figure is none.
#[must_use]
pub fn machine() -> String {
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        let output = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(
            || "unknown".to_owned(),
            |(_, value)| value.trim().to_owned(),
        )
    };
    let memory = field("/proc/meminfo", "MemTotal").replace(" kB", "");
    format!(
        "{}, Linux {}, {} cores ({}), {:.0} GiB, pages of 64 KiB for memory files: {}, {}",
        said("date", "+%F"),
        said("uname", "-r"),
        std::thread::available_parallelism().map_or(0, usize::from),
        field("/proc/cpuinfo", "model name"),
        memory.parse::<f64>().unwrap_or(0.0) / f64::from(1 << 20),
        pages().as_deref().unwrap_or("not in this kernel"),
        match is_inside() {
            true => "own network namespace with cubic",
            false => "NOT in a network namespace of its own",
        },
    )
}

/// Empties the page cache, so that what is not in a server's own memory comes from the disk.
///
/// # Errors
/// This is not root.
pub fn drop_caches() -> Result<()> {
    run("sync", &[])?;
    fs::write("/proc/sys/vm/drop_caches", "3").context("cannot drop the page cache; run it as root")
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

/// The programs of this workspace that were built beside this one. Tests lie a folder below them.
///
/// # Errors
/// It was not built, with the command that does.
pub fn beside(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program lies in a folder")?;
    let folder = match folder.parent() {
        Some(above) if folder.ends_with("deps") => above,
        _ => folder,
    };
    let path = folder.join(name);
    ensure!(
        path.is_file(),
        "{} is not there; build it first: cargo build --workspace, with --release for figures",
        path.display()
    );
    Ok(path)
}
