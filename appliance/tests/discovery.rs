//! How clients find an appliance: DNS-SD of the running program, and the files of `deploy/clients`. The rule: each is
//! read by a program that it is for, where that runs here, and by larder for the names of policies.

mod rig;

use mdns_sd::{ServiceDaemon, ServiceEvent};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Set where the test runs in a network namespace of its own.
const INSIDE: &str = "LARDER_TEST_INSIDE";

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy/clients")
        .join(name)
}

fn text(name: &str) -> String {
    let path = file(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn dnsmasq_takes_its_file() {
    if !rig::have(&["dnsmasq"]) {
        return;
    }
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut argument = std::ffi::OsString::from("--conf-file=");
    argument.push(file("dnsmasq.conf"));
    let output = Command::new("dnsmasq")
        .env("PATH", path)
        .arg("--test")
        .arg(argument)
        .output()
        .expect("dnsmasq runs");
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn every_file_tells_of_both_options_and_how_to_use_it() {
    for name in ["dnsmasq.conf", "kea-dhcp4.json", "windows-dhcp-server.ps1"] {
        let text = text(name);
        for option in ["234", "235", "Edit:", "Needs:"] {
            assert!(text.contains(option), "{name} says nothing of {option}");
        }
    }
    // Kea's JSON is JSON but for the lines that are comments.
    let kea = text("kea-dhcp4.json");
    let plain = kea
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let plain = plain.collect::<Vec<_>>().join("\n");
    let kea: serde_json::Value = serde_json::from_str(&plain).expect("JSON");
    let names = |list: &str| -> BTreeSet<String> {
        let options = kea["Dhcp4"][list].as_array().expect("a list");
        let name = |option: &serde_json::Value| option["name"].as_str().expect("named").to_owned();
        options.iter().map(name).collect()
    };
    assert_eq!(
        names("option-def"),
        names("option-data"),
        "what is set is defined"
    );
}

/// The registry's values, as the lines of `[policy]` that mean the same.
fn policy_of(registry: &str) -> String {
    let values = registry.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix('"')?.split_once("\"=")?;
        let value = match value.strip_prefix("dword:") {
            Some(hex) => u32::from_str_radix(hex, 16).expect("a dword").to_string(),
            None => value.to_owned(),
        };
        Some(format!("{name} = {value}\n"))
    });
    "[policy]\n".to_owned() + &values.collect::<String>()
}

#[test]
fn every_policy_of_the_registry_file_is_known() {
    let registry = text("windows-policy.reg");
    assert!(registry.starts_with("Windows Registry Editor Version 5.00\r\n"));
    assert!(registry.contains(
        "\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Microsoft\\Windows\\DeliveryOptimization]\r\n"
    ));
    let policy = policy_of(&registry);
    for name in [
        "DOCacheHost",
        "DOCacheHostSource",
        "DOGroupId",
        "DODownloadMode",
    ] {
        assert!(policy.contains(&format!("\n{name} = ")), "{name}: {policy}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("larder.toml");
    let check = |policy: &str| {
        std::fs::write(&config, policy).expect("written");
        let larder = Command::new(env!("CARGO_BIN_EXE_larder"))
            .arg("check-config")
            .arg(&config)
            .output();
        larder.expect("larder runs")
    };
    let output = check(&policy);
    assert!(output.status.success(), "{policy}{}", said(&output));
    let wrong = check(&policy.replace("DOGroupId", "DOGruppe"));
    assert!(!wrong.status.success(), "a name that is not known is told");
}

/// In a network of one link, on which this program listens as well.
fn an_appliance_and_a_browser() {
    for line in [
        "link set lo up",
        "link add here type veth peer name there",
        "link set there up",
        "link set here up",
        "address add 10.7.0.1/24 dev here",
    ] {
        let done = Command::new("ip").args(line.split(' ')).status();
        assert!(done.expect("ip").success(), "{line}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("larder.toml");
    let text = format!(
        "[server]\nhttp = [\"[::]:8123\"]\npeer = \"\"\nsite = \"berlin\"\nmemory_bytes_max = \"256MiB\"\n\
         [store]\npaths = [{:?}]\n[coordinator]\nmode = \"off\"\n[discovery]\ndns_sd = true\n",
        folder.path().join("store")
    );
    std::fs::write(&config, text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.arg("serve").arg("--config").arg(&config);
    command.env_remove("LISTEN_FDS").env_remove("NOTIFY_SOCKET");
    let mut larder = rig::process::Process::start(&mut command, &folder.path().join("log"));

    let browser = ServiceDaemon::new().expect("a browser");
    let events = browser
        .browse("_microsoft_mcc._tcp.local.")
        .expect("browsing");
    let before = Instant::now() + Duration::from_secs(60);
    let next = || events.recv_deadline(before).expect("an event in time");
    let found = loop {
        if let ServiceEvent::ServiceResolved(service) = next() {
            break service;
        }
    };
    let name = "berlin._microsoft_mcc._tcp.local.";
    assert_eq!((found.get_fullname(), found.get_port()), (name, 8123));
    let ours = std::net::Ipv4Addr::new(10, 7, 0, 1);
    assert!(found.get_addresses_v4().contains(&ours), "{found:?}");
    larder.signal("TERM");
    loop {
        if let ServiceEvent::ServiceRemoved(_, gone) = next() {
            assert_eq!(gone, name);
            break;
        }
    }
    assert!(larder.wait().success(), "{}", larder.said());
}

#[test]
fn an_appliance_is_found_by_dns_sd_until_it_stops() {
    if std::env::var_os(INSIDE).is_some() {
        return an_appliance_and_a_browser();
    }
    let tried = Command::new("unshare")
        .args(["--net", "ip", "link"])
        .output();
    if !tried.is_ok_and(|output| output.status.success()) {
        rig::skip("no network namespace can be made (unshare --net, ip)");
        return;
    }
    let output = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "an_appliance_is_found_by_dns_sd_until_it_stops"])
        .arg("--nocapture")
        .env(INSIDE, "1")
        .output()
        .expect("unshare");
    let said = said(&output);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
