//! Peers, served beside clients. The rule: what a peer gets is the bytes that the piece hashes name, or the end of the
//! connection; and whatever peers do, clients are served.

use super::disk::{damage, stored};
use super::origin::{Manner, body};
use super::peer::{Heard, RIG, RawPeer};
use super::{Rig, on_each_driver};
use larder_content::hash::of_piece;
use larder_content::span::piece_start;
use larder_content::{ContentId, PIECE_BYTES, Phf, PieceId};
use larder_proto::policy::DownloadMode;
use larder_proto::swarm::wire::{MESSAGE_BYTES_MAX, piece_head};
use larder_proto::swarm::{Block, Handshake, Message};
use larder_storage::record::Content;
use larder_storage::store::Filter;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

on_each_driver!(
    a_content_is_fetched_by_blocks_of_any_size,
    a_content_is_read_from_disk_by_blocks_of_any_size,
    what_was_called_off_does_not_come,
    who_has_no_slot_waits_for_one,
    who_is_not_of_the_swarm_is_left_without_a_word,
    who_breaks_the_rules_is_left,
    silence_is_borne_for_its_time,
    a_peer_that_takes_nothing_is_left_and_others_go_on,
    what_is_purged_midway_ends_the_connection,
    damage_on_disk_reaches_nobody,
    what_is_on_its_way_in_again_is_not_sent,
    what_lands_is_told,
    a_drain_ends_after_the_block_at_hand,
    a_stop_cuts_what_is_left,
    a_flood_of_strangers_drives_nobody_away,
    a_limit_changes_when_bytes_come_and_none_of_them,
    many_peers_get_the_right_bytes,
);

pub(super) const MIB: usize = 1 << 20;

/// Has an object stored and its pieces proved; the swarm that shares it.
pub(super) fn shared(rig: &Rig, path: &str, length: usize) -> Phf {
    stored(rig, path, length);
    let (content, phf) = named(rig, path, length);
    for piece in 0..content.pieces() {
        prove(rig, &content, piece);
    }
    phf
}

/// Names the piece hashes of an object that is known.
fn named(rig: &Rig, path: &str, length: usize) -> (Arc<Content>, Phf) {
    let contents = rig.store.contents();
    let content = contents
        .into_iter()
        .find(|content| content.record().url.ends_with(path));
    let content = content.expect("it is known");
    let hashes = (0..content.pieces())
        .map(|piece| hash(&content, piece))
        .collect();
    let phf = Phf::new(length as u64, hashes).expect("as many as there are");
    assert!(rig.store.name_hashes(&content, &phf, true, "http://h/phf"));
    (content, phf)
}

fn hash(content: &Content, piece: u32) -> [u8; 32] {
    of_piece(&body(piece_start(piece), content.piece_len(piece) as usize))
}

fn prove(rig: &Rig, content: &Content, piece: u32) {
    let id = PieceId {
        content: content.no,
        piece,
    };
    rig.store.saw(id, &hash(content, piece));
}

pub(super) fn block(piece: u32, offset: u32, len: u32) -> Block {
    Block { piece, offset, len }
}

fn right(block: Block, bytes: &[u8]) -> bool {
    let start = piece_start(block.piece) + u64::from(block.offset);
    bytes == body(start, block.len as usize)
}

/// All blocks of an object.
pub(super) fn blocks(phf: &Phf, len: u32) -> Vec<Block> {
    let of_piece = |piece: u32| {
        let all = larder_content::span::piece_len(phf.length(), piece);
        let offsets = (0..all).step_by(len as usize);
        offsets.map(move |offset| block(piece, offset, len.min(all - offset)))
    };
    (0..phf.pieces()).flat_map(of_piece).collect()
}

/// Asks for blocks, so many ahead, and checks each as it comes, in order.
pub(super) fn fetch(peer: &mut RawPeer, blocks: &[Block], ahead: usize) {
    let mut asked = 0;
    for (got, block) in blocks.iter().enumerate() {
        let until = blocks.len().min(got + ahead);
        let asks: Vec<_> = blocks[asked..until]
            .iter()
            .map(|block| Message::Request(*block))
            .collect();
        if !asks.is_empty() {
            peer.say(&asks);
        }
        asked = until;
        let (said, bytes) = peer.block();
        assert_eq!(said, *block, "in order");
        assert!(right(said, &bytes), "{said:?}");
    }
}

fn fetch_in_all_ways(rig: &Rig, phf: &Phf) {
    for (len, ahead) in [
        (16 << 10, 1),
        (16 << 10, 64),
        (64 << 10, 200),
        (1 << 20, 1),
        (1 << 20, 5),
        (70_001, 300),
    ] {
        let mut peer = RawPeer::connect(rig.peer_address);
        let field = peer.ready(phf.content_id(), phf.pieces());
        assert!(field.is_full());
        fetch(&mut peer, &blocks(phf, len), ahead);
    }
}

fn a_content_is_fetched_by_blocks_of_any_size(rig: Rig) {
    let phf = shared(&rig, "/a", 5 * MIB + 12_345);
    fetch_in_all_ways(&rig, &phf);
    rig.until("they are gone", || rig.plane().connections() == 0);
}

fn a_content_is_read_from_disk_by_blocks_of_any_size(rig: Rig) {
    let phf = shared(&rig, "/a", 5 * MIB + 12_345);
    let held = rig.hold_memory();
    fetch_in_all_ways(&rig, &phf);
    // With room in memory what is asked for again goes there.
    drop(held);
    fetch_in_all_ways(&rig, &phf);
    assert!(rig.store.figures().ram_pieces > 0);
}

fn what_was_called_off_does_not_come(rig: Rig) {
    let phf = shared(&rig, "/a", 30 * MIB);
    let mut peer = RawPeer::narrow(rig.peer_address);
    peer.ready(phf.content_id(), 30);
    let all = blocks(&phf, PIECE_BYTES);
    peer.say(
        &all.iter()
            .map(|block| Message::Request(*block))
            .collect::<Vec<_>>(),
    );
    // The plane is at one of the first when it hears this.
    peer.up_to(1);
    peer.say(
        &all[1..]
            .iter()
            .map(|block| Message::Cancel(*block))
            .collect::<Vec<_>>(),
    );
    let last = block(3, 7, 1);
    peer.say(&[Message::Request(last)]);
    let mut came = 0;
    loop {
        let (block, bytes) = peer.block();
        assert!(right(block, &bytes));
        if block == last {
            break;
        }
        came += 1;
    }
    assert!((1..30).contains(&came), "{came} of 30 came");
}

fn who_has_no_slot_waits_for_one(rig: Rig) {
    // Each of the two shards has one.
    rig.set(|settings| settings.upload_slots_max = 1);
    let phf = shared(&rig, "/a", 2 * MIB);
    rig.until("the clients are gone", || rig.plane().connections() == 0);
    let swarm = phf.content_id();
    let mut peers: Vec<_> = (0..2).map(|_| RawPeer::connect(rig.peer_address)).collect();
    for peer in &mut peers {
        peer.ready(swarm, 2);
    }
    let mut third = RawPeer::connect(rig.peer_address);
    third.open(swarm, 2);
    let wanted = block(1, 100, 16 << 10);
    third.say(&[Message::Interested, Message::Request(wanted)]);
    for peer in &mut peers {
        fetch(peer, &[block(0, 0, 16 << 10)], 1);
    }
    let quiet = third
        .stream
        .set_read_timeout(Some(Duration::from_millis(50)));
    quiet.expect("a timeout");
    let silent = third.stream.peek(&mut [0]).expect_err("nothing was said");
    assert_eq!(silent.kind(), std::io::ErrorKind::WouldBlock);
    third
        .stream
        .set_read_timeout(Some(super::PATIENCE))
        .expect("a timeout");
    drop(peers);
    assert_eq!(third.next(), Some(Heard::Message(Message::Unchoke)));
    let (said, bytes) = third.block();
    assert!(said == wanted && right(said, &bytes));
    third.say(&[Message::NotInterested]);
    assert_eq!(third.next(), Some(Heard::Message(Message::Choke)));
}

fn who_is_not_of_the_swarm_is_left_without_a_word(rig: Rig) {
    let phf = shared(&rig, "/a", MIB);
    let mut unknown = RawPeer::connect(rig.peer_address);
    unknown.hello(ContentId([0xee; 32]));
    assert!(unknown.is_over());
    let mut ourselves = RawPeer::connect(rig.peer_address);
    let handshake = Handshake {
        swarm: phf.content_id(),
        peer: RIG,
        suffix: [0; 4],
    };
    ourselves.write(&handshake.to_bytes());
    assert!(ourselves.is_over());
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        &[0xff; 200],
        b"\x0eSwarm protocoX",
    ] {
        let mut other = RawPeer::connect(rig.peer_address);
        other.write(bytes);
        assert!(other.is_over());
    }
    let mut half = RawPeer::connect(rig.peer_address);
    half.write(&handshake.to_bytes()[..40]);
    half.stream.shutdown(Shutdown::Write).expect("shut down");
    assert!(half.is_over());
    // In a mode without peers there is no swarm at all.
    rig.set(|settings| settings.policies.mode = DownloadMode::HttpOnly);
    let mut alone = RawPeer::connect(rig.peer_address);
    alone.hello(phf.content_id());
    assert!(alone.is_over());
    rig.set(|settings| settings.policies.mode = DownloadMode::Lan);
    // The long form of the name's length is as good.
    let mut long = RawPeer::connect(rig.peer_address);
    long.write(&[0, 0, 0]);
    long.ready(phf.content_id(), 1);
    fetch(&mut long, &[block(0, 5, 99)], 1);
}

fn who_breaks_the_rules_is_left(rig: Rig) {
    let phf = shared(&rig, "/a", 2 * MIB + 5);
    let mut sins: Vec<Vec<u8>> = vec![
        (MESSAGE_BYTES_MAX + 1).to_be_bytes().to_vec(),
        vec![0xff; 4],
    ];
    for bad in [
        block(3, 0, 1),
        block(2, 0, 6),
        block(0, 1, PIECE_BYTES),
        block(0, 0, 0),
        block(0, u32::MAX, 9),
    ] {
        let mut bytes = Vec::new();
        Message::Request(bad).write(&mut bytes);
        sins.push(bytes);
    }
    let mut bytes = Vec::new();
    Message::Have(3).write(&mut bytes);
    sins.push(bytes);
    sins.push([&piece_head(block(0, 0, 4))[..], b"1234"].concat());
    for sin in sins {
        let mut peer = RawPeer::connect(rig.peer_address);
        peer.ready(phf.content_id(), 3);
        peer.write(&sin);
        assert!(peer.is_over(), "{sin:?}");
    }
    // What is to be passed over is.
    let mut peer = RawPeer::connect(rig.peer_address);
    peer.ready(phf.content_id(), 3);
    peer.write(&[0, 0, 0, 0]);
    peer.write(&[&[0, 1, 0, 1, 20][..], &[0xaa; 65_536]].concat());
    peer.write(&[0, 0, 0, 3, 99, 1, 2]);
    fetch(&mut peer, &[block(2, 0, 5)], 1);
}

fn silence_is_borne_for_its_time(rig: Rig) {
    let telnet = RawPeer::connect(rig.peer_address);
    let quiet = telnet
        .stream
        .set_read_timeout(Some(Duration::from_millis(50)));
    quiet.expect("a timeout");
    let silent = telnet.stream.peek(&mut [0]).expect_err("nothing is said");
    assert_eq!(
        silent.kind(),
        std::io::ErrorKind::WouldBlock,
        "it stays open"
    );
    telnet
        .stream
        .set_read_timeout(Some(super::PATIENCE))
        .expect("a timeout");
    rig.set(|settings| {
        assert_eq!(
            settings.peer_silence_timeout_ms, 30_000,
            "as the seed wants it"
        );
        settings.peer_silence_timeout_ms = 150;
    });
    let mut half = RawPeer::connect(rig.peer_address);
    half.write(b"\x0eSwarm");
    assert!(half.is_over());
    let phf = shared(&rig, "/a", MIB);
    rig.set(|settings| settings.peer_silence_timeout_ms = 30_000);
    let mut idle = RawPeer::connect(rig.peer_address);
    idle.ready(phf.content_id(), 1);
    rig.set(|settings| settings.peer_idle_timeout_ms = 200);
    // Its last word, from which on it is counted anew.
    idle.say(&[Message::KeepAlive]);
    assert_eq!(idle.next(), None);
    drop(telnet);
    rig.until("they are gone", || rig.plane().connections() == 0);
}

fn a_peer_that_takes_nothing_is_left_and_others_go_on(rig: Rig) {
    rig.set(|settings| settings.send_stall_timeout_ms = 300);
    let phf = shared(&rig, "/a", 30 * MIB);
    let _held = rig.hold_memory();
    rig.until("the clients are gone", || rig.plane().connections() == 0);
    let mut stalled: Vec<_> = (0..10).map(|_| RawPeer::narrow(rig.peer_address)).collect();
    let asks: Vec<_> = blocks(&phf, PIECE_BYTES)
        .into_iter()
        .map(Message::Request)
        .collect();
    for peer in &mut stalled {
        peer.ready(phf.content_id(), 30);
        peer.say(&asks);
    }
    let mut other = RawPeer::connect(rig.peer_address);
    other.ready(phf.content_id(), 30);
    fetch(&mut other, &blocks(&phf, PIECE_BYTES), 4);
    let mut client = rig.client();
    assert_eq!(client.get("/a", "Range: bytes=0-9\r\n").body, body(0, 10));
    rig.until("the stalled ones are gone", || {
        rig.plane().connections() == 2
    });
    fetch(&mut other, &blocks(&phf, 16 << 10)[..64], 32);
}

/// Takes what comes until the connection ends; all of it is right.
fn takes_what_is_right(peer: &mut RawPeer) -> usize {
    let mut came = 0;
    while let Some(heard) = peer.next() {
        let Heard::Piece(block, bytes) = heard else {
            panic!("{heard:?}");
        };
        assert!(right(block, &bytes));
        came += 1;
    }
    came
}

fn what_is_purged_midway_ends_the_connection(rig: Rig) {
    let phf = shared(&rig, "/a", 12 * MIB);
    let _held = rig.hold_memory();
    let mut peer = RawPeer::narrow(rig.peer_address);
    peer.ready(phf.content_id(), 12);
    let asks: Vec<_> = blocks(&phf, PIECE_BYTES)
        .into_iter()
        .map(Message::Request)
        .collect();
    peer.say(&asks);
    peer.up_to(100);
    assert_eq!(rig.store.purge(&Filter::All).objects, 1);
    assert!(takes_what_is_right(&mut peer) < 12);
    let mut again = RawPeer::connect(rig.peer_address);
    again.hello(phf.content_id());
    assert!(again.is_over());
}

fn damage_on_disk_reaches_nobody(rig: Rig) {
    let phf = shared(&rig, "/a", 3 * MIB);
    drop(rig.hold_memory());
    damage(&rig, MIB + 300_000);
    let swarm = phf.content_id();
    let mut peer = RawPeer::connect(rig.peer_address);
    peer.ready(swarm, 3);
    // Another block of the piece is sound.
    fetch(&mut peer, &[block(1, 0, 16 << 10), block(0, 9, 99)], 2);
    peer.say(&[Message::Request(block(1, 280_000, 40_000))]);
    assert_eq!(peer.next(), None);
    assert_eq!(rig.store.figures().corrupt_total, 1);
    // It is not offered any more, and is again when it was fetched anew.
    let mut peer = RawPeer::connect(rig.peer_address);
    let field = peer.ready(swarm, 3);
    assert_eq!(field.iter().collect::<Vec<_>>(), [0, 2]);
    let range = format!("Range: bytes={MIB}-{}\r\n", MIB + 9);
    assert_eq!(rig.client().get("/a", &range).body, body(MIB as u64, 10));
    assert_eq!(peer.next(), Some(Heard::Message(Message::Have(1))));
    fetch(&mut peer, &[block(1, 280_000, 40_000)], 1);
}

fn what_is_on_its_way_in_again_is_not_sent(rig: Rig) {
    let phf = shared(&rig, "/a", 3 * MIB);
    drop(rig.hold_memory());
    damage(&rig, MIB + 5);
    let mut early = RawPeer::connect(rig.peer_address);
    assert!(early.ready(phf.content_id(), 3).is_full());
    // A client finds the damage; what it waits for comes as far as its first bytes, which nothing has proved.
    rig.origin.manner(Manner::Held(1000), 0);
    let mut client = rig.client();
    let range = format!("Range: bytes={MIB}-{}\r\n", MIB + 99);
    client.write(format!("GET /a HTTP/1.1\r\nHost: files.example\r\n{range}\r\n").as_bytes());
    client.try_head().expect("a head");
    assert_eq!(client.bytes(100), body(MIB as u64, 100));
    early.say(&[Message::Request(block(1, 0, 100))]);
    assert_eq!(early.next(), None);
    rig.origin.release_all();
}

fn what_lands_is_told(rig: Rig) {
    let length = 3 * MIB;
    rig.origin.content("/a", length as u64);
    let mut client = rig.client();
    let piece = |number: usize| format!("Range: bytes={}-{}\r\n", number * MIB, number * MIB + 9);
    assert_eq!(client.get("/a", &piece(0)).body, body(0, 10));
    rig.until("it has landed", || rig.origin.landed() == 1);
    let (content, phf) = named(&rig, "/a", length);
    prove(&rig, &content, 0);
    let mut peer = RawPeer::connect(rig.peer_address);
    let field = peer.ready(phf.content_id(), 3);
    assert_eq!(field.iter().collect::<Vec<_>>(), [0]);
    // Stored, and not proved: nobody hears of it.
    client.get("/a", &piece(1));
    rig.until("it has landed", || rig.origin.landed() == 2);
    // Proved before it is stored, as it comes from an origin.
    prove(&rig, &content, 2);
    client.get("/a", &piece(2));
    assert_eq!(peer.next(), Some(Heard::Message(Message::Have(2))));
    prove(&rig, &content, 1);
    assert_eq!(peer.next(), Some(Heard::Message(Message::Have(1))));
    fetch(&mut peer, &blocks(&phf, 1 << 20), 3);
    rig.store.drop_hashes(&content);
    peer.say(&[Message::Request(block(0, 0, 9))]);
    assert_eq!(peer.next(), None, "its hashes were refuted");
}

fn a_drain_ends_after_the_block_at_hand(rig: Rig) {
    let phf = shared(&rig, "/a", 12 * MIB);
    let mut silent = RawPeer::connect(rig.peer_address);
    let mut idle = RawPeer::connect(rig.peer_address);
    idle.ready(phf.content_id(), 12);
    let mut busy = RawPeer::narrow(rig.peer_address);
    busy.ready(phf.content_id(), 12);
    let asks: Vec<_> = blocks(&phf, PIECE_BYTES)
        .into_iter()
        .map(Message::Request)
        .collect();
    busy.say(&asks);
    busy.up_to(100);
    rig.plane().drain();
    assert!(silent.is_over() && idle.is_over());
    let came = takes_what_is_right(&mut busy);
    assert!((1..12).contains(&came), "{came} blocks came, whole");
    drop((silent, idle, busy));
    rig.until("none is left", || rig.plane().connections() == 0);
}

fn a_stop_cuts_what_is_left(mut rig: Rig) {
    let phf = shared(&rig, "/a", 12 * MIB);
    let mut busy = RawPeer::narrow(rig.peer_address);
    busy.ready(phf.content_id(), 12);
    let asks: Vec<_> = blocks(&phf, PIECE_BYTES)
        .into_iter()
        .map(Message::Request)
        .collect();
    busy.say(&asks);
    busy.up_to(100);
    let plane = rig.plane.take().expect("it runs");
    plane.stop(Duration::from_millis(50));
    assert!(takes_what_is_right(&mut busy) < 12);
}

fn a_flood_of_strangers_drives_nobody_away(rig: Rig) {
    rig.set(|settings| settings.peer_connections_max = 8);
    let phf = shared(&rig, "/a", 2 * MIB);
    rig.until("the clients are gone", || rig.plane().connections() == 0);
    let mut known = RawPeer::connect(rig.peer_address);
    known.ready(phf.content_id(), 2);
    let strangers: Vec<_> = (0..200)
        .map(|_| RawPeer::connect(rig.peer_address))
        .collect();
    rig.until("most are gone", || {
        let plane = rig.plane();
        plane.turns().len() == 2 && plane.connections() <= 8
    });
    fetch(&mut known, &blocks(&phf, 16 << 10), 16);
    let mut late = RawPeer::connect(rig.peer_address);
    late.ready(phf.content_id(), 2);
    fetch(&mut late, &blocks(&phf, 1 << 20), 2);
    assert_eq!(
        rig.client().get("/a", "Range: bytes=0-9\r\n").body,
        body(0, 10)
    );
    drop(strangers);
}

fn a_limit_changes_when_bytes_come_and_none_of_them(rig: Rig) {
    rig.set(|settings| settings.policies.upload_bytes_s_max = 4 << 20);
    let phf = shared(&rig, "/a", 2 * MIB + 77);
    let mut peers: Vec<_> = (0..2).map(|_| RawPeer::connect(rig.peer_address)).collect();
    for peer in &mut peers {
        peer.ready(phf.content_id(), 3);
        peer.say(
            &blocks(&phf, 1 << 20)
                .into_iter()
                .map(Message::Request)
                .collect::<Vec<_>>(),
        );
    }
    // Clients are not limited by it.
    assert!(rig.client().get("/a", "").body == body(0, 2 * MIB + 77));
    for peer in &mut peers {
        for wanted in blocks(&phf, 1 << 20) {
            let (said, bytes) = peer.block();
            assert!(said == wanted && right(said, &bytes));
        }
    }
}

fn many_peers_get_the_right_bytes(rig: Rig) {
    let phf = shared(&rig, "/a", 9 * MIB + 4321);
    drop(rig.hold_memory());
    let (address, store, phf) = (rig.peer_address, &rig.store, &phf);
    std::thread::scope(|scope| {
        for reader in 0..8_usize {
            scope.spawn(move || {
                let mut peer = RawPeer::connect(address);
                peer.ready(phf.content_id(), phf.pieces());
                let mut random = 0x9e37_79b9_7f4a_7c15_usize.wrapping_mul(reader + 1);
                for turn in 0..40 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let lens = [16 << 10, 64 << 10, 1 << 20, 777];
                    let all = blocks(phf, lens[turn % lens.len()]);
                    let from = random % all.len();
                    if turn % 20 == 7 {
                        // Memory is taken away and given back.
                        drop(std::iter::from_fn(|| store.frame(1 << 20)).collect::<Vec<_>>());
                    }
                    fetch(
                        &mut peer,
                        &all[from..all.len().min(from + 20)],
                        1 + random % 9,
                    );
                }
            });
        }
    });
}
