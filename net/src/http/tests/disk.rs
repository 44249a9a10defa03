//! Bodies that are read from disk. The rule: what is read is proved before it is sent, a frame is nobody's for long,
//! and what can not be read any more is fetched again or the connection is cut.

use super::origin::body;
use super::raw::Client;
use super::{Rig, on_each_driver};
use larder_storage::store::Filter;
use std::fs;
use std::os::unix::fs::FileExt;

on_each_driver!(
    ranges_are_read_and_nothing_is_fetched,
    small_objects_that_share_their_sectors_are_read,
    readers_wait_in_line_for_frames,
    readers_that_stop_do_not_keep_frames,
    the_second_touch_brings_a_piece_to_memory,
    damage_on_disk_is_fetched_anew,
    damage_is_found_on_the_way_to_memory,
    what_is_purged_midway_is_fetched_again,
    many_readers_of_cold_ranges_get_the_right_bytes,
    answers_of_all_sizes_leave_in_order_however_little_the_socket_takes,
);

const MIB: usize = 1 << 20;

/// Puts an object up and has it stored.
pub(super) fn stored(rig: &Rig, path: &str, length: usize) {
    rig.origin.content(path, length as u64);
    let (landed, sent) = (rig.origin.landed(), rig.sent.sum());
    assert!(rig.client().get(path, "").body == body(0, length));
    rig.until("all was counted", || rig.sent.sum() >= sent + length as u64);
    let pieces = length.div_ceil(MIB);
    rig.until("it has landed", || rig.origin.landed() == landed + pieces);
}

/// A client that holds little: the rest of an answer stays with the plane.
fn narrow(rig: &Rig) -> Client {
    let client = rig.client();
    socket2::SockRef::from(&client.stream)
        .set_recv_buffer_size(32 << 10)
        .expect("a small buffer");
    client
}

fn begin(client: &mut Client, path: &str) {
    client.write(format!("GET {path} HTTP/1.1\r\nHost: files.example\r\n\r\n").as_bytes());
    assert_eq!(client.try_head().expect("a head").status, 200);
}

fn ranges_are_read_and_nothing_is_fetched(rig: Rig) {
    let length = 5 * MIB + 12_345;
    stored(&rig, "/a", length);
    let fetched = rig.origin.fetched();
    let _held = rig.hold_memory();
    let mut client = rig.client();
    let spans = [
        (0, 1),
        (0, 500),
        (4095, 4097),
        (65_535, 65_537),
        (70_001, 199_999),
        (MIB - 1, MIB + 1),
        (MIB - 70_000, 3 * MIB + 70_000),
        (5 * MIB, length),
        (length - 1, length),
        (0, length),
    ];
    let mut sum = 0;
    for (start, end) in spans {
        let got = client.get("/a", &format!("Range: bytes={start}-{}\r\n", end - 1));
        assert_eq!(got.header("X-Cache-Status"), Some("HIT"));
        assert!(
            got.body == body(start as u64, end - start),
            "{start}..{end}"
        );
        sum += (end - start) as u64;
    }
    assert!(client.get("/a", "").body == body(0, length));
    rig.has_sent([0, sum + length as u64, 0]);
    assert_eq!(rig.origin.fetched(), fetched, "19");
}

fn small_objects_that_share_their_sectors_are_read(rig: Rig) {
    let lengths = [
        1, 100, 4095, 4096, 4097, 5000, 16_385, 70_000, 200_001, 999_999,
    ];
    for length in lengths {
        stored(&rig, &format!("/{length}"), length);
    }
    let held = rig.hold_memory();
    let mut client = rig.client();
    for length in lengths {
        let path = format!("/{length}");
        assert!(client.get(&path, "").body == body(0, length), "{length}");
        let at = length / 2;
        let got = client.get(&path, &format!("Range: bytes={at}-\r\n"));
        assert!(got.body == body(at as u64, length - at), "{length}");
    }
    assert_eq!(rig.sent.take()[0], 0);
    // With room in memory those that fill their sectors from the first byte go there, and the others are read.
    drop(held);
    for _ in 0..3 {
        for length in lengths {
            assert!(client.get(&format!("/{length}"), "").body == body(0, length));
        }
    }
    assert_eq!(rig.sent.take()[2], 0);
}

fn readers_wait_in_line_for_frames(rig: Rig) {
    // Both shards have four frames.
    stored(&rig, "/a", 6 * MIB);
    let _held = rig.hold_memory();
    let mut clients: Vec<_> = (0..30).map(|_| narrow(&rig)).collect();
    for client in &mut clients {
        client.write(b"GET /a HTTP/1.1\r\nHost: files.example\r\n\r\n");
    }
    let all = body(0, 6 * MIB);
    // The last come first.
    for client in clients.iter_mut().rev() {
        assert!(client.read(false).body == all);
    }
    rig.has_sent([0, 30 * all.len() as u64, 0]);
}

fn readers_that_stop_do_not_keep_frames(rig: Rig) {
    stored(&rig, "/a", 8 * MIB);
    let _held = rig.hold_memory();
    let mut stalled: Vec<_> = (0..20).map(|_| narrow(&rig)).collect();
    for client in &mut stalled {
        begin(client, "/a");
    }
    let all = body(0, 8 * MIB);
    for _ in 0..4 {
        assert!(rig.client().get("/a", "").body == all);
    }
    // Some leave while they hold a frame or wait for one.
    stalled.truncate(10);
    for client in &mut stalled {
        assert!(client.bytes(all.len()) == all);
    }
}

fn the_second_touch_brings_a_piece_to_memory(rig: Rig) {
    let length = 3 * MIB + 777;
    stored(&rig, "/a", length);
    drop(rig.hold_memory());
    let mut client = rig.client();
    let bytes = length as u64;
    assert!(client.get("/a", "").body == body(0, length));
    rig.has_sent([0, bytes, 0]);
    assert_eq!(rig.store.figures().ram_pieces, 0);
    assert_eq!(
        client.get("/a", "Range: bytes=9-10\r\n").body,
        body(9, 2),
        "read whole for a part"
    );
    rig.has_sent([2, 0, 0]);
    assert_eq!(rig.store.figures().ram_pieces, 1);
    for _ in 0..2 {
        assert!(client.get("/a", "").body == body(0, length));
        rig.has_sent([bytes, 0, 0]);
        assert_eq!(rig.store.figures().ram_pieces, 4);
    }
}

/// Flips a bit on disk, `at` bytes into the object.
pub(super) fn damage(rig: &Rig, at: usize) {
    let sector = body((at / 4096 * 4096) as u64, 4096);
    // The bytes of a piece are the same in all of its blocks.
    let block = at % MIB / (64 << 10);
    for path in files(rig.folder.path()) {
        let bytes = fs::read(&path).expect("readable");
        let mut sectors = bytes.chunks(4096).enumerate();
        let mut alike = sectors.by_ref().filter(|(_, there)| *there == sector);
        let Some((number, _)) = alike.nth(block) else {
            continue;
        };
        let place = (number * 4096 + at % 4096) as u64;
        let file = fs::File::options().write(true).open(&path);
        file.and_then(|file| {
            file.write_all_at(&[sector[at % 4096] ^ 1], place)?;
            file.sync_all()
        })
        .expect("written");
        return;
    }
    panic!("it is not on disk");
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

fn damage_on_disk_is_fetched_anew(rig: Rig) {
    stored(&rig, "/a", 3 * MIB);
    drop(rig.hold_memory());
    damage(&rig, MIB + 300_000);
    let mut client = rig.client();
    // Another block of the piece is sound.
    let got = client.get("/a", &format!("Range: bytes={MIB}-{}\r\n", MIB + 99));
    assert_eq!(got.body, body(MIB as u64, 100));
    assert_eq!(rig.store.figures().corrupt_total, 0);
    let range = format!("Range: bytes={}-{}\r\n", MIB + 290_000, MIB + 310_000);
    assert!(client.get("/a", &range).body == body(MIB as u64 + 290_000, 20_001));
    assert_eq!(rig.store.figures().corrupt_total, 1);
    assert!(client.get("/a", "").body == body(0, 3 * MIB));
    assert_eq!(rig.origin.fetched(), [(0, 1), (1, 2), (2, 1)]);
    // What was fetched anew is stored anew.
    rig.until("it has landed", || rig.origin.landed() == 4);
    let _held = rig.hold_memory();
    assert!(client.get("/a", "").body == body(0, 3 * MIB));
    rig.has_sent([0, 3 * MIB as u64, 0]);
}

fn damage_is_found_on_the_way_to_memory(rig: Rig) {
    stored(&rig, "/a", 2 * MIB);
    drop(rig.hold_memory());
    let mut client = rig.client();
    assert!(client.get("/a", "Range: bytes=0-1048575\r\n").body == body(0, MIB));
    damage(&rig, MIB - 1);
    assert_eq!(client.get("/a", "Range: bytes=0-9\r\n").body, body(0, 10));
    assert_eq!(rig.store.figures().corrupt_total, 1);
    assert!(client.get("/a", "").body == body(0, 2 * MIB));
    assert_eq!(rig.origin.fetched(), [(0, 2), (1, 1)]);
}

fn what_is_purged_midway_is_fetched_again(rig: Rig) {
    stored(&rig, "/a", 12 * MIB);
    drop(rig.hold_memory());
    let mut client = narrow(&rig);
    begin(&mut client, "/a");
    assert_eq!(client.bytes(100), body(0, 100));
    assert_eq!(rig.store.purge(&Filter::All).objects, 1);
    assert!(client.bytes(12 * MIB - 100) == body(100, 12 * MIB - 100));
    assert_eq!(client.get("/a", "Range: bytes=0-9\r\n").body, body(0, 10));
    let again = rig.origin.fetched().iter().filter(|(_, n)| *n > 1).count();
    assert!(again > 0, "{:?}", rig.origin.fetched());
}

fn many_readers_of_cold_ranges_get_the_right_bytes(rig: Rig) {
    let length = 9 * MIB + 4321;
    stored(&rig, "/a", length);
    drop(rig.hold_memory());
    let all = body(0, length);
    let (address, store, all) = (rig.address, &rig.store, &all);
    std::thread::scope(|scope| {
        for reader in 0..8_usize {
            scope.spawn(move || {
                let mut client = Client::connect(address);
                let mut random = 0x9e37_79b9_7f4a_7c15_usize.wrapping_mul(reader + 1);
                for turn in 0..60 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let start = random % length;
                    let end = (start + 1 + random / length % (2 * MIB)).min(length);
                    if turn % 20 == 7 {
                        // Memory is taken away and given back.
                        drop(std::iter::from_fn(|| store.frame(1 << 20)).collect::<Vec<_>>());
                    }
                    let got = client.get("/a", &format!("Range: bytes={start}-{}\r\n", end - 1));
                    assert!(
                        got.body == all[start..end],
                        "{reader}, {turn}: {start}..{end}"
                    );
                }
            });
        }
    });
    assert_eq!(rig.sent.take()[2], 0, "nothing was fetched");
}

fn answers_of_all_sizes_leave_in_order_however_little_the_socket_takes(rig: Rig) {
    stored(&rig, "/a", 4 * MIB);
    rig.sent.take();
    let sizes = [1, 4095, 4096, 4097, 16 << 10, (16 << 10) + 1, 100_000, 300];
    let asked: Vec<(usize, usize)> = (0..96)
        .map(|number| (number * 41_000, sizes[number % sizes.len()]))
        .collect();
    let heads: String = asked
        .iter()
        .map(|(start, len)| {
            let last = start + len - 1;
            format!("GET /a HTTP/1.1\r\nHost: files.example\r\nRange: bytes={start}-{last}\r\n\r\n")
        })
        .collect();
    let mut client = narrow(&rig);
    client.write(heads.as_bytes());
    for (start, len) in &asked {
        let got = client.read(false);
        assert_eq!(got.header("X-Cache-Status"), Some("HIT"));
        assert!(got.body == body(*start as u64, *len), "{start}, {len}");
    }
    let all: usize = asked.iter().map(|(_, len)| len).sum();
    rig.has_sent([all as u64, 0, 0]);
}
