//! Ten thousand connections that ask slowly, or read nothing. The rule: whoever asks as one should is answered meanwhile,
//! the memory of the program stays within its limit, and who never ends a head is closed on.

use crate::files::{alone, sockets};
use crate::origin::{Origin, byte_at};
use crate::rig::fetch::{Answer, Get};
use crate::rig::larder::{FAMILY, Larder, Setup};
use crate::rig::load::{Outcome, Rate, load};
use crate::rig::{eventually, tell};
use socket2::{Domain, Socket, Type};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// `memory_bytes_max` of the rig's configuration.
pub(crate) const MEMORY: u64 = 256 << 20;
/// What is not counted in it: the program itself, its threads, and the records of connections, which are the kernel's.
pub(crate) const BESIDE: u64 = MEMORY / 10;

pub(crate) const LENGTH: u64 = 8 << 20;
pub(crate) const PATH: &str = "/filestreamingservice/files/0b6f4a52-9d0c-4f0e-8a53-1c1f3f3e7a10";
/// What a good client asks for each time.
const PART: u64 = 64 << 10;

/// Resident bytes of the program, now or at most.
pub(crate) fn memory(larder: &mut Larder, name: &str) -> u64 {
    let status = format!("/proc/{}/status", larder.process().pid());
    let status = std::fs::read_to_string(status).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.expect("kB") << 10
}

pub(crate) fn connect(from: &str, to: SocketAddr, receives: Option<usize>) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from: SocketAddr = format!("{from}:0").parse().expect("an address");
    socket.bind(&from.into()).expect("an address of loopback");
    if let Some(bytes) = receives {
        socket.set_recv_buffer_size(bytes).expect("set");
    }
    socket.connect(&to.into()).expect("connected");
    socket.into()
}

/// Whether the other side has closed; what came is read and forgotten, a little at a time.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut some = [0; 512];
    match stream.read(&mut some) {
        Ok(count) => count == 0,
        Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

fn wrong(answer: &Answer) -> Option<String> {
    let right = answer.status == 206
        && answer.body.len() as u64 == PART
        && (0..PART).all(|at| answer.body[at as usize] == byte_at((1 << 20) + at));
    (!right).then(|| format!("{}: {} bytes", answer.status, answer.body.len()))
}

/// Good clients ask while `meanwhile` runs.
pub(crate) fn good(get: &Get, meanwhile: impl FnOnce()) -> Outcome {
    let rate = Rate {
        keeping: 4,
        fresh: 4,
        per_second: 20,
    };
    let outcome = load(get, rate, || get.connect(), wrong, meanwhile);
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert!(outcome.answered > 0);
    outcome
}

fn is_borne_by(driver: &'static str) {
    let _alone = alone();
    let origin = Origin::start(LENGTH);
    let mut larder = Larder::start(&Setup {
        origin: Some(origin.address()),
        driver,
        ..Setup::default()
    });
    let get = larder
        .get(FAMILY[0], PATH)
        .range(1 << 20, (1 << 20) + PART - 1);
    let all = larder.get(FAMILY[0], PATH);
    assert_eq!(all.run().expect("whole").status, 200);
    let http = larder.http();

    let mut before = 0;
    let quiet = good(&get, || {
        for _ in 0..60 {
            assert_eq!(all.run().expect("whole").body.len() as u64, LENGTH);
        }
        before = memory(&mut larder, "VmRSS:");
    });

    let crowd = sockets(10_000);
    let began = Instant::now();
    let (mut heads, mut readers) = (Vec::new(), Vec::new());
    let (mut during, mut connected) = (0, began.elapsed());
    let busy = good(&get, || {
        for number in 0..crowd {
            let dawdles = number % 2 == 0;
            let receives = (!dawdles).then_some(4096);
            let mut stream = connect("127.0.0.1", http, receives);
            let request = format!("GET {PATH} HTTP/1.1\r\nHost: {}\r\n", FAMILY[0]);
            let request = if dawdles { request } else { request + "\r\n" };
            stream.write_all(request.as_bytes()).expect("sent");
            stream.set_nonblocking(true).expect("set");
            if dawdles {
                heads.push(stream);
            } else {
                readers.push(stream);
            }
        }
        connected = began.elapsed();
        during = memory(&mut larder, "VmRSS:");
        // Byte by byte, for as long as they are let.
        eventually("who never ends its head is closed on", || {
            heads.retain_mut(|stream| {
                let _ = stream.write(b"X");
                !is_closed(stream)
            });
            heads.is_empty().then_some(())
        });
        for stream in &mut readers {
            let _ = is_closed(stream);
        }
    });
    let most = memory(&mut larder, "VmHWM:");
    quiet.tell(&format!("{driver}, nobody else"), began.elapsed());
    busy.tell(
        &format!("{driver}, {crowd} slow ones beside"),
        began.elapsed(),
    );
    tell(&format!(
        "{driver}: {crowd} connections, open after {:.2} s; resident {} MiB before, {} with them, {} at most",
        connected.as_secs_f64(),
        before >> 20,
        during >> 20,
        most >> 20
    ));
    assert!(most <= MEMORY + BESIDE, "{} MiB", most >> 20);
    assert_eq!(origin.sent(), LENGTH, "each byte is fetched once");
    drop(readers);
    let left = || larder.metric("larder_http_connections", "");
    eventually("all of them are gone", || (left() <= 8.0).then_some(()));
}

#[test]
fn ten_thousand_slow_ones_keep_nobody_waiting() {
    is_borne_by("io_uring");
}

#[test]
fn ten_thousand_slow_ones_keep_nobody_waiting_where_io_uring_is_refused() {
    is_borne_by("epoll");
}

/// How many of these are not closed on.
fn still_open(streams: &mut Vec<TcpStream>) -> usize {
    streams.retain_mut(|stream| !is_closed(stream));
    streams.len()
}

/// So many that connect from one address, and say nothing.
fn idle_ones(from: &str, to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let each = (0..count).map(|_| {
        let stream = connect(from, to, None);
        stream.set_nonblocking(true).expect("set");
        stream
    });
    each.collect()
}

fn good_from(from: &str, larder: &Larder, meanwhile: impl FnOnce()) -> Outcome {
    let get = larder
        .get(FAMILY[0], PATH)
        .range(1 << 20, (1 << 20) + PART - 1);
    let rate = Rate {
        keeping: 4,
        fresh: 4,
        per_second: 20,
    };
    let connected = || {
        let stream = connect(from, larder.http(), None);
        stream.set_read_timeout(Some(Duration::from_secs(40)))?;
        Ok(BufReader::with_capacity(64 << 10, stream))
    };
    let outcome = load(&get, rate, connected, wrong, meanwhile);
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert!(outcome.answered > 0);
    outcome
}

/// The rules: one machine is one address, but for a site that stands behind one.
const RULES: &str = "[[crowds]]\nnetworks = [\"127.0.0.0/8\"]\nconnections_of_an_address_max = 64\n\
                     [[crowds]]\nnetworks = [\"127.0.0.3/32\"]\nconnections_of_an_address_max = 0\n";

#[test]
fn a_site_behind_one_address_is_many_clients() {
    let _alone = alone();
    let origin = Origin::start(LENGTH);
    let larder = Larder::start(&Setup {
        origin: Some(origin.address()),
        ..Setup::default()
    });
    let count = sockets(5_000);
    let began = Instant::now();
    let outcome = good_from("127.0.0.2", &larder, || {
        let mut all = idle_ones("127.0.0.1", larder.http(), count);
        let open = || larder.metric("larder_http_connections", "");
        eventually("all of them are let in", || {
            (open() >= count as f64).then_some(())
        });
        assert_eq!(still_open(&mut all), count);
    });
    let what = format!("{count} idle ones from one address beside");
    outcome.tell(&what, began.elapsed());
    assert_eq!(larder.metric("larder_connections_crowded_total", ""), 0.0);
}

fn an_address_has_no_more_than_it_may(driver: &'static str) {
    let _alone = alone();
    let origin = Origin::start(LENGTH);
    let larder = Larder::start(&Setup {
        origin: Some(origin.address()),
        driver,
        more: RULES,
        ..Setup::default()
    });
    let count = sockets(5_000);
    let crowded = || larder.metric("larder_connections_crowded_total", "");
    let began = Instant::now();
    let mut kept = Vec::new();
    let outcome = good_from("127.0.0.2", &larder, || {
        let mut all = idle_ones("127.0.0.1", larder.http(), count);
        eventually("the others are closed on", || {
            (still_open(&mut all) == 64).then_some(())
        });
        assert_eq!(crowded(), (count - 64) as f64);
        kept = all;
        // Its port for peers is no other door, and a site of its own rule is let in.
        let mut peers = idle_ones("127.0.0.1", larder.peer(), 10);
        eventually("peers are counted, too", || {
            (still_open(&mut peers) == 0).then_some(())
        });
        let mut site = idle_ones("127.0.0.3", larder.http(), 500);
        let open = || larder.metric("larder_http_connections", "");
        eventually("a site is let in", || (open() >= 564.0).then_some(()));
        assert_eq!(still_open(&mut site), 500);
    });
    let what = format!("{driver}, {count} from an address that may have 64 beside");
    outcome.tell(&what, began.elapsed());
    drop(kept);
    // When they are gone it may come again, and is counted also where other threads than the shards' have it.
    let asks = |stream: &mut TcpStream| {
        let host = FAMILY[0];
        let several = "Range: bytes=0-0,9-9";
        let head = format!("GET {PATH} HTTP/1.1\r\nHost: {host}\r\n{several}\r\n\r\n");
        let mut some = [0; 12];
        stream.write_all(head.as_bytes()).is_ok()
            && stream.read_exact(&mut some).is_ok()
            && some == *b"HTTP/1.1 206"
    };
    let mut handed_over = Vec::new();
    while handed_over.len() < 64 {
        eventually("who has left makes room", || {
            let mut stream = connect("127.0.0.1", larder.http(), None);
            asks(&mut stream).then(|| handed_over.push(stream))
        });
    }
    let before = crowded();
    let mut one_more = idle_ones("127.0.0.1", larder.http(), 1);
    eventually("the next is closed on", || {
        (still_open(&mut one_more) == 0).then_some(())
    });
    assert_eq!(crowded(), before + 1.0);
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    an_address_has_no_more_than_it_may("io_uring");
}

#[test]
fn an_address_has_no_more_connections_than_it_may_where_io_uring_is_refused() {
    an_address_has_no_more_than_it_may("epoll");
}
