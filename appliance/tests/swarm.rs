//! Two appliances of one site, a coordinator and an origin that keeps a record. The rule: what one appliance has, the
//! other does not fetch from the origin; and whoever is missing of them, clients get their bytes.

mod rig;

use larder::{Appliance, Checked, Telemetry};
use larder_proto::http::route::OriginRules;
use rig::fetch::Get;
use rig::meeting::Meeting;
use rig::nginx::Nginx;
use rig::{assert_same, eventually, have};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const HOST: &str = "dl.test";
const MIB: usize = 1 << 20;

/// An appliance in this process.
struct Office {
    appliance: Option<Appliance>,
    _store: TempDir,
}

impl Office {
    fn start(origin: SocketAddr, meeting: &Meeting) -> Self {
        let store = tempfile::tempdir().expect("a directory");
        let connect = [(HOST.to_owned(), origin.to_string())];
        let immutable = ["*/fixed/*".to_owned()];
        let rules = OriginRules::new(&[], None, connect, &immutable).expect("sound rules");
        let mut config = Checked::on_loopback(store.path(), rules);
        // However slow the machine is that this runs on, what peers have is left to them.
        config.settings.policies.http_delay_s.foreground = 30;
        let appliance = Appliance::start(config, Telemetry::new()).expect("it starts");
        appliance.join_swarm(meeting.client(), true);
        Self {
            appliance: Some(appliance),
            _store: store,
        }
    }

    fn appliance(&self) -> &Appliance {
        self.appliance.as_ref().expect("it runs")
    }

    fn get(&self, path: &str) -> Get {
        Get::new(self.appliance().http()[0], path).host(HOST)
    }

    /// The sum of a metric's lines that have this in them.
    fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.appliance().metrics();
        let lines = text
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label));
        let values = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.sum()
    }

    /// What the admin address answers.
    fn told(&self, path: &str) -> Value {
        let answer = Get::new(self.appliance().admin(), path).run();
        serde_json::from_slice(&answer.expect("an answer").body).expect("JSON")
    }

    fn fetched(&self, source: &str) -> f64 {
        self.metric(
            "larder_fetched_bytes_total",
            &format!("source=\"{source}\""),
        )
    }
}

/// What went from the first to the second, as the seed's cmdlets tell it on both sides.
fn cmdlets_tell_the_same(first: &Office, second: &Office, (of_lan, of_http): (f64, f64)) {
    let downloads = second.told("/api/v1/downloads");
    let row = &downloads["downloads"][0];
    let [lan, http] = ["BytesFromLanPeers", "BytesFromHttp"].map(|key| row[key].as_u64());
    let (lan, http) = (lan.expect("a number"), http.expect("a number"));
    assert_eq!((lan as f64, http as f64), (of_lan, of_http), "{row}");
    let all = lan + http;
    for (key, value) in [
        ("BytesFromPeers", lan),
        ("TotalBytesDownloaded", all),
        ("LanConnectionCount", 1),
        ("NumPeers", 1),
    ] {
        assert_eq!(row[key], value, "{key}: {row}");
    }
    let percent = row["PercentPeerCaching"].as_f64().expect("a number");
    assert_eq!(percent, (lan * 10_000 / all) as f64 / 100.0, "{row}");
    let peer = &row["PeerInfo"][0];
    assert_eq!(
        (&peer["IP"], &peer["PeerType"]),
        (&"127.0.0.1".into(), &"Lan".into())
    );
    assert_eq!(peer["ConnectionEstablished"], true);
    assert!(peer["BytesReceived"].as_u64() >= Some(lan), "{peer}");
    // Who gives has told what it gave, a little later.
    let row = eventually("the first has noted what it gave", || {
        let row = first.told("/api/v1/downloads")["downloads"][0].clone();
        (row["BytesToLanPeers"].as_u64() >= Some(lan)).then_some(row)
    });
    let peer = &row["PeerInfo"][0];
    assert_eq!(peer["BytesSent"], row["BytesToLanPeers"], "{row}");
    let snap = first.told("/api/v1/perfsnap");
    for (key, value) in [
        ("FilesUploaded", 1),
        (
            "TotalBytesUploaded",
            row["BytesToLanPeers"].as_u64().unwrap_or(0),
        ),
        ("NumberOfPeers", 1),
        ("UploadCount", 1),
        ("LanConnections", 1),
    ] {
        assert_eq!(snap[key], value, "{key}: {snap}");
    }
    let snap = second.told("/api/v1/perfsnap?month=this");
    assert_eq!(
        (&snap["BytesFromLanPeers"], &snap["PeerEfficiency"]),
        (&lan.into(), &percent.into())
    );
    assert!(
        snap["AveragePeerConnections"].as_f64() >= Some(1.0),
        "{snap}"
    );
}

/// Whether any peers were seen, as the doctor says.
fn of_peers(office: &Office) -> Value {
    let admin = format!("http://{}", office.appliance().admin());
    let output = Command::new(env!("CARGO_BIN_EXE_larder"))
        .args(["doctor", "--json", "--timeout", "60", "--admin", &admin])
        .output();
    let output = output.expect("larder runs").stdout;
    let findings: Value = serde_json::from_slice(&output).expect("JSON");
    let findings = findings.as_array().expect("a list").iter();
    let mut of_peers = findings.filter(|finding| finding["check"] == "peers");
    of_peers.next().expect("a finding").clone()
}

impl Drop for Office {
    fn drop(&mut self) {
        if let Some(appliance) = self.appliance.take() {
            appliance.stop(Duration::ZERO);
        }
    }
}

#[test]
fn the_second_appliance_of_a_site_gets_what_the_first_has_from_it() {
    if !have(&["nginx"]) {
        return;
    }
    let mut nginx = Nginx::start();
    let mut meeting = Meeting::start();
    let wanted = rig::real_bytes(24 * MIB + 17);
    let path = "/fixed/object.bin";
    nginx.put(path, &wanted);
    let first = Office::start(nginx.address(), &meeting);
    let answer = first.get(path).run().expect("an answer");
    assert_same(&answer.body, &wanted, "the first appliance");
    assert_eq!(nginx.body_bytes(), wanted.len() as u64);
    eventually("the first has told what it has", || {
        meeting
            .knows(&format!("http://{HOST}{}", path))
            .then_some(())
    });

    let alone = of_peers(&first);
    assert_eq!(alone["grade"], "fair", "{alone}");
    let second = Office::start(nginx.address(), &meeting);
    // Two small ranges: the first names the object, the second brings its peers together.
    for piece in [0, 1] {
        let at = (piece * MIB) as u64;
        let part = second.get(path).range(at, at + 99).run();
        let start = piece * MIB;
        let part = part.expect("an answer").body;
        assert_same(&part, &wanted[start..start + 100], "a range");
    }
    eventually("the first appliance is found", || {
        let found = second.metric("larder_peer_download_connections", "type=\"lan\"");
        (found == 1.0).then_some(())
    });
    let before = nginx.body_bytes();
    assert!(before <= 3 * MIB as u64, "{before}");
    let answer = second.get(path).run().expect("an answer");
    assert_same(&answer.body, &wanted, "the second appliance");
    let more = nginx.body_bytes();
    assert_eq!(more, 0, "bytes that crossed the line to the origin again");
    let (lan, http) = (second.fetched("lan"), second.fetched("http"));
    assert_eq!(lan + http, wanted.len() as f64, "{lan} {http}");
    assert!(lan >= (22 * MIB) as f64, "{lan}");
    cmdlets_tell_the_same(&first, &second, (lan, http));
    for office in [&first, &second] {
        let seen = of_peers(office);
        assert_eq!(seen["grade"], "good", "{seen}");
    }

    // Without the coordinator what peers brought is served, and what is new comes from the origin.
    meeting.stop();
    let answer = second.get(path).run().expect("an answer");
    assert_eq!(
        answer.field("X-Cache-Status"),
        Some("HIT"),
        "{}",
        answer.head
    );
    nginx.put("/fixed/other.bin", &wanted[1..]);
    let answer = second.get("/fixed/other.bin").run().expect("an answer");
    assert_same(&answer.body, &wanted[1..], "another object");

    // Nor does a peer that is gone hold anybody up.
    drop(first);
    let log = second._store.path().join("log/peers.jsonl");
    let connection = eventually("the end of the connection is in the log", || {
        let text = std::fs::read_to_string(&log).ok()?;
        let entry: Value = serde_json::from_str(text.lines().next()?).ok()?;
        Some(entry["Connection"].clone())
    });
    assert!(
        connection["BytesReceived"].as_f64() >= Some(lan),
        "{connection}"
    );
    assert_eq!(
        (&connection["IP"], &connection["PeerType"]),
        (&"127.0.0.1".into(), &"Lan".into())
    );
    let answer = second.get(path).run().expect("an answer");
    assert_same(&answer.body, &wanted, "the second, alone");
}
