//! Whatever strangers write, in the lines of the log. The rule: one event is one line, in both forms, and no line has a
//! character in it that does something to a terminal.

use crate::rig::eventually;
use crate::rig::fetch::Get;
use crate::rig::larder::{FAMILY, Larder, Setup};
use crate::rig::recorder::Recorder;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What would be a line of its own, if it became one.
const FORGED: &str = "2026-01-01T00:00:00.000000Z ERROR forged";

/// Bytes that do something, as they are and as URLs have them.
const EVIL: [&str; 14] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    "\x1b[2J\x1b[31m",
    "\x07\x08",
    "\u{9b}31m",
    "\u{2028}",
    "\u{202e}",
    "%0d%0a",
    "%0A",
    "%00",
    "%1b%5b2J",
    "%E2%80%A8",
];

fn say(larder: &Larder, bytes: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(larder.http()).expect("connected");
    let wait = Some(Duration::from_secs(40));
    stream.set_read_timeout(wait).expect("set");
    // What is no whole head is not waited for: nothing follows.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut said = [0; 12];
    let _ = stream.read_exact(&mut said);
    let digits = std::str::from_utf8(&said[9..]).unwrap_or_default();
    digits.parse().unwrap_or(0)
}

/// Every field and every place of a request's first line, with each of the bytes.
fn injections() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let host = FAMILY[0];
    for evil in EVIL {
        let bad = format!("{evil}{FORGED}").replace(' ', "%20");
        let in_field = format!("x{evil}{FORGED}");
        for head in [
            format!("GET /a{bad} HTTP/1.1\r\nHost: {host}\r\n"),
            format!("GET /a?q={bad} HTTP/1.1\r\nHost: {host}\r\n"),
            format!("GET /a?cacheHostOrigin={host}{bad} HTTP/1.1\r\nHost: x\r\n"),
            format!("GET /a?cacheHostOrigin={bad}.windowsupdate.com HTTP/1.1\r\nHost: x\r\n"),
            format!("GET http://{host}/a{bad} HTTP/1.1\r\nHost: {host}\r\n"),
            format!("GET http://{bad}/ HTTP/1.1\r\nHost: {host}\r\n"),
            format!("GET /a HTTP/1.1\r\nHost: {in_field}\r\n"),
            format!("GET{bad} /a HTTP/1.1\r\nHost: {host}\r\n"),
            format!("GET /a HTTP/1.1{bad}\r\nHost: {host}\r\n"),
            format!("POST /a{bad} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n"),
        ] {
            all.push(format!("{head}\r\n").into_bytes());
        }
        for field in [
            "User-Agent",
            "Content-Id",
            "Range",
            "Authorization",
            "MS-CV",
            "Referer",
        ] {
            let head = format!("GET /b HTTP/1.1\r\nHost: {host}\r\n{field}: {in_field}\r\n\r\n");
            all.push(head.into_bytes());
        }
    }
    // Bytes that are no text at all.
    all.push(b"GET /\xff\xfe\x80 HTTP/1.1\r\nHost: \xff\r\n\r\n".to_vec());
    all.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(30));
    all
}

/// What an origin says that would write in logs, too.
fn hostile(head: &str) -> String {
    let fields = if head.contains("/b") {
        format!("ETag: \"\u{9b}31m{FORGED}\"\r\nLocation: /x%0d%0a{FORGED}\r\n")
    } else {
        format!("Content-Range: bytes {FORGED}\u{1b}[2J\r\n")
    };
    format!("HTTP/1.1 206 \u{9b}{FORGED}\r\n{fields}Content-Length: 1\r\n\r\nx")
}

fn lines_of(format: &'static str) -> Vec<String> {
    let origin = Recorder::start(|seen| hostile(&seen.head));
    let larder = Larder::start(&Setup {
        origin: Some(origin.address()),
        default_origin: true,
        tables: format!("[log]\nlevel = \"debug\"\nformat = \"{format}\"\n"),
        ..Setup::default()
    });
    let mut statuses = std::collections::BTreeMap::new();
    for bytes in injections() {
        *statuses.entry(say(&larder, &bytes)).or_insert(0) += 1;
    }
    assert!(statuses.len() > 1, "{statuses:?}");
    let token = larder.directory().join("store/admin.token");
    let token = std::fs::read_to_string(token).expect("a token");
    for evil in ["%0d%0a", "%1b%5b2J", "%00"] {
        for call in ["purge", "pause", "warm", "verify"] {
            let url = format!("http://{}/a{evil}{}", FAMILY[0], FORGED.replace(' ', "%20"));
            let mut stream = TcpStream::connect(larder.admin()).expect("connected");
            let head = format!(
                "POST /api/v1/{call}?url={url} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                larder.admin(),
                token.trim()
            );
            stream.write_all(head.as_bytes()).expect("sent");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    // What was said before is in the log once this is answered and its own lines are.
    let _ = Get::new(larder.http(), "/last-of-all")
        .host(FAMILY[0])
        .run();
    eventually("the log has the last of them", || {
        larder.log().contains("last-of-all").then_some(())
    });
    let log = std::fs::read(larder.directory().join("log")).expect("a log");
    let text = String::from_utf8(log).expect("the log is text");
    assert!(text.contains("forged"), "nothing of it was logged at all");
    let lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    assert_eq!(lines.last().map(String::as_str), Some(""));
    lines[..lines.len() - 1].to_vec()
}

fn no_control(line: &str) {
    let bad =
        |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}');
    assert!(!line.chars().any(bad), "{line:?}");
}

#[test]
fn one_event_is_one_line_of_text() {
    for line in lines_of("text") {
        no_control(&line);
        // What begins with a time has a level and a module of ours behind it.
        let mut words = line.split_whitespace();
        let time = words.next().unwrap_or_default();
        assert!(time.len() == 27 && time.ends_with('Z'), "{line:?}");
        let level = words.next().unwrap_or_default();
        assert!(
            ["ERROR", "WARN", "INFO", "DEBUG"].contains(&level),
            "{line:?}"
        );
        let module = words.next().unwrap_or_default();
        assert!(module.ends_with(':'), "{line:?}");
    }
}

#[test]
fn one_event_is_one_object_of_json() {
    for line in lines_of("json") {
        no_control(&line);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            panic!("{error}: {line:?}");
        });
        for key in ["timestamp", "level", "target"] {
            assert!(value[key].is_string(), "{line}");
        }
    }
}
