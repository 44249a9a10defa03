//! Objects that enough clients have touched, by the real program. The rule: all of such an object comes in, each byte once,
//! and of one that a single client looks into nothing but what it asks for.

mod rig;

use rig::fetch::download;
use rig::larder::{Larder, PLAIN, Setup};
use rig::{assert_same, eventually, have};

const MIB: usize = 1 << 20;

/// The first bytes of a piece, for the client at this address.
fn ask(larder: &Larder, client: &str, path: &str, piece: usize) {
    let range = format!("{}-{}", piece * MIB, piece * MIB + 9);
    let host = format!("Host: {PLAIN}");
    let arguments = ["--interface", client, "-r", &range, "-H", &host];
    let url = format!("http://{}{path}", larder.http());
    let part = larder.directory().join("part");
    download("curl", &arguments, &url, &part);
}

#[test]
fn two_clients_bring_all_of_it_and_one_does_not() {
    if !have(&["nginx", "curl"]) {
        return;
    }
    let mut nginx = rig::nginx::Nginx::start();
    let larder = Larder::start(&Setup {
        origin: Some(nginx.address()),
        more: "[prefetch]\nclients = 2\n",
        ..Setup::default()
    });
    let wanted = rig::real_bytes(9 * MIB + 5);
    nginx.put("/lonely.cab", &rig::real_bytes(6 * MIB));
    nginx.put("/wanted.cab", &wanted);
    for piece in 0..4 {
        ask(&larder, "127.0.0.1", "/lonely.cab", piece);
    }
    ask(&larder, "127.0.0.1", "/wanted.cab", 3);
    ask(&larder, "127.0.0.1", "/wanted.cab", 4);
    // What is there is no reason to fetch what is not.
    ask(&larder, "127.0.0.2", "/wanted.cab", 4);
    ask(&larder, "127.0.0.2", "/wanted.cab", 6);
    eventually("all of it is there", || {
        let whole = larder.metric("larder_prefetched_objects_total", "whole");
        (whole == 1.0).then_some(())
    });
    let answer = larder.get(PLAIN, "/wanted.cab").run().expect("an answer");
    assert_same(&answer.body, &wanted, "wanted.cab");
    assert_eq!(nginx.body_bytes(), (4 * MIB + wanted.len()) as u64);
}
