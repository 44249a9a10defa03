//! Two appliances of one site, a coordinator and an origin that keeps a record. The rule: what one appliance has, the
//! other does not fetch from the origin; and whoever is missing of them, clients get their bytes.

mod rig;

use larder::{Appliance, Checked, Telemetry};
use larder_proto::http::route::OriginRules;
use rig::fetch::Get;
use rig::meeting::Meeting;
use rig::nginx::Nginx;
use rig::{assert_same, eventually, have};
use std::net::SocketAddr;
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

    fn fetched(&self, source: &str) -> f64 {
        self.metric(
            "larder_fetched_bytes_total",
            &format!("source=\"{source}\""),
        )
    }
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
    let answer = second.get(path).run().expect("an answer");
    assert_same(&answer.body, &wanted, "the second, alone");
}
