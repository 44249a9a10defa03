//! Branch offices of network namespaces, each with a line of its own: what the swarm keeps off these lines, by the
//! program itself and the kernel's counters. The rule: bytes and copies are judged here, and never times, so that a busy
//! machine changes nothing; `larder-bench offices` measures both.

use larder_benches::place::{is_root, path};
use larder_benches::sites::{Arrangement, Outcome, Share, run};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

/// Set where the test runs in a network namespace of its own.
const INSIDE: &str = "LARDER_TEST_INSIDE";

/// Pieces of the object. With fewer, what a device asks for before it knows the others would be most of it.
const MIB: u64 = 20;

/// Copies that come in by the line of an office with an appliance: one, heads and acknowledgements, and two pieces that
/// might be asked for twice.
const WITH_APPLIANCE_MAX: f64 = 1.15;

/// Without one, on an object so small: up to half of it again, where a machine that has much else to do lets one device
/// begin long before the others. All by HTTP it would be six.
const WITHOUT_MAX: f64 = 1.8;

fn three_offices_of_six() {
    let status = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(status.expect("ip").success(), "a loopback");
    let mut said = String::new();
    let mut tried = |appliances: bool| -> Outcome {
        let folder = tempfile::tempdir().expect("a folder");
        let arrangement = Arrangement {
            sites: 3,
            devices: 6,
            mib: MIB,
            wan_mbit: 50.0,
            appliances,
            share: Share::Office,
        };
        let outcome = run(&arrangement, folder.path(), 1).unwrap_or_else(|e| panic!("{e:#}"));
        let copies: Vec<f64> = (0..3).map(|site| outcome.copies_in(site)).collect();
        let _ = writeln!(
            said,
            "appliances: {appliances}; copies by the lines {copies:.3?}, from the origin {:.3}",
            outcome.origin_copies(),
        );
        outcome
    };
    let with = tried(true);
    let without = tried(false);
    let _ = write!(std::io::stderr().lock(), "{said}");
    for site in 0..3 {
        assert!(with.copies_in(site) <= WITH_APPLIANCE_MAX, "{said}");
        assert!(without.copies_in(site) <= WITHOUT_MAX, "{said}");
        // Less than all of it can not have come, or the counters count nothing.
        let least = with.copies_in(site).min(without.copies_in(site));
        assert!(least >= 1.0, "{said}");
    }
}

fn skip(why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "CI=true, and {why}"
    );
    // Past what cargo catches: nobody is to believe that offices were tried.
    let _ = writeln!(std::io::stderr().lock(), "\n!! SKIPPED: {why}\n");
}

#[test]
fn an_object_crosses_the_line_of_an_office_about_once() {
    if std::env::var_os(INSIDE).is_some() {
        return three_offices_of_six();
    }
    if !is_root() {
        return skip("network namespaces are made by root alone");
    }
    let there = |program: &&str| {
        let paths = path();
        let mut folders = paths.split(':');
        folders.any(|folder| Path::new(folder).join(program).exists())
    };
    let needed = ["ip", "tc", "nft", "sysctl", "curl", "unshare", "nginx"];
    if let Some(missing) = needed.iter().find(|program| !there(program)) {
        return skip(&format!("{missing} is not installed"));
    }
    let name = "an_object_crosses_the_line_of_an_office_about_once";
    let output = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .env("PATH", path())
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    let _ = write!(std::io::stderr().lock(), "{said}");
}
