//! Whom peers' connections are worth anything to: kinds of peers, and what changes while they are connected. The rule:
//! addresses that are of no LAN are real ones, in a network namespace of the test's own.

use super::origin::body;
use super::peer::{Heard, RawPeer};
use super::peers::{MIB, block, blocks, fetch, shared};
use super::{Laid, Rig, on_each_driver};
use crate::coordinator::Key;
use crate::discovery::namespace;
use crate::plane::{Monthly, Surroundings};
use larder_content::{ContentId, Phf};
use larder_proto::policy::{Battery, DownloadMode, Facts};
use larder_proto::swarm::{Message, PeerId};
use larder_storage::driver::DriverKind;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

on_each_driver!(
    a_change_chokes_and_unchokes_who_is_connected,
    a_mode_without_peers_answers_nobody,
);

fn choked(peer: &mut RawPeer) {
    assert_eq!(peer.next(), Some(Heard::Message(Message::Choke)));
}

fn unchoked(peer: &mut RawPeer) {
    assert_eq!(peer.next(), Some(Heard::Message(Message::Unchoke)));
}

/// The machine is like this from now on.
fn is_like(rig: &Rig, facts: Facts) {
    rig.surroundings.rcu(|old| Surroundings {
        facts: facts.clone(),
        ..Surroundings::clone(old)
    });
}

fn a_change_chokes_and_unchokes_who_is_connected(rig: Rig) {
    let phf = shared(&rig, "/a", MIB);
    rig.set(|settings| {
        settings.policies.battery_percent_min = Some(40);
        settings.policies.vpn_peering = false;
    });
    let mut peer = RawPeer::connect(rig.peer_address);
    peer.ready(phf.content_id(), 1);
    fetch(&mut peer, &[block(0, 0, 1000)], 1);
    let on_battery = |percent| Facts {
        battery: Some(Battery { percent }),
        ..Facts::default()
    };
    is_like(&rig, on_battery(Some(40)));
    fetch(&mut peer, &[block(0, 0, 1000)], 1);
    is_like(&rig, on_battery(Some(39)));
    choked(&mut peer);
    // Who comes now is answered, and waits.
    let mut late = RawPeer::connect(rig.peer_address);
    late.open(phf.content_id(), 1);
    late.say(&[Message::Interested]);
    is_like(&rig, Facts::default());
    unchoked(&mut peer);
    unchoked(&mut late);
    fetch(&mut late, &[block(0, 7, 1000)], 1);
    let vpn = Some("wg0".to_owned());
    is_like(
        &rig,
        Facts {
            vpn,
            ..Facts::default()
        },
    );
    choked(&mut peer);
    choked(&mut late);
    rig.set(|settings| settings.policies.vpn_peering = true);
    unchoked(&mut peer);
    for mode in [
        DownloadMode::HttpOnly,
        DownloadMode::Simple,
        DownloadMode::Bypass,
    ] {
        rig.set(|settings| settings.policies.mode = mode);
        choked(&mut peer);
        rig.set(|settings| settings.policies.mode = DownloadMode::Lan);
        unchoked(&mut peer);
    }
    // Who wants nothing any more is not told of changes.
    peer.say(&[Message::NotInterested]);
    choked(&mut peer);
    is_like(&rig, on_battery(None));
    is_like(&rig, Facts::default());
    peer.say(&[Message::Interested]);
    unchoked(&mut peer);
    fetch(&mut peer, &blocks(&phf, 16 << 10), 10);
}

fn a_mode_without_peers_answers_nobody(rig: Rig) {
    let phf = shared(&rig, "/a", MIB);
    for (mode, is_answered) in [
        (DownloadMode::HttpOnly, false),
        (DownloadMode::Lan, true),
        (DownloadMode::Group, true),
        (DownloadMode::Internet, true),
        (DownloadMode::Simple, false),
        (DownloadMode::Bypass, false),
    ] {
        rig.set(|settings| settings.policies.mode = mode);
        let mut peer = RawPeer::connect(rig.peer_address);
        peer.hello(phf.content_id());
        assert_eq!(peer.next().is_some(), is_answered, "{mode:?}");
    }
}

const HERE: &str = "203.0.113.5";

/// A peer that connects from there, and shows this group.
struct Far<'r> {
    rig: &'r Rig,
    phf: Phf,
}

impl Far<'_> {
    fn from(&self, from: &str, group: Option<&Key>) -> RawPeer {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.expect("a socket");
        let from: IpAddr = from.parse().expect("an address");
        socket
            .bind(&SocketAddr::new(from, 0).into())
            .expect("it is ours");
        socket
            .connect(&self.rig.peer_address.into())
            .expect("connected");
        let mut peer = RawPeer::on(socket.into());
        let me = PeerId([9; 16]);
        let swarm: ContentId = self.phf.content_id();
        let suffix = group.map_or([0; 4], |key| key.mark(&swarm, &me));
        peer.hello_as(swarm, me, suffix);
        peer
    }

    fn is_answered(&self, from: &str, group: Option<&Key>) -> bool {
        self.from(from, group).next().is_some()
    }
}

fn elsewhere(driver: DriverKind) {
    for line in [
        "link set lo up",
        "address add 203.0.113.5/32 dev lo",
        "address add 198.51.100.6/32 dev lo",
        "address add 192.168.9.9/32 dev lo",
    ] {
        let done = Command::new("ip")
            .args(line.split(' '))
            .env("PATH", namespace::path())
            .status();
        assert!(done.expect("ip").success(), "{line}");
    }
    let monthly = Arc::new(Monthly::counted());
    monthly.add(300_000);
    let rig = Rig::laid(
        driver,
        2,
        64 << 20,
        Laid {
            peers_at: HERE.parse().expect("an address"),
            monthly: Arc::clone(&monthly),
        },
    );
    let phf = shared(&rig, "/a", MIB);
    let far = Far { rig: &rig, phf };
    let key = Key::new("ours", b"0123456789abcdef").expect("a key");
    let other = Key::new("other", b"0123456789abcdeF").expect("a key");
    rig.surroundings.store(Arc::new(Surroundings {
        group_key: Some(key.clone()),
        ..Surroundings::default()
    }));
    for (mode, stranger, member, near) in [
        (DownloadMode::HttpOnly, false, false, false),
        (DownloadMode::Lan, false, false, true),
        (DownloadMode::Group, false, true, true),
        (DownloadMode::Internet, true, true, true),
    ] {
        rig.set(|settings| settings.policies.mode = mode);
        assert_eq!(far.is_answered("198.51.100.6", None), stranger, "{mode:?}");
        assert_eq!(
            far.is_answered("198.51.100.6", Some(&other)),
            stranger,
            "{mode:?}"
        );
        assert_eq!(
            far.is_answered("198.51.100.6", Some(&key)),
            member,
            "{mode:?}"
        );
        assert_eq!(far.is_answered("192.168.9.9", None), near, "{mode:?}");
    }
    // What an Internet peer gets is counted to the byte, and stops when there is no more.
    let mut peer = far.from("198.51.100.6", None);
    let mut near = far.from("192.168.9.9", None);
    for peer in [&mut peer, &mut near] {
        assert!(matches!(peer.next(), Some(Heard::Handshake(_))));
        assert!(matches!(peer.next(), Some(Heard::Bitfield(_))));
        peer.say(&[Message::Interested]);
        unchoked(peer);
    }
    fetch(&mut peer, &[block(0, 0, 100_000)], 1);
    assert_eq!(monthly.left(), 200_000);
    fetch(&mut near, &[block(0, 0, 100_000)], 1);
    assert_eq!(monthly.left(), 200_000, "the LAN is not counted");
    peer.say(&[Message::Request(block(0, 100_000, 500_000))]);
    rig.until("it takes what is left", || monthly.left() == 0);
    // A block that was begun is finished, with what the next month brings.
    monthly.last();
    monthly.add(400_000);
    let (said, bytes) = peer.block();
    assert_eq!(said, block(0, 100_000, 500_000));
    assert!(bytes == body(100_000, 500_000));
    assert_eq!(monthly.left(), 100_000);
    monthly.last();
    fetch(&mut peer, &[block(0, 0, 100_000)], 1);
    choked(&mut peer);
    fetch(&mut near, &[block(0, 0, 100_000)], 1);
    monthly.add(1);
    unchoked(&mut peer);
}

#[test]
fn peers_elsewhere_get_what_the_mode_and_the_month_allow_by_the_ring() {
    namespace::inside(
        "http::tests::served::peers_elsewhere_get_what_the_mode_and_the_month_allow_by_the_ring",
        &["ip"],
        || elsewhere(DriverKind::Ring),
    );
}

#[test]
fn peers_elsewhere_get_what_the_mode_and_the_month_allow_by_epoll() {
    namespace::inside(
        "http::tests::served::peers_elsewhere_get_what_the_mode_and_the_month_allow_by_epoll",
        &["ip"],
        || elsewhere(DriverKind::Epoll),
    );
}
