//! Faults of what a network tells, each in a network of its own.

use super::namespace::{inside, path};
use super::report::{appliance, look, origin, rewrite};
use super::rig::eventually;
use super::rig::process::Process;
use std::fs;
use std::process::{Child, Command, Stdio};

/// An Ethernet of two ends, on which this program is at both.
fn link() {
    for line in [
        "link set lo up",
        "link add here type veth peer name there",
        "link set there up",
        "link set here up",
        "address add 10.7.0.1/24 dev there",
        "address add 10.7.0.9/24 dev here",
    ] {
        ip(line);
    }
}

fn ip(line: &str) {
    let done = Command::new("ip")
        .env("PATH", path())
        .args(line.split(' '))
        .status();
    assert!(done.expect("ip").success(), "ip {line}");
}

fn dhcp_server(folder: &std::path::Path) -> Process {
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.env("PATH", path()).args([
        "--no-daemon",
        "--port=0",
        "--no-ping",
        "--user=root",
        "--interface=there",
        "--bind-interfaces",
        "--dhcp-range=10.7.0.100,10.7.0.200",
        "--pid-file=",
    ]);
    dnsmasq.arg(format!(
        "--dhcp-leasefile={}",
        folder.join("leases").display()
    ));
    let options =
        "dhcp-option=235,\"10.7.0.9\"\ndhcp-option=234,\"7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\"\n";
    std::fs::write(folder.join("conf"), options).expect("written");
    dnsmasq.arg(format!("--conf-file={}", folder.join("conf").display()));
    let dnsmasq = Process::start(&mut dnsmasq, &folder.join("log"));
    eventually("dnsmasq is up", || {
        dnsmasq.said().contains("sockets bound").then_some(())
    });
    dnsmasq
}

fn a_dhcp_server_is_there_and_then_not() {
    link();
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = dhcp_server(folder.path());
    let nginx = origin();
    let larder = appliance(&nginx, |setup| {
        setup.tables = "[policy]\nDOCacheHostSource = 1\nDOGroupIdSource = 3\n".to_owned();
    });
    let report = look(&larder);
    report.is_well("dhcp");
    report.is_well("group");
    server.kill();
    let report = look(&larder);
    report.turned(
        "dhcp",
        "bad",
        &["no DHCP server answers", "option 235"],
        &["group"],
    );
    report.turned(
        "group",
        "bad",
        &["DHCP option 234", "no DHCP server answers"],
        &["dhcp"],
    );
}

#[test]
fn a_dhcp_server_that_does_not_answer_is_told() {
    inside(
        "network::a_dhcp_server_that_does_not_answer_is_told",
        &["nginx", "dnsmasq"],
        a_dhcp_server_is_there_and_then_not,
    );
}

fn a_responder_that_is_there_and_then_not() {
    link();
    let nginx = origin();
    let dns_sd = "[discovery]\ndns_sd = true\n";
    let more = "site = \"berlin\"\n[store]";
    let larder = appliance(&nginx, |setup| setup.tables = dns_sd.to_owned());
    // It listens on an address of this network as well; what it listens on takes a restart.
    rewrite(&larder, "[store]", more);
    let own = format!("\"{}\"", larder.http());
    rewrite(&larder, &own, &format!("{own}, \"10.7.0.9:8080\""));
    look(&larder).turned(
        "dns-sd",
        "bad",
        &["no cache host is found", "UDP 5353"],
        &["port-http"],
    );
    let mut larder = larder;
    larder.terminate();
    larder.resume();
    look(&larder).is_well("dns-sd");
}

#[test]
fn a_responder_that_does_not_answer_is_told() {
    inside(
        "network::a_responder_that_does_not_answer_is_told",
        &["nginx"],
        a_responder_that_is_there_and_then_not,
    );
}

/// A shell in a network namespace that ends with this process, at the other end of the Ethernet.
struct Elsewhere(Child);

impl Elsewhere {
    fn start() -> Self {
        let child = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let elsewhere = Self(child.expect("unshare"));
        let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        let pid = elsewhere.0.id().to_string();
        eventually("it is elsewhere", || {
            (namespace(&pid)? != namespace("self")?).then_some(())
        });
        let there = format!("link set there netns {pid}");
        ip(&there);
        for line in [
            "link set lo up",
            "link set there up",
            "address add 10.7.0.1/24 dev there",
        ] {
            let done = elsewhere.command("ip").args(line.split(' ')).status();
            assert!(done.expect("ip").success(), "ip {line}");
        }
        elsewhere
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .env("PATH", path())
            .args(["--net", "-t", &self.0.id().to_string(), program]);
        command
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn a_firewall_comes_up() {
    for line in [
        "link set lo up",
        "link add here type veth peer name there",
        "link set here up",
        "address add 10.7.0.9/24 dev here",
    ] {
        ip(line);
    }
    let elsewhere = Elsewhere::start();
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("larder.toml");
    let text = "[server]\nadmin = \"127.0.0.1:9180\"\n[coordinator]\nhttp = [\"10.7.0.1:7681\"]\n";
    fs::write(&config, text).expect("written");
    let mut coordinator = elsewhere.command(env!("CARGO_BIN_EXE_larder"));
    coordinator.arg("coordinator").arg("--config").arg(&config);
    let _coordinator = Process::start(&mut coordinator, &folder.path().join("log"));
    let nginx = origin();
    let mut larder = appliance(&nginx, |setup| {
        setup.more = "";
        setup.tables = "[coordinator]\nurl = \"http://10.7.0.1:7681\"\n".to_owned();
    });
    let of_peers = format!("peer = \"{}\"", larder.peer());
    rewrite(&larder, &of_peers, "peer = \"0.0.0.0:7680\"");
    larder.kill();
    larder.resume();
    eventually("the coordinator answers", || {
        (look(&larder).grade("coordinator") == "good").then_some(())
    });
    let report = look(&larder);
    report.is_well("port-peer");
    let said = report.said("port-peer");
    assert!(
        said.contains("the coordinator has connected to 10.7.0.9:7680"),
        "{said}"
    );
    // What is tried from here still gets through, since it goes past this rule.
    for line in [
        "add table inet f",
        "add chain inet f in { type filter hook input priority 0; }",
        "add rule inet f in iifname here tcp dport 7680 drop",
    ] {
        let done = Command::new("nft").env("PATH", path()).arg(line).status();
        assert!(done.expect("nft").success(), "nft {line}");
    }
    let words = [
        "can not connect to 10.7.0.9:7680",
        "no answer within 3 s",
        "nft list ruleset",
    ];
    look(&larder).turned("port-peer", "bad", &words, &[]);
}

#[test]
fn a_firewall_before_the_port_of_peers_is_told() {
    inside(
        "network::a_firewall_before_the_port_of_peers_is_told",
        &["nginx", "nft", "nsenter"],
        a_firewall_comes_up,
    );
}
