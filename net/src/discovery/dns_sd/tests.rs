//! The responder, as a browser on the same link sees it. The rule: it runs in a network namespace of its own, into which
//! the test starts itself again, so that nobody else's network hears of it.

use super::super::namespace::inside;
use super::*;
use mdns_sd::{ResolvedService, ServiceEvent};
use std::process::Command;

const WITHIN: Duration = Duration::from_secs(30);

fn at(addresses: &[&str]) -> Vec<SocketAddr> {
    addresses
        .iter()
        .map(|address| address.parse().expect("an address"))
        .collect()
}

#[test]
fn what_is_told_is_where_others_can_connect() {
    let offer = |http: &[&str]| Offer::of("", "Host7.corp.example", &at(http));
    let all = offer(&["[::]:8080"]).expect("an offer");
    assert_eq!((all.port, all.addresses), (8080, Addresses::All));
    assert_eq!(
        (all.name.as_str(), all.host.as_str()),
        ("Host7", "larder-Host7.local.")
    );
    let of_80 = offer(&["0.0.0.0:8080", "0.0.0.0:80", "127.0.0.1:80"]).expect("an offer");
    assert_eq!((of_80.port, of_80.addresses), (80, Addresses::AllOfIpv4));
    let one = offer(&["127.0.0.1:80", "10.0.0.5:8080"]).expect("an offer");
    let ip: IpAddr = [10, 0, 0, 5].into();
    assert_eq!(
        (one.port, one.addresses),
        (8080, Addresses::These(vec![ip]))
    );
    assert_eq!(offer(&["127.0.0.1:80", "[::1]:80"]), None);
    let long = Offer::of(&"ü".repeat(64), "", &at(&["[::]:80"])).expect("an offer");
    assert_eq!(
        (long.name, long.host.as_str()),
        ("ü".repeat(31), "larder.local.")
    );
    let odd = Offer::of("a.b (3)", "h", &at(&["[::]:80"])).expect("an offer");
    odd.info().expect("a site of any name can be told");
}

/// What is found first; events come in the order in which they happened.
fn found(events: &Receiver<ServiceEvent>) -> ResolvedService {
    let before = Instant::now() + WITHIN;
    loop {
        match events.recv_deadline(before).expect("found in time") {
            ServiceEvent::ServiceResolved(service) => return *service,
            other => eprintln!("{other:?}"),
        }
    }
}

fn gone(events: &Receiver<ServiceEvent>) -> String {
    let before = Instant::now() + WITHIN;
    loop {
        match events.recv_deadline(before).expect("gone in time") {
            ServiceEvent::ServiceRemoved(_, name) => return name,
            other => eprintln!("{other:?}"),
        }
    }
}

fn a_browser() {
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
    let offer = Offer::of("berlin.2", "host7", &at(&["0.0.0.0:8123"])).expect("an offer");
    let responder = DnsSd::start(offer).expect("started");
    let browser = ServiceDaemon::new().expect("a browser");
    let events = browser.browse(SERVICE).expect("browsing");
    let service = found(&events);
    assert_eq!(service.get_port(), 8123);
    assert_eq!(service.get_hostname(), "larder-host7.local.");
    assert!(service.get_properties().is_empty(), "an empty TXT");
    let addresses: Vec<_> = service.get_addresses_v4().into_iter().collect();
    assert_eq!(
        addresses,
        [std::net::Ipv4Addr::new(10, 7, 0, 1)],
        "no loopback"
    );

    // The responder's thread ends without having been asked to: it goes, and comes again.
    let daemon = responder.shared.turn.lock().daemon.clone();
    let ended = daemon.expect("it runs").shutdown().expect("told");
    ended.recv().expect("ended");
    let name = service.get_fullname().to_owned();
    assert_eq!(gone(&events), name);
    let again = found(&events);
    assert_eq!(
        (again.get_fullname(), again.get_port()),
        (name.as_str(), 8123)
    );

    responder.stop();
    assert_eq!(gone(&events), name);
    browser.shutdown().expect("told").recv().expect("ended");
}

#[test]
fn a_browser_finds_the_port_and_sees_it_go() {
    let name = "discovery::dns_sd::tests::a_browser_finds_the_port_and_sees_it_go";
    inside(name, &[], a_browser);
}
