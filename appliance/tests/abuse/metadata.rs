//! Metadata that is meant to burst its reader: JSON without an end or too deep, bodies that are announced and never sent,
//! what swells when it is unpacked. The rule: nothing is unpacked, everything is read to a limit, and clients get their
//! bytes all the same.

use crate::crowds::{BESIDE, MEMORY, memory};
use crate::rig::larder::{FAMILY, Larder, Setup};
use crate::rig::{address, assert_same, eventually, have, tell};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// As much as anybody sends here of what has no end.
const FLOOD: usize = 64 << 20;

/// What was answered to a head and a body without an end; empty where the connection was closed on without a word.
fn said_to(to: SocketAddr, head: &str, body: &[u8]) -> (String, usize) {
    let mut stream = TcpStream::connect(to).expect("connected");
    let wait = Some(Duration::from_secs(40));
    stream.set_read_timeout(wait).expect("set");
    stream.set_write_timeout(wait).expect("set");
    let mut writer = stream.try_clone().expect("a second descriptor");
    let (mut said, mut sent) = (Vec::new(), 0);
    thread::scope(|scope| {
        let sends = scope.spawn(move || {
            let mut sent = 0;
            if writer.write_all(head.as_bytes()).is_ok() && !body.is_empty() {
                while sent < FLOOD && writer.write_all(body).is_ok() {
                    sent += body.len();
                }
            }
            sent
        });
        let mut some = [0; 4096];
        while let Ok(count) = stream.read(&mut some) {
            said.extend_from_slice(&some[..count]);
            if count == 0 || said.windows(4).any(|four| four == b"\r\n\r\n") {
                break;
            }
        }
        let _ = stream.shutdown(std::net::Shutdown::Both);
        sent = sends.join().expect("no panic");
    });
    (String::from_utf8_lossy(&said).into_owned(), sent)
}

/// Fields, and what follows them again and again.
fn bombs() -> Vec<(&'static str, String, Vec<u8>)> {
    let mib = 1 << 20;
    let chunk = |bytes: &[u8]| {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        chunk
    };
    let chunked = "Transfer-Encoding: chunked\r\n".to_owned();
    let length = |bytes: u64| format!("Content-Length: {bytes}\r\n");
    vec![
        ("a terabyte that never comes", length(1 << 40), Vec::new()),
        (
            "more than numbers hold",
            "Content-Length: 99999999999999999999999\r\n".to_owned(),
            Vec::new(),
        ),
        ("a terabyte of brackets", length(1 << 40), b"[".repeat(mib)),
        (
            "a string without an end",
            chunked.clone(),
            chunk(&b"\"aaaaaaa".repeat(mib / 8)),
        ),
        (
            "objects without an end",
            chunked.clone(),
            chunk(&b"{\"a\":".repeat(mib / 5)),
        ),
        ("small chunks", chunked.clone(), chunk(b"[").repeat(mib / 6)),
        (
            "a chunk of many bytes",
            chunked.clone(),
            b"fffffffffffffff0\r\n".to_vec(),
        ),
        ("a size without an end", chunked, b"0".repeat(mib)),
        (
            "gzip",
            length(mib as u64) + "Content-Encoding: gzip\r\n",
            vec![0x1f; mib],
        ),
        ("as deep as it may be long", length(8000), b"[".repeat(8000)),
    ]
}

#[test]
fn bombs_burst_neither_coordinator_nor_administration() {
    let mut larder = Larder::start(&Setup {
        more: "[coordinator]\nhttp = [\"127.0.0.1:0\"]\n",
        ..Setup::default()
    });
    let coordinator = eventually("it says where", || {
        let said = larder.log();
        let at = said.split("coordinator on ").nth(1)?;
        at.split_whitespace().next()?.parse::<SocketAddr>().ok()
    });
    let token = larder.directory().join("store/admin.token");
    let token = std::fs::read_to_string(token).expect("a token");
    let (admin, mut taken) = (larder.admin(), 0);
    let calls = [
        (coordinator, "POST /v1/join", ""),
        (coordinator, "POST /v1/publish", ""),
        (coordinator, "GET /v1/policy?Url=x", ""),
        (admin, "POST /api/v1/purge?host=x", ""),
        (admin, "POST /api/v1/purge?host=x", token.trim()),
        (admin, "POST /api/v1/reload", token.trim()),
        (admin, "GET /api/v1/status", ""),
    ];
    for (to, call, token) in calls {
        for (what, fields, body) in bombs() {
            let proof = match token {
                "" => String::new(),
                token => format!("Authorization: Bearer {token}\r\n"),
            };
            let head = format!("{call} HTTP/1.1\r\nHost: {to}\r\n{proof}{fields}\r\n");
            let (said, sent) = said_to(to, &head, &body);
            taken += sent;
            let status = said
                .get(9..12)
                .and_then(|digits| digits.parse::<u16>().ok());
            // What the call itself does not read is answered as if it were not there.
            let reads = !(to == admin && (!token.is_empty() || call.starts_with("GET")));
            let fits = status.is_none_or(|status| match reads {
                true => (400..500).contains(&status),
                false => (200..500).contains(&status),
            });
            assert!(fits, "{call}, {what}: {said}");
        }
    }
    let most = memory(&mut larder, "VmHWM:");
    tell(&format!(
        "bombs: {} MiB were sent, {} MiB resident at most",
        taken >> 20,
        most >> 20
    ));
    assert!(most <= MEMORY + BESIDE, "{} MiB", most >> 20);
    // It is as it was.
    assert_eq!(larder.metric("larder_shards_stuck", ""), 0.0);
}

/// 32 MiB of zeros, packed.
fn packed() -> Vec<u8> {
    let mut gzip = Command::new("gzip")
        .args(["-9", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip runs");
    let mut input = gzip.stdin.take().expect("piped");
    let feeds = thread::spawn(move || input.write_all(&vec![0; 32 << 20]).expect("taken"));
    let packed = gzip.wait_with_output().expect("it ends").stdout;
    feeds.join().expect("no panic");
    packed
}

#[test]
fn nothing_is_unpacked_and_no_description_is_read_beyond_its_limit() {
    if !have(&["gzip"]) {
        return;
    }
    let packed = packed();
    assert!(packed.len() < 64 << 10);
    let listener = TcpListener::bind((address(), 8000)).expect("a port");
    let at = listener.local_addr().expect("an address");
    let body = packed.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let body = body.clone();
            thread::spawn(move || -> Option<()> {
                let mut writer = stream.try_clone().ok()?;
                let mut lines = BufReader::new(stream).lines();
                loop {
                    let first = lines.next()?.ok()?;
                    while !lines.next()?.ok()?.is_empty() {}
                    let deep = b"[".repeat(20 << 20);
                    let (body, more): (&[u8], _) = match first {
                        first if first.contains("deep") => (&deep, ""),
                        _ => (&body, "Content-Encoding: gzip\r\n"),
                    };
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nETag: \"g\"\r\n{more}Content-Length: {}\r\nCache-Control: max-age=60\r\n\r\n",
                        body.len()
                    );
                    writer.write_all(head.as_bytes()).ok()?;
                    writer.write_all(body).ok()?;
                }
            });
        }
    });
    let mut larder = Larder::start(&Setup {
        origin: Some(at),
        ..Setup::default()
    });
    for path in [
        "/packed.json",
        "/packed/pieceshash",
        "/packed.phf",
        "/packed",
    ] {
        for _ in 0..2 {
            let answer = larder.get(FAMILY[0], path).run().expect("an answer");
            assert_same(&answer.body, &packed, path);
            assert_eq!(answer.field("Content-Encoding"), Some("gzip"));
        }
    }
    for path in ["/deep", "/deep/pieceshash", "/deep.phf"] {
        let answer = larder.get(FAMILY[0], path).run().expect("an answer");
        assert_eq!(answer.body.len(), 20 << 20);
    }
    let most = memory(&mut larder, "VmHWM:");
    tell(&format!(
        "descriptions that burst: {} MiB resident at most",
        most >> 20
    ));
    assert!(most <= MEMORY + BESIDE, "{} MiB", most >> 20);
}
