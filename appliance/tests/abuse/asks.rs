//! Requests that ask for too much at once: a thousand ranges, heads without an end, thousands of requests whose answers
//! nobody reads. The rule: what leaves, what is fetched and what is kept in memory is bounded by the object and by the
//! configuration, whatever was written in a head.

use crate::crowds::{BESIDE, LENGTH, MEMORY, PATH, connect, good, memory};
use crate::files::{alone, sockets};
use crate::origin::{Origin, byte_at};
use crate::rig::fetch::Get;
use crate::rig::larder::{FAMILY, Larder, Setup};
use crate::rig::{eventually, tell};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PIECE: u64 = 1 << 20;

fn house(driver: &'static str) -> (Origin, Larder) {
    let origin = Origin::start(LENGTH);
    let larder = Larder::start(&Setup {
        origin: Some(origin.address()),
        driver,
        ..Setup::default()
    });
    (origin, larder)
}

/// The parts of a multipart body: first byte, bytes.
fn parts<'b>(body: &'b [u8], content_type: &str) -> Vec<(u64, &'b [u8])> {
    let (_, boundary) = content_type.split_once("boundary=").expect("a boundary");
    let line = format!("--{}", boundary.trim_matches('"'));
    let mut found = Vec::new();
    let mut rest = body;
    let position = |bytes: &[u8], wanted: &[u8]| {
        let mut windows = bytes.windows(wanted.len());
        windows.position(|window| window == wanted)
    };
    loop {
        let begin = position(rest, line.as_bytes()).expect("a boundary") + line.len();
        rest = &rest[begin..];
        if rest.starts_with(b"--") {
            return found;
        }
        let end = position(rest, b"\r\n\r\n").expect("a head of a part");
        let head = String::from_utf8_lossy(&rest[..end]).to_ascii_lowercase();
        let (_, range) = head.split_once("content-range: bytes ").expect("a range");
        let (first, range) = range.split_once('-').expect("a range");
        let first: u64 = first.parse().expect("a number");
        let last: u64 = range
            .split('/')
            .next()
            .expect("one")
            .parse()
            .expect("a number");
        let len = usize::try_from(last + 1 - first).expect("small");
        rest = &rest[end + 4..];
        found.push((first, &rest[..len]));
        rest = &rest[len..];
    }
}

/// Header values of 1,300 ranges, in all the ways that have hurt servers.
fn ranges() -> Vec<(&'static str, String)> {
    let some = |count, of: &dyn Fn(u64) -> String| {
        let each: Vec<String> = (0..count).map(of).collect();
        format!("Range: bytes={}", each.join(","))
    };
    let all = |of: &dyn Fn(u64) -> String| some(1300, of);
    vec![
        ("to the end, each", all(&|n| format!("{n}-"))),
        ("single bytes", all(&|n| format!("{0}-{0}", n * 2))),
        (
            "single bytes, far apart",
            // More digits, and more of them are no head any more.
            some(900, &|n| format!("{0}-{0}", n * 9000)),
        ),
        ("the same", all(&|_| "0-".to_owned())),
        ("from the end", all(&|n| format!("-{n}"))),
        ("descending", all(&|n| format!("{}-", 1300 - n))),
    ]
}

fn a_thousand_ranges(driver: &'static str) {
    let (origin, mut larder) = house(driver);
    let mut told = String::new();
    for stored in [false, true] {
        for (number, (what, ranges)) in ranges().iter().enumerate() {
            let path = format!("{}{number}", &PATH[..PATH.len() - 1]);
            let (sent, asked) = (origin.sent(), origin.asked());
            let answer = larder.get(FAMILY[0], &path).with(ranges).run();
            let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
            let (sent, asked) = (origin.sent() - sent, origin.asked() - asked);
            assert!(
                matches!(answer.status, 200 | 206 | 416),
                "{what}: {}",
                answer.head
            );
            // A part costs a boundary and its fields; there are sixteen of them at most.
            let most = LENGTH + 16 * 256;
            let bytes = answer.body.len() as u64;
            assert!(bytes <= most, "{what}: {bytes} bytes");
            let most = if stored { 0 } else { LENGTH };
            assert!(
                sent <= most,
                "{what}: {sent} bytes of the origin, {asked} requests"
            );
            let content_type = answer.field("Content-Type").unwrap_or_default();
            if answer.status == 206 && content_type.starts_with("multipart/") {
                for (first, bytes) in parts(&answer.body, content_type) {
                    let right = |(at, byte): (usize, &u8)| *byte == byte_at(first + at as u64);
                    assert!(bytes.iter().enumerate().all(right), "{what}");
                }
            }
            if !stored {
                // So that it is all there the next time.
                let whole = larder.get(FAMILY[0], &path).run().expect("whole");
                assert_eq!(whole.body.len() as u64, LENGTH);
                let stat = |larder: &Larder| larder.metric("larder_store_pieces", "");
                let wanted = ((number as u64 + 1) * LENGTH / PIECE) as f64;
                eventually("it is stored", || (stat(&larder) >= wanted).then_some(()));
            }
            told.push_str(&format!(
                "{what}: {} with {bytes} bytes, {sent} from the origin; ",
                answer.status
            ));
        }
    }
    let most = memory(&mut larder, "VmHWM:");
    tell(&format!(
        "{driver}, 1,300 ranges of {LENGTH} bytes: {told}{} MiB at most",
        most >> 20
    ));
    assert!(most <= MEMORY + BESIDE, "{} MiB", most >> 20);
}

#[test]
fn a_thousand_ranges_cost_no_more_than_the_object() {
    a_thousand_ranges("io_uring");
}

/// Sends until nothing is taken any more, and says how much was.
fn flood(stream: &mut TcpStream, bytes: &[u8], most: usize) -> usize {
    stream.set_nonblocking(true).expect("set");
    let (mut sent, mut refused) = (0, 0);
    while sent < most && refused < 3 {
        match stream.write(&bytes[sent % bytes.len()..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                std::thread::yield_now();
            }
            Err(_) => break,
        }
    }
    sent
}

/// What is said to bytes that are no head, until the connection is closed.
fn said_to(larder: &Larder, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(larder.http()).expect("connected");
    let wait = Some(Duration::from_secs(30));
    stream.set_read_timeout(wait).expect("set");
    stream.set_write_timeout(wait).expect("set");
    let mut writer = stream.try_clone().expect("a second descriptor");
    let mut said = Vec::new();
    std::thread::scope(|scope| {
        // It may be closed on long before its end.
        scope.spawn(move || writer.write_all(bytes));
        let mut some = [0; 4096];
        while let Ok(count) = stream.read(&mut some) {
            if count == 0 {
                break;
            }
            said.extend_from_slice(&some[..count]);
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
    });
    String::from_utf8_lossy(&said).into_owned()
}

fn heads_without_an_end(driver: &'static str) {
    let _alone = alone();
    let (_origin, mut larder) = house(driver);
    let begin = format!("GET {PATH} HTTP/1.1\r\nHost: {}\r\n", FAMILY[0]);
    let mib = 1 << 20;
    for (what, head, statuses) in [
        (
            "a field of a mebibyte",
            format!("{begin}X: {}\r\n\r\n", "a".repeat(mib)),
            [431, 431],
        ),
        (
            "a name of a mebibyte",
            format!("{begin}{}: x\r\n\r\n", "a".repeat(mib)),
            [431, 431],
        ),
        (
            "ten thousand fields",
            format!("{begin}{}\r\n", "X: y\r\n".repeat(10_000)),
            [431, 431],
        ),
        (
            "101 fields",
            format!("{begin}{}\r\n", "X: y\r\n".repeat(100)),
            [431, 431],
        ),
        (
            "a URL of a mebibyte",
            format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(mib)),
            [414, 431],
        ),
        (
            "a method of a mebibyte",
            format!("{} / HTTP/1.1\r\n\r\n", "A".repeat(mib)),
            [400, 431],
        ),
        ("no line at all", "\r\n".repeat(mib), [400, 431]),
        ("zeros", "\0".repeat(mib), [400, 400]),
    ] {
        let said = said_to(&larder, head.as_bytes());
        let status = said.get(9..12).and_then(|digits| digits.parse().ok());
        // One that is closed on while it still sends may lose the answer.
        let fits = said.is_empty() || status.is_some_and(|status| statuses.contains(&status));
        assert!(fits, "{driver}, {what}: {said:?}");
        assert_eq!(
            said.matches("HTTP/1.1 ").count(),
            said.len().min(1),
            "{what}: {said}"
        );
    }
    // Many of them at once, each just short of what is too much.
    let get = larder
        .get(FAMILY[0], PATH)
        .range(PIECE, PIECE + (64 << 10) - 1);
    let crowd = sockets(8_000);
    let head = format!("{begin}X: {}", "a".repeat((16 << 10) - begin.len() - 64));
    let mut open = Vec::new();
    good(&get, || {
        for number in 0..crowd {
            let mut stream = connect("127.0.0.1", larder.http(), None);
            if number % 2 == 0 {
                // The shards give it away with this, and its next head is read elsewhere.
                let two = format!("{begin}Range: bytes=0-0,2-2\r\n\r\n");
                let _ = stream.write_all(two.as_bytes());
            }
            flood(&mut stream, head.as_bytes(), head.len());
            open.push(stream);
        }
    });
    let most = memory(&mut larder, "VmHWM:");
    tell(&format!(
        "{driver}: {crowd} heads of 16 KiB without an end, {} MiB at most",
        most >> 20
    ));
    assert!(most <= MEMORY + BESIDE, "{} MiB", most >> 20);
    // That is within the limit by far since those that held the most were closed on.
    let crammed = larder.metric("larder_http_crammed_total", "");
    assert!(crammed > 0.0 || crowd < 8_000);
}

#[test]
fn heads_without_an_end_fill_no_memory() {
    heads_without_an_end("io_uring");
}

#[test]
fn heads_without_an_end_fill_no_memory_where_io_uring_is_refused() {
    heads_without_an_end("epoll");
}

fn pipelines_that_nobody_reads(driver: &'static str) {
    let _alone = alone();
    let (origin, mut larder) = house(driver);
    let get = larder
        .get(FAMILY[0], PATH)
        .range(PIECE, PIECE + (64 << 10) - 1);
    assert_eq!(
        larder.get(FAMILY[0], PATH).run().expect("whole").status,
        200
    );
    // Thousands on one connection, read in the end: each is answered, in order.
    let one = |number: u64| {
        format!(
            "GET {PATH} HTTP/1.1\r\nHost: {}\r\nRange: bytes={number}-{number}\r\n\r\n",
            FAMILY[0]
        )
    };
    let count = 5_000;
    let all: String = (0..count).map(one).collect();
    let mut stream = get.connect().expect("connected");
    let mut writer = stream.get_ref().try_clone().expect("a second descriptor");
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(all.as_bytes()).expect("taken"));
        for number in 0..count {
            let answer = get.hear(&mut stream).expect("an answer");
            assert_eq!(
                (answer.status, &*answer.body),
                (206, &[byte_at(number)][..])
            );
        }
    });
    // And many that read nothing.
    let crowd = sockets(6_000);
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {}\r\n\r\n", FAMILY[0]);
    let bytes = request.repeat((64 << 10) / request.len());
    let (mut open, mut sent) = (Vec::new(), 0);
    good(&get, || {
        for _ in 0..crowd {
            let mut stream = connect("127.0.0.1", larder.http(), Some(4096));
            sent += flood(&mut stream, bytes.as_bytes(), 96 << 10);
            open.push(stream);
        }
    });
    let most = memory(&mut larder, "VmHWM:");
    tell(&format!(
        "{driver}: {crowd} connections with {} MiB of requests and no reader, {} MiB at most",
        sent >> 20,
        most >> 20
    ));
    assert!(most <= MEMORY + BESIDE, "{} MiB", most >> 20);
    assert_eq!(origin.sent(), LENGTH);
}

#[test]
fn pipelines_that_nobody_reads_fill_no_memory() {
    pipelines_that_nobody_reads("io_uring");
}

#[test]
fn pipelines_that_nobody_reads_fill_no_memory_where_io_uring_is_refused() {
    pipelines_that_nobody_reads("epoll");
}

/// What shards hand over is served by other threads, which have other buffers.
#[test]
fn readers_that_stop_beside_the_shards_fill_no_memory() {
    let _alone = alone();
    let (_origin, mut larder) = house("auto");
    let get = larder
        .get(FAMILY[0], PATH)
        .range(PIECE, PIECE + (64 << 10) - 1);
    let parts = "Range: bytes=0-3000000,4000000-7000000";
    let whole = larder.get(FAMILY[0], PATH).with(parts);
    assert_eq!(whole.run().expect("parts").status, 206);
    let crowd = sockets(3_000);
    let request = format!(
        "GET {PATH} HTTP/1.1\r\nHost: {}\r\n{parts}\r\n\r\n",
        FAMILY[0]
    );
    let mut open = Vec::new();
    good(&get, || {
        for _ in 0..crowd {
            let mut stream = connect("127.0.0.1", larder.http(), Some(4096));
            stream.write_all(request.as_bytes()).expect("sent");
            open.push(stream);
        }
        let served: Get = whole.clone();
        assert_eq!(served.run().expect("parts").status, 206);
    });
    let most = memory(&mut larder, "VmHWM:");
    tell(&format!(
        "{crowd} readers of several ranges that stop, {} MiB at most",
        most >> 20
    ));
    assert!(most <= MEMORY + BESIDE, "{} MiB", most >> 20);
}
