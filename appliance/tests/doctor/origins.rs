//! Faults of the way to the origins.

use super::report::{appliance, look, look_through, look_with, origin};
use super::rig::larder::{FAMILY, Larder, Setup};
use super::rig::process::Process;
use super::rig::recorder::{Recorder, Seen};
use super::rig::squid::{self, Squid};
use super::rig::{address, eventually, have, root};
use std::fs;
use std::net::UdpSocket;
use std::process::Command;

/// A name that Squid alone can resolve.
const HOST: &str = "files.test";

#[test]
fn an_origin_that_is_down_is_told() {
    if !have(&["nginx"]) {
        return;
    }
    let mut nginx = origin();
    let larder = appliance(&nginx, |_| {});
    let report = look(&larder);
    for check in ["origin-connect", "ranges", "origin-clock"] {
        report.is_well(check);
    }
    nginx.stop();
    look(&larder).turned(
        "origin-connect",
        "bad",
        &[FAMILY[0], "correct [origins.connect]"],
        &["ranges"],
    );
}

#[test]
fn a_proxy_that_is_in_the_way_is_told() {
    if !have(&["nginx", "squid"]) {
        return;
    }
    let nginx = origin();
    nginx.put("/big", &[9; 70_000]);
    let good = squid::Setup {
        hosts: vec![(HOST, nginx.ip())],
        ..squid::Setup::default()
    };
    let mut squid = Squid::start(&good);
    let port = nginx.address().port();
    let setup = Setup {
        origins: format!("allow = [\"{HOST}:{port}\"]\nproxy = \"{}\"\n", squid.url()),
        more: "[coordinator]\nmode = \"off\"\n",
        ..Setup::default()
    };
    let larder = Larder::start(&setup);
    let url = format!("http://{HOST}:{port}/big");
    let look = || look_with(&larder, &["--probe", &url]);
    look().is_well("ranges");
    squid.resume(&squid::Setup {
        drops_ranges: true,
        ..good.clone()
    });
    look().turned(
        "ranges",
        "bad",
        &["takes them out of requests", "request_header_access"],
        &[],
    );
    squid.resume(&squid::Setup {
        login: Some(("branch", "secret")),
        ..good.clone()
    });
    if have(&["openssl"]) {
        look().turned(
            "ranges",
            "bad",
            &["user name and password", "proxy_credentials_file"],
            &[],
        );
    }
    squid.stop();
    look().turned("ranges", "bad", &["the proxy", "can not be reached"], &[]);
}

/// An origin of our own that answers whole objects, dated like this.
fn plain_origin(date: &'static str) -> Recorder {
    let answer = move |_: &Seen| {
        format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 5\r\n\r\n12345")
    };
    Recorder::start(answer)
}

#[test]
fn an_origin_that_ignores_ranges_or_has_another_time_is_told() {
    let origin = plain_origin("Mon, 02 Feb 2026 00:00:00 GMT");
    let larder = Larder::start(&Setup {
        origin: Some(origin.address()),
        origins: format!("allow = [{:?}]\n", FAMILY[0]),
        more: "[coordinator]\nmode = \"off\"\n",
        ..Setup::default()
    });
    let report = look(&larder);
    report.turned("ranges", "fair", &["ignores them"], &["origin-clock"]);
    report.turned("origin-clock", "bad", &["behind", "NTP"], &[]);
}

/// A port of loopback for DNS; the name servers of resolv.conf(5) have no other than 53.
fn name_server(names: &[(&str, &str)]) -> (tempfile::TempDir, Process, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = address();
    let resolv = folder.path().join("resolv.conf");
    fs::write(
        &resolv,
        format!("nameserver {at}\noptions timeout:1 attempts:1\n"),
    )
    .expect("written");
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq
        .env(
            "PATH",
            std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin",
        )
        .args([
            "--no-daemon",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--bind-interfaces",
        ])
        .args(["--conf-file=/dev/null", "--pid-file=", "--local=/test/"])
        .arg(format!("--listen-address={at}"));
    for (name, ip) in names {
        dnsmasq.arg(format!("--address=/{name}/{ip}"));
    }
    let dnsmasq = Process::start(&mut dnsmasq, &folder.path().join("log"));
    eventually("dnsmasq answers", || {
        let socket = UdpSocket::bind((at, 0)).ok()?;
        socket
            .set_read_timeout(Some(std::time::Duration::from_millis(200)))
            .ok()?;
        // Whatever it answers to this question without a name.
        socket
            .send_to(
                &[1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1],
                (at, 53),
            )
            .ok()?;
        socket.recv(&mut [0; 512]).ok()
    });
    // In a mount namespace of its own, the doctor has this file.
    let script = format!(
        "mount --bind {} /etc/resolv.conf && exec \"$@\"",
        resolv.display()
    );
    (folder, dnsmasq, script)
}

#[test]
fn hosts_that_lead_nowhere_or_inside_are_told() {
    if !root("to put another resolv.conf in place") || !have(&["nginx", "dnsmasq", "unshare"]) {
        return;
    }
    let nginx = origin();
    let (_folder, mut dnsmasq, script) =
        name_server(&[("public.test", "1.1.1.1"), ("inside.test", "10.9.9.9")]);
    let allowing = |names: &str| {
        appliance(&nginx, |setup| {
            setup.origins = format!("allow = [{:?}, {names}]\n", FAMILY[0])
        })
    };
    let look =
        |larder: &Larder| look_through(larder, &["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let larder = allowing("\"public.test\"");
    look(&larder).is_well("origin-names");
    let larder = allowing("\"public.test\", \"nowhere.test\"");
    look(&larder).turned(
        "origin-names",
        "fair",
        &["nowhere.test can not be looked up"],
        &[],
    );
    let larder = allowing("\"public.test\", \"inside.test\"");
    look(&larder).turned(
        "origin-names",
        "bad",
        &["inside.test (10.9.9.9, private)", "[origins.connect]"],
        &[],
    );
    dnsmasq.kill();
    let larder = allowing("\"public.test\"");
    look(&larder).turned(
        "origin-names",
        "fair",
        &["none of 1 hosts", "resolv.conf"],
        &[],
    );
}
