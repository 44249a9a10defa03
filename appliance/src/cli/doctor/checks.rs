//! The checks, in the order in which they are told. The rule: a check is a row here and a function that changes nothing;
//! all run at once, and one that hangs is told as such instead of being waited for.

use super::finding::{Finding, Told, bad};
use super::patient::Patient;
use super::{
    appliance, certificates, clients, clocks, coordinator, discovery, disks, files, health, links,
    machine, origins, peers, ports, ranges,
};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// One check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    /// By this programs know it; it stays.
    pub(super) name: &'static str,
    /// What it is about, for people.
    pub(super) about: &'static str,
    /// What it finds; nothing where there is nothing of that kind, or another check says all.
    pub(super) run: fn(&Patient) -> Vec<Told>,
}

const fn check(name: &'static str, about: &'static str, run: fn(&Patient) -> Vec<Told>) -> Check {
    Check { name, about, run }
}

/// All of them.
pub(super) const CHECKS: &[Check] = &[
    check("kernel", "kernel", machine::kernel),
    check("io-uring", "io_uring", machine::io_uring),
    check("open-files", "open files", machine::open_files),
    check("locked-memory", "locked memory", machine::locked_memory),
    check("huge-pages", "64 KiB pages", machine::huge_pages),
    check("sendfile", "sendfile from memory", machine::sendfile),
    check("clock", "clock", clocks::own),
    check("config", "configuration", files::config),
    check("config-mode", "who may write it", files::modes),
    check("store", "store", disks::store),
    check("store-room", "room for the store", disks::room),
    check("store-device", "disks of the store", disks::devices),
    check("disk-health", "health of the disks", health::disks),
    check("store-health", "what was stored", health::store),
    check("appliance", "appliance", appliance::answers),
    check("token", "token", appliance::token),
    check("port-http", "port for http", ports::http),
    check("port-https", "port for https", ports::https),
    check("port-peer", "port for peers", ports::peer),
    check("certificate", "certificate", certificates::validity),
    check(
        "certificate-name",
        "names in certificates",
        certificates::names,
    ),
    check("coordinator", "coordinator", coordinator::answers),
    check(
        "coordinator-clock",
        "clock of the coordinator",
        coordinator::clock,
    ),
    check("redis", "Redis of the coordinator", coordinator::redis),
    check("peers", "other peers", peers::seen),
    check("links", "links", links::ends),
    check("ranges", "byte ranges", ranges::kept),
    check("origin-clock", "clock of the origins", clocks::origins),
    check("origin-names", "hosts that may be asked", origins::names),
    check(
        "origin-connect",
        "hosts of [origins.connect]",
        origins::connect,
    ),
    check("dns-sd", "DNS-SD", discovery::dns_sd),
    check("dhcp", "DHCP", discovery::dhcp),
    check("group", "source of the group", discovery::group),
    check("hosts-refused", "hosts refused", clients::hosts),
    check("clients", "clients", clients::skips),
];

/// Runs the checks, each for no longer than `patience`.
pub(super) fn examine(
    patient: &Arc<Patient>,
    checks: &'static [Check],
    patience: Duration,
) -> Vec<Finding> {
    let (tell, told) = mpsc::channel();
    for (number, check) in checks.iter().enumerate() {
        let (patient, of_thread) = (Arc::clone(patient), tell.clone());
        let run = move || {
            // Nobody listens any more to one that took too long.
            let _ = of_thread.send((number, (check.run)(&patient)));
        };
        if let Err(error) = thread::Builder::new()
            .name(check.name.to_owned())
            .spawn(run)
        {
            let words = format!("no thread can be had for this: {error}");
            let _ = tell.send((number, vec![bad(words, "raise the limit of threads")]));
        }
    }
    drop(tell);
    let until = Instant::now() + patience;
    let mut found: Vec<Option<Vec<Told>>> = checks.iter().map(|_| None).collect();
    while let Ok((number, told)) =
        told.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        found[number] = Some(told);
    }
    // Before that time all have answered, but for one that panicked.
    let (hang, advice) = match Instant::now() < until {
        true => (
            "broke off within larder".to_owned(),
            "this is a mistake of larder's own: please report it",
        ),
        false => (
            format!("no answer within {} s", patience.as_secs()),
            "something hangs there; --timeout gives it longer",
        ),
    };
    let mut findings = Vec::new();
    for (check, told) in checks.iter().zip(found) {
        let hangs = || vec![bad(hang.as_str(), advice)];
        findings.extend(told.unwrap_or_else(hangs).into_iter().map(|told| Finding {
            grade: told.grade,
            check: check.name,
            about: told.about.unwrap_or_else(|| check.about.to_owned()),
            found: told.found,
            advice: told.advice,
        }));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::{Grade, good};
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_check_has_a_name_of_its_own_that_the_documentation_tells() {
        let document = include_str!("../../../../docs/administration.md");
        let names: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
        assert_eq!(names.len(), CHECKS.len());
        for name in names {
            assert!(document.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn one_that_hangs_is_told_and_keeps_nobody() {
        static HANGS: [Check; 2] = [
            check("hangs", "what hangs", |_| {
                thread::park_timeout(Duration::from_secs(60));
                Vec::new()
            }),
            check("well", "what does not", |_| vec![good("well")]),
        ];
        let patient = Arc::new(Patient::new(
            Default::default(),
            None,
            Duration::from_secs(1),
        ));
        let findings = examine(&patient, &HANGS, Duration::from_secs(1));
        let grades: Vec<_> = findings.iter().map(|f| (f.check, f.grade)).collect();
        assert_eq!(grades, [("hangs", Grade::Bad), ("well", Grade::Good)]);
        assert!(findings[0].found.contains("no answer"), "{findings:?}");
    }
}
