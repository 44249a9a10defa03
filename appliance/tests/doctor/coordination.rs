//! Faults of the coordinator, of what it keeps things in, and of links.

use super::report::{Report, appliance, look, origin};
use super::rig::certificates::Authority;
use super::rig::meeting::Meeting;
use super::rig::process::Process;
use super::rig::recorder::{Recorder, Seen};
use super::rig::{address, eventually, have};
use super::tls::in_days;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

fn asking(url: &str) -> String {
    format!("[coordinator]\nurl = \"{url}\"\n")
}

#[test]
fn a_coordinator_that_is_away_is_told() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = origin();
    let mut meeting = Meeting::start();
    let url = format!("http://{}", meeting.address);
    let larder = appliance(&nginx, |setup| {
        setup.more = "";
        setup.tables = asking(&url);
    });
    let report = look(&larder);
    report.is_well("coordinator");
    report.is_well("coordinator-clock");
    meeting.stop();
    look(&larder).turned("coordinator", "bad", &[&url, "[coordinator] url"], &[]);
}

#[test]
fn a_coordinator_with_another_time_is_told() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = origin();
    let behind = Recorder::start(|_: &Seen| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let body = format!(
            "{{\"ExternalIpAddress\":\"127.0.0.1\",\"ServerTime\":{}}}",
            now.as_secs() - 3600
        );
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json";
        format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    });
    let larder = appliance(&nginx, |setup| {
        setup.more = "";
        setup.tables = asking(&format!("http://{}", behind.address()));
    });
    look(&larder).turned("coordinator-clock", "bad", &["3600 s behind", "NTP"], &[]);
}

#[test]
fn a_coordinator_whose_certificate_is_no_good_is_told() {
    if !have(&["nginx", "openssl"]) {
        return;
    }
    let nginx = origin();
    let authority = Authority::new();
    let soon = in_days(20);
    for (name, host, end, words) in [
        ("good", "localhost", "20491231235959Z", None),
        (
            "soon",
            "localhost",
            soon.as_str(),
            Some("expires in 20 days"),
        ),
        ("over", "localhost", "20210101000000Z", Some("xpired")),
        (
            "other",
            "other.example",
            "20491231235959Z",
            Some("not valid for name"),
        ),
    ] {
        authority.issue(name, &[host], "20200101000000Z", end);
        let served = ByHttps::start(&authority, name);
        if words.is_none() {
            served.is_well();
        }
        let larder = appliance(&nginx, |setup| {
            setup.more = "";
            setup
                .origins
                .push_str(&format!("ca_file = {:?}\n", authority.ca()));
            setup.tables = asking(&format!("https://localhost:{}", served.port));
        });
        match words {
            None => look(&larder).is_well("coordinator"),
            Some(words) => {
                let grade = if name == "soon" { "fair" } else { "bad" };
                look(&larder).turned("coordinator", grade, &[words, "certificate"], &[]);
            }
        }
    }
}

/// A coordinator by https, as the program runs one.
struct ByHttps {
    folder: tempfile::TempDir,
    _process: Process,
    port: u16,
}

impl ByHttps {
    /// The doctor takes it for what it is: nothing of an appliance is missed.
    fn is_well(&self) {
        let output = Command::new(env!("CARGO_BIN_EXE_larder"))
            .args(["doctor", "--json", "--timeout", "60", "--config"])
            .arg(self.folder.path().join("larder.toml"))
            .output();
        let report = Report::of(&output.expect("larder runs"));
        report.is_well("appliance");
        assert_eq!((report.grade("token"), report.grade("port-http")), ("", ""));
    }

    fn start(authority: &Authority, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let config = folder.path().join("larder.toml");
        let text = format!(
            "[server]\nadmin = \"{}:9180\"\n[coordinator]\nhttps = [\"127.0.0.1:{port}\"]\n\
             [origins]\nallow = [\"nowhere.example:1\"]\n{}",
            address(),
            authority.table(&[name])
        );
        std::fs::write(&config, text).expect("written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command.arg("coordinator").arg("--config").arg(&config);
        let mut process = Process::start(&mut command, &folder.path().join("log"));
        eventually("it listens", || {
            assert!(process.ended().is_none(), "{}", process.said());
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()
        });
        Self {
            folder,
            _process: process,
            port,
        }
    }
}

/// A Redis Cluster of one node, with a password.
fn redis(at: Ipv4Addr, folder: &std::path::Path) -> Process {
    let mut command = Command::new("redis-server");
    command
        .args([
            "--port",
            "6379",
            "--bind",
            &at.to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .args([
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            "16379",
            "--requirepass",
            "right",
        ])
        .args(["--cluster-announce-ip", &at.to_string()])
        .args(["--cluster-require-full-coverage", "no", "--dir"])
        .arg(folder);
    let process = Process::start(&mut command, &folder.join("log"));
    let ask = |words: &[&str]| {
        let mut cli = Command::new("redis-cli");
        cli.args(["-h", &at.to_string(), "-a", "right"]).args(words);
        let output = cli.output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    eventually("Redis answers", || {
        ask(&["ping"]).contains("PONG").then_some(())
    });
    ask(&["cluster", "addslotsrange", "0", "16383"]);
    eventually("the cluster is whole", || {
        ask(&["cluster", "info"])
            .contains("cluster_state:ok")
            .then_some(())
    });
    process
}

#[test]
fn a_redis_that_is_away_or_lets_nobody_in_is_told() {
    if !have(&["nginx", "redis-server", "redis-cli"]) {
        return;
    }
    let nginx = origin();
    let folder = tempfile::tempdir().expect("a folder");
    let at = address();
    let mut redis = redis(at, folder.path());
    let password = folder.path().join("password");
    std::fs::write(&password, "right\n").expect("written");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&password, permissions).expect("its owner");
    let own = address();
    let larder = appliance(&nginx, |setup| {
        setup.more = "";
        setup.tables = format!(
            "[coordinator]\nhttp = [\"{own}:7781\"]\nbackend = \"redis://{at}:6379\"\nredis_password_file = {password:?}\n"
        );
    });
    let report = look(&larder);
    report.is_well("redis");
    report.is_well("coordinator");
    std::fs::write(&password, "wrong\n").expect("written");
    look(&larder).turned(
        "redis",
        "bad",
        &["Password authentication failed", "redis_password_file"],
        &[],
    );
    std::fs::write(&password, "right\n").expect("written");
    redis.kill();
    look(&larder).turned("redis", "bad", &["see that each node runs"], &[]);
}

#[test]
fn a_link_where_nobody_answers_is_told() {
    if !have(&["nginx"]) {
        return;
    }
    let nginx = origin();
    let there = TcpListener::bind((address(), 7680)).expect("a port");
    let ends = format!(
        "[[links]]\nname = \"hamburg\"\npeers = [\"{}\"]\n",
        there.local_addr().expect("its address")
    );
    let larder = appliance(&nginx, |setup| setup.tables = ends);
    look(&larder).is_well("links");
    drop(there);
    look(&larder).turned(
        "links",
        "bad",
        &["hamburg", "port lets this machine in"],
        &[],
    );
}
