//! `larder coordinator` as administrators run it: a file, signals, figures, and a group that is closed while it runs.

mod rig;

use rig::process::Process;
use rig::{address, eventually};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

const GROUP: &str = "7f8d2c3e-0b1a-4c5d-9e6f-0123456789ab";

/// One call on a connection of its own: the whole answer, nothing where nobody answers.
fn ask(to: (Ipv4Addr, u16), text: &str) -> String {
    let mut answer = Vec::new();
    let asked = TcpStream::connect(SocketAddr::from(to)).and_then(|mut socket| {
        socket.write_all(text.as_bytes())?;
        socket.read_to_end(&mut answer)
    });
    drop(asked);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(to: (Ipv4Addr, u16), target: &str) -> String {
    ask(
        to,
        &format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
}

/// A peer of the group joins; the id's first digit is `number`.
fn join(to: (Ipv4Addr, u16), number: u8) -> String {
    let body = format!(
        "{{\"ContentId\":\"DO-bLR-YkW147Gf10YSrQ6lgW3AC9E1aDesK3TaSr0DHJA\",\
         \"PeerId\":\"{number}f8d2c3e-0b1a-4c5d-9e6f-0123456789ab\",\"Port\":7680,\"ReportedIp\":[\"10.0.0.{number}\"],\
         \"DownloadMode\":2,\"GroupId\":\"{GROUP}\",\"PeersWanted\":10}}"
    );
    let head = format!(
        "POST /v1/join HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    ask(to, &(head + &body))
}

fn write(folder: &Path, at: Ipv4Addr, more: &str) {
    let text = format!(
        "[server]\nadmin = \"{at}:9180\"\n[coordinator]\nhttp = [\"{at}:7681\"]\nheartbeat_secs = 10\n{more}"
    );
    std::fs::write(folder.join("larder.toml"), text).expect("written");
}

#[test]
fn a_coordinator_alone_serves_reloads_and_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = address();
    let (api, admin) = ((at, 7681), (at, 9180));
    write(folder.path(), at, "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command
        .arg("coordinator")
        .arg("--config")
        .arg(folder.path().join("larder.toml"));
    let mut larder = Process::start(&mut command, &folder.path().join("log"));
    eventually("it answers", || {
        get(api, "/healthz").contains("alive").then_some(())
    });
    assert!(join(api, 1).contains("\"Peers\":[]"));
    let told = join(api, 2);
    assert!(
        told.contains("\"Address\":\"10.0.0.1\"") && told.contains("\"NextJoinSecs\":10"),
        "{told}"
    );
    eventually("its figures are told", || {
        let figures = get(admin, "/metrics");
        let joins = "larder_coordinator_requests_total{call=\"join\",result=\"done\"} 2";
        (figures.contains(joins) && figures.contains("larder_coordinator_peers 2")).then_some(())
    });
    // From now on the group is for those who have its key; those who were in it are in it still.
    let key = folder.path().join("group.key");
    std::fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("written");
    write(
        folder.path(),
        at,
        &format!("[coordinator.groups]\n\"{GROUP}\" = {key:?}\n"),
    );
    larder.signal("HUP");
    eventually("the group is closed", || {
        join(api, 3).contains("HTTP/1.1 401 ").then_some(())
    });
    // A file with a mistake changes nothing.
    write(
        folder.path(),
        at,
        "[coordinator.groups]\nnonsense = \"/nowhere\"\n",
    );
    larder.signal("HUP");
    eventually("the mistake is told", || {
        larder.said().contains("nonsense").then_some(())
    });
    assert!(join(api, 3).contains("HTTP/1.1 401 "));
    larder.signal("TERM");
    assert!(larder.wait().success(), "{}", larder.said());
}

#[test]
fn an_appliance_is_a_coordinator_and_takes_part_itself() {
    let setup = rig::larder::Setup {
        more: "[coordinator]\nhttp = [\"127.0.0.1:0\"]\n",
        ..rig::larder::Setup::default()
    };
    let larder = rig::larder::Larder::start(&setup);
    let at = eventually("it says where", || {
        let said = larder.log();
        let at = said.split("coordinator on ").nth(1)?;
        at.split_whitespace().next()?.parse::<SocketAddr>().ok()
    });
    let answer = get((Ipv4Addr::LOCALHOST, at.port()), "/v1/geo");
    assert!(
        answer.contains("\"ExternalIpAddress\":\"127.0.0.1\""),
        "{answer}"
    );
}
