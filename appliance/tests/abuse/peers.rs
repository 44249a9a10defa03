//! Peers that are rude on the swarm's port: thousands that never say who they are, that stop in the middle of it, that ask
//! for what is not here, or speak no protocol at all. The rule: clients by HTTP are served meanwhile, and so is whoever
//! comes by that port and says what it wants; memory stays within its limit.
//!
//! Floods from peers that are known, and minds that change all the time, are tried beside the shards themselves.

use crate::crowds::{BESIDE, LENGTH, MEMORY, PATH, connect, good, memory};
use crate::files::{alone, sockets};
use crate::origin::Origin;
use crate::rig::larder::{FAMILY, Larder, Setup};
use crate::rig::{eventually, tell};
use larder_content::ContentId;
use larder_proto::swarm::PeerId;
use larder_proto::swarm::wire::Handshake;
use std::io::{Read, Write};
use std::time::Duration;

fn are_borne_by(driver: &'static str) {
    let _alone = alone();
    let origin = Origin::start(LENGTH);
    let mut larder = Larder::start(&Setup {
        origin: Some(origin.address()),
        driver,
        ..Setup::default()
    });
    let get = larder
        .get(FAMILY[0], PATH)
        .range(1 << 20, (1 << 20) + (64 << 10) - 1);
    let whole = larder.get(FAMILY[0], PATH).run().expect("whole");
    assert_eq!(whole.status, 200);
    let unknown = Handshake {
        swarm: ContentId([7; 32]),
        peer: PeerId([9; 16]),
        suffix: [0; 4],
    };
    let unknown = unknown.to_bytes();
    let refused = |label: &str| larder.metric("larder_peer_refused_total", label);

    // Fewer than there may be, so that nobody has to make room before it was heard.
    let crowd = sockets(3_800);
    let mut open = Vec::new();
    good(&get, || {
        for number in 0..crowd {
            let mut stream = connect("127.0.0.1", larder.peer(), None);
            let said: &[u8] = match number % 4 {
                0 => b"",
                1 => &unknown[..40],
                2 => &unknown,
                _ => &[0xff; 300],
            };
            // Some are closed on before they have said it.
            let _ = stream.write_all(said);
            open.push(stream);
        }
        eventually("all of them were met", || {
            let met = larder.metric("larder_peer_accepted_total", "");
            (met >= crowd as f64).then_some(())
        });
        // Whoever comes now and says what it wants is answered: that it is not here.
        let before = refused("unknown");
        let mut late = connect("127.0.0.1", larder.peer(), None);
        let wait = Some(Duration::from_secs(40));
        late.set_read_timeout(wait).expect("set");
        late.write_all(&unknown).expect("said");
        assert!(!late.read(&mut [0; 1]).is_ok_and(|count| count > 0));
        assert!(refused("unknown") > before);
    });
    // Those that have said something wrong are gone, and those that say nothing are not too many.
    let quiet = crowd as f64 / 2.0;
    let left = eventually("who is wrong is closed on", || {
        let left = larder.metric("larder_peer_connections", "");
        (left <= quiet).then_some(left)
    });
    let (unknown, protocol) = (refused("unknown"), refused("protocol"));
    assert!(unknown >= crowd as f64 / 4.0, "{unknown}");
    assert!(protocol >= crowd as f64 / 4.0, "{protocol}");
    let most = memory(&mut larder, "VmHWM:");
    tell(&format!(
        "{driver}: {crowd} half-open peers, {left} of them are borne, {} MiB at most",
        most >> 20
    ));
    assert!(most <= MEMORY + BESIDE, "{} MiB", most >> 20);
    assert_eq!(origin.sent(), LENGTH, "nothing is fetched for peers");
    drop(open);
    let left = || larder.metric("larder_peer_connections", "");
    eventually("all of them are gone", || (left() <= 0.0).then_some(()));
}

#[test]
fn rude_peers_keep_nobody_waiting() {
    are_borne_by("io_uring");
}

#[test]
fn rude_peers_keep_nobody_waiting_where_io_uring_is_refused() {
    are_borne_by("epoll");
}
