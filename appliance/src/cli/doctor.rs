//! `larder doctor`: what an administrator would look at one by one. The rule: each line says what was found, and where
//! that is not as it should be, what to do; nothing is changed.

mod proxy;

use super::client::{Whom, reachable};
use super::say;
use super::table::Table;
use crate::certificates::looked_at;
use crate::config::{self, Checked};
use hyper::Method;
use larder_net::clock::Clock;
use larder_storage::{ram_tier::RamTier, ring};
use serde::Serialize;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Options of `larder doctor`.
#[derive(clap::Args, Debug)]
pub(super) struct DoctorArgs {
    /// Write JSON, for programs.
    #[arg(long)]
    json: bool,
    /// An object to try byte ranges with, where origins are asked through a proxy.
    #[arg(long, value_name = "URL", default_value = proxy::PROBE)]
    probe: String,
    #[command(flatten)]
    whom: Whom,
}

/// Hosts that are named in a line; `/api/v1/hosts` has all.
const HOSTS_SHOWN: usize = 5;

/// How a thing is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Good,
    /// It works, but not as well as it could.
    Fair,
    /// It does not work.
    Bad,
}

use Grade::{Bad, Fair, Good};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    grade: Grade,
    about: String,
    found: String,
}

fn finding(grade: Grade, about: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding {
        grade,
        about: about.into(),
        found: found.into(),
    }
}

/// Exit code 1 where something does not work.
pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut findings = machine();
    match args.whom.file() {
        Some(file) => match config::load(Some(&file)) {
            Ok(checked) => {
                let about = format!("configuration {}", file.display());
                findings.push(finding(Good, about.clone(), "in order"));
                let told = checked.warnings.iter();
                findings.extend(told.map(|warning| finding(Fair, about.clone(), warning)));
                findings.extend(of_config(&checked));
                findings.extend(proxy::try_ranges(&checked, &args.probe));
            }
            Err(problems) => {
                let lines = problems.lines().iter();
                findings.extend(lines.map(|line| finding(Bad, "configuration", line)));
            }
        },
        None if args.whom.is_remote() => {}
        None => findings.extend(
            config::load(None)
                .as_ref()
                .map(of_config)
                .unwrap_or_default(),
        ),
    }
    findings.extend(of_appliance(&args.whom));
    if args.json {
        say(&serde_json::to_string_pretty(&findings)?)?;
    } else {
        let mut table = Table::new(&["", "WHAT", "FOUND"]);
        for Finding {
            grade,
            about,
            found,
        } in &findings
        {
            let mark = match grade {
                Good => "good",
                Fair => "fair",
                Bad => "BAD",
            };
            table.row([mark.to_owned(), about.clone(), found.clone()]);
        }
        say(&table.to_string())?;
    }
    let bad = findings.iter().any(|finding| finding.grade == Bad);
    Ok(if bad {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The kernel and the limits of this process.
fn machine() -> Vec<Finding> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut findings = vec![finding(Good, "kernel", format!("Linux {}", release.trim()))];
    findings.push(match ring::probe() {
        Ok(features) => match &features.unregistered_because {
            Some(why) => finding(Fair, "io_uring", why),
            None => finding(Good, "io_uring", features.to_string()),
        },
        Err(error) => finding(Fair, "io_uring", error.to_string()),
    });
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    findings.push(match limit(&limits, "Max open files") {
        // The hard limit is what `serve` raises itself to.
        Some((_, hard)) if hard.is_some_and(|hard| hard < 16_384) => finding(
            Fair,
            "open files",
            format!(
                "at most {}; raise the hard limit (LimitNOFILE=1048576)",
                hard.unwrap_or(0)
            ),
        ),
        Some((_, hard)) => finding(Good, "open files", format!("at most {}", number(hard))),
        None => finding(
            Fair,
            "open files",
            "the limit is not known; /proc can not be read",
        ),
    });
    if let Some((soft, _)) = limit(&limits, "Max locked memory") {
        findings.push(match soft {
            Some(bytes) if bytes < 512 << 20 => finding(
                Fair,
                "locked memory",
                format!(
                    "at most {} MiB; with more (LimitMEMLOCK=infinity) reads from disk cost less CPU",
                    bytes >> 20
                ),
            ),
            soft => finding(Good, "locked memory", format!("at most {}", number(soft))),
        });
    }
    let pages = "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/shmem_enabled";
    let chosen = fs::read_to_string(pages).ok();
    findings.push(match chosen.as_deref().map(chosen_of) {
        Some("advise" | "always" | "inherit") => finding(Good, "64 KiB pages", "allowed for memory that asks for them"),
        Some(other) => finding(
            Fair,
            "64 KiB pages",
            format!("{other:?}; hits from memory cost less CPU with `echo advise > {pages}` (tmpfiles.d does it)"),
        ),
        None => finding(Fair, "64 KiB pages", "this kernel has none; hits from memory cost more CPU"),
    });
    findings.push(match RamTier::new(16 << 20) {
        Ok(tier) if tier.sendfile_is_safe() => finding(Good, "sendfile from memory", "tried, safe"),
        Ok(_) => finding(
            Fair,
            "sendfile from memory",
            "not safe on this kernel; hits are copied",
        ),
        Err(error) => finding(
            Bad,
            "memory for hot pieces",
            format!("can not be had: {error}"),
        ),
    });
    findings
}

/// Soft and hard limit of a line of /proc/self/limits; None inside is unlimited.
fn limit(limits: &str, name: &str) -> Option<(Option<u64>, Option<u64>)> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace().map(|word| word.parse().ok());
    Some((words.next()?, words.next()?))
}

fn number(limit: Option<u64>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

/// The word in brackets, which is the one in force.
fn chosen_of(text: &str) -> &str {
    let inside = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or("nothing", |(word, _)| word)
}

/// Disks and ports.
fn of_config(checked: &Checked) -> Vec<Finding> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut findings = Vec::new();
    for path in &checked.store_paths {
        let about = format!("store {}", path.display());
        findings.push(match fs::metadata(path) {
            Err(error) => finding(
                Bad,
                about,
                format!("{error}; `larder serve` makes it where it may"),
            ),
            Ok(found) if !found.is_dir() => finding(Bad, about, "is no directory"),
            Ok(found) if found.permissions().readonly() => finding(
                Bad,
                about,
                "can not be written to; give it to the user that larder runs as",
            ),
            Ok(_) => match kind_of(&mounts, path) {
                Some(kind @ ("tmpfs" | "ramfs")) => finding(
                    Bad,
                    about,
                    format!("lies in memory ({kind}); name a directory on a disk"),
                ),
                Some(kind @ ("nfs" | "nfs4" | "cifs" | "fuse")) => finding(
                    Fair,
                    about,
                    format!("lies on {kind}; a disk of this machine is faster and safer"),
                ),
                Some(kind) => finding(Good, about, kind),
                None => finding(Good, about, "is there"),
            },
        });
    }
    for address in checked.http.iter().chain(&checked.https) {
        let about = format!("port {}", address.port());
        let asked = reachable(*address);
        findings.push(
            match TcpStream::connect_timeout(&asked, Duration::from_secs(3)) {
                Ok(_) => finding(Good, about, format!("{asked} accepts connections")),
                Err(error) => finding(
                    Bad,
                    about,
                    format!("{asked} does not accept connections ({error}); is larder running?"),
                ),
            },
        );
    }
    findings.push(finding(
        Good,
        "DNS-SD",
        match checked.dns_sd {
            true => "on: clients that no policy tells of a cache host can find this one",
            false => "off; `[discovery] dns_sd = true` lets clients find this one without a policy",
        },
    ));
    for (grave, name, found) in looked_at(checked, Clock::start().unix()) {
        let grade = match grave {
            None => Good,
            Some(false) => Fair,
            Some(true) => Bad,
        };
        findings.push(finding(grade, format!("certificate {name}"), found));
    }
    findings
}

/// The kind of the file system that a path lies on.
fn kind_of<'m>(mounts: &'m str, path: &Path) -> Option<&'m str> {
    let lines = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let around = lines.filter(|(point, _)| path.starts_with(point));
    around
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind)
}

/// What the running appliance says of itself.
fn of_appliance(whom: &Whom) -> Vec<Finding> {
    let answer = match whom.ask(Method::GET, "/readyz") {
        Ok(answer) => answer,
        Err(error) => return vec![finding(Bad, "appliance", format!("{error:#}"))],
    };
    let mut lines = answer.text.lines();
    let first = lines.next().unwrap_or("no answer");
    let grade = match (answer.status.as_u16(), first) {
        (200, "ready") => Good,
        (200, _) => Fair,
        _ => Bad,
    };
    let mut findings = vec![finding(grade, "appliance", first)];
    findings.extend(lines.map(|reason| finding(grade, "appliance", reason)));
    findings.extend(of_hosts(whom));
    findings
}

/// Hosts that clients asked for in vain: content that passes the cache by.
fn of_hosts(whom: &Whom) -> Option<Finding> {
    let answer = whom.ask(Method::GET, "/api/v1/hosts").ok()?.json().ok()?;
    let refused = answer.get("refused")?.as_array()?;
    if refused.is_empty() {
        return Some(finding(Good, "hosts refused", "none since its start"));
    }
    let shown = refused.iter().take(HOSTS_SHOWN).filter_map(|met| {
        let (host, why) = (met.get("host")?.as_str()?, met.get("why")?.as_str()?);
        Some(format!("{host} ({} times; {why})", met.get("count")?))
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let words = format!(
        "{}: {shown}; add to [origins] allow what clients should get from here",
        refused.len()
    );
    Some(finding(Fair, "hosts refused", words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n\
                      Max locked memory         8388608              unlimited            bytes     \n";
        assert_eq!(
            limit(limits, "Max open files"),
            Some((Some(1024), Some(524_288)))
        );
        assert_eq!(
            limit(limits, "Max locked memory"),
            Some((Some(8_388_608), None))
        );
        assert_eq!(limit(limits, "Max nice priority"), None);
        assert_eq!(
            chosen_of("always inherit within_size [advise] never deny force\n"),
            "advise"
        );
        assert_eq!(chosen_of("never"), "nothing");
    }

    #[test]
    fn a_path_lies_on_the_nearest_mount() {
        let mounts =
            "/dev/vda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/vdb /var/lib xfs rw 0 0\n";
        assert_eq!(kind_of(mounts, Path::new("/var/lib/larder")), Some("xfs"));
        assert_eq!(kind_of(mounts, Path::new("/var/library")), Some("ext4"));
        assert_eq!(kind_of(mounts, Path::new("/tmp/x")), Some("tmpfs"));
        assert_eq!(kind_of("", Path::new("/tmp/x")), None);
    }
}
