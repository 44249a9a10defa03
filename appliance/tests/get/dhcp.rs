//! Cache hosts that a real DHCP server names by option 235 (`DOCacheHostSource`), in a network namespace of their own.

use super::MIB;
use super::device::Device;
use super::namespace::{inside, path};
use super::origin::{Manner, Origin};
use super::rig::larder::FAMILY;
use super::rig::process::Process;
use super::rig::{assert_same, eventually, real_bytes};
use std::process::Command;

fn ip(line: &str) {
    let status = Command::new("ip")
        .env("PATH", path())
        .args(line.split(' '))
        .status();
    assert!(status.expect("ip").success(), "ip {line}");
}

/// Whose bytes came, under these settings.
struct Came {
    by_first: u64,
    by_second: u64,
    by_origin: u64,
    cache_host: serde_json::Value,
}

fn what_option_235_says_is_asked() {
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
    let bytes = real_bytes(3 * MIB);
    let start = || Origin::start(bytes.clone(), Manner::default());
    let (named, told, origin) = (start(), start(), start());
    let refuses = Origin::start(
        Vec::new(),
        Manner {
            status: Some(404),
            ..Manner::default()
        },
    );
    let host = FAMILY[0];
    let get = |policy: &str| {
        let device = Device::new();
        let at = origin.address();
        device.config(&format!(
            "[policy]\n{policy}\n[origins.connect]\n{host:?} = \"{at}\"\n"
        ));
        let ended = device
            .get(&format!("http://{host}/x.bin"), &["--json"])
            .well();
        assert_same(&device.bytes("x.bin"), &bytes, policy);
        Came {
            by_first: named.take_sent(),
            by_second: told.take_sent(),
            by_origin: origin.take_sent(),
            cache_host: ended.json()["CacheHost"].clone(),
        }
    };
    let all = bytes.len() as u64;
    let cache_host = format!("DOCacheHost = \"{}\"", named.address());

    // Nobody serves DHCP yet: what is named holds, and else the origin.
    let came = get("DOCacheHostSource = 1");
    assert_eq!((came.by_second, came.by_origin), (0, all));
    let came = get(&format!("{cache_host}\nDOCacheHostSource = 2"));
    assert_eq!((came.by_first, came.by_origin), (all, 0));

    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    let mut dnsmasq = Command::new("dnsmasq");
    dnsmasq.env("PATH", path()).args([
        "--no-daemon",
        "--port=0",
        "--no-ping",
        "--user=root",
        "--interface=there",
        "--bind-interfaces",
        "--dhcp-range=10.7.0.100,10.7.0.200",
    ]);
    dnsmasq.arg("--pid-file=");
    dnsmasq.arg(format!("--dhcp-leasefile={}", file("leases").display()));
    // In order, with a comma between, as clients expect it.
    let option = format!(
        "dhcp-option=235,\"{},{}\"\n",
        refuses.address(),
        told.address()
    );
    std::fs::write(file("conf"), option).expect("written");
    dnsmasq.arg(format!("--conf-file={}", file("conf").display()));
    let dnsmasq = Process::start(&mut dnsmasq, &file("log"));
    eventually("dnsmasq is up", || {
        dnsmasq.said().contains("sockets bound").then_some(())
    });

    let came = get("DOCacheHostSource = 1");
    assert_eq!(
        (came.by_second, came.by_origin),
        (all, 0),
        "option 235 where nothing is named"
    );
    assert_eq!(refuses.take_seen().len(), 1, "in its order");
    assert_eq!(came.cache_host, refuses.address().to_string());
    let came = get(&format!("{cache_host}\nDOCacheHostSource = 1"));
    assert_eq!((came.by_first, came.by_second), (all, 0), "what is named");
    let came = get(&format!("{cache_host}\nDOCacheHostSource = 2"));
    assert_eq!(
        (came.by_first, came.by_second),
        (0, all),
        "option 235 first"
    );
    for policy in ["DOCacheHostSource = 0", "DODownloadMode = 1"] {
        let came = get(policy);
        assert_eq!((came.by_second, came.by_origin), (0, all), "{policy}");
    }
}

#[test]
fn a_dhcp_server_names_the_cache_hosts() {
    inside(
        "dhcp::a_dhcp_server_names_the_cache_hosts",
        &["dnsmasq"],
        what_option_235_says_is_asked,
    );
}
