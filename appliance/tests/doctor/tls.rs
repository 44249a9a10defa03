//! Faults of certificates.

use super::report::{Report, appliance, look, origin};
use super::rig::certificates::Authority;
use super::rig::larder::Larder;
use super::rig::nginx::Nginx;
use super::rig::secure::Client;
use super::rig::{eventually, have};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const BEGIN: &str = "20200101000000Z";

/// A moment so many days from now, as openssl takes it.
pub(crate) fn in_days(days: u32) -> String {
    let output = Command::new("date")
        .args([
            "-u",
            "-d",
            &format!("+{days} days +1 hour"),
            "+%Y%m%d%H%M%SZ",
        ])
        .output();
    let text = String::from_utf8(output.expect("date runs").stdout).expect("text");
    text.trim().to_owned()
}

struct Shown {
    authority: Authority,
    larder: Larder,
}

/// An appliance that shows a certificate of this name until then.
fn showing(nginx: &Nginx, name: &str, end: &str) -> Shown {
    let authority = Authority::new();
    authority.issue("shown", &[name], BEGIN, end);
    fs::set_permissions(
        authority.file("shown.key"),
        fs::Permissions::from_mode(0o600),
    )
    .expect("its owner");
    let tls = authority.table(&["shown"]);
    let larder = appliance(nginx, |setup| setup.tls = tls);
    Shown { authority, larder }
}

fn report(nginx: &Nginx, name: &str, end: &str) -> Report {
    look(&showing(nginx, name, end).larder)
}

#[test]
fn certificates_that_end_or_name_others_are_told() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let nginx = origin();
    let well = showing(&nginx, "localhost", &in_days(22));
    let at_first = look(&well.larder);
    for check in ["certificate", "certificate-name", "port-https"] {
        at_first.is_well(check);
    }
    let key = well.authority.file("shown.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("its owner");
    look(&well.larder).turned(
        "certificate",
        "fair",
        &["may read or change", "chmod 640"],
        &[],
    );
    fs::write(&key, "no key at all").expect("written");
    // The configuration is refused with it, so that nothing else of it is known.
    let report_of_key = look(&well.larder);
    report_of_key.turned("config", "bad", &["shown.key"], &[]);
    let soon = report(&nginx, "localhost", &in_days(20));
    soon.turned(
        "certificate",
        "fair",
        &["expires in 20 days", "put a new one in"],
        &[],
    );
    let over = report(&nginx, "localhost", "20210101000000Z");
    over.turned("certificate", "bad", &["HAS EXPIRED"], &[]);
    // 192.0.2.1 is of the block for documentation, so that no machine has it.
    let other = report(&nginx, "192.0.2.1", &in_days(300));
    other.turned(
        "certificate-name",
        "fair",
        &["leads to this machine", "DOCacheHost"],
        &[],
    );
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_told() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let nginx = origin();
    let shown = showing(&nginx, "localhost", &in_days(300));
    look(&shown.larder).turned("clients", "fair", &["nobody has asked"], &[]);
    let trusts_others = Client::new(&Authority::new());
    let refused = trusts_others.connect(shown.larder.https(), "localhost");
    assert!(refused.is_err(), "its authority is another");
    let report = eventually("it is noted", || {
        let report = look(&shown.larder);
        (!report.said("clients").contains("nobody has asked")).then_some(report)
    });
    report.turned(
        "clients",
        "fair",
        &["no terms by TLS", "certificate-name"],
        &[],
    );
}
