//! The offices' lines, as two hosts and a listener outside see them. The rule: this runs in a network namespace of its
//! own, into which the test starts itself again.

use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const INSIDE: &str = "LARDER_TEST_INSIDE";

/// What a listener at `address` hears: who came, by the address that it sees.
fn callers(address: &str, count: usize) -> thread::JoinHandle<Vec<String>> {
    let listener = TcpListener::bind(address).expect("an address of ours");
    thread::spawn(move || {
        let answer = |mut stream: TcpStream| {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head);
            let body = vec![b'x'; 100_000];
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).expect("a head");
            stream.write_all(&body).expect("a body");
        };
        (0..count)
            .map(|_| {
                let (stream, who) = listener.accept().expect("a caller");
                answer(stream);
                who.ip().to_string()
            })
            .collect()
    })
}

fn inside() {
    run_line("ip link set lo up").expect("a loopback");
    let network = Network::lay(2, 2, 100.0).expect("a network");
    let heard = callers("203.0.113.1:8000", 3);
    for (site, host) in [(0, 0), (0, 1), (1, 0)] {
        let mut curl = network.command(site, host, "curl".as_ref());
        let status = curl.args(["-sfo", "/dev/null", "http://203.0.113.1:8000/"]);
        assert!(status.status().expect("curl").success(), "{site} {host}");
    }
    // An office is one address to the world, whichever of its hosts calls.
    assert_eq!(
        heard.join().expect("they came"),
        ["203.0.113.11", "203.0.113.11", "203.0.113.12"]
    );
    let came = [0, 1].map(|site| network.wan_in_bytes(site).expect("counted"));
    assert!((200_000..230_000).contains(&came[0]), "{came:?}");
    assert!((100_000..115_000).contains(&came[1]), "{came:?}");
    let left = network.origin_out_bytes().expect("counted");
    assert!(left >= 300_000, "{left} {came:?}");
    // Hosts of one office reach each other, and none of another office.
    let ping = |site, host, to: &str| {
        let mut ping = network.command(site, host, "ping".as_ref());
        let ping = ping.args(["-c1", "-W2", to]).output().expect("ping");
        ping.status.success()
    };
    assert!(ping(0, 0, &lan_address(1)));
    assert!(!ping(0, 0, &lan_address(5)));
    let names = network.namespaces.clone();
    drop(network);
    for name in names {
        assert!(!Path::new("/run/netns").join(&name).exists(), "{name}");
    }
}

#[test]
fn an_office_has_one_address_outside_and_its_own_network_inside() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let skip = |why: &str| {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI passes nothing over: {why}"
        );
        eprintln!("SKIPPED: {why}");
    };
    if !is_root() {
        return skip("network namespaces are made by root alone");
    }
    let there = |program: &str| {
        let paths = path();
        paths
            .split(':')
            .any(|folder| Path::new(folder).join(program).exists())
    };
    if let Some(missing) = ["ip", "tc", "nft", "curl", "ping"]
        .iter()
        .find(|name| !there(name))
    {
        return skip(&format!("{missing} is not installed"));
    }
    let name =
        "sites::network::tests::an_office_has_one_address_outside_and_its_own_network_inside";
    let output = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}
