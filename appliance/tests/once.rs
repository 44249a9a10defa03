//! What crosses the line to the origin. The rule: the origin's own access log is what counts.

mod rig;

use rig::larder::FAMILY;
use rig::nginx::body_bytes;
use rig::{assert_same, have, house};
use std::thread;

const MIB: usize = 1 << 20;

/// Fails where the origin sent more than the content and one hundredth.
fn assert_once(sent: u64, content: usize) {
    let ratio = sent as f64 / content as f64;
    assert!(
        (1.0..=1.01).contains(&ratio),
        "the origin sent {sent} bytes for {content}"
    );
}

#[test]
fn fifty_clients_at_once_cost_one_download() {
    if !have(&["nginx"]) {
        return;
    }
    let (mut nginx, larder) = house();
    let wanted = rig::real_bytes(100_000_000);
    nginx.put(
        "/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e44",
        &wanted,
    );
    thread::scope(|scope| {
        for client in 0..50 {
            let (larder, wanted) = (&larder, &wanted);
            scope.spawn(move || {
                let get = larder.get(
                    rig::larder::SIGNED,
                    "/filestreamingservice/files/1f0c7a52-3d1e-4b8a-9c55-6f2f0b1d7e44",
                );
                if client % 2 == 0 {
                    let answer = get.run().expect("a whole answer");
                    assert_eq!(answer.status, 200, "{}", answer.head);
                    return assert_same(&answer.body, wanted, "the whole");
                }
                let mut stream = get.connect().expect("connected");
                let pieces = wanted.len().div_ceil(MIB);
                for turn in 0..pieces {
                    // Each client has an order of its own: 37 and the count of pieces have no common divisor.
                    let piece = (turn * 37 + client * 11) % pieces;
                    let (start, end) = (piece * MIB, ((piece + 1) * MIB).min(wanted.len()));
                    let ranged = get.clone().range(start as u64, end as u64 - 1);
                    let answer = ranged.run_on(&mut stream).expect("a range");
                    assert_eq!(answer.status, 206, "{}", answer.head);
                    assert_same(&answer.body, &wanted[start..end], "a piece");
                }
            });
        }
    });
    assert_once(body_bytes(&nginx.stop()), wanted.len());
}

#[test]
fn four_hosts_of_a_family_share_one_copy() {
    if !have(&["nginx"]) {
        return;
    }
    let (mut nginx, larder) = house();
    let wanted = rig::real_bytes(20 * MIB + 1);
    let path = nginx.put_named(&wanted);
    for host in FAMILY {
        let answer = larder.get(host, &path).run().expect("an answer");
        assert_same(&answer.body, &wanted, host);
    }
    assert_once(body_bytes(&nginx.stop()), wanted.len());
}

#[test]
fn hosts_share_nothing_where_the_path_does_not_name_the_content() {
    if !have(&["nginx"]) {
        return;
    }
    let (mut nginx, larder) = house();
    let wanted = rig::real_bytes(MIB);
    nginx.put("/msdownload/list.cab", &wanted);
    for host in &FAMILY[..2] {
        let answer = larder.get(host, "/msdownload/list.cab").run();
        assert_same(&answer.expect("an answer").body, &wanted, host);
    }
    assert_eq!(body_bytes(&nginx.stop()), 2 * MIB as u64);
}

#[test]
fn a_range_fetches_its_pieces_and_no_more() {
    if !have(&["nginx"]) {
        return;
    }
    let (mut nginx, larder) = house();
    let wanted = rig::real_bytes(50 * MIB);
    let path = nginx.put_named(&wanted);
    let (start, end) = (30 * MIB + 100, 32 * MIB);
    let get = larder.get(FAMILY[0], &path);
    let ranged = get.range(start as u64, end as u64 - 1);
    let answer = ranged.run().expect("an answer");
    assert_same(&answer.body, &wanted[start..end], "the range");
    assert_eq!(answer.field("X-Cache-Status"), Some("MISS"));
    assert_eq!(nginx.body_bytes(), 2 * MIB as u64);
    let again = ranged.run().expect("an answer");
    assert_same(&again.body, &wanted[start..end], "the range again");
    assert_eq!(again.field("X-Cache-Status"), Some("HIT"));
    assert_eq!(nginx.body_bytes(), 0);
}

#[test]
fn a_client_that_leaves_neither_stops_nor_starts_the_rest() {
    if !have(&["nginx"]) {
        return;
    }
    let (mut nginx, larder) = house();
    let wanted = rig::real_bytes(100 * MIB);
    let path = nginx.put_named(&wanted);
    let get = larder.get(FAMILY[0], &path);
    let mut stream = get.connect().expect("connected");
    std::io::Write::write_all(
        stream.get_mut(),
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", FAMILY[0]).as_bytes(),
    )
    .expect("asked");
    let mut some = [0; 4096];
    std::io::Read::read_exact(&mut stream, &mut some).expect("it began");
    drop(stream);
    rig::eventually("the connection is gone", || {
        (larder.metric("larder_http_connections", "") == 0.0).then_some(())
    });
    let sent = nginx.body_bytes();
    assert!(
        sent < wanted.len() as u64 * 3 / 4,
        "the origin sent {sent} bytes for a client that left"
    );
    let answer = get.run().expect("an answer");
    assert_same(&answer.body, &wanted, "the next client");
}
